"""Concise problem details (RFC 9290): an error response that programs can read.

A CBOR map with negative keys for what everybody knows and other keys for what applications add. Whatever is not
recognized, or is not of the form that it should have, is ignored (section 3); the texts are for people, and no URI here
is ever looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

from securecoap.errors import FormatError
from securecoap.wire.cbor import Tagged, decode_cbor, encode_cbor
from securecoap.wire.content_formats import PROBLEM_DETAILS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securecoap.wire.message import Message

__all__ = ["PROBLEM_DETAIL_KEYS", "ProblemDetails", "problem_details"]

TITLE: Final = -1
DETAIL: Final = -2
INSTANCE: Final = -3
RESPONSE_CODE: Final = -4
BASE_URI: Final = -5
BASE_LANG: Final = -6
BASE_RTL: Final = -7
UNPROCESSED_COAP_OPTION: Final = -8

PROBLEM_DETAIL_KEYS: Final[dict[int, str]] = {
    TITLE: "title",
    DETAIL: "detail",
    INSTANCE: "instance",
    RESPONSE_CODE: "response-code",
    BASE_URI: "base-uri",
    BASE_LANG: "base-lang",
    BASE_RTL: "base-rtl",
    UNPROCESSED_COAP_OPTION: "unprocessed-coap-option",
}
"""Standard problem detail keys (section 6.3)."""

_LANGUAGE_TAGGED: Final = 38

Extensions: TypeAlias = "Mapping[int | str, Mapping[Any, Any]]"


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """One problem. Everything may be missing; a document says at least one thing.

    Attributes:
        title: what kind of problem it is, for a person.
        detail: what happened this time, for a person; programs do not parse it (section 2).
        instance: URI reference of this occurrence.
        response_code: the code that the origin server answered with, as one byte. Advisory: the message's own counts.
        base_uri: what relative references are relative to.
        language: of the texts (BCP 47), ``None`` where nothing is said: English then.
        right_to_left: whether the texts are written from right to left.
        unprocessed_options: numbers of options that were not understood; perhaps not all, nor all of them the client's.
        extensions: maps of applications, by registered number or by URI.
    """

    title: str | None = None
    detail: str | None = None
    instance: str | None = None
    response_code: int | None = None
    base_uri: str | None = None
    language: str | None = None
    right_to_left: bool = False
    unprocessed_options: tuple[int, ...] = ()
    extensions: Extensions = field(default_factory=dict)

    def __str__(self) -> str:
        """For a person, in one line: ``title: detail (instance)``."""
        text = ": ".join(part for part in (self.title, self.detail) if part)
        if self.unprocessed_options:
            numbers = ", ".join(map(str, self.unprocessed_options))
            text += f"{' ' if text else ''}[options {numbers} were not understood]"
        return f"{text} ({self.instance})" if self.instance and text else text or self.instance or ""

    def encode(self) -> bytes:
        """The document.

        Raises:
            ValueError: it says nothing, or an extension's key is not as section 3.2 wants it.
        """
        said: dict[Any, Any] = {
            TITLE: self.title,
            DETAIL: self.detail,
            INSTANCE: self.instance,
            RESPONSE_CODE: None if self.response_code is None else int(self.response_code),
            BASE_URI: self.base_uri,
            BASE_LANG: self.language,
            BASE_RTL: self.right_to_left or None,
        }
        entries = {key: value for key, value in said.items() if value is not None}
        options = self.unprocessed_options
        if options:
            entries[UNPROCESSED_COAP_OPTION] = options[0] if len(options) == 1 else list(options)
        for name, members in self.extensions.items():
            if not members or not (":" in name if isinstance(name, str) else _is_uint(name)):
                raise ValueError("an extension is a map that is not empty, under a number or an absolute URI")
            entries[name] = dict(members)
        if not entries:
            raise ValueError("problem details say at least one thing (RFC 9290 section 2)")
        return encode_cbor(entries)

    @classmethod
    def decode(cls, data: bytes) -> ProblemDetails:
        """What a document says; entries that are unknown or have another form than they should are left out.

        Raises:
            FormatError: it is no CBOR map, or an empty one.
        """
        entries = decode_cbor(data)
        if not isinstance(entries, dict) or not entries:
            raise FormatError("problem details are a CBOR map that is not empty")
        code = entries.get(RESPONSE_CODE)
        options = entries.get(UNPROCESSED_COAP_OPTION)
        numbers = options if isinstance(options, list) else [options]
        return cls(
            title=_text(entries.get(TITLE)),
            detail=_text(entries.get(DETAIL)),
            instance=_plain_text(entries.get(INSTANCE)),
            response_code=code if _is_uint(code) and code <= 0xFF else None,
            base_uri=_plain_text(entries.get(BASE_URI)),
            language=_plain_text(entries.get(BASE_LANG)) or _language(entries.get(TITLE), entries.get(DETAIL)),
            right_to_left=entries.get(BASE_RTL) is True,
            unprocessed_options=tuple(one for one in numbers if _is_uint(one)),
            extensions=MappingProxyType(
                {
                    key: value
                    for key, value in entries.items()
                    if isinstance(value, dict) and value and (isinstance(key, str) or _is_uint(key))
                }
            ),
        )


def problem_details(message: Message) -> ProblemDetails | None:
    """The problem details that a response has; ``None`` if it has none, or none that can be read."""
    if message.options.content_format != PROBLEM_DETAILS:
        return None
    try:
        return ProblemDetails.decode(message.payload)
    except FormatError:
        return None


def _is_uint(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _plain_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    """A text, with or without its language (appendix A)."""
    if isinstance(value, Tagged) and value.tag == _LANGUAGE_TAGGED and isinstance(value.value, list):
        return _plain_text(value.value[1]) if 2 <= len(value.value) <= 3 else None
    return _plain_text(value)


def _language(*texts: Any) -> str | None:
    for text in texts:
        if isinstance(text, Tagged) and _text(text) is not None:
            return _plain_text(text.value[0])
    return None
