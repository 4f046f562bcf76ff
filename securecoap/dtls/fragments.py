"""Fragmentation and bounded reassembly of handshake messages (RFC 6347 section 4.2.2 and 4.2.3).

Pieces may come in any order, overlap, repeat and be cut differently in a retransmission. Memory is spent only on bytes
that came in, never on a length that was announced. Must not know what the messages mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.messages import HANDSHAKE_HEADER_LENGTH, Fragment, encode_handshake

if TYPE_CHECKING:
    from securecoap.config import Limits

__all__ = ["LOOKAHEAD", "Reassembly", "split_handshake"]

LOOKAHEAD: Final = 10
"""Messages beyond the next one for which fragments are kept: more than any flight has."""
_MAX_PIECES: Final = 32
"""Disjoint pieces of one message. A fragment is compared with each, and a datagram may have a hundred fragments."""


class _Partial:
    """One message under way: disjoint pieces, sorted by offset."""

    __slots__ = ("length", "message_type", "pieces")

    def __init__(self, message_type: int, length: int) -> None:
        self.message_type = message_type
        self.length = length
        self.pieces: list[tuple[int, bytes]] = []

    def add(self, offset: int, data: bytes) -> int:
        """Put in what is new; return how many bytes that was."""
        pieces = self.pieces
        if not pieces and len(data) == self.length:
            pieces.append((offset, data))
            return len(data)
        end = offset + len(data)
        fresh: list[tuple[int, bytes]] = []
        position = offset
        for start, held in pieces:
            if start >= end:
                break
            if start > position:
                fresh.append((position, data[position - offset : start - offset]))
            position = max(position, start + len(held))
        if position < end:
            fresh.append((position, data[position - offset :]))
        if not fresh:
            return 0
        merged: list[tuple[int, bytes]] = []
        for start, held in sorted(pieces + fresh):
            if merged and merged[-1][0] + len(merged[-1][1]) == start:
                first, before = merged.pop()
                merged.append((first, before + held))
            else:
                merged.append((start, held))
        self.pieces = merged
        return sum(len(part) for _, part in fresh)

    def whole(self) -> bytes | None:
        if self.length == 0:
            return b""
        if len(self.pieces) == 1 and len(self.pieces[0][1]) == self.length:
            return self.pieces[0][1]
        return None


class Reassembly:
    """Puts fragments together and gives the messages out in order.

    Bounded by ``dtls_handshake_bytes`` over all unfinished messages and by the pieces of one message (beyond, the
    handshake fails), and by the sequence numbers ``LOOKAHEAD`` ahead (beyond, a fragment is dropped).
    """

    __slots__ = ("_held", "_limit", "_limits", "_partial", "next_sequence")

    def __init__(self, next_sequence: int, limits: Limits) -> None:
        self.next_sequence = next_sequence
        self._limits = limits
        self._limit = limits.dtls_handshake_bytes
        self._held = 0
        self._partial: dict[int, _Partial] = {}

    def add(self, fragment: Fragment) -> None:
        """Take one fragment; a foreign, old or contradicting one is dropped.

        Raises:
            HandshakeFault: the message, or all of them together, is beyond the limit.
        """
        ahead = fragment.message_sequence - self.next_sequence
        if ahead < 0 or ahead > LOOKAHEAD:
            return
        if fragment.message_length > self._limit:
            self._limits.reached("dtls_handshake_bytes")
            raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "a handshake message is too long")
        partial = self._partial.get(fragment.message_sequence)
        if partial is None:
            partial = _Partial(fragment.message_type, fragment.message_length)
            self._partial[fragment.message_sequence] = partial
        elif partial.message_type != fragment.message_type or partial.length != fragment.message_length:
            return
        self._held += partial.add(fragment.offset, fragment.data)
        if self._held > self._limit:
            self._limits.reached("dtls_handshake_bytes")
        if self._held > self._limit or len(partial.pieces) > _MAX_PIECES:
            raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "too many handshake bytes under reassembly")

    def takes_whole(self, fragment: Fragment) -> bool:
        """Take a fragment that is all of the next message, as nearly all are; any other is for ``add``."""
        is_next = fragment.message_sequence == self.next_sequence and not self._partial
        if not is_next or not fragment.whole or fragment.message_length > self._limit:
            return False
        self.next_sequence += 1
        return True

    def next_message(self) -> Fragment | None:
        """Return the next message in order, or ``None`` while it is not complete."""
        partial = self._partial.get(self.next_sequence)
        if partial is None:
            return None
        body = partial.whole()
        if body is None:
            return None
        del self._partial[self.next_sequence]
        self._held -= len(body)
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        whole = encode_handshake(partial.message_type, sequence, body)
        return Fragment(partial.message_type, len(body), sequence, 0, body, whole)


def split_handshake(message: bytes, room: int) -> list[bytes]:
    """Cut a whole message (header and body) into fragments of at most ``room`` bytes, header included.

    Args:
        message: as ``encode_handshake`` makes it.
        room: bytes for one record's fragment; anything up to the header's 12 counts as 13.
    """
    if len(message) <= room:
        return [message]
    step = max(room - HANDSHAKE_HEADER_LENGTH, 1)
    head, body = message[:6], message[HANDSHAKE_HEADER_LENGTH:]
    fragments = []
    for offset in range(0, len(body), step):
        part = body[offset : offset + step]
        fragments.append(head + offset.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part)
    return fragments
