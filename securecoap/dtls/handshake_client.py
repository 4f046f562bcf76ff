"""The client's side of a handshake (RFC 6347 section 4.2.4, RFC 5246 section 7.3, RFC 5746 section 3.4).

The client's credential decides which key exchanges it offers: RFC 4279 and 5489 with a pre-shared key, RFC 8422 with a
raw public key (RFC 7250) or certificates. Must not know sockets or other handshakes, nor why a server is believed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.certificate_messages import (
    ECDSA_SIGN,
    RSA_SIGN,
    CertificateRequest,
    encode_certificate,
    encode_signed,
    parse_certificate,
)
from securecoap.dtls.certificates import leaf_key
from securecoap.dtls.client_offer import first_hello
from securecoap.dtls.connection_id import decode_connection_id
from securecoap.dtls.extensions import Extension, check_content, parse_bytes
from securecoap.dtls.handshake import Environment, Handshake, Transition
from securecoap.dtls.identities import CertificateType, ClientCredential, KeyCredential, Proof, Refusal, is_same
from securecoap.dtls.key_exchange import ClientKeyExchange, EcdheEcdsaClient, EcdhePskClient, PskClient
from securecoap.dtls.key_schedule import CLIENT_FINISHED, SERVER_FINISHED
from securecoap.dtls.messages import (
    DTLS_1_2,
    RANDOM_LENGTH,
    ClientHello,
    HandshakeType,
    HelloVerifyRequest,
    NewSessionTicket,
    ServerHello,
)
from securecoap.dtls.negotiation import schemes_for
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.resumption import SESSION_ID_LENGTH, Offer
from securecoap.dtls.session import Role
from securecoap.dtls.signatures import CERTIFICATE_SCHEMES, RAW_KEY_SCHEMES, common_scheme, parse_public_key, sign
from securecoap.dtls.suites import CipherSuite, KeyExchangeKind

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from securecoap.dtls.flights import FlightMessage
    from securecoap.dtls.identities import OwnKey
    from securecoap.dtls.messages import Fragment

__all__ = ["ClientHandshake", "ClientState"]

_MAX_COOKIES: Final = 3
"""HelloVerifyRequests in one handshake; more of them would be a loop that somebody else drives."""
_RSA_SCHEMES: Final = frozenset(CERTIFICATE_SCHEMES) - frozenset(RAW_KEY_SCHEMES)


class ClientState(Enum):
    """What the client waits for."""

    SERVER_HELLO = "wait for ServerHello"
    HINT = "wait for ServerKeyExchange or ServerHelloDone"
    CERTIFICATE = "wait for Certificate"
    SERVER_KEY_EXCHANGE = "wait for ServerKeyExchange"
    CERTIFICATE_REQUEST = "wait for CertificateRequest or ServerHelloDone"
    SERVER_HELLO_DONE = "wait for ServerHelloDone"
    FINISHED = "wait for Finished"
    RESUMED_FINISHED = "wait for Finished, of an earlier session that goes on"
    COMPLETE = "complete"

    __hash__ = object.__hash__  # equal means identical


class ClientHandshake(Handshake):
    """Begins with ``start``.

    Attributes:
        credential: what is offered.
        offer: the earlier session that is offered.
        next_offer: what can be offered next time, once the handshake is complete.
    """

    __slots__ = (
        "_cookies",
        "_exchange",
        "_hello",
        "_own_type",
        "_proof",
        "_request",
        "_server_chain",
        "_ticket",
        "credential",
        "next_offer",
        "offer",
    )

    role: ClassVar = Role.CLIENT

    def __init__(
        self,
        peer: Hashable,
        credential: ClientCredential,
        environment: Environment,
        now: float,
        offer: Offer | None = None,
    ) -> None:
        super().__init__(
            peer, environment, ClientState.SERVER_HELLO, now, receive_sequence=0, send_sequence=0, record_sequence=0
        )
        self.credential = credential
        self.next_offer: Offer | None = None
        self._ticket = b""
        self._cookies = 0
        self._exchange: ClientKeyExchange | None = None
        self._proof: PskCredential | Proof | None = None
        self._server_chain: tuple[bytes, ...] = ()
        self._request: CertificateRequest | None = None
        self._own_type = CertificateType.X509
        self.client_random = environment.random(RANDOM_LENGTH)
        self.offer = offer
        parameters = environment.parameters
        if parameters.connection_ids and parameters.asks_for_connection_id:
            self._connection_id = environment.connection_ids.make()
        self._hello = first_hello(credential, parameters, self.client_random, self._connection_id, offer)

    def start(self, now: float) -> None:
        """Send the first ClientHello; or, taken up, once more what the server may have answered meanwhile."""
        if self._flight is None:
            self._send_hello(now)
        else:
            self.output += self._flight.transmit(now)
            self.due = min(self.expires_at, self._flight.due)

    def can_go_on(self, credential: ClientCredential, now: float) -> bool:
        """Say whether a new attempt with this credential had better take up this one, which has been suspended.

        Not where no server has answered, and not for long: a server may have given it up, or lost it.
        """
        half = self.environment.parameters.handshake_time_limit / 2
        return self._cookies > 0 and now < self.expires_at - half and is_same(self.credential, credential)

    def stage(self) -> str:
        """Say for a person how far it came."""
        if self._state is ClientState.SERVER_HELLO and not self._cookies:
            return "nobody answered"
        if self._state is ClientState.FINISHED:
            has_psk = isinstance(self.credential, PskCredential)
            what = "key the one that it has for this identity" if has_psk else "key or certificate known to it"
            return f"the server did not accept our Finished (is the {what}?)"
        return f"it stopped at: {self._state.value}"

    def _send_hello(self, now: float) -> None:
        # Neither HelloVerifyRequest nor the ClientHello that it answers is part of the transcript (section 4.2.1).
        self._transcript.clear()
        self._send_flight([self._message(HandshakeType.CLIENT_HELLO, self._hello.encode())], now, shrinks=False)

    def _on_hello_verify_request(self, message: Fragment, now: float) -> None:
        request = HelloVerifyRequest.parse(message.data)
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

    def _on_server_hello(self, message: Fragment, _now: float) -> ClientState:
        hello = ServerHello.parse(message.data)
        if hello.version != DTLS_1_2:
            raise HandshakeFault(Alert.PROTOCOL_VERSION, "the server does not speak DTLS 1.2")
        suite = self.environment.parameters.suite(hello.cipher_suite)
        if suite is None or suite.code not in self._hello.cipher_suites or hello.compression_method != 0:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server chose what was not offered")
        self._suite = suite
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
        self._transcript += message.whole
        self.session_id = hello.session_id
        if self.offer is not None and hello.session_id == self.offer.session_id:
            return self._go_on(self.offer)
        self._choose_exchange(suite)
        if suite.key_exchange is KeyExchangeKind.PSK:
            return ClientState.HINT
        formats = hello.extensions.get(Extension.EC_POINT_FORMATS)
        if formats is not None and 0 not in parse_bytes(formats):
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server takes no uncompressed points")
        if suite.key_exchange is KeyExchangeKind.ECDHE_PSK:
            return ClientState.SERVER_KEY_EXCHANGE
        self._own_type = self._answered_type(hello, Extension.CLIENT_CERTIFICATE_TYPE)
        if self._answered_type(hello, Extension.SERVER_CERTIFICATE_TYPE) is not self._key_credential().certificate_type:
            raise HandshakeFault(Alert.UNSUPPORTED_CERTIFICATE, "the server has no raw public key to show")
        return ClientState.CERTIFICATE

    def _go_on(self, offer: Offer) -> ClientState:
        """Take up the earlier session, if the server still is who it was (RFC 5246 section 7.3, RFC 7627)."""
        if self._suite is not offer.suite:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server goes on with another cipher suite")
        if not self._extended:
            raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "a session may not lose its Extended Master Secret")
        credential = self.credential
        if isinstance(credential, PskCredential):
            self._proof = credential
        else:
            self._server_chain = offer.chain
            self._judge(credential)
        self._master = offer.master
        self._expand(self._chosen_suite())
        return ClientState.RESUMED_FINISHED

    def _judge(self, credential: KeyCredential) -> None:
        verdict = credential.judge(self._server_chain)
        if isinstance(verdict, Refusal):
            raise HandshakeFault(verdict.alert, f"the server is not the one that is meant: {verdict.text}")
        self._proof = verdict

    def _choose_exchange(self, suite: CipherSuite) -> None:
        groups = self.environment.parameters.groups
        credential = self.credential
        if not isinstance(credential, PskCredential):
            schemes = schemes_for(credential.certificate_type)
            self._exchange = EcdheEcdsaClient(groups, schemes, self.client_random + self.server_random)
            return
        self._proof = credential
        if suite.key_exchange is KeyExchangeKind.PSK:
            self._exchange = PskClient(credential.identity, credential.key)
        else:
            self._exchange = EcdhePskClient(credential.identity, credential.key, groups)

    @staticmethod
    def _answered_type(hello: ServerHello, extension: int) -> CertificateType:
        """The type that the server chose; without an answer it is X.509 (RFC 7250 section 4.2)."""
        content = hello.extensions.get(extension)
        if content is None:
            return CertificateType.X509
        if content != bytes((CertificateType.RAW_PUBLIC_KEY,)):  # the only one that is ever offered
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server chose a certificate type that was not offered")
        return CertificateType.RAW_PUBLIC_KEY

    def _key_credential(self) -> KeyCredential:
        credential = self.credential
        if not isinstance(credential, KeyCredential):
            raise HandshakeFault(Alert.INTERNAL_ERROR, "a pre-shared key has no certificate")
        return credential

    def _chosen_exchange(self) -> ClientKeyExchange:
        if self._exchange is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "no key exchange has been agreed upon")
        return self._exchange

    def _on_certificate(self, message: Fragment, _now: float) -> None:
        kind = self._key_credential().certificate_type
        chain = parse_certificate(message.data, kind)
        if not chain:
            raise HandshakeFault(Alert.BAD_CERTIFICATE, "the server shows no key")
        exchange = self._exchange
        if isinstance(exchange, EcdheEcdsaClient):
            is_raw = kind is CertificateType.RAW_PUBLIC_KEY
            exchange.server_key = parse_public_key(chain[0]) if is_raw else leaf_key(chain[0])
        self._server_chain = chain
        self._transcript += message.whole

    def _on_server_key_exchange(self, message: Fragment, _now: float) -> ClientState:
        self._chosen_exchange().read_server(message.data)
        self._transcript += message.whole
        credential = self.credential
        if isinstance(credential, PskCredential):
            return ClientState.SERVER_HELLO_DONE
        # Only now: who has not the key need not be looked at.
        self._judge(credential)
        return ClientState.CERTIFICATE_REQUEST

    def _on_certificate_request(self, message: Fragment, _now: float) -> None:
        self._request = CertificateRequest.parse(message.data)
        self._transcript += message.whole

    def _on_server_hello_done(self, message: Fragment, now: float) -> None:
        if message.data:
            raise HandshakeFault(Alert.DECODE_ERROR, "a ServerHelloDone is empty")
        self._transcript += message.whole
        flight: list[FlightMessage] = []
        own, scheme = self._shown_key()
        if self._request is not None:
            body = encode_certificate(self._own_type, () if own is None else own.chain)
            flight.append(self._message(HandshakeType.CERTIFICATE, body))
        exchange = self._chosen_exchange()
        flight.append(self._message(HandshakeType.CLIENT_KEY_EXCHANGE, exchange.client_message()))
        write = self._derive(exchange.premaster_secret())
        if own is not None:
            # Over every message so far (RFC 5246 section 7.4.8).
            signature = sign(own.private, scheme, bytes(self._transcript))
            flight.append(self._message(HandshakeType.CERTIFICATE_VERIFY, encode_signed(scheme, signature)))
        self._send_flight([*flight, *self._finished(CLIENT_FINISHED, write)], now)

    def _shown_key(self) -> tuple[OwnKey | None, int]:
        """Our key and the scheme with which it signs, if the server asks for one of that kind."""
        request = self._request
        if request is None:
            return None, 0
        own = self._key_credential().own
        if own is None or own.certificate_type is not self._own_type:
            return None, 0
        scheme = common_scheme(own.schemes, request.schemes)
        if scheme is None or (RSA_SIGN if scheme in _RSA_SCHEMES else ECDSA_SIGN) not in request.certificate_types:
            return None, 0
        return own, scheme

    def _on_finished(self, message: Fragment, now: float) -> None:
        self._check_finished(message, SERVER_FINISHED)
        if self._proof is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "the server has proved nothing")
        self._keep_for_resumption(self._ticket, now)
        self._complete(self._proof, now)

    def _on_new_session_ticket(self, message: Fragment, _now: float) -> None:
        self._ticket = NewSessionTicket.parse(message.data).ticket
        self._transcript += message.whole

    def _on_resumed_finished(self, message: Fragment, now: float) -> None:
        self._check_finished(message, SERVER_FINISHED)
        if self._proof is None or self._write is None or self.offer is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "the server has proved nothing")
        final_flight = self._finished(CLIENT_FINISHED, self._write)
        self._send_flight(list(final_flight), now)
        # The old ticket stays good; a session is never resumed for longer than its full handshake allows.
        self._keep_for_resumption(self._ticket or self.offer.ticket, self.offer.made_at)
        self._complete(self._proof, now, final_flight)

    def _keep_for_resumption(self, ticket: bytes, made_at: float) -> None:
        """Make the offer of next time: with a ticket, or by the server's session ID."""
        session_id = self.environment.random(SESSION_ID_LENGTH) if ticket else self.session_id
        if self._extended and session_id and self.environment.parameters.resumption:
            self.next_offer = Offer(
                self.credential, session_id, ticket, self._chosen_suite(), self._master, self._server_chain, made_at
            )

    TRANSITIONS: ClassVar[Mapping[tuple[Enum, int], Transition]] = {
        (ClientState.SERVER_HELLO, HandshakeType.HELLO_VERIFY_REQUEST): Transition(
            _on_hello_verify_request, (ClientState.SERVER_HELLO,)
        ),
        (ClientState.SERVER_HELLO, HandshakeType.SERVER_HELLO): Transition(
            _on_server_hello,
            (
                ClientState.HINT,
                ClientState.SERVER_KEY_EXCHANGE,
                ClientState.CERTIFICATE,
                ClientState.RESUMED_FINISHED,
            ),
        ),
        (ClientState.FINISHED, HandshakeType.NEW_SESSION_TICKET): Transition(
            _on_new_session_ticket, (ClientState.FINISHED,)
        ),
        (ClientState.RESUMED_FINISHED, HandshakeType.NEW_SESSION_TICKET): Transition(
            _on_new_session_ticket, (ClientState.RESUMED_FINISHED,)
        ),
        (ClientState.RESUMED_FINISHED, HandshakeType.FINISHED): Transition(
            _on_resumed_finished, (ClientState.COMPLETE,)
        ),
        (ClientState.HINT, HandshakeType.SERVER_KEY_EXCHANGE): Transition(
            _on_server_key_exchange, (ClientState.SERVER_HELLO_DONE,)
        ),
        (ClientState.HINT, HandshakeType.SERVER_HELLO_DONE): Transition(_on_server_hello_done, (ClientState.FINISHED,)),
        (ClientState.CERTIFICATE, HandshakeType.CERTIFICATE): Transition(
            _on_certificate, (ClientState.SERVER_KEY_EXCHANGE,)
        ),
        (ClientState.SERVER_KEY_EXCHANGE, HandshakeType.SERVER_KEY_EXCHANGE): Transition(
            _on_server_key_exchange, (ClientState.SERVER_HELLO_DONE, ClientState.CERTIFICATE_REQUEST)
        ),
        (ClientState.CERTIFICATE_REQUEST, HandshakeType.CERTIFICATE_REQUEST): Transition(
            _on_certificate_request, (ClientState.SERVER_HELLO_DONE,)
        ),
        (ClientState.CERTIFICATE_REQUEST, HandshakeType.SERVER_HELLO_DONE): Transition(
            _on_server_hello_done, (ClientState.FINISHED,)
        ),
        (ClientState.SERVER_HELLO_DONE, HandshakeType.SERVER_HELLO_DONE): Transition(
            _on_server_hello_done, (ClientState.FINISHED,)
        ),
        (ClientState.FINISHED, HandshakeType.FINISHED): Transition(_on_finished, (ClientState.COMPLETE,)),
    }
