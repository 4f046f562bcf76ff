"""The log of peers that fail: one record a second at most, because strangers must not fill it. Knows no protocol."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.errors import HandshakeFailed

__all__ = ["FailureLog"]

_INTERVAL: Final = 1.0

_log = logging.getLogger(__name__)


class FailureLog:
    """Counts what it does not write.

    Args:
        time: the time in seconds.

    Attributes:
        counts: of all failures, by the name of the alert that ended it; ``timeout`` for none.
    """

    __slots__ = ("_next", "_time", "_unlogged", "counts")

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._unlogged = 0
        self._next = 0.0
        self.counts: dict[str, int] = {}

    def warn(self, peer: Callable[[], str], error: HandshakeFailed) -> None:
        """Count it, and write what went wrong with whom, if the last record is old enough."""
        cause = error.alert or "timeout"
        self.counts[cause] = self.counts.get(cause, 0) + 1
        now = self._time()
        if now < self._next:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last message)" if self._unlogged else ""
        members = {"event": "handshake-failed", "peer": peer(), "cause": cause, "unlogged": self._unlogged}
        _log.warning("%s: %s%s", members["peer"], error, more, extra={"fields": members})
        self._unlogged = 0
        self._next = now + _INTERVAL
