"""Messages from outside: the RFC's, those that it calls invalid, and any bytes at all."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.edhoc.messages import (
    EdhocError,
    encode_error,
    encode_identifier,
    encode_suites,
    parse_error,
    parse_message_1,
    parse_message_2,
    take_byte_string,
    take_identifier,
)

from .vectors import COMBINED, FIRST_ATTEMPT, INVALID, TRACE_1, TRACE_2

MESSAGE_1 = TRACE_2["message_1_seq"]
G_X = TRACE_2["G_X_cbor"]


def test_message_1_of_the_rfc() -> None:
    found = parse_message_1(MESSAGE_1)
    assert (found.method, found.suites, found.g_x, found.c_i, found.ead) == (3, (6, 2), TRACE_2["G_X"], b"\x37", b"")
    assert parse_message_1(MESSAGE_1 + b"\x18\x19").ead == b"\x18\x19"


def test_the_first_attempt_of_the_rfc_is_told_our_suites() -> None:
    with pytest.raises(EdhocError) as caught:
        parse_message_1(FIRST_ATTEMPT["message_1_seq"])
    assert caught.value.message == FIRST_ATTEMPT["error_seq"]


def test_trace_1_is_refused_for_its_suite() -> None:
    with pytest.raises(EdhocError) as caught:
        parse_message_1(TRACE_1["message_1_seq"])
    assert caught.value.message == b"\x02\x02"


@pytest.mark.parametrize(
    ("suites", "accepted"),
    [("02", True), ("820602", True), ("820206", False), ("820202", True), ("83060203", False), ("8306022117"[:8], False),
     ("820203", False), ("03", False), ("21", False)],
)  # fmt: skip
def test_the_first_of_theirs_that_is_ours_has_to_be_selected(suites: str, accepted: bool) -> None:
    message = b"\x03" + bytes.fromhex(suites) + G_X + b"\x05"
    if accepted:
        parse_message_1(message)
    else:
        with pytest.raises(EdhocError) as caught:
            parse_message_1(message)
        assert caught.value.code == 2


@pytest.mark.parametrize("case", [one for one in INVALID if one[0].startswith("message")], ids=lambda case: case[2])
def test_what_the_rfc_calls_invalid_is_refused(case: tuple[str, bytes, str]) -> None:
    field, data, _ = case
    with pytest.raises(EdhocError):
        (parse_message_1 if field == "message_1" else parse_message_2)(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x02\x02" + G_X + b"\x05",  # method
        MESSAGE_1[:-1], b"", b"\x03", MESSAGE_1 + bytes(512),
        b"\x03\x02" + G_X + b"\x48" + bytes(8),  # an identifier that is too long for OSCORE
        b"\x03\x02" + G_X + b"\x18\x18", b"\x03\x02" + G_X + b"\x60", b"\x03\x80" + G_X + b"\x05",
        b"\x03\x98\x02\x06\x02" + G_X + b"\x05", b"\x03\x91" + bytes(17) + G_X + b"\x05",
        b"\x1b" + bytes(8) + G_X, b"\x03\x02\x59\x00\x20" + G_X[2:] + b"\x05", b"\x03\x02\x5a\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_other_faults_of_message_1(data: bytes) -> None:
    with pytest.raises(EdhocError):
        parse_message_1(data)


def test_message_2() -> None:
    assert parse_message_2(TRACE_2["message_2_seq"]) == TRACE_2["message_2_seq"]
    for wrong in (TRACE_1["message_2_seq"][:1], b"\x58\x20" + TRACE_2["G_Y"], b"\x58\x2b" + b"\xff" * 43, bytes(600)):
        with pytest.raises(EdhocError):
            parse_message_2(wrong)


@pytest.mark.parametrize(
    ("identifier", "encoded"),
    [("00", "00"), ("17", "17"), ("18", "4118"), ("20", "20"), ("37", "37"), ("38", "4138"), ("21", "21"), ("0d", "0d"),
     ("abcd", "42abcd"), ("", "40"), ("ff", "41ff"), ("00112233445566", "4700112233445566")],
)  # fmt: skip
def test_identifiers(identifier: str, encoded: str) -> None:
    assert encode_identifier(bytes.fromhex(identifier)).hex() == encoded
    assert take_identifier(bytes.fromhex(encoded) + b"rest") == (bytes.fromhex(identifier), b"rest")


@pytest.mark.parametrize("data", [b"", b"\x41\x0e", b"\x42\x0e", b"\x18\x20", b"\xf5", b"\xa0", b"\x48" + bytes(8)])
def test_what_is_no_identifier(data: bytes) -> None:
    with pytest.raises(EdhocError):
        take_identifier(data)


def test_a_combined_request_of_the_rfc() -> None:
    payload = COMBINED["message_3"] + COMBINED["oscore_ciphertext"]
    assert COMBINED["wire"].endswith(payload)
    assert take_byte_string(payload) == (COMBINED["message_3"], COMBINED["oscore_ciphertext"])
    for wrong in (b"", b"\x05", b"\x52" + bytes(17), b"\x5f\x41\x00\xff"):
        with pytest.raises(EdhocError):
            take_byte_string(wrong)


def test_errors_are_told_and_understood() -> None:
    assert EdhocError("what").message == b"\x01\x64what"
    assert EdhocError("x" * 30).message == b"\x01\x78\x1e" + b"x" * 30
    assert parse_error(EdhocError("what").message) == "what"
    assert parse_error(b"\x02\x82\x03\x21") == "the peer supports cipher suites 3, -2 only"
    assert parse_error(encode_error(2, encode_suites((2, 24)))) == "the peer supports cipher suites 2, 24 only"
    assert parse_error(b"\x03\xf5") == "the peer does not know our credential"
    assert parse_error(b"\x01\x40") == "no reason given"
    assert parse_error(encode_error(-7, b"\x00")) == "EDHOC error -7"
    assert parse_error(encode_error(300, b"\x00")) == "EDHOC error 300"
    assert parse_error(b"\x01\x65a\x1b[0m") == "a?[0m"
    assert parse_error(b"\x01\x62\xff\xff") == "\ufffd\ufffd"
    for none in (b"", b"\x00\x00", b"\x52" + bytes(18), b"\x01", b"\x01\x65a", b"\x02\x80"):
        assert parse_error(none) is None


@given(st.binary(max_size=80) | st.binary(max_size=20).map(lambda tail: b"\x03\x02" + G_X + tail))
def test_any_bytes_give_a_value_or_one_error(data: bytes) -> None:
    for parse in (parse_message_1, parse_message_2, take_identifier, take_byte_string):
        with suppress(EdhocError):
            parse(data)
    assert parse_error(data) is None or isinstance(parse_error(data), str)
