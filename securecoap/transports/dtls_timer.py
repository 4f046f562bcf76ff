"""The one timer of a DTLS engine (RFC 6347 section 4.2.4), which has no clock, and says when it has something to do.

Must not know sessions or datagrams.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securecoap.dtls.engine import DtlsEngine
    from securecoap.interfaces import Scheduler, Timer

__all__ = ["EngineTimer"]


class EngineTimer:
    """Has an engine do what is due, when it is.

    Args:
        scheduler: time and timers.
        engine: asked when that is, each time `arm` is called.
    """

    __slots__ = ("_due", "_engine", "_scheduler", "_timer")

    def __init__(self, scheduler: Scheduler, engine: DtlsEngine) -> None:
        self._scheduler = scheduler
        self._engine = engine
        self._timer: Timer | None = None
        self._due = inf

    def arm(self) -> None:
        """Ask the engine, after whatever may have made something due earlier; one that fires early asks again."""
        due = self._engine.next_timeout()
        if due < self._due:
            self.close()
            self._due = due
            self._timer = self._scheduler.call_at(due, self._time_out)

    def close(self) -> None:
        """Have nothing done until `arm`."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = None, inf

    def _time_out(self) -> None:
        due = self._due
        self.close()
        # The loop may call a little early; what is due at that moment is due.
        try:
            self._engine.handle_timeout(max(self._scheduler.time(), due))
        finally:  # whoever is told may raise, a resource for one; the deadlines of all others hold
            self.arm()
