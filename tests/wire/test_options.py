"""Options one by one: typed access, and which of them their receiver may not ignore (RFC 7252 section 5.4)."""

from __future__ import annotations

from typing import Any

import pytest

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.options import Options, decode_options

NAMED = {
    "if_match": (b"a", b""), "uri_host": "h", "etag": b"\x01", "if_none_match": True, "observe": 5, "uri_port": 61616,
    "location_path": ("a", "b"), "uri_path": ("a", "ü"), "content_format": 60, "max_age": 0, "uri_query": ("a=1",),
    "hop_limit": 3, "accept": 50, "location_query": ("b",), "size2": 1000, "proxy_uri": "coap://h/", "size1": 70000,
    "proxy_scheme": "coap", "echo": b"12345678", "no_response": 26, "request_tag": (b"", b"x"), "etags": (b"a", b"b"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_was_set_is_read_here_and_behind_the_wire(name: str) -> None:
    options = Options()
    absent = getattr(options, name)
    setattr(options, name, NAMED[name])
    assert getattr(options, name) == NAMED[name]
    received, _ = decode_options(options.encode())
    assert getattr(received, name) == NAMED[name]
    assert received == options
    with pytest.raises(TypeError, match="received"):
        setattr(received, name, NAMED[name])
    setattr(options, name, absent)
    assert options.pairs == ()
    assert options.present == 0


def test_raw_access_of_any_number() -> None:
    options = Options()
    for value in (b"b", b"a"):
        options.add(65001, value)
    options.add(4, b"\x01")
    assert options.pairs == ((4, b"\x01"), (65001, b"b"), (65001, b"a"))
    assert options.get_all(65001) == [b"b", b"a"]
    assert 65001 in options
    options.remove(65001)
    assert list(options) == [(4, b"\x01")]
    for number in (-1, 65536):
        with pytest.raises(ValueError):
            options.add(number, b"")


@pytest.mark.parametrize("value", ["application/cbor", b"\x3c", 1.5])
def test_a_number_is_a_number(value: Any) -> None:
    options = Options()
    with pytest.raises(TypeError, match="this option is a number, not"):
        options.max_age = value
    with pytest.raises(ValueError, match="negative"):
        options.max_age = -1
    assert options.pairs == ()


@pytest.mark.parametrize(
    ("pairs", "in_request", "in_response"),
    [
        ([(65002, b""), (12, b"\x00")], None, None),  # elective
        ([(12, bytes(3))], None, None),  # elective, and too long: as if it were absent
        ([(65001, b"")], 65001, 65001),
        ([(3, b"")], 3, 3),  # too short
        ([(7, bytes(3))], 7, 7),  # too long
        ([(3, b"a"), (3, b"b")], 3, 3),  # surplus
        ([(11, b"a"), (11, b"b")], None, 11),  # repeatable, and not defined for responses
        ([(11, b"\xff")], 11, 11),  # no UTF-8
        ([(9, b""), (9, b"")], 9, 9),
        ([(8, b"a"), (128, b"")], 128, 128),  # section 5.10.7
        ([(20, b"a"), (140, b"x")], 140, 140),
        ([(136, b"")], None, None),
        ([(8, b"a"), (129 + 1, b"")], None, None),
    ],
)
def test_faults(pairs: list[tuple[int, bytes]], in_request: int | None, in_response: int | None) -> None:
    for options in (Options(pairs), decode_options(Options(pairs).encode())[0]):
        for _ in range(2):  # what was found is kept
            assert (options.request_fault, options.response_fault) == (in_request, in_response)


def test_the_first_of_a_surplus_counts() -> None:
    assert Options([(12, b"\x32"), (12, b"")]).content_format == 50
    assert Options([(12, bytes(3)), (17, b"\x32")]).content_format is None


@pytest.mark.parametrize("kept", [{}, {"uri_path": ("a",)}])
def test_a_change_is_seen_by_everything_that_is_kept(kept: dict[str, Any]) -> None:
    options = Options()
    for name, value in kept.items():
        setattr(options, name, value)
    before = options.encode(), options.uri_path, options.request_fault
    copy = options.copy()
    copy.uri_path = ("b",)
    copy.add(65001, b"")
    assert (copy.uri_path, copy.request_fault) == (("b",), 65001)
    assert copy.encode() != before[0]
    assert (options.encode(), options.uri_path, options.request_fault) == before


def test_values_that_cannot_be() -> None:
    for name, value in (("uri_path", ("x" * 256,)), ("uri_path", ("..",)), ("uri_port", 65536), ("etag", bytes(9))):
        with pytest.raises(ValueError):
            setattr(Options(), name, value)
    with pytest.raises(FormatError):
        decode_options(b"\xe0\xff\xff\xe0\x00\x10")


def test_the_representation_shows_names_and_no_values() -> None:
    assert repr(Options([(3, b"secret"), (65001, b"secret")])) == "<Options Uri-Host, 65001>"
    assert numbers.option_name(3) == "Uri-Host"


def test_what_is_known_to_be_sound() -> None:
    """Empty options are; others when `request_fault` was asked and found none; and a change makes it open again."""
    assert Options().is_sound_request
    good, _ = decode_options(b"\xb1x")
    assert not good.is_sound_request
    assert good.request_fault is None
    assert good.is_sound_request
    changed = good.copy()
    assert changed.is_sound_request
    changed.add(65001, b"")
    assert not changed.is_sound_request
    assert changed.request_fault == 65001
    assert not changed.is_sound_request
