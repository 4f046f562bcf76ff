"""Datagrams of one length to one peer, handed to the system at once (UDP_SEGMENT, Linux from 4.18 on).

The system takes such a run through routing, filters and queues as one packet and cuts it where it leaves, so what is
seen on the network is the same. (A capture on the sender's own machine shows the run.) Most of what a small datagram
costs its sender is that way. Nothing here knows CoAP.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from securecoap.transports.datagram import SocketAddress

__all__ = ["Runs"]

_UDP_SEGMENT: Final = 103  # of Linux; the socket module has no name for it
_LENGTH: Final = struct.Struct("=H")
_LARGEST: Final = 65_000
"""Bytes of a run: one IP packet has to hold it."""


class Runs:
    """Sends runs over one socket.

    Args:
        sock: that is asked whether it can. (A system that does not know of it would send a run as one datagram.)
    """

    __slots__ = ("_are_taken", "_last", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._last: tuple[list[bytes], SocketAddress] | None = None
        self._are_taken = False
        if sys.platform == "linux":
            try:
                sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
            except OSError:
                return
            self._are_taken = True

    def send(self, datagrams: list[bytes], size: int, peer: SocketAddress) -> list[bytes]:
        """Send datagrams of ``size`` bytes each. Returns those that are to be sent one by one after that.

        These are all of them where there is nothing to be gained, and what is left where the system refuses: a datagram
        is to fit the network uncut, all of a run the buffer, and an error of an earlier datagram may be reported here.
        """
        if len(datagrams) < 2 or not self._are_taken or not 0 < size <= _LARGEST // 2:
            return datagrams
        most = _LARGEST // size
        for start in range(0, len(datagrams), most):
            run = datagrams[start : start + most]
            try:
                self._sock.sendmsg(run, [(socket.IPPROTO_UDP, _UDP_SEGMENT, _LENGTH.pack(size))], 0, peer)
            except OSError as error:
                if error.errno == errno.EIO:  # what the way leads through cannot have its checksums made late
                    self._are_taken = False
                return datagrams[start:]
            self._last = run, peer
        return []

    def meant(self, quoted: bytes, peer: SocketAddress) -> list[bytes]:
        """The datagrams that an error of the network is about; it quotes one, or its beginning.

        On its way to the same machine a run is not cut before somebody takes it. If nobody does, all of it comes back.
        """
        if self._last is not None:
            run, receiver = self._last
            if len(quoted) > len(run[0]) and receiver == peer and b"".join(run).startswith(quoted):
                return run
        return [quoted]
