"""Which contexts are owned: one handle for a fingerprint in a process, and the waiting for other owners.

The table of the process is asked before any lock, as the operating system's locks are the process's and do not keep it
from itself. After a fork the child owns nothing. Bounded by the contexts that are configured; peers cannot grow it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from securecoap.errors import ContextInUse, StateError
from securecoap.state.handle import Handle, begin_closing
from securecoap.state.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from securecoap.state.handle import Claim, Home
    from securecoap.state.protocol import StateRequest

__all__ = ["PROCESS", "Table", "give_up"]

_TICK = 0.05
"""Seconds between two looks at a lock that another process holds: no system tells when it becomes free."""


class _Pending:
    """Somebody is at the disk for this context."""

    __slots__ = ("loop", "settled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.settled: asyncio.Future[None] = loop.create_future()


class _Attempt:
    """One job that claims contexts, and what becomes of it if its caller has gone."""

    def __init__(self, table: Table, home: Home, requests: list[StateRequest], pending: _Pending) -> None:
        self._table = table
        self._home = home
        self._requests = requests
        self._pending = pending
        self._claims: list[Claim | None] = []
        self.outcome: asyncio.Future[dict[bytes, Handle]] = pending.loop.create_future()

    def submit(self) -> None:
        self._home.worker.submit(Job(self._run, self._done, self._pending.loop, settle=self._settle, lost=self._lost))

    def _run(self) -> list[Claim | None]:
        self._claims = self._home.claim(self._requests)
        return self._claims

    def _settle(self, committed: bool) -> None:
        if not committed:
            self._unlock()

    def _lost(self) -> None:
        self._unlock()
        self._table.drop(self._requests, self._pending)

    def _unlock(self) -> None:
        self._home.unlock([claim.backing for claim in self._claims if claim is not None])
        self._claims = []

    def _done(self, outcome: list[Claim | None] | StateError) -> None:
        handles: dict[bytes, Handle] = {}
        if not isinstance(outcome, StateError):
            handles = self._table.enter(self._home, self._requests, outcome, self._pending.loop)
        if len(handles) < len(self._requests):
            self._table.drop(self._requests, self._pending)
        self._pending.settled.set_result(None)
        if self.outcome.cancelled():
            begin_closing([(handle, None) for handle in handles.values()])
        elif isinstance(outcome, StateError):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(handles)


class Table:
    """The handles of a process, by fingerprint."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._entries: dict[bytes, Handle | _Pending] = {}

    async def open(self, home: Home, requests: Sequence[StateRequest], wait: float) -> list[Handle]:
        """Own every context, or none.

        Raises:
            ContextInUse: not all became free in time.
            StateError: the store's fault.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        remaining = {request.fingerprint: request for request in requests}
        opened: dict[bytes, Handle] = {}
        try:
            while True:
                settling = await self._round(home, remaining, opened, loop)
                remaining = {key: request for key, request in remaining.items() if key not in opened}
                if not remaining:
                    break
                left = deadline - loop.time()
                if left <= 0:
                    labels = ", ".join(request.label for request in remaining.values())
                    raise ContextInUse(f"in use by another process: {labels}")  # noqa: TRY301 - ends as any other
                if settling:
                    await asyncio.wait(settling, timeout=min(left, _TICK))
                else:
                    await asyncio.sleep(min(left, _TICK))
        except BaseException:
            give_up(opened.values())
            raise
        handles = [opened[request.fingerprint] for request in requests]
        if len(handles) > len(opened):
            for handle in handles:
                if opened.pop(handle.fingerprint, None) is None:  # asked for twice in one call
                    handle.share()
        return handles

    def of_home(self, home: Home) -> list[Handle]:
        """The handles that are open there."""
        with self._mutex:
            return [one for one in self._entries.values() if isinstance(one, Handle) and one.home is home]

    def enter(
        self, home: Home, requests: list[StateRequest], claims: list[Claim | None], loop: asyncio.AbstractEventLoop
    ) -> dict[bytes, Handle]:
        """Make the handles of claims that are durable, by fingerprint."""
        on_closed = self._remove
        handles = {
            request.fingerprint: Handle(
                request.fingerprint, request.label, claim, home=home, loop=loop, on_closed=on_closed
            )
            for request, claim in zip(requests, claims, strict=True)
            if claim is not None
        }
        with self._mutex:
            self._entries.update(handles)
        return handles

    def drop(self, requests: list[StateRequest], pending: _Pending) -> None:
        """Free the places that still are pending."""
        with self._mutex:
            for request in requests:
                if self._entries.get(request.fingerprint) is pending:
                    del self._entries[request.fingerprint]

    def evict(self, handle: Handle) -> None:
        """End a handle at once, without saving anything: its event loop is another one."""
        handle.abandon(unlock=True)
        self._remove(handle)

    def forked(self) -> None:
        """This is a child: the numbers in memory and the locks are its parent's."""
        self._mutex = threading.Lock()
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            if isinstance(entry, Handle):
                entry.abandon(unlock=False)

    async def _round(
        self,
        home: Home,
        remaining: dict[bytes, StateRequest],
        opened: dict[bytes, Handle],
        loop: asyncio.AbstractEventLoop,
    ) -> set[asyncio.Future[None]]:
        """Add what can be had now of ``remaining`` to ``opened``; what is returned ends before more can be had."""
        pending = _Pending(loop)
        settling: set[asyncio.Future[None]] = set()
        mine = []
        with self._mutex:
            entries = self._entries
            for key, request in remaining.items():
                entry = self._current(entries[key]) if key in entries else None
                if entry is None:
                    entries[key] = pending
                    mine.append(request)
                elif entry.loop is not loop:
                    continue
                elif isinstance(entry, _Pending):
                    settling.add(entry.settled)
                elif entry.closed is not None:
                    settling.add(entry.closed)
                elif entry.home is home:
                    entry.share()
                    opened[key] = entry
                else:
                    for other in mine:
                        del self._entries[other.fingerprint]
                    # Each of two stores would believe to know the highest number.
                    raise ContextInUse(f"{request.label}: open already with another state directory")
        if mine:
            opened.update(await self._claim(home, mine, pending))
        return settling

    def _current(self, entry: Handle | _Pending) -> Handle | _Pending | None:
        """The owner of a context in this process, unless it has gone without closing: its loop is closed."""
        if isinstance(entry, Handle) and entry.loop.is_closed() and (entry.closed is None or not entry.held):
            # What it had reserved is lost, and never used again.
            entry.abandon(unlock=True)
            return None
        return entry

    async def _claim(self, home: Home, mine: list[StateRequest], pending: _Pending) -> dict[bytes, Handle]:
        attempt = _Attempt(self, home, mine, pending)
        attempt.submit()
        try:
            return await attempt.outcome
        except asyncio.CancelledError:
            outcome = attempt.outcome
            if not outcome.cancelled() and outcome.exception() is None:  # cancelled after it was done
                begin_closing([(handle, None) for handle in outcome.result().values()])
            raise

    def _remove(self, handle: Handle) -> None:
        with self._mutex:
            if self._entries.get(handle.fingerprint) is handle:
                del self._entries[handle.fingerprint]


def give_up(handles: Iterable[Handle]) -> None:
    """Have one user less of each, and close those that have no other."""
    last = []
    for handle in handles:
        handle.users -= 1
        if handle.users == 0:
            last.append((handle, None))
    begin_closing(last)


PROCESS = Table()
"""The contexts in durable stores that this process owns."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.forked)
