"""How long many requests wait, with one timer for all of them: each has the same span, so the oldest is the next due.

It knows no message; whoever waits is told that it has waited for too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from securecoap.interfaces import Scheduler, Timer

__all__ = ["Patience"]

T = TypeVar("T")


class Patience(Generic[T]):
    """Those that wait, in the order in which they began.

    Args:
        scheduler: time and the one timer.
        span: seconds for each.
        expired: called with each whose time has come.
    """

    __slots__ = ("_expired", "_scheduler", "_span", "_timer", "_waiting")

    def __init__(self, scheduler: Scheduler, span: float, expired: Callable[[T], object]) -> None:
        self._scheduler = scheduler
        self._span = span
        self._expired = expired
        self._waiting: dict[T, float] = {}
        self._timer: Timer | None = None

    def add(self, item: T, now: float) -> None:
        """It begins to wait; ``now`` is the scheduler's time."""
        due = self._waiting[item] = now + self._span
        if self._timer is None:
            self._timer = self._scheduler.call_at(due, self._run)

    def discard(self, item: T) -> None:
        """It does not wait any more."""
        self._waiting.pop(item, None)

    def _run(self) -> None:
        now = self._scheduler.time()
        late = []
        next_due = None
        for item, due in self._waiting.items():
            if due > now:
                next_due = due
                break
            late.append(item)
        # Before anybody is told, who may add others, or end some of them.
        self._timer = None if next_due is None else self._scheduler.call_at(next_due, self._run)
        for item in late:
            if self._waiting.pop(item, None) is not None:
                self._expired(item)

    def close(self) -> None:
        """Forget everybody."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __iter__(self) -> Iterator[T]:
        """Those that wait now; they may be discarded meanwhile."""
        return iter(list(self._waiting))

    def __len__(self) -> int:
        return len(self._waiting)
