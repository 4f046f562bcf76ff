"""The second engine: tinydtls in C through dtlssocket, PSK with AES-128-CCM-8 only, as a client and as a server.

Each peer has a context of its own (``Association``). Cookies are checked here, before there is one; tinydtls then asks
for a cookie of its own, once more, which RFC 6347 section 4.2.1 allows. A peer that begins anew gets a candidate beside
its session, which replaces it only when complete (section 4.2.8). Time limits are ours: a wrong key or a peer that is
gone tells tinydtls nothing. Only messages that its PSK handshake has are let through, whole; alerts in the clear end a
handshake here, and never reach it.

Epochs cannot be seen, and are taken for 1. There are no connection IDs, no resumption, no saved sessions, no key log.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.admission import Admission, Admitted
from securecoap.dtls.alerts import ALERT_FATAL, Alert, HandshakeFault, alert_name, encode_alert, parse_alert
from securecoap.dtls.cookie import CookieJar
from securecoap.dtls.engine import DtlsEvents, EndReason, SavedSession, Suspect
from securecoap.dtls.handshake_table import HandshakeTable
from securecoap.dtls.messages import (
    ClientHello,
    Fragment,
    HandshakeType,
    parse_fragments,
    parse_psk_key_exchange,
)
from securecoap.dtls.parameters import DtlsParameters, PskCredential, PskLookup, RandomSource
from securecoap.dtls.pending import Pending
from securecoap.dtls.records import ContentType, Record, parse_records, plaintext_record
from securecoap.dtls.session import Role
from securecoap.dtls.sessions import SessionTable
from securecoap.dtls.tinydtls_association import LONGEST_IDENTITY, LONGEST_KEY, Association, load_tinydtls
from securecoap.dtls.tinydtls_session import EPOCH, TinydtlsHandshake, TinydtlsSession, why_not_tinydtls
from securecoap.errors import ConfigurationError, HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["TinydtlsEndpoint"]

_SUITE: Final = 0xC0A8  # TLS_PSK_WITH_AES_128_CCM_8
_POLL: Final = 0.5
"""Seconds between two looks at tinydtls's own timers, which begin with two seconds."""
_MAX_HELD: Final = 4
"""Records that wait for a store's answer: more than follow a ClientKeyExchange."""
_TO_CLIENT: Final = frozenset(
    {
        HandshakeType.HELLO_VERIFY_REQUEST,
        HandshakeType.SERVER_HELLO,
        HandshakeType.SERVER_KEY_EXCHANGE,
        HandshakeType.SERVER_HELLO_DONE,
    }
)


