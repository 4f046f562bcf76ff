"""A client that gives up a handshake and soon begins again, while the server's answers to the first are on their way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securecoap.dtls.messages import HandshakeType, encode_handshake
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.records import ContentType, plaintext_record

from .pair import PLAIN, SENSOR, SERVER, Couple, keys

RESUMING = replace(PLAIN, resumption=True)
ROUND_TRIPS = 0.07
"""In which a handshake is over, with what comes after it; each test looks at every millisecond."""


def resuming() -> Couple:
    """A couple that has had a session, so that the next handshake is shorter."""
    couple = Couple(client_parameters=RESUMING, server_parameters=RESUMING)
    couple.connect()
    couple.client.close(couple.client_session)
    couple.run()
    return couple


@pytest.mark.parametrize("make", [Couple, resuming])
@pytest.mark.parametrize("pause", [0.0, 0.004, 0.011, 0.5])
def test_a_suspended_handshake_is_taken_up_wherever_it_stopped(make, pause):
    for step in range(int(ROUND_TRIPS * 1000)):
        couple = make()
        couple.client.connect(SERVER, SENSOR, couple.now)
        couple.run(until=step / 1000)
        couple.client.suspend(SERVER)
        sent = len(couple.client_events.sent)
        couple.run(until=pause)
        assert len(couple.client_events.sent) == sent
        if couple.client.session(SERVER) is None:
            couple.client.connect(SERVER, SENSOR, couple.now)
            couple.run(until=1.2)  # a flight that came meanwhile was not heard: the server sends it again
        assert couple.client_events.failed == couple.server_events.failed == []
        assert couple.client.send(couple.client_session, b"x")
        couple.run(until=0.1)
        assert couple.server_events.data[-1][1] == b"x"


def test_one_of_another_credential_is_not():
    other = PskCredential(b"other", b"another key")
    couple = Couple(lookup=keys(SENSOR, other))
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=0.035)
    couple.client.suspend(SERVER)
    couple.run(until=0.1)
    couple.client.connect(SERVER, other, couple.now)
    couple.run(until=1)
    assert [session.identity for session in couple.server_events.established] == [b"other"]


def test_nor_one_that_is_old():
    couple = Couple()
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=0.035)
    couple.client.suspend(SERVER)
    couple.run(until=PLAIN.handshake_time_limit / 2)
    before = len(couple.client_events.sent)
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=1)
    assert couple.client_events.sent[before][13] == HandshakeType.CLIENT_HELLO
    assert len(couple.client_events.established) == 1


def test_messages_of_another_handshake_do_not_end_one_that_is_complete():
    """A ticket that was sent for a full handshake has a number that a resumption never gets to."""
    couple = resuming()
    body = encode_handshake(HandshakeType.NEW_SESSION_TICKET, 4, bytes(6))
    stale = [plaintext_record(ContentType.HANDSHAKE, 77, body)]

    def overtake(source, target, datagram):
        early = [stale.pop()] if source == SERVER and stale else []
        return [*early, datagram]

    couple.filter = overtake
    couple.connect()
    assert stale == couple.client_events.failed == []
    assert len(couple.client_events.established) == 2
