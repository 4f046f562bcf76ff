"""Codes against the registry (RFC 7252 section 12.1)."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap import errors
from securecoap.wire.codes import CODES, IDEMPOTENT_METHODS, SAFE_METHODS, Code, code_text, dotted, parse_code

_REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text(encoding="utf-8"))
_METHODS = _REGISTRY["methods"]
_RESPONSES = _REGISTRY["response_codes"]
_SIGNALS = _REGISTRY["signaling_codes"]
_ALL = [*_METHODS, *_RESPONSES, *_SIGNALS]


def _id(entry: dict[str, Any]) -> str:
    return f"{entry['code']}-{entry['name']}"


@pytest.mark.parametrize("entry", _ALL, ids=_id)
def test_registry_entry(entry: dict[str, Any]) -> None:
    code = Code(entry["value"])
    assert code.dotted == entry["code"]
    assert code.phrase == entry["name"]
    assert (code.class_, code.detail) == tuple(int(part) for part in entry["code"].split("."))
    assert parse_code(entry["code"]) is code
    assert parse_code(entry["name"]) is code
    assert parse_code(entry["name"].lower()) is code
    assert parse_code(code.name) is code
    assert str(code) == f"{code}" == code_text(entry["value"]) == f"{entry['code']} {entry['name']}"


def test_nothing_else_is_a_member() -> None:
    assert {int(code) for code in Code} == {0, *(entry["value"] for entry in _ALL)}


@pytest.mark.parametrize("entry", _METHODS, ids=_id)
def test_method(entry: dict[str, Any]) -> None:
    code = Code(entry["value"])
    assert (code.is_request, code.is_response, code.is_signalling) == (True, False, False)
    assert (code in SAFE_METHODS) is entry["safe"]
    assert (code in IDEMPOTENT_METHODS) is entry["idempotent"]


@pytest.mark.parametrize("entry", _RESPONSES, ids=_id)
def test_response(entry: dict[str, Any]) -> None:
    code = Code(entry["value"])
    assert (code.is_request, code.is_response, code.is_signalling) == (False, True, False)
    assert code.is_successful is entry["code"].startswith("2.")


_USES = {
    "empty": (False, False, False),
    "requests": (True, False, False),
    "reserved": (False, False, False),
    "responses (class 3 unused)": (False, True, False),
    "signalling, reliable transports only (RFC 8323)": (False, False, True),
}


@pytest.mark.parametrize("entry", _REGISTRY["code_ranges"], ids=lambda entry: entry["range"])
def test_code_range(entry: dict[str, Any]) -> None:
    first, _, last = entry["range"].partition("-")
    codes = range(parse_code(first), parse_code(last or first) + 1)
    kinds = {(code.is_request, code.is_response, code.is_signalling) for code in Code if code in codes}
    assert kinds <= {_USES[entry["use"]]}
    assert bool(kinds) == (entry["use"] != "reserved")


@pytest.mark.parametrize("entry", _SIGNALS, ids=_id)
def test_signal(entry: dict[str, Any]) -> None:
    code = Code(entry["value"])
    assert (code.is_request, code.is_response, code.is_signalling, code.is_successful) == (False, False, True, False)


def test_empty() -> None:
    assert Code.EMPTY == 0
    assert str(Code.EMPTY) == "0.00 Empty"
    assert [Code.EMPTY.is_request, Code.EMPTY.is_response, Code.EMPTY.is_signalling] == [False] * 3


def test_every_byte_has_an_entry() -> None:
    assert len(CODES) == 256
    for value, code in enumerate(CODES):
        assert code == value
        assert isinstance(code, Code) is (value in {int(member) for member in Code})


def test_an_unknown_code_stays_an_integer() -> None:
    assert code_text(0x67) == dotted(0x67) == "3.07"
    assert parse_code("3.07") == 0x67
    assert type(parse_code("3.07")) is int


def test_a_code_formats_as_an_integer_on_request() -> None:
    assert f"{Code.CONTENT:d} {Code.CONTENT:02x}" == "69 45"
    assert Code.CONTENT == 69


@pytest.mark.parametrize(
    "text", ["", "2.5", "2.005", "8.00", "2.32", "2.05 Content", "TEAPOT", "205", "\u0662.\u0660\u0665"]
)
def test_what_is_no_code(text: str) -> None:
    with pytest.raises(ValueError, match="not a CoAP code"):
        parse_code(text)


@pytest.mark.parametrize("value", [-1, 256])
def test_a_code_is_one_byte(value: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        code_text(value)


@given(st.integers(0, 255))
def test_dotted_round_trip(value: int) -> None:
    assert parse_code(dotted(value)) == value
    assert parse_code(f" {dotted(value)} ") == value


def test_error_responses_have_registered_codes() -> None:
    classes = [
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.ErrorResponse) and member is not errors.ErrorResponse
    ]
    assert {member.code for member in classes} == {entry["value"] for entry in _RESPONSES if entry["code"] >= "4"}
