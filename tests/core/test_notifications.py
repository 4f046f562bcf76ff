"""What those who observe are sent (RFC 7641 section 4.2 to 4.4)."""

from __future__ import annotations

import pytest

from securecoap.core.notifications import UNKNOWN, SequenceNumbers, as_confirmable, make, without_observe
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message


def test_a_representation_with_its_number() -> None:
    response = Message(payload=b"1", content_format=50, max_age=9, etag=b"e", observe=7)
    made = make(Message(Code.GET, observe=0), response, (5 << 24) + 258, 6)
    assert (made.code, made.payload, made.content_format) == (Code.CONTENT, b"1", 50)
    assert [number for number, _ in made.options] == [4, 6, 12, 14]
    assert made.options.observe == 258
    assert made.number == (5 << 24) + 258
    assert not made.is_last
    assert response.options.observe == 7  # what the handler made is its own


@pytest.mark.parametrize(("number", "encoded"), [(0, b""), (1, b"\1"), (1 << 24, b""), (0xFFFFFF, b"\xff\xff\xff")])
def test_r094_three_bytes_at_most(number: int, encoded: bytes) -> None:
    made = make(Message(Code.GET), Message(), number, 6)
    assert made.options.get(6) == encoded


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.INTERNAL_SERVER_ERROR])
def test_r104_an_error_has_no_observe(code: Code) -> None:
    made = make(Message(Code.GET, observe=0), Message(code), 1, 6)
    assert made.is_last
    assert made.options.observe is None


def test_who_has_the_representation_gets_2_03() -> None:
    request = Message(Code.GET, observe=0, etags=(b"a", b"b"))
    made = make(request, Message(payload=b"x" * 3000, etag=b"b", content_format=0, max_age=5), 1, 6)
    assert (made.code, made.payload, made.content_format) == (Code.VALID, b"", UNKNOWN)
    assert [number for number, _ in made.options] == [4, 6, 14]
    for response in (Message(payload=b"x", etag=b"c"), Message(payload=b"x"), Message(Code.CHANGED, etag=b"a")):
        assert make(request, response, 1, 6).code != Code.VALID


@pytest.mark.parametrize(("asked", "largest", "size"), [(None, 6, 1024), (None, 3, 128), (2, 6, 64), (6, 3, 128)])
def test_r086_only_the_first_block_of_a_large_one(asked: int | None, largest: int, size: int) -> None:
    request = Message(Code.GET, observe=0)
    if asked is not None:
        request.options.block2 = Block(0, more=False, size_exponent=asked)
    made = make(request, Message(payload=bytes(3000)), 1, largest)
    block2 = made.options.block2
    assert block2 is not None
    assert (block2.number, block2.more, block2.size, len(made.payload)) == (0, True, size, size)
    assert made.options.etag
    assert make(request, Message(payload=bytes(16)), 1, largest).options.block2 is None


def test_variants_leave_the_shared_one_alone() -> None:
    made = make(Message(Code.GET), Message(payload=b"1"), 1, 6)
    again = as_confirmable(made)
    assert (again.confirmable, again.payload, again.options) == (True, b"1", made.options)
    last = without_observe(made)
    assert (last.options.observe, last.code) == (None, Code.CONTENT)
    assert (made.confirmable, made.options.observe) == (None, 1)


def test_r106_numbers_follow_the_clock_and_never_stand_still() -> None:
    now = 100.0
    numbers = SequenceNumbers(1000, lambda: now)
    first = [numbers.next() for _ in range(5)]
    assert first == [1001, 1002, 1003, 1004, 1005]
    now += 256.0
    later = numbers.next()
    assert later - first[-1] < 1 << 23  # section 4.4: not so far within 256 s
    assert later == 1000 + 256 * 16384
