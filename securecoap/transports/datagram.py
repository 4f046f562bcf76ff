"""One UDP socket on an event loop, for the plain and the DTLS interface alike.

It reads with ``add_reader`` and drains the socket in bounded batches (``create_datagram_endpoint`` asks for a 256 KiB
buffer per datagram). On a wildcard bind the packet information (RFC 3542, RFC 7252 section 8.2.1) tells which address
was asked, and the answer leaves from there. ICMP errors come from the socket's error queue with the datagram they
quote. On systems without these the socket works without them. Nothing here knows CoAP.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import ip_address
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from securecoap.errors import Unreachable
from securecoap.transports.runs import Runs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["DatagramSocket", "Received", "SocketAddress", "is_wildcard", "open_socket"]

SocketAddress: TypeAlias = tuple[Any, ...]
"""As Python's socket module has it: ``(host, port)`` or ``(host, port, flow, scope)``."""
Received: TypeAlias = "Callable[[bytes, SocketAddress, bytes | None], object]"
"""What takes datagrams: their bytes, their source, and the packed local address, if it is known."""

_LARGEST: Final = 2048
"""What is read at once. A datagram of this length may have been cut, and a message that was cut is another one: it is
dropped (RFC 7252 section 4.6: none of ours comes near)."""
_BATCH: Final = 64
"""Datagrams at most that are read before the loop gets its turn, and that are collected to be sent."""
_OFTEN_ALONE: Final = 8
"""Turns in which one datagram is read before a second one is looked for."""
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024
_ANCILLARY: Final = 256

_IP: Final[int] = socket.IPPROTO_IP
_IPV6: Final[int] = socket.IPPROTO_IPV6
_LINUX: Final = sys.platform == "linux"
# Values of Linux; the socket module lacks names for some of them.
_IP_PKTINFO: Final = 8
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_MSG_ERRQUEUE: Final = 0x2000
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_PKTINFO6: Final = struct.Struct("=16sI")
_kind: Final = itemgetter(1)


def is_wildcard(host: str) -> bool:
    """Whether a bind to this literal takes every local address."""
    return ip_address(host.partition("%")[0]).is_unspecified


def open_socket(host: str, port: int, inherited: socket.socket | None = None) -> socket.socket:
    """A bound, non-blocking UDP socket; ``::`` takes IPv4 too, a multicast address joins the group.

    Args:
        host: an address literal, with a zone where it needs one.
        port: 0 for any.
        inherited: one that somebody else has bound to this address, and that is made ready only.

    Raises:
        Unreachable: the address cannot be bound.
    """
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)[
            0
        ]
    except OSError as error:
        raise Unreachable(error.errno, f"{host} is no address of this machine") from error
    family, address = info[0], info[4]
    literal = ip_address(host.partition("%")[0])
    sock = inherited or socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6 and inherited is None:
            # Debian's default, and what people mean by [::]; other systems default otherwise.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if literal.is_unspecified else 1)
        if literal.is_multicast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if inherited is None:
            sock.bind(address)
        if literal.is_multicast:
            _join(sock, family, address)
        if literal.is_unspecified:
            _ask_for_packet_info(sock, family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    except OSError as error:
        sock.close()
        raise Unreachable(error.errno, f"{host} port {port} cannot be bound: {error.strerror}") from error
    return sock


def _join(sock: socket.socket, family: int, address: SocketAddress) -> None:
    if family == socket.AF_INET6:
        group = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", address[3]))
    else:
        group = socket.inet_aton(address[0])
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + struct.pack("@I", socket.INADDR_ANY))


def _ask_for_packet_info(sock: socket.socket, family: int) -> None:
    if family == socket.AF_INET6 and hasattr(socket, "IPV6_RECVPKTINFO"):
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif family == socket.AF_INET and _LINUX:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


