"""The body of a response in Block2, a block at a time (RFC 7959 section 2.4): the whole of it, or a part.

Every block is compared with the first one, so that versions never mix. What carries messages is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.bodies import ECHO_TRIES, LARGEST_EXPONENT, BodyChanged, answer_echo, block_at
from securecoap.errors import TransferFailed
from securecoap.wire import numbers
from securecoap.wire.block import BERT_EXPONENT
from securecoap.wire.codes import Code, code_text
from securecoap.wire.message import Message
from securecoap.wire.operation import blockwise
from securecoap.wire.template import OptionTemplate

if TYPE_CHECKING:
    from securecoap.core.bodies import Ask, BodySink, Progress
    from securecoap.wire.block import Block

__all__ = ["download_rest", "fetch_part"]

_UNAUTHORIZED: Final = int(Code.UNAUTHORIZED)
_NOT_IN_FOLLOWING: Final = frozenset(
    {numbers.OBSERVE, numbers.BLOCK1, numbers.SIZE1, numbers.SIZE2, numbers.IF_NONE_MATCH}
)


class _Download:
    """The later blocks of a response: each is asked for, and compared with the first (RFC 7959 section 2.4)."""

    __slots__ = ("_ask", "_challenges", "_code", "_first", "_message", "_operation", "_template")

    def __init__(self, message: Message, first: Message, ask: Ask) -> None:
        following = message.copy()
        if first.remote is not None and message.remote.is_multicast:
            following.remote = first.remote  # section 2.8
        # What a FETCH asks for is in its payload, which went in one piece; all else the server knows (section 2.7).
        if message.code != Code.FETCH or message.options.block1 is not None or len(message.payload) > 1024:
            following.payload = b""
        self._message = following
        self._ask = ask
        self._challenges = 0
        self._code = first.code
        self._first = first.options
        self._operation = blockwise(first.options).operation
        self._template = self._made_template()

    def _made_template(self) -> OptionTemplate:
        pairs = [pair for pair in self._message.options.pairs if pair[0] not in _NOT_IN_FOLLOWING]
        return OptionTemplate(pairs, numbers.BLOCK2)

    async def block(self, position: int, exponent: int) -> tuple[Message, Block]:
        """The block at this offset; it may be smaller than asked for."""
        asked = block_at(position, exponent)
        response = await self._ask(self._request(asked))
        while response.code == _UNAUTHORIZED and self._challenges < ECHO_TRIES:
            echo = response.options.echo
            if echo is None:
                break
            self._challenges += 1
            self._message = self._message.copy(echo=echo)
            self._template = self._made_template()
            response = await self._ask(self._request(asked))
        options = response.options
        if response.code != self._code:
            raise BodyChanged(f"the body cannot be fetched any more: {code_text(response.code or 0)}")
        found = options.blockwise or blockwise(options)
        if found.operation != self._operation and (  # as a rule, all else is the same, too
            options.etag != self._first.etag or options.content_format != self._first.content_format
        ):
            raise BodyChanged("the body changed while it was fetched")
        answer = found.block2
        length = len(response.payload)
        if answer is not None and answer[0] == asked[0] and answer[2] == exponent and length == 16 << exponent:
            return response, answer  # as a rule
        if (
            answer is None
            or answer.size_exponent > exponent
            or answer.start != position
            or length > answer.size
            or (answer.more and length != answer.size)
        ):
            raise TransferFailed("the server answered with another block than the one asked for")
        return response, answer

    def _request(self, block: Block) -> Message:
        message = self._message
        value = block.number << 4 | block.size_exponent
        options = self._template.options(value.to_bytes(value.bit_length() + 7 >> 3, "big"))
        request = Message.inner(message.code or 0, options, message.payload, message.remote, b"")
        request.confirmable = message.confirmable
        return request


async def download_rest(
    message: Message,
    first: Message,
    ask: Ask,
    limit: int,
    *,
    sink: BodySink | None = None,
    progress: Progress | None = None,
) -> Message:
    """The whole response of which ``first`` is the first part (RFC 7959 section 2.4), as a new message.

    Args:
        message: the request; its later blocks are asked for without Observe and Block1, and without payload unless it
            is what a FETCH asks for and went in one piece (RFC 7959 section 2.7).
        first: the response to it.
        ask: sends a message and returns the response to it.
        limit: the most bytes that are taken, unless there is a sink.
        sink: takes the body if the response is a success; its payload is then empty.
        progress: told after each block.

    Raises:
        TransferFailed: the body changed on the way, blocks do not fit, or it is too large.
    """
    block = first.options.block2
    is_success = 64 <= (first.code or 0) < 96 and first.code != Code.VALID
    if not is_success:
        sink = progress = None
    if block is None or block.number or not block.more:
        if progress is not None:
            progress(len(first.payload), len(first.payload))
        if sink is None:
            return first
        await sink.write(first.payload)
        return _whole(first, b"", block)
    if block.size_exponent == BERT_EXPONENT or len(first.payload) != block.size:
        raise TransferFailed("the first block does not have its size")
    total = first.options.size2
    download = _Download(message, first, ask)
    response, latest = first, block
    body = bytearray()
    position = 0
    while True:
        payload = response.payload
        position += len(payload)
        if sink is None:
            body += payload
        else:
            await sink.write(payload)
        if progress is not None:
            progress(position, total if latest.more else position)
        if not latest.more:
            return _whole(first, bytes(body), None)
        if sink is None and position >= limit:
            raise TransferFailed(f"the body is larger than {limit} bytes")
        response, latest = await download.block(position, latest.size_exponent)


def _whole(first: Message, body: bytes, block: Block | None) -> Message:
    """The response with its body, as if it had come in one piece."""
    whole = first.copy(block2=block)
    whole.payload = body
    return whole


async def fetch_part(message: Message, ask: Ask, start: int, stop: int | None, limit: int) -> Message:
    """The bytes from ``start`` to ``stop`` of a body, by the blocks that have them (RFC 7959 section 2.4)."""
    wish = message.options.block2
    exponent = LARGEST_EXPONENT if wish is None else min(wish.size_exponent, LARGEST_EXPONENT)
    asked = block_at(start, exponent)
    first = await answer_echo(message.copy(block2=asked), ask)
    block = first.options.block2
    if not 64 <= (first.code or 0) < 96:
        return first
    if block is None:  # it is no larger than a message
        if len(first.payload) < start:
            raise TransferFailed(f"the body has only {len(first.payload)} bytes")
        return _whole(first, first.payload[start:stop], None)
    if block.start != asked.start or block.size_exponent > exponent:
        raise TransferFailed("the server answered with another block than the one asked for")
    download = _Download(message, first, ask)
    response = first
    body = bytearray()
    while True:
        offset = max(0, start - block.start)
        body += response.payload[offset : None if stop is None else max(0, stop - block.start)]
        position = block.start + len(response.payload)
        if not block.more or (stop is not None and position >= stop):
            return _whole(first, bytes(body), None)
        if len(body) >= limit:
            raise TransferFailed(f"the part is larger than {limit} bytes")
        size = 16 << block.size_exponent
        response, block = await download.block(max(position, start // size * size), block.size_exponent)
