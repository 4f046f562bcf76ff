"""The cipher suites, one row each (RFC 5487, 6655, 7251, 5289, 8442; RFC 7252 section 9.1.3 demands those with CCM_8).

A suite names its key exchange (``key_exchange.py`` has the strategy), its AEAD and its PRF hash. Only AEAD suites stand
here: no CBC, no RC4, no export, no compression. Must not know messages or sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_SUITES", "FIXED_IV_LENGTH", "SUITES", "Aead", "CipherSuite", "KeyExchangeKind"]

FIXED_IV_LENGTH: Final = 4
"""The implicit part of the nonce of every suite here (RFC 5288 section 3, RFC 6655 section 3)."""


class Aead(Protocol):
    """What ``cryptography``'s AESCCM and AESGCM have in common."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return the plaintext, or raise ``InvalidTag``."""


class KeyExchangeKind(Enum):
    """How a suite's premaster secret comes about."""

    PSK = "PSK"
    ECDHE_PSK = "ECDHE_PSK"
    ECDHE_ECDSA = "ECDHE_ECDSA"

    def __init__(self, _name: str) -> None:
        self.uses_psk = self.value != "ECDHE_ECDSA"
        """Whether the client names an identity."""
        self.uses_groups = self.value != "PSK"
        """Whether both sides have to agree on a group."""

    __hash__ = object.__hash__  # equal means identical


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """One row of the table.

    ``key_length`` and ``tag_length`` are bytes, ``prf_hash`` is hashlib's name of the PRF's and transcript's hash.
    """

    code: int
    name: str
    key_exchange: KeyExchangeKind
    aead: Callable[[bytes], Aead]
    key_length: int
    tag_length: int
    prf_hash: str


_CCM: Final = partial(AESCCM, tag_length=16)
_CCM_8: Final = partial(AESCCM, tag_length=8)
_PSK: Final = KeyExchangeKind.PSK
_ECDHE_PSK: Final = KeyExchangeKind.ECDHE_PSK
_ECDHE_ECDSA: Final = KeyExchangeKind.ECDHE_ECDSA

_ROWS: Final = (
    CipherSuite(0xC0A8, "TLS_PSK_WITH_AES_128_CCM_8", _PSK, _CCM_8, 16, 8, "sha256"),
    CipherSuite(0x00A8, "TLS_PSK_WITH_AES_128_GCM_SHA256", _PSK, AESGCM, 16, 16, "sha256"),
    CipherSuite(0xC0A4, "TLS_PSK_WITH_AES_128_CCM", _PSK, _CCM, 16, 16, "sha256"),
    CipherSuite(0x00A9, "TLS_PSK_WITH_AES_256_GCM_SHA384", _PSK, AESGCM, 32, 16, "sha384"),
    CipherSuite(0xC0A5, "TLS_PSK_WITH_AES_256_CCM", _PSK, _CCM, 32, 16, "sha256"),
    CipherSuite(0xC0A9, "TLS_PSK_WITH_AES_256_CCM_8", _PSK, _CCM_8, 32, 8, "sha256"),
    CipherSuite(0xD003, "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256", _ECDHE_PSK, _CCM_8, 16, 8, "sha256"),
    CipherSuite(0xD001, "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", _ECDHE_PSK, AESGCM, 16, 16, "sha256"),
    CipherSuite(0xC0AE, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", _ECDHE_ECDSA, _CCM_8, 16, 8, "sha256"),
    CipherSuite(0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", _ECDHE_ECDSA, AESGCM, 16, 16, "sha256"),
    CipherSuite(0xC0AC, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", _ECDHE_ECDSA, _CCM, 16, 16, "sha256"),
    CipherSuite(0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", _ECDHE_ECDSA, AESGCM, 32, 16, "sha384"),
    CipherSuite(0xC0AD, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", _ECDHE_ECDSA, _CCM, 32, 16, "sha256"),
    CipherSuite(0xC0AF, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", _ECDHE_ECDSA, _CCM_8, 32, 8, "sha256"),
)

SUITES: Final[dict[int, CipherSuite]] = {suite.code: suite for suite in _ROWS}

DEFAULT_SUITES: Final = _ROWS
"""All of them, in the order in which a client offers those of its credential: first what every CoAP device has."""
