"""URIs to the parts that options carry, and back (RFC 7252 sections 6.4 and 6.5, RFC 3986, RFC 6874, RFC 8323).

`parse_uri` accepts exactly the absolute URIs of the CoAP schemes whose parts CoAP can carry, and normalises them, so
that equivalent URIs give equal values (RFC 7252 section 6.3). Which part becomes an option depends on the destination,
which is not known here; nor are messages, sockets or name resolution.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from securecoap.errors import UriError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFAULT_PORTS",
    "MAXIMUM_URI_LENGTH",
    "ParsedUri",
    "compose_uri",
    "location_uri",
    "parse_uri",
    "resolve_uri",
]

DEFAULT_PORTS: Final[dict[str, int]] = {
    "coap": 5683,
    "coaps": 5684,
    "coap+tcp": 5683,
    "coaps+tcp": 5684,
    "coap+ws": 80,
    "coaps+ws": 443,
}
"""The port that a URI of each scheme means when it names none (RFC 7252 section 6.1, 6.2, RFC 8323 section 8)."""

MAXIMUM_URI_LENGTH: Final = 65_536
"""Characters; no message could carry more, and parsed URIs are cached."""

_MAXIMUM_OPTION: Final = 255  # bytes in Uri-Host, a Uri-Path and a Uri-Query (RFC 7252 section 5.10)

# RFC 3986 appendix B, with the authority demanded
_ABSOLUTE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)
# RFC 3986 appendix B: scheme, authority, path, query, fragment
_REFERENCE: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)
_UNRESERVED_OR_SUB_DELIMS: Final = r"A-Za-z0-9\-._~!$&'()*+,;="


def _characters(extra: str) -> re.Pattern[str]:
    allowed = f"[{_UNRESERVED_OR_SUB_DELIMS}{extra}]*"
    return re.compile(f"{allowed}(?:%[0-9A-Fa-f]{{2}}{allowed})*")


_REG_NAME: Final = _characters("")
_PATH: Final = _characters(":@/")
_QUERY: Final = _characters(":@/?")
_ANY_REFERENCE: Final = _characters(r":@/?#\[\]")
_PORT: Final = re.compile(r"0*([0-9]{1,5})")
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_ZONE: Final = re.compile(r"(?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+")
_BARE_ZONE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})([A-Za-z0-9\-._~]+)")
# A name with a delimiter in it, percent-encoded, could be taken for another authority by whoever composes it again.
_NO_HOST_NAME: Final = re.compile(r"[\x00-\x1f\x7f:/?#\[\]@\\]")

# What section 6.5 leaves as it is, beside letters, digits and "-._~"
_SEGMENT_SAFE: Final = "!$&'()*+,;=:@"
_ARGUMENT_SAFE: Final = "!$'()*+,;=:@/?"
_HOST_SAFE: Final = "!$&'()*+,;="


class ParsedUri(NamedTuple):
    """The parts of a CoAP URI, decoded and normalised.

    Attributes:
        scheme: lower case, a key of `DEFAULT_PORTS`.
        host: a registered name, percent-decoded and in lower case, or an address: IPv4 in dotted form, IPv6 without
            brackets, in its shortest form, with its zone after ``%``.
        port: 0 to 65535; the scheme's default if the URI names none.
        path: decoded segments, dot segments removed; empty for ``/`` and for no path.
        query: decoded arguments.
    """

    scheme: str
    host: str
    port: int
    path: tuple[str, ...] = ()
    query: tuple[str, ...] = ()

    @property
    def is_ip_literal(self) -> bool:
        """Whether the host is an address, which is not sent as Uri-Host to that very address (section 6.4 step 5)."""
        return is_ip_literal(self.host)

    @property
    def hostinfo(self) -> str:
        """Host and port as in a URI; without the port if it is the scheme's default."""
        return _authority(self.scheme, self.host, self.port)

    def __str__(self) -> str:
        return compose_uri(self.scheme, self.host, self.port, self.path, self.query)


def is_ip_literal(host: str) -> bool:
    """Whether a host as in `ParsedUri` is an IPv4 or IPv6 address; no name has a colon."""
    return ":" in host or _IPV4.fullmatch(host) is not None


@lru_cache(maxsize=256)
def parse_uri(text: str) -> ParsedUri:
    """The parts of an absolute CoAP URI (RFC 7252 section 6.4).

    Args:
        text: the URI; characters outside ASCII have to be percent-encoded, host names outside ASCII as A-labels.

    Raises:
        UriError: not an absolute URI of a CoAP scheme, or with a fragment, user information, an empty host, a port
            above 65535, an address that is none, percent-encoding that is not UTF-8, or a part of more than 255 bytes.
    """
    if len(text) > MAXIMUM_URI_LENGTH:
        raise UriError(f"a URI of {len(text)} characters is too long")
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        raise UriError(f"not an absolute URI with a host: {_shown(text)}")
    scheme, authority, path, query, fragment = match.groups()
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise UriError(f"not a CoAP scheme: {_shown(scheme)} (they are {', '.join(DEFAULT_PORTS)})")
    if fragment is not None:
        raise UriError("a request URI has no fragment (#)")
    host, port = _parse_authority(authority, DEFAULT_PORTS[scheme])
    return ParsedUri(scheme, host, port, _parse_path(path), _parse_query(query))


