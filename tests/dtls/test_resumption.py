"""Sessions that go on with an abbreviated handshake, by ticket and by ID, and when they may not (RFC 5077, RFC 7627)."""

from __future__ import annotations

import dataclasses
import random

import pytest

from securecoap.config import Limits
from securecoap.dtls.alerts import ALERT_FATAL, Alert, HandshakeFault
from securecoap.dtls.engine import EndReason
from securecoap.dtls.evidence import Evidence, EvidenceKind
from securecoap.dtls.extensions import Extension
from securecoap.dtls.messages import HandshakeType, NewSessionTicket, parse_fragments
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.pending import Pending
from securecoap.dtls.records import ContentType, parse_records
from securecoap.dtls.resumption import Offers, Resumable, ServerResumption
from securecoap.dtls.suites import SUITES, KeyExchangeKind
from securecoap.dtls.tickets import TicketKeys
from securecoap.events import LIMIT_REACHED, Events

from .pair import CLIENT, SENSOR, SERVER, Couple, alert_record, keys

RESUMING = DtlsParameters(connection_ids=False)
WITH_GROUPS = tuple(suite for suite in SUITES.values() if suite.key_exchange is KeyExchangeKind.ECDHE_PSK)


def couple_of(**options) -> Couple:
    options.setdefault("client_parameters", RESUMING)
    options.setdefault("server_parameters", RESUMING)
    return Couple(**options)


def messages(sent) -> list[int]:
    """Types of the plaintext handshake messages."""
    found = []
    for datagram in sent:
        for record in parse_records(datagram):
            if record.content_type == ContentType.HANDSHAKE and record.epoch == 0:
                found += [fragment.message_type for fragment in parse_fragments(record.fragment(datagram))]
    return found


def connect_again(couple: Couple, credential=None) -> tuple[list[int], list[int]]:
    """Shake hands once more; the plaintext messages of both sides."""
    couple.now += 20
    couple.client_events.sent.clear()
    couple.server_events.sent.clear()
    couple.client.connect(SERVER, credential or couple.credential, couple.now)
    couple.run()
    return messages(couple.client_events.sent), messages(couple.server_events.sent)


HELLO, VERIFY, SERVER_HELLO, DONE = 1, 3, 2, 14
ABBREVIATED = ([HELLO, HELLO], [VERIFY, SERVER_HELLO])


def assert_works(couple: Couple) -> None:
    couple.client.send(couple.client_session, b"up")
    couple.server.send(couple.server_session, b"down")
    couple.run()
    assert couple.server_events.data[-1] == (couple.server_session, b"up")
    assert couple.client_events.data[-1] == (couple.client_session, b"down")


@pytest.fixture(params=["ticket", "plain", "id"])
def couple(request, monkeypatch) -> Couple:
    """After a full handshake; the client takes tickets, or does not, or gets none since it has a plain key."""
    if request.param == "id":
        monkeypatch.setattr("securecoap.dtls.client_offer.HELLO_ROOM", 10_000)
    suites = WITH_GROUPS if request.param == "ticket" else RESUMING.suites
    made = couple_of(client_parameters=dataclasses.replace(RESUMING, suites=suites))
    made.connect()
    assert (HandshakeType.NEW_SESSION_TICKET in messages(made.server_events.sent)) is (request.param == "ticket")
    return made


def test_an_abbreviated_handshake_makes_a_new_session(couple):
    first, old = couple.server_session, couple.client_session
    assert connect_again(couple) == ABBREVIATED
    assert_works(couple)
    assert couple.server_session is not first
    assert couple.server_session.claims == SENSOR.claims
    assert couple.server_session.read.secret != first.read.secret
    assert [(session, reason) for session, reason in couple.server_events.ended] == [(first, EndReason.REPLACED)]
    assert not old.alive


def test_it_can_be_done_again_and_again_but_not_for_longer_than_its_lifetime(couple):
    for _ in range(3):
        assert connect_again(couple) == ABBREVIATED
    couple.now += RESUMING.resumption_lifetime
    assert DONE in connect_again(couple)[1]
    assert connect_again(couple) == ABBREVIATED


