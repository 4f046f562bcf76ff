"""The state of security contexts in a worker: numbers and windows from shared memory, durable by the parent.

A Sender Sequence Number is taken from one counter that all workers share, one at a time, under the slot's lock. So no
two workers have the same number (RFC 8613 section 7.2.1), and numbers go out in the order in which they were taken:
chunks for each worker would fall out of a peer's replay window. What is in the slot is reserved durably; when half of
it is used the parent is asked for more. To the layers above it is a store like any other (`securecoap.state.protocol`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from securecoap.errors import StateError
from securecoap.state.protocol import DEFAULT_WAIT, MAX_SEQUENCE_NUMBER, SavedWindow, StateRequest
from securecoap.workers.window import END, GRANT, NEXT, SharedWindow, mend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from securecoap.state.protocol import ContextState
    from securecoap.workers.memory import SharedMemory

__all__ = ["SharedState", "SharedStore", "Slot"]

_PAUSE = 0.02
"""Seconds between two attempts to lock a slot that somebody holds for too long."""


class Slot(NamedTuple):
    """Where a context is in the shared memory, and how many places its window has."""

    place: int
    size: int


class SharedState:
    """The state of one context; see `securecoap.state.protocol.ContextState`.

    Args:
        fingerprint, label: see there.
        slot: of the context.
        memory: shared.
        ask: has the parent reserve more numbers.
    """

    __slots__ = (
        "_asked",
        "_closed",
        "_fingerprint",
        "_label",
        "_memory",
        "_mend",
        "_place",
        "_waiters",
        "_want",
        "companion",
        "shared_window",
        "users",
    )  # fmt: skip

    def __init__(
        self, fingerprint: bytes, label: str, slot: Slot, memory: SharedMemory, ask: Callable[[bytes], None]
    ) -> None:
        self.companion: object | None = None
        self.users = 1
        self.shared_window = SharedWindow(memory, slot.place, slot.size)
        self._fingerprint = fingerprint
        self._label = label
        self._memory = memory
        self._place = slot.place
        self._mend = partial(mend, memory, slot.place)
        self._want = ask
        self._asked = -1
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<shared state of {self._label}{', closed' if self._closed else ''}>"

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint it was opened with."""
        return self._fingerprint

    @property
    def label(self) -> str:
        """The label it was first opened with."""
        return self._label

    @property
    def exhausted(self) -> bool:
        """Whether every number is used (RFC 8613 section 7.2.1)."""
        return self._memory.words[self._place + NEXT] > MAX_SEQUENCE_NUMBER

    def next_number(self) -> int | None:
        """Take the next number, or ``None``: `reserve` first."""
        memory, place = self._memory, self._place
        if self._closed or not memory.lock(place, self._mend):
            return None
        words = memory.words
        number, end, grant = words[place + NEXT], words[place + END], words[place + GRANT]
        if number < end:
            words[place + NEXT] = number + 1
        memory.unlock(place)
        if 2 * (end - number) <= grant and end != self._asked:
            self._asked = end
            self._want(self._fingerprint)
        return number if number < end else None

    async def reserve(self) -> None:
        """Return when `next_number` has numbers again.

        Raises:
            StateError: the parent cannot reserve any, or the handle is closed.
        """
        words, place = self._memory.words, self._place
        if words[place + NEXT] < words[place + END]:
            await asyncio.sleep(_PAUSE)  # then it was the lock that could not be had
        while words[place + NEXT] >= words[place + END]:
            if self._closed:
                raise StateError(f"{self._label}: its state is closed")
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._asked = words[place + END]
            self._want(self._fingerprint)
            await waiter

    def granted(self, fault: str | None) -> None:
        """The parent has answered: there are more numbers, or there is a reason why not."""
        if fault is not None:
            self._asked = -1  # the next number asks again
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if fault is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(StateError(fault))

    def take_window(self) -> SavedWindow | None:
        """There is `shared_window`."""
        return None

    async def close(self, window: SavedWindow | None = None) -> None:  # noqa: ARG002  # the parent saves the window
        """Give up the handle; others may go on with the context, and the parent keeps it."""
        self.users -= 1
        if self.users <= 0 and not self._closed:
            self._closed = True
            self.companion = None
            self.granted(f"{self._label}: its state is closed")


class SharedStore:
    """The contexts that the parent has opened for its workers; see `securecoap.state.protocol.StateStore`.

    Args:
        memory: shared.
        slots: of the contexts, by fingerprint; more may come.
        ask: has the parent reserve more numbers for a context.
    """

    def __init__(self, memory: SharedMemory, slots: Mapping[bytes, Slot], ask: Callable[[bytes], None]) -> None:
        self._memory = memory
        self._slots = dict(slots)
        self._ask = ask
        self._open: dict[bytes, SharedState] = {}

    def replace(self, slots: Mapping[bytes, Slot]) -> None:
        """The parent has opened others; those that are in use stay open until they are closed."""
        self._slots = dict(slots)

    def granted(self, fingerprint: bytes, fault: str | None) -> None:
        """See `SharedState.granted`."""
        state = self._open.get(fingerprint)
        if state is not None:
            state.granted(fault)

    async def open(
        self,
        fingerprint: bytes,
        *,
        label: str,
        basedir: Path | None = None,
        wait: float = DEFAULT_WAIT,
    ) -> SharedState:
        """See `securecoap.state.protocol.StateStore.open`.

        Raises:
            StateError: the parent does not have it.
        """
        return (await self.open_many([StateRequest(fingerprint, label, basedir)], wait=wait))[0]

    async def open_many(
        self,
        requests: Sequence[StateRequest],
        *,
        wait: float = DEFAULT_WAIT,  # noqa: ARG002  # the parent has waited
    ) -> list[SharedState]:
        """See `securecoap.state.protocol.StateStore.open_many`.

        Raises:
            StateError: the parent does not have one of them.
        """
        unknown = [request.label for request in requests if request.fingerprint not in self._slots]
        if unknown:
            raise StateError(f"the parent of this worker has no state for {', '.join(unknown)}")
        return [self._opened(request) for request in requests]

    def _opened(self, request: StateRequest) -> SharedState:
        state = self._open.get(request.fingerprint)
        if state is not None and state.users > 0:
            state.users += 1
            return state
        slot = self._slots[request.fingerprint]
        state = SharedState(request.fingerprint, request.label, slot, self._memory, self._ask)
        self._open[request.fingerprint] = state
        return state

    async def close_many(self, closings: Sequence[tuple[ContextState, SavedWindow | None]]) -> None:
        """See `securecoap.state.protocol.StateStore.close_many`."""
        for state, _ in closings:
            await state.close()
            if state.users <= 0:
                self._open.pop(state.fingerprint, None)

    async def close(self) -> None:
        """Everything goes with the process."""
        for state in self._open.values():
            state.granted(f"{state.label}: its state is closed")
