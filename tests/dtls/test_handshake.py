"""Whole handshakes between our two sides, over good and bad networks, in virtual time (RFC 6347 section 4.2)."""

from __future__ import annotations

import re
from math import inf

import pytest

from securecoap.config import Limits
from securecoap.dtls.alerts import Alert
from securecoap.dtls.extensions import Extension
from securecoap.dtls.messages import (
    ClientHello,
    HandshakeType,
    ServerHello,
    encode_handshake,
    parse_fragments,
)
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.records import ContentType, parse_records, plaintext_record
from securecoap.dtls.suites import SUITES

from .material import certificate_pair
from .pair import CLIENT, KEY, SENSOR, SERVER, Couple, keys


def assert_connected(couple: Couple) -> None:
    assert couple.client_events.failed == []
    assert len(couple.client_events.established) == 1
    couple.loss = 0.0
    couple.client.send(couple.client_session, b"ping")
    couple.server.send(couple.server_session, b"pong")
    couple.run()
    assert [data for _, data in couple.server_events.data] == [b"ping"]
    assert [data for _, data in couple.client_events.data] == [b"pong"]


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_each_suite(suite):
    parameters = DtlsParameters(suites=(suite,))
    if suite.key_exchange.uses_psk:
        couple = Couple(client_parameters=parameters)
    else:
        credential, keys_of_server = certificate_pair()
        couple = Couple(credential, client_parameters=parameters, server_keys=keys_of_server)
    couple.connect()
    assert couple.client_session.suite is suite
    assert_connected(couple)


def test_the_clients_order_decides():
    order = tuple(suite for suite in reversed(SUITES.values()) if suite.key_exchange.uses_psk)
    couple = Couple(client_parameters=DtlsParameters(suites=order))
    couple.connect()
    assert couple.server_session.suite is order[0]


def test_no_common_suite_is_an_alert_and_no_state():
    couple = Couple(
        client_parameters=DtlsParameters(suites=(SUITES[0x00A8],)),
        server_parameters=DtlsParameters(suites=(SUITES[0xC0A8],)),
    )
    couple.connect()
    assert couple.client_events.failed[0][2].alert == "handshake_failure"
    assert couple.server.handshake_count == 0


@pytest.mark.parametrize("key", [b"k", KEY, bytes(16), bytes(33), bytes(0xFFFF)])
@pytest.mark.parametrize("identity", [b"", b"\x00" * 33, b"i" * 128, bytes(range(256)) * 4])
def test_keys_and_identities_of_any_length(key, identity):
    credential = PskCredential(identity, key, (":x",))
    couple = Couple(credential, keys(credential))
    couple.connect()
    assert couple.server_session.identity == identity
    assert_connected(couple)


@pytest.mark.parametrize("key", [b"", bytes(0x10000)])
def test_keys_that_rfc_4279_cannot_carry(key):
    with pytest.raises(ValueError):
        PskCredential(b"id", key)


def test_no_key_material_in_any_repr():
    couple = Couple()
    couple.connect()
    for thing in (SENSOR, couple.client_session, couple.server_session, couple.client, couple.server):
        assert "secretPSK" not in repr(thing)
        assert KEY.hex() not in repr(thing)


@pytest.mark.parametrize("hint", [None, b"", b"hint of any bytes \xff"])
def test_server_key_exchange_is_sent_only_with_a_hint(hint):
    couple = Couple(server_parameters=DtlsParameters(identity_hint=hint))
    couple.connect()
    types = [
        fragment.message_type
        for datagram in couple.server_events.sent
        for record in parse_records(datagram)
        if record.content_type == ContentType.HANDSHAKE and record.epoch == 0
        for fragment in parse_fragments(record.fragment(datagram))
    ]
    assert (HandshakeType.SERVER_KEY_EXCHANGE in types) == (hint is not None)
    assert_connected(couple)


