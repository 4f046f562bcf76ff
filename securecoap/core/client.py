"""A request of the application: addressing, blocks, Echo, a second try after a lost session, and observation.

`ClientRequest` is the `Request` of the design. A plain request to a peer that is known goes out at once, and its answer
ends it: no task, no timer of its own. Whatever needs more (an address, a session, blocks, Echo, a second try) is put
together from single exchanges by one task, which takes over what has come. What is special about an observation is in
`securecoap.core.observer`; that it outlives an outage is decided here.
"""

from __future__ import annotations

import asyncio
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Final

from securecoap.core.observer import ClientObservation, Observer
from securecoap.core.plain import NOT_PLAIN, NOT_WHOLE, PlainRequest, is_worth_another_try
from securecoap.core.plumbing import RequestPipe, exchange
from securecoap.core.silence import QuietExchange, unwanted_classes
from securecoap.core.stepping import Steps
from securecoap.core.transfer import Transfer
from securecoap.errors import (
    CoapError,
    ConfigurationError,
    HandshakeFailed,
    RequestFailed,
    RequestTimeout,
    ResetReceived,
    SessionEnded,
    Unreachable,
)
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from securecoap.core.common import Common
    from securecoap.core.observers import Subscription
    from securecoap.interfaces import EndpointAddress, PlumbingRequest, RequestInterface

__all__ = ["ClientRequest"]

_OBSERVE: Final = 1 << numbers.OBSERVE
_ECHO: Final = 1 << numbers.ECHO
_PAUSE: Final = (5.0, 15.0)
"""Seconds before a broken observation is registered anew, at random (RFC 7641 section 3.3.1); doubled each time."""
_LONGEST_PAUSE: Final = 120.0
_OUTAGES: Final = (RequestTimeout, Unreachable, ResetReceived, HandshakeFailed, SessionEnded)
"""What a server that is away for a while looks like."""


