"""A session that we began: who carries message_3, who may go on, and what a refusal means (RFC 9668 section 3.2).

Until the server has message_3, one request carries it, and the others wait. What the server says without protection
may be forged: it ends a session that was never used, and only casts doubt on one that was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.edhoc.messages import parse_error
from securecoap.edhoc.sessions import RENEW_AT, FreshNumbers, Session
from securecoap.errors import CoapError, HandshakeFailed, SessionEnded
from securecoap.wire.codes import Code, dotted

if TYPE_CHECKING:
    import asyncio
    from typing import TypeAlias

    from securecoap.credentials.models import EdhocOscore
    from securecoap.edhoc.sessions import Sessions
    from securecoap.interfaces import EndpointAddress
    from securecoap.oscore.context import SecurityContext

    Key: TypeAlias = tuple[bytes, EndpointAddress, str]

__all__ = ["InitiatorSession"]


class InitiatorSession(Session):
    """A session that we began; an `Agreement`.

    Attributes:
        key: the key of the credential, the address, and the authority behind it if that is a proxy.
        pending: whether message_3 may not have arrived.
        opened: done when requests may go out that do not carry message_3.
        doubted: whether the server seems to have lost it.
        failure: why the server refused message_3.
    """

    __slots__ = (
        "_carrier", "_claimed", "_message_3", "_sessions", "doubted", "failure", "key", "opened", "pending", "renew_at",
    )  # fmt: skip

    def __init__(
        self,
        sessions: Sessions,
        context: SecurityContext,
        credential: EdhocOscore,
        key: Key,
        numbers: FreshNumbers,
        renew_at: float,
        expires_at: float,
        message_3: bytes | None,
        opened: asyncio.Future[None],
    ) -> None:
        super().__init__(context, credential, key, numbers, expires_at)
        self.key = key
        self._sessions = sessions
        self._message_3 = message_3
        self._carrier: object | None = None
        self._claimed = False
        self.renew_at = renew_at
        self.doubted = False
        self.pending = message_3 is not None
        self.failure: CoapError | None = None
        self.opened = opened
        if not self.pending:
            self.open()

    def is_usable(self, now: float) -> bool:
        """Whether new requests may go out under it."""
        fresh = now < self.renew_at and self.numbers.following < RENEW_AT
        return fresh and not self.doubted and not self.is_ended

    @property
    def is_unclaimed(self) -> bool:
        """Whether nobody carries message_3 yet."""
        return not self._claimed

    def claim(self) -> None:
        """The one who calls this sends a request next."""
        self._claimed = True

    def was_sent(self) -> bool:
        """Whether message_3 was given out."""
        return self._carrier is not None

    def open(self) -> None:
        """Nobody has to wait for message_3 any more."""
        if not self.opened.done():
            self.opened.set_result(None)

    def message_for(self, request: object) -> bytes | None:
        """Message_3, for the one request that carries it; see `Agreement`."""
        if self._carrier is None:
            self._carrier = request
        return self._message_3 if self._carrier is request else None

    def delivered(self) -> None:
        """Further requests may go out."""
        self.open()

    def proved(self) -> None:
        """The server has everything."""
        self.pending = False
        self._message_3 = None
        self.open()

    def abandoned(self) -> None:
        """Nobody knows whether the server has message_3: another exchange is the way out."""
        if self.pending and not self.opened.done():
            self._sessions.end(self, SessionEnded("the EDHOC exchange was given up"))

    def refused(self, code: int, payload: bytes) -> CoapError | None:
        """4.00 and 4.01 say that the server lacks the session, or refuses message_3; see `Agreement`."""
        if code not in (Code.BAD_REQUEST, Code.UNAUTHORIZED):
            return None
        if self.pending:
            said = parse_error(payload)
            error: CoapError = (
                SessionEnded(f"the server does not know the EDHOC exchange ({dotted(code)})")
                if said is None
                else HandshakeFailed(f"EDHOC failed: {said}")
            )
            self.failure = None if said is None else error
            self._sessions.end(self, error)
            return error
        self.doubted = True
        return SessionEnded(f"the server answered {dotted(code)} without protection: it has lost the EDHOC session")
