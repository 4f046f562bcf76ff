"""The handle of one owned context: hands out reserved numbers, and has more reserved in time (RFC 8613 B.1.1).

The way of a message is one comparison and one addition; the disk is asked when half of a chunk is left, and chunks
grow, so that in steady use nobody waits. This module knows no file: what is durable is behind `Backing`, in a worker's
thread.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from securecoap.errors import StateError
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER
from securecoap.state.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from securecoap.state.protocol import SavedWindow, StateRequest
    from securecoap.state.worker import Worker

__all__ = [
    "FIRST_CHUNK", "LARGEST_CHUNK", "Backing", "Chunk", "Claim", "Handle", "Home", "Return", "begin_closing",
    "next_chunk", "wait_closed",
]  # fmt: skip

FIRST_CHUNK = 64
"""Numbers reserved when a context is opened: what a crash costs a device that says little."""

LARGEST_CHUNK = 1 << 16
"""Half of it lasts longer than any fsync, at any rate that this stack can send."""

_GROWTH = 8

_log = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """Reserved numbers, from ``first`` to below ``end``."""

    first: int
    end: int


class Backing(Protocol):
    """A context's place in a store. Its methods run in the worker's thread, and refuse once it was unlocked."""

    held: bool
    """Whether this process still owns the context through it."""

    def extend(self, start: int, count: int) -> Chunk:
        """Reserve up to ``count`` numbers, none of them below ``start`` nor below what the store has given away.

        Raises:
            StateError: before anything was changed.
        """

    def unlock(self) -> None:
        """Let other processes own the context. Never raises; the second time it does nothing."""

    def forget(self) -> None:
        """Drop what a forked child has inherited, without unlocking it for its parent. Never raises."""


class Claim(NamedTuple):
    """A context newly owned: its place, its first numbers, and the window that was saved (and is void by now)."""

    backing: Backing
    chunk: Chunk
    window: SavedWindow | None


class Return(NamedTuple):
    """What is left of a context that is given up: its first number not used, the end of those reserved, its window."""

    backing: Backing
    unused: int
    end: int
    window: SavedWindow | None


class Home(Protocol):
    """Where the state of some contexts is: one object for each place. All but ``worker`` is the worker's thread's."""

    @property
    def worker(self) -> Worker:
        """Where the jobs of its contexts run."""

    def claim(self, requests: Sequence[StateRequest]) -> list[Claim | None]:
        """Lock each context, void its window and reserve its first numbers; ``None`` where another process owns it.

        Locks are given up by the caller if the transaction fails, here if this raises.

        Raises:
            StateError: nothing was changed.
        """

    def give_back(self, returns: Sequence[Return]) -> list[StateError | None]:
        """Note which number is the first not used, where the mark still is the ``end``, and save the windows.

        Returns:
            For each what was wrong with it, if anything was.

        Raises:
            StateError: nothing was changed.
        """

    def unlock(self, backings: Sequence[Backing]) -> None:
        """`Backing.unlock` for many."""


def next_chunk(start: int, count: int, label: str) -> Chunk:
    """Count off the numbers from ``start``.

    Raises:
        StateError: 2^40-1 was the last one (RFC 8613 section 7.2.1).
    """
    end = min(start + count, MAX_SEQUENCE_NUMBER + 1)
    if end <= start:
        raise StateError(f"{label}: all sender sequence numbers are used; the context needs new keys")
    return Chunk(start, end)


class Handle:
    """See `securecoap.state.protocol.ContextState`.

    Attributes:
        home: where the state is.
        loop: the event loop that it belongs to.
        users: how often it has to be closed.
        closed: done when the last `close` has settled; ``None`` before it has begun.
        shared_window: none: one process owns it.
    """

    shared_window: None = None

    __slots__ = (
        "__weakref__", "_backing", "_busy", "_count", "_end", "_fault_logged", "_fingerprint", "_label", "_low",
        "_mark", "_next", "_on_closed", "_shared", "_stopped", "_waiters", "_window", "closed", "companion", "home",
        "loop", "users",
    )  # fmt: skip

    def __init__(
        self,
        fingerprint: bytes,
        label: str,
        claim: Claim,
        *,
        home: Home,
        loop: asyncio.AbstractEventLoop,
        on_closed: Callable[[Handle], None],
    ) -> None:
        self.companion: object | None = None
        self.home = home
        self.loop = loop
        self.users = 1
        self.closed: asyncio.Future[None] | None = None
        self._fingerprint = fingerprint
        self._label = label
        self._backing = claim.backing
        self._on_closed = on_closed
        self._window = claim.window
        self._next, self._end = claim.chunk
        self._mark = self._end  # the end of what was asked for last; the worker's
        self._count = FIRST_CHUNK
        self._low = self._low_water()
        self._busy = False
        self._stopped = False
        self._shared = False
        self._fault_logged = False
        self._waiters: tuple[asyncio.Future[None], ...] = ()  # one for each sender: next to none

    def __repr__(self) -> str:
        return f"<state of {self._label}{'' if self.closed is None else ', closed'}>"

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint it was opened with."""
        return self._fingerprint

    @property
    def label(self) -> str:
        """The label it was first opened with."""
        return self._label

    @property
    def held(self) -> bool:
        """Whether the context still is locked through this handle."""
        return self._backing.held

    @property
    def exhausted(self) -> bool:
        """Whether every number is used (RFC 8613 section 7.2.1)."""
        return self._next > MAX_SEQUENCE_NUMBER

    @property
    def backing(self) -> Backing:
        """Where its state is kept."""
        return self._backing

    def next_number(self) -> int | None:
        """Hand out the next number, or ``None``: `reserve` first."""
        number = self._next
        if number >= self._low:
            self._ask()
            number = self._next
            if number >= self._end:
                return None
        self._next = number + 1
        return number

    def take_chunk(self) -> Chunk:
        """Hand out all that is reserved now, for processes that share it; it may be nothing: `reserve` first."""
        chunk = Chunk(self._next, max(self._next, self._end))
        self._next = chunk.end
        return chunk

    async def reserve(self) -> None:
        """Return when `next_number` has numbers again.

        Raises:
            StateError: there are none to be had.
        """
        while self._next >= self._end:
            if self._stopped:
                raise StateError(f"{self._label}: its state is closed")
            next_chunk(self._end, 1, self._label)
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters = (*self._waiters, waiter)
            self._ask()
            await waiter

    def share(self) -> None:
        """One more user."""
        self.users += 1
        self._shared = True

    def take_window(self) -> SavedWindow | None:
        """The saved window, once."""
        window, self._window = self._window, None
        return window

    async def close(self, window: SavedWindow | None = None) -> None:
        """Give up the handle; the last user's call saves ``window``."""
        await wait_closed([(self, window)])

    def finish(self, window: SavedWindow | None, closed: asyncio.Future[None]) -> Callable[[], Return]:
        """Stop at once; what is returned tells what is left, in the worker's thread, and ``closed`` when it is kept."""
        self.closed = closed
        if self._shared and self.companion is None:
            window = None
        if window is None:
            window = self._window  # that nobody has taken: nothing was accepted since
        unused = self._next
        self.stop()
        self._fail_waiters(StateError(f"{self._label}: its state is closed"))
        return lambda: Return(self._backing, unused, self._mark, window)

    def ended(self) -> None:
        """It is closed, or never will be."""
        self._on_closed(self)

    def stop(self) -> None:
        """Hand out nothing any more, whatever is still under way."""
        self._next = self._end = self._low = 0
        self._busy = self._stopped = True
        self.companion = None
        self._window = None

    def abandon(self, *, unlock: bool) -> None:
        """Stop for good: the event loop is closed, or (without unlocking) this is a forked child."""
        self.stop()
        if unlock:
            self._backing.unlock()
        else:
            self._backing.forget()

    def _low_water(self) -> int:
        return max(self._next, self._end - self._count // 2) if self._end <= MAX_SEQUENCE_NUMBER else self._end

    def _ask(self) -> None:
        if self._busy or self._end > MAX_SEQUENCE_NUMBER:
            return
        self._busy = True
        self._low = self._end
        self._count = count = min(self._count * _GROWTH, LARGEST_CHUNK)
        start = self._end
        self.home.worker.submit(Job(lambda: self._extend(start, count), self._granted, self.loop))

    def _extend(self, start: int, count: int) -> Chunk:
        chunk = self._backing.extend(start, count)
        self._mark = chunk.end
        return chunk

    def _granted(self, outcome: Chunk | StateError) -> None:
        if self._stopped:
            return
        self._busy = False
        if isinstance(outcome, StateError):
            if not self._fault_logged:
                _log.error("%s: no sequence numbers can be reserved: %s", self._label, outcome)
                self._fault_logged = True
            self._low = self._end - (self._end - self._next) // 2  # the next attempt, while there still are numbers
            self._fail_waiters(outcome)
            return
        self._fault_logged = False
        if outcome.first != self._end:
            # The store has moved on without us: what is left of the old chunk is given up, so that numbers only rise.
            self._next = outcome.first
        self._end = outcome.end
        self._low = self._low_water()
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fail_waiters(self, error: StateError) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(StateError(*error.args))


def begin_closing(closings: Iterable[tuple[Handle, SavedWindow | None]]) -> set[asyncio.Future[None]]:
    """Stop handles at once, and have what is left of them kept: those of one store in one piece of work.

    Returns:
        Futures, done when the contexts are free again.
    """
    settled: set[asyncio.Future[None]] = set()
    # Each once, whatever is asked: one that has stopped already would give numbers back that it has handed out.
    ending: dict[tuple[int, int], dict[Handle, SavedWindow | None]] = {}
    for handle, window in closings:
        if handle.closed is None:
            ending.setdefault((id(handle.home), id(handle.loop)), {}).setdefault(handle, window)
        else:
            settled.add(handle.closed)
    for several in ending.values():
        settled.add(_close(list(several.items())))
    return settled


def _close(closings: list[tuple[Handle, SavedWindow | None]]) -> asyncio.Future[None]:
    """`begin_closing` for handles of one store and event loop, none of which is closed."""
    home, loop = closings[0][0].home, closings[0][0].loop
    closed: asyncio.Future[None] = loop.create_future()
    handles = [handle for handle, _ in closings]
    left = [handle.finish(window, closed) for handle, window in closings]

    def done(outcome: list[StateError | None] | StateError) -> None:
        faults = [outcome] * len(handles) if isinstance(outcome, StateError) else outcome
        for handle, fault in zip(handles, faults, strict=True):
            if fault is not None:
                _log.warning("%s: its state could not be saved, a restart begins with Echo: %s", handle.label, fault)
        lost()
        closed.set_result(None)

    def lost() -> None:
        for handle in handles:
            handle.ended()

    home.worker.submit(
        Job(
            lambda: home.give_back([one() for one in left]),
            done,
            loop,
            settle=lambda _committed: home.unlock([handle.backing for handle in handles]),
            lost=lost,
        )
    )
    return closed


async def wait_closed(closings: Sequence[tuple[Handle, SavedWindow | None]]) -> None:
    """Give up handles, all before the first wait; cancelled, it leaves them to be closed all the same."""
    last = []
    for closing in closings:
        handle = closing[0]
        handle.users -= 1
        if handle.users <= 0:
            last.append(closing)
    for future in begin_closing(last):
        if not future.done():
            await asyncio.shield(future)
