"""Alerts, and the one error of this package (RFC 5246 section 7.2, RFC 6347 section 4.1.2.7).

Knows the alert codes and their two-byte form. Must not know records, handshakes or sessions: who may send an alert, and
which received ones count, is decided where the record was authenticated (or was not).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["ALERT_FATAL", "ALERT_WARNING", "Alert", "HandshakeFault", "alert_name", "encode_alert", "parse_alert"]

ALERT_WARNING: Final = 1
ALERT_FATAL: Final = 2


class Alert(IntEnum):
    """AlertDescription: RFC 5246 section 7.2, and those of RFC 4279, 6066, 7507 that a DTLS 1.2 peer may send."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNSUPPORTED_EXTENSION = 110
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    UNKNOWN_PSK_IDENTITY = 115


class HandshakeFault(Exception):
    """The peer's bytes cannot be part of a handshake. The only error that this package raises for what a peer sent.

    Attributes:
        alert: what the peer is to be told.
    """

    def __init__(self, alert: Alert, text: str) -> None:
        super().__init__(text)
        self.alert = alert


_NAMES: Final = {alert.value: alert.name.lower() for alert in Alert}


def alert_name(code: int) -> str:
    """Return the RFC's name of an alert code, such as ``decrypt_error``; ``alert 99`` where the code has none."""
    return _NAMES.get(code) or f"alert {code}"


def encode_alert(level: int, alert: Alert) -> bytes:
    """Return the two bytes of an alert record's fragment."""
    return bytes((level, alert))


def parse_alert(fragment: bytes) -> tuple[bool, int] | None:
    """Return (ends the connection, code), or ``None`` for bytes that are no alert.

    ``close_notify`` ends a connection whatever its level is (RFC 5246 section 7.2.1).
    """
    if len(fragment) != 2 or fragment[0] not in (ALERT_WARNING, ALERT_FATAL):
        return None
    return fragment[0] == ALERT_FATAL or fragment[1] == Alert.CLOSE_NOTIFY, fragment[1]
