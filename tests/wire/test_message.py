"""One message and its datagram: what equal messages share, and that sharing changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError, UriError
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import decode_options

HEADER = b"\x60\x45\x12\x34"
UNKNOWN = b"\xd1\xff\x01"  # option 268, whose delta is spelled with the byte of the marker


PROTECTED = st.builds(lambda head, rest: bytes((head,)) + rest, st.integers(0x90, 0x9F), st.binary(max_size=12))
"""What begins with an OSCORE option."""


@given(
    st.binary(max_size=12) | PROTECTED | PROTECTED.map(lambda body: body[:3] + b"\xff" + body[3:]), st.integers(0, 255)
)
def test_decoding_again_gives_the_same(body: bytes, code: int) -> None:
    """Whatever is remembered of options, of requests or in front of a payload: as without remembering."""
    datagram = bytes((0x60, code)) + HEADER[2:] + body
    try:
        expected = decode_options(body)
    except FormatError:
        expected = None
    if code == 0:
        return
    for _ in range(3):
        if expected is None:
            with pytest.raises(FormatError):
                Message.decode(datagram)
        else:
            message = Message.decode(datagram)
            assert (message.options.pairs, message.payload) == (expected[0].pairs, expected[1])
            assert message.options.present == expected[0].present


def test_short_options_of_responses_are_shared() -> None:
    one, other = Message.decode(HEADER + b"\xc1\x28\xffone"), Message.decode(HEADER + b"\xc1\x28\xffother")
    assert one.options is other.options
    assert (one.payload, other.payload, other.options.content_format) == (b"one", b"other", 40)
    with pytest.raises(TypeError):
        one.options.content_format = 0


def test_long_options_of_responses_are_not_remembered() -> None:
    long = HEADER + b"\xc2\x01\x02\x61\x05\xffx"
    assert Message.decode(long).options is not Message.decode(long).options


@pytest.mark.parametrize("options", [b"", b"\xc0", UNKNOWN])
def test_a_marker_without_payload_however_often(options: bytes) -> None:
    assert Message.decode(HEADER + options + b"\xffx").payload == b"x"
    for _ in range(3):
        with pytest.raises(FormatError):
            Message.decode(HEADER + options + b"\xff")
    assert Message.decode(HEADER + options + b"\xff\xff").payload == b"\xff"


def test_a_request_to_a_uri_is_what_its_arguments_make() -> None:
    for uri in ("coap://[::1]:61616/a/b?c=d", "coaps://gateway.example"):
        short = Message.to(uri, Code.POST, b"body", confirmable=True)
        usual = Message(Code.POST, b"body", uri=uri, confirmable=True)
        for name in set(Message.__slots__) - {"options"}:
            assert getattr(short, name) == getattr(usual, name), name
        assert short.options == usual.options
        with pytest.raises(TypeError):
            short.options.accept = 0
        assert short.copy(accept=0).options.accept == 0
        assert Message.to(uri, Code.GET).options.accept is None
    with pytest.raises(UriError):
        Message.to("coap:///x", Code.GET)


def test_options_that_come_again_are_shared() -> None:
    """With another payload, Message ID and token, too; a 0xFF that is no marker does not mislead."""
    head = b"\xb5store\xd1\x03\x0e"  # Uri-Path, Block1
    first = Message.decode(b"\x42\x03\x00\x01ab" + head + b"\xffone")
    again = Message.decode(b"\x43\x03\x00\x02abc" + head + b"\xfftwo")
    bare = Message.decode(b"\x40\x03\x00\x03" + head)
    assert again.options is first.options is bare.options
    assert [one.payload for one in (first, again, bare)] == [b"one", b"two", b""]
    with pytest.raises(FormatError):
        Message.decode(b"\x42\x03\x00\x01ab" + head + b"\xff")
    for value in (b"\xff", b"a\xff", b"\xffa"):
        odd = Message.decode(b"\x40\x03\x00\x01" + bytes((0xB0 | len(value),)) + value + b"\xffbody")
        assert (odd.options.pairs, odd.payload) == (((11, value),), b"body")
