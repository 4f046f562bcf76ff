"""Link format: lists of typed links as text, and the filters of a discovery query (RFC 6690, RFC 8288).

`parse_links` takes what a peer sent, in one pass over the text, and keeps targets as written: resolving them is the
business of `wire.uri`. This module does not know which resources exist or who asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import unquote_to_bytes

from securecoap.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAXIMUM_LINKS", "Link", "LinkFilter", "filter_links", "parse_filter", "parse_links", "write_links"]

MAXIMUM_LINKS: Final = 65_536
"""A link can be two bytes long and costs a hundred times that in memory; a longer list is an error."""

_CONTROLS: Final = r"\x00-\x1f\x7f"
_NAME_CHARACTERS: Final = r"A-Za-z0-9!#$&+\-.^_`|~"
# Possessive quantifiers: each is tried once, so that a hostile text costs one pass.
_BLANKS: Final = re.compile(r"[ \t\r\n]*+")
_TARGET: Final = re.compile(rf"<([^<> {_CONTROLS}]*+)>")
_NAME: Final = re.compile(rf"[{_NAME_CHARACTERS}]++\*?")
_TOKEN: Final = re.compile(r"[!#-+\--:<-\[\]-~]++")
_QUOTED: Final = re.compile(
    r'"([^"\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*+(?:\\[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f][^"\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*+)*+)"'
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(r'(["\\])')
_NOT_IN_QUOTES: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# RFC 8187 section 3.2.1
_EXTENDED: Final = re.compile(
    r"([A-Za-z0-9!#$%&+\-^_`{}~]+)'([A-Za-z0-9\-]*)'((?:[A-Za-z0-9!#$&+\-.^_`|~]|%[0-9A-Fa-f]{2})*)"
)

# Occurrences after the first are ignored (RFC 8288 section 3.3 and 3.4.1, RFC 6690 section 3, RFC 8613 section 9).
_SINGLE: Final = frozenset({"rel", "title", "title*", "media", "type", "rt", "if", "sz", "ct", "obs", "osc"})
# Values that are lists, separated by blanks, of which a filter matches any one (RFC 6690 section 4.1).
_LISTS: Final = frozenset({"rel", "rev", "rt", "if", "ct"})
# Attributes whose grammar is a number without quotes (RFC 6690 section 3.3, RFC 7252 section 7.2.1).
_CARDINALS: Final = frozenset({"sz", "ct"})


@dataclass(frozen=True, slots=True)
class Link:
    """One link: where it leads, and what is said about it.

    Attributes:
        target: the URI reference between the angle brackets, as written.
        attributes: name and value in their order; ``None`` for an attribute without value, such as ``obs``. The value
            of a name that ends in ``*`` is in its encoded form (RFC 8187).
    """

    target: str
    attributes: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def create(cls, target: str, attributes: Mapping[str, str | int | Iterable[str | int] | None]) -> Self:
        """A link from plain values.

        Args:
            target: URI reference.
            attributes: ``True`` gives an attribute without value, ``False`` and ``None`` leave it out, several values
                are joined with blanks.
        """
        pairs: list[tuple[str, str | None]] = []
        for name, value in attributes.items():
            if value is None or value is False:
                continue
            if value is True:
                pairs.append((name, None))
            elif isinstance(value, str | int):
                pairs.append((name, str(value)))
            else:
                pairs.append((name, " ".join(map(str, value))))
        return cls(target, tuple(pairs))

    def has(self, name: str) -> bool:
        """Whether there is an attribute of that name, with or without value."""
        return any(key == name for key, _ in self.attributes)

    def value(self, name: str) -> str | None:
        """The first value of an attribute; ``None`` if it is absent or has none."""
        return next((value for key, value in self.attributes if key == name), None)

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of an attribute whose values are lists: ``("t1", "t2")`` for ``rt="t1 t2"``."""
        return tuple(part for key, value in self.attributes if key == name and value for part in value.split())

    @property
    def title(self) -> str | None:
        """The title for a person: ``title*`` decoded if it can be, otherwise ``title`` (RFC 8288 section 3.4.1)."""
        extended = self.value("title*")
        decoded = None if extended is None else _decode_extended(extended)
        return self.value("title") if decoded is None else decoded

    def __str__(self) -> str:
        return write_links((self,))


class LinkFilter(NamedTuple):
    """One filter of a discovery query: attribute ``name`` (or ``href``), and what its value is or begins with."""

    name: str
    value: str
    is_prefix: bool

    def matches(self, link: Link) -> bool:
        """Whether the link passes (RFC 6690 section 4.1)."""
        name = self.name
        if name == "href":
            return self._accepts(link.target)
        for key, value in link.attributes:
            if key != name:
                continue
            if value is None or not value:
                if self._accepts(""):
                    return True
            elif name in _LISTS:
                if any(map(self._accepts, value.split(" "))):
                    return True
            elif self._accepts(value):
                return True
        return False

    def _accepts(self, value: str) -> bool:
        return value.startswith(self.value) if self.is_prefix else value == self.value


