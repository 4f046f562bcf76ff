"""What DTLS has to say of peers that fail, in the words of `securecoap.events`. Knows no records and no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from securecoap.dtls.engine import EndReason
from securecoap.events import CREDENTIAL_EXPIRED, DTLS_DROPPED, HANDSHAKE_FAILED
from securecoap.transports.resolver import hostinfo

if TYPE_CHECKING:
    from securecoap.config import Limits
    from securecoap.errors import HandshakeFailed
    from securecoap.events import Events

__all__ = ["FailureLog"]

_EXPIRED = "certificate_expired"
_TEXTS = {
    "replay": "a record that was received before, or is too old to tell",
    "not-decrypted": "a record that does not open",
    "no-session": "a record of a session that is not here (any more)",
}


class FailureLog:
    """Reports for one bound endpoint.

    Args:
        events: takes the reports.
        limits: told when a session had to go for another one.
    """

    __slots__ = ("_events", "_limits")

    def __init__(self, events: Events, limits: Limits) -> None:
        self._events = events
        self._limits = limits

    def handshake_failed(self, peer: Any, error: HandshakeFailed) -> None:
        """A peer did not become a session."""
        cause = error.cause if not error.cause.startswith("alert ") else "other-alert"
        self._events.report(HANDSHAKE_FAILED, cause, error, lambda: _name(peer))
        if cause == _EXPIRED:
            self._events.report(CREDENTIAL_EXPIRED, "certificate", error, lambda: _name(peer))

    def record_dropped(self, peer: Any, cause: str) -> None:
        """See `DtlsEvents`."""
        self._events.report(DTLS_DROPPED, cause, _TEXTS[cause], lambda: _name(peer))

    def session_ended(self, session: Any, reason: EndReason) -> None:
        """A session is gone, and its peer may not have wanted that."""
        if reason is EndReason.EVICTED:
            self._limits.reached("dtls_sessions")
        elif reason is EndReason.EXPIRED:
            text = f"a session ends with its credential, {session.source.label}"
            self._events.report(CREDENTIAL_EXPIRED, session.source.kind, text, lambda: _name(session.peer))


def _name(peer: Any) -> str:
    return hostinfo(peer[0] if type(peer[0]) is tuple else peer, 0)
