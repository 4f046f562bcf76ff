"""Sockets on one port for several processes: a group that never changes (SO_REUSEPORT, socket(7)).

The system hashes both addresses of a datagram to choose a socket of the group. As the parent binds all of them and
keeps them open, the choice is the same for as long as it lives, whatever becomes of its workers: a peer's datagrams,
its retransmissions and duplicates among them, always come to the same one.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.wire.uri import ParsedUri

__all__ = ["bind_group", "discard_waiting"]

_LARGEST: Final = 2048
_MANY: Final = 100_000


def bind_group(bind: ParsedUri, count: int) -> list[socket.socket]:
    """So many sockets that share one port; port 0 of the bind takes any.

    Raises:
        Unreachable: the address cannot be bound, or somebody else has the port.
        ConfigurationError: the bind is to a group of hosts.
    """
    literal = ip_address(bind.host.partition("%")[0])
    if literal.is_multicast:
        raise ConfigurationError(f"{bind.scheme}://{bind.hostinfo}: each worker would answer a request to a group")
    info = socket.getaddrinfo(
        bind.host, bind.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
    )[0]
    family, address = info[0], info[4]
    sockets: list[socket.socket] = []
    try:
        # Without the option nobody may have the port already: a second server would silently get a part of the peers.
        with _open(family, literal.is_unspecified) as alone:
            alone.bind(address)
            address = (address[0], alone.getsockname()[1], *address[2:])
        for _ in range(count):
            sock = _open(family, literal.is_unspecified)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise Unreachable(error.errno, f"{bind.host} port {bind.port} cannot be bound: {error.strerror}") from error
    return sockets


def discard_waiting(sockets: Iterable[socket.socket]) -> None:
    """Drop what came while nobody read: it is too old to be obeyed, and its senders send again."""
    for sock in sockets:
        with suppress(OSError):
            for _ in range(_MANY):
                sock.recv(_LARGEST, socket.MSG_DONTWAIT)


def _open(family: int, is_unspecified: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_unspecified else 1)
    return sock
