"""EDHOC's messages as far as they are seen from outside: message_1, identifiers, errors, what CoAP puts before them.

RFC 9528 sections 3.3.2, 5.2.1 and 6 and appendix A.2, RFC 9668 section 3.2.1. The reader takes deterministic CBOR only
(RFC 9528 appendix C.1). message_1 is read here although lakers reads it too: the suites decide about an error with its
own code, and lakers ends with a panic on a point that is not on the curve. This module knows no keys and no sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from securecoap.credentials.ccs import is_on_p256
from securecoap.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAXIMUM_IDENTIFIER",
    "MAXIMUM_MESSAGE",
    "EdhocError",
    "Message1",
    "encode_error",
    "encode_identifier",
    "encode_suites",
    "parse_ciphertext",
    "parse_error",
    "parse_message_1",
    "parse_message_2",
    "take_byte_string",
    "take_identifier",
]

MAXIMUM_MESSAGE: Final = 512
"""Bytes of the longest EDHOC message that is looked at: lakers takes fewer."""
MAXIMUM_IDENTIFIER: Final = 7
"""Bytes of the longest connection identifier: it becomes an OSCORE id (RFC 8613 section 3.3, nonces of 13 bytes)."""

NEW_SESSION: Final = b"\xf5"
"""CBOR's ``true``, which announces message_1 (appendix A.2)."""

UNSPECIFIED, WRONG_SUITE, UNKNOWN_CREDENTIAL = 1, 2, 3
"""The error codes of section 6."""

_SUITES: Final = (2,)
_METHOD: Final = 3
_COORDINATE: Final = 32
_TAG: Final = 8
_MOST_SUITES: Final = 16
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY = range(5)
_LONGEST_DIAGNOSTIC: Final = 200


