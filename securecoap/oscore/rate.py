"""How many answers a second may be given that no peer has earned (RFC 8613 section 8.2, appendix B.1.2).

One generation of counters, thrown away each second: nothing to evict, and a bound that strangers cannot raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["RateLimiter"]

_ENTRIES: Final = 4_096


class RateLimiter:
    """Counts by key, for each second of the clock.

    At most 4,096 keys are counted in a second; whoever comes later is refused until the next one begins.

    Args:
        per_second: how often `allows` says yes to one key.
        time: the clock, in seconds.
    """

    __slots__ = ("_counts", "_per_second", "_second", "_time")

    def __init__(self, per_second: float, time: Callable[[], float]) -> None:
        self._per_second = per_second
        self._time = time
        self._second = -1
        self._counts: dict[Hashable, int] = {}

    def allows(self, key: Hashable) -> bool:
        """Whether one more is allowed; it is counted."""
        second = int(self._time())
        if second != self._second:
            self._second = second
            self._counts.clear()
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= _ENTRIES:
                return False
            count = 0
        self._counts[key] = count + 1
        return count < self._per_second
