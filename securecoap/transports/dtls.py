"""CoAP over DTLS (RFC 7252 section 9.1): one bound socket, a DTLS engine over it, and addresses that name a session.

The engine does no IO; this gives it datagrams, time and one timer, and turns its events into the contract of a
`MessageInterface`. Nothing here knows records or keys. A session and its epoch have one address object: what was known
of an earlier session of the same peer neither matches nor leaks into a later one (section 9.1.2).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from securecoap.clock import clock_of
from securecoap.config import Limits, TransportParameters
from securecoap.dtls.engine import EndReason
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.records import SequenceExhausted
from securecoap.dtls.session import Role
from securecoap.errors import CredentialsMissing, FormatError, HandshakeFailed, RequestFailed, SessionEnded
from securecoap.events import Events
from securecoap.transports.datagram import DatagramSocket, open_socket
from securecoap.transports.dtls_address import DEFAULT_PORT, DtlsAddress, address_of
from securecoap.transports.dtls_attempts import AddressedCredentials, Attempt
from securecoap.transports.dtls_credentials import ServerStore, engine_credential
from securecoap.transports.dtls_engines import open_engine
from securecoap.transports.dtls_renewal import is_gone, renew_sessions
from securecoap.transports.dtls_routes import UnprovenRoute
from securecoap.transports.dtls_saved import open_sessions, seal_sessions
from securecoap.transports.dtls_timer import EngineTimer
from securecoap.transports.dtls_watch import SessionWatch, expects_answer
from securecoap.transports.failure_log import FailureLog
from securecoap.transports.resolver import Resolver, hostinfo
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from securecoap.credentials import DtlsPsk
    from securecoap.credentials.dtls_peers import DtlsPeers
    from securecoap.credentials.models import DtlsCredential
    from securecoap.dtls.engine import DtlsEngine, DtlsSession
    from securecoap.dtls.parameters import KeyLog
    from securecoap.interfaces import EndpointAddress, MessageDispatcher
    from securecoap.transports.datagram import Received, SocketAddress

__all__ = ["DtlsInterface"]


class DtlsInterface:
    """One bound UDP socket with DTLS as a `MessageInterface`; client and server at once.

    A peer's socket address has one session at a time. A request with another credential for the same peer makes a new
    session, which ends the earlier one.

    Args:
        host, port, inherited: where to bind; see `open_socket`.
        above: takes what comes in.
        loop: reads the socket.
        select: the credential for a request of ours; may raise `CredentialsMissing`. ``None`` if there is none.
        find_psk: a server's credentials by identity, valid now, or an awaitable of one; ``None`` for a client that
            serves nobody.
        find_peers: a server's raw public keys and certificates, as they are now.
        identity_hint: a server's hint (RFC 4279 section 5.2), not sent unless there is one.
        limits: uses those that begin with ``dtls``.
        events: hears of peers that fail.
        parameters: how long a peer's silence makes a client doubt its session: two transmissions without an answer.
        engine: ``python`` or ``tinydtls``.
        key_log: takes lines in the NSS key log format; whoever reads them can decrypt everything.
        packet_info: whether a wildcard bind answers from the address that was asked; a client need not know.
        dtls: the engine's settings, in place of those that follow from ``identity_hint`` and ``limits``.
        share: stands in front of what takes datagrams, where several processes share the port.

    Attributes:
        address: the socket address really bound.
        sessions: iterates over those that live.

    Raises:
        Unreachable: the address cannot be bound.
        ConfigurationError: there is no such engine, or it cannot do what is asked of it.
    """

    scheme: Final = "coaps"

    def __init__(
        self,
        host: str,
        port: int,
        above: MessageDispatcher,
        loop: asyncio.AbstractEventLoop,
        *,
        select: Callable[[Message], DtlsCredential | None],
        find_psk: Callable[[bytes], DtlsPsk | Awaitable[DtlsPsk | None] | None] | None = None,
        find_peers: Callable[[], DtlsPeers | None] | None = None,
        identity_hint: bytes | None = None,
        limits: Limits | None = None,
        events: Events | None = None,
        parameters: TransportParameters | None = None,
        engine: str = "python",
        key_log: KeyLog | None = None,
        packet_info: bool = True,
        dtls: DtlsParameters | None = None,
        share: Callable[[Received], Received] | None = None,
        inherited: socket.socket | None = None,
    ) -> None:
        self._above = above
        self._loop = loop
        self._time = clock_of(loop)
        self._select = select
        self._limits = limits or Limits()
        self._store: ServerStore | None = None
        if find_psk is not None:
            self._store = ServerStore(loop, find_psk, find_peers or (lambda: None), self._store_answered)
        self._engine: DtlsEngine = open_engine(
            engine,
            self,
            now=loop.time(),
            parameters=dtls or DtlsParameters(identity_hint=identity_hint, limits=self._limits),
            lookup=None if self._store is None else self._store.look_up,
            keys=self._store,
            key_log=key_log,
        )
        self._receive = self._engine.receive
        self.sessions = self._engine.sessions
        timing = parameters or TransportParameters()
        self._ack_timeout = timing.ack_timeout
        self._watch = SessionWatch(loop, timing, self._ask, self._expire)
        self._attempts: dict[SocketAddress, Attempt] = {}
        self._addressed = AddressedCredentials()
        self._dialled: set[SocketAddress] = set()
        self._timer = EngineTimer(loop, self._engine)
        self._failures, self._closed = FailureLog(events or Events(loop.time), self._limits), False
        self.record_dropped = self._failures.record_dropped
        self._current: Callable[[Any], Any] | None = None  # nothing is gone before there was a reload
        sock = open_socket(host, port, inherited)
        received = self._received if share is None else share(self._received)
        self._socket = DatagramSocket(
            sock, loop, received, self._failed, packet_info=packet_info, bursts=not packet_info, errors=False
        )
        self.address: SocketAddress = self._socket.address
        self._resolver = Resolver(loop, self._socket.family, self.scheme)

    @property
    def endpoint(self) -> str:
        """The URI of what is really bound."""
        return f"coaps://{hostinfo(self.address, 0)}"

    # What comes in.

    def _received(self, data: bytes, peer: SocketAddress, local: bytes | None) -> None:
        # Without packet information a peer is its socket address; with it, a peer at each of our addresses.
        receive, time = self._receive, self._time
        if receive(data, peer if local is None or peer in self._dialled else (peer, local), time()):
            self._timer.arm()

    def application_data(self, session: DtlsSession, data: bytes) -> None:
        """See `DtlsEvents`."""
        remote: DtlsAddress = session.owner or address_of(session, self)
        remote.silent_since = 0.0
        if remote.unproven is not None and self._is_proof(remote, remote.unproven, data):
            return
        try:
            message = Message.decode(data, remote)
        except FormatError:
            self._above.dispatch_malformed(data, remote)
            return
        self._above.dispatch_message(message)

    def _failed(self, error: Exception, peer: SocketAddress, _datagram: bytes) -> None:
        """Nobody is there, says the network; about a session it may lie, and a handshake beside it asks the peer."""
        attempt = self._attempts.get(peer)
        if attempt is None:
            session = self._engine.session(peer)
            if not self._closed and session is not None and session.role is Role.CLIENT and session.owner.silent_since:
                self._watch.doubt(session.owner)
                self._connect(peer, session.source)
        elif not attempt.future.done():
            self._resolver.refused(peer)
            self._engine.cancel(peer)
            del self._attempts[peer]
            self._forget_route(peer)
            attempt.fail(error)

    # What goes out.

    def send(self, message: Message) -> None:
        """See `MessageInterface.send`. What is meant for a session that has ended is not sent.

        It may have ended while nothing was under way; an observation that is registered again is to learn of it.
        """
        remote = message.remote
        is_asked = remote.is_server and expects_answer(message)
        if self.send_datagram(message.datagram or message.encode(), remote):
            if is_asked and not remote.silent_since:
                self._watch.expect(remote)
        elif is_asked and not remote.session.alive:
            ended = SessionEnded("the DTLS session of this address has ended")
            self._loop.call_soon(self._above.dispatch_error, ended, remote)

    def send_datagram(self, datagram: bytes, remote: DtlsAddress) -> bool:
        """See `DirectInterface.send_datagram`. Returns whether the session could carry it."""
        session = remote.session
        if not session.alive:
            return False
        seal = session.seal_application
        try:
            record = seal(datagram)
        except SequenceExhausted:
            self._engine.close(session, EndReason.EXHAUSTED)
            return False
        except ValueError:
            error = RequestFailed("the message is longer than a DTLS record may be")
            self._loop.call_soon(self._above.dispatch_quoted_error, error, remote, datagram)
            return False
        if remote.unproven is None or remote.unproven.spend(record):
            self._socket.send(record, remote.peer, remote.local)
        return True

    def transmit(self, datagram: bytes, peer: Any) -> None:
        """See `DtlsEvents`."""
        if type(peer[0]) is tuple:
            self._socket.send(datagram, *peer)
        else:
            self._socket.send(datagram, peer)

    def renew_sessions(self, current: Callable[[Any], Any]) -> None:
        """After a reload: see `dtls_renewal.renew_sessions`. Handshakes under way are asked about at their end."""
        self._current = current
        renew_sessions(self._engine, self._watch, current)

    # Sessions.

    async def determine_remote(self, message: Message) -> EndpointAddress | None:
        """The address of a live session for the message's URI, after a handshake if there is none.

        Raises:
            CredentialsMissing: there is no credential for it.
            HandshakeFailed: the peer refused, or did not complete the handshake in time.
            SessionEnded: the remote that the message has is of a session that has ended.
            Unreachable: the name does not resolve, or the network says that nobody is there.
        """
        remote = message.remote
        if remote is not None:
            if type(remote) is not DtlsAddress or remote.interface is not self:
                return None
            if not remote.session.alive:
                raise SessionEnded("the DTLS session of this address has ended")
            return remote
        if message.scheme != "coaps" or message.unresolved_remote is None:
            return None
        selected = self._select(message)
        if selected is None:
            raise CredentialsMissing("coaps needs a dtls credential, and there is none for this request")
        credential = self._addressed.find(selected, message)
        peer = await self._resolver.resolve(message.unresolved_remote)
        while True:
            attempt = self._attempts.get(peer)
            if attempt is None:
                return self._live(peer, credential) or await self._wait(peer, self._connect(peer, credential))
            if attempt.credential.session_key == credential.session_key:
                return await self._wait(peer, attempt)
            await asyncio.wait([attempt.future])  # one session for each peer: another credential's turn comes later

    def recognize_remote(self, message: Message) -> DtlsAddress | None:
        """The address of a live session that can be used at once; see `MessageInterface.recognize_remote`."""
        if message.remote is not None or message.scheme != "coaps":
            return None
        selected = self._select(message)
        peer = self._resolver.known(message.unresolved_remote)
        if selected is None or peer is None or peer in self._attempts:
            return None
        return self._live(peer, self._addressed.find(selected, message))

    def _live(self, peer: SocketAddress, credential: DtlsCredential) -> DtlsAddress | None:
        session = self._engine.session(peer)
        if session is None or session.source.session_key != credential.session_key:
            return None
        owner = address_of(session, self)
        return None if self._watch.is_doubtful(owner) else owner

    def _connect(self, peer: SocketAddress, credential: DtlsCredential) -> Attempt:
        if self._closed:
            raise RequestFailed("the endpoint is closed")
        attempt = Attempt(credential, self._loop.create_future())
        self._attempts[peer] = attempt
        self._dialled.add(peer)
        self._socket.report_errors()
        self._engine.connect(peer, engine_credential(credential), self._time())
        self._timer.arm()
        return attempt

    async def _wait(self, peer: SocketAddress, attempt: Attempt) -> DtlsAddress:
        attempt.waiting += 1
        try:
            return await asyncio.shield(attempt.future)
        finally:
            attempt.waiting -= 1
            if not attempt.waiting and not attempt.future.done():
                self._engine.suspend(peer)
                del self._attempts[peer]
                self._forget_route(peer)
                attempt.future.cancel()

    def _forget_route(self, peer: SocketAddress) -> None:
        if peer not in self._attempts and self._engine.session(peer) is None:
            self._dialled.discard(peer)

    def _store_answered(self) -> None:
        self._timer.arm()

    def session_established(self, session: DtlsSession) -> None:
        """See `DtlsEvents`."""
        attempt = self._attempts.pop(address_of(session, self).peer, None) if session.role is Role.CLIENT else None
        if is_gone(session, self._current):
            self._engine.close(session, EndReason.REVOKED)
            if attempt is not None:
                attempt.fail(CredentialsMissing("its credential was removed or replaced"))
            return
        self._watch.watch_validity(session)
        if attempt is not None:
            attempt.succeed(address_of(session, self))

    def session_moved(self, session: DtlsSession, _previous: Any) -> None:
        """See `DtlsEvents`."""
        remote = address_of(session, self)
        remote.follow(session.peer)
        remote.unproven = UnprovenRoute(os.urandom(2), self._limits, self._ack_timeout)
        self._ping(remote, remote.unproven)

    def _ping(self, remote: DtlsAddress, route: UnprovenRoute) -> None:
        if (ping := route.ping(self._time(), remote)) is not None:
            self.send(ping)

    def _is_proof(self, remote: DtlsAddress, route: UnprovenRoute, data: bytes) -> bool:
        """Whether a message shows that the peer receives at its new address; then it is for nobody else."""
        if not route.is_proof(data):
            self._ping(remote, route)
            return False
        remote.unproven = None
        for record in route.held:
            self._socket.send(record, remote.peer, remote.local)
        return True

    def session_ended(self, session: DtlsSession, reason: EndReason) -> None:
        """See `DtlsEvents`."""
        remote, session.owner = session.owner, None  # otherwise the two would be a cycle, for the collector to find
        self._failures.session_ended(session, reason)
        if remote is not None:
            self._above.dispatch_error(SessionEnded(f"the DTLS session has ended: {reason.value}"), remote)
            if remote.is_server:
                self._forget_route(remote.peer)

    def handshake_failed(self, peer: Any, role: Role, error: HandshakeFailed) -> None:
        """See `DtlsEvents`."""
        if role is Role.CLIENT:
            attempt = self._attempts.pop(peer, None)
            self._forget_route(peer)
            if attempt is not None:
                attempt.fail(HandshakeFailed(f"coaps://{hostinfo(peer, DEFAULT_PORT)}: {error}", error.alert))
        else:
            self._failures.handshake_failed(peer, error)

    def _ask(self, remote: DtlsAddress) -> None:
        """A server that does not answer may have lost the session: ask it with a handshake beside the session.

        Only a handshake that is complete ends the session, and with it what waits there; nothing forged does.
        """
        if not self._closed and remote.peer not in self._attempts:
            self._connect(remote.peer, remote.session.source)

    def _expire(self, session: DtlsSession) -> None:
        """A credential that has expired ends its sessions, and what goes on in them (the design, section 6)."""
        self._engine.close(session, EndReason.EXPIRED)

    # Restart and end.

    async def restore(self, rows: Sequence[tuple[float, bytes]]) -> None:
        """Go on with sessions that `save` returned; they have been deleted durably."""
        await open_sessions(self._engine, rows, self._time)
        self._timer.arm()

    def save(self) -> list[bytes]:
        """End the sessions of clients that can go on after a restart; return what is to be written."""
        return [] if self._closed else seal_sessions(self._engine, self._time())

    async def shutdown(self) -> None:
        """Say goodbye in every session, end every handshake, and close the socket."""
        if self._closed:
            return
        self._closed = True
        attempts, self._attempts = self._attempts, {}
        self._engine.shutdown()
        for attempt in attempts.values():
            attempt.fail(RequestFailed("the endpoint was closed"))
        self._timer.close()
        if self._store is not None:
            self._store.close()
        self._watch.close()
        self._socket.close()
