"""What options say of blocks is found once, and again when they were changed."""

from __future__ import annotations

from typing import Any

import pytest

from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.operation import blockwise
from securecoap.wire.options import Options, decode_options


def test_found_once_for_equal_messages() -> None:
    options = Options([(numbers.URI_PATH, b"x"), (numbers.BLOCK2, b"\x16"), (numbers.OBSERVE, b"")])
    received = decode_options(options.encode())[0]
    found = blockwise(received)
    assert (found.block1, found.block2) == (None, Block(1, False, 6))
    assert found.operation == ((numbers.URI_PATH, b"x"),)
    assert blockwise(received) is received.blockwise is found


def test_found_anew_after_a_change() -> None:
    options = Options([(numbers.URI_PATH, b"x"), (numbers.BLOCK1, b"\x0e")])
    before = blockwise(options)
    copy = options.copy()
    assert blockwise(copy) is before
    copy.block1 = Block(1, False, 6)
    copy.request_tag = (b"a",)
    after = blockwise(copy)
    assert after.block1 == Block(1, False, 6)
    assert after.operation == ((numbers.URI_PATH, b"x"), (numbers.REQUEST_TAG, b"a"))
    assert blockwise(options).block1 == Block(0, True, 6)
    options.add(numbers.URI_PATH, b"y")
    assert blockwise(options).operation == ((numbers.URI_PATH, b"x"), (numbers.URI_PATH, b"y"))


def test_a_block_option_that_is_too_long_is_none() -> None:
    found = blockwise(Options([(numbers.BLOCK1, bytes(4)), (numbers.BLOCK2, bytes(3))]))
    assert (found.block1, found.block2) == (None, Block(0, False, 0))


@pytest.mark.parametrize(
    ("options", "has_fault"),
    [
        ({"block1": Block(0, True, 6), "if_none_match": True}, False),
        ({"block1": Block(1, True, 6), "if_none_match": True}, True),
        ({"block1": Block(1, True, 7)}, True),
        ({"block2": Block(0, False, 7)}, True),
        ({"block2": Block(3, False, 6), "if_none_match": True}, False),
    ],
)
def test_what_no_server_can_take_is_found_with_it(options: dict[str, Any], has_fault: bool) -> None:
    message = Message(Code.PUT, **options)
    assert (blockwise(message.options).fault is not None) is has_fault


def test_the_fault_is_that_of_each_part() -> None:
    first = Message(Code.PUT, if_none_match=True, block1=Block(0, True, 6)).options.snapshot()
    assert blockwise(first).fault is None
    assert blockwise(first.with_last(b"\x1e")).fault == "If-None-Match belongs to the first block"
