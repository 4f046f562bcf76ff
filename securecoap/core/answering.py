"""A request that came from a peer, on its way to its responses (RFC 7252 section 5.2).

It holds the interest of both sides. Which requests there are, and what a stranger may be sent, is the
`securecoap.core.tokens.TokenManager`'s to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.silence import unwanted_classes
from securecoap.interfaces import Exchange
from securecoap.wire import numbers
from securecoap.wire.codes import DEFAULT_RESPONSE_CODES, Code
from securecoap.wire.message import CON, Message

if TYPE_CHECKING:
    from securecoap.core.tokens import TokenManager
    from securecoap.interfaces import Cancel

__all__ = ["IncomingRequest", "incoming_request", "is_suppressed"]

_CONTENT: Final = Code.CONTENT
_default_code: Final = DEFAULT_RESPONSE_CODES.get
_NO_RESPONSE_BIT: Final = 1 << numbers.NO_RESPONSE
_SMALL: Final = 64  # bytes that header, token and options of a response rarely exceed
_make_message: Final = Message.inner  # bound once: to look up a class method takes as long as to call it


class IncomingRequest(Exchange):
    """A `PlumbingRequest` that came from a peer; its responses go back there."""

    __slots__ = ("_callbacks", "_manager", "ended", "is_listed", "request", "was_answered")

    request: Message
    ended: bool
    was_answered: bool
    is_listed: bool
    _manager: TokenManager
    _callbacks: Cancel | list[Cancel] | None  # mostly one, and there may be very many observers

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """Send a response (or notification). Without a code it has the method's.

        The message given is not changed, unless it was made for this request alone: then it has its exchange already.
        """
        if self.ended:
            return
        request = self.request
        exchange = request.exchange
        code = message.code or _default_code(request.code or 0, _CONTENT)
        if is_last:
            self.ended = True
            if self.is_listed:
                self._manager.forget_incoming(self)
        if request.options.present & _NO_RESPONSE_BIT and is_suppressed(request, code):
            exchange.no_response()
            return
        remote = request.remote
        if (
            not (remote.confirmed or self.was_answered)
            and len(message.payload) + _SMALL > remote.budget
            and self._manager.is_beyond_budget(request, message)
        ):
            smaller = self._manager.smaller(request, message) if is_last else None
            if smaller is None:
                self._manager.challenge(request)
                self.end_interest()
                return
            message = smaller
        self.was_answered = True
        if exchange.piggyback(code, message, request.token, remote):
            return
        if message.exchange is exchange and message is not request:
            response = message
            response.code, response.remote, response.token = code, remote, request.token
        else:
            response = _make_message(code, message.options, message.payload, remote, request.token)
            response.exchange = exchange
            response.confirmable = message.confirmable
        manager = self._manager
        (manager.below if remote.security == "oscore" else manager.below_plain).send_message(response)

    @property
    def token(self) -> bytes:
        """The request's."""
        return self.request.token

    @property
    def is_confirmable(self) -> bool:
        """Whether it came as a Confirmable message; separate responses then do too."""
        return self.request.mtype in (CON, None)

    def suppress_response(self) -> None:
        """There will be no response; an acknowledgement that is due still goes out (RFC 7967 section 2)."""
        if not self.ended:
            self.ended = True
            self._manager.forget_incoming(self)
            self.request.exchange.no_response()

    def add_exception(self, error: Exception) -> None:  # noqa: ARG002  # the cause is the handler's to log
        """Answer 5.00; nothing of the error leaves the server."""
        self.add_response(Message(Code.INTERNAL_SERVER_ERROR))

    def on_interest_end(self, callback: Cancel, fate: Exchange | None = None) -> None:
        """Call this when the client is gone, rejects a notification, or uses its token for another request.

        What becomes of the responses is told to ``fate``, if the first who wants to be called has one.
        """
        if self._callbacks is None:
            self._callbacks = callback
            self.request.exchange.tell(fate or self)
        elif isinstance(self._callbacks, list):
            self._callbacks.append(callback)
        else:
            self._callbacks = [self._callbacks, callback]

    def failed(self, error: Exception) -> None:  # noqa: ARG002  # whatever it was, nobody listens any more
        """A response was rejected or never acknowledged."""
        self.end_interest()

    def end_interest(self) -> None:
        """Nothing is sent any more, and the work for it is cancelled."""
        self.ended = True
        self._manager.forget_incoming(self)
        callbacks, self._callbacks = self._callbacks, None
        if isinstance(callbacks, list):
            for callback in callbacks:
                callback()
        elif callbacks is not None:
            callbacks()


def incoming_request(manager: TokenManager, request: Message) -> IncomingRequest:
    """Make one; as a function it takes half the time of a class's call, and each request has one."""
    incoming = IncomingRequest()
    incoming.request = request
    incoming.ended = incoming.was_answered = incoming.is_listed = False
    incoming._manager = manager  # noqa: SLF001  # it is made here only
    incoming._callbacks = None  # noqa: SLF001  # likewise
    return incoming


def is_suppressed(request: Message, code: int) -> bool:
    """Whether the client does not want responses of this class (RFC 7967 section 2.1).

    2.31 is none: without it no body would ever arrive whose response is not wanted.
    """
    return code != Code.CONTINUE and bool(unwanted_classes(request) >> ((code >> 5) - 1) & 1)
