"""Hello extensions (RFC 5246 section 7.4.1.4): the block of them, and a table of those that are understood.

An extension that is to be added (server_name, connection_id, certificate types, groups, tickets ...) is one more number
and one more row in ``OFFERABLE``. Must not know which side or state it is in.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.reader import Reader, vector

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OFFERABLE", "RENEGOTIATION_SCSV", "Extension", "check_content", "encode_extensions", "read_extensions"]

RENEGOTIATION_SCSV: Final = 0x00FF
"""TLS_EMPTY_RENEGOTIATION_INFO_SCSV: a suite number that stands for an empty extension (RFC 5746 section 3.3)."""
_EMPTY_RENEGOTIATION_INFO: Final = b"\x00"


class Extension(IntEnum):
    """Numbers of the extensions that are understood."""

    EXTENDED_MASTER_SECRET = 23
    CONNECTION_ID = 54
    RENEGOTIATION_INFO = 0xFF01


# What each one contains in a full first handshake, and the alert for anything else.
_CONTENT: Final[Mapping[int, tuple[bytes, Alert]]] = {
    Extension.EXTENDED_MASTER_SECRET: (b"", Alert.DECODE_ERROR),
    # Anything but an empty renegotiated_connection in a first handshake is an attack (RFC 5746 section 3.4 and 3.6).
    Extension.RENEGOTIATION_INFO: (_EMPTY_RENEGOTIATION_INFO, Alert.HANDSHAKE_FAILURE),
}

OFFERABLE: Final[Mapping[int, bytes]] = {number: content for number, (content, _) in _CONTENT.items()}
"""The content with which each extension goes out."""


def read_extensions(reader: Reader) -> dict[int, bytes]:
    """Read the extension block that ends a hello; no block at all is no extension (RFC 5246 section 7.4.1.2).

    Raises:
        HandshakeFault: lengths that do not fit, or one extension twice.
    """
    found: dict[int, bytes] = {}
    if reader.at_end():
        return found
    block = Reader(reader.vector(2))
    reader.finish()
    while not block.at_end():
        number = block.integer(2)
        content = block.vector(2)
        if number in found:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "an extension is there twice")
        found[number] = content
    return found


def check_content(extensions: Mapping[int, bytes]) -> None:
    """Raise ``HandshakeFault`` where an extension that is understood has a content that it must not have."""
    for number, content in extensions.items():
        rule = _CONTENT.get(number)
        if rule is not None and rule[0] != content:
            raise HandshakeFault(rule[1], "an extension has an impossible content")


def encode_extensions(extensions: Mapping[int, bytes]) -> bytes:
    """Return the block, or nothing where there are no extensions."""
    if not extensions:
        return b""
    return vector(b"".join(number.to_bytes(2, "big") + vector(content, 2) for number, content in extensions.items()), 2)
