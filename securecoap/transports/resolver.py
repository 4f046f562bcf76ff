"""From the authority of a URI to a socket address (RFC 7252 section 6.1), and back to text.

A name may have several addresses, and the first that the system recommends need not be where the server listens:
``localhost`` is ``::1`` before it is ``127.0.0.1``. UDP has no connection that would tell, but ICMP does: an address
that refused a datagram is passed over for a while when there is another. Nothing here knows CoAP messages.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from securecoap.errors import Unreachable
from securecoap.wire.uri import is_ip_literal, parse_uri

if TYPE_CHECKING:
    import asyncio

    from securecoap.transports.datagram import SocketAddress

__all__ = ["Resolver", "host_text", "hostinfo"]

_AVOIDED: Final = 256
"""Addresses that are remembered as refusing. Beyond it the oldest is forgotten."""
_AVOIDANCE: Final = 30.0
"""Seconds for which an address that refused is passed over."""
_KNOWN: Final = 1024
"""Authorities whose addresses are remembered. Beyond it the oldest is forgotten."""
_ALWAYS: Final = float("inf")
_KNOWN_FOR: Final = 10.0
"""Seconds for which what the system said of a name is taken to be so. How long it really holds is not told to us."""


class Resolver:
    """Finds socket addresses for the sockets of one family.

    Args:
        loop: resolves names, and has the time.
        family: of the socket; for an IPv6 one, IPv4 addresses are mapped.
        scheme: of the URIs whose authorities are asked for; it has the default port.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, family: socket.AddressFamily, scheme: str) -> None:
        self._loop = loop
        self._family = family
        self._scheme = scheme
        self._refused_at: dict[SocketAddress, float] = {}
        self._known: dict[str, tuple[float, list[SocketAddress]]] = {}  # by authority: until when, and what

    def known(self, authority: str | None) -> SocketAddress | None:
        """As `resolve`, if that takes no waiting because it was asked lately; ``None`` otherwise."""
        if authority is None or (found := self._known.get(authority)) is None:
            return None
        until, addresses = found
        if until != _ALWAYS and self._loop.time() >= until:
            del self._known[authority]
            return None
        return min(addresses, key=self._rank) if self._refused_at else addresses[0]

    def refused(self, peer: SocketAddress) -> None:
        """The network says that nobody is there."""
        self._refused_at.pop(peer, None)
        if len(self._refused_at) >= _AVOIDED:
            del self._refused_at[next(iter(self._refused_at))]
        self._refused_at[peer] = self._loop.time()

    async def resolve(self, authority: str) -> SocketAddress:
        """The address for ``host`` or ``host:port`` as in a URI.

        Raises:
            Unreachable: there is none.
            UriError: the authority is malformed.
        """
        known = self.known(authority)
        if known is not None:
            return known
        parsed = parse_uri(f"{self._scheme}://{authority}")
        flags = socket.AI_NUMERICHOST if is_ip_literal(parsed.host) else 0
        try:
            found = await self._loop.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_DGRAM, flags=flags)
        except OSError as error:
            raise Unreachable(error.errno, f"{parsed.host} does not resolve: {error.strerror}") from error
        addresses: list[SocketAddress] = []
        for family, _, _, _, address in found:
            if family == self._family:
                addresses.append(address[:2] if family == socket.AF_INET else (*address[:2], 0, *address[3:]))
            elif family == socket.AF_INET and self._family == socket.AF_INET6:
                addresses.append((f"::ffff:{address[0]}", address[1], 0, 0))
        if not addresses:
            raise Unreachable(f"{parsed.host} has no address that this endpoint can reach")
        if len(self._known) >= _KNOWN:
            del self._known[next(iter(self._known))]
        self._known[authority] = (_ALWAYS if flags else self._loop.time() + _KNOWN_FOR, addresses)
        return min(addresses, key=self._rank)

    def _rank(self, address: SocketAddress) -> float:
        """Zero in the system's order; for an address that refused lately, the later the worse."""
        refused_at = self._refused_at.get(address)
        return 0.0 if refused_at is None or self._loop.time() - refused_at > _AVOIDANCE else 1.0 + refused_at


def host_text(address: SocketAddress) -> str:
    """The host of a socket address; a mapped IPv4 address as IPv4, a link-local one with its zone."""
    host: str = address[0]
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host


def hostinfo(address: SocketAddress, default_port: int) -> str:
    """``host`` or ``host:port`` as in a URI."""
    host = host_text(address)
    if ":" in host:
        host = f"[{host.replace('%', '%25')}]"
    return host if address[1] == default_port else f"{host}:{address[1]}"
