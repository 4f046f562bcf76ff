"""The log of peers that fail."""

from __future__ import annotations

from securecoap.errors import HandshakeFailed
from securecoap.transports.failure_log import FailureLog


def test_one_record_a_second_and_the_others_are_counted(caplog):
    now = 100.0
    failures = FailureLog(lambda: now)
    for _ in range(5):
        failures.warn(lambda: "192.0.2.1", HandshakeFailed("no", "decrypt_error"))
    assert caplog.messages == ["192.0.2.1: no"]
    now = 101.0
    failures.warn(lambda: "192.0.2.2", HandshakeFailed("neither", "decrypt_error"))
    assert caplog.messages[1:] == ["192.0.2.2: neither (4 more since the last message)"]
    now = 102.0
    failures.warn(lambda: "192.0.2.3", HandshakeFailed("nor this"))
    assert caplog.messages[2:] == ["192.0.2.3: nor this"]
    assert failures.counts == {"decrypt_error": 6, "timeout": 1}
    assert [record.fields["cause"] for record in caplog.records] == ["decrypt_error", "decrypt_error", "timeout"]
    assert {record.fields["event"] for record in caplog.records} == {"handshake-failed"}