def test_a_server_that_forgot_makes_a_full_handshake(couple):
    """It was restarted: its ticket keys and session IDs live in memory only."""
    couple.server, couple.server_events = couple.add(SERVER, RESUMING, keys(SENSOR))
    assert DONE in connect_again(couple)[1]
    assert_works(couple)


@pytest.mark.parametrize("network", [{"loss": 0.3}, {"duplication": 0.5, "jitter": 0.3}])
def test_over_a_bad_network(network):
    patient = dataclasses.replace(RESUMING, handshake_time_limit=300.0)
    for seed in range(15):
        couple = couple_of(client_parameters=patient, server_parameters=patient, seed=seed)
        couple.connect()
        couple.loss = network.get("loss", 0.0)
        couple.duplication = network.get("duplication", 0.0)
        couple.jitter = network.get("jitter", 0.0)
        _, sent = connect_again(couple)
        couple.run(until=60)
        assert DONE not in sent
        couple.loss = couple.duplication = couple.jitter = 0.0
        assert_works(couple)
        assert couple.client_events.failed == couple.server_events.failed == []


@pytest.mark.parametrize(
    "now_known", [PskCredential(SENSOR.identity, b"rotated key"), PskCredential(b"somebody else", SENSOR.key)]
)
def test_the_credential_is_checked_again(couple, now_known):
    """One that was removed or got another key lets nobody in: the handshake is a full one, and fails."""
    couple.client.close(couple.client_session)
    couple.run()
    couple.server._environment = dataclasses.replace(couple.server._environment, lookup=keys(now_known))
    _, sent = connect_again(couple)
    assert DONE in sent
    assert [error.alert for _, _, error in couple.client_events.failed] == ["decrypt_error"]
    assert len(couple.client._offers) == 0  # what failed is not offered again


def test_claims_are_those_of_now(couple):
    promoted = PskCredential(SENSOR.identity, SENSOR.key, (":sensor-17", "writer"))
    couple.server._environment = dataclasses.replace(couple.server._environment, lookup=keys(promoted))
    assert connect_again(couple) == ABBREVIATED
    assert couple.server_session.claims == (":sensor-17", "writer")


def test_a_store_may_answer_later(couple):
    asked = Pending()
    couple.server._environment = dataclasses.replace(couple.server._environment, lookup=lambda identity: asked)
    couple.now += 20
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=0.5)
    assert couple.server.handshake_count == 1
    couple.server_events.sent.clear()
    asked.answer(SENSOR, couple.now)
    couple.run(until=5)
    assert DONE not in messages(couple.server_events.sent)
    assert_works(couple)


def test_a_store_that_answers_nobody_later_leads_to_a_full_handshake(couple):
    answers = [Pending(), SENSOR]
    couple.server._environment = dataclasses.replace(couple.server._environment, lookup=lambda identity: answers.pop(0))
    asked = answers[0]
    couple.now += 20
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=0.5)
    asked.answer(None, couple.now)
    couple.run(until=5)
    assert_works(couple)


def test_another_credential_offers_no_session_of_this_one(couple):
    other = PskCredential(b"sensor-18", b"other key")
    couple.server._environment = dataclasses.replace(couple.server._environment, lookup=keys(SENSOR, other))
    assert DONE in connect_again(couple, other)[1]
    assert couple.server_session.identity == b"sensor-18"


def test_a_fatal_alert_ends_what_is_kept_under_its_id(couple):
    kept = len(couple.server._resumption)
    record = alert_record(couple.client_session, ALERT_FATAL, Alert.INTERNAL_ERROR)
    couple.server.receive(record, CLIENT, couple.now)
    assert len(couple.server._resumption) == 0
    assert (kept == 1) is (not any(one == 4 for one in messages(couple.server_events.sent)))


def tampered(couple, change):
    """Run the second handshake with the client's hello changed by ``change`` in front of the server."""
    couple.now += 20
    couple.client.connect(SERVER, SENSOR, couple.now)
    change(couple.client._handshakes.clients[SERVER])  # the hello that answers the cookie is the one that counts
    couple.run()


