"""Resumption: what makes an abbreviated handshake possible, at both ends (RFC 5246 section 7.3, RFC 5077).

A server hands its state out in tickets where a resumption saves work with public keys; for a plain pre-shared key, and
for clients that take no tickets, it keeps it under a session ID. A client keeps one offer for each server.

Only sessions with an Extended Master Secret are resumed, since others could be spliced together (RFC 7627 section 5.3),
and only for as long after the full handshake as ``lifetime`` says. Whether the credential still holds is asked by the
handshake. Must not know messages or states.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hmac import compare_digest
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from securecoap.dtls.evidence import Evidence
from securecoap.dtls.identities import is_same
from securecoap.dtls.key_schedule import KeyedHash
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.reader import Reader
from securecoap.dtls.suites import SUITES
from securecoap.dtls.tickets import TicketKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from securecoap.config import Limits
    from securecoap.dtls.identities import ClientCredential, Proof
    from securecoap.dtls.suites import CipherSuite

__all__ = ["HELLO_ROOM", "SESSION_ID_LENGTH", "Offer", "Offers", "Resumable", "ServerResumption", "binder"]

SESSION_ID_LENGTH: Final = 32
HELLO_ROOM: Final = 400
"""Bytes of a datagram that a ClientHello needs beside a ticket. It has to come in one: servers put nothing together for
strangers."""
_LARGEST_STATE: Final = 600
"""What a ticket may have in it, so that a ClientHello with it goes into one datagram."""
_STATE: Final = b"\x00"
_ID: Final = b"\x01"
_BINDER_LENGTH: Final = 16
_MICROSECONDS: Final = 1_000_000
_PlainPsk: TypeAlias = "tuple[CipherSuite, bytes, PskCredential, bytes, float]"
"""The arguments of `Resumable.of_plain_psk`."""
_head: Final = Struct("!HqBBH")  # of what is kept: suite, time, lengths of master secret, binder and server name
_pack_head: Final = _head.pack
_unpack_head: Final = _head.unpack_from


@dataclass(frozen=True, slots=True)
class Resumable:
    """What a server has to know of an earlier session.

    Attributes:
        suite: its number; it stays the same.
        master: the master secret.
        evidence: what the client has shown.
        binder: binds a pre-shared key that is not told; empty for other credentials.
        server_name: content of the client's server_name; it has to be the same again (RFC 6066 section 3).
        made_at: when the full handshake was.
    """

    suite: int
    master: bytes = field(repr=False)
    evidence: Evidence
    binder: bytes = field(repr=False)
    server_name: bytes
    made_at: float

    def is_bound_to(self, proof: PskCredential | Proof) -> bool:
        """Say whether a pre-shared key is still the one of the full handshake."""
        return compare_digest(self.binder, binder(KeyedHash(self.master, SUITES[self.suite].prf_hash), proof))

    def encode(self) -> bytes:
        """Return bytes from which ``decode`` makes the same."""
        master, binder, name = self.master, self.binder, self.server_name
        made_at = round(self.made_at * _MICROSECONDS)
        head = _pack_head(self.suite, made_at, len(master), len(binder), len(name))
        return b"".join((head, master, binder, name, self.evidence.encode()))

    @classmethod
    def decode(cls, data: bytes) -> Resumable:
        """Return what ``encode`` was given; raises as `Evidence.decode`."""
        suite, made_at, *lengths = _unpack_head(data)
        reader = Reader(data, _head.size)
        master, binder, name = (reader.take(length) for length in lengths)
        return cls(suite, master, Evidence.decode(data[reader.position :]), binder, name, made_at / _MICROSECONDS)

    @classmethod
    def of_plain_psk(
        cls, suite: CipherSuite, master: bytes, credential: PskCredential, server_name: bytes, made_at: float
    ) -> Resumable:
        """Return what a handshake with a pre-shared key has kept as a tuple of these.

        Such a handshake is short, and few sessions are resumed: what can be done then is not done before.
        """
        bound = binder(KeyedHash(master, suite.prf_hash), credential)
        return cls(suite.code, master, Evidence.of_identity(credential.identity), bound, server_name, made_at)


def binder(master: KeyedHash, proof: PskCredential | Proof) -> bytes:
    """Return what binds a master secret to the pre-shared key it came from, empty for another proof."""
    return master.digest(proof.key)[:_BINDER_LENGTH] if isinstance(proof, PskCredential) else b""


class ServerResumption:
    """A server's tickets and session IDs.

    Args:
        random: where randomness comes from.
        lifetime: seconds for which a session can be resumed, and after which ticket keys change.
        limits: ``dtls_resumptions`` is how many sessions under an ID; at the bound those used longest ago go, a
            sixty-fourth of all, so that a table that is full costs nothing for most handshakes.
        now: the time.
        shared: a secret of several processes, each of which then takes tickets of the others; or ``None``.
    """

    __slots__ = ("_at_once", "_by_id", "_lifetime", "_limits", "_most", "_random", "_tickets")

    def __init__(
        self, random: Callable[[int], bytes], lifetime: float, limits: Limits, now: float, shared: bytes | None = None
    ) -> None:
        self._random = random
        self._lifetime = lifetime
        self._limits = limits
        self._most = max(limits.dtls_resumptions, 1)
        self._at_once = max(self._most // 64, 1)
        self._by_id: dict[bytes, bytes | _PlainPsk] = {}  # used longest ago first
        self._tickets = TicketKeys(random, lifetime, now, shared)

    def __len__(self) -> int:
        return len(self._by_id)

    def keep(self, session_id: bytes, kept: bytes | _PlainPsk) -> None:
        """Have ``find`` find by its ID what `Resumable.encode` has made, or what `Resumable.of_plain_psk` takes."""
        if len(self._by_id) >= self._most:
            self._limits.reached("dtls_resumptions")
            for oldest in tuple(islice(self._by_id, self._at_once)):
                del self._by_id[oldest]
        self._by_id[session_id] = kept

    def forget(self, session_id: bytes) -> None:
        """Have nobody resume it: it ended with a fatal alert (RFC 5246 section 7.2.2)."""
        self._by_id.pop(session_id, None)

    def ticket(self, resumable: Resumable, now: float) -> bytes:
        """Return the ticket; where the state is too large, it is kept here and the ticket has its ID."""
        state = resumable.encode()
        if len(state) <= _LARGEST_STATE:
            return self._tickets.seal(_STATE + state, now)
        session_id = self._random(SESSION_ID_LENGTH)
        self.keep(session_id, state)
        return self._tickets.seal(_ID + session_id, now)

    def find(self, session_id: bytes, ticket: bytes, now: float) -> Resumable | None:
        """Return the session that a client wants to resume, if it may be; a ticket goes before an ID."""
        found: Resumable | None = None
        if ticket:
            content = self._tickets.open(ticket, now) or b""
            session_id = content[1:] if content[:1] == _ID else b""
            if content[:1] == _STATE:
                found = Resumable.decode(content[1:])
        kept = self._by_id.pop(session_id, None) if found is None else None
        if kept is not None:
            self._by_id[session_id] = kept
            found = Resumable.decode(kept) if isinstance(kept, bytes) else Resumable.of_plain_psk(*kept)
        return found if found is not None and 0 <= now - found.made_at < self._lifetime else None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client can offer to a server that it knows.

    Attributes:
        credential: with which the full handshake was made.
        session_id: the server's; with a ticket one of ours, which an answer repeats (RFC 5077 section 3.4).
        ticket: empty for none.
        suite: it stays the same.
        master: the master secret.
        chain: what the server has shown, to be judged again; empty for a pre-shared key.
        made_at: when the full handshake was.
    """

    credential: ClientCredential
    session_id: bytes
    ticket: bytes = field(repr=False)
    suite: CipherSuite
    master: bytes = field(repr=False)
    chain: tuple[bytes, ...]
    made_at: float


