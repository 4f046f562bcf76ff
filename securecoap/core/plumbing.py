"""One request of ours on its way through the layers: what comes back goes to two callbacks.

The other end of the same contract, a request that came from a peer, is `securecoap.core.tokens.IncomingRequest`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from securecoap.errors import CoapError, RequestTimeout, ResetReceived
from securecoap.interfaces import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from securecoap.core.plain import PlainRequest
    from securecoap.interfaces import Cancel
    from securecoap.wire.message import Message

__all__ = ["AnsweredWithin", "Ping", "RequestPipe", "exchange", "time_out"]


class RequestPipe:
    """A `PlumbingRequest` that calls back.

    Args:
        request: the message to send; the pipe's, not the application's.
        on_response: called with each response and whether it is the last.
        on_exception: called at most once, and then nothing more is.

    Attributes:
        on_delay: called with the pipe and a time before which the request is not sent, for whoever waits.
    """

    __slots__ = ("_callbacks", "_on_exception", "_on_response", "ended", "on_delay", "request")

    def __init__(
        self,
        request: Message,
        on_response: Callable[[Message, bool], object],
        on_exception: Callable[[Exception], object],
    ) -> None:
        self.request = request
        self.ended = False
        self._on_response = on_response
        self._on_exception = on_exception
        self._callbacks: list[Cancel] = []
        self.on_delay: Callable[[RequestPipe, float], object] | None = None

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """A response came."""
        if not self.ended:
            self.ended = is_last
            self._on_response(message, is_last)

    def add_exception(self, error: Exception) -> None:
        """No (further) response will come."""
        if not self.ended:
            self.ended = True
            self._on_exception(error)

    def delayed(self, until: float) -> None:
        """The request is not sent before that time."""
        if self.on_delay is not None and not self.ended:
            self.on_delay(self, until)

    def on_interest_end(self, callback: Cancel) -> None:
        """Register what the layers below have to stop."""
        self._callbacks.append(callback)

    def end_interest(self) -> None:
        """Nothing that comes is wanted any more, and nothing is to be sent."""
        self.ended = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class AnsweredWithin:
    """The time that a pipe's request, sent inside of it, has for its answer, from when it can be sent.

    Used as an asynchronous context manager, which raises `TimeoutError`.

    Args:
        pipe: carries the request.
        span: seconds.
    """

    __slots__ = ("_limit", "_pipe", "_span")

    def __init__(self, pipe: RequestPipe, span: float) -> None:
        self._pipe = pipe
        self._span = span
        self._limit = asyncio.timeout(span)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._pipe.on_delay = self._delay

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pipe.on_delay = None
        await self._limit.__aexit__(kind, error, traceback)

    def _delay(self, _pipe: RequestPipe, until: float) -> None:
        if not self._limit.expired():
            self._limit.reschedule(until + self._span)


def time_out(pipe: RequestPipe | PlainRequest) -> None:
    """There was no response in time."""
    pipe.add_exception(RequestTimeout("there was no response in time"))
    pipe.end_interest()


async def exchange(
    request: Message, send: Callable[[RequestPipe], object], loop: asyncio.AbstractEventLoop, span: float
) -> Message:
    """One request, which is the caller's gift, and its first response.

    Args:
        request: with its remote.
        send: hands the request to the layers below.
        loop: time.
        span: seconds to wait.

    Raises:
        RequestTimeout: there was none.
        RequestFailed: the layers below gave up.
    """
    answer: asyncio.Future[Message] = loop.create_future()

    def respond(response: Message, _is_last: bool) -> None:
        if not answer.done():
            answer.set_result(response)

    def fail(error: Exception) -> None:
        if not answer.done():
            answer.set_exception(error)

    pipe = RequestPipe(request, respond, fail)
    try:
        async with AnsweredWithin(pipe, span):
            send(pipe)
            return await answer
    except TimeoutError as error:
        raise error if isinstance(error, CoapError) else RequestTimeout("there was no response in time") from None
    finally:
        pipe.end_interest()


class Ping(Exchange):
    """An Empty Confirmable message, whose Reset says that somebody is there (RFC 7252 section 4.3)."""

    __slots__ = ("answer",)

    def __init__(self, answer: asyncio.Future[None]) -> None:
        self.answer = answer

    def failed(self, error: Exception) -> None:
        if self.answer.done():
            return
        if isinstance(error, ResetReceived):
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)
