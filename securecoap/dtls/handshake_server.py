"""The server's side of a handshake, from a ClientHello whose cookie is good (RFC 6347 section 4.2, RFC 5746).

Resumption and the certificate messages are further rows of the table below; a store of keys that answers later would
be a state between ClientKeyExchange and Finished. Must not know sockets, cookies or other handshakes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.connection_id import decode_connection_id, encode_connection_id
from securecoap.dtls.extensions import OFFERABLE, RENEGOTIATION_SCSV, Extension, check_content
from securecoap.dtls.handshake import Environment, Handshake, Transition
from securecoap.dtls.key_exchange import PskServerKeyExchange
from securecoap.dtls.key_schedule import CLIENT_FINISHED, SERVER_FINISHED
from securecoap.dtls.messages import (
    DTLS_1_2,
    RANDOM_LENGTH,
    HandshakeType,
    ServerHello,
)
from securecoap.dtls.records import ContentType, Record
from securecoap.dtls.session import Role

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from securecoap.dtls.admission import Admitted
    from securecoap.dtls.fragments import Assembled
    from securecoap.dtls.parameters import PskLookup

__all__ = ["ServerHandshake", "ServerState"]


class ServerState(Enum):
    """What the server waits for."""

    CLIENT_KEY_EXCHANGE = "wait for ClientKeyExchange"
    FINISHED = "wait for Finished"
    COMPLETE = "complete"


class ServerHandshake(Handshake):
    """Begins with ``start``.

    The first ServerHello repeats message and record number of the ClientHello (section 4.2.1). ``beside_session`` says
    whether a live session has this address.
    """

    __slots__ = ("_beside_session", "_exchange", "_hello", "_hello_message")

    ROLE: ClassVar = Role.SERVER

    def __init__(
        self,
        peer: Hashable,
        admitted: Admitted,
        environment: Environment,
        lookup: PskLookup,
        now: float,
        *,
        beside_session: bool,
    ) -> None:
        super().__init__(
            peer,
            environment,
            ServerState.CLIENT_KEY_EXCHANGE,
            now,
            receive_sequence=admitted.message.message_sequence + 1,
            send_sequence=admitted.message.message_sequence,
            record_sequence=admitted.record_sequence,
        )
        self._hello = admitted.hello
        self._hello_message = admitted.message
        self.client_random = admitted.hello.random
        self._beside_session = beside_session
        self._exchange = PskServerKeyExchange(lookup, environment.parameters.identity_hint, environment.random)

    @property
    def identity(self) -> bytes:
        """The identity that the client claims; proved only when ``session`` is there."""
        return self._exchange.identity

    @property
    def identity_known(self) -> bool:
        """Whether there is a key for it: for the log, never for the peer."""
        return self._exchange.credential is not None

    def start(self, now: float) -> None:
        """Answer the ClientHello."""
        hello = self._hello
        # DTLS counts versions downwards: 0xFEFD and below are 1.2 and later (RFC 6347 section 4.1).
        if hello.version >> 8 != DTLS_1_2 >> 8 or hello.version > DTLS_1_2:
            raise HandshakeFault(Alert.PROTOCOL_VERSION, "the client does not speak DTLS 1.2")
        if 0 not in hello.compression_methods:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the client insists on compression")
        check_content(hello.extensions)
        parameters = self.environment.parameters
        # The client's order decides: the weaker device knows what its hardware does well.
        self._suite = next((suite for code in hello.cipher_suites if (suite := parameters.suite(code))), None)
        if self._suite is None:
            raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "no cipher suite in common")
        answers: dict[int, bytes] = {}
        if Extension.EXTENDED_MASTER_SECRET in hello.extensions:
            self._extended = True
            answers[Extension.EXTENDED_MASTER_SECRET] = OFFERABLE[Extension.EXTENDED_MASTER_SECRET]
        if RENEGOTIATION_SCSV in hello.cipher_suites or Extension.RENEGOTIATION_INFO in hello.extensions:
            answers[Extension.RENEGOTIATION_INFO] = OFFERABLE[Extension.RENEGOTIATION_INFO]
        if Extension.CONNECTION_ID in hello.extensions and parameters.connection_ids:
            self._peer_connection_id = decode_connection_id(hello.extensions[Extension.CONNECTION_ID])
            self._connection_id = self.environment.connection_ids.make()
            answers[Extension.CONNECTION_ID] = encode_connection_id(self._connection_id)
        self.server_random = self.environment.random(RANDOM_LENGTH)
        self._transcript += self._hello_message.transcript()
        server_hello = ServerHello(DTLS_1_2, self.server_random, b"", self._suite.code, extensions=answers)
        flight = [self._message(HandshakeType.SERVER_HELLO, server_hello.encode())]
        key_exchange = self._exchange.server_message()
        if key_exchange is not None:
            flight.append(self._message(HandshakeType.SERVER_KEY_EXCHANGE, key_exchange))
        flight.append(self._message(HandshakeType.SERVER_HELLO_DONE, b""))
        self._send_flight(flight, now)

    def repeat_hello(self, now: float) -> None:
        """Answer the same ClientHello again: the answer was lost."""
        if self._state is ServerState.CLIENT_KEY_EXCHANGE and self._flight is not None:
            self.output += self._flight.repeat(now)

    def _writes_protected(self) -> bool:
        return self._state is ServerState.COMPLETE

    def _refuse_record(self, record: Record) -> None:
        # A client whose key is wrong is told so at once. Beside a live session such a record may be a late one of that
        # session, and nothing unauthenticated may take away what the client is doing.
        if record.content_type in (ContentType.HANDSHAKE, ContentType.TLS12_CID) and not self._beside_session:
            raise HandshakeFault(Alert.DECRYPT_ERROR, "the client's Finished was made with another key")

    def _on_client_key_exchange(self, message: Assembled, now: float) -> None:
        self._exchange.read_client(message.body)
        self._transcript += message.transcript()
        # The client has our flight; should its Finished be lost, its timer repeats it.
        self._flight = None
        keys = self._derive(self._exchange.premaster_secret())
        self._protect((keys.client_key, keys.client_iv), (keys.server_key, keys.server_iv))
        self._take_early_records(now)

    def _on_finished(self, message: Assembled, now: float) -> None:
        self._check_finished(message, CLIENT_FINISHED)
        credential = self._exchange.credential
        if credential is None or self._write is None:
            raise HandshakeFault(Alert.DECRYPT_ERROR, "nobody has this identity")
        final_flight = self._finished(SERVER_FINISHED, self._write)
        self._send_flight(list(final_flight), now)
        self._complete(credential, now, final_flight)

    TRANSITIONS: ClassVar[Mapping[tuple[Enum, int], Transition]] = {
        (ServerState.CLIENT_KEY_EXCHANGE, HandshakeType.CLIENT_KEY_EXCHANGE): Transition(
            _on_client_key_exchange, ServerState.FINISHED
        ),
        (ServerState.FINISHED, HandshakeType.FINISHED): Transition(_on_finished, ServerState.COMPLETE),
    }
