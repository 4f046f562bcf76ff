"""Preconditions, validation and negotiation (RFC 7252 sections 5.6.2, 5.10.3, 5.10.4, 5.10.6, 5.10.8)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import NotAcceptable, PreconditionFailed, UnsupportedContentFormat
from securecoap.resources import check_preconditions, etag_for, require_accept, require_content_format, validated
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import CBOR, JSON, TEXT
from securecoap.wire.message import Message
from tests.resources.fakes import request

ONE, TWO = b"\x01", b"\x02"


@given(st.binary(), st.binary(), st.sampled_from([None, TEXT, JSON]))
def test_an_etag_tells_content_and_format(payload: bytes, other: bytes, content_format: int | None) -> None:
    etag = etag_for(payload, content_format)
    assert len(etag) == 8
    assert (etag == etag_for(other, content_format)) == (payload == other)
    assert etag != etag_for(payload, CBOR)
    Message(etag=etag)  # as long as the option may be


@pytest.mark.parametrize(
    ("options", "etag", "exists", "holds"),
    [
        ({}, None, None, True),
        ({}, ONE, None, True),
        ({"if_match": (ONE,)}, ONE, None, True),
        ({"if_match": (TWO, ONE)}, ONE, None, True),
        ({"if_match": (TWO,)}, ONE, None, False),
        ({"if_match": (ONE,)}, None, None, False),
        ({"if_match": (b"",)}, ONE, None, True),
        ({"if_match": (b"",)}, None, None, False),
        ({"if_match": (b"",)}, None, True, True),  # it exists, and has no entity-tag
        ({"if_match": (ONE,)}, None, True, False),
        ({"if_match": (ONE,)}, ONE, False, False),
        ({"if_none_match": True}, None, None, True),
        ({"if_none_match": True}, ONE, None, False),
        ({"if_none_match": True}, None, True, False),
        ({"if_match": (ONE,), "if_none_match": True}, ONE, None, False),
    ],
)
def test_preconditions(options: dict[str, Any], etag: bytes | None, exists: bool | None, holds: bool) -> None:
    message = request(Code.PUT, **options)
    if holds:
        check_preconditions(message, etag, exists=exists)
    else:
        with pytest.raises(PreconditionFailed):
            check_preconditions(message, etag, exists=exists)


@pytest.mark.parametrize("code", [None, Code.CONTENT])
def test_what_the_client_has_is_valid(code: int | None) -> None:
    response = Message(code, b"body", etag=ONE, max_age=5, content_format=TEXT)
    answer = validated(request(etags=(TWO, ONE)), response)
    assert answer.code == Code.VALID
    assert answer.payload == b""
    assert list(answer.options) == [(numbers.ETAG, ONE), (numbers.MAX_AGE, b"\x05")]
    assert response.payload == b"body"
    assert response.code == code


@pytest.mark.parametrize(
    ("etags", "response"),
    [
        ((), Message(payload=b"x", etag=ONE)),
        ((TWO,), Message(payload=b"x", etag=ONE)),
        ((ONE,), Message(payload=b"x")),
        ((ONE,), Message(Code.NOT_FOUND, etag=ONE)),
        ((ONE,), Message(Code.CHANGED, etag=ONE)),
    ],
)
def test_any_other_response_stays(etags: tuple[bytes, ...], response: Message) -> None:
    assert validated(request(etags=etags), response) is response


def test_accept() -> None:
    assert require_accept(request(), JSON, CBOR) == JSON
    assert require_accept(request(accept=CBOR), JSON, CBOR) == CBOR
    with pytest.raises(NotAcceptable):
        require_accept(request(accept=TEXT), JSON, CBOR)


def test_content_format() -> None:
    assert require_content_format(request(content_format=TEXT), TEXT, JSON) == TEXT
    assert require_content_format(request(), JSON, None) is None
    for message in (request(), request(content_format=CBOR)):
        with pytest.raises(UnsupportedContentFormat):
            require_content_format(message, TEXT, JSON)
