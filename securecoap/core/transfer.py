"""Bodies larger than a message, at the client (RFC 7959): uploads in Block1, downloads in Block2, and Echo (RFC 9175).

Each function gets ``ask``, which sends one message and returns its response; what carries messages is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import TransferFailed
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from securecoap.wire.message import Message

    Ask: TypeAlias = Callable[[Message], Awaitable[Message]]

__all__ = ["answer_echo", "download_rest", "upload"]

_EXPONENT: Final = 6
_ECHO_TRIES: Final = 2
"""A server may ask once for freshness and once for reachability; more is a loop (RFC 9175 section 2.3)."""


async def answer_echo(message: Message, ask: Ask) -> Message:
    """Send a message, and again with the Echo value if the server asks for freshness (RFC 9175 section 2.3)."""
    response = await ask(message)
    for _ in range(_ECHO_TRIES):
        echo = response.options.echo
        if response.code != Code.UNAUTHORIZED or echo is None:
            break
        response = await ask(message.copy(echo=echo))
    return response


def _upload_size(message: Message) -> int:
    """The most bytes of payload that go in one message."""
    wish = message.options.block1
    return 16 << (_EXPONENT if wish is None else min(wish.size_exponent, _EXPONENT))


async def upload(message: Message, ask: Ask) -> Message:
    """Send a request whose payload may need several blocks (RFC 7959 section 2.5); the response to the last one.

    Raises:
        TransferFailed: the server contradicts itself about blocks.
    """
    payload = message.payload
    size = _upload_size(message)
    if len(payload) <= size:
        return await answer_echo(message, ask)
    exponent = size.bit_length() - 5
    position = challenges = 0
    while True:
        size = 16 << exponent
        block = Block(position // size, position + size < len(payload), exponent)
        part = message.copy(block1=block)
        part.payload = payload[position : position + size]
        if position:
            part.options.if_none_match = False  # RFC 7959 section 2.10: it belongs to the first block
        else:
            part.options.size1 = len(payload)
        response = await ask(part)
        answer = response.options.block1
        echo = response.options.echo
        if response.code == Code.UNAUTHORIZED and echo is not None and challenges < _ECHO_TRIES:
            # The server may have put the body together before it asked: the whole body again, with the value.
            message = message.copy(echo=echo)
            challenges += 1
            position = 0
            continue
        if response.code == Code.REQUEST_ENTITY_TOO_LARGE and answer is not None and answer.size_exponent < exponent:
            exponent = answer.size_exponent  # section 2.9.3: the whole body again in smaller blocks
            position = 0
            continue
        if not block.more or response.code != Code.CONTINUE:
            return response
        if answer is None or answer.number != block.number or answer.size_exponent > exponent:
            raise TransferFailed("the server acknowledged a block that was not sent")
        position += size
        exponent = answer.size_exponent


async def download_rest(message: Message, first: Message, ask: Ask, limit: int) -> Message:
    """The whole response of which ``first`` is the first part (RFC 7959 section 2.4), as a new message.

    Args:
        message: the request; its later blocks are asked for without Observe and Block1, and without payload unless it
            is what a FETCH asks for and went in one piece (RFC 7959 section 2.7).
        first: the response to it.
        limit: the most bytes that are taken.

    Raises:
        TransferFailed: the body changed on the way, blocks do not fit, or it is too large.
    """
    block = first.options.block2
    if block is None or block.number or not block.more:
        return first
    body = bytearray(first.payload)
    etag = first.options.etag
    if len(body) != block.size:
        raise TransferFailed("the first block does not have its size")
    more = True
    while more:
        if len(body) >= limit:
            raise TransferFailed(f"the body is larger than {limit} bytes")
        exponent = block.size_exponent
        following = message.copy(block2=Block(len(body) >> (exponent + 4), more=False, size_exponent=exponent))
        for number in (numbers.OBSERVE, numbers.BLOCK1, numbers.SIZE1, numbers.IF_NONE_MATCH):
            following.options.remove(number)
        if message.code != Code.FETCH or len(message.payload) > _upload_size(message):
            following.payload = b""
        response = await answer_echo(following, ask)
        if response.code != first.code or response.options.etag != etag:
            raise TransferFailed("the body changed while it was fetched")
        answer = response.options.block2
        if answer is None or answer.start != len(body) or (answer.more and len(response.payload) != answer.size):
            raise TransferFailed("the server answered with another block than the one asked for")
        body += response.payload
        block, more = answer, answer.more
    whole = first.copy(block2=None)
    whole.payload = bytes(body)
    return whole
