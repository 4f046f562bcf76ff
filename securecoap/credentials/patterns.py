"""URI patterns, and the index that finds those that fit a request without trying each.

A pattern is ``scheme://authority/path``; ``*`` stands for any run of characters:

- in the scheme, among the schemes of CoAP;
- as the whole authority for any host and port; in a host for a part of it, as ``:*`` for any port. A port that is left
  out is the default port of the request's scheme;
- in a path within one segment; at its end for everything that may follow, further segments too;
- at the end of a pattern without a path (``coap://*``, ``coap://gateway*``) for any port and any path; ``*`` alone for
  all.

A pattern has no query and no fragment: what a peer may choose freely must not change who may do what. Segments are
compared after percent-decoding (RFC 3986 section 6.2.2.2), one by one, so that a ``%2F`` inside of one is no
separator. Must not know what stands behind a pattern.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from socket import inet_aton
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from securecoap.wire.uri import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PatternError", "PatternIndex", "Specificity", "UriPattern", "normal_host", "parse_pattern"]

Specificity = tuple[int, int, int]
"""Literal characters of path, authority and scheme: a larger one is more specific."""

_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]+|\*))?")
_HOST: Final = re.compile(r"(?:[a-z0-9\-._~!$&'()*+,;=]|%[0-9a-f]{2})+")
_NUMBERS: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


class PatternError(ValueError):
    """What is wrong with a pattern, as a text for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Glob:
    """Literal pieces with anything between them; one piece is a literal."""

    pieces: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Whether ``text`` is the pieces in their order; linear in its length, whatever the pattern."""
        pieces = self.pieces
        first, last = pieces[0], pieces[-1]
        if len(pieces) == 1:
            return text == first
        if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
            return False
        position, end = len(first), len(text) - len(last)
        for piece in pieces[1:-1]:
            found = text.find(piece, position, end)
            if found < 0:
                return False
            position = found + len(piece)
        return True


@dataclass(frozen=True, slots=True)
class UriPattern:
    """A parsed pattern.

    Attributes:
        text: as it was written.
        schemes: the schemes it is for.
        host: in normal form; ``None`` for any authority.
        port: a number, ``None`` for the default port of the scheme, ``-1`` for any.
        segments: the path, segment by segment; a ``str`` is literal.
        open_end: whether any further segments may follow; the last segment's tail is then open too.
        specificity: what decides between two patterns that both fit.
    """

    text: str
    schemes: frozenset[str]
    host: str | Glob | None
    port: int | None
    segments: tuple[str | Glob, ...]
    open_end: bool
    specificity: Specificity

    def covers_authority(self, scheme: str, host: str, port: int) -> bool:
        """Whether the authority fits, for any scheme. ``host`` is in normal form.

        A port left out is the default port of ``scheme``, so that ``coaps://gateway/*`` names the authority of
        ``coap://gateway/`` too: both are "gateway", and plain CoAP to it was not meant.
        """
        mine = self.host
        if mine is None:
            return True
        if isinstance(mine, str):
            if mine not in (host, host.partition("%")[0]):  # without a zone it is for every zone
                return False
        elif not mine.matches(host):
            return False
        return self.port == -1 or port == (DEFAULT_PORTS[scheme] if self.port is None else self.port)

    def covers_origin(self, scheme: str, host: str, port: int) -> bool:
        """Whether scheme and authority fit. ``host`` is in normal form."""
        return scheme in self.schemes and self.covers_authority(scheme, host, port)


def parse_pattern(text: str) -> UriPattern:
    """Parse a pattern.

    Raises:
        PatternError: it is none.
    """
    if text == "*":
        return UriPattern(text, frozenset(DEFAULT_PORTS), None, -1, (), open_end=True, specificity=(0, 0, 0))
    if not text.isascii() or not text.isprintable() or " " in text:
        raise PatternError("a URI pattern has printable ASCII characters only; others are percent-encoded")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise PatternError("neither a label (:name) nor a URI pattern (scheme://authority/path, or *)")
    if "?" in rest or "#" in rest:
        raise PatternError("a URI pattern has no query and no fragment")
    if "@" in rest.partition("/")[0]:
        raise PatternError("a CoAP URI has no user information")
    if _BAD_PERCENT.search(rest):
        raise PatternError("a % is followed by two hexadecimal digits")
    schemes = _schemes(scheme.lower())
    authority, slash, path = rest.partition("/")
    everything = not slash and authority.endswith("*")
    host, port = _authority(authority, schemes, everything=everything)
    segments, open_end = ((), True) if everything else _path(path)
    literals = (
        len(unquote_to_bytes((slash + path).replace("*", ""))),
        len(authority.replace("*", "").rstrip(":")),
        len(scheme.replace("*", "")),
    )
    return UriPattern(text, schemes, host, port, segments, open_end, literals)


@lru_cache(maxsize=1024)
def normal_host(host: str) -> str:
    """A host in the form in which hosts are compared: lower case, IPv6 without brackets and in its shortest form.

    Never fails: what is no address is a name. One host has one form, however it is written, or a request to it would be
    sent past the pattern that is meant for it: a name may end with a dot (RFC 1034 section 3.1), resolvers take numbers
    for IPv4 addresses, and a zone means something for link-local addresses and groups only (RFC 4007 section 11).
    """
    text = host.lower()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if ":" not in text:
        name = text.removesuffix(".")
        return _ipv4(name) if _NUMBERS.fullmatch(name) else name
    address, percent, zone = text.partition("%")
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return text
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    is_zoned = percent and (parsed.is_link_local or parsed.is_multicast)
    return str(parsed) + (percent + zone.removeprefix("25") if is_zoned else "")


def _ipv4(text: str) -> str:
    """The address as which the system's resolver takes numbers: parts may be hexadecimal or octal, and fewer."""
    try:
        return str(ipaddress.IPv4Address(inet_aton(text)))
    except OSError:
        return text


