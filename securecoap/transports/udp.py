"""CoAP over UDP without security (RFC 7252 section 3 and 4.1): addresses and datagrams.

One interface is one bound socket. It resolves names, interns an address per peer, and hands decoded messages up; all
reliability is the message layer's.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from securecoap.config import Limits
from securecoap.errors import FormatError
from securecoap.interfaces import EndpointAddress
from securecoap.transports.datagram import DatagramSocket, SocketAddress, open_socket
from securecoap.transports.resolver import Resolver, host_text, hostinfo
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import asyncio
    import socket

    from securecoap.interfaces import MessageDispatcher

__all__ = ["UdpAddress", "UdpInterface", "make_address", "packed_host"]

_KNOWN_PEERS: Final = 4096
_KNOWN_LOCALS: Final = 4096
_PKTINFO6_LENGTH: Final = 20
_decode: Final = Message.decode  # bound once, as each datagram needs it
_MULTICAST_BEGINS: Final = "2fF:"  # of a literal that may be a multicast address; most are told by this


class UdpAddress(EndpointAddress):
    """A peer of one `UdpInterface`; equal to another by interface and socket address (the design, section 5).

    Attributes:
        interface: the bound endpoint.
        peer: the peer's socket address.
        local: packed packet information with our address that was asked, or ``None``.
    """

    __slots__ = (
        "_hash", "budget", "confirmed", "dedup_offset", "grants", "interface", "is_multicast", "is_multicast_locally",
        "local", "local_host", "local_port", "peer",
    )  # fmt: skip

    interface: UdpInterface
    peer: SocketAddress
    local: bytes | None
    local_host: str
    local_port: int
    budget: float
    _hash: int

    def received(self) -> None:
        """See `EndpointAddress.received`: what went there for nothing is forgotten, no more."""
        self.budget = max(self.budget, self.interface.allowance)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            type(other) is UdpAddress and self.interface is other.interface and self.peer == other.peer
        )

    def __hash__(self) -> int:
        return self._hash

    @property
    def hostinfo(self) -> str:
        """``host`` or ``host:port``."""
        return hostinfo(self.peer, 5683)

    def __repr__(self) -> str:
        return f"<UdpAddress {self.hostinfo}>"


_new: Final = UdpAddress.__new__


def make_address(interface: UdpInterface, peer: SocketAddress, local: bytes | None, dedup_offset: int) -> UdpAddress:
    """An address that is not interned; as a function it takes half the time of a class's call."""
    address = _new(UdpAddress)
    address.interface = interface
    address.peer = peer
    address.local = local
    address.local_host = interface.local_host
    address.local_port = interface.address[1]
    address.is_multicast_locally = interface.is_multicast
    if local is not None:
        address.local_host, to_group = _asked(local)
        if to_group:  # its address is no source to answer from (RFC 7252 section 8.2.1): the system chooses one
            address.local = None
            address.is_multicast_locally = True
    address.dedup_offset = dedup_offset
    address.confirmed = False
    address.budget = interface.allowance
    address.grants = None
    address.is_multicast = peer[0][0] in _MULTICAST_BEGINS and _is_multicast(peer[0])
    address._hash = hash(peer)  # noqa: SLF001  # it is made here only
    return address


