"""Content formats against the registry (RFC 7252 section 12.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.wire import content_formats
from securecoap.wire.content_formats import (
    ALIASES,
    CONTENT_FORMATS,
    RANGES,
    content_format_text,
    parse_content_format,
    registration_range,
    structure,
)

_REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text(encoding="utf-8"))
_ENTRIES = _REGISTRY["content_formats"]


def _id(entry: dict[str, Any]) -> str:
    return str(entry["number"])


@pytest.mark.parametrize("entry", _ENTRIES, ids=_id)
def test_registry_entry(entry: dict[str, Any]) -> None:
    number = entry["number"]
    known = CONTENT_FORMATS[number]
    assert known.number == number
    assert known.media_type == entry["media_type"]
    assert known.coding == entry["content_coding"]
    assert known.reference == entry["reference"]
    assert parse_content_format(str(number)) == number
    assert parse_content_format(content_format_text(number)) == number
    assert parse_content_format(content_format_text(number).upper()) == number
    if known.coding is None:
        assert parse_content_format(entry["media_type"].replace('"', "").replace("; ", ";")) == number
    else:
        assert known.coding in content_format_text(number)


def test_nothing_else_is_registered() -> None:
    assert set(CONTENT_FORMATS) == {entry["number"] for entry in _ENTRIES}


@pytest.mark.parametrize("entry", _REGISTRY["content_format_ranges"], ids=lambda entry: entry["range"])
def test_range(entry: dict[str, Any]) -> None:
    first, last = (int(part) for part in entry["range"].split("-"))
    assert registration_range(first).policy == entry["policy"]
    # the registry's third range ends where the documentation range, which has a line of its own, begins
    assert registration_range(min(last, 64997) if first == 10000 else last).policy == entry["policy"]


def test_ranges_cover_every_number_once() -> None:
    expected = 0
    for entry in RANGES:
        assert entry.first == expected
        expected = entry.last + 1
    assert expected == 65536


@pytest.mark.parametrize("number", [-1, 65536])
def test_no_range(number: int) -> None:
    with pytest.raises(ValueError, match="65535"):
        registration_range(number)


@pytest.mark.parametrize(
    ("alias", "number"),
    [
        ("text", 0), ("text/plain", 0), ("text/plain; charset=utf-8", 0), ("link-format", 40), ("octet-stream", 42),
        ("json", 50), ("JSON", 50), (" json ", 50), ("cbor", 60), ("senml+json", 110), ("senml+cbor", 112), ("xml", 41),
        ("cose-sign1", 18), ("application/json (deflate)", 11050), ("application/json(deflate)", 11050), ("css", 20000),
        ("problem-details", 257), ("vnd.oma.lwm2m+json", 11543), ("lwm2m+json", 11543), ("cwt", 61), ("00050", 50),
    ],
)  # fmt: skip
def test_alias(alias: str, number: int) -> None:
    assert parse_content_format(alias) == number


def test_aliases_lead_to_registered_formats() -> None:
    assert set(ALIASES.values()) <= set(CONTENT_FORMATS)
    assert all(alias == alias.lower() for alias in ALIASES)


def test_unregistered_numbers_pass() -> None:
    assert parse_content_format("65000") == 65000
    assert content_format_text(65000) == "65000"


@pytest.mark.parametrize(
    "text", ["", "65536", "-1", "9" * 5000, "application/cose", "nonsense", "\u0665\u0660", "50 60", "jason"]
)
def test_what_is_no_format(text: str) -> None:
    with pytest.raises(ValueError, match="content format"):
        parse_content_format(text)


def test_a_typing_error_gets_a_hint() -> None:
    with pytest.raises(ValueError, match=r"did you mean .*json"):
        parse_content_format("jsn")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, "text"), (40, "link-format"), (41, "xml"), (42, "opaque"), (50, "json"), (51, "json"), (60, "cbor"), (61, "cbor"),
        (63, "cbor-seq"), (64, "cbor-seq"), (110, "json"), (112, "cbor"), (310, "xml"), (98, "cbor"), (340, "cbor"), (341, "cbor"),
        (257, "cbor"), (263, "cbor"), (264, "opaque"), (11050, "opaque"), (11060, "opaque"), (20000, "text"), (30000, "xml"),
        (23, "opaque"), (10002, "text"), (65000, "opaque"),
    ],
)  # fmt: skip
def test_structure(number: int, kind: str) -> None:
    assert structure(number) == kind


def test_constants() -> None:
    names = {"TEXT": 0, "LINK_FORMAT": 40, "OCTET_STREAM": 42, "JSON": 50, "CBOR": 60, "PROBLEM_DETAILS": 257}
    assert {name: getattr(content_formats, name) for name in names} == names


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    try:
        number = parse_content_format(text)
    except ValueError:
        return
    assert 0 <= number <= 65535
