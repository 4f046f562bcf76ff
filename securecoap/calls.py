"""The methods of CoAP as calls of an application: one request, one awaited response (RFC 7252 section 5.8, RFC 8132).

What a request needs on its way is the business of `request`, which the `Context` provides; here are only its arguments
and its time limit.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from securecoap.core.plain import NOT_WHOLE, begin_plain, is_worth_another_try
from securecoap.errors import CoapError, ConfigurationError, RequestTimeout, TransferFailed
from securecoap.streaming import Handover, open_sink, open_source
from securecoap.wire.codes import Code, code_text
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from securecoap.core.bodies import BodySink, BodySource, Progress
    from securecoap.core.client import ClientRequest
    from securecoap.core.common import Common
    from securecoap.core.group import GroupRequest
    from securecoap.core.plain import PlainRequest
    from securecoap.streaming import Sink, Source

__all__ = ["UNSET", "Calls", "within"]

_GET, _POST, _PUT, _DELETE, _FETCH, _PATCH, _IPATCH = (  # to look one up in an enumeration costs more than a call
    Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.PATCH, Code.IPATCH
)  # fmt: skip

_request_to: Final = Message.to  # bound once, as each call needs it

UNSET: Final = -1.0
"""No time limit was given: the span of RFC 7252 holds."""


@asynccontextmanager
async def within(seconds: float | None, since: float | None = None) -> AsyncGenerator[None, None]:
    """Give the body so much time, from now or an earlier time of the loop on; ``None`` and `UNSET` give it any.

    Raises:
        RequestTimeout: it took longer. (Such an error of the body's own, a `TimeoutError` too, goes through as it is.)
    """
    limit = None if seconds == UNSET else seconds
    begun = asyncio.get_running_loop().time() if since is None else since
    try:
        async with asyncio.timeout_at(None if limit is None else begun + limit):
            yield
    except TimeoutError as error:
        if isinstance(error, CoapError):
            raise
        raise RequestTimeout(f"there was no response within {limit:g} s") from None


def _message(code: Code, uri: str, confirmable: bool, options: dict[str, Any], payload: bytes = b"") -> Message:
    given = {name: value for name, value in options.items() if value is not None}
    return Message(code, payload, uri=uri, confirmable=confirmable, **given)


class Calls:
    """``get`` … ``ipatch`` and ``observe``, on top of `request`."""

    _common: Common | None = None
    """What requests have in common, once they can be sent; the Context's."""

    def request(
        self,
        message: Message,
        *,
        source: BodySource | None = None,
        sink: BodySink | None = None,
        progress: Progress | None = None,
        part: tuple[int, int | None] | None = None,
    ) -> ClientRequest:
        """Send a request; see `securecoap.interfaces.Request`. The message is not changed."""
        raise NotImplementedError  # the Context's

    def _take_over(self, plain: PlainRequest) -> ClientRequest:
        """Go on with what came of a request that went the short way."""
        raise NotImplementedError  # the Context's

    async def _response(self, request: ClientRequest, timeout: float | None, since: float | None = None) -> Message:
        try:
            if timeout is None or timeout == UNSET:
                return await request.response
            async with within(timeout, since):
                return await request.response
        except RequestTimeout:
            if request.may_be_silent:
                return NoResponse
            raise
        finally:
            if not request.is_done:
                request.cancel()

    async def _call(self, code: Code, uri: str, options: dict[str, Any], payload: bytes = b"") -> Message:
        timeout: float | None = UNSET
        if options:
            timeout = options.pop("timeout", UNSET)
            payload = options.pop("payload", payload)
            message = _message(code, uri, options.pop("confirmable", True), options, payload)
        else:
            message = _request_to(uri, code, payload)
        common = self._common
        plain = None if common is None else begin_plain(message, common)
        if plain is None:
            return await self._response(self.request(message), timeout)
        try:
            if timeout is None or timeout == UNSET:
                response = await plain.answer
            else:
                async with within(timeout):
                    response = await plain.answer
            if not response.options.present & NOT_WHOLE:
                return response
        except BaseException as error:
            plain.end_interest()
            if not is_worth_another_try(error):
                raise
        return await self._response(self._take_over(plain), timeout, plain.begun_at)

    def get(self, uri: str, **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a GET and return the response, whatever its code.

        Args:
            uri: absolute, ``coap`` or ``coaps``.
            options: ``accept``, ``etag`` and any other option by name; ``timeout`` in seconds for everything
                (default: RFC 7252's span, 93 s; 10 s for Non-confirmable), ``confirmable``. With ``no_response``
                (RFC 7967: 2 for 2.xx, 8 for 4.xx, 16 for 5.xx) silence is an answer, and `NoResponse` returned.

        Raises:
            CredentialsMissing: a credential is meant for the URI and cannot be used; nothing was sent.
            RequestFailed: no response, or none that can be trusted (see `securecoap.errors`).
            UriError: the URI cannot be used.
        """
        return self._call(_GET, uri, options)

    def post(self, uri: str, payload: bytes = b"", **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a POST; see `get`. ``content_format`` says what the payload is."""
        return self._call(_POST, uri, options, payload)

    def put(self, uri: str, payload: bytes = b"", **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a PUT; see `post`."""
        return self._call(_PUT, uri, options, payload)

    def delete(self, uri: str, **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a DELETE; see `get`."""
        return self._call(_DELETE, uri, options)

    def fetch(self, uri: str, payload: bytes = b"", **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a FETCH (RFC 8132); see `post`."""
        return self._call(_FETCH, uri, options, payload)

    def patch(self, uri: str, payload: bytes = b"", **options: Any) -> Coroutine[Any, Any, Message]:
        """Send a PATCH (RFC 8132); see `post`."""
        return self._call(_PATCH, uri, options, payload)

    def ipatch(self, uri: str, payload: bytes = b"", **options: Any) -> Coroutine[Any, Any, Message]:
        """Send an iPATCH (RFC 8132); see `post`."""
        return self._call(_IPATCH, uri, options, payload)

    # Groups.

    def request_group(self, message: Message, timeout: float | None = None) -> GroupRequest:
        """Send a request to a group; see `ask_group`. The message is not changed."""
        raise NotImplementedError  # the Context's

    async def ask_group(
        self,
        uri: str,
        payload: bytes = b"",
        *,
        method: Code = Code.GET,
        timeout: float | None = UNSET,
        **options: Any,
    ) -> AsyncGenerator[Message, None]:
        """Send one request to a group (RFC 7252 section 8) and yield the response of each member as it comes.

        The request is Non-confirmable and unprotected, and nothing says who did not get it. ``response.remote`` is the
        member. What is larger than a message is fetched from the member while it is waited for.

        Args:
            uri: with a multicast address: ``coap://224.0.1.187/…``, ``coap://[ff02::fd%25eth0]/…``.
            payload: at most 1024 bytes.
            method: of the request.
            timeout: seconds for which responses are taken (default: 15, ``default_leisure`` and ``non_timeout``).
            options: as for `get`.

        Raises:
            ConfigurationError: the address is no group's, or the request has what a group takes not.
            CredentialsMissing: a credential is meant for it, and cannot protect a multicast.
            Unreachable: it cannot be sent.
        """
        message = _message(method, uri, False, options, payload)
        group = self.request_group(message, None if timeout == UNSET else timeout)
        try:
            async for response in group:
                yield response
        finally:
            group.cancel()

    # Large bodies.

    async def download(
        self,
        uri: str,
        to: Sink,
        *,
        progress: Progress | None = None,
        timeout: float | None = UNSET,
        confirmable: bool = True,
        **options: Any,
    ) -> Message:
        """Send a GET and write the body of the response as it comes; it is never held as a whole.

        Args:
            uri: as for `get`.
            to: path of a file, which appears (or is replaced) when the body is whole; or an open binary file; or a
                `BodySink`.
            progress: called after each block with the bytes received and the whole number, ``None`` if the server does
                not say. What it raises ends the download.
            timeout: seconds for everything; by default only each block has the time of a request.
            confirmable, options: as for `get`.

        Returns:
            The response without its payload. If it is not 2.05 nothing was written, and an error has its payload.

        Raises:
            TransferFailed: the body changed again and again while it was fetched, or did so once and a part of it was
                handed on already.
            OSError: the file cannot be written.
            As `get`.
        """
        message = _message(Code.GET, uri, confirmable, options)
        async with open_sink(to) as sink:
            response = await self._response(self.request(message, sink=sink, progress=progress), timeout)
            if response.code == Code.CONTENT:
                await sink.finish()
            return response

    async def stream(
        self,
        uri: str,
        *,
        progress: Progress | None = None,
        timeout: float | None = UNSET,
        confirmable: bool = True,
        **options: Any,
    ) -> AsyncGenerator[bytes, None]:
        """Send a GET and yield the body of the response, a block at a time; the next is asked for when one was taken.

        Leaving the loop ends the transfer. The arguments are those of `download`.

        Raises:
            TransferFailed: the response is no success (its attribute ``response`` has it), or the body changed after
                its first block.
            As `get`.
        """
        message = _message(Code.GET, uri, confirmable, options)
        handover = Handover()
        request = self.request(message, sink=handover, progress=progress)
        request.response.add_done_callback(lambda _: handover.end())
        try:
            async with within(timeout):
                while (part := await handover.take()) is not None:
                    yield part
                response = await request.response
        finally:
            request.cancel()
        if not 64 <= (response.code or 0) < 96:
            raise TransferFailed(f"the response is {code_text(response.code or 0)}", response)

    async def get_range(
        self, uri: str, start: int, stop: int | None = None, *, timeout: float | None = UNSET, **options: Any
    ) -> Message:
        """Send a GET for the bytes from ``start`` to before ``stop`` of a body (to its end without ``stop``).

        Only the blocks that have them are fetched, and all of one version.

        Returns:
            The response with these bytes, fewer if the body ends before ``stop``; an error (4.00, as a rule) if it ends
            before ``start``.

        Raises:
            As `get`.
        """
        if start < 0 or (stop is not None and stop < start):
            raise ConfigurationError(f"from {start} to {stop} is no part of a body")
        message = _message(Code.GET, uri, options.pop("confirmable", True), options)
        return await self._response(self.request(message, part=(start, stop)), timeout)

    async def upload(
        self,
        uri: str,
        source: Source,
        *,
        method: Code = Code.PUT,
        to: Sink | None = None,
        progress: Progress | None = None,
        timeout: float | None = UNSET,
        confirmable: bool = True,
        **options: Any,
    ) -> Message:
        """Send a body as it is read; it is never held as a whole.

        Args:
            uri: as for `get`.
            source: path of a file, bytes, an open binary file, an iterable or async iterable of bytes, or a
                `BodySource`.
            method: PUT, POST, FETCH, PATCH or iPATCH.
            to: where the body of a 2.xx response goes, as for `download`; without it, it is the response's payload.
            progress: called with the bytes that the server has acknowledged, and the whole number if it is known.
            timeout: as for `download`.
            confirmable, options: as for `put`.

        Raises:
            TransferFailed: the server wants the body again, in smaller blocks for example, and the source cannot be
                read twice. (Paths, bytes and seekable files can; an iterator can as long as its first block is the only
                one that was sent.)
            OSError: the file cannot be read.
            As `get`.
        """
        message = _message(method, uri, confirmable, options)
        async with open_source(source) as opened:
            if to is None:
                return await self._response(self.request(message, source=opened, progress=progress), timeout)
            async with open_sink(to) as sink:
                request = self.request(message, source=opened, sink=sink, progress=progress)
                response = await self._response(request, timeout)
                if 64 <= (response.code or 0) < 96:
                    await sink.finish()
                return response

    async def observe(
        self,
        uri: str,
        *,
        timeout: float | None = UNSET,
        confirmable: bool = True,
        **options: Any,
    ) -> AsyncGenerator[Message, None]:
        """Observe a resource (RFC 7641): yields the first response, then each notification.

        It ends after a response that is not 2.xx, or when the server does not notify (any more). Leaving the loop
        deregisters.

        Args:
            timeout: seconds for the first response only.
            confirmable, options: as for `get`.

        Raises:
            As `get`; also when the observation breaks off.
        """
        request = self.request(_message(Code.GET, uri, confirmable, {**options, "observe": 0}))
        try:
            async with within(timeout):
                first = await asyncio.shield(request.response)
            yield first
            if request.observation is not None:
                async for notification in request.observation:
                    yield notification
        finally:
            request.cancel()
