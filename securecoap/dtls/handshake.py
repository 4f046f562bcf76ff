"""What both sides of a handshake share: order, transcript, flights, keys (RFC 6347 section 4.2, RFC 5246 section 7).

A handshake is fed records and puts datagrams into ``output``; ``session`` is there when the peer's Finished has been
verified. The order of messages is a table in each side's module: (state, event) -> handler and the states that may
follow, and the state changes nowhere else. An event is a message of the peer, or the answer to a question that was
answered later. Must not know sockets or other handshakes. What cannot be raises ``HandshakeFault``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, ClassVar, Final

from securecoap.dtls.alerts import ALERT_FATAL, Alert, HandshakeFault, encode_alert, parse_alert
from securecoap.dtls.cid_records import protections
from securecoap.dtls.flights import Flight
from securecoap.dtls.fragments import Reassembly
from securecoap.dtls.key_schedule import (
    VERIFY_DATA_LENGTH,
    KeyedHash,
    extended_master_secret,
    key_block,
    master_secret,
)
from securecoap.dtls.messages import HandshakeType, encode_handshake, parse_fragments
from securecoap.dtls.records import ContentType, PlaintextWriter, ReadProtection, Record, WriteProtection
from securecoap.dtls.session import Role, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from enum import Enum

    from securecoap.dtls.connection_id import ConnectionIds
    from securecoap.dtls.engine import Suspect
    from securecoap.dtls.evidence import Evidence
    from securecoap.dtls.flights import FlightMessage, RecordWriter
    from securecoap.dtls.identities import Proof, ServerKeys
    from securecoap.dtls.key_exchange import PskServer
    from securecoap.dtls.messages import Fragment
    from securecoap.dtls.parameters import DtlsParameters, KeyLog, PskCredential, PskLookup, RandomSource
    from securecoap.dtls.pending import Pending
    from securecoap.dtls.resumption import ServerResumption
    from securecoap.dtls.suites import CipherSuite

__all__ = ["ANSWER", "CHANGE_CIPHER_SPEC", "Environment", "Handshake", "Transition"]

CHANGE_CIPHER_SPEC: Final = b"\x01"
_CLIENT: Final = Role.CLIENT
_HANDSHAKE: Final = ContentType.HANDSHAKE
_CHANGE_CIPHER_SPEC: Final = ContentType.CHANGE_CIPHER_SPEC
_APPLICATION_DATA: Final = ContentType.APPLICATION_DATA
_FINISHED: Final = HandshakeType.FINISHED
ANSWER: Final = -1
"""The event of a look-up that was answered; messages are events by their type."""
_NOT_IN_THE_CLEAR: Final = (HandshakeType.FINISHED, HandshakeType.HELLO_REQUEST)
"""Finished comes protected; HelloRequest asks for what is under way already (RFC 5246 section 7.4.1.1)."""
_FIRST_PROTECTED_EPOCH: Final = 1
_MAX_EARLY_RECORDS: Final = 4
"""Protected records that overtook the messages from which their keys come. More, and the peer's timer has to help."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What an endpoint hands to each of its handshakes; from ``lookup`` on it is a server's."""

    parameters: DtlsParameters
    random: RandomSource
    key_log: KeyLog | None
    connection_ids: ConnectionIds
    lookup: PskLookup | None = None
    keys: ServerKeys | None = None
    resumption: ServerResumption | None = None
    plain_psk: PskServer | None = None
    """The one strategy that keeps nothing of a handshake; ``None`` where there is no ``lookup``."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of a side's table.

    The handler takes the handshake, the message (or answer) and the time. It returns which of ``targets`` is the next
    state; ``None`` is the first one.
    """

    handler: Callable[[Any, Any, float], Enum | None]
    targets: tuple[Enum, ...]


class Handshake:
    """One attempt to agree on a session with one peer.

    Attributes:
        role: which side this end is.
        peer: its address.
        serial: the endpoint's number for it; 0 while it is in no table.
        expires_at: when it has failed by time.
        due: when ``handle_timeout`` wants to be called. It may be too early.
        output: datagrams to be sent; the endpoint empties it.
        session: the result, once Finished has been verified.
        session_id: under which the server keeps it for a resumption, empty for none.
        peer_alert: the code of the authenticated alert with which the peer ended it.
        pending: the question whose answer it waits for; whoever has it calls ``resume``.
    """

    __slots__ = (
        "_connection_id",
        "_early",
        "_evidence",
        "_extended",
        "_flight",
        "_keyed",
        "_master",
        "_message_sequence",
        "_peer_connection_id",
        "_plaintext",
        "_read",
        "_reassembly",
        "_sends_protected",
        "_state",
        "_suite",
        "_transcript",
        "_write",
        "client_random",
        "due",
        "environment",
        "expires_at",
        "output",
        "peer",
        "peer_alert",
        "pending",
        "serial",
        "server_random",
        "session",
        "session_id",
    )

    role: ClassVar[Role]
    TRANSITIONS: ClassVar[Mapping[tuple[Enum, int], Transition]]

    def __init__(
        self,
        peer: Hashable,
        environment: Environment,
        state: Enum,
        now: float,
        *,
        receive_sequence: int,
        send_sequence: int,
        record_sequence: int,
    ) -> None:
        parameters = environment.parameters
        self.peer = peer
        self.serial = 0
        self.environment = environment
        self.due = self.expires_at = now + parameters.handshake_time_limit
        self.output: list[bytes] = []
        self.session: Session | None = None
        self.session_id = b""
        self.peer_alert: int | None = None
        self.pending: Pending | None = None
        self.client_random = b""
        self.server_random = b""
        self._state = state
        self._reassembly = Reassembly(receive_sequence, parameters.limits)
        self._message_sequence = send_sequence
        self._plaintext = PlaintextWriter(record_sequence)
        self._transcript = bytearray()
        self._flight: Flight | None = None
        self._suite: CipherSuite | None = None
        self._extended = False
        self._evidence: Evidence | None = None
        self._connection_id = b""
        self._peer_connection_id = b""
        self._master = b""
        self._keyed: KeyedHash | None = None
        self._read: ReadProtection | None = None
        self._write: WriteProtection | None = None
        self._early: list[tuple[Record, bytes]] = []
        self._sends_protected = False

    def free(self) -> None:
        """Let go of what it holds: there is nothing but memory."""

    def handle_timeout(self, now: float) -> None:
        """Retransmit if it is time, and say when it is next."""
        flight = self._flight
        if flight is None:
            self.due = self.expires_at
            return
        if now >= flight.due:
            self.output += flight.retransmit(now)
        self.due = min(self.expires_at, flight.due)

    def alert_datagram(self, alert: Alert) -> bytes:
        """Return a fatal alert in the epoch that is written now."""
        writer = self._write if self._sends_protected and self._write is not None else self._plaintext
        return writer.seal(ContentType.ALERT, encode_alert(ALERT_FATAL, alert))

    def receive_plaintext(self, payload: bytes, now: float) -> None:
        """Take a handshake record of epoch 0."""
        for fragment in parse_fragments(payload):
            if fragment.message_type not in _NOT_IN_THE_CLEAR:
                self._receive_fragment(fragment, now)

    def receive_protected(self, record: Record, datagram: bytes, now: float) -> None:
        """Take a record of the epoch that this handshake is to begin.

        Application data that overtook Finished is dropped, as RFC 6347 section 4.1 allows: it will come again.
        """
        if record.epoch != _FIRST_PROTECTED_EPOCH or record.content_type == _APPLICATION_DATA:
            return
        if self._read is None:
            if len(self._early) < _MAX_EARLY_RECORDS:
                self._early.append(
                    (record._replace(start=0, end=record.end - record.start), datagram[record.start : record.end])
                )
            return
        opened = self._read.unwrap(record, datagram)
        if opened is None:
            # The network's duplicate of a record that was good proves nothing against the peer.
            if self._read.fits(record, datagram) and not self._read.has_seen(record):
                self._refuse_record(record)
            return
        content_type, plaintext = opened
        if content_type == _HANDSHAKE:
            for fragment in parse_fragments(plaintext):
                if fragment.message_type == _FINISHED:
                    self._receive_fragment(fragment, now)
        elif content_type == ContentType.ALERT:
            alert = parse_alert(plaintext)
            if alert is not None and alert[0]:
                self.peer_alert = alert[1]

    def stage(self) -> str:
        """Say for a person how far it came."""
        raise NotImplementedError

    def suspect(self) -> Suspect | None:
        """Say for the log who the peer claims to be, if that is not known from the start; never for the peer."""
        return None

    def _refuse_record(self, record: Record) -> None:
        """Take notice of a record that does not open; dropping it is the rule (RFC 6347 section 4.1.2.7)."""

    def resume(self, answer: Any, now: float) -> None:
        """Go on with the answer that ``pending`` was waiting for."""
        self.pending = None
        self._step(ANSWER, answer, now)
        self._take_messages(now)

    def expects(self, event: int) -> bool:
        """Say whether the peer may send this message now."""
        return (self._state, event) in self.TRANSITIONS

    def _receive_fragment(self, fragment: Fragment, now: float) -> None:
        reassembly = self._reassembly
        if fragment.message_sequence < reassembly.next_sequence:
            # Only the last message of the peer's flight: one answer to one retransmission.
            if fragment.message_sequence == reassembly.next_sequence - 1 and self._flight is not None:
                self.output += self._flight.repeat(now)
            return
        if self.pending is None and reassembly.takes_whole(fragment):
            self._step(fragment.message_type, fragment, now)
        else:
            reassembly.add(fragment)
            self._take_messages(now)

    def _take_messages(self, now: float) -> None:
        # What was there before its time may be of another handshake, and nothing comes after the last message.
        while (
            self.pending is None and self.session is None and (message := self._reassembly.next_message()) is not None
        ):
            self._step(message.message_type, message, now)

    def _step(self, event: int, argument: Any, now: float) -> None:
        """Take one event: the only place where the state changes."""
        transition = self.TRANSITIONS.get((self._state, event))
        if transition is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, f"message {event} in state {self._state.value!r}")
        self._state = transition.handler(self, argument, now) or transition.targets[0]
        if self._early and self._read is not None:
            early, self._early = self._early, []
            for record, datagram in early:
                if self.session is None:
                    self.receive_protected(record, datagram, now)

    def _message(self, message_type: int, body: bytes, writer: RecordWriter | None = None) -> FlightMessage:
        """Make the next message of this side, in plaintext without a ``writer``, and put it into the transcript."""
        message = encode_handshake(message_type, self._message_sequence, body)
        self._message_sequence += 1
        self._transcript += message
        return _HANDSHAKE, message, writer or self._plaintext

    def _finished(self, label: bytes, write: WriteProtection) -> tuple[FlightMessage, FlightMessage]:
        """Make ChangeCipherSpec and this side's Finished."""
        body = self._verify_data(label)
        self._sends_protected = True
        return (_CHANGE_CIPHER_SPEC, CHANGE_CIPHER_SPEC, self._plaintext), self._message(_FINISHED, body, write)

    def _send_flight(self, messages: list[FlightMessage], now: float, *, shrinks: bool = True) -> None:
        parameters = self.environment.parameters
        self._flight = Flight(
            messages,
            parameters.datagram_size,
            parameters.retransmission_interval,
            parameters.max_retransmission_interval,
            shrinks=shrinks,
        )
        self.output += self._flight.transmit(now)
        self.due = min(self.expires_at, self._flight.due)

    def _chosen_suite(self) -> CipherSuite:
        suite = self._suite
        if suite is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "no cipher suite has been agreed upon")
        return suite

    def _derive(self, premaster: bytes) -> WriteProtection:
        """Derive master secret and record keys, and begin with them; the transcript ends with ClientKeyExchange."""
        suite = self._chosen_suite()
        if self._extended:
            self._master = extended_master_secret(premaster, self._transcript, suite.prf_hash)
        else:
            self._master = master_secret(premaster, self.client_random, self.server_random, suite.prf_hash)
        return self._expand(suite)

    def _expand(self, suite: CipherSuite) -> WriteProtection:
        """Derive record keys from the master secret, which may be an earlier session's, and set up both directions."""
        if self.environment.key_log is not None:
            self.environment.key_log(f"CLIENT_RANDOM {self.client_random.hex()} {self._master.hex()}")
        self._keyed = KeyedHash(self._master, suite.prf_hash)
        client, server = key_block(suite, self._keyed, self.client_random, self.server_random)
        read, write = (server, client) if self.role is _CLIENT else (client, server)
        ours, theirs = self._connection_id, self._peer_connection_id
        self._read, self._write = protections(suite, read, write, _FIRST_PROTECTED_EPOCH, ours, theirs)
        return self._write

    def _verify_data(self, label: bytes) -> bytes:
        """Return the content of a Finished message (RFC 5246 section 7.4.9); ``label`` says whose it is."""
        keyed = self._keyed
        if keyed is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "there is no master secret yet")
        return keyed.prf(label, keyed.plain(self._transcript).digest(), VERIFY_DATA_LENGTH)

    def _check_finished(self, message: Fragment, label: bytes) -> None:
        if not compare_digest(message.data, self._verify_data(label)):
            raise HandshakeFault(Alert.DECRYPT_ERROR, "the peer's Finished does not fit the handshake")
        self._transcript += message.whole

    def _complete(self, proof: PskCredential | Proof, now: float, final_flight: tuple[FlightMessage, ...] = ()) -> None:
        if self._read is None or self._write is None or self._suite is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "a handshake ended without keys")
        self._flight = None
        self._master = b""
        self._keyed = None
        self.session = Session(
            peer=self.peer,
            role=self.role,
            suite=self._suite,
            read=self._read,
            write=self._write,
            credential=proof,
            client_random=self.client_random,
            now=now,
            final_flight=final_flight,
            evidence=self._evidence,
            session_id=self.session_id,
        )
