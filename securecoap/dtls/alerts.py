"""Alerts, and the one error of this package (RFC 5246 section 7.2, RFC 6347 section 4.1.2.7).

Knows the alert codes and their two-byte form. Must not know records, handshakes or sessions: who may send an alert, and
which received ones count, is decided where the record was authenticated (or was not).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = [
    "ALERT_FATAL",
    "ALERT_WARNING",
    "CLOSE_NOTIFY",
    "Alert",
    "HandshakeFault",
    "alert_name",
    "described",
    "encode_alert",
    "parse_alert",
]

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


_FAULT_OF_ONE: Final = "one of the two does not follow the protocol"
_KEY_OR_CERTIFICATE: Final = "it does not accept this end's key or certificate"
_ADVICE: Final[dict[int, str]] = {
    Alert.BAD_RECORD_MAC: "the two derived different keys: is the pre-shared key the same, and the identity its own?",
    Alert.DECRYPT_ERROR: "the pre-shared key is not the one that it has for this identity, or it has no such identity",
    Alert.UNKNOWN_PSK_IDENTITY: "it has no such identity",
    Alert.HANDSHAKE_FAILURE: "nothing in common: look at the kinds of credentials and the cipher suites of both sides",
    Alert.INSUFFICIENT_SECURITY: "it demands stronger cipher suites",
    Alert.PROTOCOL_VERSION: "it does not speak DTLS 1.2",
    Alert.UNKNOWN_CA: "it does not trust the authority of this end's certificate",
    Alert.BAD_CERTIFICATE: _KEY_OR_CERTIFICATE,
    Alert.CERTIFICATE_UNKNOWN: _KEY_OR_CERTIFICATE,
    Alert.UNSUPPORTED_CERTIFICATE: "it takes another kind of key: raw public key or certificate?",
    Alert.CERTIFICATE_EXPIRED: "this end's certificate is not valid now; are both clocks right?",
    Alert.CERTIFICATE_REVOKED: "this end's certificate was revoked",
    Alert.ACCESS_DENIED: "it does not know whose this key or certificate is",
    Alert.UNRECOGNIZED_NAME: "it does not have the name that it was asked for",
    Alert.ILLEGAL_PARAMETER: _FAULT_OF_ONE,
    Alert.DECODE_ERROR: _FAULT_OF_ONE,
    Alert.UNEXPECTED_MESSAGE: _FAULT_OF_ONE,
    Alert.UNSUPPORTED_EXTENSION: _FAULT_OF_ONE,
    Alert.INTERNAL_ERROR: "it has a problem of its own: see its log",
}


def described(code: int) -> str:
    """Return an alert's name, and what a person should look at when a peer refuses a handshake with it."""
    hint = _ADVICE.get(code)
    return f"{alert_name(code)} ({hint})" if hint else alert_name(code)


def encode_alert(level: int, alert: Alert) -> bytes:
    """Return the two bytes of an alert record's fragment."""
    return bytes((level, alert))


CLOSE_NOTIFY: Final = encode_alert(ALERT_WARNING, Alert.CLOSE_NOTIFY)
"""The alert that ends a connection in good order (RFC 5246 section 7.2.1)."""
_CLOSE_NOTIFY_CODE: Final = int(Alert.CLOSE_NOTIFY)


def parse_alert(fragment: bytes) -> tuple[bool, int] | None:
    """Return (ends the connection, code), or ``None`` for bytes that are no alert.

    ``close_notify`` ends a connection whatever its level is (RFC 5246 section 7.2.1).
    """
    if len(fragment) != 2 or not ALERT_WARNING <= fragment[0] <= ALERT_FATAL:
        return None
    return fragment[0] == ALERT_FATAL or fragment[1] == _CLOSE_NOTIFY_CODE, fragment[1]
