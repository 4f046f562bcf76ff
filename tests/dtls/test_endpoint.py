"""Sessions of an endpoint: their life, their bounds, and what must not touch them (RFC 6347, PITFALLS of other stacks)."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import pytest

from securecoap.config import Limits
from securecoap.dtls.alerts import ALERT_FATAL, ALERT_WARNING, Alert
from securecoap.dtls.engine import EndReason
from securecoap.dtls.messages import DTLS_1_2, ClientHello, HandshakeType, encode_handshake
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.records import ContentType, parse_records, plaintext_record

from .pair import CLIENT, SENSOR, SERVER, Couple, Pair, alert_record, keys

VECTORS = Path(__file__).parents[1] / "vectors" / "coap_malformed.json"
DATAGRAMS = json.loads(VECTORS.read_text())["dtls_datagrams"]
FORGED_ALERT = plaintext_record(ContentType.ALERT, 0, b"\x02\x00")


def established(**options) -> Couple:
    couple = Couple(**options)
    couple.connect()
    assert couple.client_session.alive
    return couple


def assert_alive(couple: Couple) -> None:
    before = len(couple.server_events.data)
    assert couple.client.send(couple.client_session, b"still here")
    couple.run()
    assert couple.server_events.data[before:] == [(couple.server_session, b"still here")]


def hello(random: bytes = bytes(32), cookie: bytes = b"", sequence: int = 0, record: int = 0, **fields) -> bytes:
    fields.setdefault("cipher_suites", (0xC0A8,))
    body = ClientHello(fields.pop("version", DTLS_1_2), random, cookie=cookie, **fields).encode()
    return plaintext_record(ContentType.HANDSHAKE, record, encode_handshake(HandshakeType.CLIENT_HELLO, sequence, body))


def cookie_for(couple: Pair, peer, **fields) -> bytes:
    """Ask the server for a cookie as a client at that address would."""
    recorder = couple.recorders[SERVER]
    couple.endpoints[SERVER].receive(hello(**fields), peer, couple.now)
    return recorder.sent[-1][28:]


@pytest.mark.parametrize("vector", DATAGRAMS, ids=lambda vector: vector["id"])
def test_malformed_datagram_is_discarded_in_silence(vector):
    datagram = bytes.fromhex(vector["hex"])
    fresh = Couple()
    fresh.server.receive(datagram, CLIENT, fresh.now)
    assert (fresh.server_events.sent, fresh.server.handshake_count) == ([], 0)
    couple = established()
    sent = len(couple.server_events.sent), len(couple.client_events.sent)
    couple.server.receive(datagram, CLIENT, couple.now)
    couple.client.receive(datagram, SERVER, couple.now)
    assert (len(couple.server_events.sent), len(couple.client_events.sent)) == sent
    assert_alive(couple)


def test_junk_of_500_sources_makes_no_state():
    """aiocoap made an object for each."""
    couple = Couple()
    for number in range(500):
        couple.server.receive(couple.rng.randbytes(100), ("192.0.2.9", number), couple.now)
        couple.server.receive(hello(random=couple.rng.randbytes(32)), ("192.0.2.9", number), couple.now)
    assert couple.server.handshake_count == couple.server.session_count == 0
    assert couple.server.next_timeout() == inf


def test_the_answer_without_a_cookie_is_smaller_than_the_question():
    couple = Couple()
    datagram = hello()
    couple.server.receive(datagram, CLIENT, couple.now)
    assert len(couple.server_events.sent[0]) < len(datagram)


def test_hello_verify_request_repeats_the_record_number():
    couple = Couple()
    couple.server.receive(hello(record=7), CLIENT, couple.now)
    assert parse_records(couple.server_events.sent[0])[0].sequence == 7
    cookie = couple.server_events.sent[0][28:]
    couple.server.receive(hello(cookie=cookie, sequence=1, record=9), CLIENT, couple.now)
    assert parse_records(couple.server_events.sent[1])[0].sequence == 9
    assert couple.server.handshake_count == 1


@pytest.mark.parametrize("change", ["address", "random", "suites", "age"])
def test_a_cookie_is_good_for_its_hello_address_and_time_only(change):
    couple = Couple()
    cookie = cookie_for(couple, CLIENT)
    if change == "age":
        couple.now += 1000
    second = hello(
        cookie=cookie,
        sequence=1,
        random=b"r" * 32 if change == "random" else bytes(32),
        cipher_suites=(0xC0A8, 0x00A8) if change == "suites" else (0xC0A8,),
    )
    couple.server.receive(second, ("192.0.2.1", 1) if change == "address" else CLIENT, couple.now)
    assert couple.server.handshake_count == 0


def test_a_fragmented_or_absurdly_numbered_client_hello_is_dropped():
    couple = Couple()
    whole = hello()[13:]
    cut = whole[:6] + bytes(3) + (10).to_bytes(3, "big") + whole[12:22]
    couple.server.receive(plaintext_record(ContentType.HANDSHAKE, 0, cut), CLIENT, couple.now)
    couple.server.receive(hello(sequence=17), CLIENT, couple.now)
    couple.server.receive(hello(record=(1 << 48) - 1), CLIENT, couple.now)
    assert couple.server_events.sent == []


@pytest.mark.parametrize(
    ("fields", "alert"),
    [
        ({"version": 0xFEFF}, Alert.PROTOCOL_VERSION),
        ({"version": 0x0303}, Alert.PROTOCOL_VERSION),
        ({"compression_methods": b"\x01"}, Alert.ILLEGAL_PARAMETER),
        ({"cipher_suites": (0x00AE,)}, Alert.HANDSHAKE_FAILURE),
        ({"extensions": {0xFF01: b"\x01x"}}, Alert.HANDSHAKE_FAILURE),
    ],
)
def test_a_hello_that_cannot_be_is_refused_after_its_cookie(fields, alert):
    couple = Couple()
    cookie = cookie_for(couple, CLIENT, **dict(fields))
    couple.server.receive(hello(cookie=cookie, sequence=1, **dict(fields)), CLIENT, couple.now)
    assert couple.server_events.sent[-1][13:] == bytes((2, alert))
    assert couple.server.handshake_count == 0


def test_a_client_only_endpoint_answers_no_hello():
    pair = Pair()
    endpoint, recorder = pair.add(SERVER)
    endpoint.receive(hello(), CLIENT, pair.now)
    assert recorder.sent == []


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("code", [0, 10, 20, 40, 51, 90, 255])
def test_plaintext_alerts_never_end_a_session(level, code):
    couple = established()
    alert = plaintext_record(ContentType.ALERT, 3, bytes((level, code)))
    couple.server.receive(alert, CLIENT, couple.now)
    couple.client.receive(alert, SERVER, couple.now)
    assert_alive(couple)


def test_a_plaintext_alert_ends_a_handshake_at_once():
    couple = Couple()
    couple.filter = lambda source, target, datagram: []
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.client.receive(plaintext_record(ContentType.ALERT, 0, b"\x01\x5a"), SERVER, couple.now)
    assert couple.client_events.failed == []
    couple.client.receive(plaintext_record(ContentType.ALERT, 0, b"\x02\x73"), SERVER, couple.now)
    assert couple.client_events.failed[0][2].alert == "unknown_psk_identity"
    assert "the server refused" in str(couple.client_events.failed[0][2])


@pytest.mark.parametrize("closer", ["client", "server"])
def test_close_notify_is_answered_and_both_sides_forget(closer):
    couple = established()
    ours, theirs = ("client", "server") if closer == "client" else ("server", "client")
    session = getattr(couple, f"{ours}_session")
    getattr(couple, ours).close(session)
    getattr(couple, ours).close(session)
    couple.run()
    assert [reason for _, reason in getattr(couple, f"{ours}_events").ended] == [EndReason.CLOSED]
    assert [reason for _, reason in getattr(couple, f"{theirs}_events").ended] == [EndReason.CLOSED_BY_PEER]
    answer = getattr(couple, f"{theirs}_events").sent[-1]
    assert parse_records(answer)[0].content_type == ContentType.ALERT
    assert not getattr(couple, ours).send(session, b"too late")
    assert couple.client.session_count == couple.server.session_count == 0
    assert couple.client.next_timeout() == inf


def test_an_authenticated_fatal_alert_ends_a_session_and_a_warning_does_not():
    couple = established()
    couple.server.receive(alert_record(couple.client_session, ALERT_WARNING, Alert.USER_CANCELED), CLIENT, couple.now)
    assert_alive(couple)
    couple.server.receive(alert_record(couple.client_session, ALERT_FATAL, Alert.INTERNAL_ERROR), CLIENT, couple.now)
    assert [reason for _, reason in couple.server_events.ended] == [EndReason.ALERT]


def test_replays_and_records_of_other_epochs_are_dropped():
    couple = established()
    couple.client.send(couple.client_session, b"once")
    record = couple.client_events.sent[-1]
    couple.run()
    for datagram in (record, record[:4] + b"\x00" + record[5:], record[:4] + b"\x02" + record[5:]):
        couple.server.receive(datagram, CLIENT, couple.now)
    assert [data for _, data in couple.server_events.data] == [b"once"]
    assert_alive(couple)


def test_several_records_in_one_datagram_and_zero_length_ones():
    couple = established()
    session = couple.client_session
    first, empty, second = (session.seal_application(data) for data in (b"first", b"", b"second"))
    couple.server.receive(first + empty + b"\x17junk" + second, CLIENT, couple.now)
    couple.server.receive(empty, CLIENT, couple.now)
    couple.server.receive(second, CLIENT, couple.now)
    couple.server.receive(session.seal_application(b""), CLIENT, couple.now)
    assert [data for _, data in couple.server_events.data] == [b"first", b"second"]


def test_it_says_whether_something_may_be_due_earlier():
    """A transport asks for the time of the next deadline then only: not for each record, nor for each handshake."""
    couple = established()
    record = couple.client_session.seal_application(b"data")
    assert couple.server.receive(record, CLIENT, couple.now) is False
    before = couple.server.next_timeout()
    assert couple.server.receive(record, CLIENT, couple.now) is False  # a replay
    stranger = ("192.0.2.3", 5)
    assert couple.server.receive(hello(), stranger, couple.now) is False
    second = hello(cookie=cookie_for(couple, stranger), sequence=1, record=1)
    assert couple.server.receive(second, stranger, couple.now) is True
    assert couple.server.receive(second, stranger, couple.now) is True  # as long as it was not asked
    assert couple.server.next_timeout() < before
    later = ("192.0.2.3", 6)
    third = hello(cookie=cookie_for(couple, later), sequence=1, record=1)
    assert couple.server.receive(third, later, couple.now + 0.5) is False


def test_application_data_in_epoch_0_is_never_delivered():
    couple = established()
    couple.server.receive(plaintext_record(ContentType.APPLICATION_DATA, 9, b"\x40\x01\x00\x01"), CLIENT, couple.now)
    assert couple.server_events.data == []


@pytest.mark.parametrize(("side", "message"), [("server", 0), ("client", 1)])
def test_renegotiation_is_refused_and_the_session_goes_on(side, message):
    couple = established()
    session = getattr(couple, f"{side}_session")
    other = "client" if side == "server" else "server"
    record = session.write.seal(ContentType.HANDSHAKE, encode_handshake(message, 0, b""))
    source = SERVER if side == "server" else CLIENT
    getattr(couple, other).receive(record, source, couple.now)
    answer = getattr(couple, f"{other}_events").sent[-1]
    (record,) = parse_records(answer)
    assert session.read.unwrap(record, answer) == (ContentType.ALERT, bytes((1, Alert.NO_RENEGOTIATION)))
    assert_alive(couple)


def test_a_session_that_runs_out_of_numbers_ends():
    couple = established()
    couple.client_session.write.next_number = 2 << 48
    assert not couple.client.send(couple.client_session, b"x")
    assert [reason for _, reason in couple.client_events.ended] == [EndReason.EXHAUSTED]


def reboot(couple: Couple, credential: PskCredential = SENSOR) -> None:
    """The device at the same address starts anew and remembers nothing."""
    couple.client, couple.client_events = couple.add(CLIENT)
    couple.client.connect(SERVER, credential, couple.now)


def test_a_rebooted_device_replaces_its_session_only_when_finished():
    """dtlssocket killed the old association at the ClientHello; pyOpenSSL ignored it."""
    couple = established()
    old, old_client = couple.server_session, couple.client_session
    couple.now += 5
    ended_when = []
    couple.server_events.session_ended = lambda session, reason: ended_when.append(
        (reason, len(couple.server_events.established))
    )
    couple.server._events = couple.server_events
    sent = []

    def use_old_session(source, target, datagram):
        if source == CLIENT and couple.server.session(CLIENT) is old:
            sent.append(1)
            couple.server.receive(old_client.seal_application(b"old"), CLIENT, couple.now)
        return [datagram]

    couple.filter = use_old_session
    reboot(couple)
    couple.run()
    assert sent
    assert [data for session, data in couple.server_events.data if session is old] == [b"old"] * len(sent)
    assert couple.server_session is not old
    assert not old.alive
    assert ended_when == [(EndReason.REPLACED, 1)]
    couple.filter = lambda source, target, datagram: [datagram]
    assert_alive(couple)
    couple.server.receive(old_client.seal_application(b"from the past"), CLIENT, couple.now)
    assert couple.server_events.data[-1][1] == b"still here"


def test_a_candidate_with_a_wrong_key_leaves_the_session_alone():
    couple = established()
    client, events = couple.client, couple.client_events
    old = couple.server_session
    couple.now += 20
    reboot(couple, PskCredential(SENSOR.identity, b"wrong"))
    couple.run()
    assert couple.client_events.failed
    assert couple.server_session is old
    assert old.alive
    couple.client, couple.client_events = client, events
    couple.endpoints[CLIENT], couple.recorders[CLIENT] = client, events
    assert_alive(couple)


def test_a_delayed_copy_of_the_first_hello_starts_nothing():
    couple = established()
    copies = [datagram for datagram in couple.client_events.sent if datagram[0] == 22]
    for datagram in copies:
        couple.server.receive(datagram, CLIENT, couple.now + 1)
    assert couple.server.handshake_count == 0
    assert_alive(couple)


def test_a_spoofed_hello_with_a_cookie_cannot_be_made():
    couple = established()
    couple.server.receive(hello(cookie=bytes(16), sequence=1), CLIENT, couple.now)
    assert couple.server.handshake_count == 0
    assert_alive(couple)


def test_a_forged_alert_does_not_end_the_session_beside_a_candidate():
    couple = established()
    cookie = cookie_for(couple, CLIENT)
    couple.server.receive(hello(cookie=cookie, sequence=1), CLIENT, couple.now)
    assert couple.server.handshake_count == 1
    couple.server.receive(FORGED_ALERT, CLIENT, couple.now)
    assert couple.server.handshake_count == 0
    assert_alive(couple)


def test_connect_beside_a_session_replaces_it_when_complete():
    couple = established()
    old = couple.client_session
    couple.connect()
    assert couple.client_session is not old
    assert [reason for _, reason in couple.client_events.ended] == [EndReason.REPLACED]
    assert [reason for _, reason in couple.server_events.ended] == [EndReason.REPLACED]
    assert_alive(couple)


def test_both_sides_can_shake_hands_at_once():
    pair = Pair()
    one, one_events = pair.add(CLIENT, lookup=keys(SENSOR))
    two, two_events = pair.add(SERVER, lookup=keys(SENSOR))
    one.connect(SERVER, SENSOR, pair.now)
    two.connect(CLIENT, SENSOR, pair.now)
    pair.run()
    assert (len(one_events.established), len(two_events.established)) == (2, 2)
    assert one.send(one.session(SERVER), b"x")
    pair.run()


def test_cancelled_connect_says_and_sends_nothing_more():
    couple = Couple()
    couple.filter = lambda source, target, datagram: []
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.client.cancel(SERVER)
    couple.run(until=60)
    assert len(couple.client_events.sent) == 1
    assert couple.client_events.failed == []
    assert couple.client.next_timeout() == inf


@pytest.mark.parametrize("after", range(4))
def test_a_handshake_may_be_cancelled_while_it_sends(after):
    """A socket may learn from its error queue, in the middle of sending, that nobody is there."""
    couple = Couple(client_parameters=DtlsParameters(datagram_size=128))
    couple.credential = PskCredential(bytes(300), SENSOR.key)
    count = 0

    def cancel(source, target, datagram):
        nonlocal count
        if source == CLIENT:
            count += 1
            if count == after + 1:
                couple.client.cancel(SERVER)
        return [datagram]

    couple.filter = cancel
    couple.connect(until=30)
    assert couple.client.handshake_count == 0
    assert couple.client.next_timeout() == inf
    assert couple.client_events.failed == couple.client_events.established == []


@pytest.mark.parametrize("event", ["application_data", "session_established", "session_ended", "handshake_failed"])
def test_an_event_may_shut_the_endpoint_down(event):
    couple = Couple()
    endpoint = couple.client

    def shut_down(*_):
        endpoint.shutdown()

    setattr(couple.client_events, event, shut_down)
    if event == "application_data":
        endpoint._application_data = shut_down
    if event == "handshake_failed":
        couple.credential = PskCredential(b"nobody", b"x")
    couple.connect()
    if event in ("application_data", "session_ended"):
        couple.server.send(couple.server_session, b"one")
        couple.server.send(couple.server_session, b"two")
        couple.run()
        endpoint.connect(SERVER, SENSOR, couple.now)
        couple.run()
    if event == "session_ended":
        couple.server.close(couple.server_session)
        couple.run()
    endpoint.shutdown()
    assert endpoint.session_count == endpoint.handshake_count == 0
    assert endpoint.next_timeout() == inf


def test_half_open_handshakes_are_bounded_and_the_oldest_goes():
    couple = Couple(server_parameters=DtlsParameters(limits=Limits(dtls_handshakes=3)))
    peers = [("192.0.2.9", number) for number in range(5)]
    for peer in peers:
        cookie = cookie_for(couple, peer)
        couple.server.receive(hello(cookie=cookie, sequence=1), peer, couple.now)
    assert [handshake.peer for handshake in couple.server._handshakes] == peers[2:]
    assert couple.server.handshake_count == 3
    couple.now += 20
    couple.server.handle_timeout(couple.now)
    assert couple.server.handshake_count == 0


def test_a_flood_of_hellos_leaves_a_good_client_served():
    couple = Couple(server_parameters=DtlsParameters(limits=Limits(dtls_handshakes=10)))
    for number in range(300):
        peer = ("192.0.2.9", number)
        cookie = cookie_for(couple, peer)
        couple.server.receive(hello(cookie=cookie, sequence=1), peer, couple.now)
    couple.connect()
    assert_alive(couple)
    assert len(couple.server._handshakes.due._heap) < 200


def test_a_client_that_starts_over_has_one_handshake():
    couple = Couple()
    for turn in range(5):
        cookie = cookie_for(couple, CLIENT, random=bytes((turn,)) * 32)
        couple.server.receive(hello(random=bytes((turn,)) * 32, cookie=cookie, sequence=1), CLIENT, couple.now)
    assert couple.server.handshake_count == 1


def many(count: int, **limits) -> tuple[Pair, list]:
    pair = Pair()
    parameters = DtlsParameters(limits=Limits(**limits), idle_timeout=1000.0)
    pair.add(SERVER, parameters, keys(SENSOR))
    addresses = [("192.0.2.1", port) for port in range(1, count + 1)]
    for address in addresses:
        endpoint, _ = pair.add(address)
        endpoint.connect(SERVER, SENSOR, pair.now)
        pair.run()
        pair.now += 1
    return pair, addresses


def test_at_the_bound_the_longest_idle_session_is_closed():
    pair, addresses = many(3, dtls_sessions=3)
    for address in (addresses[0], addresses[2]):
        endpoint = pair.endpoints[address]
        endpoint.send(endpoint.session(SERVER), b"busy")
        pair.run()
    newcomer, _ = pair.add(("192.0.2.1", 99))
    newcomer.connect(SERVER, SENSOR, pair.now)
    pair.run()
    server, events = pair.endpoints[SERVER], pair.recorders[SERVER]
    assert [(session.peer, reason) for session, reason in events.ended] == [(addresses[1], EndReason.EVICTED)]
    assert server.session_count == 3
    assert pair.recorders[addresses[1]].ended[0][1] is EndReason.CLOSED_BY_PEER


def test_idle_sessions_are_closed_and_busy_ones_are_not():
    pair, addresses = many(2, dtls_sessions=3)
    pair.now += 900
    busy = pair.endpoints[addresses[0]]
    busy.send(busy.session(SERVER), b"busy")
    pair.run(until=200)
    events = pair.recorders[SERVER]
    assert [(session.peer, reason) for session, reason in events.ended] == [(addresses[1], EndReason.IDLE)]
    pair.run(until=1000)
    assert pair.endpoints[SERVER].session_count == 0
    assert pair.endpoints[SERVER].next_timeout() == inf


def test_shutdown_closes_everything():
    couple = established()
    couple.client.connect(("192.0.2.3", 1), SENSOR, couple.now)
    couple.client.shutdown()
    couple.run()
    assert couple.client.session_count == couple.client.handshake_count == 0
    assert couple.client.next_timeout() == inf
    assert couple.server.session_count == 0


def test_churn_of_8_peers_leaves_nothing_behind():
    """dtlssocket's tables broke on this."""
    pair = Pair()
    server, _ = pair.add(SERVER, lookup=keys(SENSOR))
    for turn in range(200):
        address = ("192.0.2.1", turn % 8)
        endpoint = pair.endpoints.get(address) or pair.add(address)[0]
        endpoint.connect(SERVER, SENSOR, pair.now)
        pair.run()
        assert endpoint.send(endpoint.session(SERVER), b"x")
        if turn % 3 == 0:
            endpoint.close(endpoint.session(SERVER))
        elif turn % 3 == 1:
            server.receive(FORGED_ALERT, address, pair.now)
        pair.run()
    assert len(pair.recorders[SERVER].data) == 200
    assert server.session_count <= 8
    assert server.handshake_count == 0


@pytest.mark.parametrize("size", [1, 1371, 1372, 2048, 1 << 14])
def test_writes_of_any_length_arrive(size):
    """dtlssocket overflowed above 1371 bytes."""
    couple = established()
    assert couple.client.send(couple.client_session, bytes(size))
    couple.run()
    assert couple.server_events.data == [(couple.server_session, bytes(size))]


def test_parameters_that_cannot_work():
    for wrong in ({"idle_timeout": 0}, {"datagram_size": 20}, {"suites": ()}, {"identity_hint": bytes(70000)}):
        with pytest.raises(ValueError):
            DtlsParameters(**wrong)
