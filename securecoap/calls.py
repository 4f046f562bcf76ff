"""The methods of CoAP as calls of an application: one request, one awaited response (RFC 7252 section 5.8, RFC 8132).

What a request needs on its way is the business of `request`, which the `Context` provides; here are only its arguments
and its time limit.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from securecoap.errors import CoapError, RequestTimeout
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from securecoap.core.client import ClientRequest

__all__ = ["UNSET", "Calls", "within"]

UNSET: Final = -1.0
"""No time limit was given: the span of RFC 7252 holds."""


@asynccontextmanager
async def within(seconds: float | None) -> AsyncGenerator[None, None]:
    """Give the body so much time; ``None`` and `UNSET` give it any.

    Raises:
        RequestTimeout: it took longer. (Such an error of the body's own, a `TimeoutError` too, goes through as it is.)
    """
    limit = None if seconds == UNSET else seconds
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError as error:
        if isinstance(error, CoapError):
            raise
        raise RequestTimeout(f"there was no response within {limit:g} s") from None


class Calls:
    """``get`` … ``ipatch`` and ``observe``, on top of `request`."""

    def request(self, message: Message) -> ClientRequest:
        """Send a request; see `securecoap.interfaces.Request`. The message is not changed."""
        raise NotImplementedError  # the Context's

    async def _response(self, request: ClientRequest, timeout: float | None) -> Message:
        try:
            async with within(timeout):
                return await request.response
        finally:
            if not request.is_done:
                request.cancel()

    async def _call(
        self,
        code: Code,
        uri: str,
        payload: bytes = b"",
        *,
        timeout: float | None = UNSET,
        confirmable: bool = True,
        **options: Any,
    ) -> Message:
        given = {name: value for name, value in options.items() if value is not None}
        message = Message(code, payload, uri=uri, confirmable=confirmable, **given)
        return await self._response(self.request(message), timeout)

    async def get(self, uri: str, **options: Any) -> Message:
        """Send a GET and return the response, whatever its code.

        Args:
            uri: absolute, ``coap`` or ``coaps``.
            options: ``accept``, ``etag`` and any other option by name; ``timeout`` in seconds for everything
                (default: RFC 7252's span, 93 s; 10 s for Non-confirmable), ``confirmable``.

        Raises:
            CredentialsMissing: a credential is meant for the URI and cannot be used; nothing was sent.
            RequestFailed: no response, or none that can be trusted (see `securecoap.errors`).
            UriError: the URI cannot be used.
        """
        return await self._call(Code.GET, uri, **options)

    async def post(self, uri: str, payload: bytes = b"", **options: Any) -> Message:
        """Send a POST; see `get`. ``content_format`` says what the payload is."""
        return await self._call(Code.POST, uri, payload, **options)

    async def put(self, uri: str, payload: bytes = b"", **options: Any) -> Message:
        """Send a PUT; see `post`."""
        return await self._call(Code.PUT, uri, payload, **options)

    async def delete(self, uri: str, **options: Any) -> Message:
        """Send a DELETE; see `get`."""
        return await self._call(Code.DELETE, uri, **options)

    async def fetch(self, uri: str, payload: bytes = b"", **options: Any) -> Message:
        """Send a FETCH (RFC 8132); see `post`."""
        return await self._call(Code.FETCH, uri, payload, **options)

    async def patch(self, uri: str, payload: bytes = b"", **options: Any) -> Message:
        """Send a PATCH (RFC 8132); see `post`."""
        return await self._call(Code.PATCH, uri, payload, **options)

    async def ipatch(self, uri: str, payload: bytes = b"", **options: Any) -> Message:
        """Send an iPATCH (RFC 8132); see `post`."""
        return await self._call(Code.IPATCH, uri, payload, **options)

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
        given = {name: value for name, value in options.items() if value is not None}
        request = self.request(Message(Code.GET, uri=uri, confirmable=confirmable, observe=0, **given))
        try:
            async with within(timeout):
                first = await asyncio.shield(request.response)
            yield first
            if request.observation is not None:
                async for notification in request.observation:
                    yield notification
        finally:
            request.cancel()
