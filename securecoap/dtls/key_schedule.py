"""From a premaster secret to record keys (RFC 5246 section 5, 6.3 and 8.1; RFC 4279 section 2; RFC 7627 section 4).

Pure functions over bytes. Must not know messages or states; keeps no secret.
"""

from __future__ import annotations

from hashlib import sha256, sha384
from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.suites import FIXED_IV_LENGTH, CipherSuite

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CLIENT_FINISHED",
    "SERVER_FINISHED",
    "VERIFY_DATA_LENGTH",
    "KeyedHash",
    "WriteKey",
    "extended_master_secret",
    "key_block",
    "master_secret",
    "psk_premaster_secret",
]

VERIFY_DATA_LENGTH: Final = 12
"""Bytes of a Finished message (RFC 5246 section 7.4.9)."""
CLIENT_FINISHED: Final = b"client finished"
SERVER_FINISHED: Final = b"server finished"
_MASTER_SECRET_LENGTH: Final = 48
_HASHES: Final[dict[str, tuple[Callable[[bytes | bytearray], Any], int]]] = {
    "sha256": (sha256, 64),
    "sha384": (sha384, 128),
}
"""Each hash function with the bytes of its block."""
WriteKey = tuple[bytes, bytes]
"""A key and the implicit part of its nonces. No class of its own, which would have a repr."""
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class KeyedHash:
    """HMAC (RFC 2104) with one key, whose two blocks are hashed once: four calls less for each message than ``hmac``.

    Args:
        key: any bytes.
        hash_name: ``sha256`` or ``sha384``.

    Attributes:
        plain: the hash function without a key, a constructor of `hashlib`.
    """

    __slots__ = ("_inner", "_outer", "plain")

    def __init__(self, key: bytes, hash_name: str) -> None:
        new, block = _HASHES[hash_name]
        self.plain = new
        padded = (new(key).digest() if len(key) > block else key).ljust(block, b"\0")
        self._inner = new(padded.translate(_INNER))
        self._outer = new(padded.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """Return the HMAC of a message."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        result: bytes = outer.digest()
        return result

    def prf(self, label: bytes, seed: bytes, length: int) -> bytes:
        """P_hash of RFC 5246 section 5: ``length`` bytes out of the key, ``label`` and ``seed``."""
        new_inner, new_outer = self._inner.copy, self._outer.copy
        a = seed = label + seed
        output = b""
        while len(output) < length:
            # Twice what ``digest`` does, without the calls: a handshake does this six times.
            inner, outer = new_inner(), new_outer()
            inner.update(a)
            outer.update(inner.digest())
            a = outer.digest()
            inner, outer = new_inner(), new_outer()
            inner.update(a + seed)
            outer.update(inner.digest())
            output += outer.digest()
        return output[:length]


def psk_premaster_secret(psk: bytes, other_secret: bytes | None = None) -> bytes:
    """RFC 4279 section 2: both parts with their lengths; plain PSK has as many zeros as the key has bytes.

    Args:
        psk: the shared key, 1 to 65535 bytes.
        other_secret: the (EC)DH shared secret of the suites that have one (RFC 5489 section 2).
    """
    other = bytes(len(psk)) if other_secret is None else other_secret
    return len(other).to_bytes(2, "big") + other + len(psk).to_bytes(2, "big") + psk


def master_secret(premaster: bytes, client_random: bytes, server_random: bytes, hash_name: str) -> bytes:
    """RFC 5246 section 8.1, for a peer without the Extended Master Secret."""
    key = KeyedHash(premaster, hash_name)
    return key.prf(b"master secret", client_random + server_random, _MASTER_SECRET_LENGTH)


def extended_master_secret(premaster: bytes, transcript: bytes | bytearray, hash_name: str) -> bytes:
    """RFC 7627 section 4: bound to ``transcript``, every message up to the ClientKeyExchange."""
    key = KeyedHash(premaster, hash_name)
    return key.prf(b"extended master secret", key.plain(transcript).digest(), _MASTER_SECRET_LENGTH)


def key_block(
    suite: CipherSuite, master: KeyedHash, client_random: bytes, server_random: bytes
) -> tuple[WriteKey, WriteKey]:
    """The write keys of client and server (RFC 5246 section 6.3; AEAD suites have no MAC keys)."""
    key, iv = suite.key_length, FIXED_IV_LENGTH
    block = master.prf(b"key expansion", server_random + client_random, 2 * (key + iv))
    ivs = 2 * key
    return (block[:key], block[ivs : ivs + iv]), (block[key:ivs], block[ivs + iv :])
