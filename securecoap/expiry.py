"""Credentials that end: those that end soon are reported in time, and so is the use of one that is over.

What ends at which moment is the affair of those who hold sessions and contexts. Here it is said, for an operator.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from securecoap.events import CREDENTIAL_ENDS, CREDENTIAL_EXPIRED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from securecoap.credentials import CredentialsMap
    from securecoap.credentials.models import Credential
    from securecoap.events import Events

__all__ = ["WARNING_DAYS", "ExpiryWatch", "date_of"]

WARNING_DAYS: Final = 14
"""How long before the end of a label's last key there are warnings, once a day."""
_DAY: Final = 86_400.0
_INTERVAL: Final = 3600.0
"""Seconds between two looks: clocks may be set."""


class ExpiryWatch:
    """Watches the credentials of one endpoint.

    Args:
        events: takes the reports.
        clock: seconds since 1970.
    """

    def __init__(self, events: Events, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._credentials: CredentialsMap | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[str, float] = {}

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop whose timers are used."""
        self._loop = loop
        self._look()

    def use(self, credentials: CredentialsMap) -> None:
        """Watch these from now on; what is said of them is said at once, for those that were not told of today."""
        self._credentials = credentials
        if self._loop is not None:
            self._look()

    def report_use(self, credential: Credential | None) -> None:
        """Say that a peer wants to use a credential that is not valid now; ``None`` is nobody's."""
        if credential is None:
            return
        validity, now = credential.validity, self._clock()
        if now >= validity.not_after:
            self._events.report(
                CREDENTIAL_EXPIRED, credential.kind, f"{credential.label} has ended on {date_of(validity.not_after)}"
            )
        elif now < validity.not_before:
            self._events.report(
                CREDENTIAL_EXPIRED, credential.kind, f"{credential.label} begins on {date_of(validity.not_before)} only"
            )

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop = self._credentials = None
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._stop()
        endings = () if self._credentials is None else self._credentials.endings
        now = self._clock()
        told = {label: when for label, when in self._told.items() if now < when + _DAY}
        for end, label in endings:
            if end >= now + WARNING_DAYS * _DAY:
                break
            if label in told:
                continue
            told[label] = now
            if end > now:
                text = f"{label} ends on {date_of(end)}"
                self._events.report(CREDENTIAL_ENDS, "soon", text)
            else:
                self._events.report(CREDENTIAL_ENDS, "over", f"{label} has ended on {date_of(end)}")
        self._told = told
        if endings and self._loop is not None:
            self._timer = self._loop.call_later(_INTERVAL, self._look)


def date_of(when: float) -> str:
    """Seconds since 1970 as RFC 3339 has it."""
    try:
        return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return "a day that no calendar has"
