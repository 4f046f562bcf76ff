"""One request to a group, and the responses of its members until a time limit (RFC 7252 section 8).

The request goes out once, Non-confirmable, in one message; members answer when they like within their Leisure. What is
larger than a message is fetched from its member by unicast (RFC 7959 section 2.8). Groups are unprotected here: a
request for which credentials are meant is refused below.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from securecoap.core.download import download_rest
from securecoap.core.plumbing import RequestPipe, exchange
from securecoap.errors import CoapError, ConfigurationError, RequestFailed, RequestTimeout
from securecoap.wire import numbers

if TYPE_CHECKING:
    from securecoap.core.common import Common
    from securecoap.interfaces import EndpointAddress, RequestInterface
    from securecoap.wire.message import Message

__all__ = ["GroupRequest"]

_log = logging.getLogger(__name__)

_LARGEST: Final = 1024
# An entity tag would not say whose representation it means (RFC 7252 section 8.2.1); blocks and notifications are an
# affair of two.
_NOT_FOR_GROUPS: Final = (numbers.ETAG, numbers.OBSERVE, numbers.BLOCK1)


class GroupRequest:
    """A request under way to a group: an async iterator of responses, one of each member, as they come.

    Args:
        message: what the application asked for; it is not changed.
        common: what it shares with the other requests of its endpoint. The time limit is ``default_leisure`` and
            ``non_timeout`` together, where none is given.
        seconds: the time limit, from when the request is sent.
    """

    def __init__(self, message: Message, common: Common, seconds: float | None = None) -> None:
        parameters = common.parameters
        self._message = message
        self._common = common
        self._loop = common.loop
        self._seconds = parameters.default_leisure + parameters.non_timeout if seconds is None else seconds
        self._heard: set[EndpointAddress] = set()
        self._waiting: deque[Message] = deque()
        self._wakeup = asyncio.Event()
        self._pipe: RequestPipe | None = None
        self._interface: RequestInterface | None = None
        self._deadline = float("inf")
        self._failure: Exception | None = None
        self._ended = False

    def __aiter__(self) -> GroupRequest:
        return self

    async def __anext__(self) -> Message:
        """The response of one more member; the request is sent when the first is asked for.

        Raises:
            ConfigurationError: it is to no group, or has what a group takes not.
            CredentialsMissing: a credential is meant for it, and cannot protect a multicast.
            Unreachable: it cannot be sent.
        """
        try:
            if self._interface is None and not self._ended:
                await self._begin()
            while (response := await self._next()) is not None:
                whole = await self._complete(response)
                if whole is not None:
                    return whole
        except BaseException:
            self.cancel()
            raise
        self.cancel()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Take no further response."""
        self._ended = True
        self._wakeup.set()
        if self._pipe is not None:
            self._pipe.end_interest()

    @property
    def is_done(self) -> bool:
        """Whether no further response is taken."""
        return self._ended

    async def wait_done(self, seconds: float | None = None) -> None:
        """Nothing goes on without somebody who iterates."""

    async def _begin(self) -> None:
        message = self._message.copy()
        message.confirmable = False
        if len(message.payload) > _LARGEST or any(number in message.options for number in _NOT_FOR_GROUPS):
            raise ConfigurationError("a request to a group goes in one message, and has neither ETag nor Observe")
        try:
            async with asyncio.timeout(self._common.parameters.max_transmit_wait):
                interface = await self._common.choose(message)
        except TimeoutError as error:
            raise error if isinstance(error, CoapError) else RequestTimeout("no address was found in time") from None
        if not message.remote.is_multicast:
            raise ConfigurationError("a request to a group needs a multicast address")
        self._interface = interface
        self._deadline = self._loop.time() + self._seconds
        self._pipe = RequestPipe(message, self._respond, self._fail)
        interface.request(self._pipe)

    def _respond(self, response: Message, _is_last: bool) -> None:
        remote = response.remote
        if remote in self._heard:
            return
        limits = self._common.limits
        if len(self._heard) >= limits.group_responses:
            limits.reached("group_responses")
        else:
            self._heard.add(remote)
            self._waiting.append(response)
            self._wakeup.set()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._ended = True
        self._wakeup.set()

    async def _next(self) -> Message | None:
        while not self._waiting and not self._ended:
            self._wakeup.clear()
            try:
                async with asyncio.timeout(self._deadline - self._loop.time()):
                    await self._wakeup.wait()
            except TimeoutError:
                self._ended = True
        return self._waiting.popleft() if self._waiting else None

    async def _complete(self, first: Message) -> Message | None:
        """The response with its whole body; ``None`` if the rest of it is not to be had."""
        block = first.options.block2
        if block is None or not block.more:
            return first
        request = self._message.copy()
        request.remote = first.remote
        try:
            return await download_rest(request, first, self._ask, self._common.limits.body_bytes)
        except RequestFailed as error:
            _log.info("the response of %s to a group's request is not complete: %s", first.remote.hostinfo, error)
            return None

    async def _ask(self, message: Message) -> Message:
        if self._interface is None:
            raise RequestFailed("the request has no interface")
        return await exchange(message, self._interface.request, self._loop, self._common.parameters.max_transmit_wait)
