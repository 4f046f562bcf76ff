"""A relay that does to one datagram what networks do: loses, doubles, delays it, or lets the next one overtake it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.interop.relay import Relay

if TYPE_CHECKING:
    import socket

__all__ = ["DEEDS", "RoughRelay"]

DEEDS = ("drop", "duplicate", "delay", "overtake")
DELAY = 1.3
"""Seconds: longer than the first timer of any peer here, so that what comes late comes beside a retransmission."""
PATIENCE = 0.2
"""How long a datagram waits to be overtaken, if nothing comes."""


class RoughRelay(Relay):
    """Forwards everything; with the datagram that is number ``which`` of both ways together it does ``deed``."""

    def __init__(self, port: int, deed: str, which: int) -> None:
        super().__init__(port)
        self._deed = deed
        self._which = which
        self._count = 0
        self._held: list[tuple[socket.socket, bytes, tuple[str, int] | None]] = []
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether there was such a datagram."""
        return self._count > self._which

    def _deliver(self, sock: socket.socket, data: bytes, address: tuple[str, int] | None) -> None:  # type: ignore[override]
        number, self._count = self._count, self._count + 1
        if number == self._which:
            if self._deed == "duplicate":
                self._send(sock, data, address)
                self._send(sock, data, address)
            elif self._deed == "delay":
                self._later(DELAY, sock, data, address)
            elif self._deed == "overtake":
                with self._lock:
                    self._held.append((sock, data, address))
                timer = threading.Timer(PATIENCE, self._release)
                timer.daemon = True
                timer.start()
            return
        self._send(sock, data, address)
        self._release()

    def _later(self, seconds: float, *what: object) -> None:
        timer = threading.Timer(seconds, self._send, what)
        timer.daemon = True
        timer.start()

    def _release(self) -> None:
        with self._lock:
            held, self._held = self._held, []
        for one in held:
            self._send(*one)

    @staticmethod
    def _send(sock: socket.socket, data: bytes, address: tuple[str, int] | None) -> None:
        try:
            Relay._deliver(sock, data, address)
        except OSError:
            return  # the test is over, and the socket closed