def compose_uri(
    scheme: str, host: str, port: int | None = None, path: Iterable[str] = (), query: Iterable[str] = ()
) -> str:
    """The URI of a request (RFC 7252 section 6.5): upper-case hexadecimal, no default port, ``/`` for an empty path.

    Args:
        scheme: a CoAP scheme.
        host: a name or address as in `ParsedUri` (the brackets of an IPv6 address are accepted).
        port: ``None`` for the scheme's default.
        path: decoded segments. ``("",)`` and ``()`` have the same URI.
        query: decoded arguments.

    Raises:
        UriError: a part that no URI can carry: an unknown scheme, a host that is neither name nor address, a port out
            of range, a dot segment, a part of more than 255 bytes.
    """
    if scheme not in DEFAULT_PORTS:
        raise UriError(f"not a CoAP scheme: {_shown(scheme)}")
    return f"{scheme}://{_authority(scheme, host, port)}{_compose_path(path)}{_compose_query(query)}"


def location_uri(base: str, path: Iterable[str], query: Iterable[str] = ()) -> str:
    """Where a response's Location-Path and Location-Query options point (RFC 7252 section 5.10.7).

    The parts are put into the URI one by one: written as a relative reference, an empty first segment would make the
    second one a host.

    Args:
        base: the URI of the request.
        path: values of Location-Path; if there are none, the request's path stays.
        query: values of Location-Query.

    Raises:
        UriError: `base` is not a CoAP URI, or a part is one that no URI can carry.
    """
    uri = parse_uri(base)
    path = tuple(path)
    return compose_uri(uri.scheme, uri.host, uri.port, path or uri.path, query)


def resolve_uri(base: str, reference: str) -> str:
    """A URI reference, as in a link's target, as an absolute URI (RFC 3986 section 5.2).

    Args:
        base: an absolute URI with a host, of any scheme.
        reference: a relative reference, or an absolute URI of any scheme, which is returned as it is but for its dot
            segments. A fragment is kept (`parse_uri` then refuses it).

    Raises:
        UriError: characters that no URI has, or a base that is not absolute.
    """
    if len(base) > MAXIMUM_URI_LENGTH or len(reference) > MAXIMUM_URI_LENGTH:
        raise UriError("a URI reference is too long")
    match = _ABSOLUTE.fullmatch(base)
    if match is None:
        raise UriError(f"not an absolute URI with a host: {_shown(base)}")
    parts = _REFERENCE.fullmatch(reference) if _ANY_REFERENCE.fullmatch(reference) else None
    if parts is None:
        raise UriError(f"characters that no URI has: {_shown(reference)}")
    scheme, authority, path, query, fragment = parts.groups()
    if scheme is not None:
        path = _without_dots(path)
    elif authority is not None:
        scheme, path = match[1], _without_dots(path)
    else:
        scheme, authority = match[1], match[2]
        if not path:
            path = match[3]
            query = match[4] if query is None else query
        elif path.startswith("/"):
            path = _without_dots(path)
        else:
            # section 5.2.3: beside the base's last segment
            path = _without_dots((match[3].rpartition("/")[0] if match[3] else "") + "/" + path)
    if authority is None:
        # a path that begins with // after its dots are gone must not turn into an authority
        text = f"{scheme}:/." if path.startswith("//") else f"{scheme}:"
    else:
        text = f"{scheme}://{authority}"
    text += path if query is None else f"{path}?{query}"
    return text if fragment is None else f"{text}#{fragment}"


