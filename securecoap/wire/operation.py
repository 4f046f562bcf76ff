"""What makes two messages parts of the same operation (RFC 7959 section 2.4, RFC 9175 section 3.2.1), and which part.

Client and server have to agree about it: the server by it puts blocks together, the client chooses Request-Tags by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire import numbers
from securecoap.wire.block import BERT_EXPONENT, Block

if TYPE_CHECKING:
    from securecoap.wire.options import Options

__all__ = ["Blockwise", "blockwise"]

_MAY_DIFFER: Final = (
    numbers.BLOCK1,
    numbers.BLOCK2,
    numbers.OBSERVE,
    numbers.OSCORE,
    numbers.ECHO,  # a server's demand adds it to a repetition
    numbers.NO_RESPONSE,
    numbers.IF_NONE_MATCH,  # only the first block has it (RFC 7959 section 2.10)
)


def _table() -> bytes:
    """For each option number whether it counts: those that a cache leaves out, and the above, do not."""
    period = bytes(0 if numbers.is_no_cache_key(number) else 1 for number in range(32))
    table = bytearray(period * (65536 // len(period)))
    for number in _MAY_DIFFER:
        table[number] = 0
    return bytes(table)


_COUNTS: Final = _table()
_IF_NONE_MATCH: Final = 1 << numbers.IF_NONE_MATCH


class Blockwise:
    """What options say of blocks.

    Attributes:
        block1, block2: as in the options.
        operation: the options that all messages of an operation have alike, in order; Request-Tag is among them.
        present: all options, as `Options.present` has them.
        fault: why no server over UDP can take a request with them, whatever its body is; ``None`` if one may.
    """

    __slots__ = ("block1", "block2", "fault", "operation", "present")

    def __init__(
        self, block1: Block | None, block2: Block | None, operation: tuple[tuple[int, bytes], ...], present: int
    ) -> None:
        self.block1 = block1
        self.block2 = block2
        self.operation = operation
        self.present = present
        self.fault: str | None = None
        if (block1 is not None and block1[2] == BERT_EXPONENT) or (block2 is not None and block2[2] == BERT_EXPONENT):
            self.fault = "block size exponent 7 is not for this transport"  # RFC 7959 section 2.2
        elif block1 is not None and block1[0] and present & _IF_NONE_MATCH:
            self.fault = "If-None-Match belongs to the first block"  # section 2.10

    def with_block(self, number: int, value: bytes) -> Blockwise:
        """Of another part of the operation, with this value of Block1 or Block2 in the place of the one here."""
        block = Block.decode(value)
        if number == numbers.BLOCK1:
            return Blockwise(block, self.block2, self.operation, self.present)
        return Blockwise(self.block1, block, self.operation, self.present)


def blockwise(options: Options) -> Blockwise:
    """What they say, kept with them: options of short requests are shared by equal messages.

    Where it is found for every block, ``options.blockwise or blockwise(options)`` saves most of the calls.
    """
    found = options.blockwise
    if found is None:
        operation = tuple([pair for pair in options.pairs if _COUNTS[pair[0]]])
        found = options.blockwise = Blockwise(options.block1, options.block2, operation, options.present)
    return found
