"""Connection identifiers: short, not in use, and given back (RFC 9528 section 3.3, RFC 8613 section 3.3).

An identifier becomes an OSCORE Recipient ID, so it must be no other context's: neither one that EDHOC agreed on nor one
that is configured. One byte is on the wire in every request, so the short ones go first. This module knows no sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import Randomness

__all__ = ["Identifiers"]

_ONE_BYTE: Final = tuple(bytes((value,)) for value in (*range(0x18), *range(0x20, 0x38)))
"""Those that are one byte in a message, too (section 3.3.2)."""
_LENGTHS: Final = (2, 3, 4, 6)
_TRIES: Final = 4
"""With each length; the longest is free of collisions for any number of sessions that memory holds."""


class Identifiers:
    """Gives out identifiers.

    Args:
        randomness: chooses among those that are free, so that one that was given back is not used again at once.
        is_reserved: whether a configured context has it.
    """

    __slots__ = ("_is_reserved", "_random", "_used")

    def __init__(self, randomness: Randomness, is_reserved: Callable[[bytes], bool]) -> None:
        self._random = randomness
        self._is_reserved = is_reserved
        self._used: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._used)

    def take(self, other: bytes | None = None) -> bytes:
        """One that nobody uses, and that is not the ``other`` side's."""
        start = self._random.randbytes(1)[0]
        for index in range(len(_ONE_BYTE)):
            candidate = _ONE_BYTE[(start + index) % len(_ONE_BYTE)]
            if self._is_free(candidate, other):
                self._used.add(candidate)
                return candidate
        while True:
            for length in _LENGTHS:
                for _ in range(_TRIES):
                    candidate = self._random.randbytes(length)
                    if self._is_free(candidate, other):
                        self._used.add(candidate)
                        return candidate

    def _is_free(self, candidate: bytes, other: bytes | None) -> bool:
        return candidate not in self._used and candidate != other and not self._is_reserved(candidate)

    def release(self, identifier: bytes) -> None:
        """Give it back. Harmless if that was done."""
        self._used.discard(identifier)
