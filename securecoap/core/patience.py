"""How long many requests wait, with one timer for all of them: each has the same span, so the oldest is the next due.

Where some begin later than they were added (`Patience.delay`), their order is looked at again whenever the timer runs,
until that time has passed.

It knows no message; whoever waits is told that it has waited for too long.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import Scheduler, Timer

__all__ = ["Patience"]

T = TypeVar("T")


class Patience(dict[T, float], Generic[T]):
    """Those that wait, in the order in which they began, and until when. ``pop`` lets one go.

    Args:
        scheduler: time and the one timer.
        span: seconds for each.
        expired: called with each whose time has come.
    """

    __slots__ = ("_expired", "_in_order_from", "_scheduler", "_span", "_timer")

    def __init__(self, scheduler: Scheduler, span: float, expired: Callable[[T], object]) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._span = span
        self._expired = expired
        self._timer: Timer | None = None
        self._in_order_from = float("-inf")

    def add(self, item: T, now: float) -> None:
        """It begins to wait; ``now`` is the scheduler's time."""
        due = self[item] = now + self._span
        if self._timer is None:
            self._timer = self._scheduler.call_at(due, self._run)

    def delay(self, item: T, begins_at: float) -> None:
        """If it still waits, its span begins only then."""
        if item in self:
            self[item] = max(self[item], begins_at + self._span)
            self._in_order_from = max(self._in_order_from, begins_at)

    def _run(self) -> None:
        now = self._scheduler.time()
        late = []
        next_due = None
        is_mixed = now - self._span < self._in_order_from  # what was added so long ago may be due before others
        if is_mixed:
            in_order = sorted(self.items(), key=itemgetter(1))
            self.clear()
            self.update(in_order)
        for item, due in self.items():
            if due > now:
                next_due = due
                break
            late.append(item)
        if is_mixed and next_due is not None:
            next_due = min(next_due, now + self._span)  # others that are added now are due then
        # Before anybody is told, who may add others, or end some of them.
        self._timer = None if next_due is None else self._scheduler.call_at(next_due, self._run)
        for item in late:
            if self.pop(item, None) is not None:
                self._expired(item)

    def close(self) -> None:
        """Forget everybody."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
