"""Binds: what may stand in one, and what it becomes."""

from __future__ import annotations

import pytest

from securecoap.binds import parse_bind
from securecoap.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("coap://[::1]", ("coap", "::1", 5683)),
        ("coaps://0.0.0.0", ("coaps", "0.0.0.0", 5684)),
        ("coap://localhost:0/", ("coap", "::1", 0)),
    ],
)
def test_an_address(text: str, parts: tuple[str, str, int]) -> None:
    assert parse_bind(text)[:3] == parts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("coap+tcp://[::1]", "cannot serve coap"),
        ("coap://gateway.example", "host names go to names="),
        ("coap://127.0.0.1/store", "no path"),
        ("coap://127.0.0.1?a=1", "no path and no query"),
    ],
)
def test_what_would_not_be_served_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_bind(text)
