"""What makes two requests parts of the same operation (RFC 7959 section 2.4, RFC 9175 section 3.2.1).

Client and server have to agree about it: the server by it puts blocks together, the client chooses Request-Tags by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire import numbers

if TYPE_CHECKING:
    from securecoap.wire.options import Options

__all__ = ["operation_options"]

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


def operation_options(options: Options) -> tuple[tuple[int, bytes], ...]:
    """The options that all messages of an operation have alike, in order; Request-Tag is among them."""
    return tuple([pair for pair in options.pairs if _COUNTS[pair[0]]])
