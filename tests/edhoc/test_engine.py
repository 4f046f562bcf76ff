"""lakers behind its guard: what it accepts, and that whatever a peer sends ends in an `EdhocError`."""

from __future__ import annotations

import os
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.credentials.ccs import Ccs
from securecoap.edhoc.engine import (
    Initiator,
    Output,
    Responder,
    _guarded,
    anonymous_identity,
    claims_set_of,
    kid_of,
    parse_claims_set,
)
from securecoap.edhoc.messages import EdhocError
from securecoap.errors import CredentialsMissing

from . import by_hand
from .material import CRED_I, CRED_R, INITIATOR, RESPONDER
from .vectors import INVALID, TRACE_2

MESSAGE_1 = TRACE_2["message_1_seq"]
UNKNOWN_EAD, CRITICAL_EAD = b"\x18\x19", b"\x38\x18"  # label 25, and -25


def run(
    initiator: Initiator, responder: Responder, c_i: bytes = b"\x05", c_r: bytes = b"\x06"
) -> tuple[Output, Output]:
    assert responder.take_message_1(initiator.message_1(c_i)) == c_i
    initiator.take_message_2(responder.message_2(c_r))
    responder.take_message_3(initiator.message_3(CRED_R))
    theirs, message_4 = responder.finish(CRED_I)
    return initiator.finish(message_4), theirs


@pytest.mark.parametrize("identifiers", [(b"\x05", b"\x06"), (b"\x41\x42\x43", b"\x37"), (b"\x00", b"\xff" * 7)])
def test_both_sides_have_one_output(identifiers: tuple[bytes, bytes]) -> None:
    ours, theirs = run(Initiator(INITIATOR), Responder(RESPONDER), *identifiers)
    assert (ours.secret, ours.salt) == (theirs.secret, theirs.salt)
    assert (len(ours.secret), len(ours.salt)) == (16, 8)
    assert (ours.sender_id, ours.recipient_id) == (theirs.recipient_id, theirs.sender_id) == identifiers[::-1]
    assert ours.secret.hex() not in repr(ours)
    assert str(ours.secret) not in repr(ours)


def test_each_session_has_keys_of_its_own() -> None:
    one, two = (run(Initiator(INITIATOR), Responder(RESPONDER))[0] for _ in range(2))
    assert one.secret != two.secret


def test_who_stays_unauthenticated_has_another_key_each_time() -> None:
    one, two = anonymous_identity(), anonymous_identity()
    assert one.ccs.x != two.ccs.x
    initiator, responder = Initiator(one), Responder(RESPONDER)
    responder.take_message_1(initiator.message_1(b"\x05"))
    initiator.take_message_2(responder.message_2(b"\x06"))
    id_cred = responder.take_message_3(initiator.message_3(CRED_R))
    encoded = claims_set_of(id_cred)
    assert encoded == one.ccs.encoded
    assert kid_of(id_cred) is None
    output, _ = responder.finish(parse_claims_set(encoded))
    assert output.secret == initiator.finish().secret


def test_the_wrong_credential_does_not_verify() -> None:
    initiator, responder = Initiator(INITIATOR), Responder(RESPONDER)
    responder.take_message_1(initiator.message_1(b"\x05"))
    initiator.take_message_2(responder.message_2(b"\x06"))
    with pytest.raises(EdhocError, match="message_2 does not verify"):
        initiator.message_3(anonymous_identity().ccs)
    initiator, responder = Initiator(INITIATOR), Responder(RESPONDER)
    responder.take_message_1(initiator.message_1(b"\x05"))
    initiator.take_message_2(responder.message_2(b"\x06"))
    responder.take_message_3(initiator.message_3(CRED_R))
    with pytest.raises(EdhocError, match="message_3 does not verify"):
        responder.finish(anonymous_identity().ccs)


@pytest.mark.parametrize("case", [one for one in INVALID if one[0] == "PLAINTEXT_2"], ids=lambda case: case[2])
def test_what_the_rfc_calls_invalid_inside_message_2(case: tuple[str, bytes, str]) -> None:
    initiator = Initiator(INITIATOR)
    message_1 = initiator.message_1(b"\x0e")
    hand = by_hand.Responder(
        message_1, message_1[4:36], TRACE_2["SK_R"], CRED_R.encoded, os.urandom(32), TRACE_2["C_R"]
    )
    message_2 = hand.message_2(TRACE_2["id_cred_r_cbor"], b"\x32", case[1])
    with pytest.raises(EdhocError):  # noqa: PT012  # either step may find it
        initiator.take_message_2(message_2)
        initiator.message_3(CRED_R)


@pytest.mark.parametrize("c_r", [b"\x0e", bytes(8)])
def test_an_identifier_of_the_responder_that_does_not_fit(c_r: bytes) -> None:
    initiator = Initiator(INITIATOR)
    message_1 = initiator.message_1(b"\x0e")
    hand = by_hand.Responder(message_1, message_1[4:36], TRACE_2["SK_R"], CRED_R.encoded, os.urandom(32), c_r)
    with pytest.raises(EdhocError):
        initiator.take_message_2(hand.message_2(TRACE_2["id_cred_r_cbor"], b"\x32"))


