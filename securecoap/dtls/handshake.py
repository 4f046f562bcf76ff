"""What both sides of a handshake share: order, transcript, flights, keys (RFC 6347 section 4.2, RFC 5246 section 7).

A handshake is fed records and puts datagrams into ``output``; ``session`` is there when the peer's Finished has been
verified. The order of messages is a table in each side's module: (state, message type) -> handler and next state, and
the state changes nowhere else. Must not know sockets or other handshakes. What cannot be raises ``HandshakeFault``.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from securecoap.dtls.alerts import ALERT_FATAL, Alert, HandshakeFault, encode_alert, parse_alert
from securecoap.dtls.cid_records import CidReadProtection, CidWriteProtection
from securecoap.dtls.flights import Flight, FlightMessage
from securecoap.dtls.fragments import Assembled, Reassembly
from securecoap.dtls.key_schedule import (
    KeyBlock,
    extended_master_secret,
    key_block,
    master_secret,
    verify_data,
)
from securecoap.dtls.messages import HandshakeType, encode_handshake, parse_fragments
from securecoap.dtls.records import ContentType, PlaintextWriter, ReadProtection, Record, WriteProtection
from securecoap.dtls.session import Role, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from enum import Enum

    from securecoap.dtls.connection_id import ConnectionIds
    from securecoap.dtls.parameters import DtlsParameters, KeyLog, PskCredential, RandomSource
    from securecoap.dtls.suites import CipherSuite

__all__ = ["CHANGE_CIPHER_SPEC", "Environment", "Handshake", "Transition"]

CHANGE_CIPHER_SPEC: Final = b"\x01"
_FIRST_PROTECTED_EPOCH: Final = 1
_MAX_EARLY_RECORDS: Final = 4
"""Protected records that overtook the messages from which their keys come. More, and the peer's timer has to help."""


class Environment(NamedTuple):
    """What an endpoint hands to each of its handshakes."""

    parameters: DtlsParameters
    random: RandomSource
    key_log: KeyLog | None
    connection_ids: ConnectionIds


class Transition(NamedTuple):
    """One row of a side's table. The handler takes the handshake, the message and the time."""

    handler: Callable[[Any, Assembled, float], None]
    next_state: Enum


