from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import ConfigurationError
from securecoap.oscore.algorithms import ALGORITHMS
from securecoap.oscore.context import SecurityContext, build_info, derive_keys
from securecoap.oscore.option import encode_partial_iv

from . import vectors
from .vectors import SALT, SECRET, unhex


def build_aad(algorithm: int, kid: bytes, partial_iv: bytes) -> bytes:
    """As a context has it that sends a request with this kid."""
    context = SecurityContext.derive(SECRET, SALT, kid, b"" if kid else b"\x01", algorithm=ALGORITHMS[algorithm])
    return context.outgoing(partial_iv).aad


DERIVATIONS = {name: v for name, v in vectors.rfc()["test_vectors"].items() if name.startswith(("C.1", "C.2", "C.3"))}
MESSAGES = {name: v for name, v in vectors.rfc()["test_vectors"].items() if "kind" in v}
EXTRA = vectors.rfc()["computed_extra"]


def derivation(inputs):
    return {
        "secret": unhex(inputs["master_secret"]),
        "salt": unhex(inputs["master_salt"]) or b"",
        "sender_id": unhex(inputs["sender_id"]),
        "recipient_id": unhex(inputs["recipient_id"]),
        "id_context": unhex(inputs["id_context"]),
        "algorithm": ALGORITHMS[inputs["aead_alg"]],
    }


@pytest.mark.parametrize("name", DERIVATIONS)
def test_appendix_c_derivation(name):
    vector = DERIVATIONS[name]
    arguments = derivation(vector["inputs"])
    keys = derive_keys(**arguments)
    assert keys.sender_key.hex() == vector["sender_key"]
    assert keys.recipient_key.hex() == vector["recipient_key"]
    assert keys.common_iv.hex() == vector["common_iv"]
    context = SecurityContext.derive(**arguments)
    number = int(vector["partial_iv_for_nonces"], 16)
    assert context.sender_nonce(number).hex() == vector["sender_nonce"]
    assert context.recipient_nonce(number).hex() == vector["recipient_nonce"]


@pytest.mark.parametrize("name", DERIVATIONS)
def test_appendix_c_info(name):
    vector = DERIVATIONS[name]
    inputs = vector["inputs"]
    id_context, number = unhex(inputs["id_context"]), inputs["aead_alg"]
    assert build_info(unhex(inputs["sender_id"]), id_context, number, "Key", 16).hex() == vector["info_sender_key"]
    assert (
        build_info(unhex(inputs["recipient_id"]), id_context, number, "Key", 16).hex() == vector["info_recipient_key"]
    )
    assert build_info(b"", id_context, number, "IV", 13).hex() == vector["info_common_iv"]


@pytest.mark.parametrize("row", EXTRA["hkdf_matrix"], ids=lambda row: row["hkdf"])
def test_hkdf_matrix(row):
    keys = derive_keys(SECRET, SALT, b"", b"\x01", hash_name=row["hkdf"].removeprefix("HKDF "))
    assert (keys.sender_key.hex(), keys.recipient_key.hex()) == (row["sender_key"], row["recipient_key"])
    assert keys.common_iv.hex() == row["common_iv"]


@pytest.mark.parametrize("row", EXTRA["aead_matrix"]["vectors"], ids=lambda row: row["name"])
def test_aead_matrix_derivation(row):
    keys = derive_keys(SECRET, SALT, b"", b"\x01", algorithm=ALGORITHMS[row["aead_alg"]])
    assert (keys.sender_key.hex(), keys.recipient_key.hex()) == (row["client_sender_key"], row["server_sender_key"])
    assert keys.common_iv.hex() == row["common_iv"]


@pytest.mark.parametrize("number", range(3))
def test_appendix_b2_contexts(number):
    run = EXTRA["appendix_B2_run"]
    expected = run["contexts"][number]
    keys = derive_keys(SECRET, SALT, b"", b"\x01", id_context=bytes.fromhex(expected["id_context"]))
    assert keys.sender_key.hex() == expected["client_sender_key"]
    assert keys.recipient_key.hex() == expected["server_sender_key"]
    assert keys.common_iv.hex() == expected["common_iv"]
    r1, r2, r3 = (bytes.fromhex(run["inputs"][name]) for name in ("R1", "R2", "R3"))
    assert bytes.fromhex(expected["id_context"]) == (r1, r2 + r1, r2 + r3)[number]


@pytest.mark.parametrize("name", MESSAGES)
def test_appendix_c_aad(name):
    vector = MESSAGES[name]
    kid = unhex(vector["kid"] if vector["kind"] == "request" else vector["request_kid"])
    partial_iv = unhex(vector["partial_iv"] if vector["kind"] == "request" else vector["request_piv"])
    assert build_aad(10, kid, partial_iv).hex() == vector["aad"]


def test_aad_example_of_section_5_4():
    example = vectors.rfc()["aad_example"]
    aad = build_aad(example["aead_alg"], unhex(example["request_kid"]), unhex(example["request_piv"]))
    assert aad.hex() == example["aad"]
    assert cbor2.loads(aad)[2].hex() == example["aad_array"]


@given(st.sampled_from(sorted(ALGORITHMS)), st.binary(max_size=7), st.integers(0, 2**40 - 1))
def test_aad_equals_a_cbor_encoder(algorithm, kid, number):
    kid = kid[: ALGORITHMS[algorithm].maximum_id_length]
    partial_iv = encode_partial_iv(number)
    array = cbor2.dumps([1, [algorithm], kid, partial_iv, b""])
    assert build_aad(algorithm, kid, partial_iv) == cbor2.dumps(["Encrypt0", b"", array])


