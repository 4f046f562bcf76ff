"""The server's side of EDHOC: half-open exchanges, and what they become (RFC 9528 sections 5.2.3, 5.3.2 and 5.4.3).

Between message_1 and message_3 nobody is authenticated. What is kept for a stranger then, an identifier and the state
of one exchange, is bounded in number, for all and for each address, and for half a minute. message_3 is taken from the
address of message_1 only: an identifier has one byte, and whoever guesses it must not end the exchange of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.deadlines import Deadlines
from securecoap.edhoc.engine import Responder, claims_set_of, kid_of, parse_claims_set
from securecoap.edhoc.messages import (
    UNKNOWN_CREDENTIAL,
    EdhocError,
    parse_error,
    parse_message_1,
    take_byte_string,
)
from securecoap.edhoc.sessions import FreshNumbers, Session
from securecoap.errors import ConfigurationError
from securecoap.oscore.agreement import AgreementRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits
    from securecoap.credentials.ccs import Ccs
    from securecoap.credentials.edhoc_peers import EdhocPeers
    from securecoap.credentials.models import Credential, EdhocOscore
    from securecoap.edhoc.identifiers import Identifiers
    from securecoap.edhoc.sessions import Sessions
    from securecoap.interfaces import EndpointAddress, Scheduler

__all__ = ["HALF_OPEN_SECONDS", "Exchanges", "NoIdentity"]

HALF_OPEN_SECONDS: Final = 60.0
"""How long message_3 may take: the last retransmission of a Confirmable request comes after 45 s (RFC 7252)."""
_TRUE: Final = b"\xf5"


class NoIdentity(Exception):  # not for users: the resource answers it
    """There is no credential of ours that is valid now."""


class _Exchange:
    __slots__ = ("c_r", "peers", "remote", "responder")

    def __init__(self, responder: Responder, c_r: bytes, remote: EndpointAddress, peers: EdhocPeers) -> None:
        self.responder = responder
        self.c_r = c_r
        self.remote = remote
        self.peers = peers


class Exchanges:
    """Half-open exchanges, by C_R.

    Bounded by ``edhoc_exchanges`` (the oldest of an unconfirmed address goes, or the oldest; from half of it on
    strangers are asked for an Echo first) and, for each address, by ``edhoc_exchanges_per_peer`` (its oldest goes).

    Args:
        peers: whom we know at the moment.
        sessions: where completed ones go.
        identifiers: of all sessions and exchanges.
        scheduler: time.
        clock: seconds since 1970.
        limits: bounds.
        report_use: is told of credentials that are not valid.
    """

    def __init__(
        self,
        peers: Callable[[], EdhocPeers],
        sessions: Sessions,
        identifiers: Identifiers,
        scheduler: Scheduler,
        clock: Callable[[], float],
        limits: Limits,
        report_use: Callable[[Credential | None], None],
    ) -> None:
        self._peers = peers
        self._sessions = sessions
        self._identifiers = identifiers
        self._scheduler = scheduler
        self._clock = clock
        self._limits = limits
        self._report_use = report_use
        self._open: dict[bytes, _Exchange] = {}
        self._by_remote: dict[EndpointAddress, list[_Exchange]] = {}
        self._deadlines: Deadlines[_Exchange] = Deadlines(scheduler, lambda exchange, _: self._drop(exchange))

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_crowded(self) -> bool:
        """Whether half of the room is taken."""
        return 2 * len(self._open) >= self._limits.edhoc_exchanges

    def message_1(self, data: bytes, remote: EndpointAddress) -> bytes:
        """Begin an exchange; message_2.

        Raises:
            EdhocError: message_1 is not acceptable; nothing is kept.
            NoIdentity: we have no credential.
        """
        wanted = parse_message_1(data)
        peers = self._peers()
        identity = peers.identity(self._clock())
        if identity is None:
            raise NoIdentity
        responder = Responder(identity)
        responder.take_message_1(data)
        c_r = self._identifiers.take(other=wanted.c_i)  # section 3.3.3: both would be the same OSCORE id
        try:
            message_2 = responder.message_2(c_r)
        except EdhocError:
            self._identifiers.release(c_r)
            raise
        self._make_room(remote)
        exchange = self._open[c_r] = _Exchange(responder, c_r, remote, peers)
        self._by_remote.setdefault(remote, []).append(exchange)
        self._deadlines.add(self._scheduler.time() + HALF_OPEN_SECONDS, exchange)
        return message_2

    def message_3(self, c_r: bytes, data: bytes, remote: EndpointAddress) -> bytes:
        """Complete an exchange; message_4. Whatever comes of it, the exchange is over.

        Raises:
            AgreementRefused: there is no such exchange, or message_3 is not acceptable.
        """
        exchange = self._open.get(c_r)
        if exchange is None or exchange.remote != remote:
            raise AgreementRefused("no EDHOC exchange has this identifier here")
        self._forget(exchange)
        if (said := parse_error(data)) is not None:
            self._identifiers.release(c_r)
            raise AgreementRefused(f"the peer has ended the EDHOC exchange: {said}", cause="peer-ended")
        try:
            session, message_4 = self._complete(exchange, data)
        except EdhocError as error:
            self._identifiers.release(c_r)
            raise AgreementRefused(str(error), error.message, error.cause) from None
        except ConfigurationError as error:
            self._identifiers.release(c_r)
            answer = EdhocError("the identifiers do not fit OSCORE").message
            raise AgreementRefused(str(error), answer, "malformed") from None
        self._sessions.add(session)
        return message_4

    def combined(self, kid: bytes, payload: bytes, remote: EndpointAddress) -> bytes:
        """Complete an exchange with the message_3 in a combined request (RFC 9668 section 3.3.1); its OSCORE payload.

        Raises:
            AgreementRefused: as `message_3`, or the payload has no message_3.
        """
        try:
            message_3, rest = take_byte_string(payload)
        except EdhocError as error:
            raise AgreementRefused(f"a combined request: {error}", error.message, error.cause) from None
        try:
            self.message_3(kid, message_3, remote)
        except AgreementRefused as error:
            if error.answer is not None:  # here it is always error code 1
                error.answer = EdhocError(str(error)).message
            raise
        return rest

    def _complete(self, exchange: _Exchange, data: bytes) -> tuple[Session, bytes]:
        id_cred = exchange.responder.take_message_3(data)
        credential, ccs = self._who(exchange.peers, id_cred)
        output, message_4 = exchange.responder.finish(ccs)
        # Here and not before is it known who it is: section 5.4.3, and RFC 8613 has no claims without a proof.
        numbers = FreshNumbers()
        context = self._sessions.context(output, credential, numbers)
        expires_at = self._scheduler.time() + self._sessions.lifetime(credential)
        return Session(context, credential, credential.key, numbers, expires_at), message_4

    def _who(self, peers: EdhocPeers, id_cred: bytes) -> tuple[EdhocOscore, Ccs]:
        now = self._clock()
        kid = kid_of(id_cred)
        encoded = claims_set_of(id_cred)
        found = None
        if kid is not None:
            found = peers.by_kid(kid, now)
        elif encoded is not None:
            found = peers.by_value(encoded, now)
            if found is None and (found := peers.anyone(now)) is not None:
                return found, parse_claims_set(encoded)
        if found is not None and found.peer is not None:
            return found, found.peer
        if kid is not None:
            self._report_use(peers.by_kid(kid, None))
        elif encoded is not None:
            self._report_use(peers.by_value(encoded, None))
        raise EdhocError("the credential is not known", UNKNOWN_CREDENTIAL, _TRUE)

    def _make_room(self, remote: EndpointAddress) -> None:
        here = self._by_remote.get(remote)
        if here is not None and len(here) >= self._limits.edhoc_exchanges_per_peer:
            self._limits.reached("edhoc_exchanges_per_peer")
            self._drop(here[0])
        if len(self._open) >= self._limits.edhoc_exchanges:
            self._limits.reached("edhoc_exchanges")
            oldest = next(iter(self._open.values()))
            self._drop(next((one for one in self._open.values() if not one.remote.confirmed), oldest))

    def _drop(self, exchange: _Exchange) -> None:
        if self._open.get(exchange.c_r) is exchange:
            self._forget(exchange)
            self._identifiers.release(exchange.c_r)

    def _forget(self, exchange: _Exchange) -> None:
        """From now on nobody finds it; its identifier is still taken."""
        del self._open[exchange.c_r]
        here = self._by_remote[exchange.remote]
        here.remove(exchange)
        if not here:
            del self._by_remote[exchange.remote]

    def update(self, peers: EdhocPeers) -> None:
        """Go on with other peers; exchanges in which we said to be somebody else than we are now are over."""
        now = self._clock()
        identity = peers.identity(now)
        for exchange in list(self._open.values()):
            if exchange.peers.identity(now) == identity:
                exchange.peers = peers
            else:
                self._drop(exchange)

    def close(self) -> None:
        """Forget all."""
        for exchange in list(self._open.values()):
            self._drop(exchange)
        self._deadlines.close()
