"""The initiator's messages over CoAP: each is a POST to where a request will go (RFC 9528 appendix A.2.1).

An Echo is answered. What the answers mean is not known here; that they are not authenticated is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.bodies import answer_echo
from securecoap.core.plumbing import RequestPipe
from securecoap.edhoc.messages import parse_error
from securecoap.edhoc.resource import EDHOC_PATH
from securecoap.errors import HandshakeFailed
from securecoap.wire.codes import Code, dotted
from securecoap.wire.content_formats import CID_EDHOC_CBOR_SEQ
from securecoap.wire.message import Message
from securecoap.wire.uri import compose_uri, parse_uri

if TYPE_CHECKING:
    import asyncio

    from securecoap.interfaces import RequestInterface, Scheduler

__all__ = ["Letters", "authority_behind"]

_NOTHING: Final = 26
"""No-Response for every class (RFC 7967 section 2.1)."""
_WHERE: Final = ("uri_host", "uri_port", "proxy_scheme")


def authority_behind(message: Message) -> str:
    """Whom a proxy is asked to send a request to; empty if the request goes to its peer."""
    options = message.options
    if options.proxy_uri is not None:
        behind = parse_uri(options.proxy_uri)
        return compose_uri(behind.scheme, behind.host, behind.port)
    if options.proxy_scheme is not None:
        return f"{options.proxy_scheme}://{options.uri_host}:{options.uri_port}"
    return ""


class Letters:
    """See the module.

    Args:
        message: the request; its remote is the address, and what says where it goes behind that is taken over.
        requests: sends.
        scheduler: makes futures.
    """

    __slots__ = ("_message", "_requests", "_scheduler")

    def __init__(self, message: Message, requests: RequestInterface, scheduler: Scheduler) -> None:
        self._message = message
        self._requests = requests
        self._scheduler = scheduler

    def _compose(self, payload: bytes) -> Message:
        options = self._message.options
        post = Message(Code.POST, payload, content_format=CID_EDHOC_CBOR_SEQ)
        if options.proxy_uri is not None:
            behind = parse_uri(options.proxy_uri)
            post.options.proxy_uri = compose_uri(behind.scheme, behind.host, behind.port, EDHOC_PATH)
        else:
            post.options.uri_path = EDHOC_PATH
            for name in _WHERE:
                if (value := getattr(options, name)) is not None:
                    setattr(post.options, name, value)
        post.remote = self._message.remote
        return post

    async def exchange(self, payload: bytes) -> bytes:
        """Post a message; the peer's next one.

        Raises:
            HandshakeFailed: it has none.
            RequestFailed: there is no answer.
        """
        response = await answer_echo(self._compose(payload), self._ask)
        if response.code == Code.CHANGED:
            return response.payload
        said = parse_error(response.payload) if response.payload else None
        why = said or "there is no EDHOC" if response.code == Code.NOT_FOUND else said or "no reason given"
        raise HandshakeFailed(f"EDHOC failed: the server answered {dotted(response.code or 0)} ({why})")

    async def _ask(self, message: Message) -> Message:
        answer: asyncio.Future[Message] = self._scheduler.create_future()

        def respond(response: Message, _is_last: bool) -> None:
            if not answer.done():
                answer.set_result(response)

        def fail(error: Exception) -> None:
            if not answer.done():
                answer.set_exception(error)

        message.remote = self._message.remote
        pipe = RequestPipe(message, respond, fail)
        try:
            self._requests.request(pipe)
            return await answer
        finally:
            pipe.end_interest()

    def tell(self, payload: bytes) -> None:
        """Post an error message; nobody waits for an answer."""
        post = self._compose(payload)
        post.confirmable = False
        post.options.no_response = _NOTHING
        pipe = RequestPipe(post, lambda *_: None, lambda _: None)
        self._requests.request(pipe)
        pipe.end_interest()
