"""What the message layer keeps of one peer: Message IDs given out, messages seen, messages under way.

RFC 7252 section 4.4 (a Message ID is not used again within EXCHANGE_LIFETIME) and 4.5 (deduplication). Time comes in as
an argument. Nothing here sends or decides; that is `securecoap.core.messages`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from securecoap.config import Limits
    from securecoap.core.transmission import Outgoing
    from securecoap.interfaces import EndpointAddress, Exchange, Randomness

__all__ = ["ENTRY_BYTES", "MessageIds", "Peer", "PeerTable", "make_peer"]

ENTRY_BYTES: Final = 160
"""What one remembered message costs beside its answer: key, table entry and the answer's own header, rounded up."""

_SEGMENTS: Final = 16
_SEGMENT_LENGTH: Final = 65536 // _SEGMENTS
_REMEMBERED_NON: Final = 32
_EVICTION_ATTEMPTS: Final = 64


class MessageIds:
    """Message IDs for one peer: ascending from a random start, none twice within a lifetime (section 4.4).

    The 65,536 numbers are sixteen segments. A segment is entered again only when a whole lifetime has passed since it
    was left, which needs sixteen times in memory instead of 65,536.

    Attributes:
        last_used: when the last one was given out.
        are_awaited: whether messages wait until one is free; whoever lets them wait sets it.
    """

    __slots__ = ("_left", "_lifetime", "_next", "are_awaited", "last_used")

    def __init__(self, first: int, lifetime: float) -> None:
        self._next = first & 0xFFFF
        self._lifetime = lifetime
        self.last_used = float("-inf")
        self.are_awaited = False
        self._left: list[float] | None = None  # most peers never use up a segment

    def allocate(self, now: float) -> int | None:
        """The next Message ID, or ``None`` when all are in use, until `free_at`."""
        mid = self._next
        if (mid + 1) % _SEGMENT_LENGTH <= 1 and not self._crosses(mid, now):
            return None
        self._next = (mid + 1) & 0xFFFF
        self.last_used = now
        return mid

    def _crosses(self, mid: int, now: float) -> bool:
        """The first of a segment enters it, if it may; the last leaves it."""
        if self._left is None:
            self._left = [float("-inf")] * _SEGMENTS
        segment = mid // _SEGMENT_LENGTH
        if mid % _SEGMENT_LENGTH == 0:
            return now >= self._left[segment] + self._lifetime
        self._left[segment] = now
        return True

    @property
    def free_at(self) -> float:
        """When the next Message ID may be used: in the past, unless all are in use."""
        if self._left is None or self._next % _SEGMENT_LENGTH:
            return float("-inf")
        return self._left[self._next // _SEGMENT_LENGTH] + self._lifetime


class Peer:
    """Message-layer state of one remote address.

    Attributes:
        ids: Message IDs of messages that we begin; most peers are only answered, and have none.
        recent, older: answers by Message ID (with the address's ``dedup_offset``), in two generations of one
            EXCHANGE_LIFETIME each; ``b""`` where nothing was answered (yet). Requests that must not be carried out
            again have this key; what may be forgotten early has its complement, ``~key``, which costs no second table.
        rotates_at: when ``older`` is forgotten and ``recent`` takes its place.
        outstanding: Confirmable messages without acknowledgement, by Message ID.
        interactions: how many of NSTART are in use (section 4.7).
        queue: messages that wait for NSTART, or for a Message ID.
        non_confirmable: the last Non-confirmable messages, by Message ID, for a Reset that may come.
        superseded: notifications that gave way to a newer state, which takes over their time-outs, by exchange.
        unanswered, unanswered_at: bytes of Non-confirmable requests since it was heard of, and when that was counted.
        touched: whether it was heard of since the table was last searched for somebody to evict.
    """

    __slots__ = (
        "address", "ids", "interactions", "non_confirmable", "older", "outstanding", "queue", "recent", "rotates_at",
        "superseded", "touched", "unanswered", "unanswered_at",
    )  # fmt: skip

    address: EndpointAddress
    ids: MessageIds | None
    recent: dict[int, bytes]
    older: dict[int, bytes] | None
    rotates_at: float
    outstanding: dict[int, Outgoing] | None
    interactions: int
    queue: deque[Outgoing] | None
    non_confirmable: dict[int, Exchange] | None
    superseded: dict[Exchange, Outgoing] | None
    unanswered: float
    unanswered_at: float
    touched: bool

    def allocate_mid(self, now: float, randomness: Randomness, lifetime: float) -> int | None:
        """A Message ID for a message to this peer; see `MessageIds.allocate`."""
        ids = self.ids
        if ids is None:
            ids = self.ids = MessageIds(int.from_bytes(randomness.randbytes(2), "big"), lifetime)
        return ids.allocate(now)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way to this peer."""
        return not self.outstanding and not self.queue and not self.interactions

    @property
    def stored_bytes(self) -> int:
        """What its answers take. Counted when they are forgotten, not with each message."""
        return _bytes_of(self.recent) + _bytes_of(self.older)

    def rotate(self, now: float, lifetime: float) -> int:
        """Forget what is older than a lifetime; the bytes that became free."""
        freed = _bytes_of(self.older)
        if now >= self.rotates_at + lifetime:
            freed += _bytes_of(self.recent)  # so much time has passed that both generations are old
            self.recent = {}
        self.older = self.recent or None
        self.recent = {}
        self.rotates_at = now + lifetime
        self.non_confirmable = self.superseded = None
        return freed

    def forget_safe(self) -> int:
        """Forget answers to safe requests, which may be carried out again, and to responses; the bytes set free."""
        before = self.stored_bytes
        self.recent = {key: answer for key, answer in self.recent.items() if key >= 0}
        if self.older is not None:
            self.older = {key: answer for key, answer in self.older.items() if key >= 0} or None
        return before - self.stored_bytes

    def find(self, key: int) -> bytes | None:
        """What was answered to a message that came before, ``None`` if it did not."""
        known = self.recent.get(key)
        if known is None:
            known = self.recent.get(~key)
        if known is None and self.older is not None:
            known = self.older.get(key)
            if known is None:
                known = self.older.get(~key)
        return known

    def asked_with(self, token: bytes) -> Outgoing | None:
        """Our request with this token that is not acknowledged yet."""
        for outgoing in (self.outstanding or {}).values():
            asked = outgoing.message
            if asked.token == token and 0 < (asked.code or 0) < 32 and asked.exchange is not None:
                return outgoing
        return None

    def remember_non_confirmable(self, mid: int, exchange: Exchange) -> None:
        """Keep who is to hear of a Reset; only the last few, because most peers never send one."""
        sent = self.non_confirmable
        if sent is None:
            sent = self.non_confirmable = {}
        elif len(sent) >= _REMEMBERED_NON:
            del sent[next(iter(sent))]
        sent[mid] = exchange


def _bytes_of(generation: dict[int, bytes] | None) -> int:
    return sum(map(len, generation.values())) + ENTRY_BYTES * len(generation) if generation else 0


_new: Final = Peer.__new__


def make_peer(address: EndpointAddress, rotates_at: float) -> Peer:
    """One that was not heard of before; as a function it takes half the time of a class's call."""
    peer = _new(Peer)
    peer.address = address
    peer.ids = peer.older = peer.outstanding = peer.queue = peer.non_confirmable = peer.superseded = None
    peer.recent = {}
    peer.rotates_at = rotates_at
    peer.interactions = 0
    peer.unanswered = peer.unanswered_at = 0.0
    peer.touched = True
    return peer


class PeerTable(dict["EndpointAddress", Peer]):
    """Every peer by its address, bounded by ``Limits.peers``.

    At the bound the longest idle one goes that is not confirmed and has nothing under way ("second chance": the oldest
    entries are looked at, and one that was heard of since the last look moves to the end). If there is none among those
    looked at, any that has nothing under way goes, and only a confirmed newcomer may push out a confirmed peer. If none
    can go, there is no room for the newcomer.

    Args:
        limits: uses ``peers``.
        lifetime: EXCHANGE_LIFETIME, for generations.
        inhabited: called with the time when there is somebody to forget again (`sweep`).
    """

    def __init__(self, limits: Limits, lifetime: float, inhabited: Callable[[float], object]) -> None:
        super().__init__()
        self.stored_bytes = 0
        self._inhabited = inhabited
        self._limits = limits
        self._limit = limits.peers
        self._lifetime = lifetime

    def create(self, address: EndpointAddress, now: float) -> Peer | None:
        """The state of a peer not heard of before, or ``None`` if there is no room for it."""
        if not self:
            self._inhabited(now)
        if len(self) >= self._limit:
            self._limits.reached("peers")
            if not self._evict(address):
                return None
        peer = self[address] = make_peer(address, now + self._lifetime)
        return peer

    def store_answer(self, peer: Peer, key: int, answer: bytes) -> None:
        """Keep the answer for duplicates, wherever its request is remembered by now, if it is at all."""
        generation = peer.recent
        if key not in generation:
            older = peer.older
            if older is None or key not in older:
                return
            generation = older
        generation[key] = answer
        self.stored_bytes += len(answer)

    def discard(self, peer: Peer) -> None:
        """Forget a peer."""
        if self.pop(peer.address, None) is not None:
            self.stored_bytes -= peer.stored_bytes
            peer.recent, peer.older = {}, None  # an answer that comes after this is not stored, nor counted

    def _evict(self, newcomer: EndpointAddress) -> bool:
        last_resort: Peer | None = None
        for peer in list(islice(self.values(), _EVICTION_ATTEMPTS)):
            if peer.is_idle and not peer.touched and not peer.address.confirmed:
                self.discard(peer)
                return True
            if peer.is_idle and (newcomer.confirmed or not peer.address.confirmed) and last_resort is None:
                last_resort = peer
            peer.touched = False
            del self[peer.address]
            self[peer.address] = peer
        if last_resort is not None:
            self.discard(last_resort)
        return last_resort is not None

    def rotate(self, peer: Peer, now: float) -> None:
        """Begin a new generation of one peer."""
        self.stored_bytes -= peer.rotate(now, self._lifetime)

    def forget_safe(self, wanted: int) -> None:
        """Forget answers to safe requests, oldest peers first, until no more than ``wanted`` bytes are stored."""
        for peer in self.values():
            if self.stored_bytes <= wanted:
                return
            self.stored_bytes -= peer.forget_safe()

    def sweep(self, now: float) -> None:
        """Forget peers that were silent for so long that nothing of theirs matters any more."""
        for peer in list(self.values()):
            if now >= peer.rotates_at:
                used = (
                    peer.ids is not None and peer.ids.last_used > now - self._lifetime
                )  # section 4.4: those Message IDs may not come again
                if peer.older is None and not peer.recent and peer.is_idle and not used:
                    self.discard(peer)
                else:
                    self.rotate(peer, now)
