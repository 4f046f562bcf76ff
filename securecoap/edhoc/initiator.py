"""The client's side of EDHOC: one exchange for each peer, whoever wants a context with it (RFC 9528 appendix A.2.1).

The requests that wait at the start share one exchange. Its message_3 goes with the first of them (RFC 9668), and the
others wait until the server has it; large requests, and those that are not Confirmable, are preceded by a message_3 of
its own. A session that is old, or that the server seems to have lost, is replaced by a new one: what the server says
without protection may be forged, so the old one goes only when the new one is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from securecoap.core.deadlines import Deadlines
from securecoap.edhoc.engine import Initiator, anonymous_identity, claims_set_of, parse_claims_set
from securecoap.edhoc.initiated import InitiatorSession
from securecoap.edhoc.letters import Letters, authority_behind
from securecoap.edhoc.messages import NEW_SESSION, EdhocError, encode_identifier
from securecoap.edhoc.sessions import FreshNumbers, Session
from securecoap.errors import CoapError, ConfigurationError, CredentialsMissing, HandshakeFailed, SessionEnded

if TYPE_CHECKING:
    from securecoap.config import TransportParameters
    from securecoap.credentials.ccs import Ccs
    from securecoap.credentials.map import CredentialsMap
    from securecoap.credentials.models import EdhocIdentity, EdhocOscore
    from securecoap.edhoc.identifiers import Identifiers
    from securecoap.edhoc.initiated import Key
    from securecoap.edhoc.sessions import Sessions
    from securecoap.interfaces import RequestInterface, Scheduler
    from securecoap.oscore.context import SecurityContext
    from securecoap.wire.message import Message

__all__ = ["HANDSHAKE_SECONDS", "Initiation", "Initiations"]

HANDSHAKE_SECONDS: Final = 10.0
"""How long an exchange may take."""
_LARGEST_COMBINED: Final = 512
"""Bytes of payload beyond which message_3 goes alone: both might not fit a datagram (RFC 9668 section 3.2.2)."""
_RENEWED: Final = 0.9
"""The part of its lifetime after which a session is replaced, while requests under it go on."""


class _Run:
    """An exchange under way, with which credential, and how many wait for it."""

    __slots__ = ("credential", "task", "waiting")

    def __init__(self, credential: EdhocOscore, task: asyncio.Task[None]) -> None:
        self.credential = credential
        self.task = task
        self.waiting = 0


class Initiations:
    """Sessions that we began, by credential and address, and the exchanges that are under way.

    Args:
        sessions: where they are established.
        identifiers: of all sessions and exchanges.
        scheduler: time and tasks.
        parameters: how long requests under a replaced session may still take.
    """

    def __init__(
        self, sessions: Sessions, identifiers: Identifiers, scheduler: Scheduler, parameters: TransportParameters
    ) -> None:
        self.sessions = sessions
        self._identifiers = identifiers
        self._scheduler = scheduler
        self._parameters = parameters
        self._current: dict[Key, InitiatorSession] = {}
        self._running: dict[Key, _Run] = {}
        self._claims: Deadlines[InitiatorSession] = Deadlines(scheduler, self._look_after)

    def agreed(self, credential: EdhocOscore, message: Message) -> SecurityContext | None:
        """See `KeyAgreement.agreed`."""
        key = (credential.key, message.remote, authority_behind(message))
        session = self._current.get(key)
        if session is None or not session.opened.done() or not session.is_usable(self._scheduler.time()):
            return None
        return session.context

    async def agree(self, credential: EdhocOscore, message: Message, requests: RequestInterface) -> SecurityContext:
        """See `KeyAgreement.agree`."""
        key = (credential.key, message.remote, authority_behind(message))
        while True:
            session = self._current.get(key)
            if session is None or not session.is_usable(self._scheduler.time()):
                await self._join(key, credential, message, requests)
                session = self._current.get(key)
                if session is None or not session.is_usable(self._scheduler.time()):
                    raise SessionEnded("the EDHOC session was over as soon as it was there")
            if session.opened.done():
                return session.context
            elif session.is_unclaimed:
                session.claim()
                self._claims.add(self._scheduler.time() + HANDSHAKE_SECONDS, session)
                return session.context
            else:
                await asyncio.shield(session.opened)  # opened, or ended: then another one is agreed on
                if session.failure is not None:
                    raise session.failure

    @staticmethod
    def _look_after(session: InitiatorSession, _now: float) -> None:
        """Whoever claimed it may have ended before its request was sent."""
        if not session.was_sent():
            session.abandoned()

    async def _join(
        self,
        key: Key,
        credential: EdhocOscore,
        message: Message,
        requests: RequestInterface,
    ) -> None:
        """Begin an exchange, or wait for the one that somebody else began; it ends when nobody waits any more."""
        run = self._running.get(key)
        if run is None:
            task = self._scheduler.create_task(self._exchange(key, credential, message, requests))
            run = self._running[key] = _Run(credential, task)
            task.add_done_callback(lambda _: self._leave(key, run))
        run.waiting += 1
        try:
            await asyncio.wait([run.task])
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._leave(key, run)
                run.task.cancel()
        if run.task.cancelled():
            raise SessionEnded("the endpoint was closed, or the credential was removed")
        run.task.result()

    def _leave(self, key: Key, run: _Run) -> None:
        if self._running.get(key) is run:
            del self._running[key]
        if run.task.done() and not run.task.cancelled():
            run.task.exception()  # whoever waits sees it; nobody has to

    async def _exchange(
        self,
        key: Key,
        credential: EdhocOscore,
        message: Message,
        requests: RequestInterface,
    ) -> None:
        c_i = self._identifiers.take()
        session = None
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                session = await self._run(c_i, key, credential, message, requests)
        except TimeoutError as error:
            raise error if isinstance(error, CoapError) else HandshakeFailed("EDHOC: no answer in time") from None
        except EdhocError as error:
            raise HandshakeFailed(f"EDHOC failed: {error}") from None
        finally:
            if session is None:
                self._identifiers.release(c_i)
        self.sessions.add(session)
        former = self._current.pop(key, None)
        self._current[key] = session
        if former is not None and not former.is_ended:
            if former.doubted:
                self.sessions.end(former, SessionEnded("the server had lost the EDHOC session, and there is a new one"))
            else:  # what is under way under it may still be answered
                self.sessions.end_at(former, self._scheduler.time() + self._parameters.max_transmit_wait)

    async def _run(
        self, c_i: bytes, key: Key, credential: EdhocOscore, message: Message, requests: RequestInterface
    ) -> InitiatorSession:
        identity = credential.own or anonymous_identity()
        initiator = Initiator(identity)
        letters = Letters(message, requests, self._scheduler)
        message_2 = await letters.exchange(NEW_SESSION + initiator.message_1(c_i))
        try:
            id_cred_r = initiator.take_message_2(message_2)
            message_3 = initiator.message_3(_peer(credential, identity, id_cred_r))
        except EdhocError as error:
            if initiator.c_r:  # section 5.3.3: the other side is told, and need not keep its half any longer
                letters.tell(encode_identifier(initiator.c_r) + error.message)
            raise
        combined = (
            credential.combined and message.confirmable is not False and len(message.payload) <= _LARGEST_COMBINED
        )
        if combined:
            output = initiator.finish()
        else:
            output = initiator.finish(await letters.exchange(encode_identifier(initiator.c_r) + message_3))
        numbers = FreshNumbers()
        try:
            context = self.sessions.context(output, credential, numbers)
        except ConfigurationError as error:
            raise HandshakeFailed(f"EDHOC failed: {error}") from None
        if credential.peer_anyone:
            context.claims = ()  # nobody has proved anything
        now = self._scheduler.time()
        lifetime = self.sessions.lifetime(credential)
        session = InitiatorSession(
            self.sessions, context, credential, key, numbers,
            now + lifetime * _RENEWED, now + lifetime,
            message_3 if combined else None, self._scheduler.create_future(),
        )  # fmt: skip
        context.agreement = session
        return session

    def session_ended(self, session: Session) -> None:
        """A session is over: it is not used for anything new, and whoever waits for it begins another."""
        if isinstance(session, InitiatorSession):
            if self._current.get(session.key) is session:
                del self._current[session.key]
            session.open()

    def update(self, credentials: CredentialsMap) -> None:
        """End the exchanges with credentials that are not in this map."""
        for run in self._running.values():
            if credentials.current(run.credential) is None:
                run.task.cancel()

    async def close(self) -> None:
        """End the exchanges that are under way."""
        tasks = [run.task for run in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._claims.close()


def _peer(credential: EdhocOscore, identity: EdhocIdentity, id_cred_r: bytes) -> Ccs:
    """The credential that message_2 has to be composed with.

    What ID_CRED_R says is not compared: message_2 does not verify with any other credential than the one given here.
    """
    if credential.peer is not None:
        return credential.peer
    encoded = claims_set_of(id_cred_r)
    if not credential.peer_anyone or encoded is None:
        raise EdhocError("the server did not send its credential, and none is known")
    found = parse_claims_set(encoded)
    if found.x == identity.ccs.x:  # section D.5: anybody but ourselves
        raise EdhocError("the server has our own key")
    return found


class Initiation:
    """A `KeyAgreement` with one credential.

    Args:
        initiations: of the endpoint.
        credential: who we are, and who the peer has to be.
    """

    __slots__ = ("_credential", "_initiations")

    def __init__(self, initiations: Initiations, credential: EdhocOscore) -> None:
        if credential.own is None and not credential.own_anonymous:
            raise CredentialsMissing("edhoc-oscore has no own-cred")
        self._initiations = initiations
        self._credential = credential

    def agreed(self, message: Message) -> SecurityContext | None:
        """See `KeyAgreement.agreed`."""
        return self._initiations.agreed(self._credential, message)

    async def agree(self, message: Message, requests: RequestInterface) -> SecurityContext:
        """See `KeyAgreement.agree`."""
        return await self._initiations.agree(self._credential, message, requests)
