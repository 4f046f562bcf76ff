"""What DTLS reports of peers that fail."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from securecoap.config import Limits
from securecoap.dtls.engine import EndReason
from securecoap.errors import HandshakeFailed
from securecoap.events import CREDENTIAL_EXPIRED, DTLS_DROPPED, HANDSHAKE_FAILED, LIMIT_REACHED, Events
from securecoap.transports.failure_log import FailureLog

PEER = ("192.0.2.1", 5000)
SESSION = SimpleNamespace(peer=(PEER, b"local"), source=SimpleNamespace(label=":a", kind="dtls"))


def ended(reason: EndReason = EndReason.EVICTED, seen: Events | None = None) -> None:
    """A session ends."""
    limits = Limits() if seen is None else seen.watch(Limits())
    FailureLog(seen or Events(lambda: 0.0), limits).session_ended(SESSION, reason)


@pytest.fixture
def seen() -> Events:
    return Events(lambda: 0.0)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (HandshakeFailed("no", "decrypt_error"), "decrypt_error"),
        (HandshakeFailed("no", "decrypt_error", "unknown-identity"), "unknown-identity"),
        (HandshakeFailed("silent"), "timeout"),
        (HandshakeFailed("no", "alert 77"), "other-alert"),
    ],
)
def test_causes_of_handshakes(seen, caplog, error, cause):
    FailureLog(seen, Limits()).handshake_failed(PEER, error)
    assert seen.counts == {(HANDSHAKE_FAILED, cause): 1}
    assert caplog.messages == [f"handshake-failed ({cause}): 192.0.2.1:5000: {error}"]


def test_a_certificate_that_is_over_is_a_credential_that_is(seen):
    FailureLog(seen, Limits()).handshake_failed(PEER, HandshakeFailed("its certificate is over", "certificate_expired"))
    assert set(seen.counts) == {(HANDSHAKE_FAILED, "certificate_expired"), (CREDENTIAL_EXPIRED, "certificate")}


@pytest.mark.parametrize("cause", ["replay", "not-decrypted", "no-session"])
def test_records(seen, cause):
    FailureLog(seen, Limits()).record_dropped((PEER, b"local"), cause)
    assert seen.counts == {(DTLS_DROPPED, cause): 1}


def test_sessions(seen, caplog):
    for reason in EndReason:
        ended(reason, seen)
    assert seen.counts == {(LIMIT_REACHED, "dtls_sessions"): 1, (CREDENTIAL_EXPIRED, "dtls"): 1}
    assert "192.0.2.1:5000: a session ends with its credential, :a" in caplog.text
