"""The seam behind which a DTLS engine stands: what a transport may ask of one, and what it is told.

``Endpoint`` (in Python) is the first engine; one around another library would be one more module with the same
methods. No IO, no clock: the transport hands in datagrams, ``now`` (seconds, monotonic) and randomness. Must not know
any engine.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from securecoap.dtls.identities import ClientCredential
    from securecoap.dtls.session import Role
    from securecoap.errors import HandshakeFailed

__all__ = ["DtlsEngine", "DtlsEvents", "DtlsSession", "EndReason", "SavedSession", "Suspect"]

_CERTIFICATE_ALERTS: Final = frozenset({"bad_certificate", "certificate_expired", "unknown_ca"})
_SHOWN: Final = 64
"""Bytes of an identity in a log."""


class EndReason(Enum):
    """Why a session is gone; the value is a text for a person."""

    CLOSED = "closed by this end"
    CLOSED_BY_PEER = "closed by the peer"
    ALERT = "ended by a fatal alert of the peer"
    REPLACED = "replaced by a new session of the same peer"
    IDLE = "idle for too long"
    EVICTED = "the longest idle one when there were too many sessions"
    EXHAUSTED = "no record numbers are left"
    EXPIRED = "its credential is not valid any more"
    SAVED = "kept for a restart"
    REVOKED = "its credential was removed or replaced"


class SavedSession(NamedTuple):
    """What is left of a session for a restart.

    Attributes:
        peer: its address.
        evidence: what the client has shown: no secret.
        state: secret, and good for one use.
        source: of the credential, which is not kept.
    """

    peer: Any
    evidence: bytes
    state: bytes
    source: Any = None

    def __repr__(self) -> str:
        return f"<SavedSession {self.peer!r}>"


class DtlsSession(Protocol):
    """What a transport sees of a session. ``claims`` are proved: a session is there only when Finished was verified."""

    @property
    def peer(self) -> Hashable:
        """The address at which it is reached."""

    @property
    def role(self) -> Role:
        """Which side this end is."""

    @property
    def epoch(self) -> int:
        """The epoch of the keys."""

    @property
    def identity(self) -> bytes:
        """The PSK identity."""

    claims: tuple[str, ...]
    """What the peer has proved to be, outermost label first. A transport may set it when the credentials change."""

    source: Any
    """``PskCredential.source`` of the credential that was used; as ``claims``."""

    @property
    def alive(self) -> bool:
        """Whether it can still be used."""

    @property
    def last_seen(self) -> float:
        """When the peer's latest authentic record came."""

    def seal_application(self, data: bytes, /) -> bytes:
        """Return the record that carries ``data``, for a transport that sends it by itself; only while ``alive``.

        Raises:
            SequenceExhausted: there is no number left for it; the session has to be closed.
            ValueError: it is longer than a record may be (16384 bytes).
        """

    owner: Any
    """For the transport: its address object."""


class Suspect(NamedTuple):
    """Who a client says that it is, before it has proved it."""

    identity: bytes
    is_known: bool

    def cause(self, alert: str | None) -> str | None:
        """What a failure is counted as, if it is nobody whom we know, and if its alert does not say more than that."""
        return None if self.is_known or alert in _CERTIFICATE_ALERTS else "unknown-identity"

    def __str__(self) -> str:
        return f"{'known' if self.is_known else 'unknown'} identity {self.identity[:_SHOWN]!r}"


class DtlsEvents(Protocol):
    """What an engine tells. Called while a method of the engine runs; they may call any other of its methods."""

    def transmit(self, datagram: bytes, peer: Any, /) -> None:
        """Put a datagram on the wire; a failure to do so is like its loss."""

    def application_data(self, session: Any, data: bytes, /) -> None:
        """Take one authentic record of application data."""

    def session_established(self, session: Any, /) -> None:
        """Take a session whose Finished was verified."""

    def session_moved(self, session: Any, previous: Any, /) -> None:
        """Send to ``session.peer`` from now on, not to ``previous``: a newer record came from there (RFC 9146).

        That the peer receives there is not shown: nothing but a bounded amount may be sent before it is.
        """

    def session_ended(self, session: Any, reason: EndReason, /) -> None:
        """Forget a session: it neither sends nor receives any more."""

    def handshake_failed(self, peer: Any, role: Role, error: HandshakeFailed, /) -> None:
        """Take notice of a handshake that did not succeed; a server's are for the log."""

    def record_dropped(self, peer: Any, cause: str, /) -> None:
        """Take notice of a protected record that meant nothing: ``replay``, ``not-decrypted`` or ``no-session``."""


class DtlsEngine(Protocol):
    """All sessions of one bound endpoint."""

    def receive(self, datagram: bytes, peer: Any, now: float, /) -> bool:
        """Take any datagram; what is not for us is dropped.

        Say whether something may be due earlier now than ``next_timeout`` has said last.
        """

    def connect(self, peer: Any, credential: ClientCredential, now: float, /) -> None:
        """Begin a handshake. It ends in ``session_established`` or ``handshake_failed``."""

    def cancel(self, peer: Any, /) -> None:
        """Drop a handshake that ``connect`` began; nothing more is sent or told."""

    def suspend(self, peer: Any, /) -> None:
        """As ``cancel``, for a server that may go on: a ``connect`` with the same credential soon takes it up."""

    def close(self, session: Any, reason: EndReason = EndReason.CLOSED, /) -> None:
        """Send close_notify and end the session."""

    def session(self, peer: Any, /) -> Any | None:
        """Return the live session with this address."""

    def sessions(self) -> Iterator[Any]:
        """Iterate over the sessions that live now; they may be closed meanwhile."""

    def save(self, now: float, /) -> list[SavedSession]:
        """End every session of a client that can go on after a restart, without a word to it."""

    def ask_again(self, evidence: bytes, /) -> Any:
        """Ask the stores what a saved session's evidence proves now: an answer with a ``source``, `Pending`, or less.

        Raises:
            ValueError: it is no evidence.
        """

    def restore(self, saved: SavedSession, answer: Any, now: float, elapsed: float, /) -> bool:
        """Go on with a saved session, once, ``elapsed`` seconds later; ``False`` if it cannot be.

        Ends in ``session_established``. ``answer`` is what ``ask_again`` gave; with less than a proof it cannot be.
        """

    def next_timeout(self) -> float:
        """Return when ``handle_timeout`` has to be called, infinity for never; it may be too early.

        Ask again after each call into the engine.
        """

    def handle_timeout(self, now: float, /) -> None:
        """Do what is due."""

    def shutdown(self) -> None:
        """Close every session and drop every handshake."""
