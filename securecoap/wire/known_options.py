"""Options that came before, by their bytes: peers send the same ones over and over (RFC 7252 section 3.1).

What ends at the first 0xFF is what ends at the marker, if these bytes are whole options; and only such are remembered.
It knows neither requests nor responses, nor what an option means, except that blocks differ in their last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.options import decode_options

if TYPE_CHECKING:
    from securecoap.wire.options import Options

__all__ = ["LONGEST", "MARKER", "KnownOptions"]

MARKER: Final = b"\xff"
LONGEST: Final = 64
"""Bytes of options that are remembered at all."""
_ENTRIES: Final = 2048  # those for a body of 1 MiB by blocks are half as many, and others come in between
_SERIES: Final = 256
_LENGTHS: Final = (2, 1, 3)  # of the value of a block option; numbers from 16 to 4095 take two bytes
_BLOCKS: Final = frozenset({numbers.BLOCK1, numbers.BLOCK2})


class KnownOptions:
    """Options by their bytes, in two generations: strangers can push entries out, but not make it grow.

    The blocks of a body mostly differ in the value of their last option. So what comes before such a value is
    remembered, too, and the options of the next block are made from there: they are found sound, and routed, already.

    Args:
        longest: bytes up to which all options are remembered; of longer ones those of blocks.

    Attributes:
        recent: those that came last, always the same dict.
    """

    __slots__ = ("_longest", "_older", "_series", "recent")

    def __init__(self, longest: int = LONGEST) -> None:
        self.recent: dict[bytes, Options] = {}
        self._older: dict[bytes, Options] = {}
        self._series: dict[bytes, Options] = {}
        self._longest = longest

    def decode(self, data: bytes, position: int) -> tuple[Options, bytes]:
        """As `decode_options`; the options may be shared.

        Raises:
            FormatError: the bytes are not options, marker and payload.
        """
        head, marker, payload = data[position:].partition(MARKER)
        options = self.recent.get(head)
        if options is None:
            options = self.find(head)
            if options is None:
                return self.decode_anew(data, position)
        if marker and not payload:
            raise FormatError("payload marker without payload")
        return options, payload

    def find(self, head: bytes) -> Options | None:
        """Options that are not among the recent ones, if they are known all the same."""
        options = self._older.get(head)
        if options is None:
            for length in _LENGTHS:
                known = self._series.get(head[:-length])
                if known is not None and len(known.pairs[-1][1]) == length:
                    options = known.with_last(head[-length:])
                    break
            else:
                return None
        self._remember(head, options)
        return options

    def decode_anew(self, data: bytes, position: int) -> tuple[Options, bytes]:
        """As `decode`, of options that `find` does not know."""
        options, payload = decode_options(data, position)
        head = data[position : len(data) - len(payload) - 1] if payload else data[position:]
        is_of_block = len(head) <= LONGEST and _ends_with_block(options)
        if len(head) <= self._longest or is_of_block:
            self._remember(head, options)
        if is_of_block:
            if len(self._series) >= _SERIES:
                self._series.clear()
            self._series[head[: -len(options.pairs[-1][1])]] = options
        return options, payload

    def _remember(self, head: bytes, options: Options) -> None:
        recent = self.recent
        if len(recent) >= _ENTRIES:
            self._older = recent.copy()
            recent.clear()
        recent[head] = options


def _ends_with_block(options: Options) -> bool:
    """Whether the last option is a block option that is there once, and says more than nothing."""
    *before, (number, value) = options.pairs or ((0, b""),)
    return number in _BLOCKS and len(value) in _LENGTHS and not (before and before[-1][0] == number)
