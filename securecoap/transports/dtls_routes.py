"""A peer whose address has changed has to show that it receives there, before much is sent there (RFC 9146 section 6).

A record that is newer than all before may have been caught on its way and sent on from somebody else's address. So a
session that moved has a budget of bytes for its new address, and a CoAP ping goes there inside of the session: the
Reset that answers it (RFC 7252 section 4.3) can only be made by the peer, from what it received. The first records that
are beyond the budget wait for it. Must not know sockets or the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message

if TYPE_CHECKING:
    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress

__all__ = ["UnprovenRoute"]

_RESET: Final = b"\x70\x00"
_RECORD_OVERHEAD: Final = 29
"""Bytes that the record of a message has at least, beside the message."""
_MAX_HELD: Final = 4
_MAX_GUESSES: Final = 8
"""Resets for something else after which none is a proof before the next ping: a Message ID has 16 bits, and a client
that sends records from a victim's address could try them all."""


class UnprovenRoute:
    """The way to an address at which a peer was not shown to receive.

    Args:
        message_id: two unpredictable bytes, of the ping.
        limits: say how many bytes may be sent for each that came from there, and in any case (``amplification_…``).
        interval: seconds between two pings.

    Attributes:
        held: records to be sent once the peer has shown that it receives.
    """

    __slots__ = ("_budget", "_factor", "_guesses", "_interval", "_limits", "_message_id", "_next_ping", "held")

    def __init__(self, message_id: bytes, limits: Limits, interval: float) -> None:
        self._message_id = message_id
        self._limits = limits
        self._factor = limits.amplification_factor
        self._budget = float(limits.amplification_allowance)
        self._interval = interval
        self._next_ping = float("-inf")
        self._guesses = 0
        self.held: list[bytes] = []

    def ping(self, now: float, remote: EndpointAddress) -> Message | None:
        """Return the message that asks the peer to answer, if it is time to send it (again)."""
        if now < self._next_ping:
            return None
        self._next_ping = now + self._interval
        self._guesses = 0
        ping = Message(Code.EMPTY)
        ping.mtype, ping.mid, ping.remote = CON, int.from_bytes(self._message_id, "big"), remote
        return ping

    def is_proof(self, message: bytes) -> bool:
        """Take note of a message from there; say whether it answers the ping."""
        self._budget += self._factor * (len(message) + _RECORD_OVERHEAD)
        if message[:2] != _RESET or self._guesses >= _MAX_GUESSES:
            return False
        self._guesses += 1
        return message == _RESET + self._message_id

    def spend(self, record: bytes) -> bool:
        """Say whether a record may be sent now; one that may not waits, if few do."""
        if len(record) > self._budget:
            self._limits.reached("amplification_factor")
            if len(self.held) < _MAX_HELD:
                self.held.append(record)
            return False
        self._budget -= len(record)
        return True
