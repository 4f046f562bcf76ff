"""The name under which the state of a sender context is kept (RFC 8613 section 3.1): made of what its keys are made of.

Labels, files and users change; the same key with the same nonce must never be used again under any of them. So state is
found by what the nonce's uniqueness depends on, and a hash of it, as the store is no place for keys. It is known before
anything is derived, so that a server owns contexts that nobody may ever use. Knows no store.
"""

from __future__ import annotations

from hashlib import blake2b, sha256

__all__ = ["fingerprint", "former_fingerprint"]

_BEGUN = blake2b(digest_size=32, person=b"securecoap ctx 2")

_DOMAIN = b"securecoap sender context 1"
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def fingerprint(extracted: bytes, info: bytes) -> bytes:
    """One-way fingerprint of a sender context: 32 bytes.

    Sender Key and Common IV are expanded from nothing else (RFC 8613 section 3.2.1): contexts that have both in common
    have one fingerprint, and others have others.

    Args:
        extracted: the pseudorandom key of HKDF-Extract, 32 to 64 bytes.
        info: the ``info`` of the Sender Key, which has Sender ID, ID Context and algorithm.
    """
    hashed = _BEGUN.copy()
    hashed.update(b"%c%b%b" % (len(extracted), extracted, info))
    return hashed.digest()


def former_fingerprint(sender_key: bytes, common_iv: bytes, sender_id: bytes, algorithm: int) -> bytes:
    """The fingerprint in stores before version 4, which costs the whole derivation: 32 bytes.

    It is HMAC-SHA-256 (RFC 2104 section 2).

    Args:
        sender_key: the derived Sender Key; of any AEAD, none of which has a key longer than a block of the hash.
        common_iv: the derived Common IV.
        sender_id: the Sender ID, maybe empty.
        algorithm: the AEAD's number in the COSE registry.
    """
    padded = sender_key.ljust(64, b"\0")
    head = b"%b|%d|%d|" % (_DOMAIN, algorithm, len(common_iv))
    inner = sha256(padded.translate(_INNER_PAD) + head + common_iv + b"|" + sender_id)
    return sha256(padded.translate(_OUTER_PAD) + inner.digest()).digest()
