"""Codes: the second byte of every message (RFC 7252 sections 3 and 12.1, RFC 7959, 8132, 8323, 8516, 8768).

A code is ``class * 32 + detail``, written ``c.dd``. Unknown codes are legal on the wire, so a code in a message is an
``int`` that may or may not be a member of :class:`Code`; what runs per message compares plain integers. This module
knows nothing about messages, options or what a layer does with a code.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

__all__ = [
    "BODILESS_METHODS",
    "CODES",
    "DEFAULT_RESPONSE_CODES",
    "IDEMPOTENT_METHODS",
    "SAFE_METHODS",
    "Code",
    "code_text",
    "dotted",
    "parse_code",
]


class Code(IntEnum):
    """Every registered code; a member is an ``int``, its ``str()`` is for a person: ``2.05 Content``."""

    EMPTY = 0x00

    GET = 0x01
    POST = 0x02
    PUT = 0x03
    DELETE = 0x04
    FETCH = 0x05
    PATCH = 0x06
    IPATCH = 0x07

    CREATED = 0x41
    DELETED = 0x42
    VALID = 0x43
    CHANGED = 0x44
    CONTENT = 0x45
    CONTINUE = 0x5F

    BAD_REQUEST = 0x80
    UNAUTHORIZED = 0x81
    BAD_OPTION = 0x82
    FORBIDDEN = 0x83
    NOT_FOUND = 0x84
    METHOD_NOT_ALLOWED = 0x85
    NOT_ACCEPTABLE = 0x86
    REQUEST_ENTITY_INCOMPLETE = 0x88
    CONFLICT = 0x89
    PRECONDITION_FAILED = 0x8C
    REQUEST_ENTITY_TOO_LARGE = 0x8D
    UNSUPPORTED_CONTENT_FORMAT = 0x8F
    UNPROCESSABLE_ENTITY = 0x96
    TOO_MANY_REQUESTS = 0x9D

    INTERNAL_SERVER_ERROR = 0xA0
    NOT_IMPLEMENTED = 0xA1
    BAD_GATEWAY = 0xA2
    SERVICE_UNAVAILABLE = 0xA3
    GATEWAY_TIMEOUT = 0xA4
    PROXYING_NOT_SUPPORTED = 0xA5
    HOP_LIMIT_REACHED = 0xA8

    CSM = 0xE1
    PING = 0xE2
    PONG = 0xE3
    RELEASE = 0xE4
    ABORT = 0xE5

    @property
    def class_(self) -> int:
        """The ``c`` of ``c.dd``: 0 request, 2 success, 4 client error, 5 server error, 7 signalling."""
        return int(self) >> 5

    @property
    def detail(self) -> int:
        """The ``dd`` of ``c.dd``: 0 to 31."""
        return int(self) & 0x1F

    @property
    def dotted(self) -> str:
        """``"2.05"``."""
        return dotted(self)

    @property
    def phrase(self) -> str:
        """The registered name: ``"Content"``, ``"GET"``, ``"iPATCH"``."""
        return _PHRASES[self]

    @property
    def is_request(self) -> bool:
        """Whether it is a method (0.01 to 0.31)."""
        return 0x01 <= int(self) <= 0x1F

    @property
    def is_response(self) -> bool:
        """Whether it is a response code (2.00 to 5.31)."""
        return 0x40 <= int(self) <= 0xBF

    @property
    def is_signalling(self) -> bool:
        """Whether it belongs to a reliable transport only (7.xx, RFC 8323 section 5)."""
        return int(self) >= 0xE0

    @property
    def is_successful(self) -> bool:
        """Whether it is a response of class 2."""
        return 0x40 <= int(self) <= 0x5F

    def __str__(self) -> str:
        return f"{self.dotted} {self.phrase}"

    def __format__(self, spec: str) -> str:
        return int.__format__(self, spec) if spec else str(self)


_SPECIAL_PHRASES: Final = {
    Code.IPATCH: "iPATCH",
    Code.CSM: "CSM",
    Code.UNSUPPORTED_CONTENT_FORMAT: "Unsupported Content-Format",
}


def _phrase(code: Code) -> str:
    if code in _SPECIAL_PHRASES:
        return _SPECIAL_PHRASES[code]
    return code.name if code.is_request else code.name.replace("_", " ").title()


_PHRASES: Final[dict[int, str]] = {code: _phrase(code) for code in Code}

CODES: Final[tuple[int, ...]] = tuple(Code(value) if value in _PHRASES else value for value in range(256))
"""Indexed by the byte on the wire: the :class:`Code`, or the plain ``int`` if nothing is registered there."""

SAFE_METHODS: Final[frozenset[int]] = frozenset({Code.GET, Code.FETCH})
"""Methods that change nothing (RFC 7252 section 5.1, RFC 8132 section 2)."""

IDEMPOTENT_METHODS: Final[frozenset[int]] = frozenset({Code.GET, Code.PUT, Code.DELETE, Code.FETCH, Code.IPATCH})
"""Methods that may be carried out more than once with the effect of once."""

_BY_NAME: Final[dict[str, int]] = {
    **{phrase.lower(): code for code, phrase in _PHRASES.items()},
    **{code.name.lower(): code for code in Code},
}
_DOTTED: Final = re.compile(r"([0-7])\.([0-9]{2})")


def dotted(code: int) -> str:
    """``"2.05"`` for a code byte, registered or not.

    Raises:
        ValueError: ``code`` is not within 0 to 255.
    """
    if not 0 <= code <= 0xFF:
        raise ValueError(f"a code is one byte, not {int(code)}")
    return f"{code >> 5}.{code & 0x1F:02d}"


def code_text(code: int) -> str:
    """A code for a person: ``"2.05 Content"``, or ``"3.07"`` where nothing is registered.

    Raises:
        ValueError: ``code`` is not within 0 to 255.
    """
    phrase = _PHRASES.get(code)
    return f"{dotted(code)} {phrase}" if phrase is not None else dotted(code)


def parse_code(text: str) -> int:
    """The code for ``"2.05"``, ``"GET"``, ``"Not Found"`` or ``"NOT_FOUND"``; names in any case.

    Returns:
        The :class:`Code`, or a plain ``int`` for a dotted code that is not registered.

    Raises:
        ValueError: neither a code ``c.dd`` nor a registered name.
    """
    text = text.strip()
    if match := _DOTTED.fullmatch(text):
        detail = int(match[2])
        if detail <= 0x1F:
            return CODES[int(match[1]) << 5 | detail]
    elif (code := _BY_NAME.get(text.lower())) is not None:
        return CODES[code]
    raise ValueError(f"not a CoAP code: {text!r}")


BODILESS_METHODS: Final = frozenset({Code.GET, Code.DELETE})
"""Methods whose requests have no payload: it is not sent, and ignored on receipt (RFC 7252 section 5.5, 5.8)."""

DEFAULT_RESPONSE_CODES: Final[dict[int, Code]] = {
    Code.GET: Code.CONTENT,
    Code.POST: Code.CHANGED,
    Code.PUT: Code.CHANGED,
    Code.DELETE: Code.DELETED,
    Code.FETCH: Code.CONTENT,
    Code.PATCH: Code.CHANGED,
    Code.IPATCH: Code.CHANGED,
}
"""The code of a response that names none, by the method of its request."""
