"""EDHOC of one endpoint: responder and initiator over one table of sessions and identifiers.

It is what the rest of the program sees of this room. Messages go out through the `RequestInterface` that each agreement
is given; time, chance and the credentials of the moment are handed in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from securecoap.credentials.models import EdhocOscore
from securecoap.edhoc import engine
from securecoap.edhoc.identifiers import Identifiers
from securecoap.edhoc.initiator import Initiation, Initiations
from securecoap.edhoc.resource import EdhocResource, EdhocTree
from securecoap.edhoc.responder import Exchanges
from securecoap.edhoc.sessions import Session, Sessions
from securecoap.errors import CredentialsMissing, SessionEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits, TransportParameters
    from securecoap.credentials.map import CredentialsMap
    from securecoap.credentials.models import Credential
    from securecoap.errors import CoapError
    from securecoap.events import Events
    from securecoap.interfaces import EndpointAddress, Randomness, Resource, ResourceTree, Scheduler
    from securecoap.oscore.agreement import KeyAgreement
    from securecoap.oscore.context import SecurityContext

__all__ = ["EdhocEndpoint"]

_log = logging.getLogger(__name__)


class EdhocEndpoint:
    """See the module.

    Args:
        credentials: of the endpoint.
        scheduler: time and tasks.
        randomness: for identifiers.
        clock: seconds since 1970.
        limits: bounds of what is kept.
        parameters: of the message layer.
        release: ends what is under way under a context.
        events: hears of exchanges that fail.
        report_use: is told of the use of credentials that are not valid.

    Attributes:
        sessions: the contexts that were agreed on.
        exchanges: those of which message_3 has not come.
    """

    def __init__(
        self,
        credentials: CredentialsMap,
        scheduler: Scheduler,
        randomness: Randomness,
        clock: Callable[[], float],
        limits: Limits,
        parameters: TransportParameters,
        release: Callable[[SecurityContext, CoapError], None],
        events: Events,
        report_use: Callable[[Credential | None], None],
    ) -> None:
        self._events = events
        self._credentials = credentials
        self._release = release
        self._scheduler = scheduler
        self._clock = clock
        self.identifiers = Identifiers(randomness, self._is_configured)
        self.sessions = Sessions(self.identifiers, scheduler, clock, limits, self._ended)
        self.exchanges = Exchanges(
            lambda: self._credentials.edhoc, self.sessions, self.identifiers, scheduler, clock, limits, report_use
        )
        self._initiations = Initiations(self.sessions, self.identifiers, scheduler, parameters)

    def find(self, kid: bytes) -> SecurityContext | None:
        """The context whose peer uses this identifier."""
        session = self.sessions.find(kid)
        return None if session is None else session.context

    def agreement(self, credential: EdhocOscore) -> KeyAgreement:
        """How a context with the peer of a credential comes about."""
        return Initiation(self._initiations, credential)

    def complete(self, kid: bytes, payload: bytes, remote: EndpointAddress) -> bytes:
        """See `Exchanges.combined`."""
        return self.exchanges.combined(kid, payload, remote)

    def tree(self, root: ResourceTree | Resource | None, make_echo: Callable[[EndpointAddress], bytes]) -> EdhocTree:
        """The application's resources with ``/.well-known/edhoc``, for which ``make_echo`` makes Echo values."""
        for one in self._credentials.edhoc.unheard:
            _log.warning("%s: the server presents another own-cred, and does not accept this peer", one.label)
        try:
            engine.require()
        except CredentialsMissing as error:
            _log.warning("%s; until then no peer can agree on keys with this server", error)
        return EdhocTree(root, EdhocResource(self.exchanges, make_echo, self._events))

    def update(self, credentials: CredentialsMap) -> None:
        """Go on with other credentials: sessions of those that are gone end, the others have the new claims.

        Exchanges that were begun go on if they still can.
        """
        self._credentials = credentials
        self.exchanges.update(credentials.edhoc)
        self._initiations.update(credentials)
        wall_clock = self._clock()
        for session in self.sessions:
            now = credentials.current(session.credential)
            if not isinstance(now, EdhocOscore) or not now.validity.covers(wall_clock):
                self.sessions.end(session, SessionEnded("its credential was removed, or is not valid any more"))
                continue
            session.credential = now
            self.sessions.end_at(session, self._scheduler.time() + now.validity.not_after - wall_clock)
            if session.context.claims:
                session.context.claims = now.claims

    def _is_configured(self, kid: bytes) -> bool:
        return self._credentials.has_oscore_kid(kid)

    def _ended(self, session: Session, error: CoapError) -> None:
        self._initiations.session_ended(session)
        self._release(session.context, error)

    async def close(self) -> None:
        """End everything."""
        await self._initiations.close()
        self.exchanges.close()
        self.sessions.close(SessionEnded("the endpoint was closed"))
