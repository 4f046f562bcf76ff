from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from securecoap.oscore.algorithms import ALGORITHMS, DEFAULT_ALGORITHM, HASHES, Extracted, make_aead

from . import vectors


@pytest.mark.parametrize("row", vectors.load("option_registry.json")["aead_algorithms"], ids=lambda row: row["name"])
def test_registry(row):
    algorithm = ALGORITHMS[row["cose"]]
    assert (algorithm.name, algorithm.key_length, algorithm.tag_length) == (row["name"], row["key"], row["tag"])
    assert (algorithm.nonce_length, algorithm.maximum_id_length) == (row["nonce"], row["max_id"])


def test_every_algorithm_is_registered():
    assert set(ALGORITHMS) == {row["cose"] for row in vectors.load("option_registry.json")["aead_algorithms"]}
    assert DEFAULT_ALGORITHM.name == "AES-CCM-16-64-128"


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=lambda algorithm: algorithm.name)
def test_aead_objects(algorithm):
    aead = make_aead(algorithm, bytes(range(algorithm.key_length)))
    nonce = bytes(algorithm.nonce_length)
    sealed = aead.encrypt(nonce, b"text", b"aad")
    assert len(sealed) == 4 + algorithm.tag_length
    assert aead.decrypt(nonce, sealed, b"aad") == b"text"
    with pytest.raises(InvalidTag):
        aead.decrypt(nonce, sealed, b"AAD")


def test_no_nonce_is_too_short_for_a_counter():
    assert min(algorithm.nonce_length for algorithm in ALGORITHMS.values()) >= 7


@pytest.mark.parametrize(
    ("name", "reference"), [("SHA-256", hashes.SHA256()), ("SHA-384", hashes.SHA384()), ("SHA-512", hashes.SHA512())]
)
@pytest.mark.parametrize("salt", [b"", b"salt", b"s" * 64, b"s" * 65, b"s" * 128, bytes(200)])
@pytest.mark.parametrize("length", [7, 16, 32])
def test_hkdf_agrees_with_a_second_implementation(name, reference, salt, length):
    expected = HKDF(reference, length, salt, b"info").derive(b"secret")
    assert Extracted(b"secret", salt, name).expand(b"info", length) == expected


def test_one_output_at_most():
    with pytest.raises(ValueError):
        Extracted(b"secret", b"").expand(b"info", 33)


def test_all_hashes_have_names_of_cose():
    assert set(HASHES) == {"SHA-256", "SHA-384", "SHA-512"}
