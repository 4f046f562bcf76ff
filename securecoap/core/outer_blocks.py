"""Blocks of a protected message, as a proxy makes them of what is too large for its next hop (RFC 8613 4.1.3.4).

`OuterBlocks` is a `TokenInterface` above a `TokenInterface`, below OSCORE, with tokens of its own: it puts a protected
request together before it is verified, cuts the protected response to it as the proxy asks, and fetches the rest of a
protected response of which a proxy sent the first block. We make no outer blocks by ourselves; what is large goes in
inner ones. Whatever an outer block says is not authenticated: bodies are bounded by ``Limits.unfragmented_bytes``
(MAX_UNFRAGMENTED_SIZE), and what was mixed up does not verify. It knows no keys, only that there is an OSCORE option.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from securecoap.core.blockwise import Assemblies
from securecoap.core.problems import error_message
from securecoap.errors import ErrorResponse, SessionEnded
from securecoap.interfaces import Exchange, ResponseSlot
from securecoap.wire import numbers
from securecoap.wire.block import BERT_EXPONENT, Block
from securecoap.wire.message import ACK, Message
from securecoap.wire.options import Options
from securecoap.wire.template import OptionTemplate

if TYPE_CHECKING:
    from securecoap.config import Limits, TransportParameters
    from securecoap.interfaces import (
        Cancel,
        EndpointAddress,
        Randomness,
        Scheduler,
        TokenDispatcher,
        TokenInterface,
    )

__all__ = ["OuterBlocks"]

_OSCORE: Final = 1 << numbers.OSCORE
_BLOCK2: Final = 1 << numbers.BLOCK2
_BLOCKS: Final = 1 << numbers.BLOCK1 | _BLOCK2
_OBSERVE: Final = 1 << numbers.OBSERVE
_TOKEN_LENGTH: Final = 8
_OF_BLOCKS: Final = frozenset({numbers.BLOCK1, numbers.BLOCK2, numbers.SIZE1, numbers.SIZE2})
_NOT_IN_FOLLOWING: Final = _OF_BLOCKS | {numbers.OBSERVE}


class OuterBlocks:
    """See the module.

    Requests of ours are remembered until interest in them ends, observations until ``Limits.outer_requests`` others
    have come: without a memory of its request, a response in blocks goes up as it is, and does not verify.

    Args:
        below: carries messages.
        scheduler: time, for bodies that stay unfinished.
        randomness: for tokens.
        limits: uses ``unfragmented_bytes``, ``outer_requests``, and the bounds of all bodies.
        parameters: EXCHANGE_LIFETIME is how long unfinished bodies are kept.

    Attributes:
        above: the layer above; set once, before the first message.
    """

    above: TokenDispatcher

    def __init__(
        self,
        below: TokenInterface,
        scheduler: Scheduler,
        randomness: Randomness,
        limits: Limits,
        parameters: TransportParameters,
    ) -> None:
        self.below = below
        self.recognize_remote = below.recognize_remote
        self.fill_or_recognize_remote = below.fill_or_recognize_remote
        self._random = randomness
        self._limits = limits
        self._most_requests = limits.outer_requests
        self._bodies = Assemblies(
            replace(limits, body_bytes=limits.unfragmented_bytes),
            parameters.exchange_lifetime,
            scheduler,
            body_limit="unfragmented_bytes",
            request_key=_request_key,
            response_key=_response_key,
        )
        self._requests: dict[bytes, _OuterRequest] = {}
        self._fetches: dict[bytes, _Fetch] = {}

    @property
    def used_at(self) -> float:
        """When a body was last used of those that are here."""
        return self._bodies.used_at

    # What came in.

    def dispatch_message(self, message: Message) -> bool:
        """Hand up what is whole, and see to it that the rest becomes so; see `TokenDispatcher.dispatch_message`."""
        present = message.options.present
        if (message.code or 0) < 64:
            if present & _OSCORE and present & _BLOCKS:
                return self._take_request(message)
        elif self._requests:
            fetch = self._fetches.get(message.token)
            if fetch is not None and fetch.request.remote == message.remote:
                return fetch.receive(message)
            if present & _BLOCK2 and present & _OSCORE:
                request = self._requests.get(message.token)
                if request is not None and request.remote == message.remote:
                    return self._take_first_block(request, message)
        return self.above.dispatch_message(message)

    def _take_request(self, message: Message) -> bool:
        exchange = message.exchange
        fault = message.options.request_fault
        if fault is not None:
            return self.above.dispatch_message(message)  # nobody can read it; who refuses such messages is above
        slot = _OuterSlot(exchange, message)
        try:
            answer = self._bodies.receive(message)
        except ErrorResponse as error:
            answer = error_message(error, message)
        if answer is not None:
            response = Message.inner(answer.code or 0, answer.options, answer.payload, message.remote, message.token)
            response.exchange = exchange
            self.below.send_message(response)
            return True
        message.exchange = slot
        message.options = _without_blocks(message.options)
        return self.above.dispatch_message(message)

    def _take_first_block(self, request: _OuterRequest, message: Message) -> bool:
        block = message.options.block2
        if block is None or block.number or not block.more:
            return self._hand_up(message, message.token, message.payload)
        if block.size_exponent == BERT_EXPONENT or len(message.payload) != block.size:
            return message.mtype == ACK  # what cannot be right is rejected, or dropped if it is piggybacked
        if request.fetch is not None:  # of an earlier notification
            request.fetch.end()
        request.fetch = _Fetch(self, request, message)
        request.fetch.ask_for_next(block.size_exponent)
        return True

    def _hand_up(self, message: Message, token: bytes, body: bytes) -> bool:
        message.token = token
        message.payload = body
        message.options = _without_blocks(message.options)
        return self.above.dispatch_message(message)

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """Everything with this peer has ended."""
        for fetch in [one for one in self._fetches.values() if one.request.remote == remote]:
            fetch.end()
        if isinstance(error, SessionEnded):
            self._bodies.discard_of(remote)
        self.above.dispatch_error(error, remote)

    # What goes out.

    def send_message(self, message: Message) -> Cancel | None:
        """Send a message, or the block of a response that the proxy asks for; see `TokenInterface.send_message`."""
        if type(message.exchange) is _OuterSlot:
            return self.below.send_message(self._cut(message, message.exchange))
        if message.options.present & _OSCORE and (message.code or 0) < 64:
            return self._send_request(message)
        return self.below.send_message(message)

    def _cut(self, message: Message, slot: _OuterSlot) -> Message:
        try:
            part = self._bodies.respond(slot.request, message)
        except ErrorResponse as error:
            part = error_message(error, slot.request)
        if part is not message:
            part.remote = message.remote
            part.token = message.token
            part.confirmable = message.confirmable
        part.exchange = slot.outer
        return part

    def _send_request(self, message: Message) -> Cancel | None:
        request = _OuterRequest(message)
        requests = self._requests
        requests.pop(message.token, None)
        if len(requests) >= self._most_requests:
            self._limits.reached("outer_requests")
            self.forget(next(iter(requests.values())))
        requests[message.token] = request
        cancel = self.below.send_message(message)

        def end() -> None:
            if cancel is not None:
                cancel()
            if not request.is_observation:  # after the first answer to that, notifications follow
                self.forget(request)

        return end

    def forget(self, request: _OuterRequest) -> None:
        """No response to it is expected any more."""
        if self._requests.get(request.token) is request:
            del self._requests[request.token]
        if request.fetch is not None:
            request.fetch.end()

    def send_fetch(self, fetch: _Fetch, message: Message) -> Cancel | None:
        """Ask for the next block under a token of our own."""
        token = self._random.randbytes(_TOKEN_LENGTH)
        fetch.token = message.token = token
        self._fetches[token] = fetch
        return self.below.send_message(message)

    def end_fetch(self, fetch: _Fetch) -> None:
        """Nothing with its token is expected any more."""
        self._fetches.pop(fetch.token, None)

    def hand_up(self, first: Message, token: bytes, body: bytes) -> bool:
        """A response is whole."""
        return self._hand_up(first, token, body)

    def has_room(self, length: int) -> bool:
        """Whether so many bytes are within MAX_UNFRAGMENTED_SIZE."""
        if length <= self._limits.unfragmented_bytes:
            return True
        self._limits.reached("unfragmented_bytes")
        return False

    def close(self) -> None:
        """Let go of everything."""
        self._bodies.close()
        self._requests.clear()
        self._fetches.clear()


class _OuterSlot(ResponseSlot):
    """The slot of a request that came in outer blocks; the response to it is cut as its last message asked.

    Attributes:
        outer: the slot of that message.
        request: that message, as it came.
    """

    __slots__ = ("outer", "request")

    def __init__(self, outer: ResponseSlot, message: Message) -> None:
        self.outer = outer
        self.request = Message.inner(message.code or 0, message.options, message.payload, message.remote, b"")
        self.fate = None

    def tell(self, fate: Exchange) -> None:
        self.fate = fate
        self.outer.tell(self)

    def no_response(self) -> None:
        self.outer.no_response()


class _OuterRequest:
    """A protected request of ours, as far as its further blocks need it."""

    __slots__ = ("code", "confirmable", "exchange", "fetch", "is_observation", "options", "remote", "token")

    def __init__(self, message: Message) -> None:
        self.code = message.code or 0
        self.confirmable = message.confirmable
        self.exchange: Exchange = message.exchange
        self.options = message.options
        self.remote: EndpointAddress = message.remote
        self.token = message.token
        self.is_observation = bool(message.options.present & _OBSERVE)
        self.fetch: _Fetch | None = None


class _Fetch(Exchange):
    """The later blocks of one protected response, one after the other; the exchange of each request for one."""

    __slots__ = ("_body", "_cancel", "_exponent", "_first", "_has_ended", "_layer", "_template", "request", "token")

    def __init__(self, layer: OuterBlocks, request: _OuterRequest, first: Message) -> None:
        self.request = request
        self.token = b""
        self._layer = layer
        self._first = first
        self._body = bytearray(first.payload)
        self._cancel: Cancel | None = None
        self._has_ended = False
        pairs = [pair for pair in request.options.pairs if pair[0] not in _NOT_IN_FOLLOWING]
        self._template = OptionTemplate(pairs, numbers.BLOCK2)
        self._exponent = 0

    def ask_for_next(self, exponent: int) -> None:
        """Ask for the block behind what is there."""
        request = self.request
        self._exponent = exponent
        options = self._template.options(Block(len(self._body) >> exponent + 4, False, exponent).encode())
        message = Message.inner(request.code, options, b"", request.remote, b"")
        message.confirmable = request.confirmable
        message.exchange = self
        self._cancel = self._layer.send_fetch(self, message)

    def receive(self, message: Message) -> bool:
        """The next block, or something else in its place, which then is the response."""
        self._layer.end_fetch(self)
        if self._cancel is not None:
            self._cancel()
        block = message.options.block2
        if block is None or message.code != self._first.code:
            self.end()
            message.token = self.request.token
            return self._layer.above.dispatch_message(message)
        length = len(message.payload)
        fits = (
            block.start == len(self._body)
            and block.size_exponent <= self._exponent
            and (length == block.size if block.more else length <= block.size)
            and message.options.etag == self._first.options.etag
        )
        if not fits or not self._layer.has_room(len(self._body) + length):
            self.end()  # RFC 8613 section 4.1.3.4.2: discarded; who asked waits for another response, or gives up
            return True
        self._body += message.payload
        if block.more:
            self.ask_for_next(block.size_exponent)
            return True
        self.end()
        return self._layer.hand_up(self._first, self.request.token, bytes(self._body))

    def failed(self, error: Exception) -> None:
        """The proxy does not answer any more."""
        if not self._has_ended:
            self.end()
            self.request.exchange.failed(error)

    def delayed(self, until: float) -> None:
        self.request.exchange.delayed(until)

    def end(self) -> None:
        """Nothing is asked for any more."""
        if not self._has_ended:
            self._has_ended = True
            self._layer.end_fetch(self)
            if self.request.fetch is self:
                self.request.fetch = None
            if self._cancel is not None:
                self._cancel()


def _request_key(message: Message) -> tuple[Any, ...]:
    return (message.remote, message.code, None, _without_blocks(message.options).pairs)


def _response_key(message: Message) -> tuple[Any, ...]:
    """The OSCORE option alone tells requests apart: no two have the same Partial IV."""
    return (message.remote, message.code, b"", _without_blocks(message.options).pairs)


def _without_blocks(options: Options) -> Options:
    return Options.received(tuple([pair for pair in options.pairs if pair[0] not in _OF_BLOCKS]))
