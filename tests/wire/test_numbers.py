"""Option numbers against the registry (RFC 7252 section 12.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.wire import numbers
from securecoap.wire.codes import parse_code
from securecoap.wire.numbers import OPTIONS, PROVISIONAL_OPTIONS, SIGNALLING_OPTIONS, OptionDefinition

_REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text(encoding="utf-8"))
_ENTRIES = _REGISTRY["options"]
_FORMATS = {"oscore option": "opaque"}


def _id(entry: dict[str, Any]) -> str:
    return f"{entry['number']}-{entry['name']}"


@pytest.mark.parametrize("entry", _ENTRIES, ids=_id)
def test_registry_entry(entry: dict[str, Any]) -> None:
    table = OPTIONS if entry["reference"].startswith("RFC") else PROVISIONAL_OPTIONS
    option = table[entry["number"]]
    assert option.number == entry["number"]
    assert option.name == numbers.option_name(entry["number"]) == entry["name"]
    assert option.format == _FORMATS.get(entry["format"], entry["format"])
    assert (option.minimum, option.maximum) == (entry["min_len"], entry["max_len"])
    assert option.repeatable is entry["repeatable"]
    assert option.in_request is (entry["used_in"] in {"request", "req/resp"})
    assert option.in_response is (entry["used_in"] in {"response", "req/resp"})
    assert option.oscore_class == entry["oscore_class"].split(" ")[0]
    assert option.reference == entry["reference"]
    assert option.default == (entry["default"] if isinstance(entry["default"], int) else None)
    assert option.critical is numbers.is_critical(option.number) is entry["critical"]
    assert option.unsafe is numbers.is_unsafe(option.number) is entry["unsafe"]
    # null stands where the flag has no meaning, because the option is unsafe
    assert option.no_cache_key is numbers.is_no_cache_key(option.number) is bool(entry["no_cache_key"])


@pytest.mark.parametrize("entry", _ENTRIES, ids=_id)
def test_constant(entry: dict[str, Any]) -> None:
    name = entry["name"].upper().replace("-", "_")
    assert getattr(numbers, name) == entry["number"]
    assert type(getattr(numbers, name)) is int


def test_nothing_else_is_registered() -> None:
    assert {*OPTIONS, *PROVISIONAL_OPTIONS} == {entry["number"] for entry in _ENTRIES}
    assert not OPTIONS.keys() & PROVISIONAL_OPTIONS.keys()


def test_a_draft_is_never_a_known_option() -> None:
    assert all(option.reference.startswith("RFC") for option in OPTIONS.values())


@pytest.mark.parametrize("entry", _REGISTRY["signaling_options"], ids=_id)
def test_signalling_option(entry: dict[str, Any]) -> None:
    minimum, _, maximum = entry["len"].partition("-")
    for code in entry["code"].split("/"):
        option = SIGNALLING_OPTIONS[parse_code(code), entry["number"]]
        assert (option.number, option.name, option.format) == (entry["number"], entry["name"], entry["format"])
        assert (option.minimum, option.maximum) == (int(minimum), int(maximum or minimum))
        assert option.repeatable is entry.get("repeatable", False)
        assert option.default == entry.get("base")
        assert option.reference == entry["reference"]


def test_no_other_signalling_option() -> None:
    expected = {
        (parse_code(code), entry["number"])
        for entry in _REGISTRY["signaling_options"]
        for code in entry["code"].split("/")
    }
    assert set(SIGNALLING_OPTIONS) == expected


def test_reserved_numbers() -> None:
    reserved = {entry["numbers"]: entry["status"] for entry in _REGISTRY["reserved"]}
    assert set(reserved) == {"0", "128,132,136,140", "2049, 2053", "65000-65535"}
    assert {128, 132, 136, 140} == numbers.RESERVED_LOCATION
    assert (min(numbers.EXPERIMENTAL), max(numbers.EXPERIMENTAL)) == (65000, 65535)
    assert not {0, 2049, 2053, *numbers.RESERVED_LOCATION, *numbers.EXPERIMENTAL} & {*OPTIONS, *PROVISIONAL_OPTIONS}


def test_what_the_columns_of_the_table_cannot_say() -> None:
    assert {o.name for o in OPTIONS.values() if o.single_in_response} == {"ETag", "Q-Block2"}
    assert {o.name for o in OPTIONS.values() if o.value_ignored} == {"EDHOC"}


def test_names_of_unregistered_options() -> None:
    assert numbers.option_name(65001) == "option 65001"
    assert numbers.option_name(13) == "Uri-Path-Abbrev"


def test_definitions_are_frozen() -> None:
    with pytest.raises(AttributeError):
        OPTIONS[numbers.ETAG].maximum = 9  # type: ignore[misc]  # the point of the test


@given(st.integers(0, numbers.MAXIMUM_NUMBER))
def test_flags_are_bits_of_the_number(number: int) -> None:
    assert numbers.is_critical(number) is bool(number & 1)
    assert numbers.is_unsafe(number) is bool(number & 2)
    if numbers.is_no_cache_key(number):
        assert not numbers.is_unsafe(number)
        assert number & 0x1C == 0x1C


def test_definition_is_hashable() -> None:
    assert (
        len({OptionDefinition(1, "a", "empty", 0, 0, False, True, False, "E", "x"), *OPTIONS.values()})
        == len(OPTIONS) + 1
    )
