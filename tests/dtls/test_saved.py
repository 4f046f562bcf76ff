"""Sessions that survive a restart of their server, and those that must not."""

from __future__ import annotations

import dataclasses
from itertools import count

import pytest

from securecoap.dtls.engine import EndReason
from securecoap.dtls.evidence import Evidence
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.saved import unpack_session
from securecoap.dtls.suites import SUITES

from .pair import CLIENT, SENSOR, SERVER, Couple, Pair, keys

ROAMING = DtlsParameters()


def running(parameters: DtlsParameters | None = ROAMING) -> Couple:
    couple = Couple(client_parameters=parameters, server_parameters=parameters)
    couple.connect()
    return couple


def restart(couple: Pair, lookup=None, parameters=ROAMING, elapsed: float = 5.0) -> tuple[list, list[bool]]:
    """End the server, and begin anew with what it saved."""
    saved = couple.endpoints[SERVER].save(couple.now)
    couple.endpoints[SERVER].shutdown()
    couple.now += elapsed
    server, _ = couple.add(SERVER, parameters, lookup or keys(SENSOR))
    answers = [server.ask_again(one.evidence) for one in saved]
    return saved, [server.restore(one, answer, couple.now, elapsed) for one, answer in zip(saved, answers, strict=True)]


@pytest.mark.parametrize("parameters", [None, ROAMING])
def test_a_client_goes_on_without_a_word(parameters):
    couple = running(parameters)
    session = couple.client_session
    couple.client.send(session, b"before")
    couple.run()
    handshakes = len(couple.client_events.established)
    _, restored = restart(couple, parameters=parameters)
    assert restored == [True]
    assert session.alive
    couple.client.send(session, b"after")
    couple.run()
    assert [data for _, data in couple.recorders[SERVER].data] == [b"after"]
    at_server = couple.endpoints[SERVER].session(CLIENT)
    assert at_server.claims == SENSOR.claims
    couple.endpoints[SERVER].send(at_server, b"down")
    couple.run()
    assert couple.client_events.data[-1] == (session, b"down")
    assert len(couple.client_events.established) == handshakes
    assert couple.client_events.ended == []


