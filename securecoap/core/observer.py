"""An observation at the client (RFC 7641 section 3): registration, order, freshness, deregistration.

An `Observer` registers, puts what comes into order by section 3.4, and registers again when the last notification is
not fresh any more (section 3.3.1), or when the server is back that said when (5.03): so it outlives a server that has
restarted, a notification that was lost, and an address that has changed. `ClientObservation` is what the application
holds. Errors end an `Observer`; whether there is another try is said in `securecoap.core.client`. The server's side is
in `securecoap.core.observe`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from securecoap.core.bodies import answer_echo
from securecoap.core.download import download_rest
from securecoap.core.plumbing import AnsweredWithin, RequestPipe
from securecoap.errors import RequestTimeout, TransferFailed
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from securecoap.interfaces import Randomness
    from securecoap.wire.message import Message

__all__ = ["ClientObservation", "Observer", "is_newer"]

_WAITING_NOTIFICATIONS: Final = 64
_REORDER_WINDOW: Final = 128.0  # seconds (section 3.4)
_DEFAULT_MAX_AGE: Final = 60  # seconds (RFC 7252 section 5.10.5)
_GRACE: Final = (5.0, 15.0)
"""Seconds after Max-Age, at random, so that not all observers of a silent server come at once (section 3.3.1)."""
_FIRST_TRIES: Final = 3
"""Registrations whose first representation changes while it is fetched."""
_NOT_CONTENT: Final = frozenset({numbers.OBSERVE, numbers.MAX_AGE})


def is_newer(last: tuple[int, float], number: int, now: float) -> bool:
    """Whether a notification is newer than the last one taken (section 3.4).

    Args:
        last: its number, and when it came.
        number, now: of the other one.
    """
    known, received = last
    return (
        (known < number and number - known < 1 << 23)
        or (known > number and known - number > 1 << 23)
        or now > received + _REORDER_WINDOW
    )


class ClientObservation:
    """Notifications as they come: an async iterator that ends when the observation does.

    At most 64 wait to be taken; then the oldest is dropped, because the newest state is what an observer wants.

    Args:
        cancel: ends the observation; its argument says whether the server is told.
    """

    def __init__(self, cancel: Callable[[bool], object]) -> None:
        self._cancel = cancel
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

    def cancel(self, *, tell_server: bool = True) -> None:
        """End the observation (section 3.6).

        Args:
            tell_server: ``True`` deregisters with a request (Observe=1). ``False`` sends nothing: the server learns it
                from the Reset that answers its next notification.
        """
        self._cancel(tell_server)

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


class Observer:
    """One registration with one server, as long as it lasts.

    Args:
        message: the registration, with its remote.
        send: sends what is in a pipe.
        ask: sends a request of its own and returns the response; fetches further blocks.
        deliver: called with each representation, in order, the last response of an observation that ends among them.
        loop, randomness: time, and when to register again.
        span: seconds to wait for an answer to a registration.
        patience: seconds after the last notification in which a server may say that it is not available.
        limit: the most bytes of a body.

    Attributes:
        is_established: whether a representation was delivered and the server notifies.
        delivered: the representation that was delivered last.
    """

    def __init__(
        self,
        message: Message,
        send: Callable[[RequestPipe], object],
        ask: Callable[[Message], Awaitable[Message]],
        deliver: Callable[[Message], object],
        *,
        loop: asyncio.AbstractEventLoop,
        randomness: Randomness,
        span: float,
        patience: float,
        limit: int,
    ) -> None:
        self.is_established = False
        self._message = message
        self._send = send
        self._ask = ask
        self._deliver = deliver
        self._loop = loop
        self._random = randomness
        self._span = span
        self._patience = patience
        self._limit = limit
        self._answers: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self._pipe: RequestPipe | None = None
        self._token = b""
        self._last = (0, float("-inf"))
        self._stale_at = float("inf")
        self.delivered: Message | None = None
        self._offered: Message | None = None  # the representation whose ETag the registration has

    @property
    def heard_at(self) -> float:
        """When the server last sent something that counted."""
        return self._last[1]

    async def run(self) -> None:
        """Register and deliver until the server ends the observation.

        Raises:
            RequestFailed: there is no (further) answer.
        """
        answer = await self._register()
        is_reply = True
        tries = _FIRST_TRIES
        while True:
            number = answer.options.observe
            if number is None or not 64 <= (answer.code or 0) < 96:
                self.is_established = False
                if self._is_pause(answer):
                    answer, is_reply = await self._next()
                    continue
                await self._end_with(answer, is_reply=is_reply)
                return
            now = self._loop.time()
            # A response in the acknowledgement is the newest whatever its number: the server may have restarted.
            if answer.mtype == ACK or is_newer(self._last, number, now):
                self._last = (number, now)
                try:
                    await self._take(answer, is_reply=is_reply)
                    max_age = answer.options.max_age
                    fresh = _DEFAULT_MAX_AGE if max_age is None else max_age
                    self._stale_at = now + fresh + self._random.uniform(*_GRACE)
                except TransferFailed:
                    # The state has changed on the way, of which a notification should tell (RFC 7959 section 2.6).
                    tries -= 1
                    if self.delivered is None and self._answers.empty():
                        if not tries:
                            raise
                        self._stale_at = now
            answer, is_reply = await self._next()

    async def _take(self, answer: Message, *, is_reply: bool) -> None:
        if (
            answer.code == Code.VALID
            and self._offered is not None
            and answer.options.etag == self._offered.options.etag
        ):
            whole = self._offered
        else:
            whole = await download_rest(self._message, answer, self._ask, self._limit)
        self.is_established = True
        known, self.delivered = self.delivered, whole
        if not is_reply or known is None or not _is_same(known, whole):
            self._deliver(whole)

    def _is_pause(self, answer: Message) -> bool:
        """Whether a server that was observed says when it is back (RFC 7252 section 5.9.3.4), because it restarts.

        That is when to register again, as long as the last notification is not too old.
        """
        pause, now = answer.options.max_age, self._loop.time()
        if answer.code != Code.SERVICE_UNAVAILABLE or pause is None or self.delivered is None:
            return False
        self._stale_at = now + pause + self._random.uniform(*_GRACE)
        return self._stale_at <= self._last[1] + self._patience

    async def _end_with(self, answer: Message, *, is_reply: bool) -> None:
        if is_reply and answer.code == Code.VALID:
            return  # the server does not notify any more, and the representation is the one that was delivered
        self._deliver(await download_rest(self._message, answer, self._ask, self._limit))

    async def _next(self) -> tuple[Message, bool]:
        """The next answer, and whether it is the one to a registration that became due."""
        try:
            async with asyncio.timeout_at(self._stale_at):
                answer = await self._answers.get()
        except TimeoutError:
            # Should what comes be of no use, the next registration is not to follow at once.
            self._stale_at = self._loop.time() + self._random.uniform(*_GRACE)
            return await self._register(), True
        if isinstance(answer, Exception):
            raise answer
        return answer, False

    async def _register(self) -> Message:
        """Register, or register again: same token, same options but for the ETag (section 3.3.1)."""
        message = self._message.copy()
        message.remote = self._message.remote
        delivered = self.delivered
        if not message.options.etags and delivered is not None and delivered.options.etag is not None:
            message.options.etag = delivered.options.etag
            self._offered = delivered
        return await answer_echo(message, self._send_registration)

    async def _send_registration(self, message: Message) -> Message:
        self.end()
        answers = self._answers = asyncio.Queue()

        def put(answer: Message | Exception) -> None:
            if answers.qsize() >= _WAITING_NOTIFICATIONS:  # the rest of a large one is still being fetched
                answers.get_nowait()
            answers.put_nowait(answer)

        pipe = self._pipe = RequestPipe(message.copy(), lambda response, _: put(response), put)
        pipe.request.remote = message.remote
        pipe.request.token = self._token
        try:
            async with AnsweredWithin(pipe, self._span):
                self._send(pipe)
                self._token = pipe.request.token
                answer = await answers.get()
        except TimeoutError:
            raise RequestTimeout("there was no response in time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """Take no notification any more; the next one is answered with a Reset."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.end_interest()

    def deregister(self) -> None:
        """End, and tell the server: the same token with Observe=1 (section 3.6)."""
        pipe = self._pipe
        was_known = self.is_established and pipe is not None and not pipe.ended
        self.end()
        if pipe is None or not was_known:
            return
        goodbye = pipe.request.copy(observe=1)
        goodbye.remote = pipe.request.remote
        goodbye.token = pipe.request.token
        farewell = RequestPipe(goodbye, lambda *_: timer.cancel(), lambda _: timer.cancel())
        timer = self._loop.call_later(self._span, farewell.end_interest)
        self._send(farewell)


def _is_same(one: Message, other: Message) -> bool:
    """Whether two messages have the same representation."""
    return one is other or (
        one.code == other.code and one.payload == other.payload and _content(one) == _content(other)
    )


def _content(message: Message) -> list[tuple[int, bytes]]:
    return [pair for pair in message.options if pair[0] not in _NOT_CONTENT]
