"""Messages of the RFCs, of plugtest captures and of other stacks' tests, and datagrams that are none (RFC 7252 section 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import dotted
from securecoap.wire.message import ACK, CON, NON, RST, Message

_VECTORS = Path(__file__).parents[1] / "vectors"
_MESSAGES: list[dict[str, Any]] = json.loads((_VECTORS / "coap_messages.json").read_text(encoding="utf-8"))["messages"]
_MALFORMED: list[dict[str, Any]] = json.loads((_VECTORS / "coap_malformed.json").read_text(encoding="utf-8"))[
    "datagrams"
]
_NO_MESSAGES = [entry for entry in _MALFORMED if entry["layer"] == "format"]
_WELL_FORMED = [entry for entry in _MALFORMED if entry["layer"] != "format"]
_TYPES = {"CON": CON, "NON": NON, "ACK": ACK, "RST": RST}
# Registered options that this library does not implement have no attribute.
_ATTRIBUTES = {
    number: definition.name.lower().replace("-", "_")
    for number, definition in numbers.OPTIONS.items()
    if number not in {numbers.Q_BLOCK1, numbers.Q_BLOCK2, numbers.EDHOC}
}


def _id(entry: dict[str, Any]) -> str:
    return str(entry["id"])


def test_the_vectors_are_all_there() -> None:
    assert len(_MESSAGES) == 120
    assert len(_NO_MESSAGES) == 48
    assert all(entry["reencode_identical"] for entry in _MESSAGES)
    assert {entry["layer"] for entry in _WELL_FORMED} == {"message", "option/application", "oscore"}


@pytest.mark.parametrize("entry", _MESSAGES, ids=_id)
def test_message(entry: dict[str, Any]) -> None:
    datagram = bytes.fromhex(entry["hex"])
    assert len(datagram) == entry["length"]
    message = Message.decode(datagram)
    assert message.mtype == _TYPES[entry["type"]]
    assert message.code == entry["code_value"]
    assert dotted(message.code) == entry["code"]
    assert message.mid == entry["mid"]
    assert message.token == bytes.fromhex(entry["token"])
    assert list(message.options) == [(option["number"], bytes.fromhex(option["hex"])) for option in entry["options"]]
    assert message.payload == bytes.fromhex(entry["payload"])
    if "payload_text" in entry:
        assert message.payload.decode() == entry["payload_text"]
    for option in entry["options"]:
        if option["name"] is not None:
            assert numbers.option_name(option["number"]) == option["name"]


@pytest.mark.parametrize("entry", _MESSAGES, ids=_id)
def test_message_encodes_to_the_same_bytes(entry: dict[str, Any]) -> None:
    datagram = bytes.fromhex(entry["hex"])
    assert Message.decode(datagram).encode() == datagram
    # and without the bytes that a received message may have kept
    message = Message(entry["code_value"], bytes.fromhex(entry["payload"]))
    message.mtype = _TYPES[entry["type"]]
    message.mid = entry["mid"]
    message.token = bytes.fromhex(entry["token"])
    for option in reversed(entry["options"]):
        values = [bytes.fromhex(other["hex"]) for other in entry["options"] if other["number"] == option["number"]]
        message.options.replace(option["number"], values)
    assert message.encode() == datagram


@pytest.mark.parametrize("entry", [e for e in _MESSAGES if any("value" in o for o in e["options"])], ids=_id)
def test_option_values(entry: dict[str, Any]) -> None:
    options = Message.decode(bytes.fromhex(entry["hex"])).options
    for number in {option["number"] for option in entry["options"]} & _ATTRIBUTES.keys():
        expected = [option["value"] for option in entry["options"] if option["number"] == number and "value" in option]
        definition = numbers.OPTIONS[number]
        if not expected:
            continue
        value = getattr(options, _ATTRIBUTES[number])
        if isinstance(expected[0], dict):
            block = expected[0]
            assert value == Block(block["num"], block["more"], block["szx"])
        elif definition.repeatable:
            assert list(value) == expected
        else:
            assert value == expected[0]


@pytest.mark.parametrize("entry", _NO_MESSAGES, ids=_id)
def test_no_message(entry: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        Message.decode(bytes.fromhex(entry["hex"]))


@pytest.mark.parametrize("entry", _WELL_FORMED, ids=_id)
def test_what_other_layers_refuse_is_a_message(entry: dict[str, Any]) -> None:
    assert entry["well_formed_coap"]
    datagram = bytes.fromhex(entry["hex"])
    assert Message.decode(datagram).encode() == datagram


def _decodes_to_itself_or_not_at_all(datagram: bytes) -> None:
    """The wire form is unique: no two datagrams are the same message."""
    try:
        message = Message.decode(datagram)
    except FormatError:
        return
    assert message.encode() == datagram
    again = Message.decode(datagram)
    assert (again.options, again.payload, again.token) == (message.options, message.payload, message.token)


@pytest.mark.parametrize("entry", _MESSAGES, ids=_id)
def test_truncated_message(entry: dict[str, Any]) -> None:
    datagram = bytes.fromhex(entry["hex"])
    for length in range(min(len(datagram), 300)):
        _decodes_to_itself_or_not_at_all(datagram[:length])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_format_error(datagram: bytes) -> None:
    _decodes_to_itself_or_not_at_all(datagram)


@given(
    st.binary(max_size=80),
    st.sampled_from([0x40, 0x51, 0x48, 0x4D, 0x4E, 0x60]),
    st.sampled_from([0, 1, 2, 4, 69, 132]),
)
def test_any_bytes_behind_a_header(body: bytes, first: int, code: int) -> None:
    _decodes_to_itself_or_not_at_all(bytes((first, code, 0x12, 0x34)) + body)


@given(st.sampled_from([bytes.fromhex(entry["hex"]) for entry in [*_MESSAGES, *_MALFORMED]]), st.data())
def test_message_with_a_byte_changed(datagram: bytes, data: st.DataObject) -> None:
    if datagram:
        position = data.draw(st.integers(0, min(len(datagram), 60) - 1))
        changed = bytearray(datagram)
        changed[position] = data.draw(st.integers(0, 255))
        _decodes_to_itself_or_not_at_all(bytes(changed))
