"""Hello extensions (RFC 5246 section 7.4.1.4): the block of them, and the content of each that is understood.

Each has a parser that gives a value or raises ``HandshakeFault``, and an encoder. Must not know which side or state it
is in.
"""

from __future__ import annotations

from ipaddress import ip_address
from struct import Struct
from typing import TYPE_CHECKING, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.reader import Reader, vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "OFFERABLE",
    "POINT_FORMATS",
    "RENEGOTIATION_SCSV",
    "Extension",
    "check_content",
    "encode_extensions",
    "encode_numbers",
    "encode_server_name",
    "parse_bytes",
    "parse_numbers",
    "parse_server_name",
    "read_extensions",
]

RENEGOTIATION_SCSV: Final = 0x00FF
"""TLS_EMPTY_RENEGOTIATION_INFO_SCSV: a suite number that stands for an empty extension (RFC 5746 section 3.3)."""
POINT_FORMATS: Final = b"\x01\x00"
"""Uncompressed points and no others (RFC 8422 section 5.1.2)."""
_EMPTY_RENEGOTIATION_INFO: Final = b"\x00"
_header: Final = Struct("!HH")  # number and length
_EXTENSION_HEADER: Final = _header.size
_pack_header: Final = _header.pack
_unpack_header: Final = _header.unpack_from
_HOST_NAME: Final = 0
_LONGEST_HOST_NAME: Final = 253


class Extension:
    """Numbers of the extensions that are understood; no enum, whose members cost a call each in Python 3.11."""

    SERVER_NAME: Final = 0
    SUPPORTED_GROUPS: Final = 10
    EC_POINT_FORMATS: Final = 11
    SIGNATURE_ALGORITHMS: Final = 13
    CLIENT_CERTIFICATE_TYPE: Final = 19
    SERVER_CERTIFICATE_TYPE: Final = 20
    EXTENDED_MASTER_SECRET: Final = 23
    SESSION_TICKET: Final = 35
    CONNECTION_ID: Final = 54
    RENEGOTIATION_INFO: Final = 0xFF01


# What each one contains in a full first handshake, and the alert for anything else.
_CONTENT: Final[Mapping[int, tuple[bytes, Alert]]] = {
    Extension.EXTENDED_MASTER_SECRET: (b"", Alert.DECODE_ERROR),
    # Anything but an empty renegotiated_connection in a first handshake is an attack (RFC 5746 section 3.4 and 3.6).
    Extension.RENEGOTIATION_INFO: (_EMPTY_RENEGOTIATION_INFO, Alert.HANDSHAKE_FAILURE),
}

OFFERABLE: Final[Mapping[int, bytes]] = {number: content for number, (content, _) in _CONTENT.items()}
"""The content with which each extension that never varies goes out."""


def read_extensions(body: bytes, position: int) -> dict[int, bytes]:
    """Read the extension block that ends a hello; no block at all is no extension (RFC 5246 section 7.4.1.2).

    Args:
        body: of the hello.
        position: where in it the block begins.

    Raises:
        HandshakeFault: lengths that do not fit, or one extension twice.
    """
    found: dict[int, bytes] = {}
    end = len(body)
    if position == end:
        return found
    position += 2
    if position > end or end - position != (body[position - 2] << 8) | body[position - 1]:
        raise HandshakeFault(Alert.DECODE_ERROR, "a hello is not as long as its extensions")
    while end - position >= _EXTENSION_HEADER:
        number, length = _unpack_header(body, position)
        start = position + _EXTENSION_HEADER
        position = start + length
        if number in found:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "an extension is there twice")
        found[number] = body[start:position]
    if position != end:
        raise HandshakeFault(Alert.DECODE_ERROR, "a message ends inside a field")
    return found


def check_content(extensions: Mapping[int, bytes]) -> None:
    """Raise ``HandshakeFault`` where an extension that never varies has a content that it must not have."""
    for number, (expected, alert) in _CONTENT.items():
        content = extensions.get(number)
        if content is not None and content != expected:
            raise HandshakeFault(alert, "an extension has an impossible content")


def encode_extensions(extensions: Mapping[int, bytes]) -> bytes:
    """Return the block, or nothing where there are no extensions."""
    if not extensions:
        return b""
    block = b""
    for number, content in extensions.items():
        block += _pack_header(number, len(content)) + content
    return len(block).to_bytes(2, "big") + block


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """Return a list of 16-bit numbers behind its length: supported_groups, signature_algorithms."""
    return vector(b"".join(number.to_bytes(2, "big") for number in numbers), 2)


def parse_numbers(content: bytes) -> tuple[int, ...]:
    """Read a list of 16-bit numbers that is not empty (RFC 8422 section 5.1.1, RFC 5246 section 7.4.1.4.1)."""
    reader = Reader(content)
    numbers = reader.vector(2, 2)
    reader.finish()
    if len(numbers) % 2:
        raise HandshakeFault(Alert.DECODE_ERROR, "a list of numbers ends inside one")
    return tuple((numbers[i] << 8) | numbers[i + 1] for i in range(0, len(numbers), 2))


def parse_bytes(content: bytes) -> bytes:
    """Read a list of 8-bit numbers that is not empty: ec_point_formats, certificate types (RFC 7250 section 3)."""
    reader = Reader(content)
    numbers = reader.vector(1, 1)
    reader.finish()
    return numbers


def encode_server_name(host: str) -> bytes | None:
    """Return the content of server_name (RFC 6066 section 3); ``None`` for an address, which must not be in it.

    Args:
        host: a name in ASCII, or an address literal with or without brackets and zone.
    """
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    else:
        return None
    name = host.rstrip(".")
    if not name or len(name) > _LONGEST_HOST_NAME or not name.isascii():
        return None
    return vector(bytes((_HOST_NAME,)) + vector(name.encode("ascii"), 2), 2)


def parse_server_name(content: bytes) -> str | None:
    """Return the host name, in lower case, that a client asks for; ``None`` if the list has none."""
    reader = Reader(content)
    names = Reader(reader.vector(2, 1))
    reader.finish()
    host: str | None = None
    while not names.at_end():
        kind = names.integer(1)
        name = names.vector(2, 1)
        if kind != _HOST_NAME:
            continue
        if host is not None:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "there are two host names")
        if len(name) > _LONGEST_HOST_NAME or not name.isascii():
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a server name is no host name")
        host = name.decode("ascii").lower()
    return host
