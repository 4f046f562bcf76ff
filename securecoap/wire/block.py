"""The value of a Block1 or Block2 option: NUM, M and SZX in 0 to 3 bytes (RFC 7959 section 2.2, RFC 8323 section 6).

A value, not a procedure: which block comes next, what a body is and whether a size is acceptable are known elsewhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from securecoap.errors import FormatError

__all__ = ["BERT_EXPONENT", "MAXIMUM_BLOCK_NUMBER", "Block"]

MAXIMUM_BLOCK_NUMBER: Final = 0xFFFFF
"""NUM has 20 bits in the longest value (RFC 7959 section 2.2)."""

BERT_EXPONENT: Final = 7
"""SZX 7 is reserved over UDP; over reliable transports it means several blocks of 1024 bytes (RFC 8323 section 6)."""


class Block(NamedTuple):
    """One block of a body: its number, whether more follow, and the size exponent.

    ``size_exponent`` is SZX, 0 to 7; 7 is a value that parses, because the transport decides whether it is an error.
    """

    number: int
    more: bool
    size_exponent: int

    @property
    def size(self) -> int:
        """Bytes in a block: 16 to 1024; with exponent 7 the unit of the block number, 1024."""
        exponent = self.size_exponent
        return 16 << exponent if exponent < BERT_EXPONENT else 1024

    @property
    def start(self) -> int:
        """Offset of the block's first byte in the body."""
        return self.number * self.size

    @property
    def is_bert(self) -> bool:
        """Whether the message carries a run of 1024-byte blocks (RFC 8323 section 6)."""
        return self.size_exponent == BERT_EXPONENT

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """The block of an option value; leading zero bytes are accepted (RFC 7252 section 3.2).

        Raises:
            FormatError: more than 3 bytes.
        """
        if len(value) > 3:
            raise FormatError(f"a Block option has 0 to 3 bytes, not {len(value)}")
        number = int.from_bytes(value, "big")
        return tuple.__new__(cls, (number >> 4, number & 8 != 0, number & 7))

    def encode(self) -> bytes:
        """The option value in its shortest form: empty for block 0, no more, 16 bytes.

        Raises:
            FormatError: a number above 2**20 - 1 or an exponent above 7, or one that is negative.
        """
        number, more, exponent = self
        if not 0 <= number <= MAXIMUM_BLOCK_NUMBER:
            raise FormatError(f"block number {number} does not fit in 20 bits")
        if not 0 <= exponent <= BERT_EXPONENT:
            raise FormatError(f"block size exponent {exponent} is not within 0 to 7")
        value = number << 4 | (8 if more else 0) | exponent
        return value.to_bytes((value.bit_length() + 7) >> 3, "big")

    @classmethod
    def at(cls, offset: int, size_exponent: int, *, more: bool = False) -> Self:
        """The block that starts at ``offset`` of the body.

        Raises:
            FormatError: ``offset`` is no multiple of the block size.
        """
        block = cls(0, more, size_exponent)
        number, rest = divmod(offset, block.size)
        if rest:
            raise FormatError(f"offset {offset} is no multiple of the block size {block.size}")
        return cls(number, more, size_exponent)
