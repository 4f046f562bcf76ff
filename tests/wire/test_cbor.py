"""CBOR as far as it is needed: against cbor2, against RFC 8949, and against anybody's bytes."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire.cbor import Simple, Tagged, decode_cbor, encode_cbor

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.binary()
    | st.text()
)
KEYS = st.integers(-(1 << 64), (1 << 64) - 1) | st.text() | st.binary()
ITEMS = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@given(ITEMS)
def test_a_library_reads_what_is_written_and_the_other_way_round(item: Any) -> None:
    assert cbor2.loads(encode_cbor(item)) == item
    assert decode_cbor(cbor2.dumps(item)) == decode_cbor(encode_cbor(item)) == item


@given(st.binary())
def test_any_bytes_are_a_value_or_a_format_error(data: bytes) -> None:
    with suppress(FormatError):
        decode_cbor(data)


@pytest.mark.parametrize(
    ("data", "item"),
    [
        ("f97e00", math.nan),
        ("f93c00", 1.0),
        ("f7", None),
        ("f0", Simple(16)),
        ("f8ff", Simple(255)),
        ("c11a514b67b0", Tagged(1, 1363896240)),
        ("d82362612b", Tagged(35, "a+")),  # no regular expression is made of it
        ("5f42010243030405ff", bytes((1, 2, 3, 4, 5))),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("a1820102f5", {(1, 2): True}),
    ],
)
def test_rfc_8949_appendix_a(data: str, item: Any) -> None:
    found = decode_cbor(bytes.fromhex(data))
    assert found == item or (math.isnan(found) and math.isnan(item))
    if isinstance(item, (Simple, Tagged)):
        assert encode_cbor(item).hex() == data


@pytest.mark.parametrize(
    "data",
    ["", "ff", "0000", "18", "1c", "5f00ff", "5f5f00ffff", "7f41ff", "1f", "df", "f800", "fc", "61ff", "81", "a1", "a100",
     "a201010102", "a1a000", "9f00", "bf00ff", "81ff", "9b7fffffffffffffff", "bb7fffffffffffffff",
     "5b7fffffffffffffff", "81" * 40 + "00", "c0ff", "7f5f"],
)  # fmt: skip
def test_what_is_none(data: str) -> None:
    with pytest.raises(FormatError):
        decode_cbor(bytes.fromhex(data))


def test_what_cannot_be_written() -> None:
    for item in (1 << 64, -(1 << 64) - 1):
        with pytest.raises(ValueError, match="eight bytes"):
            encode_cbor(item)
    with pytest.raises(TypeError, match="object"):
        encode_cbor(object())
