"""What is remembered of options changes nothing, is bounded, and saves the work that it is there to save."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.known_options import LONGEST, KnownOptions
from securecoap.wire.operation import blockwise
from securecoap.wire.option_bytes import encode_options
from securecoap.wire.options import Options, decode_options

VALUES = st.sampled_from([b"", b"\x1e", b"\xff", b"\x01\xff", b"\x01\x0e", b"\xff\xff\xfe", b"\x40\x40\x0e"])
BLOCKS = st.tuples(st.sampled_from([numbers.BLOCK1, numbers.BLOCK2]), VALUES)
OTHERS = st.lists(
    st.sampled_from([(numbers.URI_PATH, b"a"), (numbers.ETAG, b"\xff1"), (numbers.SIZE1, b"\x10"), (9999, b"")]),
    max_size=3,
)
HEADS = st.builds(
    lambda others, blocks: encode_options(sorted([*others, *blocks], key=lambda pair: pair[0])),
    OTHERS,
    st.lists(BLOCKS, max_size=2),
)
PAYLOADS = st.sampled_from([b"", b"\xff", b"\xffx", b"\xff\xff", b"\xff\x1e", b"\x0e\xffx"])


@given(st.lists(st.tuples(HEADS, PAYLOADS) | st.tuples(st.binary(max_size=6), PAYLOADS), max_size=30))
def test_as_if_nothing_were_remembered(bodies: list[tuple[bytes, bytes]]) -> None:
    tables = KnownOptions(), KnownOptions(longest=4)
    for head, payload in bodies:
        data = b"token" + head + payload
        try:
            expected = decode_options(data, 5)
        except FormatError:
            expected = None
        for known in tables:
            if expected is None:
                with pytest.raises(FormatError):
                    known.decode(data, 5)
                continue
            options, found = known.decode(data, 5)
            assert (options.pairs, options.present, found) == (expected[0].pairs, expected[0].present, expected[1])
            assert options.encode() == expected[0].encode()
            assert options.request_fault == expected[0].request_fault
            assert options.response_fault == expected[0].response_fault
            assert options.uri_path == expected[0].uri_path
            assert blockwise(options).block1 == options.block1 == expected[0].block1
            assert blockwise(options).block2 == options.block2 == expected[0].block2
            assert blockwise(options).operation == blockwise(expected[0]).operation


def test_what_follows_a_value_is_no_part_of_it() -> None:
    known = KnownOptions()
    block2 = (numbers.BLOCK2, b"\x1e")
    for pairs in ((block2,), (block2, (numbers.BLOCK1, b"")), (block2, (numbers.BLOCK1, b"\x0e")), (block2,)):
        assert known.decode(encode_options(pairs), 0)[0].pairs == pairs


def head(number: int, path: bytes = b"store") -> bytes:
    value = (number << 4 | 14).to_bytes(1 if number < 16 else 2, "big")
    return Options([(numbers.URI_PATH, path), (numbers.BLOCK1, value)]).encode()


def test_the_next_block_is_made_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownOptions()
    for first in (0, 16):
        blockwise(known.decode(head(first), 0)[0])
        assert known.decode(head(first), 0)[0].uri_path == ("store",)
        assert known.decode(head(first), 0)[0].request_fault is None
    monkeypatch.setattr("securecoap.wire.known_options.decode_options", None)
    for number in (1, 15, 17, 4000):
        options = known.decode(head(number) + b"\xffx", 0)[0]
        assert options.known_path == ("store",)
        assert options.is_sound_request
        assert options.blockwise is not None
        assert options.blockwise.block1 == Block(number, True, 6)
        assert known.decode(head(number) + b"\xffy", 0)[0] is options
        with pytest.raises(TypeError):
            options.add(9, b"")


def test_what_is_remembered_is_bounded() -> None:
    known = KnownOptions()
    for number in range(5000):
        known.decode(head(number % 100, b"%d" % (number // 2)), 0)
        assert len(known.recent) <= 2048
        assert len(known._older) <= 2048
        assert len(known._series) <= 256
    assert len(known._older) == 2048


def test_what_is_long_is_not_remembered() -> None:
    known = KnownOptions(longest=4)
    for body in (b"\xc1\x28\x10", b"\xc2\x28\x10\x10", encode_options([(23, b"\x0e"), (60, b"\x01\x01")])):
        again = [known.decode(body + b"\xffx", 0)[0] for _ in range(2)]
        assert (again[0] is again[1]) == (len(body) <= 4)
    for length in (LONGEST, LONGEST + 1):
        body = encode_options([(numbers.ETAG, bytes(length - 5)), (numbers.BLOCK2, b"\x0e")])
        assert len(body) == length
        again = [known.decode(body + b"\xffx", 0)[0] for _ in range(2)]
        assert (again[0] is again[1]) == (length == LONGEST)
