"""No-Response at the client (RFC 7967): what silence means, and requests that nobody waits for any more.

The option's bits name the classes of responses that are not wanted. Where none is wanted, a Non-confirmable request is
done when it is on its way; its token stays taken for as long as a response may come all the same (section 4.1), so that
such a response is no stranger's. What a server leaves out is the business of `securecoap.core.answering`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.plumbing import AnsweredWithin, RequestPipe
from securecoap.errors import CoapError, RequestTimeout
from securecoap.wire import numbers
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from securecoap.config import Limits, TransportParameters
    from securecoap.interfaces import Scheduler, Timer

__all__ = ["EVERY_CLASS", "SUCCESS", "QuietExchange", "SilentRequests", "unwanted_classes"]

SUCCESS: Final = 2
"""The bit of 2.xx."""
EVERY_CLASS: Final = SUCCESS | 8 | 16
"""The bits of 2.xx, 4.xx and 5.xx; others mean nothing (section 2.1)."""
_NO_RESPONSE: Final = 1 << numbers.NO_RESPONSE


def unwanted_classes(request: Message) -> int:
    """The bits of the response classes that a request does not want; 0 for a usual one."""
    if not request.options.present & _NO_RESPONSE:
        return 0
    return (request.options.no_response or 0) & EVERY_CLASS


class SilentRequests:
    """Requests on their way, or just sent, that nobody waits for.

    At the bound (``Limits.silent_requests``) the oldest is released.

    Args:
        scheduler: time.
        lifetime: seconds for which a token stays taken.
        limits: uses ``silent_requests``.
    """

    def __init__(self, scheduler: Scheduler, lifetime: float, limits: Limits) -> None:
        self._scheduler = scheduler
        self._lifetime = lifetime
        self._limits = limits
        self._most = limits.silent_requests
        self._expiries: dict[RequestPipe, float] = {}  # oldest first
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._expiries)

    def keep(self, pipe: RequestPipe) -> None:
        """See to it that interest in this request ends some time."""
        if len(self._expiries) >= self._most:
            self._limits.reached("silent_requests")
            self._release(next(iter(self._expiries)))
        self._expiries[pipe] = self._scheduler.time() + self._lifetime
        if self._timer is None:
            self._timer = self._scheduler.call_at(self._expiries[pipe], self._expire)

    def _expire(self) -> None:
        now = self._scheduler.time()
        self._timer = None
        for pipe, expiry in list(self._expiries.items()):
            if expiry > now:
                self._timer = self._scheduler.call_at(expiry, self._expire)
                break
            self._release(pipe)

    def _release(self, pipe: RequestPipe) -> None:
        del self._expiries[pipe]
        pipe.end_interest()

    def close(self) -> None:
        """Release them all; what was held back is not sent any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pipe in list(self._expiries):
            self._release(pipe)


class QuietExchange(RequestPipe):
    """One exchange of a request that may remain unanswered.

    Silence is what was asked for as soon as the request is known to have arrived (its acknowledgement), or, for a
    Non-confirmable one, is on its way; where some classes of responses still are wanted, ``non_timeout`` after that.

    Args:
        request: what to send.
        loop: time.
        parameters: how long to wait.

    Attributes:
        may_be_silent: whether silence now means that there is nothing to be said.
    """

    __slots__ = ("_answer", "_loop", "_patience", "_span", "_timer", "may_be_silent")

    def __init__(self, request: Message, loop: asyncio.AbstractEventLoop, parameters: TransportParameters) -> None:
        super().__init__(request, lambda response, _: self._settle(response), self._fail)
        is_patient = unwanted_classes(request) != EVERY_CLASS
        self._patience = parameters.non_timeout if is_patient else 0.0
        self._span = parameters.max_transmit_wait + self._patience
        self._loop = loop
        self._answer: asyncio.Future[Message] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self.may_be_silent = False

    async def perform(self, send: Callable[[RequestPipe], object], silent: SilentRequests) -> Message:
        """Send, and return the response, or `NoResponse` where there is none.

        Raises:
            RequestFailed: it did not arrive.
        """
        try:
            async with AnsweredWithin(self, self._span):
                send(self)
                if self.request.confirmable is False or self.request.remote.is_multicast:
                    self._loop.call_soon(self.acknowledged)  # what could not be sent at all has failed by then
                answer = await self._answer
        except TimeoutError as error:
            self.end_interest()
            raise error if isinstance(error, CoapError) else RequestTimeout("there was no response in time") from None
        except BaseException:
            self.end_interest()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if answer is NoResponse:
            silent.keep(self)
        else:
            self.end_interest()
        return answer

    def acknowledged(self) -> None:
        """The request has arrived, as far as anybody is going to tell."""
        if not self.may_be_silent and not self._answer.done():
            self.may_be_silent = True
            if self._patience:
                self._timer = self._loop.call_later(self._patience, self._settle, NoResponse)
            else:
                self._settle(NoResponse)

    def _settle(self, answer: Message) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
