"""The handshakes of an endpoint that are under way, and their bound. Must not know records, sessions or an engine."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from securecoap.dtls.deadlines import Deadlines
from securecoap.dtls.session import Role

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from securecoap.config import Limits

__all__ = ["HandshakeTable"]

_CLIENT: Final = Role.CLIENT


class _Listed(Protocol):
    """What the table knows of a handshake; it gives it a serial while it is here, otherwise that is 0."""

    peer: Any
    serial: int

    @property
    def role(self) -> Role: ...

    def free(self) -> None: ...


C = TypeVar("C", bound=_Listed)
S = TypeVar("S", bound=_Listed)


class HandshakeTable(Generic[C, S]):
    """One of each side for each peer.

    At the bound (``Limits.dtls_handshakes``) a server's oldest one goes. Of ours that are suspended
    there are as many at most, and there too the oldest one goes.

    Attributes:
        clients: those in which this end is the client, by peer.
        servers: the others, by peer.
        due: when `pop_due` is to return each, by serial.
    """

    __slots__ = ("_by_serial", "_limits", "_serials", "_suspended", "clients", "due", "servers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._serials = count(1)
        self._by_serial: dict[int, C | S] = {}
        self.clients: dict[Hashable, C] = {}
        self.servers: dict[Hashable, S] = {}
        self._suspended: dict[Hashable, C] = {}
        self.due = Deadlines()

    def __len__(self) -> int:
        return len(self._by_serial)

    def __contains__(self, handshake: C | S) -> bool:
        return handshake.serial != 0

    def __iter__(self) -> Iterator[C | S]:
        return iter(list(self._by_serial.values()))

    def both(self, peer: Hashable) -> tuple[C | S, ...]:
        """Return those that there are with this peer, ours first."""
        client, server = self.clients.get(peer), self.servers.get(peer)
        if client is None:
            return () if server is None else (server,)
        return (client,) if server is None else (client, server)

    def add_client(self, handshake: C) -> None:
        """Take one of ours, in place of an earlier one with the same peer."""
        earlier = self.clients.get(handshake.peer)
        if earlier is not None:
            self.drop(earlier)
        self.clients[handshake.peer] = handshake
        handshake.serial = next(self._serials)
        self._by_serial[handshake.serial] = handshake

    def add_server(self, handshake: S) -> None:
        """Take one that a client began, in place of an earlier one with the same peer."""
        earlier = self.servers.get(handshake.peer)
        if earlier is not None:
            self.drop(earlier)
        elif len(self.servers) >= self._limits.dtls_handshakes:
            self._limits.reached("dtls_handshakes")
            self.drop(next(iter(self.servers.values())))
        self.servers[handshake.peer] = handshake
        handshake.serial = next(self._serials)
        self._by_serial[handshake.serial] = handshake

    def drop_client(self, peer: Hashable) -> None:
        """As `drop`, for one of ours, if there is one."""
        handshake = self.clients.get(peer)
        if handshake is not None:
            self.drop(handshake)

    def suspend(self, peer: Hashable) -> None:
        """Take out one of ours, and keep it beside for `take_up`; nothing reaches it there, and no timer.

        What the server is sending for it would be taken for its answer to a new one: a ServerHello does not say whose
        ClientHello it answers.
        """
        handshake = self.clients.get(peer)
        if handshake is None:
            return
        self.forget(handshake)
        while len(self._suspended) >= max(self._limits.dtls_handshakes, 1):
            self._limits.reached("dtls_handshakes")
            del self._suspended[next(iter(self._suspended))]
        self._suspended[peer] = handshake

    def take_up(self, peer: Hashable) -> C | None:
        """Return the suspended one with this peer, which is no longer kept."""
        return self._suspended.pop(peer, None)

    def pop_due(self, now: float) -> C | S | None:
        """Return one whose time has come."""
        serial = self.due.pop_due(now)
        return None if serial is None else self._by_serial[serial]

    def forget(self, handshake: C | S) -> None:
        """Take it out; what it holds goes on in a session."""
        del self._by_serial[handshake.serial]
        self.due.discard(handshake.serial)
        handshake.serial = 0
        if handshake.role is _CLIENT:
            del self.clients[handshake.peer]
        else:
            del self.servers[handshake.peer]

    def drop(self, handshake: C | S) -> None:
        """Take it out, and let go of what it holds."""
        self.forget(handshake)
        handshake.free()

    def drop_all(self) -> None:
        """As `drop`, for every one."""
        self._suspended.clear()
        for handshake in self:
            self.drop(handshake)