@pytest.mark.parametrize("size", [128, 150, 300])
def test_small_datagrams(size):
    identity = b"i" * 400
    credential = PskCredential(identity, KEY, ())
    parameters = DtlsParameters(datagram_size=size)
    couple = Couple(credential, keys(credential), client_parameters=parameters, server_parameters=parameters)
    couple.connect()
    assert max(map(len, couple.client_events.sent + couple.server_events.sent)) <= size
    assert_connected(couple)


@pytest.mark.parametrize("seed", range(40))
def test_loss_duplication_and_reordering(seed):
    parameters = DtlsParameters(datagram_size=160, handshake_time_limit=500.0, max_retransmission_interval=4.0)
    couple = Couple(
        client_parameters=parameters, server_parameters=parameters, seed=seed, loss=0.25, duplication=0.3, jitter=0.4
    )
    couple.connect()
    assert len(couple.client_events.established) == 1
    assert len(couple.server_events.established) == 1
    assert_connected(couple)


def test_nobody_is_answered_endlessly():
    couple = Couple(duplication=0.9, jitter=0.05)
    couple.connect()
    couple.run(until=30.0)
    assert len(couple.client_events.sent) + len(couple.server_events.sent) < 30


def test_retransmissions_of_a_dead_servers_client():
    couple = Couple()
    sent = []
    couple.filter = lambda source, target, datagram: sent.append(couple.now - 1000.0) or []
    couple.connect()
    assert sent == [0.0, 1.0, 3.0, 7.0]
    assert couple.now == 1010.0
    (peer, _, error) = couple.client_events.failed[0]
    assert peer == SERVER
    assert error.alert is None
    assert "nobody answered" in str(error)


@pytest.mark.parametrize("flight", range(1, 6))
def test_each_flight_lost_once_costs_one_second(flight):
    couple = Couple()
    count = 0

    def lose(source, target, datagram):
        nonlocal count
        count += 1
        return [] if count == flight + 1 else [datagram]

    couple.filter = lose
    couple.connect()
    assert 1.0 < couple.now - 1000.0 < 1.2
    assert_connected(couple)


def test_lost_last_flight_is_repeated_for_the_retransmitted_finished_only():
    couple = Couple()
    lose = True
    couple.filter = lambda source, target, datagram: [] if lose and datagram[0] == 20 else [datagram]
    couple.connect(until=0.5)
    assert couple.client.session(SERVER) is None
    assert len(couple.server_events.established) == 1
    lose = False
    couple.run()
    assert_connected(couple)
    assert len(couple.server_events.established) == 1


def test_finished_that_overtakes_client_key_exchange_is_kept():
    parameters = DtlsParameters(datagram_size=128)
    couple = Couple(PskCredential(b"i" * 90, KEY), keys(PskCredential(b"i" * 90, KEY)), client_parameters=parameters)
    held = []

    def swap(source, target, datagram):
        if source == CLIENT and parse_records(datagram)[0].epoch == 0:
            first = parse_records(datagram)[0]
            if first.fragment(datagram)[0] == HandshakeType.CLIENT_KEY_EXCHANGE:
                held.append(datagram)
                return []
            if held:
                return [datagram, held.pop()]
        return [datagram]

    couple.filter = swap
    couple.connect()
    assert couple.now < 1000.5
    assert_connected(couple)


def handshake_extensions(couple: Couple, side: int) -> dict[int, bytes]:
    events = couple.client_events if side == HandshakeType.CLIENT_HELLO else couple.server_events
    parser = ClientHello if side == HandshakeType.CLIENT_HELLO else ServerHello
    for datagram in events.sent:
        for record in parse_records(datagram):
            fragment = record.fragment(datagram)
            if record.epoch == 0 and fragment[0] == side:
                return dict(parser.parse(fragment[12:]).extensions)
    raise AssertionError


