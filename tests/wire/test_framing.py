"""Frames of the RFC and constructed ones, and bytes that are none (RFC 8323 section 3.2 and 4.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire.codes import dotted, parse_code
from securecoap.wire.framing import (
    ALPN,
    WEBSOCKET_PATH,
    WEBSOCKET_SUBPROTOCOL,
    FrameDecoder,
    decode_websocket_message,
    encode_frame,
    encode_websocket_message,
)
from securecoap.wire.message import Message

_REGISTRY = Path(__file__).parents[1] / "vectors" / "option_registry.json"
_VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "coap_messages.json").read_text(encoding="utf-8"))
_FRAMES: list[dict[str, Any]] = _VECTORS["tcp_frames"]
_WEBSOCKET: list[dict[str, Any]] = _VECTORS["websocket_messages"]
_LARGE = 1 << 20


def of_entry(entry: dict[str, Any]) -> Message:
    payload = bytes.fromhex(entry["payload"] or "")
    if entry["payload_rule"]:
        assert entry["payload_rule"] == "byte i = i mod 256"
        payload = bytes(i & 255 for i in range(entry["payload_length"]))
    message = Message(parse_code(entry["code"]), payload)
    message.token = bytes.fromhex(entry["token"])
    for number, value in entry["options"]:
        message.options.add(number, bytes.fromhex(value))
    return message


def content(message: Message) -> tuple[Any, ...]:
    return message.code, message.token, tuple(message.options), message.payload


def decode_all(data: bytes, *, step: int = 0, size: int = _LARGE, token: int = 8) -> list[Message]:
    decoder = FrameDecoder(size, token)
    messages = []
    for start in range(0, len(data), step or len(data)):
        decoder.feed(data[start : start + (step or len(data))])
        while (message := decoder.next_message()) is not None:
            messages.append(message)
    assert decoder.buffered == 0
    return messages


def test_the_vectors_are_all_there() -> None:
    assert len(_FRAMES) == 14
    assert len(_WEBSOCKET) == 4


@pytest.mark.parametrize("entry", _FRAMES, ids=lambda entry: entry["id"])
def test_tcp_frame(entry: dict[str, Any]) -> None:
    message = of_entry(entry)
    frame = encode_frame(message)
    assert len(frame) == entry["length"]
    if entry["hex"]:
        assert frame.hex() == entry["hex"]
    if entry["hex_head"]:
        assert frame.hex().startswith(entry["hex_head"])
    (decoded,) = decode_all(frame)
    assert content(decoded) == content(message)
    assert dotted(decoded.code) == entry["code"]
    assert (decoded.mtype, decoded.mid) == (None, None)


def test_all_frames_in_one_stream() -> None:
    messages = [of_entry(entry) for entry in _FRAMES]
    stream = b"".join(encode_frame(message) for message in messages)
    for step in (0, 1, 7, 1460):
        assert [content(one) for one in decode_all(stream, step=step)] == [content(one) for one in messages]


@pytest.mark.parametrize(
    ("name", "code", "token", "options", "payload"),
    [
        ("WS-V1", "7.01", "", [], b""),
        ("WS-V2", "0.01", "53", [(11, b"temperature")], b""),
        ("WS-V3", "2.05", "53", [], b"22.3 Cel"),
        ("WS-V4", "7.02", "42", [], b""),
    ],
)
def test_websocket_message(name: str, code: str, token: str, options: list[Any], payload: bytes) -> None:
    (data,) = (bytes.fromhex(entry["hex"]) for entry in _WEBSOCKET if entry["id"] == name)
    message = decode_websocket_message(data)
    assert content(message) == (parse_code(code), bytes.fromhex(token), tuple(options), payload)
    assert encode_websocket_message(message) == data


def test_a_long_websocket_message_has_no_length_either() -> None:
    message = Message(0x45, bytes(70_000))
    data = encode_websocket_message(message)
    assert len(data) == 2 + 1 + 70_000
    assert content(decode_websocket_message(data)) == content(message)


@pytest.mark.parametrize("length", [0, 8, 9, 12, 13, 268, 269, 65804])
def test_token_lengths(length: int) -> None:
    """Extended ones stand between code and token (RFC 8974 section 2.1)."""
    message = Message(1)
    message.token = bytes(length)
    frame, data = encode_frame(message), encode_websocket_message(message)
    assert frame == data
    (decoded,) = decode_all(frame, step=1, token=length)
    assert decoded.token == decode_websocket_message(data, length).token == message.token
    if length > 8:
        for call in (lambda: decode_all(frame, token=length - 1), lambda: decode_websocket_message(data, length - 1)):
            with pytest.raises(FormatError, match="announced"):
                call()


@pytest.mark.parametrize(
    "data",
    [
        "0f45",  # TKL 15
        "1045b1",  # an option past the end of its frame, though more of the stream follows
        "1045ff",  # a marker without payload
        "1045f0",  # delta nibble 15
        "10450f",  # length nibble 15
        "4001e0ffffb0",  # an option number above 65535
    ],
)
def test_no_message(data: str) -> None:
    decoder = FrameDecoder(_LARGE)
    decoder.feed(bytes.fromhex(data) + bytes.fromhex("0045"))
    with pytest.raises(FormatError):
        decoder.next_message()
    with pytest.raises(FormatError, match="broken off"):  # nothing after it is taken for a message
        decoder.next_message()
    assert decoder.buffered == 0


@pytest.mark.parametrize("data", ["", "01", "1045b0", "0145", "0e45ff", "0d45", "0f45", "0045ff"])
def test_no_websocket_message(data: str) -> None:
    with pytest.raises(FormatError):
        decode_websocket_message(bytes.fromhex(data))


def test_messages_before_a_fault_are_given() -> None:
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex("01437f1045ff"))
    assert decoder.next_message() is not None
    with pytest.raises(FormatError):
        decoder.next_message()


@pytest.mark.parametrize("payload", [0, 1, 100, 1149, 70_000])
def test_the_size_counts_from_the_first_byte(payload: int) -> None:
    frame = encode_frame(Message(0x45, bytes(payload)))
    decode_all(frame, size=len(frame))
    with pytest.raises(FormatError, match="announced"):
        decode_all(frame, size=len(frame) - 1)


@pytest.mark.parametrize("head", ["f0ffffffff", "f000000000", "e0ffff"])
def test_a_length_is_refused_before_its_bytes_come(head: str) -> None:
    decoder = FrameDecoder(1152)
    decoder.feed(bytes.fromhex(head))
    with pytest.raises(FormatError, match="announced"):
        decoder.next_message()
    assert decoder.buffered == 0


def test_less_than_one_message_is_held() -> None:
    decoder = FrameDecoder(1152)
    frame = encode_frame(Message(0x45, bytes(1000)))
    for _ in range(100):
        decoder.feed(frame[:-1])
        assert decoder.next_message() is None
        assert decoder.buffered < 1152
        decoder.feed(frame[-1:])
        assert decoder.next_message() is not None


def test_what_cannot_be_written() -> None:
    message = Message(1)
    message.token = bytes(65805)
    for encode in (encode_frame, encode_websocket_message):
        with pytest.raises(ValueError, match="65804"):
            encode(message)
        with pytest.raises(ValueError, match="code"):
            encode(Message())


def _with_options(code: int, token: bytes, options: list[tuple[int, bytes]], payload: bytes) -> Message:
    message = Message(code, payload)
    message.token = token
    for number, value in options:
        message.options.add(number, value)
    return message


messages = st.builds(
    _with_options,
    st.integers(0, 255),
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=300)), max_size=5),
    st.binary(max_size=70_000),
)


@given(st.lists(messages, max_size=4), st.integers(1, 5000))
def test_round_trip(some: list[Message], step: int) -> None:
    stream = b"".join(encode_frame(message) for message in some)
    step = max(step, len(stream) // 200)
    assert [content(one) for one in decode_all(stream, step=step, token=300)] == [content(one) for one in some]
    for message in some:
        assert content(decode_websocket_message(encode_websocket_message(message), 300)) == content(message)


@given(st.binary(max_size=200), st.integers(1, 200), st.integers(8, 300))
def test_any_bytes_are_messages_or_one_format_error(data: bytes, step: int, size: int) -> None:
    decoder = FrameDecoder(size, 20)
    consumed = 0
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        decoder.feed(piece)
        try:
            while (message := decoder.next_message()) is not None:
                consumed += len(encode_frame(message))  # at most what came: the peer may have used a longer form
                assert len(message.token) <= 20
        except FormatError:
            return
        assert decoder.buffered < size
    assert consumed <= len(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_websocket_message_or_a_format_error(data: bytes) -> None:
    try:
        message = decode_websocket_message(data, 20)
    except FormatError:
        return
    assert encode_websocket_message(message)[:2] == data[:2]


def test_names_are_the_registry_s() -> None:
    ports = json.loads(_REGISTRY.read_text(encoding="utf-8"))["ports"]
    assert (ports["alpn"], ports["ws_subprotocol"], ports["ws_path"]) == (ALPN, WEBSOCKET_SUBPROTOCOL, WEBSOCKET_PATH)
