"""Where a server listens: URIs of addresses, and what may be open without credentials (the design, section 6)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError
from securecoap.wire.uri import ParsedUri, is_ip_literal, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SCHEMES", "default_binds", "not_bound", "parse_bind", "require_dtls", "require_loopback"]

SCHEMES: Final = ("coap", "coaps")
"""What can be listened on and requested."""


def default_binds(*, with_credentials: bool) -> tuple[str, ...]:
    """What a server binds that is told nothing: every address if it knows whom to let in, else this machine's."""
    return ("coap://[::]", "coaps://[::]") if with_credentials else ("coap://[::1]",)


def parse_bind(text: str) -> ParsedUri:
    """The address to bind; ``localhost`` is ``::1``.

    Raises:
        ConfigurationError: another scheme, a name instead of an address, or a path.
        UriError: not a URI.
    """
    uri = parse_uri(text)
    if uri.scheme not in SCHEMES:
        raise ConfigurationError(f"{text}: cannot serve {uri.scheme}")
    if uri.host != "localhost" and not is_ip_literal(uri.host):
        raise ConfigurationError(f"{text}: a bind names an address; host names go to names=")
    if uri.path or uri.query:
        raise ConfigurationError(f"{text}: a bind has no path and no query")
    return uri._replace(host="::1") if uri.host == "localhost" else uri


def not_bound(binds: Iterable[str], bound: Iterable[str]) -> tuple[str, ...]:
    """Those of ``binds`` for which a service manager has not bound a socket, however either writes an address.

    Raises:
        ConfigurationError, UriError: see `parse_bind`.
    """
    there = {parse_bind(uri) for uri in bound}
    return tuple(uri for uri in binds if parse_bind(uri) not in there)


def require_dtls(binds: Iterable[ParsedUri], *, serves_dtls: bool) -> None:
    """Refuse coaps where no client could come.

    Raises:
        ConfigurationError: a bind is coaps, and there is no credential with which a peer could be found.
    """
    for bind in binds:
        if bind.scheme == "coaps" and not serves_dtls:
            raise ConfigurationError(
                f"{bind.scheme}://{bind.hostinfo}: needs a credential for DTLS, and there is none; to serve without "
                f"DTLS, say what to bind: coap://{bind.hostinfo}"
            )


def require_loopback(binds: Iterable[ParsedUri]) -> None:
    """Refuse what other machines can reach.

    Raises:
        ConfigurationError: a bind is not to a loopback address.
    """
    for bind in binds:
        if not ip_address(bind.host.partition("%")[0]).is_loopback:
            raise ConfigurationError(
                f"{bind.scheme}://{bind.hostinfo}: without credentials a server is for this machine only; "
                "give it credentials, or say insecure=True (--insecure)"
            )
