"""Content formats: numbers for media types with a coding (RFC 7252 sections 5.10.3 and 12.3, RFC 9876).

The Content-Format and Accept options carry the number; people write the name. This module knows neither options nor how
a format is encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

__all__ = [
    "ALIASES",
    "CBOR",
    "CID_EDHOC_CBOR_SEQ",
    "CONTENT_FORMATS",
    "EDHOC_CBOR_SEQ",
    "JSON",
    "LINK_FORMAT",
    "MAXIMUM_CONTENT_FORMAT",
    "OCTET_STREAM",
    "PROBLEM_DETAILS",
    "RANGES",
    "TEXT",
    "ContentFormat",
    "ContentFormatRange",
    "Structure",
    "content_format_number",
    "content_format_text",
    "parse_content_format",
    "registration_range",
    "structure",
]

TEXT: Final = 0
LINK_FORMAT: Final = 40
OCTET_STREAM: Final = 42
JSON: Final = 50
CBOR: Final = 60
EDHOC_CBOR_SEQ: Final = 64
CID_EDHOC_CBOR_SEQ: Final = 65
PROBLEM_DETAILS: Final = 257

MAXIMUM_CONTENT_FORMAT: Final = 65535
"""A content format is two bytes (RFC 7252 section 12.3)."""

Structure: TypeAlias = Literal["text", "json", "cbor", "cbor-seq", "link-format", "xml", "opaque"]


@dataclass(frozen=True, slots=True)
class ContentFormat:
    """One entry of the registry.

    Attributes:
        number: what the options carry.
        media_type: with its parameters, as registered.
        coding: the content coding, ``None`` for identity.
        reference: where it is defined.
    """

    number: int
    media_type: str
    coding: str | None
    reference: str

    def __str__(self) -> str:
        return self.media_type if self.coding is None else f"{self.media_type} ({self.coding})"


@dataclass(frozen=True, slots=True)
class ContentFormatRange:
    """Numbers ``first`` to ``last`` and the policy by which they are registered."""

    first: int
    last: int
    policy: str


CONTENT_FORMATS: Final[dict[int, ContentFormat]] = {
    number: ContentFormat(number, media_type, coding[0] if coding else None, reference)
    for number, media_type, reference, *coding in (
        (0, "text/plain;charset=utf-8", "RFC2046,RFC3676,RFC5147"),
        (16, 'application/cose; cose-type="cose-encrypt0"', "RFC9052"),
        (17, 'application/cose; cose-type="cose-mac0"', "RFC9052"),
        (18, 'application/cose; cose-type="cose-sign1"', "RFC9052"),
        (19, "application/ace+cbor", "RFC9200"),
        (21, "image/gif", "W3C"),
        (22, "image/jpeg", "ISO/IEC 10918-5"),
        (23, "image/png", "RFC2083"),
        (40, "application/link-format", "RFC6690"),
        (41, "application/xml", "RFC3023"),
        (42, "application/octet-stream", "RFC2045,RFC2046"),
        (47, "application/exi", "W3C EXI"),
        (50, "application/json", "RFC8259"),
        (51, "application/json-patch+json", "RFC6902"),
        (52, "application/merge-patch+json", "RFC7396"),
        (60, "application/cbor", "RFC8949"),
        (61, "application/cwt", "RFC8392"),
        (62, "application/multipart-core", "RFC8710"),
        (63, "application/cbor-seq", "RFC8742"),
        (64, "application/edhoc+cbor-seq", "RFC9528"),
        (65, "application/cid-edhoc+cbor-seq", "RFC9528"),
        (96, 'application/cose; cose-type="cose-encrypt"', "RFC9052"),
        (97, 'application/cose; cose-type="cose-mac"', "RFC9052"),
        (98, 'application/cose; cose-type="cose-sign"', "RFC9052"),
        (101, "application/cose-key", "RFC9052"),
        (102, "application/cose-key-set", "RFC9052"),
        (110, "application/senml+json", "RFC8428"),
        (111, "application/sensml+json", "RFC8428"),
        (112, "application/senml+cbor", "RFC8428"),
        (113, "application/sensml+cbor", "RFC8428"),
        (114, "application/senml-exi", "RFC8428"),
        (115, "application/sensml-exi", "RFC8428"),
        (140, "application/yang-data+cbor; id=sid", "RFC9254"),
        (256, "application/coap-group+json", "RFC7390"),
        (257, "application/concise-problem-details+cbor", "RFC9290"),
        (258, "application/swid+cbor", "RFC9393"),
        (259, "application/pkixcmp", "RFC9482"),
        (260, "application/yang-sid+json", "RFC9595"),
        (261, "application/ace-groupcomm+cbor", "RFC9594"),
        (262, "application/ace-trl+cbor", "RFC9770"),
        (263, "application/eat+cwt", "RFC9782"),
        (264, "application/eat+jwt", "RFC9782"),
        (265, "application/eat-bun+cbor", "RFC9782"),
        (266, "application/eat-bun+json", "RFC9782"),
        (267, "application/eat-ucs+cbor", "RFC9782"),
        (268, "application/eat-ucs+json", "RFC9782"),
        (269, "application/coap-eap", "RFC9820"),
        (271, "application/dots+cbor", "RFC9132"),
        (272, "application/missing-blocks+cbor-seq", "RFC9177"),
        (280, "application/pkcs7-mime; smime-type=server-generated-key", "RFC7030,RFC8551,RFC9148"),
        (281, "application/pkcs7-mime; smime-type=certs-only", "RFC8551,RFC9148"),
        (284, "application/pkcs8", "RFC5958,RFC8551,RFC9148"),
        (285, "application/csrattrs", "RFC7030,RFC9148"),
        (286, "application/pkcs10", "RFC5967,RFC8551,RFC9148"),
        (287, "application/pkix-cert", "RFC2585,RFC9148"),
        (290, "application/aif+cbor", "RFC9237"),
        (291, "application/aif+json", "RFC9237"),
        (310, "application/senml+xml", "RFC8428"),
        (311, "application/sensml+xml", "RFC8428"),
        (320, "application/senml-etch+json", "RFC8790"),
        (322, "application/senml-etch+cbor", "RFC8790"),
        (340, "application/yang-data+cbor", "RFC9254"),
        (341, "application/yang-data+cbor; id=name", "RFC9254"),
        (432, "application/td+json", "W3C WoT"),
        (433, "application/tm+json", "W3C WoT"),
        (553, "application/dns-message", "RFC8484"),
        (601, "application/uccs+cbor", "RFC9781"),
        (836, "application/voucher-cose+cbor", "draft-ietf-anima-constrained-voucher (temporary when seen)"),
        (10000, "application/vnd.ocf+cbor", "OCF"),
        (10001, "application/oscore", "RFC8613"),
        (10002, "application/javascript", "RFC4329"),
        (11050, "application/json", "RFC8259", "deflate"),
        (11060, "application/cbor", "RFC8949", "deflate"),
        (11542, "application/vnd.oma.lwm2m+tlv", "OMA LwM2M"),
        (11543, "application/vnd.oma.lwm2m+json", "OMA LwM2M"),
        (11544, "application/vnd.oma.lwm2m+cbor", "OMA LwM2M"),
        (20000, "text/css", "RFC2318"),
        (30000, "image/svg+xml", "W3C"),
    )
}
"""Registered content formats by number."""

RANGES: Final = (
    ContentFormatRange(0, 255, "Expert Review"),
    ContentFormatRange(256, 9999, "IETF Review / IESG Approval"),
    ContentFormatRange(10000, 64997, "First Come First Served / Expert"),
    ContentFormatRange(64998, 64999, "documentation (RFC 9876)"),
    ContentFormatRange(65000, 65535, "experimental"),
)
"""All numbers, each in one range (RFC 7252 section 12.3, RFC 9876)."""


_BLANKS: Final = re.compile(r"[ \t]*([;=()])[ \t]*")


def _canonical(name: str) -> str:
    """A media type for comparison: lower case, no quotes, no blanks around delimiters (RFC 9110 section 8.3.1)."""
    return _BLANKS.sub(r"\1", name.strip().replace('"', "")).lower()


def _subtype_aliases() -> dict[str, int]:
    """``json`` for application/json and so on, wherever the part behind the slash means one format only."""
    found: dict[str, list[int]] = {}
    for entry in CONTENT_FORMATS.values():
        name = entry.media_type
        if entry.coding is None and ";" not in name:
            found.setdefault(name.partition("/")[2].lower(), []).append(entry.number)
    return {name: numbers[0] for name, numbers in found.items() if len(numbers) == 1}


ALIASES: Final[dict[str, int]] = {
    **_subtype_aliases(),
    "text": TEXT,
    "plain": TEXT,
    "text/plain": TEXT,
    "link": LINK_FORMAT,
    "bytes": OCTET_STREAM,
    "binary": OCTET_STREAM,
    "svg": 30000,
    "js": 10002,
    "lwm2m+tlv": 11542,
    "lwm2m+json": 11543,
    "lwm2m+cbor": 11544,
    "problem-details": PROBLEM_DETAILS,
    "cose-encrypt0": 16,
    "cose-mac0": 17,
    "cose-sign1": 18,
    "cose-encrypt": 96,
    "cose-mac": 97,
    "cose-sign": 98,
}
"""Short names for the command line, in lower case."""

_BY_NAME: Final[dict[str, int]] = {**ALIASES, **{_canonical(str(entry)): n for n, entry in CONTENT_FORMATS.items()}}

_STRUCTURES: Final[tuple[tuple[str, Structure], ...]] = (
    ("application/link-format", "link-format"),
    ("application/json", "json"),
    ("application/cbor", "cbor"),
    ("application/xml", "xml"),
    ("application/cose", "cbor"),
    ("application/cose-key", "cbor"),
    ("application/cose-key-set", "cbor"),
    ("application/cwt", "cbor"),
    ("application/multipart-core", "cbor"),
    ("application/javascript", "text"),
)
_SUFFIXES: Final[dict[str, Structure]] = {
    "+json": "json",
    "+cbor": "cbor",
    "+cwt": "cbor",
    "cbor-seq": "cbor-seq",
    "+xml": "xml",
}


def content_format_text(number: int) -> str:
    """The media type for a person: ``"application/json"``; the number itself where nothing is registered."""
    entry = CONTENT_FORMATS.get(number)
    return str(entry) if entry is not None else str(number)


def parse_content_format(text: str) -> int:
    """The number for ``"50"``, ``"application/json"`` or ``"json"``; names in any case.

    A coding stands in parentheses: ``"application/json (deflate)"``. A number need not be registered.

    Raises:
        ValueError: a number above 65535, or a name that is not in the registry.
    """
    name = _canonical(text)
    if name.isascii() and name.isdigit():
        # lengths first: int() is slow on, and at some point refuses, long digit strings
        digits = name.lstrip("0") or "0"
        if len(digits) <= 5 and (number := int(digits)) <= MAXIMUM_CONTENT_FORMAT:
            return number
        raise ValueError(f"a content format is a number of 0 to {MAXIMUM_CONTENT_FORMAT}: {text.strip()[:40]!r}")
    found = _BY_NAME.get(name)
    if found is not None:
        return found
    close = get_close_matches(name[:80], _BY_NAME, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"unknown content format {text[:80]!r}: give its number or a registered media type{hint}")


def content_format_number(value: int | str | ContentFormat) -> int:
    """The number of what a program names in any of three ways: ``50``, ``"json"``, ``CONTENT_FORMATS[50]``.

    Raises:
        ValueError: a number that is out of range, or a name that is not in the registry.
        TypeError: something else.
    """
    if isinstance(value, int):
        if 0 <= value <= MAXIMUM_CONTENT_FORMAT:
            return value
        raise ValueError(f"a content format is a number of 0 to {MAXIMUM_CONTENT_FORMAT}, not {value}")
    if isinstance(value, str):
        return parse_content_format(value)
    if isinstance(value, ContentFormat):
        return value.number
    raise TypeError(f"a content format is a number or a name, not {value!r}")


def registration_range(number: int) -> ContentFormatRange:
    """The range of the registry that a number lies in.

    Raises:
        ValueError: ``number`` is not within 0 to 65535.
    """
    for candidate in RANGES:
        if candidate.first <= number <= candidate.last:
            return candidate
    raise ValueError(f"a content format is a number of 0 to {MAXIMUM_CONTENT_FORMAT}, not {number}")


def structure(number: int) -> Structure:
    """How a payload of this format is written, for those who print it; ``"opaque"`` if coded, binary or unknown."""
    entry = CONTENT_FORMATS.get(number)
    if entry is None or entry.coding is not None:
        return "opaque"
    essence = entry.media_type.partition(";")[0].strip()
    for name, kind in _STRUCTURES:
        if essence == name:
            return kind
    for suffix, kind in _SUFFIXES.items():
        if essence.endswith(suffix):
            return kind
    return "text" if essence.startswith("text/") else "opaque"