def parse_links(document: str | bytes) -> tuple[Link, ...]:
    """The links of a document in link format.

    Blanks and line breaks around ``,`` and ``;`` are accepted, though RFC 6690 has none; an empty text has no links.

    Raises:
        FormatError: not UTF-8, not of the grammar of RFC 6690 section 2, or more than `MAXIMUM_LINKS` links.
    """
    text = _decoded(document)
    skip = _BLANKS.match
    position = _after(skip(text, 0))
    if position == len(text):
        return ()
    links: list[Link] = []
    while True:
        target = _TARGET.match(text, position)
        if target is None:
            raise FormatError(f"no link in angle brackets at character {position}")
        attributes: list[tuple[str, str | None]] = []
        seen: set[str] = set()
        position = _after(skip(text, target.end()))
        while text.startswith(";", position):
            name, value, position = _parse_attribute(text, _after(skip(text, position + 1)))
            if name not in seen:
                attributes.append((name, value))
                if name in _SINGLE:
                    seen.add(name)
            position = _after(skip(text, position))
        links.append(Link(target[1], tuple(attributes)))
        if position == len(text):
            return tuple(links)
        if text[position] != ",":
            raise FormatError(f"neither a comma nor a semicolon behind the link at character {position}")
        if len(links) == MAXIMUM_LINKS:
            raise FormatError(f"more than {MAXIMUM_LINKS} links")
        position = _after(skip(text, position + 1))


def write_links(links: Iterable[Link]) -> str:
    """A document in link format: numbers of ``ct`` and ``sz`` without quotes, other values quoted.

    Raises:
        FormatError: a target or a name that the format cannot hold, or a control character in a value.
    """
    return ",".join(map(_write_link, links))


def parse_filter(query: str) -> LinkFilter:
    """The filter of one Uri-Query argument: ``rt=value``, ``if=prefix*``, ``href=/path``, or a name alone.

    A ``*`` at the end asks for a prefix, so ``rt=*`` and ``rt`` ask that there is an ``rt``.

    Raises:
        FormatError: no attribute name in front.
    """
    name, equals, value = query.partition("=")
    if _NAME.fullmatch(name) is None:
        raise FormatError("a discovery query is an attribute name, =, and a value")
    if not equals or value.endswith("*"):
        return LinkFilter(name, value[:-1], is_prefix=True)
    return LinkFilter(name, value, is_prefix=False)


def filter_links(links: Iterable[Link], queries: Iterable[str]) -> tuple[Link, ...]:
    """The links that pass every filter of a discovery request.

    Args:
        links: in the order in which they are wanted.
        queries: values of the Uri-Query options.

    Raises:
        FormatError: a query is no filter.
    """
    filters = [parse_filter(query) for query in queries]
    return tuple(link for link in links if all(wanted.matches(link) for wanted in filters))


def _decoded(document: str | bytes) -> str:
    if isinstance(document, str):
        return document
    try:
        return document.decode()
    except UnicodeDecodeError:
        raise FormatError("a link-format document is not UTF-8") from None


def _after(match: re.Match[str] | None) -> int:
    """The end of a match that cannot fail."""
    return match.end() if match is not None else 0


def _parse_attribute(text: str, position: int) -> tuple[str, str | None, int]:
    name = _NAME.match(text, position)
    if name is None:
        raise FormatError(f"no attribute name at character {position}")
    position = name.end()
    if not text.startswith("=", position):
        return name[0], None, position
    position += 1
    if quoted := _QUOTED.match(text, position):
        value = quoted[1]
        return name[0], _ESCAPED.sub(r"\1", value) if "\\" in value else value, quoted.end()
    if token := _TOKEN.match(text, position):
        return name[0], token[0], token.end()
    raise FormatError(f"no value, or one whose quotes do not end, at character {position}")


def _write_link(link: Link) -> str:
    target = f"<{link.target}>"
    if _TARGET.fullmatch(target) is None:
        raise FormatError("a link target has no blank, angle bracket or control character")
    parts = [target]
    for name, value in link.attributes:
        if _NAME.fullmatch(name) is None:
            raise FormatError(f"not an attribute name: {name[:40]!a}")
        if value is None:
            parts.append(name)
        elif name.endswith("*"):
            if _EXTENDED.fullmatch(value) is None:
                raise FormatError(f"the value of {name[:40]} is not in the form of RFC 8187")
            parts.append(f"{name}={value}")
        elif name in _CARDINALS and value.isascii() and value.isdigit():
            parts.append(f"{name}={value}")
        elif _NOT_IN_QUOTES.search(value):
            raise FormatError(f"a control character in the value of {name[:40]}")
        else:
            escaped = _TO_ESCAPE.sub(r"\\\1", value)
            parts.append(f'{name}="{escaped}"')
    return ";".join(parts)


def _decode_extended(value: str) -> str | None:
    match = _EXTENDED.fullmatch(value)
    if match is None or match[1].upper() != "UTF-8":
        return None
    try:
        return unquote_to_bytes(match[3]).decode()
    except UnicodeDecodeError:
        return None