def test_extended_master_secret_and_renegotiation_are_signalled():
    couple = Couple()
    couple.connect()
    offered = handshake_extensions(couple, HandshakeType.CLIENT_HELLO)
    assert offered[Extension.EXTENDED_MASTER_SECRET] == b""
    answered = handshake_extensions(couple, HandshakeType.SERVER_HELLO)
    assert answered.items() >= {Extension.EXTENDED_MASTER_SECRET: b"", Extension.RENEGOTIATION_INFO: b"\x00"}.items()
    assert answered.keys() <= offered.keys() | {Extension.RENEGOTIATION_INFO}


def test_key_log_lines_are_nss_format_and_equal_on_both_sides():
    couple = Couple()
    couple.connect()
    assert len(couple.lines) == 2
    assert couple.lines[0] == couple.lines[1]
    assert re.fullmatch(r"CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}", couple.lines[0])


def outcome(credential: PskCredential):
    couple = Couple(credential)
    couple.connect()
    assert couple.client_events.established == couple.server_events.established == []
    assert couple.server_events.data == []
    error = couple.client_events.failed[0][2]
    shape = [(len(datagram), datagram[0]) for datagram in couple.server_events.sent]
    return error.alert, couple.now, shape, couple.server_events.failed[0][2]


def test_unknown_identity_is_indistinguishable_from_a_wrong_key():
    *wrong_key, log_of_key = outcome(PskCredential(SENSOR.identity, b"not the key"))
    *unknown, log_of_identity = outcome(PskCredential(b"sensor-99", b"not the key"))
    assert wrong_key == unknown
    assert wrong_key[0] == "decrypt_error"
    assert wrong_key[1] - 1000.0 < 1.0
    assert "known identity b'sensor-17'" in str(log_of_key)
    assert "unknown identity b'sensor-99'" in str(log_of_identity)


def test_both_look_ups_draw_the_same_randomness():
    states = []
    for identity in (SENSOR.identity, b"sensor-99"):
        couple = Couple(PskCredential(identity, b"not the key"))
        couple.connect()
        states.append(couple.rng.random())
    assert states[0] == states[1]


def test_claims_are_there_only_after_finished():
    seen = []
    couple = Couple(lookup=lambda identity: seen.append(couple.server.session(CLIENT)) or SENSOR)
    couple.connect()
    assert seen == [None]
    assert couple.server_session.claims == (":sensor-17", "reader")
    assert couple.client_session.claims == (":sensor-17", "reader")


def test_too_many_handshake_bytes_end_the_handshake():
    couple = Couple(server_parameters=DtlsParameters(limits=Limits(dtls_handshake_bytes=500)))
    couple.credential = PskCredential(bytes(600), KEY)
    couple.connect()
    assert couple.client_events.failed[0][2].alert == "handshake_failure"
    assert couple.server.handshake_count == 0


