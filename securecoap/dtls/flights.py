"""Flights: groups of messages that are sent, and sent again, together (RFC 6347 section 4.2.4).

Puts records into datagrams of a given size, and says when the flight is due again. Must not know what the messages
mean: a message is a content type, its bytes and the writer of its epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from securecoap.dtls.fragments import split_handshake
from securecoap.dtls.records import ContentType

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Flight", "FlightMessage", "RecordWriter", "pack"]

_HANDSHAKE: Final = ContentType.HANDSHAKE
_SMALLEST_DATAGRAM: Final = 256
_TRIES_AT_FULL_SIZE: Final = 2


class RecordWriter(Protocol):
    """Seals records of one epoch, each with a new sequence number."""

    @property
    def overhead(self) -> int:
        """Bytes of a record beside its fragment."""

    def seal(self, content_type: int, fragment: bytes, /) -> bytes:
        """Return the next record."""


FlightMessage: TypeAlias = "tuple[int, bytes, RecordWriter]"
"""A whole handshake message, or the fragment of a record of another type, and what seals it."""


def pack(messages: Sequence[FlightMessage], size: int) -> list[bytes]:
    """Return the messages as datagrams of at most ``size`` bytes; handshake messages are cut where they don't fit."""
    datagrams: list[bytes] = []
    datagram = b""
    for content_type, data, writer in messages:
        room = size - writer.overhead
        fits = len(data) <= room or content_type != _HANDSHAKE
        for piece in (data,) if fits else split_handshake(data, room):
            if datagram and len(datagram) + len(piece) > room:
                datagrams.append(datagram)
                datagram = b""
            datagram += writer.seal(content_type, piece)
    if datagram:
        datagrams.append(datagram)
    return datagrams


class Flight:
    """One flight and its timer. ``due`` is the time of the next retransmission."""

    __slots__ = ("_interval", "_max_interval", "_messages", "_sent_at", "_shrinks", "_size", "_tries", "due")

    def __init__(
        self,
        messages: Sequence[FlightMessage],
        size: int,
        interval: float,
        max_interval: float,
        *,
        shrinks: bool = True,
    ) -> None:
        self._messages = tuple(messages)
        self._size = size
        self._interval = interval
        self._max_interval = max_interval
        self._shrinks = shrinks
        self._tries = 0
        self._sent_at = 0.0
        self.due = 0.0

    def transmit(self, now: float) -> list[bytes]:
        """Return the flight's datagrams and start its timer."""
        self._sent_at = now
        self.due = now + self._interval
        return pack(self._messages, self._size)

    def retransmit(self, now: float) -> list[bytes]:
        """Return the datagrams again, in new records; the interval doubles (section 4.2.4.1).

        After some tries without an answer the datagrams become smaller (section 4.1.1.1), but for a ClientHello: a
        server that keeps nothing before the cookie cannot put one together.
        """
        self._tries += 1
        if self._shrinks and self._tries >= _TRIES_AT_FULL_SIZE:
            self._size = min(self._size, max(self._size // 2, _SMALLEST_DATAGRAM))
        self._interval = min(self._interval * 2, self._max_interval)
        return self.transmit(now)

    def repeat(self, now: float) -> list[bytes]:
        """Answer the peer's retransmission with ours (section 4.2.4), but not twice in half an interval.

        Without that bound one duplicated datagram would make both sides answer each other's answers.
        """
        if now - self._sent_at < self._interval / 2:
            return []
        return self.transmit(now)
