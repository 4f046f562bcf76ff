"""One DTLS endpoint of ours on a loopback socket, driven from a test: records and handshakes without any CoAP."""

from __future__ import annotations

import os
import select
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from securecoap.dtls.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.processes import Program

    from securecoap.dtls.engine import EndReason
    from securecoap.dtls.identities import ClientCredential
    from securecoap.dtls.session import Role, Session
    from securecoap.errors import HandshakeFailed


class SocketPeer:
    """An endpoint on a loopback socket, driven from the test."""

    def __init__(self, **options: Any) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.data: list[bytes] = []
        self.established: list[Session] = []
        self.ended: list[EndReason] = []
        self.failed: list[HandshakeFailed] = []
        self.largest = 0
        self.endpoint = Endpoint(self, random=os.urandom, now=time.monotonic(), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transmit(self, datagram: bytes, peer: Any) -> None:
        self.largest = max(self.largest, len(datagram))
        self.socket.sendto(datagram, peer)

    def send(self, session: Session, data: bytes) -> None:
        self.transmit(session.seal_application(data), session.peer)

    def connect(self, port: int, credential: ClientCredential) -> Session:
        """Shake hands with a server; return the session, or fail with what was told."""
        self.endpoint.connect(("127.0.0.1", port), credential, time.monotonic())
        self.run_until(lambda: self.established or self.failed)
        assert not self.failed, self.failed
        return self.established[-1]

    def session_moved(self, session: Session, previous: Any) -> None:
        pass

    def application_data(self, session: Session, data: bytes) -> None:
        self.data.append(data)

    def session_established(self, session: Session) -> None:
        self.established.append(session)

    def session_ended(self, session: Session, reason: EndReason) -> None:
        self.ended.append(reason)

    def handshake_failed(self, peer: Any, role: Role, error: HandshakeFailed) -> None:
        self.failed.append(error)

    def record_dropped(self, peer: Any, cause: str) -> None:
        pass

    def run_until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            now = time.monotonic()
            assert now < end, f"nothing happened: {self.established} {self.failed}"
            wait = min(end - now, max(self.endpoint.next_timeout() - now, 0.0), 0.2)
            if select.select([self.socket], [], [], wait)[0]:
                try:
                    datagram, peer = self.socket.recvfrom(65536)
                except ConnectionError:
                    continue
                self.endpoint.receive(datagram, peer, time.monotonic())
            else:
                self.endpoint.handle_timeout(time.monotonic())

    def close(self) -> None:
        self.endpoint.shutdown()
        self.socket.close()


def installed(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (tools/test installs it)")
    return path


def typed(program: Program, text: bytes) -> None:
    stdin = program._process.stdin
    assert stdin is not None
    stdin.write(text)
    stdin.flush()
