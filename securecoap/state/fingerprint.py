"""The name under which the state of a sender context is kept (RFC 8613 section 3.1): a function of the derived keys.

Labels, files and users change; the same key with the same nonce must never be used again under any of them. So state is
found by what the nonce's uniqueness depends on, and a hash of it, as the store is no place for keys. Knows no store.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

__all__ = ["fingerprint"]

_DOMAIN = b"securecoap sender context 1"
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def fingerprint(sender_key: bytes, common_iv: bytes, sender_id: bytes, algorithm: int) -> bytes:
    """One-way fingerprint of a derived sender context: 32 bytes.

    It is HMAC-SHA-256 (RFC 2104 section 2), spelled out as `hmac.digest` takes twice as long for a message so short.

    Args:
        sender_key: the derived Sender Key; of any AEAD, none of which has a key longer than a block of the hash.
        common_iv: the derived Common IV.
        sender_id: the Sender ID, maybe empty.
        algorithm: the AEAD's number in the COSE registry.
    """
    padded = sender_key.ljust(64, b"\0")
    inner = sha256(padded.translate(_INNER_PAD) + _head(algorithm, len(common_iv)) + common_iv + b"|" + sender_id)
    return sha256(padded.translate(_OUTER_PAD) + inner.digest()).digest()


@lru_cache(maxsize=64)
def _head(algorithm: int, length: int) -> bytes:
    return b"%b|%d|%d|" % (_DOMAIN, algorithm, length)
