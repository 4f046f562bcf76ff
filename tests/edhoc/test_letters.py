"""Where an initiator's messages go: to the peer of the request, or through the same proxy to the same authority."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.edhoc.letters import Letters, authority_behind
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual


@pytest.mark.parametrize(
    ("options", "expected", "behind"),
    [
        (
            {"uri_path": ("x", "y"), "uri_query": ("q",), "if_match": (b"e",)},
            {"uri_path": (".well-known", "edhoc")},
            "",
        ),
        (
            {"uri_host": "h", "uri_port": 99},
            {"uri_host": "h", "uri_port": 99, "uri_path": (".well-known", "edhoc")},
            "",
        ),
        (
            {"proxy_scheme": "coap", "uri_host": "h", "uri_port": 99, "uri_path": ("x",)},
            {"proxy_scheme": "coap", "uri_host": "h", "uri_port": 99, "uri_path": (".well-known", "edhoc")},
            "coap://h:99",
        ),
        ({"proxy_uri": "coap://h:99/x?y"}, {"proxy_uri": "coap://h:99/.well-known/edhoc"}, "coap://h:99/"),
        (
            {"proxy_uri": "coap://[2001:db8::1]"},
            {"proxy_uri": "coap://[2001:db8::1]/.well-known/edhoc"},
            "coap://[2001:db8::1]/",
        ),
    ],
)
def test_where_they_go(options: dict[str, Any], expected: dict[str, Any], behind: str) -> None:
    @virtual
    async def test() -> None:
        sent: list[Message] = []

        class Requests:
            def request(self, pipe: Any) -> None:
                sent.append(pipe.request)

        message = Message(Code.PUT, b"body", **options)
        message.remote = remote = object()
        assert authority_behind(message) == behind
        letters = Letters(message, Requests(), asyncio.get_running_loop())  # type: ignore[arg-type]  # a stand-in
        letters.tell(b"\x05\x01\x60")
        (post,) = sent
        assert (post.code, post.payload, post.remote) == (Code.POST, b"\x05\x01\x60", remote)
        wanted = Message(Code.POST, content_format=65, **expected).options
        wanted.no_response = 26
        assert post.options.pairs == wanted.pairs

    test()
