"""COSE AEAD algorithms and the key derivation of OSCORE (RFC 8613 section 3.2, RFC 9053, RFC 5869).

An `Algorithm` makes AEAD objects from keys; `Extracted` is HKDF-Extract done once, from which any number of outputs is
expanded. This module knows no message, no context and no configuration.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "DEFAULT_HASH", "HASHES", "Aead", "Algorithm", "Extracted"]


class Aead(Protocol):
    """A key made ready. ``decrypt`` raises `cryptography.exceptions.InvalidTag`, or `ValueError` for data too long."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One row of the COSE registry (RFC 9053 section 4); lengths in bytes.

    Attributes:
        number: the COSE algorithm number.
        name: the registry's name.
        aead: makes an `Aead` from a key of ``key_length``.
    """

    number: int
    name: str
    key_length: int
    tag_length: int
    nonce_length: int
    aead: Callable[[bytes], Aead] = field(repr=False, compare=False)

    @property
    def maximum_id_length(self) -> int:
        """The longest Sender or Recipient ID (RFC 8613 section 3.3)."""
        return self.nonce_length - 6

    @property
    def maximum_plaintext(self) -> int:
        """The longest plaintext: CCM's length field has what the nonce leaves of 15 bytes (RFC 3610 section 2.1)."""
        return (1 << 8 * (15 - self.nonce_length)) - 1 if self.name.startswith("AES-CCM") else 2**31 - 1


def _ccm8(key: bytes) -> Aead:
    return AESCCM(key, 8)


def _ccm16(key: bytes) -> Aead:
    return AESCCM(key, 16)


_ALL: Final = (
    Algorithm(1, "A128GCM", 16, 16, 12, AESGCM),
    Algorithm(2, "A192GCM", 24, 16, 12, AESGCM),
    Algorithm(3, "A256GCM", 32, 16, 12, AESGCM),
    Algorithm(10, "AES-CCM-16-64-128", 16, 8, 13, _ccm8),
    Algorithm(11, "AES-CCM-16-64-256", 32, 8, 13, _ccm8),
    Algorithm(12, "AES-CCM-64-64-128", 16, 8, 7, _ccm8),
    Algorithm(13, "AES-CCM-64-64-256", 32, 8, 7, _ccm8),
    Algorithm(24, "ChaCha20/Poly1305", 32, 16, 12, ChaCha20Poly1305),
    Algorithm(30, "AES-CCM-16-128-128", 16, 16, 13, _ccm16),
    Algorithm(31, "AES-CCM-16-128-256", 32, 16, 13, _ccm16),
    Algorithm(32, "AES-CCM-64-128-128", 16, 16, 7, _ccm16),
    Algorithm(33, "AES-CCM-64-128-256", 32, 16, 7, _ccm16),
)

ALGORITHMS: Final[dict[int, Algorithm]] = {algorithm.number: algorithm for algorithm in _ALL}
"""Every AEAD that OSCORE may use, by COSE number: nonces of 7 bytes or more that may be counters (section 12.6)."""

DEFAULT_ALGORITHM: Final = ALGORITHMS[10]
DEFAULT_HASH: Final = "SHA-256"

HASHES: Final[dict[str, str]] = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
"""COSE's names of hash functions for HKDF, and hashlib's."""


class Extracted:
    """HKDF-Extract, done once (RFC 5869 section 2.2); an empty salt is the hash's length of zeros.

    Args:
        secret: the input keying material.
        salt: may be empty.
        hash_name: a key of `HASHES`.
    """

    __slots__ = ("_digest", "_key")

    def __init__(self, secret: bytes, salt: bytes, hash_name: str = DEFAULT_HASH) -> None:
        self._digest = HASHES[hash_name]
        # HMAC pads its key with zeros, so that the empty salt and the RFC's zeros are one.
        self._key = hmac.digest(salt, secret, self._digest)

    def expand(self, info: bytes, length: int) -> bytes:
        """HKDF-Expand (RFC 5869 section 2.3) for at most one output of the hash: enough for every key and IV here.

        Raises:
            ValueError: ``length`` is above 32.
        """
        if length > 32:
            raise ValueError("more than one output of the hash")
        return hmac.digest(self._key, info + b"\x01", self._digest)[:length]
