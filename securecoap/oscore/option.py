"""The value of the OSCORE option: flag bits, Partial IV, kid context, kid (RFC 8613 section 6.1).

Only bytes and values: this module knows no context, no key and no message. What cannot be decoded raises one error,
`OptionError` with number 9, which a server answers with 4.02 (section 8.2, step 2).
"""

from __future__ import annotations

from typing import NamedTuple

from securecoap.errors import OptionError
from securecoap.wire import numbers

__all__ = [
    "MAXIMUM_SEQUENCE_NUMBER",
    "OscoreOption",
    "decode_option",
    "encode_option",
    "encode_partial_iv",
    "only_value",
    "parse_option",
]

MAXIMUM_SEQUENCE_NUMBER = 2**40 - 1
"""The last Sender Sequence Number that a Partial IV can carry (section 7.2.1)."""

_KID = 0x08
_KID_CONTEXT = 0x10
# Bit 0x20 is Group OSCORE's (not implemented); 0x40 is unassigned; 0x80 announces a second flag byte.
_RESERVED = 0xE0
_UNDECODABLE = b"\xff"


class OscoreOption(NamedTuple):
    """What an OSCORE option says; ``None`` is absent, empty bytes are present without content.

    Attributes:
        partial_iv: 1 to 5 bytes, as received (never normalised: they are authenticated data).
        kid: the sender's identifier.
        kid_context: the ID Context that the sender used, or, in Appendix B.2, what stands for it.
    """

    partial_iv: bytes | None = None
    kid: bytes | None = None
    kid_context: bytes | None = None


def encode_partial_iv(sequence_number: int) -> bytes:
    """A Sender Sequence Number without leading zeros; 0 is one zero byte (section 5).

    Raises:
        ValueError: it is negative or above 2^40 - 1.
    """
    if not 0 <= sequence_number <= MAXIMUM_SEQUENCE_NUMBER:
        raise ValueError("a Sender Sequence Number is in 0 to 2^40 - 1 (RFC 8613 section 7.2.1)")
    return sequence_number.to_bytes((sequence_number.bit_length() + 7) >> 3 or 1, "big")


def encode_option(partial_iv: bytes | None = None, kid: bytes | None = None, kid_context: bytes | None = None) -> bytes:
    """The shortest value; nothing at all when every flag is zero.

    Raises:
        ValueError: the Partial IV is not 1 to 5 bytes, or the whole does not fit an option (255 bytes).
    """
    flags = 0
    value = b""
    if partial_iv is not None:
        flags = len(partial_iv)
        if not 1 <= flags <= 5:
            raise ValueError("a Partial IV has 1 to 5 bytes (RFC 8613 section 6.1)")
        value = partial_iv
    if kid_context is not None:
        if len(kid_context) > 255:
            raise ValueError("a kid context has at most 255 bytes (RFC 8613 section 6.1)")
        flags |= _KID_CONTEXT
        value += bytes((len(kid_context),)) + kid_context
    if kid is not None:
        flags |= _KID
        value += kid
    if not flags:
        return b""
    if len(value) > 254:
        raise ValueError("kid and kid context do not fit an OSCORE option of 255 bytes (RFC 8613 section 2)")
    return bytes((flags,)) + value


def only_value(pairs: tuple[tuple[int, bytes], ...]) -> bytes:
    """The value of the OSCORE option; one that does not decode if it is there twice, which section 2 forbids."""
    values = [value for number, value in pairs if number == numbers.OSCORE]
    return values[0] if len(values) == 1 else _UNDECODABLE


def decode_option(value: bytes) -> OscoreOption:
    """What a peer sent, with names; see `parse_option`.

    Raises:
        OptionError: as `parse_option`.
    """
    return OscoreOption(*parse_option(value))


def parse_option(value: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
    """What a peer sent: Partial IV, kid and kid context. Runs for each message.

    A single zero byte is read as the empty value: section 2 wants it sent as empty, and deployed senders do not.

    Raises:
        OptionError: reserved flag bits, reserved lengths 6 and 7, a field that runs past the end, bytes of no field.
    """
    if not value:
        return _NOTHING
    flags = value[0]
    end = flags - 7
    if 1 < end < 7 and end <= len(value):  # nearly every request: Partial IV (its length and 8 are the flags) and kid
        return value[1:end], value[end:], None
    length = flags & 0x07
    if flags & _RESERVED:
        raise OptionError("reserved OSCORE flag bits are set", numbers.OSCORE)
    if length > 5:
        raise OptionError("reserved length of the Partial IV", numbers.OSCORE)
    end = len(value)
    position = 1 + length
    if position > end:
        raise OptionError("Partial IV runs past the end of the OSCORE option", numbers.OSCORE)
    kid_context = None
    partial_iv = value[1:position] if length else None
    if flags & _KID_CONTEXT:
        if position == end:
            raise OptionError("length of the kid context is missing", numbers.OSCORE)
        following = position + 1 + value[position]
        if following > end:
            raise OptionError("kid context runs past the end of the OSCORE option", numbers.OSCORE)
        kid_context = value[position + 1 : following]
        position = following
    if flags & _KID:
        return partial_iv, value[position:], kid_context
    if position != end:
        raise OptionError("bytes after the last field of the OSCORE option", numbers.OSCORE)
    return partial_iv, None, kid_context


_NOTHING = (None, None, None)
