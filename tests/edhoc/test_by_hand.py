"""The second opinion computes the trace of RFC 9529 to the last byte, both sides; and lakers agrees with it."""

from __future__ import annotations

import os

from securecoap.edhoc.engine import Initiator, Responder

from . import by_hand
from .material import CRED_I, CRED_R, INITIATOR, RESPONDER
from .vectors import TRACE_2 as T

ID_I, ID_R = T["id_cred_i_cbor"], T["id_cred_r_cbor"]


def test_the_trace_of_the_responder() -> None:
    responder = by_hand.Responder(T["message_1_seq"], T["G_X"], T["SK_R"], T["cred_r_cbor"], T["Y_private"], T["C_R"])
    assert responder.run.th_2 == T["th_2"]
    assert responder.run.prk_2e == T["prk_2e"]
    assert responder.message_2(ID_R, T["C_R"][:0] + b"\x32") == T["message_2_seq"]
    message_4, secret, salt = responder.take_message_3(T["message_3_seq"], T["PK_I_x"], ID_I, T["cred_i_cbor"])
    assert (message_4, secret, salt) == (T["message_4_seq"], T["oscore_master_secret"], T["oscore_master_salt"])


def test_the_trace_of_the_initiator() -> None:
    initiator = by_hand.Initiator(T["SK_I"], T["cred_i_cbor"], T["X_private"], T["C_I"], T["suites_i_cbor"])
    assert initiator.message_1 == T["message_1_seq"]
    initiator.take_message_2(T["message_2_seq"], T["PK_R_x"], ID_R, T["cred_r_cbor"], T["C_R"])
    message_3, (message_4, secret, salt) = initiator.message_3(ID_I, b"\x2b")
    assert message_3 == T["message_3_seq"]
    assert (message_4, secret, salt) == (T["message_4_seq"], T["oscore_master_secret"], T["oscore_master_salt"])


def test_our_initiator_with_a_responder_by_hand() -> None:
    initiator = Initiator(INITIATOR)
    message_1 = initiator.message_1(b"\x0e")
    hand = by_hand.Responder(message_1, message_1[4:36], T["SK_R"], CRED_R.encoded, os.urandom(32), b"\x41\x42")
    assert initiator.take_message_2(hand.message_2(ID_R, b"\x32")) == ID_R
    assert initiator.c_r == b"\x41\x42"
    message_3 = initiator.message_3(CRED_R)
    message_4, secret, salt = hand.take_message_3(message_3, CRED_I.x, ID_I, CRED_I.encoded)
    output = initiator.finish(message_4)
    assert (output.secret, output.salt) == (secret, salt)
    assert (output.sender_id, output.recipient_id) == (b"\x41\x42", b"\x0e")


def test_our_responder_with_an_initiator_by_hand() -> None:
    hand = by_hand.Initiator(T["SK_I"], CRED_I.encoded, T["X_private"], b"\x37", T["suites_i_cbor"])
    assert hand.message_1 == T["message_1_seq"]
    responder = Responder(RESPONDER)
    assert responder.take_message_1(hand.message_1) == b"\x37"
    hand.take_message_2(responder.message_2(b"\x27"), CRED_R.x, ID_R, CRED_R.encoded, b"\x27")
    message_3, (message_4, secret, salt) = hand.message_3(ID_I, b"\x2b")
    assert responder.take_message_3(message_3) == ID_I
    output, theirs = responder.finish(CRED_I)
    assert (theirs, output.secret, output.salt) == (message_4, secret, salt)
    assert (output.sender_id, output.recipient_id) == (b"\x37", b"\x27")