class Offers:
    """A client's offers, one for each server; at the bound the one that was made longest ago goes.

    Args:
        lifetime: seconds for which they are good.
        limits: uses ``dtls_resumptions``.
        datagram_size: bytes that a ClientHello may have.
    """

    __slots__ = ("_by_peer", "_largest_ticket", "_lifetime", "_limits")

    def __init__(self, lifetime: float, limits: Limits, datagram_size: int) -> None:
        self._largest_ticket = datagram_size - HELLO_ROOM
        self._by_peer: OrderedDict[Hashable, Offer] = OrderedDict()
        self._lifetime = lifetime
        self._limits = limits

    def __len__(self) -> int:
        return len(self._by_peer)

    def keep(self, peer: Hashable, offer: Offer) -> None:
        """Have it instead of an earlier one; not one that is too large to be offered."""
        self.forget(peer)
        if len(offer.ticket) > self._largest_ticket:
            return
        while len(self._by_peer) >= max(self._limits.dtls_resumptions, 1):
            self._limits.reached("dtls_resumptions")
            self._by_peer.popitem(last=False)
        self._by_peer[peer] = offer

    def forget(self, peer: Hashable) -> None:
        """Drop what failed."""
        self._by_peer.pop(peer, None)

    def find(self, peer: Hashable, credential: ClientCredential, now: float) -> Offer | None:
        """Return the offer for a server, if it was made with this very credential, and lately."""
        offer = self._by_peer.get(peer)
        if offer is None or not 0 <= now - offer.made_at < self._lifetime:
            return None
        return offer if is_same(offer.credential, credential) else None
