"""The name under which the state of a sender context is kept (RFC 8613 section 3.1): a function of the derived keys.

Labels, files and users change; the same key with the same nonce must never be used again under any of them. So state is
found by what the nonce's uniqueness depends on, and a hash of it, as the store is no place for keys. Knows no store.
"""

from __future__ import annotations

import hmac

__all__ = ["fingerprint"]

_DOMAIN = b"securecoap sender context 1"


def fingerprint(sender_key: bytes, common_iv: bytes, sender_id: bytes, algorithm: int) -> bytes:
    """One-way fingerprint of a derived sender context: 32 bytes.

    Args:
        sender_key: the derived Sender Key.
        common_iv: the derived Common IV.
        sender_id: the Sender ID, maybe empty.
        algorithm: the AEAD's number in the COSE registry.
    """
    text = b"%b|%d|%d|%b|%b" % (_DOMAIN, algorithm, len(common_iv), common_iv, sender_id)
    return hmac.digest(sender_key, text, "sha256")
