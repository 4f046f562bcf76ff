"""The client's side of a handshake (RFC 6347 section 4.2.4, RFC 5246 section 7.3, RFC 4279, RFC 5746 section 3.4).

Resumption and the certificate messages are further rows of the table below. Must not know sockets or other handshakes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.connection_id import decode_connection_id, encode_connection_id
from securecoap.dtls.extensions import OFFERABLE, RENEGOTIATION_SCSV, Extension, check_content
from securecoap.dtls.handshake import Environment, Handshake, Transition
from securecoap.dtls.key_exchange import ClientKeyExchange, PskClientKeyExchange
from securecoap.dtls.key_schedule import CLIENT_FINISHED, SERVER_FINISHED
from securecoap.dtls.messages import (
    DTLS_1_2,
    RANDOM_LENGTH,
    ClientHello,
    HandshakeType,
    HelloVerifyRequest,
    ServerHello,
)
from securecoap.dtls.session import Role

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from securecoap.dtls.fragments import Assembled
    from securecoap.dtls.parameters import PskCredential

__all__ = ["ClientHandshake", "ClientState"]

_MAX_COOKIES: Final = 3
"""HelloVerifyRequests in one handshake; more of them would be a loop that somebody else drives."""


class ClientState(Enum):
    """What the client waits for."""

    SERVER_HELLO = "wait for ServerHello"
    SERVER_KEY_EXCHANGE = "wait for ServerKeyExchange or ServerHelloDone"
    SERVER_HELLO_DONE = "wait for ServerHelloDone"
    FINISHED = "wait for Finished"
    COMPLETE = "complete"


class ClientHandshake(Handshake):
    """Begins with ``start``.

    Attributes:
        credential: the key that is offered.
    """

    __slots__ = ("_cookies", "_exchange", "_hello", "credential")

    ROLE: ClassVar = Role.CLIENT

    def __init__(self, peer: Hashable, credential: PskCredential, environment: Environment, now: float) -> None:
        super().__init__(
            peer, environment, ClientState.SERVER_HELLO, now, receive_sequence=0, send_sequence=0, record_sequence=0
        )
        self.credential = credential
        self._cookies = 0
        self.client_random = environment.random(RANDOM_LENGTH)
        self._hello = ClientHello(
            DTLS_1_2,
            self.client_random,
            cipher_suites=(*(suite.code for suite in environment.parameters.suites), RENEGOTIATION_SCSV),
            extensions=self._offered_extensions(),
        )
        self._exchange: ClientKeyExchange = PskClientKeyExchange(credential)

    def _offered_extensions(self) -> dict[int, bytes]:
        parameters = self.environment.parameters
        offered = {int(Extension.EXTENDED_MASTER_SECRET): OFFERABLE[Extension.EXTENDED_MASTER_SECRET]}
        if parameters.connection_ids:
            if parameters.asks_for_connection_id:
                self._connection_id = self.environment.connection_ids.make()
            offered[Extension.CONNECTION_ID] = encode_connection_id(self._connection_id)
        return offered

    def start(self, now: float) -> None:
        """Send the first ClientHello."""
        self._send_hello(now)

    def stage(self) -> str:
        """Say for a person how far it came."""
        if self._state is ClientState.SERVER_HELLO and not self._cookies:
            return "nobody answered"
        if self._state is ClientState.FINISHED:
            return "the server did not accept our Finished (is the key the one that it has for this identity?)"
        return f"it stopped at: {self._state.value}"

    def _writes_protected(self) -> bool:
        return self._state in (ClientState.FINISHED, ClientState.COMPLETE)

    def _send_hello(self, now: float) -> None:
        # Neither HelloVerifyRequest nor the ClientHello that it answers is part of the transcript (section 4.2.1).
        self._transcript.clear()
        self._send_flight([self._message(HandshakeType.CLIENT_HELLO, self._hello.encode())], now)

    def _on_hello_verify_request(self, message: Assembled, now: float) -> None:
        request = HelloVerifyRequest.parse(message.body)
        self._cookies += 1
        if self._cookies > _MAX_COOKIES:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "the server never accepts its own cookie")
        hello = self._hello
        self._hello = ClientHello(
            hello.version,
            hello.random,
            hello.session_id,
            request.cookie,
            hello.cipher_suites,
            extensions=hello.extensions,
        )
        self._send_hello(now)

    def _on_server_hello(self, message: Assembled, _now: float) -> None:
        hello = ServerHello.parse(message.body)
        if hello.version != DTLS_1_2:
            raise HandshakeFault(Alert.PROTOCOL_VERSION, "the server does not speak DTLS 1.2")
        self._suite = self.environment.parameters.suite(hello.cipher_suite)
        if self._suite is None or hello.compression_method != 0:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server chose what was not offered")
        # The signalling suite counts as an offered renegotiation_info (RFC 5746 section 3.4).
        if hello.extensions.keys() - self._hello.extensions.keys() - {Extension.RENEGOTIATION_INFO}:
            raise HandshakeFault(Alert.UNSUPPORTED_EXTENSION, "the server answers an extension that was not offered")
        check_content(hello.extensions)
        self._extended = Extension.EXTENDED_MASTER_SECRET in hello.extensions
        if Extension.CONNECTION_ID in hello.extensions:
            self._peer_connection_id = decode_connection_id(hello.extensions[Extension.CONNECTION_ID])
        else:
            self._connection_id = b""
        self.server_random = hello.random
        self._transcript += message.transcript()

    def _on_server_key_exchange(self, message: Assembled, _now: float) -> None:
        self._exchange.read_server(message.body)
        self._transcript += message.transcript()

    def _on_server_hello_done(self, message: Assembled, now: float) -> None:
        if message.body:
            raise HandshakeFault(Alert.DECODE_ERROR, "a ServerHelloDone is empty")
        self._transcript += message.transcript()
        key_exchange = self._message(HandshakeType.CLIENT_KEY_EXCHANGE, self._exchange.client_message())
        keys = self._derive(self._exchange.premaster_secret())
        write = self._protect((keys.server_key, keys.server_iv), (keys.client_key, keys.client_iv))
        self._send_flight([key_exchange, *self._finished(CLIENT_FINISHED, write)], now)
        self._take_early_records(now)

    def _on_finished(self, message: Assembled, now: float) -> None:
        self._check_finished(message, SERVER_FINISHED)
        self._complete(self.credential, now)

    TRANSITIONS: ClassVar[Mapping[tuple[Enum, int], Transition]] = {
        (ClientState.SERVER_HELLO, HandshakeType.HELLO_VERIFY_REQUEST): Transition(
            _on_hello_verify_request, ClientState.SERVER_HELLO
        ),
        (ClientState.SERVER_HELLO, HandshakeType.SERVER_HELLO): Transition(
            _on_server_hello, ClientState.SERVER_KEY_EXCHANGE
        ),
        (ClientState.SERVER_KEY_EXCHANGE, HandshakeType.SERVER_KEY_EXCHANGE): Transition(
            _on_server_key_exchange, ClientState.SERVER_HELLO_DONE
        ),
        (ClientState.SERVER_KEY_EXCHANGE, HandshakeType.SERVER_HELLO_DONE): Transition(
            _on_server_hello_done, ClientState.FINISHED
        ),
        (ClientState.SERVER_HELLO_DONE, HandshakeType.SERVER_HELLO_DONE): Transition(
            _on_server_hello_done, ClientState.FINISHED
        ),
        (ClientState.FINISHED, HandshakeType.FINISHED): Transition(_on_finished, ClientState.COMPLETE),
    }
