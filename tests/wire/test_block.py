"""Block option values (RFC 7959 section 2.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire.block import BERT_EXPONENT, MAXIMUM_BLOCK_NUMBER, Block

_MESSAGES = json.loads((Path(__file__).parents[1] / "vectors" / "coap_messages.json").read_text(encoding="utf-8"))
_BLOCKS: list[Any] = [
    pytest.param(option["hex"], option["value"], id=f"{message['id']}-{option['name']}")
    for message in _MESSAGES["messages"]
    for option in message["options"]
    if option["number"] in {23, 27} and isinstance(option["value"], dict)
]


def test_the_vectors_have_blocks() -> None:
    assert len(_BLOCKS) > 20


@pytest.mark.parametrize(("value", "expected"), _BLOCKS)
def test_vector(value: str, expected: dict[str, Any]) -> None:
    block = Block.decode(bytes.fromhex(value))
    assert block == (expected["num"], expected["more"], expected["szx"])
    if expected["szx"] < BERT_EXPONENT:
        assert block.size == expected["size"]
    assert Block.decode(block.encode()) == block


@pytest.mark.parametrize(
    ("value", "block"),
    [
        (b"", Block(0, more=False, size_exponent=0)),
        (b"\x06", Block(0, more=False, size_exponent=6)),
        (b"\x0e", Block(0, more=True, size_exponent=6)),
        (b"\xf8", Block(15, more=True, size_exponent=0)),
        (b"\x01\x00", Block(16, more=False, size_exponent=0)),
        (b"\xff\xff\xff", Block(0xFFFFF, more=True, size_exponent=7)),
    ],
)
def test_shortest_form(value: bytes, block: Block) -> None:
    assert Block.decode(value) == block
    assert block.encode() == value


def test_leading_zeros_are_accepted() -> None:
    assert Block.decode(b"\x00\x00\x1e") == Block.decode(b"\x1e") == (1, True, 6)


@pytest.mark.parametrize(
    ("exponent", "size"), [(0, 16), (1, 32), (2, 64), (3, 128), (4, 256), (5, 512), (6, 1024), (7, 1024)]
)
def test_size_and_start(exponent: int, size: int) -> None:
    block = Block(3, more=True, size_exponent=exponent)
    assert block.size == size
    assert block.start == 3 * size
    assert block.is_bert is (exponent == BERT_EXPONENT)
    assert Block.at(3 * size, exponent, more=True) == block


def test_offset_between_blocks() -> None:
    with pytest.raises(FormatError):
        Block.at(1000, 6)


def test_four_bytes_are_an_error() -> None:
    with pytest.raises(FormatError):
        Block.decode(bytes(4))


@pytest.mark.parametrize(
    "block", [Block(MAXIMUM_BLOCK_NUMBER + 1, False, 6), Block(-1, False, 0), Block(0, False, 8), Block(0, False, -1)]
)
def test_what_does_not_fit(block: Block) -> None:
    with pytest.raises(FormatError):
        block.encode()


@given(st.integers(0, MAXIMUM_BLOCK_NUMBER), st.booleans(), st.integers(0, 7))
def test_round_trip(number: int, more: bool, exponent: int) -> None:
    block = Block(number, more, exponent)
    value = block.encode()
    assert len(value) <= 3
    assert value[:1] != b"\0"
    assert Block.decode(value) == block


@given(st.binary(max_size=6))
def test_any_bytes_are_a_block_or_a_format_error(value: bytes) -> None:
    try:
        block = Block.decode(value)
    except FormatError:
        assert len(value) > 3
    else:
        assert Block.decode(block.encode()) == block
