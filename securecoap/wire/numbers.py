"""Option numbers and what the registry says of each (RFC 7252 sections 5.4, 5.10 and 12.2, and the RFCs named below).

Numbers are plain module-level integers, because they are compared for every message. The flags of an option are bits of
its number (section 5.4.6) and hold for unregistered ones too. This module knows no message and decides nothing: what
becomes of an option that breaks its definition is the business of ``wire.options``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from securecoap.wire.codes import Code

__all__ = [
    "ACCEPT",
    "BLOCK1",
    "BLOCK2",
    "CONTENT_FORMAT",
    "ECHO",
    "EDHOC",
    "ETAG",
    "EXPERIMENTAL",
    "HOP_LIMIT",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "LOCATION_PATH",
    "LOCATION_QUERY",
    "MAXIMUM_NUMBER",
    "MAX_AGE",
    "NO_RESPONSE",
    "OBSERVE",
    "OPTIONS",
    "OSCORE",
    "PROVISIONAL_OPTIONS",
    "PROXY_SCHEME",
    "PROXY_URI",
    "Q_BLOCK1",
    "Q_BLOCK2",
    "REQUEST_TAG",
    "RESERVED_LOCATION",
    "SIGNALLING_OPTIONS",
    "SIZE1",
    "SIZE2",
    "URI_HOST",
    "URI_PATH",
    "URI_PATH_ABBREV",
    "URI_PORT",
    "URI_QUERY",
    "OptionDefinition",
    "OptionFormat",
    "OscoreClass",
    "is_critical",
    "is_no_cache_key",
    "is_unsafe",
    "option_name",
]

IF_MATCH: Final = 1
URI_HOST: Final = 3
ETAG: Final = 4
IF_NONE_MATCH: Final = 5
OBSERVE: Final = 6
URI_PORT: Final = 7
LOCATION_PATH: Final = 8
OSCORE: Final = 9
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
URI_PATH_ABBREV: Final = 13
MAX_AGE: Final = 14
URI_QUERY: Final = 15
HOP_LIMIT: Final = 16
ACCEPT: Final = 17
Q_BLOCK1: Final = 19
LOCATION_QUERY: Final = 20
EDHOC: Final = 21
BLOCK2: Final = 23
BLOCK1: Final = 27
SIZE2: Final = 28
Q_BLOCK2: Final = 31
PROXY_URI: Final = 35
PROXY_SCHEME: Final = 39
SIZE1: Final = 60
ECHO: Final = 252
NO_RESPONSE: Final = 258
REQUEST_TAG: Final = 292

MAXIMUM_NUMBER: Final = 65535
"""Option numbers are 16 bits (RFC 7252 section 12.2)."""

RESERVED_LOCATION: Final[frozenset[int]] = frozenset({128, 132, 136, 140})
"""Future ``Location-*`` options: not understood beside Location-Path or -Query, they are an error (section 5.10.7)."""

EXPERIMENTAL: Final = range(65000, 65536)
"""Numbers for experiments, not for operation (RFC 7252 section 12.2)."""

OptionFormat: TypeAlias = Literal["empty", "opaque", "uint", "string"]
OscoreClass: TypeAlias = Literal["E", "U", "E+U"]


@dataclass(frozen=True, slots=True)
class OptionDefinition:
    """One entry of the registry.

    Attributes:
        number: option number.
        name: registered name.
        format: of the value (RFC 7252 section 3.2).
        minimum: shortest value, in bytes.
        maximum: longest value, in bytes.
        repeatable: whether it may occur more than once in a request (or in any message, but see below).
        in_request: whether it means something in a request.
        in_response: whether it means something in a response.
        oscore_class: inside the protection, outside, or both kinds (RFC 8613 section 4.1).
        reference: the RFC that defines it.
        default: the value that its absence means, if it is a number.
        single_in_response: repeatable in requests only (ETag, RFC 7252 section 5.10.6; Q-Block2, RFC 9177 section 4.1).
        value_ignored: a value of the wrong length is no fault (EDHOC, RFC 9668 section 3.1).
    """

    number: int
    name: str
    format: OptionFormat
    minimum: int
    maximum: int
    repeatable: bool
    in_request: bool
    in_response: bool
    oscore_class: OscoreClass
    reference: str
    default: int | None = None
    single_in_response: bool = False
    value_ignored: bool = False

    @property
    def critical(self) -> bool:
        """Whether a receiver that does not know it has to refuse the message."""
        return is_critical(self.number)

    @property
    def unsafe(self) -> bool:
        """Whether a proxy that does not know it has to refuse the message."""
        return is_unsafe(self.number)

    @property
    def no_cache_key(self) -> bool:
        """Whether a cache leaves it out of the key."""
        return is_no_cache_key(self.number)


def is_critical(number: int) -> bool:
    """Whether a receiver that does not know this option has to refuse the message (RFC 7252 section 5.4.1)."""
    return number & 1 == 1


def is_unsafe(number: int) -> bool:
    """Whether a proxy that does not know this option must not forward it (RFC 7252 section 5.4.2)."""
    return number & 2 == 2


def is_no_cache_key(number: int) -> bool:
    """Whether a safe-to-forward option stays out of the cache key (RFC 7252 section 5.4.6); never for an unsafe one."""
    return number & 0x1E == 0x1C


_YES: Final = True
_NO: Final = False

OPTIONS: Final[dict[int, OptionDefinition]] = {
    definition.number: definition
    for definition in (
        # number, name, format, bytes, repeatable, in request, in response, class, reference
        OptionDefinition(IF_MATCH, "If-Match", "opaque", 0, 8, _YES, _YES, _NO, "E", "RFC 7252"),
        OptionDefinition(URI_HOST, "Uri-Host", "string", 1, 255, _NO, _YES, _NO, "U", "RFC 7252"),
        OptionDefinition(ETAG, "ETag", "opaque", 1, 8, _YES, _YES, _YES, "E", "RFC 7252", single_in_response=True),
        OptionDefinition(IF_NONE_MATCH, "If-None-Match", "empty", 0, 0, _NO, _YES, _NO, "E", "RFC 7252"),
        OptionDefinition(OBSERVE, "Observe", "uint", 0, 3, _NO, _YES, _YES, "E+U", "RFC 7641"),
        OptionDefinition(URI_PORT, "Uri-Port", "uint", 0, 2, _NO, _YES, _NO, "U", "RFC 7252"),
        OptionDefinition(LOCATION_PATH, "Location-Path", "string", 0, 255, _YES, _NO, _YES, "E", "RFC 7252"),
        OptionDefinition(OSCORE, "OSCORE", "opaque", 0, 255, _NO, _YES, _YES, "U", "RFC 8613"),
        OptionDefinition(URI_PATH, "Uri-Path", "string", 0, 255, _YES, _YES, _NO, "E", "RFC 7252"),
        OptionDefinition(CONTENT_FORMAT, "Content-Format", "uint", 0, 2, _NO, _YES, _YES, "E", "RFC 7252"),
        OptionDefinition(MAX_AGE, "Max-Age", "uint", 0, 4, _NO, _NO, _YES, "E+U", "RFC 7252", default=60),
        OptionDefinition(URI_QUERY, "Uri-Query", "string", 0, 255, _YES, _YES, _NO, "E", "RFC 7252"),
        OptionDefinition(HOP_LIMIT, "Hop-Limit", "uint", 1, 1, _NO, _YES, _NO, "U", "RFC 8768", default=16),
        OptionDefinition(ACCEPT, "Accept", "uint", 0, 2, _NO, _YES, _NO, "E", "RFC 7252"),
        OptionDefinition(Q_BLOCK1, "Q-Block1", "uint", 0, 3, _NO, _YES, _YES, "E+U", "RFC 9177"),
        OptionDefinition(LOCATION_QUERY, "Location-Query", "string", 0, 255, _YES, _NO, _YES, "E", "RFC 7252"),
        OptionDefinition(EDHOC, "EDHOC", "empty", 0, 0, _NO, _YES, _NO, "U", "RFC 9668", value_ignored=True),
        OptionDefinition(BLOCK2, "Block2", "uint", 0, 3, _NO, _YES, _YES, "E+U", "RFC 7959, RFC 8323"),
        OptionDefinition(BLOCK1, "Block1", "uint", 0, 3, _NO, _YES, _YES, "E+U", "RFC 7959, RFC 8323"),
        OptionDefinition(SIZE2, "Size2", "uint", 0, 4, _NO, _YES, _YES, "E+U", "RFC 7959"),
        OptionDefinition(
            Q_BLOCK2, "Q-Block2", "uint", 0, 3, _YES, _YES, _YES, "E+U", "RFC 9177", single_in_response=True
        ),
        OptionDefinition(PROXY_URI, "Proxy-Uri", "string", 1, 1034, _NO, _YES, _NO, "U", "RFC 7252"),
        OptionDefinition(PROXY_SCHEME, "Proxy-Scheme", "string", 1, 255, _NO, _YES, _NO, "U", "RFC 7252"),
        OptionDefinition(SIZE1, "Size1", "uint", 0, 4, _NO, _YES, _YES, "E+U", "RFC 7252, RFC 7959"),
        OptionDefinition(ECHO, "Echo", "opaque", 1, 40, _NO, _YES, _YES, "E+U", "RFC 9175"),
        OptionDefinition(NO_RESPONSE, "No-Response", "uint", 0, 1, _NO, _YES, _NO, "E+U", "RFC 7967", default=0),
        OptionDefinition(REQUEST_TAG, "Request-Tag", "opaque", 0, 8, _YES, _YES, _NO, "E+U", "RFC 9175"),
    )
}
"""Options that RFCs define, by number. One that is not here is unknown, and its number alone says what follows."""

PROVISIONAL_OPTIONS: Final[dict[int, OptionDefinition]] = {
    URI_PATH_ABBREV: OptionDefinition(
        URI_PATH_ABBREV, "Uri-Path-Abbrev", "uint", 0, 4, _NO, _YES, _NO, "E", "draft-ietf-core-uri-path-abbrev"
    ),
}
"""Options of drafts: named for a person, never treated as known, because a critical one would then pass unprocessed."""

SIGNALLING_OPTIONS: Final[dict[tuple[int, int], OptionDefinition]] = {
    (code, definition.number): definition
    for codes, definition in (
        ((Code.CSM,), OptionDefinition(2, "Max-Message-Size", "uint", 0, 4, _NO, _YES, _NO, "U", "RFC 8323", 1152)),
        ((Code.CSM,), OptionDefinition(4, "Block-Wise-Transfer", "empty", 0, 0, _NO, _YES, _NO, "U", "RFC 8323")),
        ((Code.CSM,), OptionDefinition(6, "Extended-Token-Length", "uint", 0, 3, _NO, _YES, _NO, "U", "RFC 8974", 8)),
        ((Code.PING, Code.PONG), OptionDefinition(2, "Custody", "empty", 0, 0, _NO, _YES, _NO, "U", "RFC 8323")),
        (
            (Code.RELEASE,),
            OptionDefinition(2, "Alternative-Address", "string", 1, 255, _YES, _YES, _NO, "U", "RFC 8323"),
        ),
        ((Code.RELEASE,), OptionDefinition(4, "Hold-Off", "uint", 0, 3, _NO, _YES, _NO, "U", "RFC 8323")),
        ((Code.ABORT,), OptionDefinition(2, "Bad-CSM-Option", "uint", 0, 2, _NO, _YES, _NO, "U", "RFC 8323")),
    )
    for code in codes
}
"""Options of signalling messages: each code has numbers of its own (RFC 8323 section 5.2). Key: (code, number)."""


def option_name(number: int) -> str:
    """The registered name, or ``"option 65001"``."""
    definition = OPTIONS.get(number) or PROVISIONAL_OPTIONS.get(number)
    return definition.name if definition is not None else f"option {number}"
