"""Sessions: OSCORE contexts that EDHOC agreed on, from agreement to end (RFC 9528 appendix A.1).

Their keys are new each time, so that sequence numbers begin at 0, the window knows everything, and nothing has to
survive a restart. A session ends when its time or its credential's is over, when the table is full, or when a newer one
has taken its place; then its identifier is given back, and whatever was under way under it ends with `SessionEnded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.deadlines import Deadlines
from securecoap.errors import SessionEnded
from securecoap.oscore.context import SecurityContext
from securecoap.oscore.sender import Sender
from securecoap.oscore.window import ReplayWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from securecoap.config import Limits
    from securecoap.credentials.models import EdhocOscore
    from securecoap.edhoc.engine import Output
    from securecoap.edhoc.identifiers import Identifiers
    from securecoap.errors import CoapError
    from securecoap.interfaces import Scheduler

__all__ = ["FreshNumbers", "Session", "Sessions"]

RENEW_AT: Final = 1 << 39
"""The sequence number at which a context wants new keys: half of them are left (RFC 8613 section 7.2.1)."""


class FreshNumbers:
    """Sequence numbers of keys that nobody had before: from 0, in memory; a `SequenceNumbers`."""

    __slots__ = ("following",)

    def __init__(self) -> None:
        self.following = 0

    def next_number(self) -> int:
        """A number that nobody had before. Beyond the last one there are none, which the sender sees."""
        number = self.following
        self.following = number + 1
        return number

    async def reserve(self) -> None:
        """There are always numbers."""


class Session:
    """One context and what belongs to it.

    Attributes:
        context: with `Session.numbers` as its sequence numbers.
        credential: the set by which the peer is known.
        peer: what the sessions with one peer have in common.
        expires_at: when it ends, by the scheduler's clock.
        is_ended: whether it has ended.
    """

    __slots__ = ("_seen", "context", "credential", "expires_at", "is_ended", "numbers", "peer")

    def __init__(
        self,
        context: SecurityContext,
        credential: EdhocOscore,
        peer: Hashable,
        numbers: FreshNumbers,
        expires_at: float,
    ) -> None:
        self.context = context
        self.credential = credential
        self.peer = peer
        self.numbers = numbers
        self.expires_at = expires_at
        self.is_ended = False
        self._seen = (-1, 0)

    def was_used(self) -> bool:
        """Whether a message went in either direction since this was asked the last time."""
        now = (self.context.window.highest, self.numbers.following)
        was_used = now != self._seen
        self._seen = now
        return was_used

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.context.label}>"


class Sessions:
    """Every session of an endpoint.

    Bounded by ``edhoc_sessions`` and, for each peer, ``edhoc_sessions_per_peer``: at the bound one goes that was
    not used for longest, roughly (each is passed over once if it was used since it was looked at the last time).
    Peers that have proved nothing count as one, with a bound of ``edhoc_exchanges``: they push out each other only.

    Args:
        identifiers: takes back those of sessions that end.
        scheduler: time.
        clock: seconds since 1970, for the validity of credentials.
        limits: bounds and lifetime.
        ended: called with each session that ends, and why.
    """

    def __init__(
        self,
        identifiers: Identifiers,
        scheduler: Scheduler,
        clock: Callable[[], float],
        limits: Limits,
        ended: Callable[[Session, CoapError], None],
    ) -> None:
        self._identifiers = identifiers
        self._scheduler = scheduler
        self._clock = clock
        self._limits = limits
        self._ended = ended
        self._by_kid: dict[bytes, Session] = {}  # in the order in which they are looked at
        self._by_peer: dict[Hashable, dict[Session, None]] = {}
        self._deadlines: Deadlines[Session] = Deadlines(scheduler, self._expire)

    def __len__(self) -> int:
        return len(self._by_kid)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_kid.values()))

    def find(self, kid: bytes) -> Session | None:
        """The session whose peer uses this identifier."""
        return self._by_kid.get(kid)

    def context(self, output: Output, credential: EdhocOscore, numbers: FreshNumbers) -> SecurityContext:
        """The context for what a key exchange gave; nobody finds it before `add`.

        Raises:
            ConfigurationError: the identifiers do not fit OSCORE.
        """
        context = SecurityContext.derive(
            output.secret, output.salt, output.sender_id, output.recipient_id, window=ReplayWindow()
        )
        context.sender = Sender(numbers, self._scheduler, limits=self._limits)
        context.label = credential.label
        context.claims = credential.claims
        return context

    def lifetime(self, credential: EdhocOscore) -> float:
        """How long a session with this credential lasts from now on, in seconds."""
        return min(self._limits.edhoc_session_seconds, credential.validity.not_after - self._clock())

    def add(self, session: Session) -> None:
        """From now on its peer's messages are taken; the identifier is the session's to give back."""
        credential = session.credential
        of_peer = self._by_peer.setdefault(session.peer, {})
        most = self._limits.edhoc_exchanges if credential.peer_anyone else self._limits.edhoc_sessions_per_peer
        if len(of_peer) >= most:
            self._limits.reached("edhoc_exchanges" if credential.peer_anyone else "edhoc_sessions_per_peer")
            self.end(_longest_idle(of_peer), SessionEnded("a newer session of the same peer has taken its place"))
        if len(self._by_kid) >= self._limits.edhoc_sessions:
            self._limits.reached("edhoc_sessions")
            queue = dict.fromkeys(self._by_kid.values())
            victim = _longest_idle(queue)
            self._by_kid = {one.context.recipient_id: one for one in queue}
            self.end(victim, SessionEnded("there are too many sessions"))
        self._by_peer.setdefault(session.peer, {})[session] = None
        self._by_kid[session.context.recipient_id] = session
        self._deadlines.add(session.expires_at, session)

    def end(self, session: Session, error: CoapError) -> None:
        """End a session, and what is under way under it; harmless when it has ended."""
        if session.is_ended:
            return
        session.is_ended = True
        context = session.context
        if self._by_kid.get(context.recipient_id) is session:
            del self._by_kid[context.recipient_id]
            of_peer = self._by_peer[session.peer]
            del of_peer[session]
            if not of_peer:
                del self._by_peer[session.peer]
        context.retire(error)
        self._ended(session, error)
        self._identifiers.release(context.recipient_id)

    def end_at(self, session: Session, when: float) -> None:
        """Let a session last no longer than that."""
        if when < session.expires_at:
            session.expires_at = when
            self._deadlines.add(when, session)

    def _expire(self, session: Session, now: float) -> None:
        if now >= session.expires_at:
            self.end(session, SessionEnded("the EDHOC session has expired"))

    def close(self, error: CoapError) -> None:
        """End all."""
        for session in list(self._by_kid.values()):
            self.end(session, error)
        self._deadlines.close()


def _longest_idle(queue: dict[Session, None]) -> Session:
    """One that was not used since it was looked at the last time; those that were go to the end, once."""
    for session in list(queue):
        if not session.was_used():
            return session
        del queue[session]
        queue[session] = None
    return next(iter(queue))
