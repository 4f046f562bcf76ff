"""Answers to group requests: each waits for a random time, or all would answer at once (RFC 7252 section 8.2).

It knows timers and a bound, and nothing of what it sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits, TransportParameters
    from securecoap.interfaces import Randomness, Scheduler, Timer
    from securecoap.wire.message import Message

__all__ = ["Leisure"]


class Leisure:
    """Messages that wait for a time between 0 and DEFAULT_LEISURE; beyond the bound a new one is dropped.

    Args:
        scheduler: time and timers.
        randomness: for the waiting time.
        parameters: uses ``default_leisure``.
        limits: uses ``multicast_answers``.
        send: called with a message when its time has come.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        randomness: Randomness,
        parameters: TransportParameters,
        limits: Limits,
        send: Callable[[Message], object],
    ) -> None:
        self._scheduler = scheduler
        self._random = randomness
        self._longest = parameters.default_leisure
        self._limits = limits
        self._send = send
        self._timers: set[Timer] = set()
        self._is_closed = False

    def wait(self, message: Message) -> None:
        """Send the message later, unless too many wait."""
        if self._is_closed:
            return
        if len(self._timers) >= self._limits.multicast_answers:
            self._limits.reached("multicast_answers")
            return

        def send() -> None:
            self._timers.discard(timer)
            self._send(message)

        timer = self._scheduler.call_at(self._scheduler.time() + self._random.uniform(0, self._longest), send)
        self._timers.add(timer)

    def close(self) -> None:
        """Send nothing any more."""
        self._is_closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