class DatagramSocket:
    """A bound socket whose datagrams go to a callback.

    Args:
        sock: from `open_socket`.
        loop: reads it until `close`.
        received: called with each datagram, its source, and the packed local address it was sent to (``None`` unless
            the bind is a wildcard and the system tells).
        packet_info: whether a wildcard bind has to know local addresses; a client need not.
        failed: called with an error, the peer it is about, and the datagram of ours that it quotes (or its beginning).
        bursts: whether what is sent goes out together after several datagrams came together. So for a client: answers
            wake those that ask next, and a server that has nothing to do is woken once and not by each of them (to
            wake another processor takes longer than to send). A lone answer delays nothing.
        errors: whether the network's errors are wanted; otherwise only from `report_errors` on, as each is a wake-up
            and peers that have gone cause them.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        received: Received,
        failed: Callable[[Exception, SocketAddress, bytes], object],
        *,
        packet_info: bool = True,
        bursts: bool = False,
        errors: bool = True,
    ) -> None:
        self.family = sock.family
        self.address: SocketAddress = sock.getsockname()
        self._sock = sock
        self._loop = loop
        self._received = received
        self._failed = failed
        self._closed = False
        # As many as were there at a time: to find that there is no more costs a call and an exception, and the loop
        # comes back for what is left. So where datagrams come one by one, a second one is not looked for each time.
        self._batch = 1
        self._alone = 0
        self._bursts = bursts
        self._burst: list[tuple[bytes, tuple[int, SocketAddress, bytes | None]]] | None = None
        self._runs = Runs(sock)
        self._reports_errors = False
        if errors:
            self.report_errors()
        wildcard = packet_info and is_wildcard(self.address[0]) and hasattr(sock, "recvmsg")
        loop.add_reader(sock.fileno(), self._read_messages if wildcard else self._read)

    def report_errors(self) -> None:
        """Have ``failed`` told what the network says of datagrams that are sent from now on."""
        if _LINUX and not self._reports_errors:
            self._reports_errors = True
            self._sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            if self.family == socket.AF_INET6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)

    def _read(self) -> None:
        receive = self._sock.recvfrom
        received = self._received
        for count in range(self._batch):
            try:
                data, source = receive(_LARGEST)
            except OSError as error:
                self._nothing_read(error, count)
                return
            if len(data) == _LARGEST:
                continue
            received(data, source, None)
            if self._closed:
                return
        self._batch_read()

    def _read_messages(self) -> None:
        receive = self._sock.recvmsg
        received = self._received
        for count in range(self._batch):
            try:
                data, ancillary, _, source = receive(_LARGEST, _ANCILLARY)
            except OSError as error:
                self._nothing_read(error, count)
                return
            if len(data) == _LARGEST:
                continue
            local = None
            for level, kind, value in ancillary:
                if (level == _IPV6 and kind == socket.IPV6_PKTINFO) or (level == _IP and kind == _IP_PKTINFO):
                    local = value
            received(data, source, local)
            if self._closed:
                return
        self._batch_read()

    def _batch_read(self) -> None:
        if self._batch > 1:
            self._begin_burst()
        if self._batch > 1 or self._alone >= _OFTEN_ALONE:
            self._batch = min(2 * self._batch, _BATCH)
        else:
            self._alone += 1

    def _nothing_read(self, error: OSError, count: int) -> None:
        if count > 1:
            self._begin_burst()
        self._batch = max(count, 1)
        self._alone = 0
        # The loop woke us and there is no datagram: then there is an error in the queue, and it has to be taken out.
        if count == 0 or not isinstance(error, BlockingIOError):
            self._read_errors()

    def _read_errors(self) -> None:
        if not self._reports_errors or self._closed:
            return
        for _ in range(_BATCH):
            try:
                quoted, ancillary, _, peer = self._sock.recvmsg(_LARGEST, _ANCILLARY, _MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, value in ancillary:
                if (level, kind) in {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}:
                    number = _EXTENDED_ERROR.unpack_from(value)[0]
                    error = Unreachable(number, "the network reports that the peer is unreachable")
                    for datagram in self._runs.meant(quoted, peer):
                        self._failed(error, peer, datagram)

    def _begin_burst(self) -> None:
        """Collect what those send that wait for what has just been read; they have their turn before `_end_burst`."""
        if self._bursts and self._burst is None and not self._closed:
            self._burst = []
            self._loop.call_soon(self._end_burst)

    def _end_burst(self) -> None:
        """Send what was collected, in its order."""
        burst, self._burst = self._burst, None
        for (size, peer, local), alike in groupby(burst or (), _kind):
            left = [data for data, _ in alike]
            if local is None and not self._closed:
                left = self._runs.send(left, size, peer)
            for data in left:
                if self._closed:
                    return
                self.send(data, peer, local)

    def send(self, data: bytes, peer: SocketAddress, local: bytes | None = None) -> None:
        """Send a datagram, from the local address of a packet that came in if one is given.

        It goes out in this turn of the loop, whatever becomes of its request in the same turn. A full buffer loses the
        datagram, as the network may; other errors go to ``failed``.
        """
        burst = self._burst
        if burst is not None:
            burst.append((data, (len(data), peer, local)))
            if len(burst) == _BATCH:
                self._end_burst()
            return
        try:
            if local is None:
                self._sock.sendto(data, peer)
            else:
                self._send_from(local, data, peer)
        except BlockingIOError:
            pass
        except OSError:
            # The system may report an earlier datagram's error here; it tells which one in the queue.
            self._read_errors()
            self._send_again(data, peer, local)

    def _send_from(self, local: bytes, data: bytes, peer: SocketAddress) -> None:
        if len(local) == _PKTINFO6.size:
            self._sock.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local)], 0, peer)
        else:
            # struct in_pktinfo has an interface index, the source to use, and the destination, which is the only one
            # that a received packet sets for us.
            self._sock.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + local[8:12] + bytes(4))], 0, peer)

    def _send_again(self, data: bytes, peer: SocketAddress, local: bytes | None) -> None:
        try:
            if local is None:
                self._sock.sendto(data, peer)
            else:
                self._send_from(local, data, peer)
        except BlockingIOError:
            pass
        except OSError as error:
            reason = Unreachable(error.errno, f"the datagram cannot be sent: {error.strerror}")
            self._loop.call_soon(self._failed, reason, peer, data)

    def close(self) -> None:
        """Send what was handed over, stop reading, and close."""
        if not self._closed:
            self._end_burst()
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
