"""A DTLS server without its socket, and a client in memory that has sessions with it, for ``inprocess``.

Everything of the server is real but what its datagrams go through; the client is the engine alone. Requests are sealed
before the clock runs, and the sessions take turns. Knows no figures.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from bench.oscore import get
from bench.servers import CREDENTIALS, IDENTITY, KEY
from securecoap import Context
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.parameters import DtlsParameters, PskCredential

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap import Site
    from securecoap.dtls.session import Session

__all__ = ["DtlsServer"]

SESSIONS = 16


class _Client:
    """The events of a client's engine: sessions, and the payload of the latest answer."""

    def __init__(self) -> None:
        self.to_server: deque[tuple[bytes, Any]] = deque()
        self.sessions: list[Session] = []
        self.answer = b""
        self.engine = Endpoint(
            self, random=os.urandom, now=0.0, parameters=DtlsParameters(connection_ids=False, resumption=False)
        )

    def transmit(self, datagram: bytes, peer: Any) -> None:
        """Hand it to the server, soon."""
        self.to_server.append((datagram, peer))

    def application_data(self, _session: Session, data: bytes) -> None:
        """Take an answer."""
        self.answer = data

    def session_established(self, session: Session) -> None:
        """Take a session."""
        self.sessions.append(session)

    def session_moved(self, _session: Session, _previous: object) -> None:
        """Never: it has no connection ID."""

    def session_ended(self, _session: Session, reason: object) -> None:
        """Never, before the end."""
        raise SystemExit(f"a session has ended: {reason}")

    def handshake_failed(self, _peer: object, _role: object, error: Exception) -> None:
        """Never."""
        raise SystemExit(str(error))

    def record_dropped(self, _peer: object, cause: str) -> None:
        """Never."""
        raise SystemExit(f"an answer was dropped: {cause}")


class _Wire:
    """Stands in for the server's socket; keeps what was sent last."""

    def __init__(self) -> None:
        self.sent: deque[tuple[bytes, Any]] = deque(maxlen=16)  # of a load nobody reads the answers

    @property
    def last(self) -> bytes:
        """The latest datagram."""
        return self.sent[-1][0] if self.sent else b""

    def send(self, datagram: bytes, peer: object, _local: bytes | None = None) -> None:
        """See `DatagramSocket.send`."""
        self.sent.append((datagram, peer))

    def close(self) -> None:
        """See `DatagramSocket.close`."""


class DtlsServer:
    """A server, and requests for it.

    Args:
        site: its resources.
        state: a directory for it.

    Attributes:
        wire: where its datagrams end.
    """

    def __init__(self, site: Site, state: str) -> None:
        self._context = Context.server(site, bind=["coaps://127.0.0.1:0"], credentials=CREDENTIALS, state=state)
        self.wire = _Wire()
        self._client = _Client()
        self._receive: Callable[[bytes, Any, None], None]
        self._number = 0

    async def start(self) -> None:
        """Open it, take its socket away, shake hands, and look at an answer."""
        await self._context.start()
        interface: Any = self._context._stacks[0].manager.interface  # noqa: SLF001  # there is no other way in
        interface._socket.close()  # noqa: SLF001  # likewise
        interface._socket = self.wire  # noqa: SLF001  # likewise
        self._receive = interface._received  # noqa: SLF001  # likewise
        client = self._client
        for port in range(1, SESSIONS + 1):
            client.engine.connect(("192.0.2.1", port), PskCredential(IDENTITY.encode(), KEY.encode()), 0.0)
            self._converse()
        self.requests(1)()
        self._converse()
        if not client.answer.endswith(b"\xffhello"):
            raise SystemExit(f"the stack answers {client.answer!r}")

    def requests(self, count: int, _kind: str = "hello") -> Callable[[], None]:
        """A function that feeds this many new GETs of ``/hello``."""
        inner = get("hello")
        sessions = self._client.sessions
        prepared = []
        for number in range(self._number, self._number + count):
            session = sessions[number % SESSIONS]
            mark = (number // SESSIONS & 0xFFFF).to_bytes(2, "big") + number.to_bytes(4, "big")
            prepared.append((session.seal_application(b"\x44" + inner[:1] + mark + inner[1:]), session.peer))
        self._number += count
        receive = self._receive

        def run() -> None:
            for datagram, peer in prepared:
                receive(datagram, peer, None)

        return run

    async def close(self) -> None:
        """End all."""
        await self._context.shutdown()

    def _converse(self) -> None:
        """Carry what each side has to say until both are silent."""
        client = self._client
        while client.to_server or self.wire.sent:
            while client.to_server:
                self._receive(*client.to_server.popleft(), None)
            while self.wire.sent:
                client.engine.receive(*self.wire.sent.popleft(), 0.0)