@given(st.binary(max_size=7), st.none() | st.binary(max_size=240), st.sampled_from(sorted(ALGORITHMS)))
def test_info_equals_a_cbor_encoder(identifier, id_context, algorithm):
    for kind, length in (("Key", 32), ("IV", 13)):
        info = cbor2.dumps([identifier, id_context, algorithm, kind, length])
        assert build_info(identifier, id_context, algorithm, kind, length) == info


@pytest.mark.parametrize("row", EXTRA["partial_iv_boundaries"]["rows"], ids=lambda row: str(row["ssn"]))
def test_nonces_at_the_boundaries(row):
    empty = vectors.context("C.1.1")
    seven = SecurityContext(derive_keys(SECRET, SALT, b"", b"\x01"), bytes.fromhex("a1a2a3a4a5a6a7"), b"\x01")
    assert empty.sender_nonce(row["ssn"]).hex() == row["nonce_sid_empty"]
    assert seven.sender_nonce(row["ssn"]).hex() == row["nonce_sid_7bytes"]
    assert empty.request_option(bytes.fromhex(row["partial_iv"])).hex() == row["option_sid_empty"]


@given(st.integers(0, 2**40 - 1))
def test_both_ends_have_the_same_identifiers(number):
    client, server = vectors.context("C.3.1"), vectors.context("C.3.2")
    partial_iv = encode_partial_iv(number)
    sent, received = client.outgoing(partial_iv), server.incoming(partial_iv, number)
    assert (sent.aad, sent.nonce) == received
    assert sent.aad == build_aad(10, b"", partial_iv)


def test_two_ends_never_share_a_nonce():
    client, server = vectors.context("C.1.1"), vectors.context("C.1.2")
    assert client.sender_nonce(7) == server.recipient_nonce(7)
    assert client.sender_nonce(7) != server.sender_nonce(7)


@pytest.mark.parametrize(
    ("sender_id", "recipient_id", "id_context", "number"),
    [
        (b"\x01", b"\x01", None, 10),
        (b"", b"", None, 10),
        (bytes(8), b"", None, 10),
        (b"", bytes(8), None, 10),
        (b"\x01\x02", b"", None, 12),
        (bytes(7), b"", None, 24),
        (b"\x01", b"", bytes(241), 10),
    ],
    ids=["equal", "both empty", "sender too long", "recipient too long", "short nonce", "12-byte nonce", "ID context"],
)
def test_contexts_that_cannot_be(sender_id, recipient_id, id_context, number):
    with pytest.raises(ConfigurationError):
        SecurityContext.derive(
            SECRET, SALT, sender_id, recipient_id, id_context=id_context, algorithm=ALGORITHMS[number]
        )


def test_a_new_context_accepts_nothing():
    assert SecurityContext.derive(SECRET, SALT, b"", b"\x01").window.void


def test_no_key_is_shown():
    keys = derive_keys(SECRET, SALT, b"", b"\x01")
    shown = repr(keys) + repr(vectors.context())
    for secret in (keys.sender_key, keys.recipient_key, keys.common_iv, SECRET, SALT):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_defaults():
    """What section 3.2 says of an entry that says nothing: AES-CCM-16-64-128, SHA-256, no salt, a window of 32."""
    vector = vectors.rfc()["test_vectors"]["C.2.1"]
    keys = derive_keys(vectors.SECRET, b"", vectors.unhex(vector["inputs"]["sender_id"]), b"\x01")
    assert keys.sender_key.hex() == vector["sender_key"]
    context = SecurityContext(keys, vectors.unhex(vector["inputs"]["sender_id"]), b"\x01")
    assert (context.algorithm.number, context.window.size) == (10, 32)
    assert context.sender_nonce(0).hex() == vector["sender_nonce"]
    assert len(context.aead_sender.encrypt(bytes(13), b"", b"")) == 8


def test_aead_objects_are_made_when_they_are_used_and_keys_stay_no_longer():
    context = SecurityContext.derive(b"secret", b"salt", b"\x01", b"\x02")
    fresh = type(context)
    assert isinstance(context, SecurityContext)
    keys = context._sender_key, context._recipient_key
    assert all(len(key) == 16 for key in keys)
    sender = context.aead_sender
    assert context.aead_sender is sender
    assert (context._sender_key, context._recipient_key) == (b"", keys[1])
    recipient = context.aead_recipient
    assert context.aead_recipient is recipient
    assert (context._sender_key, context._recipient_key) == (b"", b"")
    assert fresh is not type(context) is SecurityContext
    assert sender.encrypt(bytes(13), b"text", b"") == AESCCM(keys[0], 8).encrypt(bytes(13), b"text", b"")
    assert recipient.encrypt(bytes(13), b"text", b"") == AESCCM(keys[1], 8).encrypt(bytes(13), b"text", b"")


def test_a_context_has_no_other_attribute_before_and_after():
    context = SecurityContext.derive(b"secret", b"salt", b"\x01", b"\x02")
    for _ in range(2):
        with pytest.raises(AttributeError, match="nothing"):
            context.nothing  # noqa: B018 - asked for the error
        assert context.aead_recipient is not context.aead_sender
