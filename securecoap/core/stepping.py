"""A transfer that goes on within the callback that brings a response, without a turn of the event loop for each block.

`Steps.run` runs a coroutine that awaits nothing but `Steps.ask`. The next block is then on its way before the
datagram that allowed it has been left, and one timer watches over all. What a coroutine of an application needs,
a running task, there is not: bodies that come from or go to one are transferred by an ordinary task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from securecoap.clock import clock_of
from securecoap.errors import RequestTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Generator

    from securecoap.interfaces import Cancel, PlumbingRequest
    from securecoap.wire.message import Message

__all__ = ["Steps"]

T = TypeVar("T")


class Steps:
    """Drives one coroutine; the `PlumbingRequest` of each of its exchanges, one after the other.

    Args:
        send: hands a request to the layers below.
        loop: time.
        span: seconds to wait for each response.
        head: the response to the first request, if that was sent and answered already.

    Attributes:
        request: what is asked now.
    """

    __slots__ = (
        "_coroutine", "_deadline", "_delayed_until", "_end", "_error", "_head", "_loop", "_response", "_result",
        "_send", "_span", "_time", "_timer", "_waits", "request",
    )  # fmt: skip

    request: Message

    def __init__(
        self,
        send: Callable[[PlumbingRequest], object],
        loop: asyncio.AbstractEventLoop,
        span: float,
        head: Message | None = None,
    ) -> None:
        self._send = send
        self._head = head
        self._loop = loop
        self._time = clock_of(loop)
        self._span = span
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._delayed_until = float("-inf")
        self._result: asyncio.Future[Any] = loop.create_future()
        self._response: Message | None = None
        self._error: Exception | None = None
        self._waits = False  # the coroutine, for a response
        self._end: Cancel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def ask(self, message: Message) -> Self:
        """Send a request, which is the caller's gift, when it is awaited, before anything else is asked; its response.

        Raises:
            RequestTimeout: there was none.
            RequestFailed: the layers below gave up.
        """
        self.request = message
        self._response, self._head = self._head, None
        self._error = None
        return self

    def __await__(self) -> Generator[None, None, Message]:
        if self._response is None:
            self._send(self)
        if self._response is None and self._error is None:
            self._waits = True
            yield
        if self._error is not None:
            raise self._error
        assert self._response is not None  # the steps go on when there is one or the other
        return self._response

    # What comes back; a response that is the last has ended its exchange by itself.

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """It is here; if it is awaited already, the coroutine goes on now."""
        if is_last:
            self._end = self.request.exchange = None
        else:
            self._end_exchange()
        self._response = message
        if self._waits:
            self._step()

    def add_exception(self, error: Exception) -> None:
        """It will not come."""
        self._end_exchange()
        self._error = error
        if self._waits:
            self._step()

    def delayed(self, until: float) -> None:
        """The request is not sent before that time, and waits for its response from then on."""
        self._delayed_until = until

    def on_interest_end(self, callback: Cancel) -> None:
        """Register what the layers below have to stop."""
        self._end = callback

    def _end_exchange(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()
            self.request.exchange = None  # which knows these steps

    def _step(self) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._waits = False
        try:
            coroutine.send(None)
        except StopIteration as end:
            self._conclude()
            if not self._result.done():
                self._result.set_result(end.value)
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
            self._conclude()
            if not self._result.done():
                self._result.set_exception(error)
        else:
            self._deadline = self._time() + self._span
            if self._timer is None:
                self._timer = self._loop.call_at(self._deadline, self._watch)

    def _watch(self) -> None:
        """The only timer: it was armed for one of the requests, and most have been answered since."""
        self._timer = None
        if self._coroutine is None:
            return
        deadline = max(self._deadline, self._delayed_until + self._span)
        if self._time() >= deadline:
            self.add_exception(RequestTimeout("there was no response in time"))
        else:
            self._timer = self._loop.call_at(deadline, self._watch)

    def _conclude(self) -> None:
        self._coroutine = None
        self._waits = False
        self._end_exchange()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that awaits nothing but `ask`; cancelled with this, it sends nothing any more."""
        self._coroutine = coroutine
        self._step()
        try:
            result: T = await self._result
            return result
        finally:
            self._conclude()
            coroutine.close()
