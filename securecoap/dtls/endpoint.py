"""All DTLS sessions and handshakes of one bound endpoint, client and server at once (RFC 6347 section 4).

Finds out whose a record is, and keeps the tables and their bounds; what is in a record is the business of handshakes
and sessions. No IO: datagrams, time and randomness come in, datagrams and events go out through ``DtlsEvents``. Must
not know CoAP or sockets.

The tables: sessions (``SessionTable``), server handshakes past the cookie by peer, client handshakes by peer. A peer
fills the first two, each with a bound in ``Limits``.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final

from securecoap.dtls.admission import Admission, Admitted
from securecoap.dtls.alerts import CLOSE_NOTIFY, Alert, HandshakeFault, alert_name, described, parse_alert
from securecoap.dtls.cid_records import CONNECTION_ID_START
from securecoap.dtls.connection_id import CONNECTION_ID_LENGTH, ConnectionIds
from securecoap.dtls.cookie import CookieJar
from securecoap.dtls.engine import DtlsEvents, EndReason, SavedSession
from securecoap.dtls.evidence import Evidence, ask_again, believed
from securecoap.dtls.handshake import Environment
from securecoap.dtls.handshake_client import ClientHandshake
from securecoap.dtls.handshake_server import ServerHandshake
from securecoap.dtls.handshake_table import HandshakeTable
from securecoap.dtls.key_exchange import PskServer
from securecoap.dtls.messages import FROM_SERVER, HandshakeType
from securecoap.dtls.parameters import DtlsParameters, KeyLog, PskLookup, RandomSource
from securecoap.dtls.records import RECORD_HEADER_LENGTH, ContentType, Record, SequenceExhausted, parse_records
from securecoap.dtls.resumption import Offers, ServerResumption
from securecoap.dtls.saved import pack_session, unpack_session
from securecoap.dtls.session import Role, Session, why_dropped
from securecoap.dtls.sessions import SessionTable
from securecoap.errors import HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from securecoap.dtls.identities import ClientCredential, ServerKeys

__all__ = ["Endpoint"]

_HANDSHAKE: Final = ContentType.HANDSHAKE
_ALERT: Final = ContentType.ALERT
_APPLICATION_DATA: Final = ContentType.APPLICATION_DATA
_CLIENT_HELLO: Final = HandshakeType.CLIENT_HELLO
_WITH_CONNECTION_ID: Final = bytes((ContentType.TLS12_CID,))
_CONNECTION_ID: Final = slice(CONNECTION_ID_START, CONNECTION_ID_START + CONNECTION_ID_LENGTH)


class Endpoint:
    """A DTLS engine in Python (``DtlsEngine`` documents the methods).

    Args:
        events: whom to tell.
        parameters: timing, suites and limits.
        random: where randomness comes from.
        now: the time.
        lookup: a server's pre-shared keys by identity; ``None`` where it has none.
        keys: a server's raw public keys and certificates; ``None`` where it has none. With neither it is only a client.
        key_log: takes a line for each handshake: its reader can decrypt everything.
    """

    def __init__(
        self,
        events: DtlsEvents,
        *,
        random: RandomSource,
        now: float,
        parameters: DtlsParameters | None = None,
        lookup: PskLookup | None = None,
        keys: ServerKeys | None = None,
        key_log: KeyLog | None = None,
    ) -> None:
        self._parameters = parameters or DtlsParameters()
        self._sessions: SessionTable[Session] = SessionTable(self._parameters.idle_timeout)
        self._by_peer = self._sessions.by_peer
        self._by_connection_id = self._sessions.by_connection_id
        connection_ids = ConnectionIds(random, self._parameters.worker, self._by_connection_id)
        shared = self._parameters.shared_secret
        lifetime, limits = self._parameters.resumption_lifetime, self._parameters.limits
        self._resumption = (
            ServerResumption(random, lifetime, limits, now, shared) if self._parameters.resumption else None
        )
        self._offers = Offers(lifetime, limits, self._parameters.datagram_size)
        self._environment = Environment(
            self._parameters, random, key_log, connection_ids, lookup, keys, self._resumption,
            None if lookup is None else PskServer(self._parameters.identity_hint),
        )  # fmt: skip
        self._admission = Admission(CookieJar(random, self._parameters.cookie_lifetime, now, shared))
        self._transmit = events.transmit
        self._application_data = events.application_data
        self._events = events
        self._serials = count(1)
        self._handshakes: HandshakeTable[ClientHandshake, ServerHandshake] = HandshakeTable(limits)
        self._told_timeout = inf

    @property
    def session_count(self) -> int:
        """How many sessions live."""
        return len(self._sessions)

    @property
    def handshake_count(self) -> int:
        """How many handshakes are under way, of both sides."""
        return len(self._handshakes)

    def session(self, peer: Hashable) -> Session | None:
        """Return the live session with this address."""
        return self._by_peer.get(peer)

    def sessions(self) -> Iterator[Session]:
        """Iterate over the sessions that live now; they may be closed meanwhile."""
        return iter(self._sessions)

    def receive(self, datagram: bytes, peer: Hashable, now: float) -> bool:
        """Take a datagram. Nothing that is in it raises."""
        # One record of application data in a live session: nearly every datagram, so it has a short way.
        session = self._by_peer.get(peer)
        if session is not None and datagram[:5] == session.application_head:
            plaintext = session.read.open_application(datagram)
            if plaintext:
                session.last_seen = now
                session.final_flight = ()
                deliver = self._application_data
                deliver(session, plaintext)
                return False
        elif datagram[:1] == _WITH_CONNECTION_ID:
            session = self._by_connection_id.get(datagram[_CONNECTION_ID])
            if session is not None and self._receive_alone(session, datagram, peer, now):
                return False
        for record in parse_records(datagram, CONNECTION_ID_LENGTH):
            if record.epoch == 0:
                self._receive_plaintext(record, datagram, peer, now)
            else:
                self._receive_protected(record, datagram, peer, now)
        return min(self._handshakes.due.soonest, self._sessions.idle.soonest) < self._told_timeout

    def connect(self, peer: Hashable, credential: ClientCredential, now: float) -> None:
        """Begin a handshake beside whatever session there is, in place of one that ``connect`` began before."""
        handshake = self._handshakes.take_up(peer)
        if handshake is None or not handshake.can_go_on(credential, now):
            offer = self._offers.find(peer, credential, now)
            handshake = ClientHandshake(peer, credential, self._environment, now, offer)
        self._handshakes.add_client(handshake)
        self._run(handshake, handshake.start, now)

    def cancel(self, peer: Hashable) -> None:
        """Drop a handshake that ``connect`` began; nothing more is sent or told."""
        self._handshakes.drop_client(peer)

    def suspend(self, peer: Hashable) -> None:
        """Hold a handshake that ``connect`` began: nothing is sent or told, but it can be taken up again."""
        self._handshakes.suspend(peer)

    def close(self, session: Session, reason: EndReason = EndReason.CLOSED) -> None:
        """Send close_notify and end the session."""
        if not session.alive:
            return
        try:
            self._transmit(session.write.seal(_ALERT, CLOSE_NOTIFY), session.peer)
        except SequenceExhausted:
            reason = EndReason.EXHAUSTED
        self._end(session, reason)

    def shutdown(self) -> None:
        """Close every session and drop every handshake."""
        self._handshakes.drop_all()
        for session in self._sessions:
            self.close(session)

    def save(self, now: float) -> list[SavedSession]:
        """End every session of a client that can go on after a restart, without a word to it."""
        saved = []
        for session in self._sessions:
            if session.role is Role.SERVER and session.evidence is not None:
                saved.append(pack_session(session, session.evidence, now))
                self._end(session, EndReason.SAVED)
        return saved

    def ask_again(self, evidence: bytes) -> object:
        """Ask the stores what a saved session's evidence proves now."""
        return ask_again(Evidence.decode(evidence), self._environment.lookup, self._environment.keys)

    def restore(self, saved: SavedSession, answer: object, now: float, elapsed: float) -> bool:
        """Go on with a saved session, once, if its credential still holds."""
        session = unpack_session(saved, believed(answer), self._parameters, now, elapsed)
        if session is None or session.connection_id in self._by_connection_id or session.peer in self._by_peer:
            return False  # or its peer was faster, and has another one by now
        self._establish(session)
        return True

    def next_timeout(self) -> float:
        """Return when ``handle_timeout`` has to be called; it may be early, as idle times are not moved per record."""
        self._told_timeout = min(self._handshakes.due.soonest, self._sessions.idle.soonest)
        return self._told_timeout

    def handle_timeout(self, now: float) -> None:
        """Retransmit flights, give up handshakes, close idle sessions: whatever is due."""
        while (handshake := self._handshakes.pop_due(now)) is not None:
            if now >= handshake.expires_at:
                seconds = f"{self._parameters.handshake_time_limit:g} s"
                self._fail(handshake, None, f"not complete after {seconds}: {handshake.stage()}")
            else:
                self._run(handshake, handshake.handle_timeout, now)
        while (session := self._sessions.pop_expired(now)) is not None:
            self.close(session, EndReason.IDLE)

    # Records of epoch 0: nothing in them is authenticated, so they touch handshakes only, never a session.

    def _receive_plaintext(self, record: Record, datagram: bytes, peer: Hashable, now: float) -> None:
        content_type = record.content_type
        if content_type == _HANDSHAKE:
            payload = datagram[record.start + RECORD_HEADER_LENGTH : record.end]
            if not payload:
                return
            message_type = payload[0]
            if message_type == _CLIENT_HELLO:
                self._receive_client_hello(record, payload, peer, now)
                return
            client, server = self._handshakes.clients.get(peer), self._handshakes.servers.get(peer)
            target: ClientHandshake | ServerHandshake | None = client if message_type in FROM_SERVER else server
            # A Certificate comes from either side; where both are under way, to whom it can mean something.
            if message_type == HandshakeType.CERTIFICATE and not (server is not None and server.expects(message_type)):
                target = client or server
            if target is not None:
                self._run(target, target.receive_plaintext, payload, now)
        elif content_type == _ALERT:
            alert = parse_alert(record.fragment(datagram))
            if alert is not None and alert[0]:
                for handshake in self._handshakes.both(peer):
                    self._refused(handshake, alert[1])
        # ChangeCipherSpec says nothing that a record's epoch does not say; application data is never in the clear.

    def _receive_client_hello(self, record: Record, payload: bytes, peer: Hashable, now: float) -> None:
        if self._environment.lookup is None and self._environment.keys is None:
            return
        admitted = self._admission.consider(payload, record.sequence, peer, now)
        if not isinstance(admitted, Admitted):
            if admitted is not None:
                self._transmit(admitted, peer)
            return
        candidate = self._handshakes.servers.get(peer)
        if candidate is not None and candidate.client_random == admitted.hello.random:
            self._run(candidate, candidate.repeat_hello, now)
            return
        session = self._by_peer.get(peer)
        if (
            session is not None
            and session.client_random == admitted.hello.random
            and now - session.established_at < self._parameters.handshake_time_limit
        ):
            return  # the very hello from which this session came, late
        environment = self._environment
        candidate = ServerHandshake(peer, admitted, environment, now, beside_session=session is not None)
        self._handshakes.add_server(candidate)
        self._run(candidate, candidate.start, now)

    def _receive_alone(self, session: Session, datagram: bytes, peer: Hashable, now: float) -> bool:
        """Take a datagram that is one record with a connection ID of ours; say whether it was one."""
        newest = session.read.highest
        opened = session.read.open_alone(datagram)
        if opened is None:
            return False
        if session.peer != peer and session.read.highest > newest:
            self._move(session, peer)
        session.last_seen = now
        content_type, plaintext = opened
        if content_type != _APPLICATION_DATA:
            self._receive_opened(session, content_type, plaintext, now)
        elif plaintext:
            session.final_flight = ()
            self._application_data(session, plaintext)
        return True

    # Protected records: a live session's, or those with which a handshake ends.

    def _receive_protected(self, record: Record, datagram: bytes, peer: Hashable, now: float) -> None:
        if record.content_type == ContentType.TLS12_CID:
            session = self._by_connection_id.get(datagram[record.start :][_CONNECTION_ID])
        else:
            session = self._by_peer.get(peer)
        if session is not None and record.epoch == session.epoch:
            newest = session.read.highest
            opened = session.read.unwrap(record, datagram)
            if opened is not None:
                if session.peer != peer and session.read.highest > newest:
                    self._move(session, peer)
                session.last_seen = now
                self._receive_opened(session, *opened, now)
                return
        handshakes = self._handshakes.both(peer)
        for handshake in handshakes:
            if handshake.serial:
                self._run(handshake, handshake.receive_protected, record, datagram, now)
        if not handshakes:
            self._events.record_dropped(peer, why_dropped(session, record))

    def _receive_opened(self, session: Session, content_type: int, plaintext: bytes, now: float) -> None:
        if content_type == _APPLICATION_DATA:
            if plaintext:
                self._application_data(session, plaintext)
        elif content_type == _ALERT:
            alert = parse_alert(plaintext)
            if alert is not None and alert[0]:
                if alert[1] == Alert.CLOSE_NOTIFY:
                    self.close(session, EndReason.CLOSED_BY_PEER)
                else:
                    if self._resumption is not None:
                        self._resumption.forget(session.session_id)
                    self._end(session, EndReason.ALERT)
        elif content_type == _HANDSHAKE:
            for answer in session.answer_handshake(plaintext, self._parameters, now):
                self._transmit(answer, session.peer)

    # Handshakes: the only places where the tables change.

    def _run(self, handshake: ClientHandshake | ServerHandshake, step: Callable[..., None], *args: object) -> None:
        refusal: tuple[str, str] | None = None
        try:
            step(*args)
        except HandshakeFault as fault:
            handshake.output.append(handshake.alert_datagram(fault.alert))
            refusal = alert_name(fault.alert), f"this end refused: {fault}"
        if datagrams := handshake.output:
            handshake.output = []
            for datagram in datagrams:
                self._transmit(datagram, handshake.peer)
        if refusal is not None:
            self._fail(handshake, *refusal)
            return
        if not handshake.serial:
            return  # cancelled while it was sending: the network said that nobody is there
        if handshake.session is not None:
            self._handshakes.forget(handshake)
            if isinstance(handshake, ClientHandshake) and handshake.next_offer is not None:
                self._offers.keep(handshake.peer, handshake.next_offer)
            self._establish(handshake.session)
        elif handshake.peer_alert is not None:
            self._refused(handshake, handshake.peer_alert)
        else:
            if handshake.pending is not None:
                handshake.pending.taker = partial(self._answered, handshake)
            self._handshakes.due.set(handshake.serial, handshake.due)

    def _answered(self, handshake: ClientHandshake | ServerHandshake, answer: object, now: float) -> None:
        """Go on with a handshake that waited for a store; it may have ended meanwhile."""
        if handshake.serial:
            self._run(handshake, handshake.resume, answer, now)

    def _refused(self, handshake: ClientHandshake | ServerHandshake, code: int) -> None:
        side = "server" if handshake.role is Role.CLIENT else "client"
        self._fail(handshake, alert_name(code), f"the {side} refused: {described(code)}")

    def _fail(self, handshake: ClientHandshake | ServerHandshake, alert: str | None, text: str) -> None:
        if not handshake.serial:
            return
        self._handshakes.forget(handshake)
        if handshake.role is Role.CLIENT:
            self._offers.forget(handshake.peer)  # if that was what the server did not like
        suspect, cause = handshake.suspect(), None
        if suspect is not None:
            text, cause = f"{text} ({suspect})", suspect.cause(alert)
        error = HandshakeFailed(f"the DTLS handshake failed: {text}", alert, cause)
        self._events.handshake_failed(handshake.peer, handshake.role, error)

    # Sessions.

    def _establish(self, session: Session) -> None:
        table = self._sessions
        old = table.by_peer.get(session.peer)
        if old is not None and (not old.connection_id or old.identity == session.identity):
            self._end(old, EndReason.REPLACED)
        # Else it is somebody else's, who had this address before, and is found by connection ID wherever he is now.
        if len(table) >= self._parameters.limits.dtls_sessions:
            gone = table.first_to_go(session)
            if gone is session:  # an anonymous client, and only proved ones are there: those stay
                self._parameters.limits.reached("dtls_sessions")
                self._transmit(session.write.seal(_ALERT, CLOSE_NOTIFY), session.peer)
                return
            self.close(gone, EndReason.EVICTED)
        session.serial = next(self._serials)
        table.add(session)
        self._events.session_established(session)

    def _move(self, session: Session, peer: Hashable) -> None:
        """Follow a peer to another address, which a record newer than all before came from (RFC 9146 section 6)."""
        previous = session.peer
        self._sessions.move(session, peer)
        self._events.session_moved(session, previous)

    def _end(self, session: Session, reason: EndReason) -> None:
        if not session.alive:
            return
        session.alive = False
        self._sessions.remove(session)
        self._events.session_ended(session, reason)
