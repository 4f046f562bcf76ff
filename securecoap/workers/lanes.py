"""What workers tell each other without the parent: datagrams that came to the wrong one, and changes to be announced.

Each worker reads one lane, to which all others write: a datagram socket, so that several writers do not get in each
other's way and a reader that is stuck holds up nobody. A full lane loses what was handed over, as the network might; an
announcement waits, and is sent again. What waits is bounded by the resources of the site. Knows no CoAP.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

    from securecoap.transports.datagram import Received, SocketAddress

__all__ = ["Lanes"]

_HEAD: Final = struct.Struct("!BBBHIIBB")
"""Kind, bind, parts of the address, port, flow, scope, length of the host, and of the local address and one more."""
_HANDED_OVER: Final = 1
_ANNOUNCED: Final = b"\x02"
_LARGEST: Final = 4096
_BATCH: Final = 64
_AGAIN: Final = 0.02
"""Seconds after which an announcement is sent again."""


class Lanes:
    """One worker's lane, and its ways to the others.

    Args:
        number: of this worker.
        own: where it reads.
        others: where each worker is reached, by its number.

    Attributes:
        takers: what takes datagrams that were handed over, by the number of the bind.
    """

    def __init__(self, number: int, own: socket.socket, others: Sequence[socket.socket]) -> None:
        self._number = number
        self._own = own
        self._others = others
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announced: Callable[[str], None] = lambda _: None
        self._waiting: list[dict[bytes, None]] = [{} for _ in others]
        self._timer: asyncio.TimerHandle | None = None
        self.takers: dict[int, Received] = {}
        for sock in (own, *others):
            sock.setblocking(False)

    def open(self, loop: asyncio.AbstractEventLoop, announced: Callable[[str], None]) -> None:
        """Begin to read.

        Args:
            loop: reads.
            announced: called with what another one has announced.
        """
        self._loop = loop
        self._announced = announced
        loop.add_reader(self._own.fileno(), self._read)

    def hand_over(self, worker: int, bind: int, data: bytes, peer: SocketAddress, local: bytes | None) -> bool:
        """Give a datagram to the worker whose it is; false if there is no such worker or it is this one."""
        if worker == self._number or worker >= len(self._others):
            return False
        host = peer[0].encode()
        flow, scope = (peer[2], peer[3]) if len(peer) == 4 else (0, 0)
        length = 0 if local is None else len(local) + 1
        head = _HEAD.pack(_HANDED_OVER, bind, len(peer), peer[1], flow, scope, len(host), length)
        with suppress(OSError):  # lost, as on any network
            self._others[worker].send(b"".join((head, host, local or b"", data)))
        return True

    def announce(self, what: str) -> None:
        """Tell all others, soon; the same once more before that is one announcement."""
        frame = _ANNOUNCED + what.encode()
        for worker, waiting in enumerate(self._waiting):
            if worker != self._number:
                waiting[frame] = None
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(0, self._flush)

    def _flush(self) -> None:
        self._timer = None
        for sock, waiting in zip(self._others, self._waiting, strict=True):
            try:
                while waiting:
                    frame = next(iter(waiting))
                    sock.send(frame)
                    del waiting[frame]
            except OSError:  # its lane is full
                continue
        if any(self._waiting) and self._loop is not None:
            self._timer = self._loop.call_later(_AGAIN, self._flush)

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                frame = self._own.recv(_LARGEST)
            except OSError:
                return
            if frame[:1] == _ANNOUNCED:
                self._announced(frame[1:].decode())
            else:
                self._take(frame)

    def _take(self, frame: bytes) -> None:
        _, bind, parts, port, flow, scope, host_length, local_length = _HEAD.unpack_from(frame)
        start = _HEAD.size + host_length
        host = frame[_HEAD.size : start].decode()
        peer = (host, port, flow, scope) if parts == 4 else (host, port)
        end = start + max(0, local_length - 1)
        local = frame[start:end] if local_length else None
        taker = self.takers.get(bind)
        if taker is not None:
            taker(frame[end:], peer, local)

    def close(self) -> None:
        """Read nothing any more."""
        if self._loop is not None:
            self._loop.remove_reader(self._own.fileno())
        if self._timer is not None:
            self._timer.cancel()
        for sock in (self._own, *self._others):
            sock.close()
