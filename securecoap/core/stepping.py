"""A transfer that goes on within the callback that brings a response, without a turn of the event loop for each block.

`Steps.run` runs a coroutine that awaits nothing but `Steps.ask`. The next block is then on its way before the
datagram that allowed it has been left, and one timer watches over all. What a coroutine of an application needs,
a running task, there is not: bodies that come from or go to one are transferred by an ordinary task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from securecoap.core.plumbing import RequestPipe
from securecoap.errors import RequestTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Generator

    from securecoap.wire.message import Message

__all__ = ["Steps"]

T = TypeVar("T")


class _Answer:
    """What `Steps.ask` returns: the response to one request, awaited once."""

    __slots__ = ("_pipe", "_steps", "error", "response")

    def __init__(self, steps: Steps, message: Message) -> None:
        self._steps = steps
        self.response: Message | None = None
        self.error: Exception | None = None
        self._pipe = RequestPipe(message, self._respond, self._fail)

    def __await__(self) -> Generator[_Answer, None, Message]:
        try:
            head = self._steps.head
            if head is None:
                self._steps.send(self._pipe)
            else:
                self._steps.head = None
                self.response = head
            if self.response is None and self.error is None:
                yield self
        finally:
            self._pipe.end_interest()
        if self.error is not None:
            raise self.error
        assert self.response is not None  # the steps go on when there is one or the other
        return self.response

    def _respond(self, response: Message, _is_last: bool) -> None:
        self.response = response
        self._steps.go_on(self)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._steps.go_on(self)

    def time_out(self) -> None:
        """There was no response in time."""
        self._pipe.ended = True
        self._fail(RequestTimeout("there was no response in time"))


class Steps:
    """Drives one coroutine.

    Args:
        send: hands a request to the layers below.
        loop: time.
        span: seconds to wait for each response.
        head: the response to the first request, if that was sent and answered already.
    """

    __slots__ = ("_answer", "_coroutine", "_deadline", "_loop", "_result", "_span", "_timer", "head", "send")

    def __init__(
        self,
        send: Callable[[RequestPipe], object],
        loop: asyncio.AbstractEventLoop,
        span: float,
        head: Message | None = None,
    ) -> None:
        self.send = send
        self.head = head
        self._loop = loop
        self._span = span
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._result: asyncio.Future[Any] = loop.create_future()
        self._answer: _Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def ask(self, message: Message) -> _Answer:
        """Send a request, which is the caller's gift, when it is awaited; its response.

        Raises:
            RequestTimeout: there was none.
            RequestFailed: the layers below gave up.
        """
        return _Answer(self, message)

    def go_on(self, answer: _Answer) -> None:
        """An answer has come; if it is awaited already, the coroutine goes on now."""
        if self._answer is answer:
            self._step()

    def _step(self) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._answer = None
        try:
            self._answer = coroutine.send(None)
        except StopIteration as end:
            self._end()
            if not self._result.done():
                self._result.set_result(end.value)
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
            self._end()
            if not self._result.done():
                self._result.set_exception(error)
        else:
            self._deadline = self._loop.time() + self._span
            if self._timer is None:
                self._timer = self._loop.call_at(self._deadline, self._watch)

    def _watch(self) -> None:
        """The only timer: it was armed for one of the requests, and most have been answered since."""
        self._timer = None
        answer = self._answer
        if answer is None:
            return
        if self._loop.time() >= self._deadline:
            answer.time_out()
        else:
            self._timer = self._loop.call_at(self._deadline, self._watch)

    def _end(self) -> None:
        self._coroutine = self._answer = None
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
            self._end()
            coroutine.close()
