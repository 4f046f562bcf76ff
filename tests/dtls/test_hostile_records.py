"""Records that strangers and people on the path send to a live session: none changes it, few are answered (RFC 6347 4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.dtls.messages import DTLS_1_2, ClientHello, HandshakeType, encode_handshake
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.records import ContentType, plaintext_record

from .pair import CLIENT, SERVER, Couple

ROAMING = DtlsParameters()
TYPES = [20, 21, 22, 23, 25, 0, 24, 26, 255]


def established(parameters: DtlsParameters | None) -> Couple:
    couple = Couple(client_parameters=parameters, server_parameters=parameters)
    couple.connect()
    couple.client.send(couple.client_session, b"first")
    couple.run()
    return couple


def assert_untouched(couple: Couple, datagrams: list[bytes], *, answers: int = 0) -> None:
    """Send them to both ends, from their peer and from elsewhere; then the session does what it did."""
    sent = len(couple.server_events.sent) + len(couple.client_events.sent)
    data = len(couple.server_events.data) + len(couple.client_events.data)
    sessions = couple.server_session, couple.client_session
    for datagram in datagrams:
        for source in (CLIENT, ("192.0.2.66", 1)):
            couple.server.receive(datagram, source, couple.now)
        couple.client.receive(datagram, SERVER, couple.now)
    assert len(couple.server_events.sent) + len(couple.client_events.sent) - sent <= answers
    assert len(couple.server_events.data) + len(couple.client_events.data) == data
    assert (couple.server_session, couple.client_session) == sessions
    assert couple.server_events.ended == couple.client_events.ended == couple.server_events.moved == []
    assert couple.server.handshake_count == couple.client.handshake_count == 0
    couple.client.send(couple.client_session, b"still here")
    couple.run()
    assert couple.server_events.data[-1] == (couple.server_session, b"still here")


def header(content_type: int, epoch: int, number: int, length: int, version: int = DTLS_1_2) -> bytes:
    return (
        bytes((content_type,))
        + version.to_bytes(2, "big")
        + epoch.to_bytes(2, "big")
        + number.to_bytes(6, "big")
        + length.to_bytes(2, "big")
    )


EITHER = pytest.mark.parametrize("parameters", [None, ROAMING], ids=["plain", "connection id"])


@EITHER
@pytest.mark.parametrize("epoch", [0, 1, 2, 0xFFFF])
def test_zero_length_records_of_every_type(parameters, epoch):
    couple = established(parameters)
    assert_untouched(couple, [header(kind, epoch, 1000, 0) for kind in TYPES])


@EITHER
def test_oversized_and_lying_lengths(parameters):
    couple = established(parameters)
    body = bytes(2**14 + 2049)
    datagrams = [header(kind, epoch, 1000, len(body)) + body for kind in TYPES for epoch in (0, 1)]
    datagrams += [header(kind, epoch, 1000, 0xFFFF) + bytes(100) for kind in TYPES for epoch in (0, 1)]
    datagrams += [
        header(kind, 1, 1000, length) + bytes(length) for kind in TYPES for length in (1, 7, 8, 15, 16, 2**14)
    ]
    assert_untouched(couple, datagrams)


@EITHER
def test_records_of_old_and_future_epochs(parameters):
    couple = established(parameters)
    record = couple.client_session.seal_application(b"late")
    assert_untouched(
        couple, [record[:3] + epoch.to_bytes(2, "big") + record[5:] for epoch in (0, 2, 3, 0x0100, 0x8001, 0xFFFF)]
    )


@EITHER
@pytest.mark.parametrize("count", [1, 200])
def test_replays(parameters, count):
    couple = established(parameters)
    records = [couple.client_session.seal_application(b"%d" % number) for number in range(count)]
    for record in records:
        couple.server.receive(record, CLIENT, couple.now)
    assert_untouched(couple, records)


@EITHER
def test_replays_of_the_whole_handshake(parameters):
    """What was sent before, from either side to either side: a Finished is answered, by its own flight, at most."""
    couple = established(parameters)
    couple.now += 60
    everything = list(couple.client_events.sent + couple.server_events.sent)
    handshakes = [
        datagram for datagram in everything if datagram[0] == 22 and datagram[13] != HandshakeType.CLIENT_HELLO
    ]
    assert_untouched(couple, handshakes)


@EITHER
def test_a_spoofed_hello_request(parameters):
    couple = established(parameters)
    message = encode_handshake(HandshakeType.HELLO_REQUEST, 0, b"")
    assert_untouched(couple, [plaintext_record(ContentType.HANDSHAKE, number, message) for number in (0, 5, 2**47)])


@EITHER
def test_spoofed_change_cipher_specs(parameters):
    couple = established(parameters)
    bodies = (b"\x01", b"", b"\x02", b"\x01\x01")
    assert_untouched(couple, [plaintext_record(ContentType.CHANGE_CIPHER_SPEC, 7, body) for body in bodies])


@EITHER
def test_forged_alerts_in_the_clear_and_as_if_sealed(parameters):
    couple = established(parameters)
    alerts = [bytes((level, code)) for level in (1, 2) for code in (0, 10, 20, 40, 51, 80, 90, 100, 255)]
    datagrams = [plaintext_record(ContentType.ALERT, 9, alert) for alert in alerts]
    datagrams += [header(21, 1, 2000, len(alert) + 16) + alert + bytes(16) for alert in alerts]
    assert_untouched(couple, datagrams)


@EITHER
def test_fragments_that_overlap_and_announce_too_much(parameters):
    """Without a handshake under way they are nobody's; nothing is kept for them."""
    couple = established(parameters)
    datagrams = []
    for offset, length, total in ((0, 10, 2**24 - 1), (5, 10, 12), (2**24 - 1, 1, 5), (0, 0, 100), (3, 9, 12)):
        for message_type in (2, 4, 11, 12, 14, 16, 20):
            head = bytes((message_type,)) + total.to_bytes(3, "big") + bytes(2)
            fragment = head + offset.to_bytes(3, "big") + length.to_bytes(3, "big") + bytes(length)
            datagrams.append(plaintext_record(ContentType.HANDSHAKE, 4, fragment))
    assert_untouched(couple, datagrams)