def _parse_authority(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise UriError("a CoAP URI has no user information (@)")
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UriError(f"not an IPv6 address in brackets, and a port: {_shown(authority)}")
        return _parse_ipv6(literal), _parse_port(rest[1:], default_port)
    name, _, port = authority.partition(":")
    return _decode_host(name), _parse_port(port, default_port)


def _decode_host(name: str) -> str:
    if not name:
        raise UriError("the host is empty")
    if _REG_NAME.fullmatch(name) is None:
        raise UriError(f"not a host name: {_shown(name)} (a name outside ASCII is written as an A-label, xn--...)")
    # bytes.lower is ASCII only, which is what section 6.4 asks for; after decoding, so that %41 equals a (section 6.3)
    return _checked_name(_decode(name, lower=True))


def _checked_name(host: str) -> str:
    if _NO_HOST_NAME.search(host):
        raise UriError(f"a host name has no delimiter or control character: {_shown(host)}")
    return host


def _parse_port(text: str, default: int) -> int:
    if not text:
        return default
    match = _PORT.fullmatch(text)
    if match is None or (port := int(match[1])) > 0xFFFF:
        raise UriError(f"not a port: {_shown(text)}")
    return port


def _parse_ipv6(literal: str) -> str:
    address, percent, zone = literal.partition("%")
    if percent:
        # RFC 6874 section 2 writes %25; section 3 recommends to take a bare % too, unless it looks like an encoding
        bare = _BARE_ZONE.fullmatch(percent + zone)
        if bare is not None:
            zone = bare[1]
        elif zone.startswith("25") and _ZONE.fullmatch(zone, 2):
            zone = _decode(zone[2:])
        else:
            raise UriError(f"not a zone of an IPv6 address: {_shown(literal)}")
    return _with_zone(address, zone)


def _with_zone(address: str, zone: str) -> str:
    """The shortest form of an IPv6 address, which equal addresses share, with ``%`` and its zone if it has one."""
    try:
        shortest = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))
    except (OSError, ValueError):  # ValueError: a NUL character or one outside ASCII
        raise UriError(f"not an IPv6 address: {_shown(address)}") from None
    if zone and _NO_HOST_NAME.search(zone):
        raise UriError(f"not a zone of an IPv6 address: {_shown(zone)}")
    return f"{shortest}%{zone}" if zone else shortest


def _parse_path(path: str) -> tuple[str, ...]:
    if len(path) <= 1:
        return ()
    if _PATH.fullmatch(path) is None:
        raise UriError(f"characters that have to be percent-encoded: {_shown(path)}")
    if "%" in path:
        # "." is the same as %2E (RFC 3986 section 6.2.2.2): decoded first, so that no dot segment is ever sent (5.10.1)
        segments = [_decode(segment) for segment in path[1:].split("/")]
    else:
        segments = path[1:].split("/")
        _check_lengths(path, segments)
    if "." in segments or ".." in segments:
        segments = _remove_dots(segments)
    return () if segments == [""] else tuple(segments)


def _parse_query(query: str | None) -> tuple[str, ...]:
    if query is None:
        return ()
    if _QUERY.fullmatch(query) is None:
        raise UriError(f"characters that have to be percent-encoded: {_shown(query)}")
    arguments = query.split("&")
    if "%" in query:
        return tuple(_decode(argument) for argument in arguments)
    _check_lengths(query, arguments)
    return tuple(arguments)


def _check_lengths(whole: str, parts: list[str]) -> None:
    """For parts of ASCII only."""
    if len(whole) > _MAXIMUM_OPTION and any(len(part) > _MAXIMUM_OPTION for part in parts):
        raise UriError(f"a part of a URI is longer than {_MAXIMUM_OPTION} bytes")


def _decode(text: str, *, lower: bool = False) -> str:
    data = unquote_to_bytes(text)
    if len(data) > _MAXIMUM_OPTION:
        raise UriError(f"a part of a URI is longer than {_MAXIMUM_OPTION} bytes")
    try:
        return (data.lower() if lower else data).decode()
    except UnicodeDecodeError:
        raise UriError(f"percent-encoding that is not UTF-8: {_shown(text)}") from None


def _remove_dots(segments: list[str]) -> list[str]:
    """RFC 3986 section 5.2.4, for the segments behind the first slash."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return kept


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4 for a path as text; one that has no slash in front is not hierarchical and stays."""
    if not path.startswith("/"):
        return path
    return "/" + "/".join(_remove_dots(path[1:].split("/")))


def _authority(scheme: str, host: str, port: int | None) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise UriError(f"not an IPv6 address: {_shown(host)}")
    if ":" in host:
        address, _, zone = host.partition("%")
        address, percent, zone = _with_zone(address, zone).partition("%")
        name = f"[{address}%25{_encode(zone, '')}]" if percent else f"[{address}]"
    elif host:
        name = _encode(_checked_name(_ascii_lower(host)), _HOST_SAFE)
    else:
        raise UriError("the host is empty")
    if port is None or port == DEFAULT_PORTS.get(scheme):
        return name
    if not 0 <= port <= 0xFFFF:
        raise UriError(f"not a port: {port}")
    return f"{name}:{port}"


def _ascii_lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)


def _compose_path(path: Iterable[str]) -> str:
    segments = [_encode(segment, _SEGMENT_SAFE) for segment in path]
    if "." in segments or ".." in segments:
        raise UriError("no path has the segment . or .. (RFC 7252 section 5.10.1)")
    return "/" + "/".join(segments)


def _compose_query(query: Iterable[str]) -> str:
    arguments = [_encode(argument, _ARGUMENT_SAFE) for argument in query]
    return "?" + "&".join(arguments) if arguments else ""


def _encode(text: str, safe: str) -> str:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise UriError("a part of a URI has a lone surrogate, which is no character") from None
    if len(data) > _MAXIMUM_OPTION:
        raise UriError(f"a part of a URI is longer than {_MAXIMUM_OPTION} bytes")
    return quote(data, safe)


def _shown(text: str) -> str:
    """Text of unknown origin for an error: escaped, and not longer than a line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