class Impostor(Couple):
    """A client whose server is this test."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = lambda source, target, datagram: []
        self.client.connect(SERVER, SENSOR, self.now)
        self.sequence = 0

    def say(self, *messages: tuple[int, int, bytes]) -> str | None:
        for message in messages:
            record = plaintext_record(ContentType.HANDSHAKE, self.sequence, encode_handshake(*message))
            self.sequence += 1
            self.client.receive(record, SERVER, self.now)
        return self.client_events.failed[0][2].alert if self.client_events.failed else None


def server_hello(version=0xFEFD, suite=0xC0A8, compression=0, extensions=None) -> bytes:
    return ServerHello(version, bytes(32), b"", suite, compression, extensions or {}).encode()


@pytest.mark.parametrize(
    ("messages", "alert"),
    [
        ([(HandshakeType.SERVER_HELLO, 0, server_hello(version=0xFEFF))], Alert.PROTOCOL_VERSION),
        ([(HandshakeType.SERVER_HELLO, 0, server_hello(suite=0x00AE))], Alert.ILLEGAL_PARAMETER),
        ([(HandshakeType.SERVER_HELLO, 0, server_hello(suite=0x00FF))], Alert.ILLEGAL_PARAMETER),
        ([(HandshakeType.SERVER_HELLO, 0, server_hello(compression=1))], Alert.ILLEGAL_PARAMETER),
        ([(HandshakeType.SERVER_HELLO, 0, server_hello(extensions={16: b""}))], Alert.UNSUPPORTED_EXTENSION),
        (
            [(HandshakeType.SERVER_HELLO, 0, server_hello(extensions={0xFF01: b"\x0c" + bytes(12)}))],
            Alert.HANDSHAKE_FAILURE,
        ),
        ([(HandshakeType.SERVER_HELLO, 0, b"short")], Alert.DECODE_ERROR),
        ([(HandshakeType.SERVER_HELLO_DONE, 0, b"")], Alert.UNEXPECTED_MESSAGE),
        (
            [(HandshakeType.SERVER_HELLO, 0, server_hello()), (HandshakeType.SERVER_HELLO, 1, server_hello())],
            Alert.UNEXPECTED_MESSAGE,
        ),
        (
            [(HandshakeType.SERVER_HELLO, 0, server_hello()), (HandshakeType.SERVER_KEY_EXCHANGE, 1, b"\x00\x05a")],
            Alert.DECODE_ERROR,
        ),
        (
            [(HandshakeType.SERVER_HELLO, 0, server_hello()), (HandshakeType.SERVER_HELLO_DONE, 1, b"x")],
            Alert.DECODE_ERROR,
        ),
        ([(HandshakeType.HELLO_VERIFY_REQUEST, n, b"\xfe\xff\x01c") for n in range(4)], Alert.UNEXPECTED_MESSAGE),
    ],
)
def test_a_client_refuses_and_says_why(messages, alert):
    impostor = Impostor()
    assert impostor.say(*messages) == alert.name.lower()
    assert impostor.client_events.sent[-1][13:] == bytes((2, alert))
    assert impostor.client.handshake_count == 0
    assert impostor.client.next_timeout() == inf


def test_a_spoofed_hello_request_changes_nothing():
    impostor = Impostor()
    assert impostor.say((HandshakeType.HELLO_REQUEST, 0, b"")) is None
    assert impostor.say((HandshakeType.SERVER_HELLO, 0, server_hello())) is None


def test_a_plaintext_finished_is_no_finished():
    impostor = Impostor()
    done = (HandshakeType.SERVER_HELLO_DONE, 1, b"")
    assert impostor.say((HandshakeType.SERVER_HELLO, 0, server_hello()), done) is None
    assert impostor.say((HandshakeType.FINISHED, 2, bytes(12))) is None
    assert impostor.client_events.established == []
    assert impostor.client.handshake_count == 1


def test_without_extended_master_secret_the_older_derivation_is_used():
    """A server without RFC 7627: its answer is cut out on the way, so both sides would disagree if we did not."""
    couple = Couple()
    hellos = []

    def strip(source, target, datagram):
        records = parse_records(datagram)
        first = records[0]
        fragment = first.fragment(datagram)
        if first.epoch == 0 and fragment[:1] == b"\x01":
            hello = ClientHello.parse(fragment[12:])
            plain = ClientHello(hello.version, hello.random, b"", hello.cookie, hello.cipher_suites)
            message = encode_handshake(HandshakeType.CLIENT_HELLO, fragment[5], plain.encode())
            hellos.append(plain)
            return [plaintext_record(ContentType.HANDSHAKE, first.sequence, message)]
        return [datagram]

    couple.filter = strip
    couple.connect()
    # The client sent the extension, the server never saw it: the transcripts differ, so Finished has to fail ...
    assert couple.client_events.failed[0][2].alert == "decrypt_error"
    # ... after the same master secret on both sides, of the older derivation.
    assert couple.lines[0] == couple.lines[1]
    assert handshake_extensions(couple, HandshakeType.SERVER_HELLO) == {Extension.RENEGOTIATION_INFO: b"\x00"}
