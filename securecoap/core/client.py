"""A request of the application: addressing, blocks, Echo, a second try after a lost session, and observation.

`ClientRequest` is the `Request` of the design: one task that puts single exchanges together. RFC 7641 section 3 is the
client's side of observations: notifications are ordered by section 3.4, and a newer one replaces an older one that
nobody has taken yet only when many wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Final

from securecoap.core.plumbing import RequestPipe
from securecoap.core.transfer import answer_echo, download_rest, upload
from securecoap.errors import (
    CoapError,
    ConfigurationError,
    RequestFailed,
    RequestTimeout,
    SessionEnded,
    TransferFailed,
    Unreachable,
)
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from securecoap.config import Limits, TransportParameters
    from securecoap.interfaces import EndpointAddress, RequestInterface
    from securecoap.wire.message import Message

__all__ = ["ClientObservation", "ClientRequest"]

_WAITING_NOTIFICATIONS: Final = 64
_REORDER_WINDOW: Final = 128.0  # seconds (RFC 7641 section 3.4)


def is_newer(last: tuple[int, float], number: int, now: float) -> bool:
    """Whether a notification is newer than the last one taken (RFC 7641 section 3.4)."""
    known, received = last
    return (
        (known < number and number - known < 1 << 23)
        or (known > number and known - number > 1 << 23)
        or now > received + _REORDER_WINDOW
    )


class ClientObservation:
    """Notifications as they come: an async iterator that ends when the observation does.

    At most 64 wait to be taken; then the oldest is dropped, because the newest state is what an observer wants.
    """

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._waiting: deque[Message] = deque(maxlen=_WAITING_NOTIFICATIONS)
        self._wakeup = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    def __aiter__(self) -> ClientObservation:
        return self

    async def __anext__(self) -> Message:
        """The next notification.

        Raises:
            RequestFailed: the observation broke off.
        """
        while not self._waiting:
            if self._ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._waiting.popleft()

    def cancel(self) -> None:
        """End the observation; the server is told (RFC 7641 section 3.6)."""
        self._request.cancel()

    def put(self, notification: Message) -> None:
        """A notification came (called by the request)."""
        self._waiting.append(notification)
        self._wakeup.set()

    def end(self, error: BaseException | None = None) -> None:
        """No more will come (called by the request)."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wakeup.set()


