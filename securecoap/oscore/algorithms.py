"""COSE AEAD algorithms and the key derivation of OSCORE (RFC 8613 section 3.2, RFC 9053, RFC 5869).

`make_aead` makes AEAD objects from keys; `Extracted` is HKDF-Extract done once, from which any number of outputs is
expanded. This module knows no message, no context and no configuration.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from securecoap.credentials.algorithms import AEAD_ALGORITHMS, DEFAULT_HASH, AeadParameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as Hash

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "DEFAULT_HASH", "HASHES", "Aead", "Extracted", "extract", "make_aead"]


class Aead(Protocol):
    """A key made ready. ``decrypt`` raises `cryptography.exceptions.InvalidTag`, or `ValueError` for data too long."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The plaintext, if the tag verifies."""


def _ccm8(key: bytes) -> Aead:
    return AESCCM(key, 8)


def _ccm16(key: bytes) -> Aead:
    return AESCCM(key, 16)


_FACTORIES: Final[dict[int, Callable[[bytes], Aead]]] = {
    1: AESGCM,
    2: AESGCM,
    3: AESGCM,
    10: _ccm8,
    11: _ccm8,
    12: _ccm8,
    13: _ccm8,
    24: ChaCha20Poly1305,
    30: _ccm16,
    31: _ccm16,
    32: _ccm16,
    33: _ccm16,
}

ALGORITHMS: Final[dict[int, AeadParameters]] = {row.number: row for row in AEAD_ALGORITHMS.values()}
"""Every AEAD that OSCORE may use, by COSE number: nonces of 7 bytes or more that may be counters (section 12.6)."""

DEFAULT_ALGORITHM: Final = ALGORITHMS[10]


def make_aead(algorithm: AeadParameters, key: bytes) -> Aead:
    """A key of ``key_length`` bytes made ready."""
    return _FACTORIES[algorithm.number](key)


HASHES: Final[dict[str, str]] = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
"""COSE's names of hash functions for HKDF, and hashlib's."""


_CONSTRUCTORS: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))


def _begin(key: bytes, name: str) -> tuple[Hash, Hash]:
    """The inner and outer hash of an HMAC (RFC 2104 section 2), begun with its key, which is no longer than a block.

    What is computed under one key many times begins with copies: half the time of as many calls of `hmac.digest`.
    """
    make = _CONSTRUCTORS[name]
    padded = key.ljust(64 if name == "sha256" else 128, b"\0")
    return make(padded.translate(_INNER_PAD)), make(padded.translate(_OUTER_PAD))


# Many contexts have one salt; it is no secret.
_begin_with_salt: Final = lru_cache(maxsize=16)(_begin)


def extract(secret: bytes, salt: bytes, hash_name: str = DEFAULT_HASH) -> bytes:
    """HKDF-Extract (RFC 5869 section 2.2); an empty salt is the hash's length of zeros.

    Args:
        secret: the input keying material.
        salt: may be empty.
        hash_name: a key of `HASHES`.
    """
    name = HASHES[hash_name]
    if len(salt) > 64:
        return hmac.digest(salt, secret, name)
    # HMAC pads its key with zeros, so that the empty salt and the RFC's zeros are one.
    begun, outer = _begin_with_salt(salt, name)
    inner, outer = begun.copy(), outer.copy()
    inner.update(secret)
    outer.update(inner.digest())
    return outer.digest()


class Extracted:
    """`extract`, done once, ready to be expanded any number of times; the arguments are its."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes, salt: bytes, hash_name: str = DEFAULT_HASH) -> None:
        self._inner, self._outer = _begin(extract(secret, salt, hash_name), HASHES[hash_name])

    def expand(self, info: bytes, length: int) -> bytes:
        """HKDF-Expand (RFC 5869 section 2.3) for at most one output of the hash: enough for every key and IV here.

        Raises:
            ValueError: ``length`` is above 32.
        """
        if length > 32:
            raise ValueError("more than one output of the hash")
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(info + b"\x01")
        outer.update(inner.digest())
        return outer.digest()[:length]
