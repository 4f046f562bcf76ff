"""The order of what is sent under one Sender Context (RFC 8613 section 7.2, appendix B.1.1).

Each message takes its Sender Sequence Number here, at the moment when it is protected and in one step, so that neither
cancellation nor concurrency can give a number out twice. A message is held while no number is reserved durably, and a
request also while its number lies a replay window above the oldest Confirmable request without an answer: that one may
be retransmitted, and would arrive below the peer's window. This module knows no keys and no wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from securecoap.config import Limits
from securecoap.errors import CoapError, RequestFailed, SessionEnded, StateError
from securecoap.oscore.option import MAXIMUM_SEQUENCE_NUMBER
from securecoap.oscore.window import DEFAULT_WINDOW

if TYPE_CHECKING:
    import asyncio

    from securecoap.interfaces import Scheduler

__all__ = ["Held", "Sender", "SequenceNumbers"]

_EXHAUSTED: Final = "all Sender Sequence Numbers are used: the context needs new keys (RFC 8613 section 7.2.1)"


class SequenceNumbers(Protocol):
    """What has to be durable of a Sender Context; `securecoap.state.protocol.ContextState` is one."""

    def next_number(self) -> int | None:
        """A number that nobody had before, or ``None``: `reserve` first."""

    async def reserve(self) -> None:
        """Return when there are numbers again.

        Raises:
            StateError: there never will be.
        """


class Held:
    """A message that takes a sequence number when it is sent.

    Attributes:
        number: taken already, while the message waits for older ones to be answered.
    """

    __slots__ = ("number",)

    is_request: bool = False
    number: int | None

    def transmit(self, number: int) -> None:
        """Protect with this number, and send."""
        raise NotImplementedError

    def failed(self, error: CoapError) -> None:
        """It will not be sent."""
        raise NotImplementedError


class Sender:
    """Takes numbers, and holds messages that have to wait.

    Args:
        numbers: of this Sender Context, owned by this process.
        scheduler: runs the reservation, and tells of failures later than the call.
        limits: ``queued_per_peer`` is how many messages may be held; at the bound a further one fails.
        window: how far a request's number may lie above the oldest unanswered Confirmable request.
    """

    __slots__ = (
        "_again", "_closed", "_flushing", "_held", "_limits", "_numbers", "_reservation", "_scheduler",
        "_unanswered", "_window",
    )  # fmt: skip

    def __init__(
        self,
        numbers: SequenceNumbers,
        scheduler: Scheduler,
        *,
        limits: Limits | None = None,
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self._numbers = numbers
        self._scheduler = scheduler
        self._limits = limits or Limits()
        self._window = window
        # No container before it is needed: most contexts never hold anything.
        self._held: list[Held] | tuple[()] = ()
        self._unanswered: dict[int, None] | None = None  # in ascending order: numbers grow
        self._reservation: asyncio.Task[None] | None = None
        self._flushing = self._again = False
        self._closed: CoapError | None = None

    def send(self, message: Held) -> None:
        """Transmit now, or as soon as it may be; what goes wrong is told to ``message`` later."""
        if self._closed is not None:
            self._scheduler.call_soon(message.failed, self._closed)
            return
        if message.is_request and self._held:
            self._hold(message)
            return
        number = self._numbers.next_number()
        if number is None:
            self._hold(message)
        elif number > MAXIMUM_SEQUENCE_NUMBER:
            self._scheduler.call_soon(message.failed, StateError(_EXHAUSTED))
        elif message.is_request and self._is_far(number):
            message.number = number
            self._hold(message)
        else:
            message.transmit(number)

    def unanswered(self, number: int) -> None:
        """A Confirmable request with this number is on its way."""
        if self._unanswered is None:
            self._unanswered = {}
        self._unanswered[number] = None

    def repeated(self) -> None:
        """A request is on its way once more, under the number that it had."""
        self._unanswered = dict.fromkeys(sorted(self._unanswered or ()))

    def answered(self, number: int) -> None:
        """It is not any more: acknowledged, answered, failed or cancelled. Harmless if that was known."""
        if self._unanswered and number in self._unanswered:
            del self._unanswered[number]
            if self._held:
                self._flush()

    def withdraw(self, message: Held) -> None:
        """Do not send it. Its number, if it had one, is lost and used by nobody."""
        if isinstance(self._held, list) and message in self._held:
            self._held.remove(message)
            if self._held:
                self._flush()

    def close(self, error: CoapError | None = None) -> None:
        """Send nothing any more; what is held fails with ``error``."""
        self._closed = error or SessionEnded("the OSCORE context is not used any more")
        if self._reservation is not None:
            self._reservation.cancel()
        held, self._held = self._held, ()
        for message in held:
            self._scheduler.call_soon(message.failed, self._closed)

    def _is_far(self, number: int) -> bool:
        for oldest in self._unanswered or ():
            return number - oldest >= self._window
        return False

    def _hold(self, message: Held) -> None:
        if len(self._held) >= self._limits.queued_per_peer:
            self._limits.reached("queued_per_peer")
            error = RequestFailed("too many messages wait for the OSCORE context")
            self._scheduler.call_soon(message.failed, error)
            return
        if isinstance(self._held, tuple):
            self._held = []
        self._held.append(message)
        # Behind a request that waits for an answer nothing has to be reserved yet.
        if message.number is None and (not message.is_request or self._held[0].number is None):
            self._reserve()

    def _reserve(self) -> None:
        if self._reservation is None:
            self._reservation = self._scheduler.create_task(self._run_reservation())

    async def _run_reservation(self) -> None:
        try:
            await self._numbers.reserve()
        except CoapError as error:
            self._reservation = None
            waiting = [message for message in self._held if message.number is None]
            self._held = [message for message in self._held if message.number is not None]
            for message in waiting:
                message.failed(error)
        else:
            self._reservation = None
        if self._held:
            self._flush()

    def _flush(self) -> None:
        """Send what may go now; sending can lead back here."""
        self._again = True
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._again and self._closed is None:
                self._again = False
                self._flush_once()
        finally:
            self._flushing = False

    def _flush_once(self) -> None:
        waiting, self._held = self._held, ()
        kept: list[Held] = []
        blocked = False
        for position, message in enumerate(waiting):
            if message.is_request and blocked:
                kept.append(message)
                continue
            number = message.number
            if number is None:
                number = self._numbers.next_number()
            if number is None:
                kept.extend(waiting[position:])
                self._reserve()
                break
            if number > MAXIMUM_SEQUENCE_NUMBER:
                message.failed(StateError(_EXHAUSTED))
            elif message.is_request and self._is_far(number):
                message.number = number
                kept.append(message)
                blocked = True
            else:
                message.transmit(number)
        kept.extend(self._held)  # what came while these were sent
        self._held = kept
