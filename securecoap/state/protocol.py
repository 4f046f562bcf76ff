"""What must survive a restart, as the layers above see it: sender sequence numbers and replay windows (RFC 8613 B.1).

The two errors that break security here are to hand out one number twice (a nonce is reused, section 7.2.1) and to give
back a window that has missed a message (a request runs twice, section 7.5). Every store errs the other way: numbers are
lost, windows are void, and what cannot be written durably is a `StateError`. This module has no IO and knows no store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["DEFAULT_WAIT", "MAX_SEQUENCE_NUMBER", "ContextState", "SavedWindow", "StateRequest", "StateStore"]

MAX_SEQUENCE_NUMBER = (1 << 40) - 1
"""The last sender sequence number: a Partial IV has five bytes at most (RFC 8613 section 7.2.1)."""

DEFAULT_WAIT = 10.0
"""Seconds for which another process may keep a context before the opener gives up."""


class SavedWindow(NamedTuple):
    """A replay window at an orderly shutdown.

    ``highest`` is the highest number received, -1 before the first. Bit *i* of ``seen`` says that ``highest - i`` was
    received, for *i* below ``size``; whatever is older counts as received. ``proven`` is false where a request was
    taken without proof of its freshness.
    """

    highest: int
    seen: int
    size: int
    proven: bool = True

    def fit(self, size: int) -> SavedWindow:
        """The same knowledge for a window of another size: places that were not recorded count as received."""
        seen = self.seen & ((1 << self.size) - 1)
        if self.highest >= 0 and size > self.size:
            seen |= ((1 << size) - 1) ^ ((1 << self.size) - 1)
        return SavedWindow(self.highest, seen & ((1 << size) - 1), size, self.proven)


class StateRequest(NamedTuple):
    """One context to open.

    Attributes:
        fingerprint: of the derived sender context, see `securecoap.state.fingerprint`.
        label: what messages to people call the context.
        basedir: the directory in aiocoap's form that has the state of this context, instead of the store.
        former: tells the fingerprint that stores of earlier versions have; asked only where there are such.
        source: what ``former`` is asked with.
    """

    fingerprint: bytes
    label: str
    basedir: Path | None = None
    former: Callable[[Any], bytes] | None = None
    source: Any = None


class ContextState(Protocol):
    """The state of one sender context, owned by this process until the last `close`. Belongs to one event loop.

    The use on the way of a message::

        number = state.next_number()
        while number is None:  # held; can be cancelled
            await state.reserve()
            number = state.next_number()
    """

    companion: object | None
    """For the owner's use: the one object (replay window, security context) that all users of this handle share.
    `None` when the handle was newly opened, and again after the last `close`."""

    users: int
    """How often it has to be closed."""

    shared_window: Any
    """The replay window that this process shares with others, to be used as it is; ``None``: there is `take_window`."""

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint it was opened with."""

    @property
    def label(self) -> str:
        """The label it was first opened with."""

    @property
    def exhausted(self) -> bool:
        """Whether every number up to 2^40-1 is used: the context needs new keys (RFC 8613 section 7.2.1)."""

    def next_number(self) -> int | None:
        """Hand out the next number, which is reserved durably, or ``None``: `reserve` first. Never raises."""

    async def reserve(self) -> None:
        """Return when `next_number` has numbers again. Many may wait; one that is cancelled loses no number.

        Raises:
            StateError: nothing can be reserved: the disk's fault, all numbers used, or the handle closed.
        """

    def take_window(self) -> SavedWindow | None:
        """The window that the last owner saved, once; it is durably void in the store already.

        ``None``: nothing is known, and no request may be accepted before an Echo has proved one fresh (B.1.2).
        """

    async def close(self, window: SavedWindow | None = None) -> None:
        """Give up the handle; with the last user, unused numbers go back, ``window`` is saved and the context is free.

        Nothing may be protected or accepted with the context after the call has begun. A window from a handle that was
        shared without a `companion` is not saved, as each user would have seen a part only. A fault of the disk is
        logged, never raised: what could not be saved is void.
        """


class StateStore(Protocol):
    """Where contexts keep what must survive. The users close the handles they opened, then the store."""

    async def open(
        self, fingerprint: bytes, *, label: str, basedir: Path | None = None, wait: float = DEFAULT_WAIT
    ) -> ContextState:
        """Own one context: its saved window is durably void and its first numbers are reserved when this returns.

        A context that is open already in this process and event loop yields the same handle.

        Args:
            fingerprint: of the derived sender context.
            label: what messages to people call it.
            basedir: the directory in aiocoap's form that has its state, instead of the store.
            wait: seconds to wait for another process that owns it.

        Raises:
            ContextInUse: another process (or event loop, or store) kept it for the whole time.
            StateError: the store cannot be read or written, or is missing and strict.
        """

    async def open_many(
        self, requests: Sequence[StateRequest], *, wait: float = DEFAULT_WAIT
    ) -> Sequence[ContextState]:
        """Own many contexts in one transaction, all or none; the handles are in the order of the requests.

        A server calls it with every context it has, before it reads its first datagram.

        Raises:
            ContextInUse: as `open`; names the contexts.
            StateError: as `open`.
        """

    async def close_many(self, closings: Sequence[tuple[ContextState, SavedWindow | None]]) -> None:
        """`ContextState.close` for many handles of this store in a few transactions: an orderly shutdown."""

    async def close(self) -> None:
        """Let go of files and threads. Handles that are still open are closed without a window."""
