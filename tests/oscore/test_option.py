from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import OptionError
from securecoap.oscore.option import (
    MAXIMUM_SEQUENCE_NUMBER,
    OscoreOption,
    decode_option,
    encode_option,
    encode_partial_iv,
)

from . import vectors
from .vectors import unhex

FAULTS = {
    "n=6": "0e00000000000001",
    "n=7": "0f0000000000000001",
    "reserved 0x80": "8914",
    "reserved 0x40": "4914",
    "group flag": "2914",
    "partial IV runs past the end": "0901"[:2],
    "partial IV of 5 with 4 bytes": "0d01020304",
    "kid context flag without length": "1914",
    "kid context longer than the rest": "191404ffffff",
    "kid context of 1 without a byte": "191401",
    "bytes that belong to no field": "011400",
    "second zero byte": "0000",
    "only flag bytes of a second byte": "80",
}


@pytest.mark.parametrize("example", vectors.rfc()["header_compression_examples"], ids=lambda example: example["id"])
def test_examples_of_section_6_3(example):
    fields = unhex(example["partial_iv"]), unhex(example["kid"]), unhex(example["kid_context"])
    value = bytes.fromhex(example["option"])
    assert encode_option(*fields) == value
    assert decode_option(value) == OscoreOption(*fields)
    assert value == b"" or value[0] == int(example["flag_byte"], 16)


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS.keys())
def test_undecodable(text):
    with pytest.raises(OptionError) as caught:
        decode_option(bytes.fromhex(text))
    assert caught.value.number == 9


# A value in which a flag bit stands for exactly what the registry says; bits count from the most significant one.
FLAG_BITS = {
    3: (OscoreOption(None, None, b"\x0a"), "10 01 0a"),
    4: (OscoreOption(None, b"\x25", None), "08 25"),
    "5-7": (OscoreOption(bytes(5), None, None), "05 0000000000"),
}


@pytest.mark.parametrize(
    "row", vectors.load("option_registry.json")["oscore_flag_bits"], ids=lambda row: str(row["bit"])
)
def test_flag_bits(row):
    if row["bit"] in FLAG_BITS:
        fields, text = FLAG_BITS[row["bit"]]
        assert decode_option(bytes.fromhex(text.replace(" ", ""))) == fields
        return
    with pytest.raises(OptionError):
        decode_option(bytes((0x80 >> row["bit"],)) + bytes(3))


def test_a_zero_flag_byte_is_read_as_empty_and_never_written():
    assert decode_option(b"\x00") == decode_option(b"") == OscoreOption()
    assert encode_option() == b""


def test_leading_zeros_are_kept_as_they_came():
    assert decode_option(bytes.fromhex("0a0014")).partial_iv == b"\x00\x14"


@pytest.mark.parametrize(
    "row", vectors.rfc()["computed_extra"]["partial_iv_boundaries"]["rows"], ids=lambda r: str(r["ssn"])
)
def test_partial_iv_boundaries(row):
    assert encode_partial_iv(row["ssn"]).hex() == row["partial_iv"]
    assert encode_option(encode_partial_iv(row["ssn"]), b"").hex() == row["option_sid_empty"]


@pytest.mark.parametrize("number", [-1, MAXIMUM_SEQUENCE_NUMBER + 1])
def test_sequence_numbers_that_no_partial_iv_has(number):
    with pytest.raises(ValueError):
        encode_partial_iv(number)


@pytest.mark.parametrize("fields", [(b"",), (bytes(6),), (b"\x01", b"", bytes(256)), (b"\x01", bytes(7), bytes(250))])
def test_what_does_not_fit(fields):
    with pytest.raises(ValueError):
        encode_option(*fields)


fields = st.tuples(
    st.none() | st.integers(0, MAXIMUM_SEQUENCE_NUMBER).map(encode_partial_iv),
    st.none() | st.binary(max_size=7),
    st.none() | st.binary(max_size=240),
)


@given(fields)
def test_round_trip(fields):
    value = encode_option(*fields)
    assert len(value) <= 255
    assert decode_option(value) == fields


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_the_one_error(data):
    try:
        option = decode_option(data)
    except OptionError:
        return
    if data != b"\x00":
        assert encode_option(*option) == data or len(data) > 255
