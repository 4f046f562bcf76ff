"""Messages on reliable transports: frames in a byte stream, and WebSocket messages (RFC 8323 section 3.2 and 4.2).

Such a message has a length in place of type and Message ID. `FrameDecoder` takes a stream in pieces of any size and
gives back messages; what it holds is bounded by the longest message that it was told to accept, and a length beyond
that is refused as soon as it was announced. This module knows no connection, no signalling and no time. Bytes that are
no message raise `FormatError` and nothing else; the connection cannot go on after that (section 5.6).
"""

from __future__ import annotations

from typing import Final

from securecoap.errors import FormatError
from securecoap.wire.message import Message, decode_body

__all__ = [
    "ALPN",
    "WEBSOCKET_PATH",
    "WEBSOCKET_SUBPROTOCOL",
    "FrameDecoder",
    "decode_websocket_message",
    "encode_frame",
    "encode_websocket_message",
]

ALPN: Final = "coap"
"""The protocol that is agreed on in a TLS handshake (section 8.2)."""
WEBSOCKET_SUBPROTOCOL: Final = "coap"
"""The subprotocol that is agreed on when a WebSocket is opened (section 4.1)."""
WEBSOCKET_PATH: Final = "/.well-known/coap"
"""Where on an HTTP server a WebSocket for CoAP is opened (section 4.1)."""

# Where the 1, 2 and 4 byte forms of Len begin (section 3.2), and those of TKL (RFC 8974 section 2.1).
_LENGTH_BASES: Final = {13: (1, 13), 14: (2, 269), 15: (4, 65805)}
_LONGEST_BODY: Final = 65805 + 0xFFFFFFFF
_LONGEST_TOKEN: Final = 269 + 0xFFFF


def encode_frame(message: Message) -> bytes:
    """A message as it stands in a byte stream (section 3.2).

    Raises:
        ValueError: it has no code yet, its token is longer than 65804 bytes, or the rest longer than 4295033100.
    """
    options = message.options.encode()
    payload = message.payload
    length = len(options) + (len(payload) + 1 if payload else 0)
    if length > _LONGEST_BODY:
        raise ValueError("options and payload do not fit a frame")
    nibble, extended = _extended(length)
    return _assemble(nibble, extended, message, options)


def encode_websocket_message(message: Message) -> bytes:
    """A message as the content of one binary WebSocket message, whose length says it all (section 4.2).

    Raises:
        ValueError: it has no code yet, or its token is longer than 65804 bytes.
    """
    return _assemble(0, b"", message, message.options.encode())


def decode_websocket_message(data: bytes, token_length: int = 8) -> Message:
    """The message that one binary WebSocket message is.

    Args:
        data: all of it; its length was bounded when it was received.
        token_length: the longest token that was announced to the peer (RFC 8974 section 2.2.1).

    Raises:
        FormatError: it is none, or has a length of its own, which is for streams.
    """
    if len(data) < 2:
        raise FormatError("shorter than the header")
    if data[0] >> 4:
        raise FormatError("a WebSocket message with a length of its own")
    return _decode(data, 1, len(data), token_length)


class FrameDecoder:
    """The messages of one direction of a stream, as its bytes come in.

    Args:
        message_size: the longest message to accept, header and all: what was announced as Max-Message-Size.
        token_length: the longest token to accept: 8, or what was announced as Extended-Token-Length.
    """

    __slots__ = ("_broken", "_buffer", "message_size", "token_length")

    def __init__(self, message_size: int = 1152, token_length: int = 8) -> None:
        self.message_size = message_size
        self.token_length = token_length
        self._buffer = bytearray()
        self._broken = False

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their message: fewer than ``message_size`` once all were taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what was read; `next_message` is to be called until it has no more."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next message that is complete.

        Raises:
            FormatError: the stream cannot be understood from here on; every later call says so again.
        """
        if self._broken:
            raise FormatError("the stream was broken off")
        try:
            return self._next()
        except FormatError:
            self._broken = True
            self._buffer.clear()
            raise

    def _next(self) -> Message | None:
        buffer = self._buffer
        if not buffer:
            return None
        length = buffer[0] >> 4
        code_at = 1
        if length > 12:
            size, base = _LENGTH_BASES[length]
            code_at += size
            if len(buffer) < code_at:
                return None
            length = int.from_bytes(buffer[1:code_at], "big") + base
        token_length, token_at = _token_length(buffer, code_at)
        if token_length < 0:
            return None
        end = token_at + token_length + length
        if end > self.message_size:
            raise FormatError("longer than was announced")
        if token_length > self.token_length:
            raise FormatError("token longer than was announced")
        if len(buffer) < end:
            return None
        frame = bytes(buffer[:end])
        del buffer[:end]
        return _decode(frame, code_at, end, self.token_length)


def _extended(length: int) -> tuple[int, bytes]:
    if length < 13:
        return length, b""
    if length < 269:
        return 13, bytes((length - 13,))
    if length < 65805:
        return 14, (length - 269).to_bytes(2, "big")
    return 15, (length - 65805).to_bytes(4, "big")


def _assemble(nibble: int, extended: bytes, message: Message, options: bytes) -> bytes:
    if message.code is None:
        raise ValueError("a message without code has no wire form")
    token = message.token
    if len(token) > _LONGEST_TOKEN:
        raise ValueError("a token takes 65804 bytes at most")
    token_nibble, token_extended = _extended(len(token))
    head = bytes((nibble << 4 | token_nibble,)) + extended + bytes((message.code,)) + token_extended
    if message.payload:
        return b"".join((head, token, options, b"\xff", message.payload))
    return b"".join((head, token, options))


def _token_length(data: bytes | bytearray, code_at: int) -> tuple[int, int]:
    """Length of the token and where it begins; -1 where that cannot be told yet."""
    nibble = data[0] & 15
    if nibble < 13:
        return nibble, code_at + 1
    if nibble == 15:
        raise FormatError("bad token length")
    size, base = _LENGTH_BASES[nibble]
    token_at = code_at + 1 + size
    if len(data) < token_at:
        return -1, token_at
    return int.from_bytes(data[code_at + 1 : token_at], "big") + base, token_at


def _decode(data: bytes, code_at: int, end: int, longest_token: int) -> Message:
    length, token_at = _token_length(data, code_at)
    if length < 0 or token_at + length > end:
        raise FormatError("token runs past the end")
    if length > longest_token:
        raise FormatError("token longer than was announced")
    code = data[code_at]
    body_at = token_at + length
    options, payload = decode_body(data[body_at:end], code)
    return Message.inner(code, options, payload, None, data[token_at:body_at])
