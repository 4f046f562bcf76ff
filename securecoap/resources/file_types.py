"""Which content format a file has, by the end of its name.

The ends are those of the registrations of the media types; the numbers are IANA's (RFC 7252 section 12.3). Nothing is
looked into, and the tables of the machine are not asked: a file has the same format wherever it is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire.content_formats import CBOR, JSON, LINK_FORMAT, OCTET_STREAM, TEXT, content_format_number

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FILE_TYPES", "FileTypes"]

FILE_TYPES: Final[dict[str, int]] = {
    "txt": TEXT,
    "log": TEXT,
    "wlnk": LINK_FORMAT,
    "xml": 41,
    "bin": OCTET_STREAM,
    "exi": 47,
    "json": JSON,
    "cbor": CBOR,
    "senml": 110,
    "sensml": 111,
    "senmlc": 112,
    "sensmlc": 113,
    "senmle": 114,
    "sensmle": 115,
    "senmlx": 310,
    "sensmlx": 311,
    "gif": 21,
    "jpg": 22,
    "jpeg": 22,
    "png": 23,
    "css": 20000,
    "js": 10002,
    "svg": 30000,
    "cer": 287,
    "p8": 284,
    "p10": 286,
}
"""Content formats by the end of a name, in lower case, without its dot. All others are ``application/octet-stream``."""


class FileTypes:
    """The table, with what somebody adds to it.

    Args:
        more: content formats, by number or name, by the end of a name (``"senml"`` or ``".senml"``).

    Raises:
        ValueError, TypeError: a content format that there is not.
    """

    def __init__(self, more: Mapping[str, int | str] | None = None) -> None:
        added = {end.lower().lstrip("."): content_format_number(one) for end, one in (more or {}).items()}
        self._formats = {**FILE_TYPES, **added}

    def of(self, name: str) -> int:
        """The content format of a file."""
        _, dot, end = name.rpartition(".")
        return self._formats.get(end.lower(), OCTET_STREAM) if dot else OCTET_STREAM