class Direct(Pair):
    """Delivers at once: with many endpoints, looking after each one's timers takes most of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list = []

    def carry(self, source, target, datagram):
        self.waiting.append((source, target, datagram))

    def run(self, until=None):
        while self.waiting:
            source, target, datagram = self.waiting.pop(0)
            self.endpoints[target].receive(datagram, source, self.now)


def test_1000_clients_go_on_and_none_is_lost():
    pair = Direct()
    credentials = [PskCredential(b"sensor-%d" % number, b"key %d" % number) for number in range(1000)]
    pair.add(SERVER, ROAMING, keys(*credentials))
    addresses = [(f"192.0.2.{number % 250}", number) for number in range(1000)]
    for address, credential in zip(addresses, credentials, strict=True):
        pair.add(address, ROAMING)[0].connect(SERVER, credential, pair.now)
        pair.run()
    _, restored = restart(pair, keys(*credentials))
    assert restored == [True] * 1000
    server, events = pair.endpoints[SERVER], pair.recorders[SERVER]
    assert server.session_count == 1000
    for address in addresses:
        endpoint = pair.endpoints[address]
        assert endpoint.send(endpoint.session(SERVER), b"still here")
        pair.run()
    assert len(events.data) == 1000
    assert {session.identity for session, _ in events.data} == {credential.identity for credential in credentials}
    assert all(pair.recorders[address].ended == [] for address in addresses)


def test_numbers_and_replay_window_go_on():
    couple = running()
    records = [couple.client_session.seal_application(b"%d" % number) for number in range(4)]
    for record in records[:3]:
        couple.server.receive(record, CLIENT, couple.now)
    couple.server.send(couple.server_session, b"x")
    before = couple.server_session.write.next_number
    restart(couple)
    server, events = couple.endpoints[SERVER], couple.recorders[SERVER]
    assert server.session(CLIENT).write.next_number == before
    for record in records:
        server.receive(record, CLIENT, couple.now)
    assert [data for _, data in events.data] == [b"3"]


def test_a_session_that_was_saved_does_nothing_any_more():
    couple = running()
    session = couple.server_session
    sent = len(couple.server_events.sent)
    couple.server.save(couple.now)
    assert [(one, reason) for one, reason in couple.server_events.ended] == [(session, EndReason.SAVED)]
    assert not session.alive
    couple.client.send(couple.client_session, b"x")
    couple.run()
    couple.server.shutdown()
    assert couple.server_events.data == []
    assert len(couple.server_events.sent) == sent  # not even a close_notify


@pytest.mark.parametrize("lookup", [keys(), lambda identity: None])
def test_the_credential_is_asked_for_again(lookup):
    couple = running()
    _, restored = restart(couple, lookup)
    assert restored == [False]
    assert couple.endpoints[SERVER].session_count == 0


def test_claims_are_those_of_now():
    couple = running()
    restart(couple, keys(PskCredential(SENSOR.identity, SENSOR.key, ("promoted",))))
    assert couple.endpoints[SERVER].session(CLIENT).claims == ("promoted",)


@pytest.mark.parametrize(
    ("parameters", "elapsed"),
    [
        (dataclasses.replace(ROAMING, suites=(SUITES[0x00A8],)), 1.0),  # its suite is not allowed any more
        (ROAMING, ROAMING.idle_timeout + 1),
    ],
)
def test_what_is_not_to_be_had_any_more(parameters, elapsed):
    couple = running()
    _, restored = restart(couple, parameters=parameters, elapsed=elapsed)
    assert restored == [False]


def test_idle_time_counts_over_the_restart():
    couple = running()
    couple.now += 1000
    restart(couple, elapsed=500.0)
    session = couple.endpoints[SERVER].session(CLIENT)
    assert couple.now - session.last_seen == pytest.approx(1500, abs=1)


def test_only_a_servers_sessions_are_saved():
    couple = running()
    assert couple.client.save(couple.now) == []
    assert couple.client_session.alive


def test_bytes_that_are_something_else():
    couple = running()
    (saved,) = couple.server.save(couple.now)
    assert SENSOR.key not in saved.evidence
    for length in range(len(saved.state)):
        cut = saved._replace(state=saved.state[:length])
        assert unpack_session(cut, SENSOR, ROAMING, couple.now, 0.0) is None
    assert unpack_session(saved._replace(state=b"\2" + saved.state[1:]), SENSOR, ROAMING, couple.now, 0.0) is None
    assert unpack_session(saved._replace(evidence=b"?"), SENSOR, ROAMING, couple.now, 0.0) is None
    assert unpack_session(saved, None, ROAMING, couple.now, 0.0) is None
    with pytest.raises(ValueError, match="EvidenceKind"):
        couple.server.ask_again(b"\xff.")
    assert Evidence.decode(saved.evidence) == Evidence.of_identity(SENSOR.identity)


def test_no_key_material_in_a_repr():
    couple = running()
    session = couple.server_session
    secrets = [*session.read.secret, *session.write.secret]
    (saved,) = couple.server.save(couple.now)
    shown = repr(saved) + repr(session)
    assert not any(repr(secret)[2:-1] in shown or secret.hex() in shown for secret in secrets)


def test_a_saved_session_is_not_restored_twice():
    couple = running()
    (saved,), _ = restart(couple)
    server = couple.endpoints[SERVER]
    assert not server.restore(saved, SENSOR, couple.now, 0.0)
    assert server.session_count == 1


def test_at_the_bound_restored_sessions_obey_it():
    pair = Pair()
    serials = count()
    pair.add(SERVER, ROAMING, keys(SENSOR))
    for _ in range(5):
        endpoint, _ = pair.add(("192.0.2.1", next(serials)), ROAMING)
        endpoint.connect(SERVER, SENSOR, pair.now)
        pair.run()
    limits = dataclasses.replace(ROAMING.limits, dtls_sessions=3)
    restart(pair, parameters=dataclasses.replace(ROAMING, limits=limits))
    assert pair.endpoints[SERVER].session_count == 3


@pytest.mark.parametrize("parameters", [None, ROAMING])
def test_a_session_that_its_client_made_anew_meanwhile_is_not_replaced(parameters):
    """A store may answer late; a saved session is older than whatever there is."""
    couple = running(parameters)
    saved = couple.endpoints[SERVER].save(couple.now)
    server, _ = couple.add(SERVER, parameters, keys(SENSOR))
    answer = server.ask_again(saved[0].evidence)
    couple.client.cancel(SERVER)
    couple.connect()
    newer = server.session(CLIENT)
    assert newer is not None
    assert not server.restore(saved[0], answer, couple.now, 1.0)
    assert newer.alive
    assert server.session(CLIENT) is newer
    assert server.session_count == 1
