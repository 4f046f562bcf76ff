"""Many deadlines, one earliest: a heap whose entries go stale instead of being searched for.

Must not know what is due.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

__all__ = ["Deadlines"]

_SLACK: Final = 64


class Deadlines:
    """One deadline for each key; setting, dropping and finding the earliest are logarithmic.

    Stale entries never outnumber the live ones by more than a constant factor, so that a peer cannot make it grow.

    Attributes:
        soonest: nothing is due before, infinity where there is nothing. It may be too early until `pop_due` gets there.
    """

    __slots__ = ("_current", "_heap", "soonest")

    def __init__(self) -> None:
        self.soonest = inf
        self._current: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._current)

    def set(self, key: int, when: float) -> None:
        """Set or move the deadline of ``key``."""
        if self._current.get(key) == when:
            return
        self._current[key] = when
        self.soonest = min(self.soonest, when)
        heappush(self._heap, (when, key))
        if len(self._heap) > 4 * len(self._current) + _SLACK:
            self._heap = [(due, name) for name, due in self._current.items()]
            heapify(self._heap)

    def discard(self, key: int) -> None:
        """Forget the deadline of ``key``, if it has one."""
        self._current.pop(key, None)
        if not self._current:
            self._heap.clear()
            self.soonest = inf

    def first(self) -> tuple[float, int] | None:
        """Return the earliest (deadline, key)."""
        heap, current = self._heap, self._current
        while heap:
            when, key = heap[0]
            if current.get(key) == when:
                return heap[0]
            heappop(heap)
        return None

    def pop_due(self, now: float) -> int | None:
        """Remove and return the earliest key if its time has come."""
        if now < self.soonest:
            return None
        earliest = self.first()
        if earliest is None or earliest[0] > now:
            self.soonest = inf if earliest is None else earliest[0]
            return None
        heappop(self._heap)
        del self._current[earliest[1]]
        return earliest[1]