class EdhocError(FormatError):
    """A message of the peer ends the session (section 6).

    Attributes:
        code: ERR_CODE that the peer is told.
        info: ERR_INFO, encoded.
    """

    def __init__(self, text: str, code: int = UNSPECIFIED, info: bytes | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.info = _text(text) if info is None else info

    @property
    def cause(self) -> str:
        """A word for logs and counters."""
        return {WRONG_SUITE: "wrong-suite", UNKNOWN_CREDENTIAL: "unknown-credential"}.get(self.code, "malformed")

    @property
    def message(self) -> bytes:
        """The error message for the peer."""
        return encode_error(self.code, self.info)


@dataclass(frozen=True, slots=True)
class Message1:
    """message_1, with everything in it checked that concerns its form (section 5.2.1).

    Attributes:
        suites: SUITES_I, the selected one last.
        g_x: the ephemeral public key.
        c_i: the connection identifier that the initiator chose.
        ead: the rest: external authorization data, not looked into.
    """

    method: int
    suites: tuple[int, ...]
    g_x: bytes
    c_i: bytes
    ead: bytes


class _Reader:
    """Takes items of deterministic CBOR off a byte string."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def rest(self) -> bytes:
        return self.data[self.position :]

    def head(self) -> tuple[int, int]:
        """Major type and argument, in its shortest form."""
        if self.position >= len(self.data):
            raise EdhocError("a message is too short")
        initial = self.data[self.position]
        self.position += 1
        major, value = initial >> 5, initial & 0x1F
        if value < 24:
            return major, value
        if value > 26:
            raise EdhocError("not in deterministic CBOR")  # nothing here is that long
        length = 1 << (value - 24)
        octets = self.data[self.position : self.position + length]
        self.position += length
        value = int.from_bytes(octets, "big")
        if len(octets) < length or value < (24, 0x100, 0x10000)[length // 2]:
            raise EdhocError("not in deterministic CBOR")
        return major, value

    def integer(self) -> int:
        major, value = self.head()
        if major not in (_UNSIGNED, _NEGATIVE):
            raise EdhocError("a number is expected")
        return value if major == _UNSIGNED else -1 - value

    def octets(self) -> bytes:
        major, length = self.head()
        if major != _BYTES:
            raise EdhocError("a byte string is expected")
        return self.take(length)

    def take(self, length: int) -> bytes:
        found = self.data[self.position : self.position + length]
        if len(found) < length:
            raise EdhocError("a message is too short")
        self.position += length
        return found

    def identifier(self) -> bytes:
        """A connection identifier (section 3.3.2): some byte strings stand as the integer that they look like."""
        start = self.position
        major, value = self.head()
        if major in (_UNSIGNED, _NEGATIVE) and self.position == start + 1:
            return self.data[start : self.position]
        if major != _BYTES:
            raise EdhocError("a connection identifier is expected")
        found = self.take(value)
        if _is_integer(found):
            raise EdhocError("a connection identifier that has to be an integer")
        if len(found) > MAXIMUM_IDENTIFIER:
            raise EdhocError("a connection identifier is too long for OSCORE")
        return found

    def suites(self) -> tuple[int, ...]:
        start = self.position
        major, count = self.head()
        if major != _ARRAY:
            self.position = start
            return (self.integer(),)
        if not 2 <= count <= _MOST_SUITES:  # section 5.2.1: one alone is no array
            raise EdhocError("the array of suites has a wrong length")
        return tuple(self.integer() for _ in range(count))


def _is_integer(identifier: bytes) -> bool:
    return len(identifier) == 1 and (identifier[0] < 0x18 or 0x20 <= identifier[0] < 0x38)


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes((major << 5 | value,))
    if value < 256:
        return bytes((major << 5 | 24, value))
    return bytes((major << 5 | 25, *value.to_bytes(2, "big")))


def _number(value: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _head(_TEXT, len(encoded)) + encoded


def encode_identifier(identifier: bytes) -> bytes:
    """How a connection identifier stands in a message (section 3.3.2)."""
    return identifier if _is_integer(identifier) else _head(_BYTES, len(identifier)) + identifier


def take_identifier(data: bytes) -> tuple[bytes, bytes]:
    """The identifier before a message to a responder, and the message (appendix A.2).

    Raises:
        EdhocError: there is none.
    """
    reader = _Reader(data)
    return reader.identifier(), reader.rest


def take_byte_string(data: bytes) -> tuple[bytes, bytes]:
    """The first item, encoded, which is a byte string, and the rest: a combined request (RFC 9668 section 3.2.1).

    Raises:
        EdhocError: it does not begin with a byte string.
    """
    reader = _Reader(data)
    reader.octets()
    return data[: reader.position], reader.rest


def parse_message_1(data: bytes) -> Message1:
    """Read message_1, and refuse what cannot be gone on with (section 5.2.3).

    Raises:
        EdhocError: it is malformed, or asks for a method or suite that is not supported.
    """
    if len(data) > MAXIMUM_MESSAGE:
        raise EdhocError("message_1 is too long")
    reader = _Reader(data)
    method = reader.integer()
    suites = reader.suites()
    g_x = reader.octets()
    c_i = reader.identifier()
    # The first of theirs that is one of ours has to be selected (section 6.3.1).
    best = next((suite for suite in suites if suite in _SUITES), None)
    if best is None or best != suites[-1]:
        raise EdhocError("the selected cipher suite is not supported", WRONG_SUITE, encode_suites(_SUITES))
    if method != _METHOD:
        raise EdhocError(f"method {method} is not supported")
    if len(g_x) != _COORDINATE or not is_on_p256(g_x):
        raise EdhocError("the ephemeral key is no point of P-256")
    return Message1(method, suites, g_x, c_i, reader.rest)


def parse_message_2(data: bytes) -> bytes:
    """Check the form of message_2 and the point in it (section 5.3.1); the message.

    Raises:
        EdhocError: it is none.
    """
    if len(data) > MAXIMUM_MESSAGE:
        raise EdhocError("message_2 is too long")
    reader = _Reader(data)
    content = reader.octets()
    if reader.rest or len(content) <= _COORDINATE or not is_on_p256(content[:_COORDINATE]):
        raise EdhocError("message_2 is malformed")
    return data


def parse_ciphertext(data: bytes, what: str) -> bytes:
    """Check the form of message_3 and message_4: one byte string with a tag in it (sections 5.4.1 and 5.5.1).

    lakers ends with a panic on less.

    Raises:
        EdhocError: it is none.
    """
    reader = _Reader(data)
    if len(data) > MAXIMUM_MESSAGE or len(reader.octets()) < _TAG or reader.rest:
        raise EdhocError(f"{what} is malformed")
    return data


def encode_suites(suites: Sequence[int]) -> bytes:
    """SUITES_I and SUITES_R: a number, or an array of several."""
    if len(suites) == 1:
        return _number(suites[0])
    return _head(_ARRAY, len(suites)) + b"".join(map(_number, suites))


def encode_error(code: int, info: bytes) -> bytes:
    """An error message (section 6)."""
    return _number(code) + info


def parse_error(data: bytes) -> str | None:
    """What an error message says, for a person; ``None`` if it is none. It is not authenticated."""
    reader = _Reader(data[:MAXIMUM_MESSAGE])
    try:
        code = reader.integer()
        if code == WRONG_SUITE:
            return f"the peer supports cipher suites {', '.join(map(str, reader.suites()))} only"
        if code == UNKNOWN_CREDENTIAL:
            return "the peer does not know our credential"
        if code == UNSPECIFIED:
            major, length = reader.head()
            said = reader.take(length).decode(errors="replace") if major == _TEXT else ""
            return "".join(one if one.isprintable() else "?" for one in said[:_LONGEST_DIAGNOSTIC]) or "no reason given"
    except EdhocError:
        return None
    return f"EDHOC error {code}" if code else None
