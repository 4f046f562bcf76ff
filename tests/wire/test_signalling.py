"""What the messages of a connection ask for, and connections that are to be aborted (RFC 8323 section 5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError, OptionError
from securecoap.wire.codes import Code
from securecoap.wire.framing import FrameDecoder, encode_frame
from securecoap.wire.message import Message
from securecoap.wire.signalling import Capabilities, Reaction, Signalling, abort, csm, ping, release

_FRAMES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "coap_malformed.json").read_text(encoding="utf-8")
)["reliable_transport_frames"]

_NOTHING = Reaction()
_DISPATCH = Reaction(dispatch=True)
# What an entry asks for: one reaction for each message in it, or the hex form of the Abort that ends the connection.
EXPECTED: dict[str, list[Reaction] | bytes] = {
    "TCP-01": b"",
    "TCP-02": b"",
    "TCP-03": b"\x21\x01",  # Bad-CSM-Option 1
    "TCP-05": [_NOTHING],
    "TCP-08": b"",
    "TCP-09": b"",
    "TCP-10": b"",
    "TCP-12": b"",
    "TCP-15": [_NOTHING] * 3,
    "TCP-16": [_DISPATCH],
    "TCP-17": [_NOTHING],
    "TCP-19": [Reaction(closing="release")],
}


def received(message: Message) -> Message:
    """As the other side sees it."""
    decoder = FrameDecoder(1 << 20, 65804)
    decoder.feed(encode_frame(message))
    result = decoder.next_message()
    assert result is not None
    return result


def established() -> Signalling:
    signalling = Signalling()
    assert signalling.receive(received(csm(Capabilities()))) == _NOTHING
    return signalling


def test_the_vectors_are_all_there() -> None:
    assert {entry["id"] for entry in _FRAMES} == EXPECTED.keys() | {"TCP-13"}
    assert len(_FRAMES) == 13


@pytest.mark.parametrize("entry", _FRAMES, ids=lambda entry: entry["id"])
def test_reliable_transport_frame(entry: dict[str, Any]) -> None:
    assert entry["state"] in {"nothing received yet", "after both CSMs"}
    signalling = Signalling() if entry["state"] == "nothing received yet" else established()
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex(entry["hex"]))
    reactions = []
    code = None
    try:
        while (message := decoder.next_message()) is not None:
            code = message.code
            reactions.append(signalling.receive(message))
    except FormatError as error:
        assert "bort" in entry["expect"]
        notice = abort(error, in_csm=code == Code.CSM)
        assert notice.code == Code.ABORT
        assert notice.payload
        assert notice.options.encode() == EXPECTED[entry["id"]]
        return
    if entry["id"] == "TCP-13":
        (reaction,) = reactions
        assert reaction.answer is not None
        assert encode_frame(reaction.answer).hex() == "01e342"
        assert entry["expect"].endswith("01e342")
    else:
        assert reactions == EXPECTED[entry["id"]]
        assert "Abort" not in entry["expect"] or entry["id"] == "TCP-17"  # where the file leaves it open
        if entry["id"] == "TCP-15":
            assert decoder.buffered == 1


def test_capabilities_are_cumulative() -> None:
    signalling = Signalling()
    assert not signalling.established
    assert signalling.peer == Capabilities(1152, blockwise=False, token_length=8)
    for capabilities, now in (
        (Capabilities(8192, blockwise=True), Capabilities(8192, blockwise=True)),
        (Capabilities(), Capabilities(8192, blockwise=True)),
        (Capabilities(token_length=32), Capabilities(8192, blockwise=True, token_length=32)),
        (Capabilities(1000), Capabilities(1000, blockwise=True, token_length=32)),
    ):
        assert signalling.receive(received(csm(capabilities))) == _NOTHING
        assert signalling.established
        assert signalling.peer == now


def test_csm_of_the_examples() -> None:
    assert encode_frame(csm(Capabilities(8192, blockwise=True))).hex() == "40e122200020"
    assert encode_frame(csm(Capabilities(8192, token_length=32))).hex() == "50e12220004120"
    assert encode_frame(csm(Capabilities())).hex() == "00e1"


@pytest.mark.parametrize(
    ("size", "blockwise", "bert"), [(1152, True, False), (1153, True, True), (8192, False, False), (0, True, False)]
)
def test_bert(size: int, blockwise: bool, bert: bool) -> None:
    """Section 5.3.2: blockwise, and messages longer than 1152 bytes."""
    assert Capabilities(size, blockwise).bert is bert


@pytest.mark.parametrize(("announced", "taken"), [(0, 8), (7, 8), (8, 8), (9, 9), (65804, 65804), (65805, 65804)])
def test_token_length_that_a_peer_announces(announced: int, taken: int) -> None:
    """RFC 8974 section 2.2.1: below 8 it is ignored, above 65804 it is that."""
    message = Message(Code.CSM)
    message.options.add(6, announced.to_bytes(3, "big"))
    assert Capabilities().after(received(message)).token_length == taken


def test_elective_faults_of_a_csm_are_ignored() -> None:
    message = Message(Code.CSM)
    for number, value in ((2, bytes(5)), (2, b"\x10\x00"), (2, b"\x20\x00"), (4, b"x"), (6, bytes(4)), (8, b"")):
        message.options.add(number, value)
    assert Capabilities().after(received(message)) == Capabilities(4096)


@pytest.mark.parametrize("code", [Code.CSM, Code.PING, Code.PONG, Code.RELEASE, Code.ABORT, 0xE6])
def test_critical_options_abort(code: int) -> None:
    message = Message(code)
    message.options.add(11, b"x")
    if code in {Code.PONG, Code.ABORT, 0xE6}:
        message.options.add(2, b"")
    signalling = established()
    with pytest.raises(OptionError) as error:
        signalling.receive(received(message))
    assert error.value.number == 11
    assert abort(error.value).options.encode() == b""  # Bad-CSM-Option is for those of a CSM


def test_ping() -> None:
    signalling = established()
    reaction = signalling.receive(received(ping(b"\x01\x02")))
    assert reaction.answer is not None
    assert encode_frame(reaction.answer).hex() == "02e30102"
    assert not reaction.wait
    assert signalling.receive(received(reaction.answer)) == _NOTHING


def test_custody() -> None:
    """Section 5.4.1: the Pong says that everything before was processed, and so has to wait for that."""
    reaction = established().receive(received(ping(b"t", custody=True)))
    assert reaction.answer is not None
    assert encode_frame(reaction.answer).hex() == "11e37420"
    assert reaction.wait


def test_release() -> None:
    message = release(10, ["a.example", "b.example"], "maintenance")
    assert established().receive(received(message)) == Reaction(
        closing="release", hold_off=10, alternatives=("a.example", "b.example"), diagnostic="maintenance"
    )
    assert encode_frame(release(10, diagnostic="bye")).hex() == "60e4410aff627965"
    bad = Message(Code.RELEASE)
    bad.options.add(2, b"\xff")
    bad.options.add(2, b"good")
    assert established().receive(received(bad)).alternatives == ("good",)
    for arguments in ((1 << 24,), (-1,), (0, [""]), (0, ["x" * 256])):
        with pytest.raises(ValueError, match="takes"):
            release(*arguments)  # type: ignore[arg-type]  # as a caller might


def test_abort() -> None:
    message = Message(Code.ABORT, b"\xffno" + bytes(5000))
    reaction = established().receive(received(message))
    assert reaction.closing == "abort"
    assert reaction.diagnostic.startswith("\\xffno")
    assert len(reaction.diagnostic) < 1100
    assert abort("too slow").payload == b"too slow"


def test_requests_and_responses_go_on_to_the_layers_above() -> None:
    signalling = established()
    for code in range(256):
        reaction = signalling.receive(Message(code))
        assert reaction.dispatch is (code != 0 and code >> 5 in {0, 2, 4, 5})
    with pytest.raises(FormatError, match="CSM"):
        Signalling().receive(Message(Code.GET))
    assert Signalling().receive(Message(Code.EMPTY)) == _NOTHING


@given(st.sampled_from([0, *range(0xE0, 0x100)]), st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=6))))
def test_any_signalling_is_a_reaction_or_a_format_error(code: int, options: list[tuple[int, bytes]]) -> None:
    message = Message(code)
    for number, value in options:
        message.options.add(number, value)
    try:
        reaction = established().receive(received(message))
    except FormatError:
        assert any(number & 1 for number, _ in options)
        return
    assert not reaction.dispatch
