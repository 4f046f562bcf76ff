"""Connection IDs in a session: who gives them out, and an address that changes (RFC 9146 sections 3 and 6)."""

from __future__ import annotations

import pytest

from securecoap.dtls.alerts import ALERT_WARNING, Alert, HandshakeFault
from securecoap.dtls.connection_id import (
    CONNECTION_ID_LENGTH,
    ConnectionIds,
    decode_connection_id,
    encode_connection_id,
    worker_of,
)
from securecoap.dtls.engine import EndReason
from securecoap.dtls.messages import ClientHello, ServerHello, parse_fragments
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.records import ContentType, parse_records
from securecoap.dtls.sessions import SessionTable

from .pair import CLIENT, SENSOR, SERVER, Couple, Pair, alert_record, keys

ELSEWHERE = ("192.0.2.77", 61000)
OTHER = PskCredential(b"sensor-18", b"another secret", (":sensor-18",))


def roaming(**options) -> Couple:
    options.setdefault("client_parameters", DtlsParameters())
    options.setdefault("server_parameters", DtlsParameters())
    couple = Couple(**options)
    couple.connect()
    return couple


def records(datagram: bytes):
    return parse_records(datagram, CONNECTION_ID_LENGTH)


def test_the_extension():
    assert encode_connection_id(b"") == b"\x00"
    assert decode_connection_id(encode_connection_id(b"abc")) == b"abc"
    for wrong in (b"", b"\x01", b"\x00x", b"\x02a"):
        with pytest.raises(HandshakeFault) as caught:
            decode_connection_id(wrong)
        assert caught.value.alert is Alert.DECODE_ERROR


def test_connection_ids_have_the_worker_in_front_and_are_not_given_twice():
    taken = {b"\x07" + bytes(5)}
    draws = iter([bytes(5), b"abcde"])
    ids = ConnectionIds(lambda _: next(draws), 7, taken)
    assert ids.make() == b"\x07abcde"
    assert ConnectionIds(bytes, 7, taken).make() == b""


def test_a_dispatcher_can_read_whose_a_record_is():
    couple = roaming(server_parameters=DtlsParameters(worker=9))
    record = couple.client_session.seal_application(b"x")
    assert worker_of(record) == 9
    assert worker_of(couple.server_session.seal_application(b"x")) is None
    for junk in (b"", b"\x19", b"\x19" * 11, b"\x17" * 40):
        assert worker_of(junk) is None


def hellos(couple: Couple) -> tuple[ClientHello, ServerHello]:
    def last(sent, kind, message):
        found = []
        for datagram in sent:
            for record in records(datagram):
                if record.content_type == ContentType.HANDSHAKE and record.epoch == 0:
                    found += [f for f in parse_fragments(record.fragment(datagram)) if f.message_type == message]
        return kind.parse(found[-1].data)

    return last(couple.client_events.sent, ClientHello, 1), last(couple.server_events.sent, ServerHello, 2)


def test_by_default_a_client_says_that_it_knows_them_and_a_server_gives_one():
    couple = roaming()
    client_hello, server_hello = hellos(couple)
    assert client_hello.extensions[54] == b"\x00"
    assert server_hello.extensions[54] == encode_connection_id(couple.server_session.connection_id)
    assert len(couple.server_session.connection_id) == CONNECTION_ID_LENGTH
    assert couple.client_session.connection_id == b""
    couple.client.send(couple.client_session, b"up")
    couple.server.send(couple.server_session, b"down")
    couple.run()
    assert [data for _, data in couple.server_events.data] == [b"up"]
    assert [data for _, data in couple.client_events.data] == [b"down"]
    assert couple.client_events.sent[-1][0] == ContentType.TLS12_CID
    assert couple.server_events.sent[-1][0] == ContentType.APPLICATION_DATA


def test_the_clients_finished_has_it_already_and_plaintext_has_not():
    couple = roaming()
    kinds = [(record.epoch, record.content_type) for d in couple.client_events.sent for record in records(d)]
    assert {kind for epoch, kind in kinds if epoch == 1} == {ContentType.TLS12_CID}
    assert ContentType.TLS12_CID not in {kind for epoch, kind in kinds if epoch == 0}


@pytest.mark.parametrize("side", ["client", "server"])
def test_whoever_does_not_use_them_gets_none(side):
    couple = roaming(**{f"{side}_parameters": DtlsParameters(connection_ids=False)})
    assert couple.server_session.connection_id == couple.client_session.connection_id == b""
    client_hello, server_hello = hellos(couple)
    assert (54 in client_hello.extensions) is (side == "server")
    assert 54 not in server_hello.extensions


def test_both_directions():
    couple = roaming(client_parameters=DtlsParameters(asks_for_connection_id=True))
    assert couple.client_session.connection_id != couple.server_session.connection_id
    couple.server.send(couple.server_session, b"down")
    couple.run()
    assert couple.client_events.data == [(couple.client_session, b"down")]
    assert couple.server_events.sent[-1][0] == ContentType.TLS12_CID


def test_a_client_that_asks_in_vain_takes_ordinary_records():
    couple = roaming(
        client_parameters=DtlsParameters(asks_for_connection_id=True),
        server_parameters=DtlsParameters(connection_ids=False),
    )
    couple.server.send(couple.server_session, b"down")
    couple.run()
    assert couple.client_events.data == [(couple.client_session, b"down")]


@pytest.mark.parametrize("network", [{"loss": 0.3}, {"duplication": 0.5, "jitter": 0.2}])
def test_over_a_bad_network(network):
    for seed in range(10):
        patient = DtlsParameters(asks_for_connection_id=True, handshake_time_limit=300.0)
        couple = roaming(seed=seed, client_parameters=patient, server_parameters=patient, **network)
        assert couple.client_session.alive
        assert couple.server_session.alive