class ClientRequest:
    """One request under way; see `Request`.

    Args:
        message: what the application asked for; it is not changed. Its token, if it has one, is that of the first
            exchange, provided that the peer takes its length (RFC 8974).
        common: what it shares with the other requests of its endpoint.
        transfer: what is to be done with bodies; by default they are held.
        begun: its first exchange, if that has come to an end with something to go on with; ``message`` is its request.

    Attributes:
        response: the (first) response. Cancelling it ends the request, and nothing is sent any more.
        observation: notifications, if the message has Observe=0.
    """

    def __init__(
        self,
        message: Message,
        common: Common,
        transfer: Transfer | None = None,
        begun: PlainRequest | None = None,
    ) -> None:
        parameters = common.parameters
        self._message = message
        self._common = common
        self._loop = loop = common.loop
        self._transfer = transfer or Transfer(common.limits.body_bytes, common.tags)
        self._cache = common.cache if self._transfer.holds_bodies else None
        self._quiet: QuietExchange | None = None
        self._token = message.token
        self._span = parameters.non_timeout if message.confirmable is False else parameters.max_transmit_wait
        self._patience = parameters.observation_patience
        self._subscription: Subscription | None = None
        self._interface: RequestInterface | None = None
        self._was_repeated = False
        self._was_rerouted = False
        self._remote: EndpointAddress | None = None
        self._performed_at = float("-inf")
        self._resend_after = parameters.ack_timeout
        self._pauses = 0
        self._heard_at = float("-inf")
        self.observation = (
            ClientObservation(self._cancel)
            if message.options.present & _OBSERVE and message.options.observe == 0
            else None
        )
        self.response: asyncio.Future[Message] = loop.create_future()
        self.response.add_done_callback(self._response_done)
        self._pipe: RequestPipe | None = None
        self._head: Message | BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        if begun is not None:
            self._take_over(begun)
        elif self.observation is not None or not self._begin():
            self._task = loop.create_task(self._run())

    def _response_done(self, response: asyncio.Future[Message]) -> None:
        if response.cancelled():
            self.cancel()

    # Without a task.

    def _begin(self) -> bool:
        """Send the request now, if nothing has to be waited for but its answer."""
        message = self._message
        if (
            self._token
            or self._cache is not None
            or message.confirmable is False
            or message.options.present & NOT_PLAIN
            or not self._transfer.is_plain(message)
        ):
            return False
        request = Message.inner(message.code or 0, message.options.snapshot(), message.payload, None, b"")
        request.scheme, request.unresolved_remote = message.scheme, message.unresolved_remote
        request.remote, request.confirmable = message.remote, message.confirmable
        interface = self._common.recognize(request)
        if interface is None or request.remote.is_multicast or request.remote in self._common.echoes:
            return False
        self._performed_at = self._loop.time()
        self._interface = interface
        self._remote = request.remote
        pipe = self._pipe = RequestPipe(request, self._answered, self._failed)
        pipe.on_delay = self._common.patience.delay
        self._common.patience.add(pipe, self._performed_at)
        try:
            interface.request(pipe)
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
            self._failed(error)
        return True

    def _answered(self, response: Message, _is_last: bool) -> None:
        """The answer, or the first part of it, is here."""
        self._end_pipe()
        if response.options.present & NOT_WHOLE:
            self._go_on(response)
        elif not self.response.done():
            self.response.set_result(response)

    def _failed(self, error: Exception) -> None:
        self._end_pipe()
        if is_worth_another_try(error):
            self._go_on(error)
        else:
            self._conclude(error)

    def _end_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._common.patience.pop(pipe, None)
            pipe.end_interest()

    def _go_on(self, head: Message | BaseException) -> None:
        """What came is not all: a task goes on with it."""
        if not self.response.done():
            self._head = head
            self._task = self._loop.create_task(self._run())

    def _take_over(self, begun: PlainRequest) -> None:
        message = begun.request
        self._performed_at = begun.begun_at
        self._interface = begun.interface
        self._remote, message.remote = message.remote, None
        self._token = message.token = b""
        self._go_on(begun.answer.exception() or begun.answer.result())

    # With one.

    def cancel(self) -> None:
        """End the request or observation; an observation is deregistered."""
        self._cancel(tell_server=True)

    def _cancel(self, tell_server: bool) -> None:
        self._end_pipe()
        if self._task is not None:
            self._task.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.leave(tell_server=tell_server)
        if self.observation is not None:
            self.observation.end()
        if not self.response.done():
            self.response.cancel()

    @property
    def may_be_silent(self) -> bool:
        """Whether silence means that there is nothing to be said (RFC 7967)."""
        return self._quiet is not None and self._quiet.may_be_silent

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way any more."""
        return self._pipe is None and (self._task is None or self._task.done())

    async def wait_done(self, seconds: float | None = None) -> None:
        """Return when nothing is under way any more, or after that time."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._run_again_once()
                    break
                except _OUTAGES as error:
                    await self._wait_for_better_times(error)
        except CoapError as error:
            self._conclude(error)
        except asyncio.CancelledError:
            self._end_subscription()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits has to see it
            self._conclude(error)
        else:
            self._conclude(None)

    def _conclude(self, error: Exception | None) -> None:
        self._end_subscription()
        observation = self.observation
        if not self.response.done():
            self.response.set_exception(error or RequestFailed("there was no response"))
            self.response.exception()  # whoever awaits it sees it; nobody has to
            error = None
        if observation is not None:
            observation.end(error)

    async def _wait_for_better_times(self, error: CoapError) -> None:
        """An observation that was established goes on when its server can be reached again, as a new registration.

        Raises:
            CoapError: the error given: it is a plain request, or nothing was heard for too long.
        """
        self._end_subscription()
        is_address_gone = isinstance(error, SessionEnded) and self._message.remote is not None
        if self.observation is None or not self.response.done() or is_address_gone:
            raise error
        pause = min(self._common.randomness.uniform(*_PAUSE) * 2**self._pauses, _LONGEST_PAUSE)
        if self._loop.time() + pause > self._heard_at + self._patience:
            raise error
        self._pauses += 1
        self._was_repeated = self._was_rerouted = False
        await asyncio.sleep(pause)

    async def _run_again_once(self) -> None:
        """Perform, and in two cases once more.

        A lost session costs a safe request nothing (the design, section 5), and an address that refuses at once need
        not be the only one of a name.
        """
        while True:
            try:
                await self._perform()
                return
            except SessionEnded as error:
                safe = self._message.code in (Code.GET, Code.FETCH) or error.unprocessed
                if not safe or self._message.remote is not None or self._was_repeated:
                    raise
                self._was_repeated = True  # until something comes again: an observation may outlive many sessions
                self._end_subscription()
            except Unreachable:
                # The name may have another address. Later than this a retransmission may have been carried out.
                only_once = self._loop.time() < self._performed_at + self._resend_after
                if self._message.remote is not None or self._was_rerouted or not only_once:
                    raise
                self._was_rerouted = True
                self._end_subscription()

    async def _perform(self) -> None:
        head, self._head = self._head, None
        if isinstance(head, BaseException):
            raise head
        message = self._message.copy()
        message.remote = self._message.remote
        if head is not None:
            message.remote = self._remote
            self._deliver(await self._transferred(message, head))
            return
        self._performed_at = self._loop.time()
        refused = self._remote
        try:
            async with asyncio.timeout(self._common.parameters.max_transmit_wait):
                self._interface = await self._common.choose(message)
        except TimeoutError as error:
            raise error if isinstance(error, CoapError) else RequestTimeout("no address was found in time") from None
        self._remote = message.remote
        if self._was_rerouted and self._remote == refused:
            raise Unreachable(ECONNREFUSED, "the network reports that the peer is unreachable")
        if message.options.etags and message.remote.is_multicast:
            raise ConfigurationError("a request to a group takes no ETag (RFC 7252 section 8.2.1)")
        if self._common.echoes:
            message = self._common.echoes.take(message)
        if self.observation is None or message.payload[1024:]:
            if self._cache is None:
                self._deliver(await self._transferred(message))
            else:
                self._deliver(await self._cache.perform(message, self._transferred))
            return
        subscription = self._common.observers.join(
            message,
            self._deliver,
            lambda deliver: Observer(
                message,
                self._send,
                self._ask,
                deliver,
                loop=self._loop,
                randomness=self._common.randomness,
                span=self._span,
                patience=self._patience,
                limit=self._common.limits.body_bytes,
            ),
        )
        self._subscription = subscription
        await subscription.run()

    def _deliver(self, response: Message) -> None:
        if response.options.present & _ECHO:
            self._common.echoes.keep(response)
        self._was_repeated = False
        self._pauses = 0
        if not self.response.done():
            self.response.set_result(response)
        elif self.observation is not None:
            self.observation.put(response)

    async def _transferred(self, message: Message, head: Message | None = None) -> Message:
        """The response to a request of any size; ``head`` is what has come already."""
        if self._token or unwanted_classes(message) or not self._transfer.holds_bodies:
            return await self._transfer.perform(message, self._ask)
        send = self._send if self._interface is None else self._interface.request
        steps = Steps(send, self._loop, self._span, head)
        return await steps.run(self._transfer.perform(message, steps.ask))

    async def _ask(self, message: Message) -> Message:
        """One exchange: a request, which is the caller's gift, and its response."""
        token, self._token = self._token, b""
        if token:
            return await self._common.extended_tokens.perform(message, token, self._ask)
        if unwanted_classes(message):
            self._quiet = QuietExchange(message, self._loop, self._common.parameters)
            return await self._quiet.perform(self._send, self._common.silent)
        return await exchange(message, self._send, self._loop, self._span)

    def _send(self, pipe: PlumbingRequest) -> None:
        if self._interface is None:
            raise RequestFailed("the request has no interface")
        self._interface.request(pipe)

    def _end_subscription(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._heard_at = max(self._heard_at, subscription.heard_at)
            subscription.leave(tell_server=False)
