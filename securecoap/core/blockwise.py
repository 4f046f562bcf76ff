"""Bodies larger than a message, at the server (RFC 7959, Request-Tag of RFC 9175).

`Assemblies` puts request bodies together from Block1 and keeps response bodies for Block2, bounded in bytes, number
and time. Both are keyed by the (secured) address and what makes an operation, so that no block of another client,
session or operation gets in. It sends nothing and runs no handler.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from securecoap.clock import clock_of
from securecoap.core.response_body import ResponseBody, cut
from securecoap.errors import (
    BadRequest,
    ErrorResponse,
    RequestEntityIncomplete,
    RequestEntityTooLarge,
    ServiceUnavailable,
)
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import SAFE_METHODS, Code
from securecoap.wire.message import Message
from securecoap.wire.operation import blockwise
from securecoap.wire.options import Options
from securecoap.wire.template import OptionTemplate

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress, Scheduler, Timer

__all__ = ["Assemblies", "request_key", "response_key"]

Key: TypeAlias = tuple[Any, ...]

_BLOCK1: Final = 1 << numbers.BLOCK1
_IF_NONE_MATCH: Final = 1 << numbers.IF_NONE_MATCH
_SIZE1: Final = 1 << numbers.SIZE1
_LARGEST_EXPONENT: Final = 6
_FETCH: Final = int(Code.FETCH)
_CONTINUE: Final = OptionTemplate((), numbers.BLOCK1)


def request_key(request: Message) -> Key:
    """Of the body that the blocks of a request make (RFC 7959 section 2.5)."""
    options = request.options
    return (request.remote, request.code, None, (options.blockwise or blockwise(options)).operation)


def response_key(request: Message) -> Key:
    """Of the response to a request, whichever block of it is asked for.

    What is asked for with FETCH depends on its payload (RFC 8132 section 2.1), but for blocks of a longer one.
    """
    options = request.options
    by_payload = request.code == _FETCH and not options.present & _BLOCK1
    payload = request.payload if by_payload else b""
    return (request.remote, request.code, payload, (options.blockwise or blockwise(options)).operation)


@lru_cache(maxsize=1024)
def _continue(value: int) -> Message:
    """2.31 for the Block1 option with this value: it is the same for the blocks of all bodies."""
    options = _CONTINUE.options(value.to_bytes(value.bit_length() + 7 >> 3, "big"))
    return Message.inner(Code.CONTINUE, options, b"", None, b"")


class _Assembly:
    """A request body that is being put together."""

    __slots__ = ("body", "expires_at", "if_none_match")

    def __init__(self, *, if_none_match: bool) -> None:
        self.body = bytearray()
        self.if_none_match = if_none_match
        self.expires_at = 0.0

    @property
    def size(self) -> int:
        return len(self.body)


class Assemblies:
    """Bodies under way by operation, oldest use first.

    At ``Limits.assemblies`` or ``Limits.assembly_bytes`` the longest idle one of an unconfirmed address goes; if all
    are of confirmed addresses, only a confirmed newcomer pushes out the longest idle one. What has not been used for
    ``lifetime`` seconds is released by a timer, which there is only while there is something.

    Args:
        limits: uses ``body_bytes``, ``assembly_bytes`` and ``assemblies``.
        lifetime: seconds.
        scheduler: time, and the timer.
        exponent: of the largest block that is sent, or asked for in an answer (RFC 7959 section 2.2).
        body_limit: the field of ``Limits`` from which ``body_bytes`` was taken.
        request_key, response_key: say what makes an operation.
    """

    def __init__(
        self,
        limits: Limits,
        lifetime: float,
        scheduler: Scheduler,
        exponent: int = _LARGEST_EXPONENT,
        *,
        body_limit: str = "body_bytes",
        request_key: Callable[[Message], Key] = request_key,
        response_key: Callable[[Message], Key] = response_key,
    ) -> None:
        self._request_key = request_key
        self._response_key = response_key
        self._limits = limits
        self._body_limit = body_limit
        self._lifetime = lifetime
        self._scheduler = scheduler
        self._time = clock_of(scheduler)
        self._exponent = exponent
        self._table: dict[Key, Any] = {}  # of request keys an _Assembly, of response keys a ResponseBody
        self._latest_key: Key | None = None  # the last one of the table
        self._latest: Any = None
        self._bytes = 0
        self._cut_at = float("-inf")
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._table)

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies."""
        return self._bytes

    @property
    def used_at(self) -> float:
        """When a body that is here, or one of a resource that cuts its own, last gave or took a part."""
        last = next(reversed(self._table.values()), None)
        return self._cut_at if last is None else max(self._cut_at, last.expires_at - self._lifetime)

    def holds(self, request: Message) -> bool:
        """Whether the body is here of which a request has a block, or asks for one."""
        key = self._response_key if blockwise(request.options).block1 is None else self._request_key
        return key(request) in self._table

    # What requests ask for.

    def receive(self, request: Message) -> Message | None:
        """Take the block of a request, or find the one that it asks for.

        Returns:
            What is to be answered at once, which nobody may change unless it has the request's exchange; ``None`` if
            the request is whole now (its payload is the body).

        Raises:
            BadRequest: the block contradicts itself (RFC 7959 section 2.2, 2.3, 2.10).
            RequestEntityIncomplete: blocks before it are missing (section 2.9.2).
            RequestEntityTooLarge: the body is larger than ``Limits.body_bytes`` (section 2.9.3).
            ServiceUnavailable: there is no room for another body.
        """
        options = request.options
        found = options.blockwise or blockwise(options)
        if found.fault is not None:
            raise BadRequest(found.fault)
        block = found.block1
        if block is not None:
            return self._add_block(request, block)
        block = found.block2
        if block is not None and block[0]:
            kept = self._kept(request, block)
            if kept is not None:
                part = kept.block(block if block[2] <= self._exponent else self._scaled(block))
                part.exchange = request.exchange
                return part
            if request.code not in SAFE_METHODS:  # rendering again would carry it out again
                raise RequestEntityIncomplete
        return None

    def respond(self, request: Message, response: Message) -> Message:
        """The response as it goes in one message: with a part of its body where that is larger or the client asks.

        Raises:
            BadRequest: the client asks for a block beyond the body.
        """
        found = blockwise(request.options)
        block1, block2 = found.block1, found.block2
        if response.options.block2 is None and (block2 is not None or len(response.payload) > 16 << self._exponent):
            wanted = Block(0, False, self._exponent) if block2 is None else self._scaled(block2)
            body = ResponseBody(response)
            if wanted.start + wanted.size < len(response.payload):
                # With its entity tag, or every block of it would cost a digest of the whole body.
                body.furthest = wanted.start
                self._keep(request, body)
            response = body.block(wanted)
        else:
            if response.options.block2 is not None or (block1 is not None and block1.more):
                self._cut_at = self._time()
            response = cut(response, self._exponent)
        if block1 is not None and response.options.block1 is None and response.code != Code.CONTINUE:
            answer = response.copy()
            answer.options.block1 = Block(block1.number, False, min(block1.size_exponent, self._exponent))
            response = answer
        return response

    def reduce(self, request: Message, response: Message, fits: Callable[[Message], bool]) -> Message | None:
        """The largest first block that fits of a response that `respond` gave; ``None`` if there is none."""
        block = response.options.block2
        is_success = response.code is None or 64 <= response.code < 96
        if request.options.present & _BLOCK1 or (block is not None and block.number) or not is_success:
            return None
        body = (
            ResponseBody(response) if block is None or not block.more else self._table.get(self._response_key(request))
        )
        for exponent in range((self._exponent if block is None else block.size_exponent) - 1, -1, -1):
            part: Message = cut(response, exponent) if body is None else body.block(Block(0, False, exponent))
            if fits(part):
                if body is not None and self._response_key(request) not in self._table:
                    self._keep(request, body)
                return part
        return None

    def _scaled(self, block: Block) -> Block:
        """The same place of the body, in blocks no larger than ours (section 2.4)."""
        excess = block.size_exponent - self._exponent
        return block if excess <= 0 else Block(block.number << excess, False, self._exponent)

    # Request bodies.

    def _add_block(self, request: Message, block: Block) -> Message | None:
        """Add one block of a request body: 2.31, or ``None`` when it was the last; the request has the whole body then.

        The request with the last block gets the If-None-Match of the first, too.
        """
        number, more, exponent = block
        payload = request.payload
        length = len(payload)
        size = 16 << exponent
        if length != size and (more or length > size):
            raise BadRequest("the payload does not have the size of the block")
        key_of, time = self._request_key, self._time
        key = key_of(request)
        start = number << exponent + 4
        largest = self._exponent
        asked = exponent if exponent <= largest else largest  # noqa: FURB136  # a call for each block
        assembly: _Assembly | None
        if number:
            assembly = self._latest if key == self._latest_key else self._moved_up(key)
            if assembly is None or len(assembly.body) != start:
                if assembly is not None and more and assembly.body[start:] == payload:
                    return _continue(number << 4 | 8 | asked)  # the block that came last, once more
                self.discard(key)
                raise RequestEntityIncomplete
        else:
            self.discard(key)
            if not more:
                return None
            assembly = None
        limits = self._limits
        limit = limits.body_bytes
        options = request.options
        if start + length > limit or (more and options.present & _SIZE1 and (options.size1 or 0) > limit):
            self.discard(key)
            limits.reached(self._body_limit)
            raise RequestEntityTooLarge(size1=limit)
        if assembly is None:
            assembly = _Assembly(if_none_match=options.if_none_match)
            self._create(key, assembly, length)
        elif self._bytes + length > limits.assembly_bytes:
            self._make_room(request.remote, length, keep=key)
        assembly.expires_at = time() + self._lifetime
        assembly.body += payload
        self._bytes += length
        if more:
            return _continue(number << 4 | 8 | asked)
        request.payload = bytes(assembly.body)
        if assembly.if_none_match:
            request.options = options.copy()
            request.options.if_none_match = True
        self.discard(key)
        return None

    # Response bodies.

    def _keep(self, request: Message, body: ResponseBody) -> None:
        """Keep a response of which a block is being sent; without room the client has to ask anew."""
        key = self._response_key(request)
        self.discard(key)
        body.fresh_until += self._time()
        try:
            self._create(key, body, body.size)
        except ServiceUnavailable:
            return
        self._bytes += body.size

    def _kept(self, request: Message, block: Block) -> ResponseBody | None:
        """The kept response that a later block is asked of; released when its last block is taken.

        Who fetches the body goes forward in it. A client that comes back to what it had asks for the present state, and
        gets the kept one no longer than it is fresh.
        """
        key_of, time = self._response_key, self._time
        key = key_of(request)
        body: ResponseBody | None = self._latest if key == self._latest_key else self._moved_up(key)
        if body is None:
            return None
        now = time()
        body.expires_at = now + self._lifetime
        number, _, exponent = block
        start = number << exponent + 4
        if start > body.furthest:
            body.furthest = start
        elif request.code in SAFE_METHODS and now >= body.fresh_until:
            self.discard(key)
            return None
        if start + (16 << exponent) >= body.size:
            self.discard(key)
        return body

    # The table.

    def discard(self, key: Key) -> None:
        """Release a body at once."""
        held = self._table.pop(key, None)
        if held is not None:
            self._bytes -= held.size
            if key == self._latest_key:
                self._latest_key = self._latest = None

    def discard_of(self, remote: EndpointAddress) -> None:
        """Release every body of an address whose session has ended."""
        for key in [key for key in self._table if key[0] == remote]:
            self.discard(key)

    def review(self, authorize: Callable[[Message], None]) -> None:
        """Release every body for which ``authorize`` raises `ErrorResponse`; the next block gets that as its answer."""
        for key in list(self._table):
            remote, code, _, options = key
            try:
                authorize(Message.inner(code, Options.received(options), b"", remote, b""))
            except ErrorResponse:
                self.discard(key)

    def close(self) -> None:
        """Release everything."""
        self._table.clear()
        self._latest_key = self._latest = None
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _moved_up(self, key: Key) -> Any:
        """The body with this key, if there is one: the last one in the order of use now.

        Most blocks are of the transfer that the last one was of; whoever asks compares that first.
        """
        held = self._table.pop(key, None)
        if held is not None:
            self._append(key, held)
        return held

    def _append(self, key: Key, held: _Assembly | ResponseBody) -> None:
        self._table[key] = self._latest = held
        self._latest_key = key

    def _create(self, key: Key, held: _Assembly | ResponseBody, size: int) -> None:
        self._make_room(key[0], size)
        held.expires_at = self._time() + self._lifetime
        self._append(key, held)
        if self._timer is None:
            self._timer = self._scheduler.call_at(held.expires_at, self._release_expired)

    def _release_expired(self) -> None:
        now = self._time()
        self._timer = None
        for key, held in list(self._table.items()):
            if now < held.expires_at:
                self._timer = self._scheduler.call_at(held.expires_at, self._release_expired)
                break
            self.discard(key)

    def _make_room(self, remote: EndpointAddress, size: int, keep: Key | None = None) -> None:
        limits = self._limits
        while self._bytes + size > limits.assembly_bytes or (keep is None and len(self._table) >= limits.assemblies):
            limits.reached("assemblies" if keep is None and len(self._table) >= limits.assemblies else "assembly_bytes")
            victim = next((key for key in self._table if not key[0].confirmed and key != keep), None)
            if victim is None and remote.confirmed:
                victim = next((key for key in self._table if key != keep), None)
            if victim is None:
                raise ServiceUnavailable(max_age=10)
            self.discard(victim)
