"""Many deadlines on one timer.

A timer handle for each message costs more than the message. Here a deadline is an entry of a heap, one timer is armed
for the earliest, and an entry whose purpose has gone is skipped when its time comes. This module knows no messages.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import Scheduler, Timer

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls ``expired(item, now)`` when the time of an item has come.

    Args:
        scheduler: time and the one timer.
        expired: called for each item; decides itself whether the item still matters.
    """

    __slots__ = ("_armed_for", "_expired", "_heap", "_order", "_scheduler", "_timer")

    def __init__(self, scheduler: Scheduler, expired: Callable[[T, float], object]) -> None:
        self._scheduler = scheduler
        self._expired = expired
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()
        self._timer: Timer | None = None
        self._armed_for = float("inf")

    def add(self, when: float, item: T) -> None:
        """Have ``item`` expire at that time."""
        heappush(self._heap, (when, next(self._order), item))
        if when < self._armed_for:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(when)

    def _arm(self, when: float) -> None:
        self._armed_for = when
        self._timer = self._scheduler.call_at(when, self._run)

    def _run(self) -> None:
        now = self._scheduler.time()
        heap = self._heap
        # While items expire, `add` need not arm: this does it at the end.
        self._armed_for = float("-inf")
        try:
            while heap and heap[0][0] <= now:
                self._expired(heappop(heap)[2], now)
        finally:  # whoever is told may raise, such as what a resource wants called; the deadlines of all others hold
            self._timer = None
            self._armed_for = float("inf")
            if heap:
                self._arm(heap[0][0])

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._armed_for = float("-inf")  # nothing is armed any more
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __len__(self) -> int:
        return len(self._heap)