class TinydtlsEndpoint:
    """All tinydtls sessions of one bound endpoint (``DtlsEngine`` documents the methods).

    Args:
        events: whom to tell.
        parameters: timing and limits; ``suites`` is without effect.
        random: where randomness comes from.
        now: the time.
        lookup: the server's keys by identity; ``None`` for an endpoint that is only a client.

    Raises:
        ConfigurationError: dtlssocket is not installed, or an identity hint is configured.
    """

    def __init__(
        self,
        events: DtlsEvents,
        *,
        random: RandomSource,
        now: float,
        parameters: DtlsParameters | None = None,
        lookup: PskLookup | None = None,
    ) -> None:
        self._tinydtls = load_tinydtls()
        self._parameters = parameters or DtlsParameters()
        if self._parameters.identity_hint is not None:
            raise ConfigurationError("the DTLS engine 'tinydtls' sends no identity hint, and one is configured")
        self._events = events
        self._random = random
        self._lookup = lookup
        settings = self._parameters
        self._admission = Admission(CookieJar(random, settings.cookie_lifetime, now, settings.shared_secret))
        self._serials = count(1)
        self._sessions: SessionTable[TinydtlsSession] = SessionTable(settings.idle_timeout)
        self._by_peer = self._sessions.by_peer
        self._handshakes: HandshakeTable[TinydtlsHandshake, TinydtlsHandshake] = HandshakeTable(settings.limits)

    @property
    def session_count(self) -> int:
        """How many sessions live."""
        return len(self._sessions)

    @property
    def handshake_count(self) -> int:
        """How many handshakes are under way, of both sides."""
        return len(self._handshakes)

    def session(self, peer: Hashable) -> TinydtlsSession | None:
        """Return the live session with this address."""
        return self._by_peer.get(peer)

    def sessions(self) -> Iterator[Any]:
        """Iterate over the sessions that live now; they may be closed meanwhile."""
        return iter(self._sessions)

    def receive(self, datagram: bytes, peer: Hashable, now: float) -> bool:
        """Take a datagram. Nothing that is in it raises."""
        for record in parse_records(datagram):
            if record.epoch == 0:
                self._receive_plaintext(record, datagram, peer, now)
            elif record.epoch == EPOCH:
                self._receive_protected(datagram[record.start : record.end], peer, now)
        return True

    def connect(self, peer: Hashable, credential: Any, now: float) -> None:
        """Begin a handshake beside whatever session there is, in place of one that ``connect`` began before."""
        self.cancel(peer)
        key = credential.key if isinstance(credential, PskCredential) else None
        fault = why_not_tinydtls(getattr(credential, "identity", b""), key)
        if fault is not None or key is None:
            self._events.handshake_failed(peer, Role.CLIENT, HandshakeFailed(f"tinydtls cannot do it: {fault}"))
            return
        keys = {credential.identity: key}
        handshake = self._begin(peer, Role.CLIENT, credential.identity, keys, now)
        handshake.credential = credential
        handshake.association.connect()
        self._settle(handshake, now)

    def cancel(self, peer: Hashable) -> None:
        """Drop a handshake that ``connect`` began; nothing more is sent or told."""
        self._handshakes.drop_client(peer)

    suspend = cancel  # the library cannot hold one still

    def close(self, session: TinydtlsSession, reason: EndReason = EndReason.CLOSED) -> None:
        """Send close_notify and end the session."""
        if not session.alive:
            return
        session.association.say_goodbye()
        self._flush(session.association, session.peer)
        self._end(session, reason)

    def shutdown(self) -> None:
        """Close every session and drop every handshake."""
        self._handshakes.drop_all()
        for session in self.sessions():
            self.close(session)

    def save(self, _now: float) -> list[SavedSession]:
        """Return nothing: tinydtls does not show its keys."""
        return []

    def ask_again(self, _evidence: bytes) -> None:
        """Nothing was saved."""

    def restore(self, _saved: SavedSession, _answer: object, _now: float, _elapsed: float) -> bool:
        """Nothing was saved."""
        return False

    def next_timeout(self) -> float:
        """Return when ``handle_timeout`` has to be called."""
        return min(self._handshakes.due.soonest, self._sessions.idle.soonest)

    def handle_timeout(self, now: float) -> None:
        """Let tinydtls retransmit, give up handshakes, close idle sessions: whatever is due."""
        while (handshake := self._handshakes.pop_due(now)) is not None:
            if now >= handshake.expires_at:
                limit = self._parameters.handshake_time_limit
                hint = " (a wrong key looks the same here)" if handshake.answered else ""
                self._fail(handshake, None, f"not complete after {limit:g} s{hint}")
            else:
                handshake.association.retransmit()
                self._settle(handshake, now)
        while (session := self._sessions.pop_expired(now)) is not None:
            self.close(session, EndReason.IDLE)

    # Records of epoch 0: what tinydtls must not see is kept from it here.

    def _receive_plaintext(self, record: Record, datagram: bytes, peer: Hashable, now: float) -> None:
        payload = record.fragment(datagram)
        whole = datagram[record.start : record.end]
        if record.content_type == ContentType.HANDSHAKE:
            fragments = parse_fragments(payload)
            if not fragments or any(len(one.data) != one.message_length for one in fragments):
                return  # it puts no fragments together
            types = {fragment.message_type for fragment in fragments}
            client = self._handshakes.clients.get(peer)
            if types == {HandshakeType.CLIENT_HELLO}:
                self._receive_client_hello(record, payload, whole, peer, now)
            elif types == {HandshakeType.CLIENT_KEY_EXCHANGE} and len(fragments) == 1:
                self._receive_identity(fragments[0], whole, peer, now)
            elif types <= _TO_CLIENT and client is not None:
                client.answered = client.answered or HandshakeType.SERVER_HELLO_DONE in types
                self._feed(client, whole, now)
        elif record.content_type == ContentType.CHANGE_CIPHER_SPEC and payload == b"\x01":
            for handshake in self._handshakes.both(peer):
                self._feed(handshake, whole, now)
        elif record.content_type == ContentType.ALERT:
            alert = parse_alert(payload)
            if alert is not None and alert[0]:
                for handshake in self._handshakes.both(peer):
                    self._refused(handshake, alert[1])

    def _receive_client_hello(self, record: Record, payload: bytes, whole: bytes, peer: Hashable, now: float) -> None:
        if self._lookup is None:
            return
        candidate = self._handshakes.servers.get(peer)
        fragment = parse_fragments(payload)[0]
        try:
            random = ClientHello.parse(fragment.data).random
        except HandshakeFault:
            return
        if candidate is not None and candidate.client_random == random:
            if not candidate.answered:  # else it is a copy, and tinydtls would begin anew
                self._feed(candidate, whole, now)
            return
        admitted = self._admission.consider(payload, record.sequence, peer, now)
        if not isinstance(admitted, Admitted):
            if admitted is not None:
                self._events.transmit(admitted, peer)
            return
        session = self._by_peer.get(peer)
        if (
            session is not None
            and session.client_random == random
            and now - session.established_at < self._parameters.handshake_time_limit
        ):
            return  # the very hello from which this session came, late
        if _SUITE not in admitted.hello.cipher_suites:
            # A suite with certificates must not come near it, whoever offers what.
            refusal = encode_alert(ALERT_FATAL, Alert.HANDSHAKE_FAILURE)
            self._events.transmit(plaintext_record(ContentType.ALERT, record.sequence, refusal), peer)
            return
        candidate = self._begin(peer, Role.SERVER, b"", {}, now)
        candidate.client_random = random
        self._feed(candidate, whole, now)

    def _receive_identity(self, message: Fragment, whole: bytes, peer: Hashable, now: float) -> None:
        handshake = self._handshakes.servers.get(peer)
        if handshake is None or self._lookup is None or handshake.pending is not None:
            return
        if handshake.keys:
            self._feed(handshake, whole, now)
            return
        try:
            identity = parse_psk_key_exchange(message.data)
        except HandshakeFault:
            return
        handshake.identity = identity
        if len(identity) > LONGEST_IDENTITY or b"\0" in identity:
            self._refuse(handshake, Alert.DECRYPT_ERROR, "an identity that tinydtls cannot hold")
            return
        found = self._lookup(identity)
        if isinstance(found, Pending):
            handshake.pending = found
            found.taker = lambda answer, when: self._take_key(handshake, answer, whole, when)
        else:
            self._take_key(handshake, found, whole, now)

    def _take_key(self, handshake: TinydtlsHandshake, found: PskCredential | None, whole: bytes, now: float) -> None:
        handshake.pending = None
        if handshake not in self._handshakes:
            return
        if found is not None and why_not_tinydtls(handshake.identity, found.key) is not None:
            found = None
        # An unknown identity gets a random key, and fails as a wrong key does (RFC 4279 section 5.3 and 7.1).
        stand_in = self._random(LONGEST_KEY)
        handshake.credential = found
        handshake.keys[handshake.identity] = stand_in if found is None else found.key
        held, handshake.held = handshake.held, []
        for record in (whole, *held):
            self._feed(handshake, record, now)

    def _receive_protected(self, record: bytes, peer: Hashable, now: float) -> None:
        session = self._by_peer.get(peer)
        if session is not None:
            association = session.association
            association.feed(record)
            self._flush(association, peer)
            received, association.received = association.received, []
            if received or association.ended is not None:
                session.last_seen = now
                for data in received:
                    if data and session.alive:
                        self._events.application_data(session, data)
                if association.ended is not None:
                    code = association.ended[1]
                    closed = code == Alert.CLOSE_NOTIFY
                    self._end(session, EndReason.CLOSED_BY_PEER if closed else EndReason.ALERT)
                return
        for handshake in self._handshakes.both(peer):
            self._feed(handshake, record, now)

    # Handshakes and sessions.

    def _begin(self, peer: Hashable, role: Role, own: bytes, keys: dict[bytes, bytes], now: float) -> TinydtlsHandshake:
        association = Association(self._tinydtls, own, keys)
        expires_at = now + self._parameters.handshake_time_limit
        handshake = TinydtlsHandshake(peer, role, association, keys, expires_at)
        if role is Role.CLIENT:
            self._handshakes.add_client(handshake)
        else:
            self._handshakes.add_server(handshake)
        return handshake

    def _feed(self, handshake: TinydtlsHandshake, record: bytes, now: float) -> None:
        if handshake not in self._handshakes:
            return
        if handshake.pending is not None:
            if len(handshake.held) < _MAX_HELD:
                handshake.held.append(record)
            return
        handshake.association.feed(record)
        self._settle(handshake, now)
        if handshake.role is Role.SERVER and handshake.keys and handshake in self._handshakes:
            self._look_at_order(handshake, record)

    def _look_at_order(self, handshake: TinydtlsHandshake, record: bytes) -> None:
        """Refuse a Finished behind a ChangeCipherSpec with which nothing was completed; tinydtls says nothing.

        Not beside a session: it may be a late record of that one.
        """
        if record[0] == ContentType.CHANGE_CIPHER_SPEC:
            handshake.changed_cipher = True
            return
        is_finished = record[0] == ContentType.HANDSHAKE and record[4] == EPOCH
        if is_finished and handshake.changed_cipher and handshake.peer not in self._by_peer:
            self._refuse(handshake, Alert.DECRYPT_ERROR, "the client's Finished was made with another key")

    def _settle(self, handshake: TinydtlsHandshake, now: float) -> None:
        """Do what a call into tinydtls has brought about."""
        association, role = handshake.association, handshake.role
        if role is Role.SERVER:
            handshake.answered = handshake.answered or association.says_hello()
        self._flush(association, handshake.peer)
        if handshake not in self._handshakes:
            return  # cancelled while it was sending
        if association.connected:
            if handshake.credential is None:
                self._refuse(handshake, Alert.DECRYPT_ERROR, "nobody has this identity")
            else:
                self._establish(handshake, handshake.credential, now)
        elif association.ended is not None:
            self._refused(handshake, association.ended[1])
        else:
            self._handshakes.due.set(handshake.serial, min(now + _POLL, handshake.expires_at))

    def _flush(self, association: Association, peer: Hashable) -> None:
        datagrams, association.sent = association.sent, []
        for datagram in datagrams:
            self._events.transmit(datagram, peer)

    def _establish(self, handshake: TinydtlsHandshake, credential: PskCredential, now: float) -> None:
        self._handshakes.forget(handshake)
        old = self._by_peer.get(handshake.peer)
        if old is not None:
            self._end(old, EndReason.REPLACED)
        idle = self._sessions.longest_idle() if self.session_count >= self._parameters.limits.dtls_sessions else None
        if idle is not None:
            self.close(idle, EndReason.EVICTED)
        association = handshake.association
        session = TinydtlsSession(handshake.peer, handshake.role, association, credential, handshake.client_random, now)
        session.serial = next(self._serials)
        self._sessions.add(session)
        self._events.session_established(session)

    def _refuse(self, handshake: TinydtlsHandshake, alert: Alert, text: str) -> None:
        record = plaintext_record(ContentType.ALERT, 0, encode_alert(ALERT_FATAL, alert))
        self._events.transmit(record, handshake.peer)
        self._fail(handshake, alert_name(alert), f"this end refused: {text}")

    def _refused(self, handshake: TinydtlsHandshake, code: int) -> None:
        side = "server" if handshake.role is Role.CLIENT else "client"
        self._fail(handshake, alert_name(code), f"the {side} refused: {alert_name(code)}")

    def _fail(self, handshake: TinydtlsHandshake, alert: str | None, text: str) -> None:
        if handshake not in self._handshakes:
            return
        self._handshakes.drop(handshake)
        cause = None
        if handshake.role is Role.SERVER and handshake.identity:
            suspect = Suspect(handshake.identity, handshake.credential is not None)
            text, cause = f"{text} ({suspect})", suspect.cause(alert)
        error = HandshakeFailed(f"the DTLS handshake failed: {text}", alert, cause)
        self._events.handshake_failed(handshake.peer, handshake.role, error)

    def _end(self, session: Any, reason: EndReason) -> None:
        if not session.alive:
            return
        session.alive = False
        self._sessions.remove(session)
        session.association.free()
        self._events.session_ended(session, reason)
