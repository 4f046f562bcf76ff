"""Key material that cannot be shown by accident: no repr, no pickle, compared in constant time.

Must not know what the bytes are for.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

__all__ = ["Secret"]


class Secret:
    """Bytes that are given out by `reveal` only.

    Not hashable on purpose: a secret as a dictionary key is compared in variable time, and stays where nobody looks
    for it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value: Final = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves, for the cryptographic library."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # the data model's way to say "not hashable"

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
