"""The handshakes of a tinydtls endpoint that are under way, and their bound. Must not know records or sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from securecoap.dtls.deadlines import Deadlines
from securecoap.dtls.session import Role

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.dtls.parameters import PskCredential
    from securecoap.dtls.pending import Pending
    from securecoap.dtls.tinydtls_association import Association

__all__ = ["TinydtlsHandshake", "TinydtlsHandshakes"]


@dataclass(slots=True, eq=False)
class TinydtlsHandshake:
    """One attempt. A client's credential is known from the start, a server's when the identity has come.

    Attributes:
        keys: the association's: a server's is filled in when the identity has come.
        answered: whether the server's hello is out (or, for a client, all of its flight has come).
        changed_cipher: whether the client's ChangeCipherSpec has come, after its identity.
        pending: the question for the key; ``held`` has what came meanwhile.
    """

    peer: Hashable
    role: Role
    association: Association
    keys: dict[bytes, bytes]
    expires_at: float
    serial: int
    client_random: bytes = b""
    credential: PskCredential | None = None
    identity: bytes = b""
    answered: bool = False
    changed_cipher: bool = False
    pending: Pending | None = None
    held: list[bytes] = field(default_factory=list)


class TinydtlsHandshakes:
    """One of each side for each peer. At the bound (``Limits.dtls_handshakes``) a server's oldest one goes."""

    __slots__ = ("_by_serial", "_clients", "_due", "_limit", "_servers")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_serial: dict[int, TinydtlsHandshake] = {}
        self._clients: dict[Hashable, TinydtlsHandshake] = {}
        self._servers: dict[Hashable, TinydtlsHandshake] = {}
        self._due = Deadlines()

    def __len__(self) -> int:
        return len(self._by_serial)

    def __contains__(self, handshake: TinydtlsHandshake) -> bool:
        return handshake.serial in self._by_serial

    def client(self, peer: Hashable) -> TinydtlsHandshake | None:
        """Return the handshake in which this end is the client."""
        return self._clients.get(peer)

    def server(self, peer: Hashable) -> TinydtlsHandshake | None:
        """Return the handshake in which this end is the server."""
        return self._servers.get(peer)

    def both(self, peer: Hashable) -> list[TinydtlsHandshake]:
        """Return those that there are."""
        found = (self._clients.get(peer), self._servers.get(peer))
        return [handshake for handshake in found if handshake is not None]

    def add(self, handshake: TinydtlsHandshake) -> None:
        """Take a handshake in place of an earlier one with the same peer."""
        table = self._clients if handshake.role is Role.CLIENT else self._servers
        earlier = table.get(handshake.peer)
        if earlier is not None:
            self.drop(earlier)
        if table is self._servers and len(table) >= self._limit:
            self.drop(next(iter(table.values())))
        table[handshake.peer] = handshake
        self._by_serial[handshake.serial] = handshake

    def wake(self, handshake: TinydtlsHandshake, when: float) -> None:
        """Have `pop_due` return it at that time."""
        self._due.set(handshake.serial, when)

    def next_due(self) -> float | None:
        """Return when the first one is due."""
        earliest = self._due.first()
        return None if earliest is None else earliest[0]

    def pop_due(self, now: float) -> TinydtlsHandshake | None:
        """Return one whose time has come."""
        serial = self._due.pop_due(now)
        return None if serial is None else self._by_serial[serial]

    def forget(self, handshake: TinydtlsHandshake) -> None:
        """Take it out; its association goes on."""
        del self._by_serial[handshake.serial]
        self._due.discard(handshake.serial)
        del (self._clients if handshake.role is Role.CLIENT else self._servers)[handshake.peer]

    def drop(self, handshake: TinydtlsHandshake) -> None:
        """Take it out, and free its association."""
        self.forget(handshake)
        handshake.association.free()

    def drop_all(self) -> None:
        """As `drop`, for every one."""
        for handshake in list(self._by_serial.values()):
            self.drop(handshake)
