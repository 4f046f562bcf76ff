"""When a client that gets Non-confirmable notifications is sent the next one, and when it has to acknowledge one.

RFC 7641 section 4.5 (a Confirmable one now and then) and 4.5.1 (one in a round-trip time). Time comes in as an
argument.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

_LONGEST_SILENCE: Final = 24 * 3600.0
"""Seconds after which a client has to acknowledge a notification (section 4.5)."""
_LONGEST_INTERVAL: Final = 3.0
"""Seconds between notifications where the round-trip time is not known to be shorter (section 4.5.1)."""


class Pace:
    """What is known of one client.

    The first notification is to be acknowledged: a victim of a forged address ends the observation by its silence or
    its Reset (RFC 7252 section 11.3), and anybody else's acknowledgement tells the round-trip time.

    Attributes:
        next_at: before this no notification is sent, unless one waits for its acknowledgement. Whoever knows that none
            can be sent may set it later.
    """

    __slots__ = ("_heard_at", "_interval", "_most_unheard", "_sent_at", "_unheard", "next_at")

    def __init__(self, most_unheard: int) -> None:
        self._most_unheard = self._unheard = most_unheard
        self._interval = _LONGEST_INTERVAL
        self._heard_at = self._sent_at = self.next_at = float("-inf")

    def send(self, now: float) -> bool:
        """A notification is being sent. Returns whether it has to be acknowledged."""
        self._sent_at = now
        if self._unheard >= self._most_unheard or now >= self._heard_at + _LONGEST_SILENCE:
            return True
        self._unheard += 1
        self.next_at = now + self._interval
        return False

    def acknowledged(self, now: float) -> None:
        """The client has acknowledged what was sent last."""
        self._heard_at = now
        self._unheard = 0
        self._interval = min(now - self._sent_at, _LONGEST_INTERVAL)
