"""What deserves an operator's look: counted in full, and logged no more often than a person can read.

An `Events` is one endpoint's. Its layers report to it what they refuse, drop or evict, never what goes well: a plain
request costs nothing here. Strangers can cause most of it, so that the number of records for each event and cause is
bounded, and the number of causes, too. Must not know layers, formats or sockets.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

from securecoap.config import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CREDENTIAL_ENDS",
    "CREDENTIAL_EXPIRED",
    "DTLS_DROPPED",
    "EDHOC_FAILED",
    "HANDLER_FAILED",
    "HANDSHAKE_FAILED",
    "LIMIT_NAMES",
    "LIMIT_REACHED",
    "OSCORE_DROPPED",
    "Events",
]

HANDSHAKE_FAILED: Final = "handshake-failed"
DTLS_DROPPED: Final = "dtls-dropped"
OSCORE_DROPPED: Final = "oscore-dropped"
EDHOC_FAILED: Final = "edhoc-failed"
CREDENTIAL_EXPIRED: Final = "credential-expired"
CREDENTIAL_ENDS: Final = "credential-ends"
HANDLER_FAILED: Final = "handler-failed"
LIMIT_REACHED: Final = "limit-reached"

_NOT_REPORTED: Final = frozenset(
    {
        "edhoc_session_seconds",  # how long a context lives
        "amplification_allowance",  # what a stranger gets for nothing is counted with the factor
        "directory_entries", "file_ahead_bytes", "free_disk_bytes",  # a site's own, and seen in its answers
    }
)  # fmt: skip
LIMIT_NAMES: Final = tuple(one.name for one in fields(Limits) if one.name not in _NOT_REPORTED)
"""The bounds of `Limits` that are reported when they are reached."""

_MOST_CAUSES: Final = 512
"""Of one endpoint: our own words, and 256 numbers of alerts. What comes later is counted as ``other``."""
_BURST: Final = 10
_INTERVAL: Final = 1.0
_LIMIT_BURST: Final = 1
_LIMIT_INTERVAL: Final = 10.0
"""A table that is full stays so for a while, and each newcomer says the same."""

# The network causes these by itself, or they cost nobody more than a round trip.
_ROUTINE: Final = frozenset({DTLS_DROPPED, OSCORE_DROPPED, EDHOC_FAILED})
_ROUTINE_LIMITS: Final = frozenset(
    {
        "amplification_factor",
        "cache_entries",
        "cache_bytes",
        "dtls_resumptions",
        "extended_token_peers",
        "kept_echoes",
        "silent_requests",
        "group_responses",
    }
)

_log = logging.getLogger(__name__)


class _Rate:
    """How many records of one kind may be written now."""

    __slots__ = ("allowance", "since", "suppressed")

    def __init__(self, allowance: float, since: float) -> None:
        self.allowance = allowance
        self.since = since
        self.suppressed = 0


class Events:
    """Counts and logs.

    Of each event and cause ten records are written at once and one a second after that; of each limit one in ten
    seconds. The next record says how many were not written (``suppressed``); `close` says it of the rest.

    Args:
        time: seconds of a clock that only goes forward.

    Attributes:
        counts: how often, by event and cause.
    """

    __slots__ = ("_rates", "_time", "counts")

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._rates: dict[tuple[str, str], _Rate] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def report(
        self,
        event: str,
        cause: str,
        text: object,
        peer: Callable[[], str] | None = None,
        *,
        error: BaseException | None = None,
    ) -> None:
        """Count an event, and write it down if not too many were lately.

        Args:
            event: one of the names above.
            cause: a word of ours, never of a peer.
            text: for a person, no key material; made a string only if it is written.
            peer: says whom it was about, if it was about somebody.
            error: of the application, whose traceback is to be seen.
        """
        key = (event, cause)
        rate = self._rates.get(key)
        is_limit = event == LIMIT_REACHED
        burst = _LIMIT_BURST if is_limit else _BURST
        now = self._time()
        if rate is None:
            if len(self._rates) >= _MOST_CAUSES and cause != "other":
                self.report(event, "other", text, peer, error=error)
                return
            rate = self._rates[key] = _Rate(burst, now)
        self.counts[key] = self.counts.get(key, 0) + 1
        earned = (now - rate.since) / (_LIMIT_INTERVAL if is_limit else _INTERVAL)
        rate.allowance = min(float(burst), rate.allowance + earned)
        rate.since = now
        if rate.allowance < 1.0:
            rate.suppressed += 1
            return
        rate.allowance -= 1.0
        members: dict[str, object] = {"event": event, "limit" if is_limit else "cause": cause}
        if peer is not None:
            members["peer"] = peer()
        self._write(key, f"{members['peer']}: {text}" if peer is not None else str(text), members, rate, error)

    def _write(
        self,
        key: tuple[str, str],
        text: str,
        members: dict[str, object],
        rate: _Rate,
        error: BaseException | None = None,
    ) -> None:
        event, cause = key
        members["suppressed"] = rate.suppressed
        more = f" ({rate.suppressed} suppressed)" if rate.suppressed else ""
        rate.suppressed = 0
        is_routine = event in _ROUTINE or (event == LIMIT_REACHED and cause in _ROUTINE_LIMITS)
        level = logging.ERROR if event == HANDLER_FAILED else logging.INFO if is_routine else logging.WARNING
        _log.log(level, "%s (%s): %s%s", event, cause, text, more, extra={"fields": members}, exc_info=error)

    def watch(self, limits: Limits) -> Limits:
        """The same bounds; one that is reached is reported here."""
        return _WatchedLimits(**{one.name: getattr(limits, one.name) for one in fields(Limits)}, events=self)

    def close(self) -> None:
        """Write what was suppressed and not told yet, in one record for each event and cause."""
        for key, rate in self._rates.items():
            if rate.suppressed:
                event, cause = key
                members: dict[str, object] = {"event": event, "limit" if event == LIMIT_REACHED else "cause": cause}
                self._write(key, "more of the same until the end", members, rate)


@dataclass(frozen=True, slots=True)
class _WatchedLimits(Limits):
    events: Events = field(kw_only=True, compare=False, repr=False)

    def reached(self, name: str) -> None:
        self.events.report(LIMIT_REACHED, name, f"Limits.{name} = {getattr(self, name)} is reached")
