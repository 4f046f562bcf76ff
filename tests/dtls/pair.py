"""Two endpoints in memory: virtual time, and a network that delays, drops, duplicates and reorders what it is told to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

from securecoap.dtls.alerts import Alert, encode_alert
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.engine import EndReason
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.records import ContentType, SequenceExhausted

if TYPE_CHECKING:
    from securecoap.dtls.session import Role, Session
    from securecoap.errors import HandshakeFailed

CLIENT = ("192.0.2.1", 50000)
SERVER = ("192.0.2.2", 5684)
KEY = b"secretPSK"
PLAIN = DtlsParameters(connection_ids=False, resumption=False)
"""Of an endpoint that is told nothing else: records show their content type, and handshakes are full."""
SENSOR = PskCredential(b"sensor-17", KEY, (":sensor-17", "reader"))


def keys(*credentials: PskCredential):
    table = {credential.identity: credential for credential in credentials}
    return table.get


def alert_record(session: Session, level: int, alert: Alert) -> bytes:
    return session.write.seal(ContentType.ALERT, encode_alert(level, alert))


class SendingEndpoint(Endpoint):
    """Sends application data as a transport does."""

    def send(self, session: Session, data: bytes) -> bool:
        if not session.alive:
            return False
        try:
            record = session.seal_application(data)
        except SequenceExhausted:
            self.close(session, EndReason.EXHAUSTED)
            return False
        self._transmit(record, session.peer)
        return True


@dataclass
class Recorder:
    """The events of one endpoint."""

    pair: Pair
    address: Any
    data: list[tuple[Session, bytes]] = field(default_factory=list)
    established: list[Session] = field(default_factory=list)
    ended: list[tuple[Session, EndReason]] = field(default_factory=list)
    moved: list[tuple[Session, Any]] = field(default_factory=list)
    failed: list[tuple[Any, Role, HandshakeFailed]] = field(default_factory=list)
    dropped: list[tuple[Any, str]] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def transmit(self, datagram: bytes, peer: Any) -> None:
        self.sent.append(datagram)
        self.pair.carry(self.address, peer, datagram)

    def application_data(self, session: Session, data: bytes) -> None:
        self.data.append((session, data))

    def session_established(self, session: Session) -> None:
        self.established.append(session)

    def session_ended(self, session: Session, reason: EndReason) -> None:
        self.ended.append((session, reason))

    def session_moved(self, session: Session, previous: Any) -> None:
        self.moved.append((session, previous))

    def handshake_failed(self, peer: Any, role: Role, error: HandshakeFailed) -> None:
        self.failed.append((peer, role, error))

    def record_dropped(self, peer: Any, cause: str) -> None:
        self.dropped.append((peer, cause))


class Pair:
    """A network with any number of endpoints, of which ``client`` and ``server`` are there from the start."""

    def __init__(self, *, seed: int = 0, loss: float = 0.0, duplication: float = 0.0, jitter: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.loss = loss
        self.duplication = duplication
        self.jitter = jitter
        self.latency = 0.01
        self.endpoints: dict[Any, SendingEndpoint] = {}
        self.recorders: dict[Any, Recorder] = {}
        self.lines: list[str] = []
        self.filter = lambda source, target, datagram: [datagram]
        self._queue: list[tuple[float, int, Any, Any, bytes]] = []
        self._count = count()

    def add(
        self, address: Any, parameters: DtlsParameters | None = None, lookup: Any = None, keys: Any = None
    ) -> tuple[SendingEndpoint, Recorder]:
        recorder = Recorder(self, address)
        endpoint = SendingEndpoint(
            recorder,
            random=self.rng.randbytes,
            now=self.now,
            parameters=parameters or PLAIN,
            lookup=lookup,
            keys=keys,
            key_log=self.lines.append,
        )
        self.endpoints[address] = endpoint
        self.recorders[address] = recorder
        return endpoint, recorder

    def carry(self, source: Any, target: Any, datagram: bytes) -> None:
        for kept in self.filter(source, target, datagram):
            for _ in range(2 if self.rng.random() < self.duplication else 1):
                if self.rng.random() >= self.loss:
                    delay = self.latency + self.rng.random() * self.jitter
                    heappush(self._queue, (self.now + delay, next(self._count), source, target, kept))

    def run(self, until: float | None = None) -> None:
        """Run until nothing is on the way and no handshake is open, or for ``until`` seconds."""
        end = None if until is None else self.now + until
        for _ in range(100_000):
            times = [self._queue[0][0]] if self._queue else []
            for endpoint in self.endpoints.values():
                if endpoint.handshake_count or end is not None:
                    due = endpoint.next_timeout()
                    times += [due] if due < inf else []
            if not times or (end is not None and min(times) > end):
                break
            self.now = max(self.now, min(times))
            if self._queue and self._queue[0][0] <= self.now:
                _, _, source, target, datagram = heappop(self._queue)
                if target in self.endpoints:
                    self.endpoints[target].receive(datagram, source, self.now)
            else:
                for endpoint in list(self.endpoints.values()):
                    endpoint.handle_timeout(self.now)
        else:
            raise AssertionError("the network does not come to rest")
        if end is not None:
            self.now = end


class Couple(Pair):
    """A client and a server that know each other."""

    def __init__(
        self,
        credential: Any = SENSOR,
        lookup: Any = None,
        client_parameters: DtlsParameters | None = None,
        server_parameters: DtlsParameters | None = None,
        server_keys: Any = None,
        **network: Any,
    ) -> None:
        super().__init__(**network)
        self.credential = credential
        self.client, self.client_events = self.add(CLIENT, client_parameters)
        self.server, self.server_events = self.add(
            SERVER, server_parameters, keys(SENSOR) if lookup is None else lookup, server_keys
        )

    def connect(self, until: float | None = None) -> None:
        self.client.connect(SERVER, self.credential, self.now)
        self.run(until)

    @property
    def client_session(self) -> Session:
        session = self.client.session(SERVER)
        assert session is not None
        return session

    @property
    def server_session(self) -> Session:
        session = self.server.session(CLIENT)
        assert session is not None
        return session
