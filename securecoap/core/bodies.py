"""What a client's uploads and downloads have in common: where bodies come from and go to, and Echo (RFC 9175).

Knows neither what carries messages nor in which order blocks go (`securecoap.core.upload`, `securecoap.core.download`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from securecoap.errors import TransferFailed
from securecoap.wire.block import MAXIMUM_BLOCK_NUMBER, Block
from securecoap.wire.codes import SAFE_METHODS, Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from securecoap.wire.message import Message

    Ask: TypeAlias = Callable[[Message], Awaitable[Message]]
    """Send a message, which is the caller's gift, and return the response to it."""
    Progress: TypeAlias = Callable[[int, int | None], object]
    """Called with the bytes that have arrived, and how many there will be, if anybody knows."""

__all__ = ["ECHO_TRIES", "LARGEST_EXPONENT", "BodyChanged", "BodySink", "BodySource", "answer_echo", "block_at"]

LARGEST_EXPONENT: Final = 6
"""Of a block over UDP: 1024 bytes (RFC 7959 section 2.2)."""
ECHO_TRIES: Final = 2
"""A server may ask once for freshness and once for reachability; more is a loop (RFC 9175 section 2.3)."""


class BodySource(Protocol):
    """Where the body of a request comes from, a block at a time."""

    size: int | None
    """Bytes of the whole body, if known."""

    async def read(self, size: int) -> tuple[bytes, bool]:
        """The next ``size`` bytes, fewer only at the end, and whether there are more."""

    async def rewind(self) -> bool:
        """Begin again with the first byte; ``False`` where that is impossible."""


class BodySink(Protocol):
    """Where the body of a successful response goes to, a block at a time."""

    async def write(self, part: bytes) -> None:
        """Take the next part. The next block is asked for when this returns."""

    async def restart(self) -> bool:
        """Forget what was written, for the body has changed; ``False`` where that is impossible."""


class BodyChanged(TransferFailed):
    """The representation, or the server's memory of it, is another one than that of the first block."""


async def answer_echo(message: Message, ask: Ask) -> Message:
    """Send a message, and again with the Echo value if the server asks for it (RFC 9175 section 2.3).

    It may ask by a response that is smaller than it could be: then it does not know yet that we receive (section 2.4).
    """
    response = await ask(message.copy())
    for tries in range(ECHO_TRIES):
        echo = response.options.echo
        if echo is None or (response.code != Code.UNAUTHORIZED and (tries or not _is_cut_short(message, response))):
            break
        response = await ask(message.copy(echo=echo))
    return response


def _is_cut_short(message: Message, response: Message) -> bool:
    """Whether the first block of a response is smaller than what was asked for."""
    wish, block = message.options.block2, response.options.block2
    if block is None or not block.more or block.number or message.code not in SAFE_METHODS:
        return False
    return block.size_exponent < (LARGEST_EXPONENT if wish is None else wish.size_exponent)


def block_at(position: int, exponent: int, *, more: bool = False) -> Block:
    """The block that begins there.

    Raises:
        TransferFailed: its number does not fit.
    """
    block = tuple.__new__(Block, (position >> exponent + 4, more, exponent))  # a call less for each block
    if block.number > MAXIMUM_BLOCK_NUMBER:
        raise TransferFailed(f"a body of blocks of {block.size} bytes has no more than 2**20 of them")
    return block
