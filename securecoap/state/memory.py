"""A store in memory: for tests, and where somebody says that nothing is to survive. It never touches a disk or thread.

Used with keys that outlive the process it reuses nonces: only for keys that are as short-lived as itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from securecoap.errors import StateError
from securecoap.state.handle import FIRST_CHUNK, Chunk, Claim, begin_closing, next_chunk, wait_closed
from securecoap.state.protocol import DEFAULT_WAIT, MAX_SEQUENCE_NUMBER, StateRequest
from securecoap.state.table import Table
from securecoap.state.worker import ManualWorker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securecoap.state.handle import Backing, Handle, Return
    from securecoap.state.protocol import ContextState, SavedWindow
    from securecoap.state.worker import Worker

__all__ = ["MemoryStateStore"]


class _Record:
    """What a disk would have."""

    __slots__ = ("mark", "window")

    def __init__(self) -> None:
        self.mark = 0
        self.window: SavedWindow | None = None


class _Place:
    """An owned record: see `securecoap.state.handle.Backing`."""

    __slots__ = ("_label", "_record", "held")

    def __init__(self, record: _Record, label: str) -> None:
        self._record = record
        self._label = label
        self.held = True

    def extend(self, start: int, count: int) -> Chunk:
        chunk = next_chunk(max(start, self._owned().mark), count, self._label)
        self._record.mark = chunk.end
        return chunk

    def give_back(self, unused: int, end: int, window: SavedWindow | None) -> None:
        record = self._owned()
        if record.mark == end:
            record.mark = unused
        record.window = window

    def unlock(self) -> None:
        self.held = False

    def forget(self) -> None:
        self.held = False

    def _owned(self) -> _Record:
        if not self.held:
            raise StateError(f"{self._label}: no longer owned")
        return self._record


class MemoryStateStore:
    """See `securecoap.state.protocol.StateStore`. It remembers across handles, as a disk would, not across processes.

    For tests `hold` makes reservations wait, `fail` makes them fail, and `crash` does what SIGKILL does.
    """

    def __init__(self) -> None:
        self._worker = ManualWorker()
        self._records: dict[bytes, _Record] = {}
        self._table = Table()

    async def open(
        self,
        fingerprint: bytes,
        *,
        label: str,
        basedir: Path | None = None,
        wait: float = DEFAULT_WAIT,
    ) -> Handle:
        """See `securecoap.state.protocol.StateStore.open`; a ``basedir`` is not looked at.

        Raises:
            StateError: only after `fail`.
        """
        return (await self.open_many([StateRequest(fingerprint, label, basedir)], wait=wait))[0]

    async def open_many(self, requests: Sequence[StateRequest], *, wait: float = DEFAULT_WAIT) -> list[Handle]:
        """See `securecoap.state.protocol.StateStore.open_many`.

        Raises:
            StateError: only after `fail`.
        """
        return await self._table.open(self, requests, wait)

    @property
    def worker(self) -> Worker:
        """See `securecoap.state.handle.Home`."""
        return self._worker

    async def close_many(self, closings: Sequence[tuple[ContextState, SavedWindow | None]]) -> None:
        """See `securecoap.state.protocol.StateStore.close_many`."""
        await wait_closed(cast("Sequence[tuple[Handle, SavedWindow | None]]", closings))

    async def close(self) -> None:
        """Close the handles that are still open."""
        begin_closing([(handle, None) for handle in self._table.of_home(self)])

    def claim(self, requests: Sequence[StateRequest]) -> list[Claim | None]:
        """See `securecoap.state.handle.Home`."""
        claims: list[Claim | None] = []
        for request in requests:
            record = self._records.setdefault(request.fingerprint, _Record())
            chunk = Chunk(record.mark, min(record.mark + FIRST_CHUNK, MAX_SEQUENCE_NUMBER + 1))
            window, record.window = record.window, None
            record.mark = chunk.end
            claims.append(Claim(_Place(record, request.label), chunk, window))
        return claims

    def give_back(self, returns: Sequence[Return]) -> list[StateError | None]:
        """See `securecoap.state.handle.Home`."""
        for backing, unused, end, window in returns:
            cast("_Place", backing).give_back(unused, end, window)
        return [None] * len(returns)

    def unlock(self, backings: Sequence[Backing]) -> None:
        """See `securecoap.state.handle.Home`."""
        for backing in backings:
            backing.unlock()

    def hold(self) -> None:
        """Let no reservation, opening or closing come to an end before `release`."""
        self._worker.held = True

    def release(self) -> None:
        """Undo `hold`."""
        self._worker.held = False
        self._worker.run_all()

    def fail(self, fault: Exception | None) -> None:
        """Let every reservation, opening and closing fail with a `StateError`, until told ``None``."""
        self._worker.fault = fault

    def crash(self) -> None:
        """Stop all handles as SIGKILL would, reserved numbers lost and windows unsaved; the store can be used again."""
        for handle in self._table.of_home(self):
            self._table.evict(handle)

    def skip_to(self, fingerprint: bytes, number: int) -> None:
        """Have the next opening of a context begin with ``number``: for tests of large numbers and of their end."""
        self._records.setdefault(fingerprint, _Record()).mark = number
