"""A bad network between clients and a server, which shows a proof what either of them sends.

It loses, doubles and holds back datagrams, and as an attacker it sends old requests again under new Message IDs. One
thread, no event loop: `step` does what there is to do.
"""

from __future__ import annotations

import heapq
import os
import selectors
import socket
import sys
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from crash.proof import Proof

__all__ = ["Relay", "private_host"]

CLIENTS = 24
"""Source addresses that are remembered; killed clients come again from others."""
OLD = 4_000
"""Requests that the attacker keeps."""


def private_host(process: int | None = None) -> str:
    """A loopback address that nobody else's datagrams come to, made of a process ID: this process's.

    Ports are used again soon after whoever had them has gone, and then somebody may still send there. Where there is
    but one loopback address it is that.
    """
    if not sys.platform.startswith("linux"):
        return "127.0.0.1"
    number = (os.getpid() if process is None else process) & 0x3FFFFF  # 22 bits, which is the most that Linux gives
    return f"127.{64 + (number >> 16)}.{number >> 8 & 0xFF}.{number & 0xFF}"


class Relay:
    """See the module.

    Args:
        proof: is shown each datagram once.
        host: of the server, and of every socket here.
        server: the port of the server.
        chance: decides about every datagram.

    Attributes:
        port: where clients send to.
        passed, replayed: datagrams that came, and requests that were sent again.
    """

    def __init__(self, proof: Proof, host: str, server: int, chance: random.Random) -> None:
        self.passed = 0
        self.replayed = 0
        self._proof = proof
        self._host = host
        self._server = server
        self._chance = chance
        self._front = _bound(host)
        self.port: int = self._front.getsockname()[1]
        self._attacker = _bound(host, server)
        self._backs: OrderedDict[tuple[str, int], socket.socket] = OrderedDict()
        self._old: deque[bytes] = deque(maxlen=OLD)
        self._held: list[tuple[float, int, socket.socket, bytes, tuple[str, int] | None]] = []
        self._order = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._selector.register(self._attacker, selectors.EVENT_READ, ())

    def step(self, seconds: float) -> None:
        """Wait for datagrams, so long at most, and pass them on."""
        now = time.monotonic()
        if self._held:
            seconds = min(seconds, max(0.0, self._held[0][0] - now))
        for key, _ in self._selector.select(seconds):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            for _ in range(32):
                try:
                    data, source = sock.recvfrom(4096)
                except (BlockingIOError, ConnectionRefusedError):
                    break  # nothing more; or the server is being killed
                self.passed += 1
                if sock is self._front:
                    self._proof.see(data, to_server=True, source=source)
                    if data[1]:
                        self._old.append(data)
                    self._forward(self._back(source), data, None)
                else:
                    self._proof.see(data, to_server=False, source=source)
                    if key.data:
                        self._forward(self._front, data, key.data)
        while self._held and self._held[0][0] <= time.monotonic():
            _, _, sock, data, address = heapq.heappop(self._held)
            _send(sock, data, address)

    def replay(self) -> None:
        """Send an old request again, from elsewhere and as a new message: only the replay window can tell.

        Half of the time one of the last hundred, which a window that had missed something would take.
        """
        if self._old:
            newest = len(self._old) - 1
            oldest = self._chance.choice((0, max(0, newest - 100)))
            data = self._old[self._chance.randint(oldest, newest)]
            self.replayed += 1
            _send(self._attacker, data[:2] + self._chance.randbytes(2) + data[4:], None)

    def close(self) -> None:
        """Close every socket."""
        self._selector.close()
        for sock in (self._front, self._attacker, *self._backs.values()):
            sock.close()

    def _forward(self, sock: socket.socket, data: bytes, address: tuple[str, int] | None) -> None:
        fate = self._chance.random()
        if fate < 0.02:
            return
        if fate < 0.06:
            self._order += 1
            due = time.monotonic() + self._chance.random() * 0.3
            heapq.heappush(self._held, (due, self._order, sock, data, address))
            if fate < 0.04:
                return  # late; otherwise twice
        _send(sock, data, address)

    def _back(self, client: tuple[str, int]) -> socket.socket:
        back = self._backs.get(client)
        if back is None:
            back = self._backs[client] = _bound(self._host, self._server)
            self._selector.register(back, selectors.EVENT_READ, client)
            if len(self._backs) > CLIENTS:
                _, oldest = self._backs.popitem(last=False)
                self._selector.unregister(oldest)
                self._held = [entry for entry in self._held if entry[2] is not oldest]
                heapq.heapify(self._held)
                oldest.close()
        return back


def _bound(host: str, peer: int | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    if peer is not None:
        sock.connect((host, peer))
    return sock


def _send(sock: socket.socket, data: bytes, address: tuple[str, int] | None) -> None:
    try:
        _ = sock.send(data) if address is None else sock.sendto(data, address)
    except (BlockingIOError, ConnectionRefusedError):
        return  # full, or nobody there: lost, as on any network
