"""Fragments in any order, cut anyhow, overlapping; and bounds (RFC 6347 section 4.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.config import Limits
from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.fragments import LOOKAHEAD, Reassembly, split_handshake
from securecoap.dtls.messages import Fragment, HandshakeType, encode_handshake, parse_fragments

LIMIT = 32 * 1024


def piece(offset: int, data: bytes, length: int, sequence: int = 0, message_type: int = 11) -> Fragment:
    return Fragment(message_type, length, sequence, offset, data)


@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), max_size=10),
    st.integers(26, 100),
    st.randoms(use_true_random=False),
)
def test_overlapping_pieces_in_any_order_give_the_message(body, extra, room, rng):
    pieces = parse_fragments(b"".join(split_handshake(encode_handshake(HandshakeType.CERTIFICATE, 0, body), room)))
    for offset, size in extra:
        data = body[offset : offset + size]
        if data:
            pieces.append(piece(offset, data, len(body)))
    rng.shuffle(pieces)
    reassembly = Reassembly(0, Limits(dtls_handshake_bytes=LIMIT))
    for fragment in pieces:
        reassembly.add(fragment)
    message = reassembly.next_message()
    assert message is not None
    assert message.data == body
    assert message.whole == encode_handshake(HandshakeType.CERTIFICATE, 0, body)
    assert reassembly._held == 0
    assert reassembly.next_message() is None


@given(st.binary(min_size=1, max_size=200), st.integers(1, 60))
def test_split_pieces_fit_and_are_whole_fragments(body, room):
    for part in split_handshake(encode_handshake(HandshakeType.FINISHED, 3, body), room):
        assert len(part) <= max(room, 13)
        assert len(parse_fragments(part)) == 1


def test_messages_come_out_in_order():
    reassembly = Reassembly(5, Limits(dtls_handshake_bytes=LIMIT))
    reassembly.add(piece(0, b"second", 6, sequence=6))
    assert reassembly.next_message() is None
    reassembly.add(piece(0, b"first", 5, sequence=5))
    bodies = [message.data for message in iter(reassembly.next_message, None)]
    assert bodies == [b"first", b"second"]


def test_old_far_and_contradicting_pieces_are_dropped():
    reassembly = Reassembly(5, Limits(dtls_handshake_bytes=LIMIT))
    reassembly.add(piece(0, b"x", 1, sequence=4))
    reassembly.add(piece(0, b"x", 1, sequence=5 + LOOKAHEAD + 1))
    reassembly.add(piece(0, b"ab", 4, sequence=5))
    reassembly.add(piece(2, b"cd", 5, sequence=5))
    reassembly.add(piece(2, b"cd", 4, sequence=5, message_type=12))
    assert reassembly.next_message() is None
    assert reassembly._held == 2


def test_oversized_message_fails_before_it_is_kept():
    with pytest.raises(HandshakeFault):
        Reassembly(0, Limits(dtls_handshake_bytes=LIMIT)).add(piece(0, b"x", LIMIT + 1))


def test_announced_lengths_cost_nothing():
    reassembly = Reassembly(0, Limits(dtls_handshake_bytes=LIMIT))
    for sequence in range(LOOKAHEAD + 1):
        reassembly.add(piece(7, b"x", LIMIT, sequence=sequence))
    assert reassembly._held == LOOKAHEAD + 1


def test_bytes_of_all_messages_together_are_bounded():
    reassembly = Reassembly(0, Limits(dtls_handshake_bytes=1000))
    reassembly.add(piece(0, bytes(400), 401, sequence=1))
    reassembly.add(piece(0, bytes(400), 401, sequence=2))
    with pytest.raises(HandshakeFault):
        reassembly.add(piece(0, bytes(400), 401, sequence=3))


def test_number_of_pieces_is_bounded():
    """Each fragment is compared with all pieces: with many, a datagram of tiny ones would cost milliseconds."""
    reassembly = Reassembly(0, Limits(dtls_handshake_bytes=LIMIT))
    for offset in range(32):
        reassembly.add(piece(2 * offset, b"x", LIMIT))
    with pytest.raises(HandshakeFault):
        reassembly.add(piece(2 * 32, b"x", LIMIT))


def test_empty_pieces_of_a_message_that_is_not_empty_are_no_fragments():
    assert parse_fragments(bytes.fromhex("0b 000004 0000 000002 000000")) == []


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_reassemble_or_are_one_fault(payloads):
    reassembly = Reassembly(0, Limits(dtls_handshake_bytes=200))
    try:
        for payload in payloads:
            for fragment in parse_fragments(payload):
                reassembly.add(fragment)
            while reassembly.next_message():
                pass
    except HandshakeFault:
        pass
    assert reassembly._held <= 400
