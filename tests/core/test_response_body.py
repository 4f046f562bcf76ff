"""Entity tags of bodies; their blocks are in `test_blockwise`."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from securecoap.core import response_body
from securecoap.core.response_body import body_etag

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The lengths of what was digested, beginning with nothing remembered."""
    lengths: list[int] = []

    def counted(payload: bytes) -> object:
        lengths.append(len(payload))
        return sha256(payload)

    response_body._remembered_etag.cache_clear()
    monkeypatch.setattr(response_body, "sha256", counted)
    yield lengths
    response_body._remembered_etag.cache_clear()


def test_a_body_that_comes_again_is_not_digested_again(digested: list[int]) -> None:
    first = body_etag(bytes(5000))
    assert len(first) == 8
    assert body_etag(bytes(5000)) == first
    assert body_etag(bytes(4999) + b"x") != first
    assert digested == [5000, 5000]


def test_few_bodies_are_remembered(digested: list[int]) -> None:
    for number in range(5):
        body_etag(bytes([number]) * 100)
    body_etag(bytes(100))
    assert len(digested) == 6


@pytest.mark.parametrize("payload", [bytes((1 << 20) + 1), bytearray(100)], ids=["large", "bytearray"])
def test_what_is_not_remembered_has_the_same_tag_all_the_same(payload: bytes, digested: list[int]) -> None:
    assert body_etag(payload) == body_etag(payload) == sha256(payload).digest()[:8]
    assert len(digested) == 2