class Handshake:
    """One attempt to agree on a session with one peer.

    Attributes:
        peer: its address.
        serial: the endpoint's number for it.
        expires_at: when it has failed by time.
        output: datagrams to be sent; the endpoint empties it.
        session: the result, once Finished has been verified.
        peer_alert: the code of the authenticated alert with which the peer ended it.
    """

    __slots__ = (
        "_connection_id",
        "_early",
        "_extended",
        "_flight",
        "_master",
        "_message_sequence",
        "_peer_connection_id",
        "_plaintext",
        "_random",
        "_read",
        "_reassembly",
        "_state",
        "_suite",
        "_transcript",
        "_write",
        "client_random",
        "environment",
        "expires_at",
        "output",
        "peer",
        "peer_alert",
        "serial",
        "server_random",
        "session",
    )

    ROLE: ClassVar[Role]
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
        self.expires_at = now + parameters.handshake_time_limit
        self.output: list[bytes] = []
        self.session: Session | None = None
        self.peer_alert: int | None = None
        self.client_random = b""
        self.server_random = b""
        self._state = state
        self._reassembly = Reassembly(receive_sequence, parameters.limits.dtls_handshake_bytes)
        self._message_sequence = send_sequence
        self._plaintext = PlaintextWriter(record_sequence)
        self._transcript = bytearray()
        self._flight: Flight | None = None
        self._suite: CipherSuite | None = None
        self._extended = False
        self._connection_id = b""
        self._peer_connection_id = b""
        self._master = b""
        self._read: ReadProtection | None = None
        self._write: WriteProtection | None = None
        self._early: list[tuple[Record, bytes]] = []

    @property
    def deadline(self) -> float:
        """When ``handle_timeout`` wants to be called."""
        flight = self._flight
        return self.expires_at if flight is None else min(self.expires_at, flight.due)

    def handle_timeout(self, now: float) -> None:
        """Retransmit if it is time."""
        flight = self._flight
        if flight is not None and now >= flight.due:
            self.output += flight.retransmit(now)

    def alert_datagram(self, alert: Alert) -> bytes:
        """Return a fatal alert in the epoch that is written now."""
        writer = self._write if self._writes_protected() and self._write is not None else self._plaintext
        return writer.seal(ContentType.ALERT, encode_alert(ALERT_FATAL, alert))

    def receive_plaintext(self, payload: bytes, now: float) -> None:
        """Take a handshake record of epoch 0."""
        for fragment in parse_fragments(payload):
            # Finished comes protected; HelloRequest asks for what is under way already (RFC 5246 section 7.4.1.1).
            if fragment.message_type not in (HandshakeType.FINISHED, HandshakeType.HELLO_REQUEST):
                self._receive_fragment(fragment, now)

    def receive_protected(self, record: Record, datagram: bytes, now: float) -> None:
        """Take a record of the epoch that this handshake is to begin.

        Application data that overtook Finished is dropped, as RFC 6347 section 4.1 allows: it will come again.
        """
        if record.epoch != _FIRST_PROTECTED_EPOCH or record.content_type == ContentType.APPLICATION_DATA:
            return
        if self._read is None:
            if len(self._early) < _MAX_EARLY_RECORDS:
                self._early.append(
                    (record._replace(start=0, end=record.end - record.start), datagram[record.start : record.end])
                )
            return
        if not self._read.fits(record, datagram):
            return
        opened = self._read.unwrap(record, datagram)
        if opened is None:
            self._refuse_record(record)
            return
        content_type, plaintext = opened
        if content_type == ContentType.HANDSHAKE:
            for fragment in parse_fragments(plaintext):
                if fragment.message_type == HandshakeType.FINISHED:
                    self._receive_fragment(fragment, now)
        elif content_type == ContentType.ALERT:
            alert = parse_alert(plaintext)
            if alert is not None and alert[0]:
                self.peer_alert = alert[1]

    def _refuse_record(self, record: Record) -> None:
        """Take notice of a record that does not open; dropping it is the rule (RFC 6347 section 4.1.2.7)."""

    def _writes_protected(self) -> bool:
        """Say whether this side has sent its ChangeCipherSpec."""
        raise NotImplementedError

    def _receive_fragment(self, fragment: Any, now: float) -> None:
        reassembly = self._reassembly
        if fragment.message_sequence < reassembly.next_sequence:
            # Only the last message of the peer's flight: one answer to one retransmission.
            if fragment.message_sequence == reassembly.next_sequence - 1 and self._flight is not None:
                self.output += self._flight.repeat(now)
            return
        reassembly.add(fragment)
        while (message := reassembly.next_message()) is not None:
            self._dispatch(message, now)

    def _dispatch(self, message: Assembled, now: float) -> None:
        transition = self.TRANSITIONS.get((self._state, message.message_type))
        if transition is None:
            raise HandshakeFault(
                Alert.UNEXPECTED_MESSAGE, f"message {message.message_type} in state {self._state.value}"
            )
        self._state = transition.next_state
        transition.handler(self, message, now)

    def _message(self, message_type: HandshakeType, body: bytes) -> FlightMessage:
        """Make the next plaintext message of this side and put it into the transcript."""
        return FlightMessage(ContentType.HANDSHAKE, self._number(message_type, body), self._plaintext)

    def _finished(self, label: bytes, write: WriteProtection) -> tuple[FlightMessage, FlightMessage]:
        """Make ChangeCipherSpec and this side's Finished."""
        body = self._verify_data(label)
        return (
            FlightMessage(ContentType.CHANGE_CIPHER_SPEC, CHANGE_CIPHER_SPEC, self._plaintext),
            FlightMessage(ContentType.HANDSHAKE, self._number(HandshakeType.FINISHED, body), write),
        )

    def _number(self, message_type: HandshakeType, body: bytes) -> bytes:
        message = encode_handshake(message_type, self._message_sequence, body)
        self._message_sequence += 1
        self._transcript += message
        return message

    def _send_flight(self, messages: list[FlightMessage], now: float) -> None:
        parameters = self.environment.parameters
        self._flight = Flight(
            messages,
            parameters.datagram_size,
            parameters.retransmission_interval,
            parameters.max_retransmission_interval,
        )
        self.output += self._flight.transmit(now)

    def _chosen_suite(self) -> CipherSuite:
        suite = self._suite
        if suite is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "no cipher suite has been agreed upon")
        return suite

    def _transcript_hash(self) -> bytes:
        return hashlib.new(self._chosen_suite().prf_hash, self._transcript).digest()

    def _derive(self, premaster: bytes) -> KeyBlock:
        """Derive master secret and record keys; the transcript ends with ClientKeyExchange."""
        suite = self._chosen_suite()
        if self._extended:
            self._master = extended_master_secret(premaster, self._transcript_hash(), suite.prf_hash)
        else:
            self._master = master_secret(premaster, self.client_random, self.server_random, suite.prf_hash)
        if self.environment.key_log is not None:
            self.environment.key_log(f"CLIENT_RANDOM {self.client_random.hex()} {self._master.hex()}")
        return key_block(suite, self._master, self.client_random, self.server_random)

    def _protect(self, read: tuple[bytes, bytes], write: tuple[bytes, bytes]) -> WriteProtection:
        """Set up both directions; each argument is (key, implicit nonce part)."""
        suite = self._chosen_suite()
        epoch = _FIRST_PROTECTED_EPOCH
        ours, theirs = self._connection_id, self._peer_connection_id
        self._read = CidReadProtection(suite, *read, epoch, ours) if ours else ReadProtection(suite, *read, epoch)
        self._write = (
            CidWriteProtection(suite, *write, epoch, theirs) if theirs else WriteProtection(suite, *write, epoch)
        )
        return self._write

    def _take_early_records(self, now: float) -> None:
        early, self._early = self._early, []
        for record, datagram in early:
            self.receive_protected(record, datagram, now)

    def _verify_data(self, label: bytes) -> bytes:
        return verify_data(self._master, label, self._transcript_hash(), self._chosen_suite().prf_hash)

    def _check_finished(self, message: Assembled, label: bytes) -> None:
        if not compare_digest(message.body, self._verify_data(label)):
            raise HandshakeFault(Alert.DECRYPT_ERROR, "the peer's Finished does not fit the handshake")
        self._transcript += message.transcript()

    def _complete(self, credential: PskCredential, now: float, final_flight: tuple[FlightMessage, ...] = ()) -> None:
        if self._read is None or self._write is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "a handshake ended without keys")
        self._flight = None
        self._master = b""
        self.session = Session(
            peer=self.peer,
            role=self.ROLE,
            suite=self._chosen_suite(),
            read=self._read,
            write=self._write,
            credential=credential,
            client_random=self.client_random,
            now=now,
            final_flight=final_flight,
        )