def test_a_session_does_not_lose_its_extended_master_secret(couple):
    """RFC 7627 section 5.3: the server MUST abort."""

    def change(handshake):
        hello = handshake._hello
        extensions = {number: content for number, content in hello.extensions.items() if number != 23}
        handshake._hello = hello._replace(extensions=extensions)

    tampered(couple, change)
    assert couple.client_events.failed[-1][2].alert == "handshake_failure"
    assert "Extended Master Secret" in str(couple.server_events.failed[-1][2])


def test_a_session_without_an_extended_master_secret_is_never_kept(couple, monkeypatch):
    plain = dict.fromkeys([Extension.EXTENDED_MASTER_SECRET], b"")
    monkeypatch.setattr("securecoap.dtls.client_offer.OFFERABLE", plain)
    monkeypatch.setattr("securecoap.dtls.client_offer.offered_extensions", lambda credential, suites, parameters: {})
    fresh = couple_of()
    fresh.connect()
    assert fresh.client_session.alive
    assert len(fresh.server._resumption) == len(fresh.client._offers) == 0
    assert 4 not in messages(fresh.server_events.sent)


def test_another_server_name_is_another_session():
    """RFC 6066 section 3."""
    names = [dataclasses.replace(SENSOR, server_name=name) for name in ("one.example", "two.example")]
    couple = couple_of(credential=names[0])
    couple.connect()
    offer = couple.client._offers._by_peer[SERVER]
    couple.client._offers.keep(SERVER, dataclasses.replace(offer, credential=names[1]))
    assert DONE in connect_again(couple, names[1])[1]
    assert connect_again(couple, names[1]) == ABBREVIATED


def test_switched_off_nothing_is_offered_or_kept():
    off = dataclasses.replace(RESUMING, resumption=False)
    for client, server in ((off, RESUMING), (RESUMING, off)):
        couple = couple_of(client_parameters=client, server_parameters=server)
        couple.connect()
        assert 4 not in messages(couple.server_events.sent)
        assert DONE in connect_again(couple)[1]


def test_a_server_that_changes_the_suite_is_refused(couple):
    offer = couple.client._offers._by_peer[SERVER]
    couple.client._offers.keep(SERVER, dataclasses.replace(offer, suite=SUITES[0x00A8]))
    connect_again(couple)
    assert couple.client_events.failed[-1][2].alert == "illegal_parameter"


# The parts by themselves.

EVIDENCE = Evidence.of_identity(b"sensor-17")


def resumable(**changes) -> Resumable:
    return dataclasses.replace(Resumable(0xC0A8, bytes(48), EVIDENCE, b"b" * 16, b"name", 1000.5), **changes)


@pytest.mark.parametrize(
    "evidence", [EVIDENCE, Evidence(EvidenceKind.CERTIFICATES, (bytes(900), b"ca")), Evidence.of_identity(b"")]
)
def test_state_is_what_it_was(evidence):
    state = resumable(evidence=evidence)
    assert Resumable.decode(state.encode()) == state
    assert "master" not in repr(state)


def test_a_pre_shared_key_is_bound_when_somebody_asks():
    resumption = ServerResumption(random.Random(1).randbytes, 100.0, Limits(), 1000.0)
    resumption.keep(b"id", (SUITES[0xC0A8], bytes(48), SENSOR, b"name", 1000.5))
    found = resumption.find(b"id", b"", 1001.0)
    assert found is not None
    assert (found.suite, found.master, found.server_name, found.made_at) == (0xC0A8, bytes(48), b"name", 1000.5)
    assert found.evidence == Evidence.of_identity(SENSOR.identity)
    assert found.is_bound_to(SENSOR)
    assert not found.is_bound_to(dataclasses.replace(SENSOR, key=b"another key"))


def test_evidence_that_is_none():
    for wrong in (b"", b"\x00", b"\x07\x00\x00\x01a", b"\x00\x00\x00\x05a"):
        with pytest.raises((ValueError, HandshakeFault)):
            Evidence.decode(wrong)


def test_ticket_keys_rotate_and_old_tickets_go():
    randbytes = random.Random(1).randbytes
    tickets = TicketKeys(randbytes, 100.0, 0.0)
    first = tickets.seal(b"state", 10.0)
    assert tickets.open(first, 99.0) == b"state"
    assert tickets.open(first, 150.0) == b"state"  # under the predecessor
    second = tickets.seal(b"state", 150.0)
    assert second[:16] != first[:16]
    assert tickets.open(first, 201.0) is None
    assert tickets.open(second, 201.0) == b"state"
    assert tickets.open(second, 1000.0) is None  # after a long pause