class ClientRequest:
    """One request under way; see `Request`.

    Args:
        message: what the application asked for; it is not changed.
        choose: sets a message's remote and returns who sends it.
        loop: runs the work.
        parameters: default time limits: RFC 7252's span for a Confirmable request, ``non_timeout`` for another.
        limits: uses ``body_bytes``.

    Attributes:
        response: the (first) response. Cancelling it ends the request, and nothing is sent any more.
        observation: notifications, if the message has Observe=0.
    """

    def __init__(
        self,
        message: Message,
        choose: Callable[[Message], Awaitable[RequestInterface]],
        loop: asyncio.AbstractEventLoop,
        parameters: TransportParameters,
        limits: Limits,
    ) -> None:
        self._message = message
        self._choose = choose
        self._loop = loop
        self._limits = limits
        self._span = parameters.non_timeout if message.confirmable is False else parameters.max_transmit_wait
        self._pipe: RequestPipe | None = None
        self._interface: RequestInterface | None = None
        self._was_repeated = False
        self._was_rerouted = False
        self._remote: EndpointAddress | None = None
        self._performed_at = float("-inf")
        self._resend_after = parameters.ack_timeout
        self._last = (0, float("-inf"))
        self._notifications: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self.observation = ClientObservation(self) if message.options.observe == 0 else None
        self.response: asyncio.Future[Message] = loop.create_future()
        self.response.add_done_callback(self._response_done)
        self._task: asyncio.Task[None] = loop.create_task(self._run())

    def _response_done(self, response: asyncio.Future[Message]) -> None:
        if response.cancelled():
            self.cancel()

    def cancel(self) -> None:
        """End the request or observation; an observation is deregistered."""
        self._task.cancel()
        self._deregister()
        if self.observation is not None:
            self.observation.end()
        if not self.response.done():
            self.response.cancel()

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way any more."""
        return self._task.done()

    async def wait_done(self) -> None:
        """Return when nothing is under way any more."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._run_again_once()
        except CoapError as error:
            self._conclude(error)
        except asyncio.CancelledError:
            self._end_pipe()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
            self._conclude(error)
        else:
            self._conclude(None)

    def _conclude(self, error: Exception | None) -> None:
        self._end_pipe()
        observation = self.observation
        if not self.response.done():
            self.response.set_exception(error or RequestFailed("there was no response"))
            self.response.exception()  # whoever awaits it sees it; nobody has to
            error = None
        if observation is not None:
            observation.end(error)

    async def _run_again_once(self) -> None:
        """Perform, and in two cases once more.

        A lost session costs a safe request nothing (the design, section 5), and an address that refuses at once need
        not be the only one of a name.
        """
        while True:
            try:
                await self._perform()
                return
            except SessionEnded:
                safe = self._message.code in (Code.GET, Code.FETCH) and self._message.remote is None
                if not safe or self._was_repeated:
                    raise
                self._was_repeated = True  # until something comes again: an observation may outlive many sessions
                self._end_pipe()
            except Unreachable:
                # The name may have another address. Later than this a retransmission may have been carried out.
                only_once = self._loop.time() < self._performed_at + self._resend_after
                if self._message.remote is not None or self._was_rerouted or not only_once:
                    raise
                self._was_rerouted = True
                self._end_pipe()

    async def _perform(self) -> None:
        message = self._message.copy()
        message.remote = self._message.remote
        self._performed_at = self._loop.time()
        refused = self._remote
        self._interface = await self._choose(message)
        self._remote = message.remote
        if self._was_rerouted and self._remote == refused:
            raise Unreachable(ECONNREFUSED, "the network reports that the peer is unreachable")
        if message.options.etags and message.remote.is_multicast:
            raise ConfigurationError("a request to a group takes no ETag (RFC 7252 section 8.2.1)")
        if self.observation is None or message.payload[1024:]:
            response = await upload(message, self._ask)
            self._deliver(await download_rest(message, response, self._ask, self._limits.body_bytes))
            return
        first = await answer_echo(message, self._register)
        await self._observe(message, first)

    def _deliver(self, response: Message) -> None:
        self._was_repeated = False
        if not self.response.done():
            self.response.set_result(response)
        elif self.observation is not None:
            self.observation.put(response)

    async def _ask(self, message: Message) -> Message:
        """One exchange: a request and its response."""
        future: asyncio.Future[Message] = self._loop.create_future()

        def respond(response: Message, _is_last: bool) -> None:
            if not future.done():
                future.set_result(response)

        def fail(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)

        pipe = RequestPipe(message.copy(), respond, fail)
        pipe.request.remote = message.remote
        try:
            self._send(pipe)
            async with asyncio.timeout(self._span):
                return await future
        except TimeoutError as error:
            raise error if isinstance(error, CoapError) else RequestTimeout("there was no response in time") from None
        finally:
            pipe.end_interest()

    def _send(self, pipe: RequestPipe) -> None:
        if self._interface is None:
            raise RequestFailed("the request has no interface")
        self._interface.request(pipe)

    # Observation.

    async def _register(self, message: Message) -> Message:
        """Send the registration; its pipe stays open for notifications."""
        self._end_pipe()
        self._notifications = asyncio.Queue()
        queue = self._notifications

        def put(answer: Message | Exception) -> None:
            if queue.qsize() >= _WAITING_NOTIFICATIONS:  # the rest of a large one is still being fetched
                queue.get_nowait()
            queue.put_nowait(answer)

        pipe = RequestPipe(message.copy(), lambda response, _: put(response), put)
        pipe.request.remote = message.remote
        self._pipe = pipe
        self._send(pipe)
        try:
            async with asyncio.timeout(self._span):
                answer = await queue.get()
        except TimeoutError:
            raise RequestTimeout("there was no response in time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _observe(self, message: Message, first: Message) -> None:
        self._last = (0, float("-inf"))
        answer: Message | Exception = first
        while True:
            if isinstance(answer, Exception):
                raise answer
            number = answer.options.observe
            now = self._loop.time()
            if number is None or not 64 <= (answer.code or 0) < 96:
                self._deliver(await download_rest(message, answer, self._ask, self._limits.body_bytes))
                return  # section 3.2: the server does not (or no longer) notify
            if is_newer(self._last, number, now):
                self._last = (number, now)
                try:
                    whole = await download_rest(message, answer, self._ask, self._limits.body_bytes)
                except TransferFailed:
                    # The state has changed on the way, of which a notification will tell (RFC 7959 section 2.6).
                    if not self.response.done() and self._notifications.empty():
                        raise
                else:
                    self._deliver(whole)
            answer = await self._notifications.get()

    def _end_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.end_interest()

    def _deregister(self) -> None:
        """Tell the server that notifications are not wanted any more: the same token with Observe=1 (section 3.6)."""
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        was_established = not pipe.ended and self.response.done() and not self.response.cancelled()
        pipe.end_interest()
        if not was_established or self._interface is None:
            return
        goodbye = pipe.request.copy(observe=1)
        goodbye.remote = pipe.request.remote
        goodbye.token = pipe.request.token
        goodbye.confirmable = pipe.request.confirmable
        farewell = RequestPipe(goodbye, lambda *_: timer.cancel(), lambda _: timer.cancel())
        timer = self._loop.call_later(self._span, farewell.end_interest)
        self._interface.request(farewell)