def from_elsewhere(couple: Couple, data: bytes, address=ELSEWHERE) -> None:
    couple.server.receive(couple.client_session.seal_application(data), address, couple.now)


def test_a_session_follows_its_peer_to_another_address():
    couple = roaming()
    session = couple.server_session
    from_elsewhere(couple, b"from a new port")
    assert couple.server_events.data == [(session, b"from a new port")]
    assert couple.server_events.moved == [(session, CLIENT)]
    assert session.peer == ELSEWHERE
    assert couple.server.session(ELSEWHERE) is session
    assert couple.server.session(CLIENT) is None
    assert couple.server.session_count == 1
    couple.server.close(session)
    assert couple.server.session_count == 0
    assert couple.server.session(ELSEWHERE) is None


def test_only_a_newer_record_changes_the_address():
    """A replay or an old record from elsewhere is how somebody on the path would lead answers away (section 6)."""
    couple = roaming()
    session = couple.server_session
    old, new = (couple.client_session.seal_application(data) for data in (b"old", b"new"))
    couple.server.receive(new, CLIENT, couple.now)
    couple.server.receive(new, ELSEWHERE, couple.now)  # a replay
    couple.server.receive(old, ELSEWHERE, couple.now)  # late, and still good: it is delivered
    assert [data for _, data in couple.server_events.data] == [b"new", b"old"]
    assert couple.server_events.moved == []
    assert session.peer == CLIENT


def test_a_forged_record_changes_nothing():
    couple = roaming()
    record = couple.client_session.seal_application(b"x")
    for forged in (record[:-1] + bytes((record[-1] ^ 1,)), record[:19] + bytes(len(record) - 19)):
        couple.server.receive(forged, ELSEWHERE, couple.now)
    assert couple.server_events.moved == couple.server_events.data == []


def test_without_a_connection_id_another_address_is_a_stranger():
    couple = Couple()
    couple.connect()
    from_elsewhere(couple, b"x")
    assert couple.server_events.data == couple.server_events.moved == []


def test_a_record_without_the_connection_id_is_invalid_where_one_is_expected():
    couple = roaming()
    record = couple.client_session.seal_application(b"x")
    couple.server.receive(b"\x17" + record[1:11] + record[17:], CLIENT, couple.now)
    assert couple.server_events.data == []


def test_an_unknown_connection_id_is_dropped_in_silence():
    couple = roaming()
    record = couple.client_session.seal_application(b"x")
    sent = len(couple.server_events.sent)
    couple.server.receive(record[:11] + b"nobody" + record[17:], CLIENT, couple.now)
    assert len(couple.server_events.sent) == sent
    assert couple.server_events.data == []


def test_close_notify_from_elsewhere_ends_the_session_there():
    couple = roaming()
    record = alert_record(couple.client_session, ALERT_WARNING, Alert.CLOSE_NOTIFY)
    couple.server.receive(record, ELSEWHERE, couple.now)
    assert [reason for _, reason in couple.server_events.ended] == [EndReason.CLOSED_BY_PEER]


def test_a_rebooted_device_still_replaces_its_session():
    couple = roaming()
    old = couple.server_session
    couple.now += 20
    couple.connect()
    assert not old.alive
    assert [reason for _, reason in couple.server_events.ended] == [EndReason.REPLACED]


def test_two_devices_behind_one_address_in_turn_keep_their_sessions():
    """A translator gives the first one's port to the second; the first is found by its connection ID, wherever it is."""
    pair = Pair()
    server, events = pair.add(SERVER, DtlsParameters(), keys(SENSOR, OTHER))
    one, _ = pair.add(CLIENT, DtlsParameters())
    one.connect(SERVER, SENSOR, pair.now)
    pair.run()
    first = server.session(CLIENT)
    two, _ = pair.add(CLIENT, DtlsParameters())
    pair.now += 20
    two.connect(SERVER, OTHER, pair.now)
    pair.run()
    assert first.alive
    assert server.session(CLIENT).identity == b"sensor-18"
    server.receive(one.session(SERVER).seal_application(b"one"), ELSEWHERE, pair.now)
    server.receive(two.session(SERVER).seal_application(b"two"), CLIENT, pair.now)
    server.receive(one.session(SERVER).seal_application(b"three"), CLIENT, pair.now)
    assert [(session.identity, data) for session, data in events.data] == [
        (b"sensor-17", b"one"),
        (b"sensor-18", b"two"),
        (b"sensor-17", b"three"),
    ]
    assert server.session_count == 2


def test_a_session_that_moves_leaves_one_that_nothing_else_finds_in_place():
    pair = Pair()
    server, events = pair.add(SERVER, DtlsParameters(), keys(SENSOR, OTHER))
    plain, _ = pair.add(ELSEWHERE)
    plain.connect(SERVER, OTHER, pair.now)
    mobile, _ = pair.add(CLIENT, DtlsParameters())
    mobile.connect(SERVER, SENSOR, pair.now)
    pair.run()
    server.receive(mobile.session(SERVER).seal_application(b"here I am"), ELSEWHERE, pair.now)
    server.receive(plain.session(SERVER).seal_application(b"so am I"), ELSEWHERE, pair.now)
    assert [data for _, data in events.data] == [b"here I am", b"so am I"]
    moved = next(session for session in server.sessions() if session.identity == b"sensor-17")
    server.close(moved)
    assert server.session(ELSEWHERE).identity == b"sensor-18"


def test_a_session_table_is_iterated_over_while_it_changes():
    couple = roaming()
    for session in couple.server.sessions():
        couple.server.close(session)
    assert list(couple.server.sessions()) == []
    assert SessionTable(1.0).longest_idle() is None