@pytest.mark.parametrize("position", [0, 16, 20, 30, -1])
def test_a_ticket_that_was_changed_is_none(position):
    tickets = TicketKeys(random.Random(1).randbytes, 100.0, 0.0)
    ticket = bytearray(tickets.seal(b"state", 0.0))
    ticket[position] ^= 1
    assert tickets.open(bytes(ticket), 0.0) is None
    assert tickets.open(bytes(ticket)[:position], 0.0) is None
    assert TicketKeys(random.Random(2).randbytes, 100.0, 0.0).open(tickets.seal(b"state", 0.0), 0.0) is None


def test_no_key_material_shows_in_a_ticket_or_repr():
    tickets = TicketKeys(random.Random(1).randbytes, 100.0, 0.0)
    assert b"secret state" not in tickets.seal(b"secret state", 0.0)
    couple = couple_of()
    couple.connect()
    offer = couple.client._offers._by_peer[SERVER]
    assert offer.master.hex() not in repr(offer)
    assert repr(offer.master) not in repr(offer)


def test_sessions_by_id_are_bounded_and_the_one_used_longest_ago_goes():
    resumption = ServerResumption(random.Random(1).randbytes, 100.0, Limits(dtls_resumptions=3), 1000.0)
    ids = [bytes((number,)) * 32 for number in range(4)]
    for one in ids[:3]:
        resumption.keep(one, resumable().encode())
    assert resumption.find(ids[0], b"", 1001.0) is not None
    resumption.keep(ids[3], resumable().encode())
    assert len(resumption) == 3
    assert resumption.find(ids[1], b"", 1001.0) is None
    assert resumption.find(ids[0], b"", 1001.0) is not None
    assert resumption.find(ids[0], b"", 1100.6) is None
    assert resumption.find(b"", b"junk", 1001.0) is None


def test_of_many_sessions_by_id_a_sixty_fourth_goes_at_once():
    events = Events(lambda: 1000.0)
    limits = events.watch(Limits(dtls_resumptions=128))
    resumption = ServerResumption(random.Random(1).randbytes, 100.0, limits, 1000.0)
    ids = [bytes((number,)) * 32 for number in range(131)]
    for one in ids:
        resumption.keep(one, resumable().encode())
        assert len(resumption) <= 128
    assert events.counts == {(LIMIT_REACHED, "dtls_resumptions"): 2}
    assert [resumption.find(one, b"", 1001.0) is not None for one in ids] == [False] * 4 + [True] * 127


def test_a_state_too_large_for_a_ticket_stays_here():
    resumption = ServerResumption(random.Random(1).randbytes, 100.0, Limits(dtls_resumptions=3), 1000.0)
    state = resumable(evidence=Evidence(EvidenceKind.CERTIFICATES, (bytes(2000),)))
    ticket = resumption.ticket(state, 1000.5)
    assert len(ticket) < 100
    assert resumption.find(b"any", ticket, 1001.0) == state
    assert len(resumption) == 1


def test_offers_are_bounded():
    couple = couple_of()
    couple.connect()
    offer = couple.client._offers._by_peer[SERVER]
    offers = Offers(100.0, Limits(dtls_resumptions=2), 1232)
    for number in range(3):
        offers.keep(number, offer)
    assert len(offers) == 2
    assert offers.find(0, SENSOR, couple.now) is None
    assert offers.find(2, SENSOR, couple.now) is offer
    assert offers.find(2, SENSOR, couple.now + 101) is None
    offers.keep(2, dataclasses.replace(offer, ticket=bytes(1000)))
    assert offers.find(2, SENSOR, couple.now) is None


def test_new_session_ticket_message():
    message = NewSessionTicket(3600, b"ticket")
    assert message.encode() == bytes.fromhex("00000e100006") + b"ticket"
    assert NewSessionTicket.parse(message.encode()) == message


def test_limits_name_the_bound():
    assert Limits().dtls_resumptions == 10_000
