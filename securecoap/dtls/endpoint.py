"""All DTLS sessions and handshakes of one bound endpoint, client and server at once (RFC 6347 section 4).

Finds out whose a record is, and keeps the tables and their bounds; what is in a record is the business of handshakes
and sessions. No IO: datagrams, time and randomness come in, datagrams and events go out through ``DtlsEvents``. Must
not know CoAP or sockets.

The tables: sessions by peer address (a table by connection ID would stand beside it), server handshakes past the
cookie by peer, client handshakes by peer. A peer fills the first two, each with a bound in ``Limits``.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from securecoap.dtls.admission import Admission, Admitted
from securecoap.dtls.alerts import Alert, HandshakeFault, alert_name, parse_alert
from securecoap.dtls.cookie import CookieJar
from securecoap.dtls.deadlines import Deadlines
from securecoap.dtls.engine import DtlsEvents, EndReason
from securecoap.dtls.handshake import Environment, Handshake
from securecoap.dtls.handshake_client import ClientHandshake
from securecoap.dtls.handshake_server import ServerHandshake
from securecoap.dtls.messages import HandshakeType, parse_fragments
from securecoap.dtls.parameters import DtlsParameters, KeyLog, PskCredential, PskLookup, RandomSource
from securecoap.dtls.records import (
    ContentType,
    Record,
    SequenceExhausted,
    parse_records,
)
from securecoap.dtls.session import Role, Session
from securecoap.errors import HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Endpoint"]

_FROM_SERVER: Final = frozenset(
    {
        HandshakeType.SERVER_HELLO,
        HandshakeType.HELLO_VERIFY_REQUEST,
        HandshakeType.SERVER_KEY_EXCHANGE,
        HandshakeType.CERTIFICATE_REQUEST,
        HandshakeType.SERVER_HELLO_DONE,
        HandshakeType.NEW_SESSION_TICKET,
    }
)
_SHOWN_IDENTITY: Final = 64


class Endpoint:
    """A DTLS engine in Python (``DtlsEngine`` documents the methods).

    Args:
        events: whom to tell.
        parameters: timing, suites and limits.
        random: where randomness comes from.
        now: the time.
        lookup: the server's keys by identity; ``None`` for an endpoint that is only a client.
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
        key_log: KeyLog | None = None,
    ) -> None:
        self._parameters = parameters or DtlsParameters()
        self._environment = Environment(self._parameters, random, key_log)
        self._lookup = lookup
        self._admission = Admission(CookieJar(random, self._parameters.cookie_lifetime, now))
        self._transmit = events.transmit
        self._application_data = events.application_data
        self._events = events
        self._serials = count(1)
        self._sessions: dict[Hashable, Session] = {}
        self._sessions_by_serial: dict[int, Session] = {}
        self._idle = Deadlines()
        self._handshakes: dict[int, Handshake] = {}
        self._clients: dict[Hashable, ClientHandshake] = {}
        self._servers: dict[Hashable, ServerHandshake] = {}
        self._due = Deadlines()

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
        return self._sessions.get(peer)

    def receive(self, datagram: bytes, peer: Hashable, now: float) -> None:
        """Take a datagram. Nothing that is in it raises."""
        # One record of application data in a live session: nearly every datagram, so it has a short way.
        session = self._sessions.get(peer)
        if session is not None and datagram[:5] == session.application_head:
            plaintext = session.read.open_application(datagram)
            if plaintext:
                session.last_seen = now
                self._application_data(session, plaintext)
                return
        for record in parse_records(datagram):
            if record.epoch == 0:
                self._receive_plaintext(record, datagram, peer, now)
            else:
                self._receive_protected(record, datagram, peer, now)

    def send(self, session: Session, data: bytes) -> bool:
        """Send one record of application data; ``False`` if the session is gone."""
        if not session.alive:
            return False
        try:
            record = session.seal_application(data)
        except SequenceExhausted:
            self._end(session, EndReason.EXHAUSTED)
            return False
        self._transmit(record, session.peer)
        return True

    def connect(self, peer: Hashable, credential: PskCredential, now: float) -> None:
        """Begin a handshake beside whatever session there is, in place of one that ``connect`` began before."""
        self.cancel(peer)
        handshake = ClientHandshake(peer, credential, self._environment, now)
        self._clients[peer] = handshake
        self._register(handshake)
        self._run(handshake, handshake.start, now)

    def cancel(self, peer: Hashable) -> None:
        """Drop a handshake that ``connect`` began; nothing more is sent or told."""
        handshake = self._clients.get(peer)
        if handshake is not None:
            self._forget(handshake)

    def close(self, session: Session, reason: EndReason = EndReason.CLOSED) -> None:
        """Send close_notify and end the session."""
        if not session.alive:
            return
        try:
            self._transmit(session.alert_record(Alert.CLOSE_NOTIFY, fatal=False), session.peer)
        except SequenceExhausted:
            reason = EndReason.EXHAUSTED
        self._end(session, reason)

    def shutdown(self) -> None:
        """Close every session and drop every handshake."""
        for handshake in list(self._handshakes.values()):
            self._forget(handshake)
        for session in list(self._sessions.values()):
            self.close(session)

    def next_timeout(self) -> float | None:
        """Return when ``handle_timeout`` has to be called; it may be early, as idle times are not moved per record."""
        due, idle = self._due.first(), self._idle.first()
        if due is None or idle is None:
            earliest = due or idle
            return None if earliest is None else earliest[0]
        return min(due[0], idle[0])

    def handle_timeout(self, now: float) -> None:
        """Retransmit flights, give up handshakes, close idle sessions: whatever is due."""
        while (serial := self._due.pop_due(now)) is not None:
            handshake = self._handshakes[serial]
            if now >= handshake.expires_at:
                limit = self._parameters.handshake_time_limit
                stage = handshake.stage() if isinstance(handshake, ClientHandshake) else "the client stopped"
                self._fail(handshake, None, f"not complete after {limit:g} s: {stage}")
            else:
                self._run(handshake, handshake.handle_timeout, now)
        while (serial := self._idle.pop_due(now)) is not None:
            session = self._sessions_by_serial[serial]
            expires_at = session.last_seen + self._parameters.idle_timeout
            if now >= expires_at:
                self.close(session, EndReason.IDLE)
            else:
                self._idle.set(serial, expires_at)

    # Records of epoch 0: nothing in them is authenticated, so they touch handshakes only, never a session.

    def _receive_plaintext(self, record: Record, datagram: bytes, peer: Hashable, now: float) -> None:
        content_type = record.content_type
        if content_type == ContentType.HANDSHAKE:
            payload = record.fragment(datagram)
            if not payload:
                return
            message_type = payload[0]
            if message_type == HandshakeType.CLIENT_HELLO:
                self._receive_client_hello(record, payload, peer, now)
                return
            target: Handshake | None = (
                self._clients.get(peer) if message_type in _FROM_SERVER else self._servers.get(peer)
            )
            if target is not None:
                self._run(target, target.receive_plaintext, payload, now)
        elif content_type == ContentType.ALERT:
            alert = parse_alert(record.fragment(datagram))
            if alert is not None and alert[0]:
                for handshake in self._handshakes_with(peer):
                    self._refused(handshake, alert[1])
        # ChangeCipherSpec says nothing that a record's epoch does not say; application data is never in the clear.

    def _receive_client_hello(self, record: Record, payload: bytes, peer: Hashable, now: float) -> None:
        lookup = self._lookup
        if lookup is None:
            return
        admitted = self._admission.consider(payload, record.sequence, peer, now)
        if not isinstance(admitted, Admitted):
            if admitted is not None:
                self._transmit(admitted, peer)
            return
        candidate = self._servers.get(peer)
        if candidate is not None:
            if candidate.client_random == admitted.hello.random:
                self._run(candidate, candidate.repeat_hello, now)
                return
            self._forget(candidate)
        session = self._sessions.get(peer)
        if (
            session is not None
            and session.client_random == admitted.hello.random
            and now - session.established_at < self._parameters.handshake_time_limit
        ):
            return  # the very hello from which this session came, late
        if len(self._servers) >= self._parameters.limits.dtls_handshakes:
            self._forget(next(iter(self._servers.values())))
        environment = self._environment
        candidate = ServerHandshake(peer, admitted, environment, lookup, now, beside_session=session is not None)
        self._servers[peer] = candidate
        self._register(candidate)
        self._run(candidate, candidate.start, now)

    # Protected records: a live session's, or those with which a handshake ends.

    def _receive_protected(self, record: Record, datagram: bytes, peer: Hashable, now: float) -> None:
        session = self._sessions.get(peer)
        if session is not None and record.epoch == session.epoch:
            plaintext = session.read.open(datagram, record.start, record.end)
            if plaintext is not None:
                session.last_seen = now
                self._receive_opened(session, record.content_type, plaintext, now)
                return
        for handshake in self._handshakes_with(peer):
            if handshake.serial in self._handshakes:
                self._run(handshake, handshake.receive_protected, record, datagram, now)

    def _receive_opened(self, session: Session, content_type: int, plaintext: bytes, now: float) -> None:
        if content_type == ContentType.APPLICATION_DATA:
            if plaintext:
                self._application_data(session, plaintext)
        elif content_type == ContentType.ALERT:
            alert = parse_alert(plaintext)
            if alert is not None and alert[0]:
                if alert[1] == Alert.CLOSE_NOTIFY:
                    self.close(session, EndReason.CLOSED_BY_PEER)
                else:
                    self._end(session, EndReason.ALERT)
        elif content_type == ContentType.HANDSHAKE:
            self._receive_late_handshake(session, plaintext, now)

    def _receive_late_handshake(self, session: Session, plaintext: bytes, now: float) -> None:
        for fragment in parse_fragments(plaintext):
            if fragment.message_type == HandshakeType.FINISHED:
                parameters = self._parameters
                for datagram in session.repeat_final_flight(
                    parameters.datagram_size, now, parameters.final_flight_lifetime
                ):
                    self._transmit(datagram, session.peer)
            elif fragment.message_type in (HandshakeType.HELLO_REQUEST, HandshakeType.CLIENT_HELLO):
                # Renegotiation is refused for good (RFC 5746 section 4.5); a fresh handshake begins in epoch 0.
                self._transmit(session.alert_record(Alert.NO_RENEGOTIATION, fatal=False), session.peer)
                return

    # Handshakes: the only places where the tables change.

    def _handshakes_with(self, peer: Hashable) -> list[Handshake]:
        found = (self._clients.get(peer), self._servers.get(peer))
        return [handshake for handshake in found if handshake is not None]

    def _register(self, handshake: Handshake) -> None:
        handshake.serial = next(self._serials)
        self._handshakes[handshake.serial] = handshake

    def _forget(self, handshake: Handshake) -> None:
        del self._handshakes[handshake.serial]
        self._due.discard(handshake.serial)
        if handshake.ROLE is Role.CLIENT:
            del self._clients[handshake.peer]
        else:
            del self._servers[handshake.peer]

    def _run(self, handshake: Handshake, step: Callable[..., None], *args: object) -> None:
        try:
            step(*args)
        except HandshakeFault as fault:
            handshake.output.append(handshake.alert_datagram(fault.alert))
            self._flush(handshake)
            self._fail(handshake, alert_name(fault.alert), f"this end refused: {fault}")
            return
        self._flush(handshake)
        if handshake.serial not in self._handshakes:
            return  # cancelled while it was sending: the network said that nobody is there
        if handshake.session is not None:
            self._forget(handshake)
            self._establish(handshake.session)
        elif handshake.peer_alert is not None:
            self._refused(handshake, handshake.peer_alert)
        else:
            self._due.set(handshake.serial, handshake.deadline)

    def _flush(self, handshake: Handshake) -> None:
        datagrams, handshake.output = handshake.output, []
        for datagram in datagrams:
            self._transmit(datagram, handshake.peer)

    def _refused(self, handshake: Handshake, code: int) -> None:
        side = "server" if handshake.ROLE is Role.CLIENT else "client"
        self._fail(handshake, alert_name(code), f"the {side} refused: {alert_name(code)}")

    def _fail(self, handshake: Handshake, alert: str | None, text: str) -> None:
        if handshake.serial not in self._handshakes:
            return
        self._forget(handshake)
        if isinstance(handshake, ServerHandshake) and handshake.identity:
            known = "known" if handshake.identity_known else "unknown"
            text += f" ({known} identity {handshake.identity[:_SHOWN_IDENTITY]!r})"
        error = HandshakeFailed(f"the DTLS handshake failed: {text}", alert)
        self._events.handshake_failed(handshake.peer, handshake.ROLE, error)

    # Sessions.

    def _establish(self, session: Session) -> None:
        old = self._sessions.get(session.peer)
        if old is not None:
            self._end(old, EndReason.REPLACED)
        elif len(self._sessions) >= self._parameters.limits.dtls_sessions:
            self._evict()
        session.serial = next(self._serials)
        self._sessions[session.peer] = session
        self._sessions_by_serial[session.serial] = session
        self._idle.set(session.serial, session.last_seen + self._parameters.idle_timeout)
        self._events.session_established(session)

    def _evict(self) -> None:
        """Close the session that has been idle for longest: the first whose noted time is its real one."""
        while (earliest := self._idle.first()) is not None:
            when, serial = earliest
            session = self._sessions_by_serial[serial]
            expires_at = session.last_seen + self._parameters.idle_timeout
            if expires_at <= when:
                self.close(session, EndReason.EVICTED)
                return
            self._idle.set(serial, expires_at)

    def _end(self, session: Session, reason: EndReason) -> None:
        if not session.alive:
            return
        session.alive = False
        del self._sessions[session.peer]
        del self._sessions_by_serial[session.serial]
        self._idle.discard(session.serial)
        self._events.session_ended(session, reason)
