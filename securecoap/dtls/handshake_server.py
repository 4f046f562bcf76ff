"""The server's side of a handshake, from a ClientHello whose cookie is good (RFC 6347 section 4.2, RFC 5246 § 7.3).

What it offers follows from the ClientHello (``negotiation.py``). Who the client is, a store says; it may answer later,
and then the handshake waits in a state of its own, within its time limit. Must not know sockets, cookies or other
handshakes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.certificate_messages import (
    encode_certificate,
    parse_certificate,
    parse_signed,
)
from securecoap.dtls.certificates import leaf_key
from securecoap.dtls.connection_id import decode_connection_id, encode_connection_id
from securecoap.dtls.engine import Suspect
from securecoap.dtls.evidence import Evidence, ask_again, believed
from securecoap.dtls.extensions import OFFERABLE, RENEGOTIATION_SCSV, Extension, check_content
from securecoap.dtls.flights import pack
from securecoap.dtls.handshake import ANSWER, Environment, Handshake, Transition
from securecoap.dtls.identities import CertificateType, Proof, Refusal, Verdict
from securecoap.dtls.key_exchange import EcdheEcdsaServer, EcdhePskServer, ServerKeyExchange
from securecoap.dtls.key_schedule import CLIENT_FINISHED, SERVER_FINISHED
from securecoap.dtls.messages import (
    DTLS_1_2,
    RANDOM_LENGTH,
    HandshakeType,
    NewSessionTicket,
    ServerHello,
)
from securecoap.dtls.negotiation import Choice, answers_for, certificate_request, choose, choose_resumption, schemes_for
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.pending import Pending
from securecoap.dtls.records import ContentType, Record
from securecoap.dtls.resumption import SESSION_ID_LENGTH, Resumable, binder
from securecoap.dtls.session import Role
from securecoap.dtls.signatures import parse_public_key, verify

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from securecoap.dtls.admission import Admitted
    from securecoap.dtls.flights import FlightMessage
    from securecoap.dtls.groups import Group
    from securecoap.dtls.messages import Fragment
    from securecoap.dtls.signatures import PublicKey

__all__ = ["ServerHandshake", "ServerState"]

_EXTENDED_MASTER_SECRET: Final = Extension.EXTENDED_MASTER_SECRET
_RENEGOTIATION_INFO: Final = Extension.RENEGOTIATION_INFO
_CONNECTION_ID: Final = Extension.CONNECTION_ID
_SERVER_NAME: Final = Extension.SERVER_NAME
_STAND_IN_KEY_LENGTH: Final = 16


class ServerState(Enum):
    """What the server waits for."""

    CLIENT_HELLO = "wait for ClientHello"
    RESUMPTION_LOOK_UP = "wait for the store that knows whether an earlier session still holds"
    RESUMED_FINISHED = "wait for Finished, of an earlier session that goes on"
    CERTIFICATE = "wait for Certificate"
    CLIENT_KEY_EXCHANGE = "wait for ClientKeyExchange"
    PSK_LOOK_UP = "wait for the store of pre-shared keys"
    CERTIFICATE_VERIFY = "wait for CertificateVerify"
    PEER_LOOK_UP = "wait for the store of peers"
    FINISHED = "wait for Finished"
    COMPLETE = "complete"

    __hash__ = object.__hash__  # equal means identical


class ServerHandshake(Handshake):
    """Begins with ``start``.

    The first ServerHello repeats message and record number of the ClientHello (section 4.2.1). ``beside_session`` says
    whether a live session has this address.

    An unknown PSK identity gets a random key and goes on: its Finished fails as that of a wrong key does, with the same
    alert after the same work, so that nobody can ask which identities exist (RFC 4279 section 5.3 and 7.1). Likewise
    nobody is told whether a public key or certificate is known before having shown its private key.
    """

    __slots__ = (
        "_beside_session",
        "_choice",
        "_client_chain",
        "_client_key",
        "_exchange",
        "_hello",
        "_hello_message",
        "_identity",
        "_new_id",
        "_proof",
        "_resumed",
        "_sends_ticket",
        "_stand_in",
    )

    role: ClassVar = Role.SERVER

    def __init__(
        self,
        peer: Hashable,
        admitted: Admitted,
        environment: Environment,
        now: float,
        *,
        beside_session: bool,
    ) -> None:
        super().__init__(
            peer,
            environment,
            ServerState.CLIENT_HELLO,
            now,
            receive_sequence=admitted.message.message_sequence + 1,
            send_sequence=admitted.message.message_sequence,
            record_sequence=admitted.record_sequence,
        )
        self._hello = admitted.hello
        self._hello_message = admitted.message
        self.client_random = admitted.hello.random
        self._beside_session = beside_session
        self._choice: Choice | None = None
        self._exchange: ServerKeyExchange | None = None
        self._client_chain: tuple[bytes, ...] = ()
        self._client_key: PublicKey | None = None
        self._identity: bytes | None = None
        self._stand_in = b""
        self._new_id = b""
        self._proof: PskCredential | Proof | None = None
        self._resumed: Resumable | None = None
        self._sends_ticket = False

    def suspect(self) -> Suspect | None:
        """See `Handshake.suspect`: as far as the client said so."""
        return None if self._identity is None else Suspect(self._identity, self._proof is not None)

    def stage(self) -> str:
        """Say for a person how far it came."""
        return f"the client stopped (this end: {self._state.value})" if self.pending is None else self._state.value

    def start(self, now: float) -> None:
        """Answer the ClientHello."""
        self._step(HandshakeType.CLIENT_HELLO, self._hello_message, now)

    def _on_client_hello(self, message: Fragment, now: float) -> ServerState:
        hello = self._hello
        # DTLS counts versions downwards: 0xFEFD and below are 1.2 and later (RFC 6347 section 4.1).
        if hello.version >> 8 != DTLS_1_2 >> 8 or hello.version > DTLS_1_2:
            raise HandshakeFault(Alert.PROTOCOL_VERSION, "the client does not speak DTLS 1.2")
        if 0 not in hello.compression_methods:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the client insists on compression")
        check_content(hello.extensions)
        self._extended = _EXTENDED_MASTER_SECRET in hello.extensions
        environment = self.environment
        # The stand-in key is drawn for known identities too: both ways cost the same.
        drawn = environment.random(RANDOM_LENGTH + _STAND_IN_KEY_LENGTH + SESSION_ID_LENGTH)
        self.server_random, self._stand_in = drawn[:RANDOM_LENGTH], drawn[RANDOM_LENGTH:-SESSION_ID_LENGTH]
        self._new_id = drawn[-SESSION_ID_LENGTH:]
        self._transcript += message.whole
        # The session ID tells a client that takes tickets, too, whether its was good (RFC 5077 section 3.4).
        if hello.session_id and environment.resumption is not None:
            self._resumed = choose_resumption(hello, environment.parameters, environment.resumption, now)
        if self._resumed is None:
            return self._begin_full(now)
        answer = ask_again(self._resumed.evidence, environment.lookup, environment.keys)
        if isinstance(answer, Pending):
            self.pending = answer
            return ServerState.RESUMPTION_LOOK_UP
        return self._on_asked_again(answer, now)

    def _on_asked_again(self, answer: object, now: float) -> ServerState:
        """Go on with the earlier session if its credential still holds; else as if nothing had been offered."""
        hello, proof, resumed = self._hello, believed(answer), self._resumed
        if proof is None or resumed is None or not resumed.is_bound_to(proof):
            return self._begin_full(now)
        self._proof, self._identity, self._evidence = proof, proof.identity, resumed.evidence
        self._suite = self.environment.parameters.suite(resumed.suite)
        self._master = resumed.master
        self.session_id = b"" if hello.extensions.get(Extension.SESSION_TICKET) else hello.session_id
        answers = self._common_answers()
        server_hello = ServerHello(DTLS_1_2, self.server_random, hello.session_id, resumed.suite, extensions=answers)
        first = self._message(HandshakeType.SERVER_HELLO, server_hello.encode())
        self._send_flight([first, *self._finished(SERVER_FINISHED, self._expand(self._chosen_suite()))], now)
        return ServerState.RESUMED_FINISHED

    def _begin_full(self, now: float) -> ServerState:
        hello = self._hello
        environment = self.environment
        parameters = environment.parameters
        keys = environment.keys
        has_psk = environment.lookup is not None and (keys is None or keys.has_psk())
        choice = choose(hello, parameters, keys, has_psk=has_psk)
        self._choice = choice
        self._suite = choice.suite
        answers = self._common_answers()
        if choice.group is not None:
            answers |= answers_for(hello, choice)
        is_anonymous = choice.own is not None and choice.client_type is None
        if environment.resumption is not None and self._extended and not is_anonymous:
            # A ticket would stand in both ClientHellos of the next handshake: with a plain pre-shared key that is more
            # than a full one sends, and as much work. Such a session is kept here, unless another process may be asked.
            is_worth_it = choice.group is not None or parameters.shared_secret is not None
            if is_worth_it and Extension.SESSION_TICKET in hello.extensions:
                self._sends_ticket = True
                answers[Extension.SESSION_TICKET] = b""
            else:
                self.session_id = self._new_id
        server_hello = ServerHello(DTLS_1_2, self.server_random, self.session_id, choice.suite.code, extensions=answers)
        flight = [self._message(HandshakeType.SERVER_HELLO, server_hello.encode())]
        if choice.own is not None:
            body = encode_certificate(choice.own.certificate_type, choice.own.chain)
            flight.append(self._message(HandshakeType.CERTIFICATE, body))
        exchange = environment.plain_psk if choice.group is None else self._make_exchange(choice, choice.group)
        if exchange is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "there is no store of pre-shared keys")
        self._exchange = exchange
        key_exchange = exchange.server_message()
        if key_exchange is not None:
            flight.append(self._message(HandshakeType.SERVER_KEY_EXCHANGE, key_exchange))
        if choice.client_type is not None:
            flight.append(
                self._message(HandshakeType.CERTIFICATE_REQUEST, certificate_request(choice.client_type, keys))
            )
        elif is_anonymous:
            self._proof = Proof(b"")  # an anonymous client: nothing here could check what it might show
        flight.append(self._message(HandshakeType.SERVER_HELLO_DONE, b""))
        self._send_flight(flight, now)
        return ServerState.CLIENT_KEY_EXCHANGE if choice.client_type is None else ServerState.CERTIFICATE

    def _common_answers(self) -> dict[int, bytes]:
        """The extensions of any ServerHello, also for a session that goes on: connection IDs are agreed upon afresh."""
        hello = self._hello
        offered = hello.extensions
        answers: dict[int, bytes] = {}
        if self._extended:
            answers[_EXTENDED_MASTER_SECRET] = OFFERABLE[_EXTENDED_MASTER_SECRET]
        if RENEGOTIATION_SCSV in hello.cipher_suites or _RENEGOTIATION_INFO in offered:
            answers[_RENEGOTIATION_INFO] = OFFERABLE[_RENEGOTIATION_INFO]
        if _CONNECTION_ID in offered and self.environment.parameters.connection_ids:
            self._peer_connection_id = decode_connection_id(offered[_CONNECTION_ID])
            self._connection_id = self.environment.connection_ids.make()
            answers[_CONNECTION_ID] = encode_connection_id(self._connection_id)
        return answers

    def _make_exchange(self, choice: Choice, group: Group) -> ServerKeyExchange:
        if choice.own is None:
            return EcdhePskServer(group, self.environment.parameters.identity_hint)
        return EcdheEcdsaServer(group, choice.own, choice.scheme, self.client_random + self.server_random)

    def repeat_hello(self, now: float) -> None:
        """Answer the same ClientHello again: the answer was lost."""
        if self._flight is not None:
            self.output += self._flight.repeat(now)

    def _refuse_record(self, record: Record) -> None:
        # A client whose key is wrong is told so at once. Beside a live session such a record may be a late one of that
        # session, and nothing unauthenticated may take away what the client is doing.
        if record.content_type in (ContentType.HANDSHAKE, ContentType.TLS12_CID) and not self._beside_session:
            raise HandshakeFault(Alert.DECRYPT_ERROR, "the client's Finished was made with another key")

    def _on_certificate(self, message: Fragment, _now: float) -> None:
        kind = None if self._choice is None else self._choice.client_type
        if kind is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "nobody asked for a Certificate")
        chain = parse_certificate(message.data, kind)
        if not chain:
            raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "the client shows no key or certificate")
        is_raw = kind is CertificateType.RAW_PUBLIC_KEY
        self._client_key = parse_public_key(chain[0]) if is_raw else leaf_key(chain[0])
        self._client_chain = chain
        self._evidence = Evidence.of_chain(kind, chain)
        self._transcript += message.whole

    def _on_client_key_exchange(self, message: Fragment, now: float) -> ServerState:
        if self._exchange is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "no key exchange has been agreed upon")
        identity = self._exchange.read_client(message.data)
        self._transcript += message.whole
        # The client has our flight; should its Finished be lost, its timer repeats it.
        self._flight = None
        lookup = self.environment.lookup
        if identity is None or lookup is None:
            self._derive(self._exchange.premaster_secret(b""))
            return ServerState.FINISHED if self._client_key is None else ServerState.CERTIFICATE_VERIFY
        self._identity = identity
        answer = lookup(identity)
        if isinstance(answer, Pending):
            self.pending = answer
            return ServerState.PSK_LOOK_UP
        return self._on_psk(answer, now)

    def _on_psk(self, credential: PskCredential | None, _now: float) -> ServerState:
        if self._exchange is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "no key exchange has been agreed upon")
        self._proof = credential
        self._derive(self._exchange.premaster_secret(self._stand_in if credential is None else credential.key))
        return ServerState.FINISHED

    def _on_certificate_verify(self, message: Fragment, now: float) -> ServerState:
        kind = None if self._choice is None else self._choice.client_type
        keys, key = self.environment.keys, self._client_key
        if kind is None or keys is None or key is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "nobody asked for a CertificateVerify")
        signed = parse_signed(message.data)
        # Over every message before this one (RFC 5246 section 7.4.8).
        verify(key, signed.scheme, signed.signature, bytes(self._transcript), schemes_for(kind))
        self._transcript += message.whole
        verdict = keys.judge(kind, self._client_chain)
        if isinstance(verdict, Pending):
            self.pending = verdict
            return ServerState.PEER_LOOK_UP
        return self._on_verdict(verdict, now)

    def _on_verdict(self, verdict: Verdict, _now: float) -> ServerState:
        self._identity = verdict.identity
        if isinstance(verdict, Refusal):
            raise HandshakeFault(verdict.alert, verdict.text)
        self._proof = verdict
        return ServerState.FINISHED

    def _on_finished(self, message: Fragment, now: float) -> None:
        self._check_finished(message, CLIENT_FINISHED)
        if self._proof is None or self._write is None:
            raise HandshakeFault(Alert.DECRYPT_ERROR, "nobody has this identity")
        ticket = self._keep_for_resumption(self._proof, now)
        final_flight = (*ticket, *self._finished(SERVER_FINISHED, self._write))
        # No timer: it goes again when the client asks for it (RFC 6347 section 4.2.4).
        self.output += pack(final_flight, self.environment.parameters.datagram_size)
        self._complete(self._proof, now, final_flight)

    def _keep_for_resumption(self, proof: PskCredential | Proof, now: float) -> tuple[FlightMessage, ...]:
        """Keep what a resumption needs, or return the message that has the client keep it (RFC 5077 section 3.3)."""
        resumption, suite, keyed = self.environment.resumption, self._suite, self._keyed
        if resumption is None or suite is None or keyed is None or not (self._sends_ticket or self.session_id):
            return ()
        name = self._hello.extensions.get(_SERVER_NAME, b"")
        if isinstance(proof, PskCredential):
            if not self._sends_ticket:
                resumption.keep(self.session_id, (suite, self._master, proof, name, now))
                return ()
            evidence = Evidence.of_identity(proof.identity)
        elif self._evidence is not None:
            evidence = self._evidence
        else:
            return ()
        resumable = Resumable(suite.code, self._master, evidence, binder(keyed, proof), name, now)
        if not self._sends_ticket:
            resumption.keep(self.session_id, resumable.encode())
            return ()
        lifetime = int(self.environment.parameters.resumption_lifetime)
        body = NewSessionTicket(lifetime, resumption.ticket(resumable, now)).encode()
        return (self._message(HandshakeType.NEW_SESSION_TICKET, body),)

    def _on_resumed_finished(self, message: Fragment, now: float) -> None:
        self._check_finished(message, CLIENT_FINISHED)
        if self._proof is None:
            raise HandshakeFault(Alert.INTERNAL_ERROR, "a session goes on with nobody")
        self._complete(self._proof, now)

    TRANSITIONS: ClassVar[Mapping[tuple[Enum, int], Transition]] = {
        (ServerState.CLIENT_HELLO, HandshakeType.CLIENT_HELLO): Transition(
            _on_client_hello,
            (
                ServerState.CLIENT_KEY_EXCHANGE,
                ServerState.CERTIFICATE,
                ServerState.RESUMED_FINISHED,
                ServerState.RESUMPTION_LOOK_UP,
            ),
        ),
        (ServerState.RESUMPTION_LOOK_UP, ANSWER): Transition(
            _on_asked_again,
            (ServerState.CLIENT_KEY_EXCHANGE, ServerState.CERTIFICATE, ServerState.RESUMED_FINISHED),
        ),
        (ServerState.RESUMED_FINISHED, HandshakeType.FINISHED): Transition(
            _on_resumed_finished, (ServerState.COMPLETE,)
        ),
        (ServerState.CERTIFICATE, HandshakeType.CERTIFICATE): Transition(
            _on_certificate, (ServerState.CLIENT_KEY_EXCHANGE,)
        ),
        (ServerState.CLIENT_KEY_EXCHANGE, HandshakeType.CLIENT_KEY_EXCHANGE): Transition(
            _on_client_key_exchange,
            (ServerState.FINISHED, ServerState.PSK_LOOK_UP, ServerState.CERTIFICATE_VERIFY),
        ),
        (ServerState.PSK_LOOK_UP, ANSWER): Transition(_on_psk, (ServerState.FINISHED,)),
        (ServerState.CERTIFICATE_VERIFY, HandshakeType.CERTIFICATE_VERIFY): Transition(
            _on_certificate_verify, (ServerState.FINISHED, ServerState.PEER_LOOK_UP)
        ),
        (ServerState.PEER_LOOK_UP, ANSWER): Transition(_on_verdict, (ServerState.FINISHED,)),
        (ServerState.FINISHED, HandshakeType.FINISHED): Transition(_on_finished, (ServerState.COMPLETE,)),
    }
