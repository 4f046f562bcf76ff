"""Options as bytes: each a delta to the one before, a length and a value (RFC 7252 section 3.1).

Nothing is known here of what options mean. What reads such bytes is `securecoap.wire.options.decode_options`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["encode_options"]


def encode_options(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    """Sorted pairs as bytes (RFC 7252 section 3.1)."""
    result = bytearray()
    previous = 0
    for number, value in pairs:
        delta = number - previous
        previous = number
        length = len(value)
        if delta < 13 and length < 13:
            result.append(delta << 4 | length)
        else:
            head, delta_more = _nibble(delta)
            low, length_more = _nibble(length)
            result.append(head << 4 | low)
            result += delta_more
            result += length_more
        result += value
    return bytes(result)


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")
