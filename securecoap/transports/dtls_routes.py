"""A peer whose address has changed has to show that it receives there, before much is sent there (RFC 9146 section 6).

A record that is newer than all before may have been caught on its way and sent on from somebody else's address. So a
session that moved has a budget of bytes for its new address, and a CoAP ping goes there inside of the session: the
Reset that answers it (RFC 7252 section 4.3) can only be made by the peer, from what it received. Must not know sockets
or the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message

if TYPE_CHECKING:
    from securecoap.config import Limits

__all__ = ["UnprovenRoute"]

_RESET: Final = b"\x70\x00"


class UnprovenRoute:
    """The way to an address at which a peer was not shown to receive.

    Args:
        message_id: two unpredictable bytes, of the ping.
        limits: say how many bytes may be sent for each that came from there, and in any case (``amplification_…``).
        interval: seconds between two pings.
    """

    __slots__ = ("_budget", "_factor", "_interval", "_message_id", "_next_ping")

    def __init__(self, message_id: bytes, limits: Limits, interval: float) -> None:
        self._message_id = message_id
        self._factor = limits.amplification_factor
        self._budget = float(limits.amplification_allowance)
        self._interval = interval
        self._next_ping = float("-inf")

    def ping(self, now: float) -> Message | None:
        """Return the message that asks the peer to answer, if it is time to send it (again)."""
        if now < self._next_ping:
            return None
        self._next_ping = now + self._interval
        ping = Message(Code.EMPTY)
        ping.mtype, ping.mid = CON, int.from_bytes(self._message_id, "big")
        return ping

    def is_proof(self, message: bytes) -> bool:
        """Take note of a message from there; say whether it answers the ping."""
        self._budget += self._factor * len(message)
        return message == _RESET + self._message_id

    def spend(self, size: int) -> bool:
        """Say whether that many bytes may be sent now."""
        if size > self._budget:
            return False
        self._budget -= size
        return True
