"""The PRF against its published vector, and the parts that RFC 4279 and 5246 lay out."""

from __future__ import annotations

import hmac

import pytest

from securecoap.dtls.key_schedule import KeyedHash, key_block, psk_premaster_secret
from securecoap.dtls.suites import SUITES

# The TLS 1.2 PRF vector for SHA-256 that was posted to the IETF's TLS list (P. Gutmann, tls archive 2009/msg03416).
SECRET = bytes.fromhex("9bbe436ba940f017b17652849a71db35")
SEED = bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
OUTPUT = bytes.fromhex(
    "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
    "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
    "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
    "87347b66"
)


def test_prf_vector():
    assert KeyedHash(SECRET, "sha256").prf(b"test label", SEED, 100) == OUTPUT


def test_psk_premaster_secret_has_zeros_of_the_keys_length():
    assert psk_premaster_secret(b"abc") == bytes.fromhex("0003 000000 0003") + b"abc"
    assert psk_premaster_secret(b"abc", b"ZZ") == b"\x00\x02ZZ\x00\x03abc"


def test_key_block_order_and_sizes():
    suite = SUITES[0x00A9]
    client, server = key_block(suite, KeyedHash(SECRET, "sha384"), b"c" * 32, b"s" * 32)
    whole = KeyedHash(SECRET, "sha384").prf(b"key expansion", b"s" * 32 + b"c" * 32, 72)
    assert client[0] + server[0] + client[1] + server[1] == whole
    assert (len(server[0]), len(client[1])) == (32, 4)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 127, 128, 129, 500])
@pytest.mark.parametrize("name", ["sha256", "sha384"])
def test_keyed_hashes_are_hmac(name, length):
    key = bytes(range(256)) * 2
    for message in (b"", b"m", bytes(200)):
        assert KeyedHash(key[:length], name).digest(message) == hmac.digest(key[:length], message, name)
