"""Options made from a template are those that would have been made one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from securecoap.wire.option_bytes import encode_options
from securecoap.wire.options import Options, decode_options
from securecoap.wire.template import OptionTemplate

NUMBERS = st.integers(0, 299)
PAIRS = st.lists(st.tuples(NUMBERS, st.binary(max_size=300)), max_size=8)


@given(PAIRS, NUMBERS, st.binary(max_size=12))
def test_as_if_made_one_by_one(pairs: list[tuple[int, bytes]], number: int, value: bytes) -> None:
    made = OptionTemplate(pairs, number).options(value)
    expected = Options([*(pair for pair in pairs if pair[0] != number), (number, value)])
    assert made == expected
    assert made.present == expected.present
    assert made.encode() == encode_options(expected.pairs)
    assert decode_options(made.encode())[0] == made


def test_they_are_frozen_and_a_copy_is_not() -> None:
    options = OptionTemplate([(4, b"tag")], 23).options(b"\x0e")
    copy = options.copy()
    copy.etag = b"other"
    assert (options.etag, copy.etag) == (b"tag", b"other")
    assert options.block2 == copy.block2 == (0, True, 6)
    assert copy.encode() != options.encode()
