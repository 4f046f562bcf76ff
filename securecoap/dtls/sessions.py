"""The sessions of one endpoint: found by peer and by connection ID, bounded, and the longest idle one known.

Two tables lead to a session. One has connection IDs of ours; the other the address at which each peer is now, where a
session with a connection ID gives way to one that can be found by nothing else. Must not know records or handshakes:
what ends a session is the endpoint's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from securecoap.dtls.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["SessionTable"]


class _Listed(Protocol):
    """What the table knows of a session."""

    peer: Any
    serial: int
    last_seen: float
    claims: tuple[str, ...]

    @property
    def connection_id(self) -> bytes: ...


S = TypeVar("S", bound=_Listed)


class SessionTable(Generic[S]):
    """All live sessions. At the bound (``Limits.dtls_sessions``) the endpoint closes ``first_to_go``.

    Args:
        idle_timeout: seconds without an authentic record after which a session has expired.

    Attributes:
        by_peer: sessions by the address of their peer.
        by_connection_id: sessions by the connection ID in the records that come.
        idle: when each may have been idle for too long, by serial.
    """

    __slots__ = ("_anonymous", "_by_serial", "_idle_timeout", "by_connection_id", "by_peer", "idle")

    def __init__(self, idle_timeout: float) -> None:
        self.by_peer: dict[Hashable, S] = {}
        self.by_connection_id: dict[bytes, S] = {}
        self._by_serial: dict[int, S] = {}
        self._anonymous: dict[int, S] = {}
        self.idle = Deadlines()
        self._idle_timeout = idle_timeout

    def __len__(self) -> int:
        return len(self._by_serial)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._by_serial.values()))

    def add(self, session: S) -> None:
        """Take a session whose serial is new. Whoever had its address or connection ID has been removed."""
        self._by_serial[session.serial] = session
        if not session.claims:
            self._anonymous[session.serial] = session
        self.idle.set(session.serial, session.last_seen + self._idle_timeout)
        self.by_peer[session.peer] = session
        if session.connection_id:
            self.by_connection_id[session.connection_id] = session

    def remove(self, session: S) -> None:
        """Forget a session."""
        del self._by_serial[session.serial]
        self._anonymous.pop(session.serial, None)
        self.idle.discard(session.serial)
        if self.by_peer.get(session.peer) is session:
            del self.by_peer[session.peer]
        if session.connection_id:
            del self.by_connection_id[session.connection_id]

    def move(self, session: S, peer: Hashable) -> None:
        """Note that the peer of a session with a connection ID is at another address now."""
        if self.by_peer.get(session.peer) is session:
            del self.by_peer[session.peer]
        session.peer = peer
        there = self.by_peer.get(peer)
        if there is None or there.connection_id:
            self.by_peer[peer] = session

    def pop_expired(self, now: float) -> S | None:
        """Return a session that has been idle for too long; it is still here."""
        while (serial := self.idle.pop_due(now)) is not None:
            session = self._by_serial[serial]
            expires_at = session.last_seen + self._idle_timeout
            if now >= expires_at:
                return session
            self.idle.set(serial, expires_at)
        return None

    def first_to_go(self, newcomer: S) -> S:
        """Return the session that makes room for a new one; it may be the newcomer.

        Peers that have proved nothing go first, the oldest of them before the others, and never take the place of one
        that has. Otherwise it is the one that is idle for longest.
        """
        for session in self._anonymous.values():
            return session
        return (self.longest_idle() if newcomer.claims else None) or newcomer

    def longest_idle(self) -> S | None:
        """Return the session that is idle for longest: the first whose noted time is its real one."""
        while (earliest := self.idle.first()) is not None:
            when, serial = earliest
            session = self._by_serial[serial]
            expires_at = session.last_seen + self._idle_timeout
            if expires_at <= when:
                return session
            self.idle.set(serial, expires_at)
        return None