def _schemes(text: str) -> frozenset[str]:
    pieces = Glob(tuple(text.split("*")))
    found = frozenset(scheme for scheme in DEFAULT_PORTS if pieces.matches(scheme))
    if not found:
        raise PatternError(f"the scheme is none of {', '.join(DEFAULT_PORTS)}")
    return found


def _authority(text: str, schemes: frozenset[str], *, everything: bool) -> tuple[str | Glob | None, int | None]:
    if text == "*":
        return None, -1
    match = _AUTHORITY.fullmatch(text)
    if match is None or not match[1]:
        raise PatternError("the authority is not host, host:port, [IPv6 address] or *")
    host, port_text = match[1].lower(), match[2]
    port: int | None = -1 if everything or port_text == "*" else None
    if port_text not in (None, "*"):
        port = int(port_text) if len(port_text) <= 5 else 0
        if not 0 < port <= 65535:
            raise PatternError("the port is not in 1 to 65535")
        if all(DEFAULT_PORTS[scheme] == port for scheme in schemes):
            port = None
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1].partition("%")[0])
        except ValueError:
            raise PatternError("the brackets do not hold an IPv6 address") from None
        return normal_host(host), port
    if not _HOST.fullmatch(host):
        raise PatternError("the host has characters that a host cannot have")
    if "*" not in host:
        return normal_host(_decoded(host)), port
    if host == "*":
        return Glob(("", "")), port
    return Glob(tuple(_decoded(piece) for piece in host.removesuffix(".").split("*"))), port


def _path(path: str) -> tuple[tuple[str | Glob, ...], bool]:
    if not path:
        return (), False
    parts = path.split("/")
    open_end = parts[-1].endswith("*")
    segments: list[str | Glob] = []
    for part in parts:
        pieces = tuple(_decoded(piece) for piece in part.split("*"))
        segments.append(pieces[0] if len(pieces) == 1 else Glob(pieces))
    if segments == [Glob(("", ""))]:
        return (), True  # "/*": also the root, whose path has no segment at all
    return tuple(segments), open_end


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise PatternError("what is percent-encoded is not UTF-8") from None


V = TypeVar("V")


@dataclass(slots=True)
class _Level(Generic[V]):
    literal: dict[str, _Level[V]] = field(default_factory=dict)
    globs: dict[Glob, _Level[V]] = field(default_factory=dict)
    ends: list[V] = field(default_factory=list)
    open_ends: list[V] = field(default_factory=list)


class PatternIndex(Generic[V]):
    """Patterns by path, segment by segment: a look-up costs what the path and the fitting patterns cost.

    Filled once, then only read.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Level[V] = _Level()

    def add(self, pattern: UriPattern, value: V) -> None:
        """Put ``value`` where `find` gives it for every path that ``pattern`` covers."""
        level = self._root
        for segment in pattern.segments:
            if isinstance(segment, str):
                level = level.literal.setdefault(segment, _Level())
            else:
                level = level.globs.setdefault(segment, _Level())
        (level.open_ends if pattern.open_end else level.ends).append(value)

    def find(self, segments: tuple[str, ...]) -> Iterator[V]:
        """Every value whose pattern's path covers ``segments``, in no particular order."""
        levels = [self._root]
        for segment in segments:
            following: list[_Level[V]] = []
            for level in levels:
                yield from level.open_ends
                if (found := level.literal.get(segment)) is not None:
                    following.append(found)
                following.extend(below for glob, below in level.globs.items() if glob.matches(segment))
            levels = following
            if not levels:
                return
        for level in levels:
            yield from level.open_ends
            yield from level.ends