class UdpInterface:
    """One bound UDP socket as a `MessageInterface`.

    Args:
        host, port, inherited: where to bind; see `open_socket`.
        above: takes what comes in.
        loop: reads the socket.
        packet_info: whether a wildcard bind answers from the address that was asked; a client need not know.
        limits: uses ``amplification_factor`` and ``amplification_allowance``.

    Attributes:
        address: the socket address really bound.
        local_host: its host, as a literal.
        allowance: bytes that a stranger may be sent before anything came from there.
        is_multicast: whether the bind is to a multicast group.

    Raises:
        Unreachable: the address cannot be bound.
    """

    scheme: Final = "coap"

    def __init__(
        self,
        host: str,
        port: int,
        above: MessageDispatcher,
        loop: asyncio.AbstractEventLoop,
        *,
        packet_info: bool = True,
        limits: Limits | None = None,
        inherited: socket.socket | None = None,
    ) -> None:
        limits = limits or Limits()
        self.allowance = limits.amplification_allowance
        self._factor = limits.amplification_factor
        self.is_multicast = ip_address(host.partition("%")[0]).is_multicast
        self._above = above
        self._loop = loop
        self._socket = DatagramSocket(
            open_socket(host, port, inherited),
            loop,
            self._received,
            self._failed,
            packet_info=packet_info,
            bursts=not packet_info,
        )
        self.address = self._socket.address
        self.local_host = host_text(self.address)
        self._resolver = Resolver(loop, self._socket.family, self.scheme)
        # Two generations, so that strangers cannot make it grow; an address made again equals the earlier one.
        self._known: dict[SocketAddress | tuple[SocketAddress, bytes], UdpAddress] = {}
        self._earlier: dict[SocketAddress | tuple[SocketAddress, bytes], UdpAddress] = {}
        self._locals: dict[bytes, int] = {}
        self._next_offset = 0

    @property
    def endpoint(self) -> str:
        """The URI of what is really bound."""
        return f"coap://{hostinfo(self.address, 0)}"

    def _received(self, data: bytes, peer: SocketAddress, local: bytes | None) -> None:
        remote = self._known.get(peer if local is None else (peer, local)) or self._new_address(peer, local)
        if not remote.confirmed:
            remote.budget += self._factor * len(data)
        try:
            message = _decode(data, remote)
        except FormatError:
            self._above.dispatch_malformed(data, remote)
            return
        self._above.dispatch_message(message)

    def _address(self, peer: SocketAddress, local: bytes | None = None) -> UdpAddress:
        return self._known.get(peer if local is None else (peer, local)) or self._new_address(peer, local)

    def _new_address(self, peer: SocketAddress, local: bytes | None) -> UdpAddress:
        """The address of a peer that is not among those known last."""
        key = peer if local is None else (peer, local)
        remote = self._earlier.get(key) if self._earlier else None
        if remote is None:
            remote = make_address(self, peer, local, 0 if local is None else self._dedup_offset(local))
        if len(self._known) >= _KNOWN_PEERS:
            self._earlier, self._known = self._known, {}
        self._known[key] = remote
        return remote

    def _dedup_offset(self, local: bytes) -> int:
        """A number for a local address, never given to another; a machine may have a whole network of them."""
        offset = self._locals.get(local)
        if offset is None:
            if len(self._locals) >= _KNOWN_LOCALS:
                self._locals.clear()
            offset = self._locals[local] = self._next_offset
            self._next_offset += 1 << 16
        return offset

    def _failed(self, error: Exception, peer: SocketAddress, datagram: bytes) -> None:
        self._resolver.refused(peer)
        self._above.dispatch_quoted_error(error, self._address(peer), datagram)

    def send(self, message: Message) -> None:
        """See `MessageInterface.send`."""
        remote = message.remote
        datagram = message.datagram or message.encode()
        if not remote.confirmed:
            remote.budget -= len(datagram)
        self._socket.send(datagram, remote.peer, remote.local)

    def send_datagram(self, datagram: bytes, remote: UdpAddress) -> None:
        """See `DirectInterface.send_datagram`."""
        if not remote.confirmed:
            remote.budget -= len(datagram)
        self._socket.send(datagram, remote.peer, remote.local)

    async def determine_remote(self, message: Message) -> EndpointAddress | None:
        """Resolve the message's destination; a remote of this interface is taken as it is."""
        remote = message.remote
        if remote is not None:
            return remote if type(remote) is UdpAddress and remote.interface is self else None
        if message.scheme not in {None, "coap"} or message.unresolved_remote is None or self.is_multicast:
            return None
        peer = await self._resolver.resolve(message.unresolved_remote)
        return self._address(peer)

    def recognize_remote(self, message: Message) -> EndpointAddress | None:
        """The address of a destination that needs no waiting; see `MessageInterface.recognize_remote`."""
        if message.remote is not None or message.scheme != "coap" or self.is_multicast:
            return None
        peer = self._resolver.known(message.unresolved_remote)
        return None if peer is None else self._known.get(peer) or self._new_address(peer, None)

    async def shutdown(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._known.clear()
        self._earlier.clear()


def _is_multicast(host: str) -> bool:
    """Whether a literal is a multicast address; made for each peer, so it parses no more than it has to."""
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    if ":" in host:
        return host[:2] in {"ff", "FF", "fF", "Ff"} and host.find(":") == 4
    return 224 <= int(host[: host.index(".")]) < 240


@lru_cache(maxsize=_KNOWN_LOCALS)
def _asked(local: bytes) -> tuple[str, bool]:
    """Which of our addresses was asked, and whether that is a group's; most peers ask the same few."""
    host = packed_host(local)
    return host, ip_address(host).is_multicast


def packed_host(local: bytes) -> str:
    """The address in a packet information structure: in6_pktinfo begins with it, in_pktinfo ends with it."""
    if len(local) != _PKTINFO6_LENGTH:
        return str(IPv4Address(local[8:12]))
    address = IPv6Address(local[:16])
    return str(address.ipv4_mapped or address)
