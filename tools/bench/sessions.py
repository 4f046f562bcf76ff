"""Idle DTLS sessions with a server, as many devices have them: each from a port of its own, with one request.

Our own client engine makes them; nothing of it stays, and no server is told that a session ends.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from bench.servers import IDENTITY, KEY, start_server
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.parameters import DtlsParameters, PskCredential

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

__all__ = ["measure_sessions", "open_sessions"]

_REQUEST = bytes.fromhex("4401000161626364") + b"\xb5hello"  # CON GET /hello
_PATIENCE = 5.0


class _Device:
    """One session; a `DtlsEvents`."""

    def __init__(self, host: str, port: int, local_port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, local_port))
        self._socket.connect((host, port))
        self._socket.settimeout(_PATIENCE)
        self.answered = False
        self._engine = Endpoint(
            self, random=os.urandom, now=time.monotonic(), parameters=DtlsParameters(resumption=False)
        )
        self._engine.connect("server", PskCredential(IDENTITY.encode(), KEY.encode()), time.monotonic())

    def run(self) -> None:
        while not self.answered:
            self._engine.receive(self._socket.recv(2048), "server", time.monotonic())
        self._socket.close()

    def transmit(self, datagram: bytes, _peer: Any) -> None:
        self._socket.send(datagram)

    def application_data(self, _session: Any, data: bytes) -> None:
        self.answered = data.endswith(b"hello")

    def session_established(self, session: Any) -> None:
        self._socket.send(session.seal_application(_REQUEST))

    def session_moved(self, _session: Any, _previous: Any) -> None:
        """Servers do not move here."""

    def session_ended(self, _session: Any, reason: Any) -> None:
        raise SystemExit(f"a session has ended: {reason.value}")

    def handshake_failed(self, _peer: Any, _role: Any, error: Exception) -> None:
        raise SystemExit(str(error))

    def record_dropped(self, _peer: Any, cause: str) -> None:
        raise SystemExit(f"a record was dropped: {cause}")


def open_sessions(host: str, port: int, first_local_port: int, count: int) -> None:
    """Leave ``count`` sessions behind, each after one request."""
    for local_port in range(first_local_port, first_local_port + count):
        _Device(host, port, local_port).run()


def measure_sessions(options: argparse.Namespace, directory: Path) -> dict[str, float]:
    """What a server holds for an idle DTLS session, after one request: growth of resident memory over 2,000 of them."""
    core = min(os.sched_getaffinity(0))
    retained = {}
    for name in options.servers.split(","):
        server = start_server(name, "dtls", directory, core)
        if server is None:
            continue
        try:
            open_sessions("127.0.0.1", server.port, 20_000, 500)
            before = server.program.resident_bytes()
            open_sessions("127.0.0.1", server.port, 21_000, 2_000)
            retained[name] = (server.program.resident_bytes() - before) / 2_000
            print(f"  {name:<12}{retained[name]:8.0f} bytes retained per idle session, after one request")
        finally:
            server.program.stop()
    return retained
