"""Where a server listens: URIs of addresses, and what may be open without credentials (the design, section 6)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError
from securecoap.wire.uri import ParsedUri, is_ip_literal, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SCHEMES", "parse_bind", "require_loopback"]

SCHEMES: Final = ("coap", "coaps")
"""What can be listened on and requested."""


def parse_bind(text: str) -> ParsedUri:
    """The address to bind; ``localhost`` is ``::1``.

    Raises:
        ConfigurationError: another scheme, or a name instead of an address.
        UriError: not a URI.
    """
    uri = parse_uri(text)
    if uri.scheme not in SCHEMES:
        raise ConfigurationError(f"{text}: cannot serve {uri.scheme}")
    if uri.host != "localhost" and not is_ip_literal(uri.host):
        raise ConfigurationError(f"{text}: a bind names an address; host names go to names=")
    return uri._replace(host="::1") if uri.host == "localhost" else uri


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
