"""Concise problem details (RFC 9290)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import FormatError
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import PROBLEM_DETAILS
from securecoap.wire.message import Message
from securecoap.wire.problem_details import PROBLEM_DETAIL_KEYS, ProblemDetails, problem_details

REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text())


def test_keys_are_the_registered_ones() -> None:
    registered = {int(key): name.split(" ")[0] for key, name in REGISTRY["problem_detail_keys"].items()}
    assert registered == PROBLEM_DETAIL_KEYS


# RFC 9290 figures 3 and 4: one extension by URI, one by number.
ERROR = {0: "machine-readable error cause", 1: [["first parameter name", "must be a positive integer"], ["second"]]}
FIGURE: dict[Any, Any] = {
    -1: "title of the error",
    -2: "detailed information about the error",
    -3: "coaps://pd.example/FA317434",
    -4: 128,
}


@pytest.mark.parametrize("key", ["tag:3gpp.org,2022-03:TS29112", 4711])
def test_the_examples(key: Any) -> None:
    found = ProblemDetails.decode(cbor2.dumps({**FIGURE, key: ERROR}))
    title, detail, instance, code = FIGURE.values()
    assert found == ProblemDetails(title, detail, instance, code, extensions={key: ERROR})
    assert cbor2.loads(found.encode()) == {**FIGURE, key: ERROR}
    assert str(found) == "title of the error: detailed information about the error (coaps://pd.example/FA317434)"


def test_every_standard_entry() -> None:
    """R190: a map that is not empty; the texts are English from left to right where nothing else is said."""
    whole = ProblemDetails("t", "d", "/i", 0x82, "coap://b", "he", True, (9, 65001))
    assert cbor2.loads(whole.encode()) == {
        -1: "t", -2: "d", -3: "/i", -4: 130, -5: "coap://b", -6: "he", -7: True, -8: [9, 65001],
    }  # fmt: skip
    assert ProblemDetails.decode(whole.encode()) == whole
    plain = ProblemDetails.decode(b"\xa1\x20\x61t")
    assert (plain.title, plain.language, plain.right_to_left) == ("t", None, False)


@pytest.mark.parametrize(("options", "value"), [((9,), 9), ((9, 65001), [9, 65001])])
def test_unprocessed_options(options: tuple[int, ...], value: Any) -> None:
    """R192: one number or a list of them; numbers that the client did not send are no fault."""
    details = ProblemDetails(unprocessed_options=options)
    assert cbor2.loads(details.encode()) == {-8: value}
    assert ProblemDetails.decode(details.encode()).unprocessed_options == options
    assert "not understood" in str(details)


def test_what_is_unknown_or_malformed_is_ignored() -> None:
    """R191."""
    odd = {
        -1: 7,
        -2: ["no"],
        -3: b"x",
        -4: 300,
        -5: 1,
        -6: None,
        -7: 1,
        -8: ["x", -1, True, 5],
        -99: "new",
        5: "no map",
        6: {},
    }
    assert ProblemDetails.decode(cbor2.dumps(odd)) == ProblemDetails(unprocessed_options=(5,))


def test_texts_with_a_language() -> None:
    """RFC 9290 appendix A: tag 38."""
    title = cbor2.CBORTag(38, ["fr", "Bonjour"])
    found = ProblemDetails.decode(cbor2.dumps({-1: title, -2: cbor2.CBORTag(38, ["he", "x", True])}))
    assert (found.title, found.detail, found.language) == ("Bonjour", "x", "fr")
    for broken in (["fr"], ["fr", "x", True, 1], "x", [1, 2]):
        assert ProblemDetails.decode(cbor2.dumps({-1: cbor2.CBORTag(38, broken)})).title is None


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\x80", b"\x61x", b"\xa1\x20", b"\xff"])
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(FormatError):
        ProblemDetails.decode(data)
    message = Message(Code.BAD_REQUEST, data, content_format=PROBLEM_DETAILS)
    assert problem_details(message) is None


@given(st.binary())
def test_any_bytes_are_problem_details_or_a_format_error(data: bytes) -> None:
    for one in (data, b"\xa1\x20" + data):
        with suppress(FormatError):
            str(ProblemDetails.decode(one))


def test_of_a_message() -> None:
    """R193: a program takes the fields; of the text it only knows that it is one."""
    details = ProblemDetails(title="no", response_code=Code.BAD_REQUEST)
    assert problem_details(Message(Code.BAD_REQUEST, details.encode(), content_format=PROBLEM_DETAILS)) == details
    assert problem_details(Message(Code.BAD_REQUEST, details.encode())) is None
    assert problem_details(Message(Code.BAD_REQUEST, b"no")) is None


def test_what_cannot_be_said() -> None:
    for empty in (ProblemDetails(), ProblemDetails(extensions={-9: {1: 1}}), ProblemDetails(extensions={"x:y": {}})):
        with pytest.raises(ValueError, match=r"one thing|extension"):
            empty.encode()
