"""Options of many messages that differ in the value of one of them, as the blocks of a body do (RFC 7959 section 2.2).

What does not change is sorted and encoded once. It knows no meaning of any option.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.wire.option_bytes import encode_options
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OptionTemplate"]

_LONGEST: Final = 12
_assembled: Final = Options.assembled  # bound once: to look up a class method takes as long as to call it


class OptionTemplate:
    """Makes `Options` from a value.

    Args:
        pairs: the options that all messages have; those with ``number`` are left out.
        number: the option that differs; below 300.
    """

    __slots__ = ("_after", "_before", "_heads", "_number", "_present", "_suffix")

    def __init__(self, pairs: Iterable[tuple[int, bytes]], number: int) -> None:
        kept = Options([pair for pair in pairs if pair[0] != number])
        self._number = number
        self._before = tuple([pair for pair in kept.pairs if pair[0] < number])
        self._after = tuple([pair for pair in kept.pairs if pair[0] > number])
        self._present = kept.present | 1 << number
        self._suffix = encode_options((after - number, value) for after, value in self._after)
        prefix = encode_options(self._before)
        head = encode_options([(number - (self._before[-1][0] if self._before else 0), b"")])
        # So long a length is in the first byte of an option. What comes before a value of each length:
        self._heads = tuple([prefix + bytes((head[0] | length,)) + head[1:] for length in range(_LONGEST + 1)])

    def options(self, value: bytes) -> Options:
        """The options with this value, of 12 bytes at most, in the place of the one that differs."""
        return _assembled(
            self._before + ((self._number, value),) + self._after,  # noqa: RUF005  # half the time of unpacking
            self._present,
            self._heads[len(value)] + value + self._suffix,
        )
