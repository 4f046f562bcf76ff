"""CoAP over DTLS (RFC 7252 section 9.1): one bound socket, a DTLS engine over it, and addresses that name a session.

The engine does no IO; this gives it datagrams, time and one timer, and turns its events into the contract of a
`MessageInterface`. Nothing here knows records or keys. A session and its epoch have one address object: what was known
of an earlier session of the same peer neither matches nor leaks into a later one (section 9.1.2).
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from time import time as wall_clock
from typing import TYPE_CHECKING, Any, Final

from securecoap.config import Limits, TransportParameters
from securecoap.core.deadlines import Deadlines
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.engine import EndReason
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.records import SequenceExhausted
from securecoap.dtls.session import Role
from securecoap.errors import (
    ConfigurationError,
    CredentialsMissing,
    FormatError,
    HandshakeFailed,
    RequestFailed,
    SessionEnded,
)
from securecoap.transports.datagram import DatagramSocket, open_socket
from securecoap.transports.dtls_address import DEFAULT_PORT, DtlsAddress
from securecoap.transports.dtls_credentials import ServerStore, authority_of, engine_credential
from securecoap.transports.resolver import Resolver, hostinfo
from securecoap.wire import numbers
from securecoap.wire.message import CON, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from securecoap.credentials import DtlsPsk
    from securecoap.credentials.dtls_peers import DtlsPeers
    from securecoap.credentials.models import DtlsCredential
    from securecoap.dtls.engine import DtlsEngine, DtlsSession
    from securecoap.dtls.parameters import KeyLog
    from securecoap.interfaces import EndpointAddress, MessageDispatcher, Timer
    from securecoap.transports.datagram import SocketAddress

__all__ = ["DtlsInterface"]

_NO_RESPONSE_BIT: Final = 1 << numbers.NO_RESPONSE
_LOG_INTERVAL: Final = 1.0
"""Seconds between two log records about peers that fail: strangers must not fill the log."""

_MAX_AUTHORITIES: Final = 1024
"""Authorities whose credentials are kept ready; beyond it all are forgotten."""

_EXPIRY_INTERVAL: Final = 60.0
"""Seconds between two looks at a credential that ends some day: clocks may be set."""

_log = logging.getLogger(__name__)


class _Attempt:
    """A handshake of ours, and how many wait for it."""

    __slots__ = ("credential", "future", "waiting")

    def __init__(self, credential: DtlsCredential, future: asyncio.Future[DtlsAddress]) -> None:
        self.credential = credential
        self.future = future
        self.waiting = 0


class DtlsInterface:
    """One bound UDP socket with DTLS as a `MessageInterface`; client and server at once.

    A peer's socket address has one session at a time. A request with another credential for the same peer makes a new
    session, which ends the earlier one.

    Args:
        host, port: where to bind; see `open_socket`.
        above: takes what comes in.
        loop: reads the socket.
        select: the credential for a request of ours; may raise `CredentialsMissing`. ``None`` if there is none.
        find_psk: a server's credentials by identity, valid now, or an awaitable of one; ``None`` for a client that
            serves nobody.
        find_peers: a server's raw public keys and certificates, as they are now.
        identity_hint: a server's hint (RFC 4279 section 5.2), not sent unless there is one.
        limits: uses those that begin with ``dtls``.
        parameters: how long a peer's silence makes a client doubt its session: two transmissions without an answer.
        engine: ``python``; others are not there yet.
        key_log: takes lines in the NSS key log format; whoever reads them can decrypt everything.
        packet_info: whether a wildcard bind answers from the address that was asked; a client need not know.
        dtls: the engine's settings, in place of those that follow from ``identity_hint`` and ``limits``.

    Attributes:
        address: the socket address really bound.

    Raises:
        Unreachable: the address cannot be bound.
        ConfigurationError: there is no such engine.
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
        parameters: TransportParameters | None = None,
        engine: str = "python",
        key_log: KeyLog | None = None,
        packet_info: bool = True,
        dtls: DtlsParameters | None = None,
    ) -> None:
        if engine != "python":
            raise ConfigurationError(f"the DTLS engine {engine!r} is not available in this version; use 'python'")
        self._above = above
        self._loop = loop
        self._time = loop.time
        self._select = select
        self._store: ServerStore | None = None
        if find_psk is not None:
            self._store = ServerStore(loop, find_psk, find_peers or (lambda: None), self._arm)
        self._engine: DtlsEngine = Endpoint(
            self,
            random=os.urandom,
            now=loop.time(),
            parameters=dtls or DtlsParameters(identity_hint=identity_hint, limits=limits or Limits()),
            lookup=None if self._store is None else self._store.look_up,
            keys=self._store,
            key_log=key_log,
        )
        self._receive = self._engine.receive
        timing = parameters or TransportParameters()
        self._patience = 2 * timing.ack_timeout * timing.ack_random_factor
        self._silences: Deadlines[DtlsAddress] = Deadlines(loop, self._listen)
        self._expiries: Deadlines[DtlsSession] = Deadlines(loop, self._expire)
        self._attempts: dict[SocketAddress, _Attempt] = {}
        self._for_authority: dict[tuple[DtlsCredential, str], DtlsCredential] = {}
        self._dialled: set[SocketAddress] = set()
        self._timer: Timer | None = None
        self._armed_for = 0.0
        self._unlogged = 0
        self._logs_at = 0.0
        self._closed = False
        self._socket = DatagramSocket(
            open_socket(host, port), loop, self._received, self._failed, packet_info=packet_info
        )
        self.address = self._socket.address
        self._resolver = Resolver(loop, self._socket.family)

    @property
    def endpoint(self) -> str:
        """The URI of what is really bound."""
        return f"coaps://{hostinfo(self.address, 0)}"

    # What comes in.

    def _received(self, data: bytes, peer: SocketAddress, local: bytes | None) -> None:
        # Without packet information a peer is its socket address; with it, a peer at each of our addresses.
        self._receive(data, peer if local is None or peer in self._dialled else (peer, local), self._time())
        if data[:1] != b"\x17":  # application data sets no deadline
            self._arm()

    def application_data(self, session: DtlsSession, data: bytes) -> None:
        """See `DtlsEvents`."""
        remote: DtlsAddress = session.owner
        remote.silent_since = 0.0
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
                session.owner.silent_since = min(session.owner.silent_since, self._time() - self._patience)
                self._connect(peer, session.source)
        elif not attempt.future.done():
            self._resolver.refused(peer)
            self._engine.cancel(peer)
            del self._attempts[peer]
            self._forget_route(peer)
            attempt.future.set_exception(error)
            attempt.future.exception()  # those who wait see it; perhaps nobody waits any more

    # What goes out.

    def send(self, message: Message) -> None:
        """See `MessageInterface.send`. What is meant for a session that has ended is not sent."""
        remote = message.remote
        session = remote.session
        if not session.alive:
            return
        try:
            record = session.seal_application(message.encode())
        except SequenceExhausted:
            self._engine.close(session, EndReason.EXHAUSTED)
            return
        except ValueError:
            error = RequestFailed("the message is longer than a DTLS record may be")
            self._loop.call_soon(self._above.dispatch_quoted_error, error, remote, message.encode())
            return
        self._socket.send(record, remote.peer, remote.local)
        if not remote.silent_since and (message.mtype == CON or _expects_answer(message)):
            remote.silent_since = self._time()
            if not remote.watched and session.role is Role.CLIENT:
                remote.watched = True
                self._silences.add(remote.silent_since + self._patience, remote)

    def transmit(self, datagram: bytes, peer: Any) -> None:
        """See `DtlsEvents`."""
        if type(peer[0]) is tuple:
            self._socket.send(datagram, *peer)
        else:
            self._socket.send(datagram, peer)

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
        credential = self._addressed(selected, message)
        key = credential.session_key
        peer = await self._resolver.resolve(f"coaps://{message.unresolved_remote}")
        while True:
            attempt = self._attempts.get(peer)
            if attempt is None:
                session = self._engine.session(peer)
                if session is not None and session.source.session_key == key and not self._is_doubtful(session):
                    owner: DtlsAddress = session.owner
                    return owner
                return await self._wait(peer, self._connect(peer, credential))
            if attempt.credential.session_key == key:
                return await self._wait(peer, attempt)
            await asyncio.wait([attempt.future])  # one session for each peer: another credential's turn comes later

    def _is_doubtful(self, session: DtlsSession) -> bool:
        silent_since = session.owner.silent_since
        return session.role is Role.CLIENT and bool(silent_since) and self._time() - silent_since >= self._patience

    def _addressed(self, credential: DtlsCredential, message: Message) -> DtlsCredential:
        """A credential for the authority to which a request goes; one object for each, since it is asked every time."""
        place = (credential, authority_of(message))
        found = self._for_authority.get(place)
        if found is None:
            if len(self._for_authority) >= _MAX_AUTHORITIES:
                self._for_authority.clear()
            found = self._for_authority[place] = replace(credential, authority=place[1])
        return found

    def _connect(self, peer: SocketAddress, credential: DtlsCredential) -> _Attempt:
        if self._closed:
            raise RequestFailed("the endpoint is closed")
        attempt = _Attempt(credential, self._loop.create_future())
        self._attempts[peer] = attempt
        self._dialled.add(peer)
        self._engine.connect(peer, engine_credential(credential), self._time())
        self._arm()
        return attempt

    async def _wait(self, peer: SocketAddress, attempt: _Attempt) -> DtlsAddress:
        attempt.waiting += 1
        try:
            return await asyncio.shield(attempt.future)
        finally:
            attempt.waiting -= 1
            if not attempt.waiting and not attempt.future.done():
                self._engine.cancel(peer)
                del self._attempts[peer]
                self._forget_route(peer)
                attempt.future.cancel()

    def _forget_route(self, peer: SocketAddress) -> None:
        if peer not in self._attempts and self._engine.session(peer) is None:
            self._dialled.discard(peer)

    def session_established(self, session: DtlsSession) -> None:
        """See `DtlsEvents`."""
        route: Any = session.peer
        peer, local = route if type(route[0]) is tuple else (route, None)
        session.owner = DtlsAddress(self, session, peer, local)
        self._watch_validity(session)
        if session.role is Role.CLIENT:
            attempt = self._attempts.pop(peer, None)
            if attempt is not None and not attempt.future.done():
                attempt.future.set_result(session.owner)

    def _watch_validity(self, session: DtlsSession) -> None:
        left = session.source.validity.not_after - wall_clock()
        if left != float("inf"):
            self._expiries.add(self._time() + min(left, _EXPIRY_INTERVAL), session)

    def _expire(self, session: DtlsSession, _now: float) -> None:
        """A credential that has expired ends its sessions, and what goes on in them (the design, section 6)."""
        if session.alive and wall_clock() >= session.source.validity.not_after:
            self._engine.close(session, EndReason.EXPIRED)
        elif session.alive:
            self._watch_validity(session)

    def session_moved(self, session: DtlsSession, previous: Any) -> None:
        """See `DtlsEvents`."""
        route: Any = session.peer
        remote: DtlsAddress = session.owner
        remote.peer, remote.local = route if type(route[0]) is tuple else (route, None)

    def session_ended(self, session: DtlsSession, reason: EndReason) -> None:
        """See `DtlsEvents`."""
        self._above.dispatch_error(SessionEnded(f"the DTLS session has ended: {reason.value}"), session.owner)
        if session.role is Role.CLIENT:
            self._forget_route(session.owner.peer)

    def handshake_failed(self, peer: Any, role: Role, error: HandshakeFailed) -> None:
        """See `DtlsEvents`."""
        if role is Role.CLIENT:
            attempt = self._attempts.pop(peer, None)
            self._forget_route(peer)
            if attempt is not None and not attempt.future.done():
                where = f"coaps://{hostinfo(peer, DEFAULT_PORT)}"
                attempt.future.set_exception(HandshakeFailed(f"{where}: {error}", error.alert))
                attempt.future.exception()  # those who wait see it; perhaps nobody waits any more
        else:
            self._log_failure(peer[0] if type(peer[0]) is tuple else peer, error)

    def _log_failure(self, peer: SocketAddress, error: HandshakeFailed) -> None:
        now = self._time()
        if now < self._logs_at:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since the last message)" if self._unlogged else ""
        _log.warning("%s: %s%s", hostinfo(peer, 0), error, more)
        self._unlogged = 0
        self._logs_at = now + _LOG_INTERVAL

    def _listen(self, remote: DtlsAddress, now: float) -> None:
        """A server that does not answer may have lost the session: ask it with a handshake beside the session.

        Only a handshake that is complete ends the session, and with it what waits there; nothing forged does.
        """
        remote.watched = False
        session = remote.session
        if self._closed or not session.alive or not remote.silent_since:
            return
        remote.watched = True
        doubtful_at = remote.silent_since + self._patience
        if now < doubtful_at:
            self._silences.add(doubtful_at, remote)
            return
        self._silences.add(now + 2 * self._patience, remote)
        if remote.peer not in self._attempts:
            self._connect(remote.peer, session.source)

    # Time and end.

    def _arm(self) -> None:
        due = self._engine.next_timeout()
        if due is None or (self._timer is not None and due >= self._armed_for):
            return  # one that fires early looks again
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        self._timer = self._loop.call_at(due, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        # The loop may call a little early; what is due at that moment is due.
        self._engine.handle_timeout(max(self._time(), self._armed_for))
        self._arm()

    async def shutdown(self) -> None:
        """Say goodbye in every session, end every handshake, and close the socket."""
        if self._closed:
            return
        self._closed = True
        attempts, self._attempts = self._attempts, {}
        self._engine.shutdown()
        for attempt in attempts.values():
            if not attempt.future.done():
                attempt.future.set_exception(RequestFailed("the endpoint was closed"))
                attempt.future.exception()  # as above
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._store is not None:
            self._store.close()
        self._silences.close()
        self._expiries.close()
        self._socket.close()


def _expects_answer(message: Message) -> bool:
    return 0 < (message.code or 0) < 32 and not message.options.present & _NO_RESPONSE_BIT
