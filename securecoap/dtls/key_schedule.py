"""From a premaster secret to record keys (RFC 5246 section 5, 6.3 and 8.1; RFC 4279 section 2; RFC 7627 section 4).

Pure functions over bytes. Must not know messages or states; keeps no secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hmac import digest
from typing import Final

from securecoap.dtls.suites import FIXED_IV_LENGTH, CipherSuite

__all__ = [
    "CLIENT_FINISHED",
    "SERVER_FINISHED",
    "VERIFY_DATA_LENGTH",
    "KeyBlock",
    "extended_master_secret",
    "key_block",
    "master_secret",
    "prf",
    "psk_premaster_secret",
    "verify_data",
]

VERIFY_DATA_LENGTH: Final = 12
CLIENT_FINISHED: Final = b"client finished"
SERVER_FINISHED: Final = b"server finished"
_MASTER_SECRET_LENGTH: Final = 48


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """Write keys and implicit nonce parts of both sides (RFC 5246 section 6.3; AEAD suites have no MAC keys)."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    client_iv: bytes = field(repr=False)
    server_iv: bytes = field(repr=False)


def prf(secret: bytes, label: bytes, seed: bytes, length: int, hash_name: str) -> bytes:
    """P_hash of RFC 5246 section 5: ``length`` bytes out of ``secret``, ``label`` and ``seed``."""
    seed = label + seed
    a = digest(secret, seed, hash_name)
    output = digest(secret, a + seed, hash_name)
    while len(output) < length:
        a = digest(secret, a, hash_name)
        output += digest(secret, a + seed, hash_name)
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
    return prf(premaster, b"master secret", client_random + server_random, _MASTER_SECRET_LENGTH, hash_name)


def extended_master_secret(premaster: bytes, session_hash: bytes, hash_name: str) -> bytes:
    """RFC 7627 section 4: bound to every message up to the ClientKeyExchange."""
    return prf(premaster, b"extended master secret", session_hash, _MASTER_SECRET_LENGTH, hash_name)


def key_block(suite: CipherSuite, master: bytes, client_random: bytes, server_random: bytes) -> KeyBlock:
    """RFC 5246 section 6.3."""
    key, iv = suite.key_length, FIXED_IV_LENGTH
    block = prf(master, b"key expansion", server_random + client_random, 2 * (key + iv), suite.prf_hash)
    return KeyBlock(block[:key], block[key : 2 * key], block[2 * key : 2 * key + iv], block[2 * key + iv :])


def verify_data(master: bytes, label: bytes, transcript_hash: bytes, hash_name: str) -> bytes:
    """The content of a Finished message (RFC 5246 section 7.4.9); ``label`` says whose it is."""
    return prf(master, label, transcript_hash, VERIFY_DATA_LENGTH, hash_name)