@EITHER
def test_other_versions(parameters):
    couple = established(parameters)
    record = couple.client_session.seal_application(b"x")
    versions = (b"\xfe\xff", b"\xfe\xfc", b"\x03\x03", b"\x00\x00")
    assert_untouched(couple, [record[:1] + version + record[3:] for version in versions])


@EITHER
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_mutated_record_is_never_delivered(parameters, data):
    couple = established(parameters)
    record = bytearray(couple.client_session.seal_application(b"delivered only as it was"))
    position = data.draw(st.integers(0, len(record) - 1))
    record[position] ^= data.draw(st.integers(1, 255))
    delivered = len(couple.server_events.data)
    couple.server.receive(bytes(record), data.draw(st.sampled_from([CLIENT, ("192.0.2.66", 1)])), couple.now)
    assert len(couple.server_events.data) == delivered
    assert couple.server_events.moved == []
    assert couple.server_session.alive


def test_a_hello_from_the_peers_address_gets_no_more_than_it_sent():
    couple = established(ROAMING)
    body = ClientHello(DTLS_1_2, bytes(32), cipher_suites=(0xC0A8,)).encode()
    datagram = plaintext_record(ContentType.HANDSHAKE, 0, encode_handshake(HandshakeType.CLIENT_HELLO, 0, body))
    before = len(couple.server_events.sent)
    couple.server.receive(datagram, CLIENT, couple.now)
    (answer,) = couple.server_events.sent[before:]
    assert len(answer) <= len(datagram)
    assert couple.server_session.alive
