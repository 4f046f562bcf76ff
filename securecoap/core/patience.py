"""How long many requests wait, with one timer for all of them: each has the same span, so the oldest is the next due.

It knows no message; whoever waits is told that it has waited for too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

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

    def add(self, item: T) -> None:
        """It begins to wait."""
        due = self._waiting[item] = self._scheduler.time() + self._span
        if self._timer is None:
            self._timer = self._scheduler.call_at(due, self._run)

    def discard(self, item: T) -> None:
        """It does not wait any more."""
        self._waiting.pop(item, None)

    def _run(self) -> None:
        self._timer = None
        now = self._scheduler.time()
        while self._waiting:
            item, due = next(iter(self._waiting.items()))
            if due > now:
                self._timer = self._scheduler.call_at(due, self._run)
                return
            del self._waiting[item]
            self._expired(item)

    def close(self) -> None:
        """Forget everybody."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __len__(self) -> int:
        return len(self._waiting)
