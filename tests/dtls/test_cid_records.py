"""Records with a connection ID: every byte of them, and what is none (RFC 9146 sections 4 and 5)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from securecoap.dtls.cid_records import CidReadProtection, CidWriteProtection
from securecoap.dtls.records import ContentType, ReadProtection, SequenceExhausted, WriteProtection, parse_records
from securecoap.dtls.suites import SUITES

CCM_8 = SUITES[0xC0A8]
KEY = bytes(range(16))
IV = b"\x01\x02\x03\x04"
CID = bytes.fromhex("c1d2e3f4a5b6")


def protections(suite=CCM_8, cid=CID):
    key = bytes(range(suite.key_length))
    return CidWriteProtection(suite, key, IV, 1, cid), CidReadProtection(suite, key, IV, 1, cid)


def opened(read, datagram, length=6):
    (record,) = parse_records(datagram, length)
    return read.unwrap(record, datagram)


def test_layout_nonce_and_additional_data_byte_by_byte():
    write, _ = protections()
    write.next_number += 5
    record = write.seal_application(b"hello")
    inner = b"hello\x17"  # DTLSInnerPlaintext: content, real_type, no zeros
    assert record[:1] == b"\x19"  # tls12_cid
    assert record[1:3] == b"\xfe\xfd"
    assert record[3:5] == b"\x00\x01"  # epoch
    assert record[5:11] == bytes(5) + b"\x05"  # sequence_number
    assert record[11:17] == CID
    assert record[17:19] == (8 + len(inner) + 8).to_bytes(2, "big")
    assert record[19:27] == b"\x00\x01" + bytes(5) + b"\x05"  # explicit nonce (RFC 6655 section 3)
    additional = b"".join(
        (
            b"\xff" * 8,  # seq_num_placeholder
            b"\x19",  # tls12_cid
            b"\x06",  # cid_length
            b"\x19",  # tls12_cid
            b"\xfe\xfd",  # version
            b"\x00\x01",  # epoch
            bytes(5) + b"\x05",  # sequence_number
            CID,
            b"\x00\x06",  # length_of_DTLSInnerPlaintext
        )
    )
    assert AESCCM(KEY, 8).decrypt(IV + record[19:27], record[27:], additional) == inner
    assert len(record) == len(b"hello") + write.overhead


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
@given(st.binary(max_size=100), st.sampled_from([20, 21, 22, 23]), st.binary(min_size=1, max_size=255))
def test_every_suite_and_length_of_connection_id(suite, plaintext, content_type, cid):
    write, read = protections(suite, cid)
    record = write.seal(content_type, plaintext)
    assert opened(read, record, len(cid)) == (content_type, plaintext)
    assert opened(read, record, len(cid)) is None


def padded(zeros: bytes, inner: bytes = b"hello\x17", number: int = 1 << 48) -> bytes:
    inner += zeros
    number8 = number.to_bytes(8, "big")
    additional = b"\xff" * 8 + b"\x19\x06\x19\xfe\xfd" + number8 + CID + len(inner).to_bytes(2, "big")
    sealed = AESCCM(KEY, 8).encrypt(IV + number8, inner, additional)
    return b"\x19\xfe\xfd" + number8 + CID + (8 + len(sealed)).to_bytes(2, "big") + number8 + sealed


@pytest.mark.parametrize("zeros", [0, 1, 100])
def test_padding_is_taken_off_and_zeros_of_the_content_stay(zeros):
    assert opened(protections()[1], padded(bytes(zeros))) == (23, b"hello")
    assert opened(protections()[1], padded(bytes(zeros), b"end\0\0\x17")) == (23, b"end\0\0")


def test_a_record_of_nothing_but_padding_is_dropped():
    assert opened(protections()[1], padded(bytes(9), b"")) is None
    assert opened(protections()[1], padded(b"", b"")) is None


def test_another_connection_id_a_changed_one_and_none_at_all_are_refused():
    write, read = protections()
    record = write.seal_application(b"x")
    for changed in (record[:11] + bytes(6) + record[17:], record[:16] + b"\0" + record[17:]):
        assert opened(read, changed) is None
    plain = WriteProtection(CCM_8, KEY, IV, 1).seal_application(b"x")
    assert opened(read, plain) is None  # RFC 9146 section 3: invalid where one is expected
    assert read.open_application(plain) is None
    assert opened(ReadProtection(CCM_8, KEY, IV, 1), record) is None
    assert opened(read, record) == (23, b"x")


def test_a_record_of_one_form_never_opens_as_the_other():
    """The additional data differ in their first bytes (section 5)."""
    write, read = protections()
    record = write.seal_application(b"x")
    as_plain = b"\x17" + record[1:11] + record[17:]
    (found,) = parse_records(as_plain)
    assert ReadProtection(CCM_8, KEY, IV, 1).unwrap(found, as_plain) is None
    plain = WriteProtection(CCM_8, KEY, IV, 1).seal(ContentType.APPLICATION_DATA, b"x\x17")
    assert opened(read, b"\x19" + plain[1:11] + CID + plain[11:]) is None


def test_the_window_moves_with_authentic_records_only():
    write, read = protections()
    records = [write.seal_application(bytes((n,))) for n in range(100)]
    forged = records[99][:-1] + bytes((records[99][-1] ^ 1,))
    assert opened(read, forged) is None
    assert opened(read, records[80]) is not None
    assert opened(read, records[17]) is not None
    assert opened(read, records[16]) is None
    assert opened(read, records[80]) is None
    assert read.highest == (1 << 48) + 80


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_short_record_is_none(cut):
    record = protections()[0].seal_application(b"hello")
    assert parse_records(record[:-cut], len(CID)) == []
    body = record[19 : len(record) - cut]
    short = record[:17] + len(body).to_bytes(2, "big") + body
    assert opened(protections()[1], short) is None


def test_several_records_of_both_forms_in_one_datagram():
    write, _ = protections()
    plain = WriteProtection(CCM_8, KEY, IV, 1)
    datagram = write.seal_application(b"one") + plain.seal_application(b"two") + write.seal_application(b"three")
    assert [record.content_type for record in parse_records(datagram, len(CID))] == [25, 23, 25]
    assert parse_records(datagram) == []  # without the length of the connection ID nothing behind it can be found


def test_no_such_record_in_epoch_0():
    record = protections()[0].seal_application(b"one")
    assert parse_records(record[:3] + bytes(2) + record[5:], len(CID)) == []


def test_bounds_of_length_and_numbers():
    write, read = protections()
    assert opened(read, write.seal_application(bytes((1 << 14) - 1))) is not None
    with pytest.raises(ValueError, match="16383"):
        write.seal_application(bytes(1 << 14))
    write.next_number = 2 << 48
    with pytest.raises(SequenceExhausted):
        write.seal_application(b"x")


@given(st.binary(max_size=80))
def test_any_bytes_are_records_or_none(datagram):
    _, read = protections()
    for record in parse_records(datagram, len(CID)):
        if record.epoch == 1:
            assert read.unwrap(record, datagram) is None