def test_critical_data_that_nobody_knows_ends_it() -> None:
    assert Responder(RESPONDER).take_message_1(MESSAGE_1 + UNKNOWN_EAD) == b"\x37"
    with pytest.raises(EdhocError, match="critical"):
        Responder(RESPONDER).take_message_1(MESSAGE_1 + CRITICAL_EAD)
    hand = by_hand.Initiator(TRACE_2["SK_I"], CRED_I.encoded, TRACE_2["X_private"], b"\x37")
    responder = Responder(RESPONDER)
    responder.take_message_1(hand.message_1)
    hand.take_message_2(responder.message_2(b"\x27"), CRED_R.x, TRACE_2["id_cred_r_cbor"], CRED_R.encoded, b"\x27")
    message_3, _ = hand.message_3(TRACE_2["id_cred_i_cbor"], b"\x2b", CRITICAL_EAD)
    with pytest.raises(EdhocError, match="critical"):
        responder.take_message_3(message_3)


def test_an_error_says_nothing_of_the_message() -> None:
    with pytest.raises(EdhocError) as caught:
        Responder(RESPONDER).take_message_1(b"\x03\x02\x58\x20secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_panic_is_an_error_and_a_cancellation_is_none() -> None:
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(EdhocError), _guarded("x"):
        raise panic
    with pytest.raises(KeyboardInterrupt), _guarded("x"):
        raise KeyboardInterrupt


def test_without_lakers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lakers", None)
    with pytest.raises(CredentialsMissing, match=r"securecoap\[edhoc\]"):
        Initiator(INITIATOR)
    with pytest.raises(CredentialsMissing):
        Responder(RESPONDER)


def test_credential_identifiers() -> None:
    assert kid_of(bytes.fromhex("a1044132")) == b"\x32"
    assert kid_of(bytes.fromhex("a104420001")) == b"\x00\x01"
    for none in ("a10432", "a1044232", "a104", "", "a20441320500", "a1054132"):
        assert kid_of(bytes.fromhex(none)) is None
    assert claims_set_of(bytes.fromhex("a1044132")) is None
    with pytest.raises(EdhocError):
        parse_claims_set(b"\xa0")
    assert isinstance(parse_claims_set(CRED_I.encoded), Ccs)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_any_message_gives_a_value_or_one_error(data: bytes, position: int, change: bytes) -> None:
    """Bytes at will, and real messages with a few bytes changed, at every step."""

    def changed(message: bytes) -> bytes:
        return message[:position] + change + message[position + len(change) :]

    for first in (data, changed(MESSAGE_1)):
        responder = Responder(RESPONDER)
        try:
            responder.take_message_1(first)
        except EdhocError:
            continue
    initiator, responder = Initiator(INITIATOR), Responder(RESPONDER)
    responder.take_message_1(initiator.message_1(b"\x05"))
    message_2 = responder.message_2(b"\x06")
    for second in (data, changed(message_2)):
        other = Initiator(INITIATOR)
        other.message_1(b"\x05")
        try:
            other.take_message_2(second)
            other.message_3(CRED_R)
        except EdhocError:
            continue
        raise AssertionError("a message_2 of another session was taken")
    initiator.take_message_2(message_2)
    message_3 = initiator.message_3(CRED_R)
    wrong = data if position % 2 else changed(message_3)
    if wrong != message_3:
        with pytest.raises(EdhocError):  # noqa: PT012  # either step may find it
            responder.take_message_3(wrong)
            responder.finish(CRED_I)
    for message_4 in (data, b""):
        with pytest.raises(EdhocError):
            initiator.finish(message_4)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A few bytes changed, added or left out; or other bytes."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(100))
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        position = chance.randrange(len(changed) + 1)
        changed[position : position + chance.randrange(2)] = chance.randbytes(chance.randrange(2))
    return bytes(changed)


def test_what_is_inside_may_be_anything_too() -> None:
    """Plaintexts that only the other side could encrypt: whoever has a credential can still send nonsense."""
    chance = random.Random(9528)
    id_i, id_r = TRACE_2["id_cred_i_cbor"], TRACE_2["id_cred_r_cbor"]
    for _ in range(60):
        initiator = Initiator(INITIATOR)
        message_1 = initiator.message_1(b"\x0e")
        server = by_hand.Responder(message_1, message_1[4:36], TRACE_2["SK_R"], CRED_R.encoded, os.urandom(32), b"\x27")
        server.message_2(id_r, b"\x32")
        plaintext = mutated(chance, server.plaintext_2)
        if plaintext != server.plaintext_2:
            with pytest.raises(EdhocError):  # noqa: PT012  # either step may find it
                initiator.take_message_2(server.message_2(id_r, b"\x32", plaintext))
                initiator.message_3(CRED_R)
        client = by_hand.Initiator(TRACE_2["SK_I"], CRED_I.encoded, TRACE_2["X_private"], b"\x37")
        responder = Responder(RESPONDER)
        responder.take_message_1(client.message_1)
        client.take_message_2(responder.message_2(b"\x27"), CRED_R.x, id_r, CRED_R.encoded, b"\x27")
        good = b"\x2b" + by_hand.bstr(client.run.message_3_mac(id_i, CRED_I.encoded))
        plaintext = mutated(chance, good)
        if plaintext != good:
            aead, nonce, aad = client.run.aead_3()
            with pytest.raises(EdhocError):  # noqa: PT012  # either step may find it
                responder.take_message_3(by_hand.bstr(aead.encrypt(nonce, plaintext, aad)))
                responder.finish(CRED_I)
