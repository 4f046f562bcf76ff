"""A UDP relay on loopback that keeps every datagram: proof of what really was on the wire.

Its record can be written as a capture file, so that Wireshark's dissectors, not ours, say what the datagrams are.
"""

from __future__ import annotations

import selectors
import shutil
import socket
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Relay:
    """Forwards from a port of its own to ``port`` on 127.0.0.1 and back, for any number of clients."""

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.datagrams: list[tuple[bool, bytes]] = []
        """Each as (whether it went to the server, bytes), in order."""
        self._moves = 0
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join()

    def move(self) -> None:
        """From now on be at other ports for the server, as a translator that has forgotten; the old ones are dead."""
        self._moves += 1

    @property
    def everything(self) -> bytes:
        """All bytes that went either way."""
        return b"".join(data for _, data in self.datagrams)

    def dissect(self, directory: Path, *options: str) -> list[str]:
        """Have tshark dissect the record; ``options`` say what it prints, one line for each datagram."""
        tshark = shutil.which("tshark")
        if tshark is None:
            pytest.skip("tshark is not installed (tools/test installs it)")
        capture = directory / "relay.pcap"
        with capture.open("wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))  # raw IP
            for index, (inwards, data) in enumerate(self.datagrams):
                ports = (40000, self.port) if inwards else (self.port, 40000)
                udp = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
                ip = struct.pack(
                    "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), index & 0xFFFF, 0, 64, 17, 0, *[b"\x7f\0\0\1"] * 2
                )
                out.write(struct.pack("<IIII", index // 1000, index % 1000, len(ip + udp), len(ip + udp)) + ip + udp)
        command = [tshark, "-r", str(capture), *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.splitlines()

    def _forward(self) -> None:
        clients: dict[tuple[Any, int], socket.socket] = {}  # by client, and how often all have moved
        with selectors.DefaultSelector() as selector, self._front, self._woken:
            selector.register(self._front, selectors.EVENT_READ, None)
            selector.register(self._woken, selectors.EVENT_READ, "stop")
            while True:
                for key, _ in selector.select():
                    if key.data == "stop":
                        for back in clients.values():
                            back.close()
                        return
                    if key.data is None:
                        data, source = self._front.recvfrom(65536)
                        place = (source, self._moves)
                        if place not in clients:
                            back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                            back.connect(("127.0.0.1", self.server_port))
                            selector.register(back, selectors.EVENT_READ, place)
                            clients[place] = back
                        self.datagrams.append((True, data))
                        self._deliver(clients[place], data, None)
                    else:
                        self._return(clients[key.data], *key.data)

    def _return(self, back: socket.socket, client: tuple[str, int], moves: int) -> None:
        try:
            data = back.recv(65536)
        except ConnectionRefusedError:
            return  # the server is not there (yet, or any more), as on any network
        if moves == self._moves:
            self.datagrams.append((False, data))
            self._deliver(self._front, data, client)

    @staticmethod
    def _deliver(sock: socket.socket, data: bytes, address: tuple[str, int] | None) -> None:
        try:
            _ = sock.send(data) if address is None else sock.sendto(data, address)
        except ConnectionRefusedError:
            return
