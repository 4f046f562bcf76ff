"""The log of peers that fail: one record a second at most, because strangers must not fill it. Knows no protocol."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FailureLog"]

_INTERVAL: Final = 1.0

_log = logging.getLogger(__name__)


class FailureLog:
    """Counts what it does not write.

    Args:
        time: the time in seconds.
    """

    __slots__ = ("_next", "_time", "_unlogged")

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._unlogged = 0
        self._next = 0.0

    def warn(self, peer: Callable[[], str], error: Exception) -> None:
        """Write what went wrong with whom, if the last record is old enough."""
        now = self._time()
        if now < self._next:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last message)" if self._unlogged else ""
        _log.warning("%s: %s%s", peer(), error, more)
        self._unlogged = 0
        self._next = now + _INTERVAL
