"""What is counted, what is logged, and how often; every bound of `Limits` tells when it is reached."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from securecoap import events
from securecoap.config import Limits
from securecoap.events import (
    EDHOC_FAILED,
    HANDLER_FAILED,
    HANDSHAKE_FAILED,
    LIMIT_NAMES,
    LIMIT_REACHED,
    OSCORE_DROPPED,
    Events,
)

PACKAGE = Path(events.__file__).parent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_ten_records_at_once_one_a_second_after_that_and_all_are_counted(clock, caplog):
    seen = Events(clock)
    for _ in range(25):
        seen.report(HANDSHAKE_FAILED, "decrypt_error", "no", lambda: "192.0.2.1")
    assert len(caplog.records) == 10
    assert caplog.messages[0] == "handshake-failed (decrypt_error): 192.0.2.1: no"
    clock.now += 1.0
    for _ in range(3):
        seen.report(HANDSHAKE_FAILED, "decrypt_error", "no", lambda: "192.0.2.2")
    assert caplog.messages[10:] == ["handshake-failed (decrypt_error): 192.0.2.2: no (15 suppressed)"]
    assert caplog.records[10].fields == {
        "event": "handshake-failed", "cause": "decrypt_error", "peer": "192.0.2.2", "suppressed": 15,
    }  # fmt: skip
    seen.close()
    assert caplog.messages[11:] == ["handshake-failed (decrypt_error): more of the same until the end (2 suppressed)"]
    assert seen.counts == {(HANDSHAKE_FAILED, "decrypt_error"): 28}


def test_causes_do_not_hide_each_other(clock, caplog):
    seen = Events(clock)
    for _ in range(20):
        seen.report(HANDSHAKE_FAILED, "timeout", "silent")
    seen.report(HANDSHAKE_FAILED, "unknown-identity", "who?")
    assert caplog.messages[-1] == "handshake-failed (unknown-identity): who?"


def test_a_pause_earns_no_more_than_ten_records(clock, caplog):
    caplog.set_level(logging.INFO, "securecoap.events")
    seen = Events(clock)
    for _ in range(2):
        clock.now += 86_400.0
        caplog.clear()
        for _ in range(100):
            seen.report(OSCORE_DROPPED, "replay", "x")
        assert len(caplog.records) == 10
    assert seen.counts == {(OSCORE_DROPPED, "replay"): 200}


def test_a_text_is_made_only_if_it_is_written(clock):
    seen = Events(clock)
    made = []

    class Text:
        def __str__(self) -> str:
            made.append(1)
            return "text"

    for _ in range(1000):
        seen.report(HANDSHAKE_FAILED, "timeout", Text(), lambda: made.append(2) or "peer")
    assert len(made) == 20


def test_what_networks_cause_is_information(clock, caplog):
    caplog.set_level(logging.INFO, "securecoap.events")
    seen = Events(clock)
    for event in (OSCORE_DROPPED, EDHOC_FAILED, HANDSHAKE_FAILED):
        seen.report(event, "x", "y")
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]


def test_a_client_that_is_not_known_yet_is_no_reason_to_warn(clock, caplog):
    """Whoever asks for the list of resources without security exceeds what strangers are sent."""
    caplog.set_level(logging.INFO, "securecoap.events")
    seen = Events(clock)
    limits = seen.watch(Limits())
    limits.reached("amplification_factor")
    limits.reached("peers")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_tracebacks_of_an_application_are_suppressed_like_everything_else(clock, caplog):
    seen = Events(clock)
    for _ in range(25):
        seen.report(HANDLER_FAILED, "ValueError", "the handler failed", error=ValueError("why"))
    assert [(record.levelname, record.exc_info[1].args) for record in caplog.records] == [("ERROR", ("why",))] * 10
    assert seen.counts[HANDLER_FAILED, "ValueError"] == 25
    seen.close()
    assert caplog.records[-1].exc_info is None
    assert caplog.records[-1].fields["suppressed"] == 15


def test_the_number_of_causes_is_bounded(clock, caplog):
    seen = Events(clock)
    for number in range(2000):
        seen.report(HANDSHAKE_FAILED, f"cause {number}", "x")
    assert len(seen.counts) == 513
    assert seen.counts[HANDSHAKE_FAILED, "other"] == 2000 - 512
    assert sum(seen.counts.values()) == 2000
    assert len(caplog.records) == 512 + 10


def test_a_limit_is_told_once_in_ten_seconds(clock, caplog):
    seen = Events(clock)
    limits = seen.watch(Limits(peers=7))
    for _ in range(5):
        limits.reached("peers")
        clock.now += 4.0
    assert caplog.messages == [
        "limit-reached (peers): Limits.peers = 7 is reached",
        "limit-reached (peers): Limits.peers = 7 is reached (2 suppressed)",
    ]
    assert caplog.records[1].fields == {"event": "limit-reached", "limit": "peers", "suppressed": 2}
    assert seen.counts == {(LIMIT_REACHED, "peers"): 5}


def test_watched_limits_are_the_same_limits(clock):
    seen = Events(clock)
    limits = Limits(peers=3, token_length=9)
    watched = seen.watch(limits)
    assert isinstance(watched, Limits)
    assert all(getattr(watched, one.name) == getattr(limits, one.name) for one in fields(Limits))
    changed = replace(watched, body_bytes=5)
    changed.reached("body_bytes")
    assert seen.counts == {(LIMIT_REACHED, "body_bytes"): 1}
    assert "events" not in repr(watched)
    limits.reached("peers")  # nobody watches
    assert (LIMIT_REACHED, "peers") not in seen.counts


def test_every_limit_is_reported_somewhere():
    """Which is no proof that it is reported where it should be: that is for the tests of each table."""
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    named = {name for call in re.findall(r"reached\((.*)", source) for name in re.findall(r'"(\w+)"', call)}
    named |= set(re.findall(r'body_limit(?:: str)? ?= ?"(\w+)"', source))
    assert named == set(LIMIT_NAMES)
    assert {one.name for one in fields(Limits)} - named == events._NOT_REPORTED


def test_records_are_json(clock, caplog):
    Events(clock).watch(Limits()).reached("peers")
    assert json.loads(json.dumps(caplog.records[0].fields))["limit"] == "peers"
