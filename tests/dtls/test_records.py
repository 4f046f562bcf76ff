"""Records: layout, protection, replay window, and whatever bytes come (RFC 6347 section 4.1)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from securecoap.dtls.records import (
    ContentType,
    PlaintextWriter,
    ReadProtection,
    SequenceExhausted,
    WriteProtection,
    parse_records,
    plaintext_record,
)
from securecoap.dtls.suites import SUITES

CCM_8 = SUITES[0xC0A8]
IV = b"\x01\x02\x03\x04"


def protections(suite=CCM_8, epoch=1):
    key = bytes(range(suite.key_length))
    return WriteProtection(suite, key, IV, epoch), ReadProtection(suite, key, IV, epoch)


def open_whole(read, record):
    opened = [read.unwrap(one, record) for one in parse_records(record)]
    return opened[0][1] if opened and opened[0] else None


def open_short(read, record):
    return read.open_application(record)


WAYS = pytest.mark.parametrize("opened", [open_whole, open_short])


def test_layout_nonce_and_additional_data_are_those_of_the_rfcs():
    write, _ = protections()
    record = write.seal_application(b"hello")
    assert record[:13] == bytes.fromhex("17fefd0001000000000000") + (8 + 5 + 8).to_bytes(2, "big")
    assert record[13:21] == bytes.fromhex("0001000000000000")
    additional = bytes.fromhex("000100000000000017fefd0005")  # RFC 5246 section 6.2.3.3 with RFC 6347 section 4.1.2.1
    assert AESCCM(bytes(range(16)), 8).decrypt(IV + record[13:21], record[21:], additional) == b"hello"


def test_nonces_never_repeat_over_content_types():
    write, _ = protections()
    records = [write.seal_application(b"a"), write.seal(ContentType.ALERT, b"a"), write.seal_application(b"a")]
    assert [record[5:11] for record in records] == [n.to_bytes(6, "big") for n in range(3)]
    assert len({record[13:21] for record in records}) == 3


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
@given(st.binary(max_size=200), st.sampled_from([20, 21, 22, 23]))
def test_every_suite_opens_what_it_sealed(suite, plaintext, content_type):
    write, read = protections(suite)
    record = write.seal(content_type, plaintext)
    assert len(record) == len(plaintext) + write.overhead
    assert open_whole(read, record) == plaintext
    assert open_whole(read, record) is None


@WAYS
def test_any_changed_byte_is_refused_and_moves_nothing(opened):
    write, read = protections()
    record = write.seal_application(b"temperature")
    # The endpoint has compared type, version and epoch before the short way is taken.
    for position in (*(() if opened is open_short else (0, 2, 4)), 5, 10, 13, 20, 21, len(record) - 1):
        forged = bytearray(record)
        forged[position] ^= 1
        assert opened(read, bytes(forged)) is None
    assert opened(read, record) == b"temperature"


@pytest.mark.parametrize("size", [0, 1, 2046, 2047, 2048, 3000, 1 << 14])
def test_both_ways_agree_on_every_length(size):
    write, read = protections()
    record = write.seal_application(bytes(size))
    assert write.seal(ContentType.APPLICATION_DATA, bytes(size))[:5] == record[:5]
    assert open_short(read, record) == (bytes(size) if size < 2048 else None)
    assert open_whole(read, record) == (None if size < 2048 else bytes(size))


def test_a_record_that_would_be_too_long_is_not_made():
    write, _ = protections()
    with pytest.raises(ValueError):
        write.seal_application(bytes((1 << 14) + 1))
    assert write.next_number == 1 << 48


def test_the_short_way_is_for_exactly_one_record():
    write, read = protections()
    record = write.seal_application(b"one")
    for datagram in (b"", record[:5], record[:20], record[:-1], record + b"x", record + record):
        assert open_short(read, datagram) is None
    assert open_short(read, record) == b"one"


@WAYS
@given(numbers=st.lists(st.integers(0, 300), max_size=120))
def test_replay_window_agrees_with_a_set(opened, numbers):
    write, read = protections()
    records = {}
    for number in set(numbers):
        write.next_number = (1 << 48) + number
        records[number] = write.seal_application(b"x")
    seen: set[int] = set()
    for number in numbers:
        expected = number not in seen and (not seen or number > max(seen) - 64)
        assert (opened(read, records[number]) is not None) == expected
        if expected:
            seen.add(number)


@WAYS
@given(numbers=st.lists(st.integers(0, 150), min_size=1, max_size=60), later=st.lists(st.integers(0, 200), max_size=20))
def test_the_window_can_be_handed_over(opened, numbers, later):
    """What is kept over a restart is the RFC's form: bit n says that the n-th before the newest was received."""
    write, read = protections()

    def record(number):
        write.next_number = (1 << 48) + number
        return write.seal_application(b"x")

    for number in numbers:
        opened(read, record(number))
    newest = max(numbers)
    received = {newest - n for n in range(min(64, newest + 1)) if read.window >> n & 1}
    assert received == {number for number in numbers if number > newest - 64}
    _, other = protections()
    other.highest, other.window = read.highest, read.window
    for number in later:
        assert opened(other, record(number)) == opened(read, record(number))


@WAYS
def test_a_jump_of_48_bits_does_not_shift_the_window_so_far(opened):
    write, read = protections()
    first = write.seal_application(b"first")
    write.next_number = (1 << 48) + (1 << 48) - 1
    last = write.seal_application(b"last")
    assert opened(read, last) == b"last"
    assert read.window == 1
    assert opened(read, first) is None


def test_an_epoch_ends_before_a_number_repeats():
    write, read = protections()
    write.next_number = (2 << 48) - 1
    assert open_whole(read, write.seal_application(b"")) == b""
    for seal in (write.seal_application, lambda data: write.seal(ContentType.ALERT, data)):
        with pytest.raises(SequenceExhausted):
            seal(b"one too many")
    plain = PlaintextWriter((1 << 48) - 1)
    plain.seal(ContentType.ALERT, b"")
    with pytest.raises(SequenceExhausted):
        plain.seal(ContentType.ALERT, b"")


def test_several_records_in_a_datagram_and_the_rest_is_dropped():
    good = plaintext_record(ContentType.ALERT, 5, b"\x02\x28")
    unknown_type = b"\x63" + good[1:]
    other_version = good[:1] + b"\x03\x03" + good[3:]
    records = parse_records(good + unknown_type + other_version + good + good[:-1])
    assert [(r.content_type, r.epoch, r.sequence, r.start) for r in records] == [(21, 0, 5, 0), (21, 0, 5, 45)]


def test_dtls_1_0_is_a_version_in_epoch_0_only():
    in_epoch_0 = bytes.fromhex("16feff00000000000000000000")
    in_epoch_1 = bytes.fromhex("16feff00010000000000000000")
    assert len(parse_records(in_epoch_0)) == 1
    assert parse_records(in_epoch_1) == []


@given(st.binary(max_size=100))
def test_any_bytes_parse_to_records_inside_them(datagram):
    position = 0
    for record in parse_records(datagram):
        assert position <= record.start < record.end <= len(datagram)
        position = record.end


@WAYS
@given(body=st.binary(max_size=60))
def test_any_bytes_do_not_open(opened, body):
    _, read = protections()
    assert opened(read, bytes.fromhex("17fefd0001000000000000") + len(body).to_bytes(2, "big") + body) is None
