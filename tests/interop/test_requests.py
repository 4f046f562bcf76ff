"""What our client may ask of servers that know it and of servers that do not: long tokens, No-Response, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.processes import free_ports

from securecoap import ALL_COAP_NODES_IPV4, Code, Context, Message, NoResponse
from tests.interop.harness import program
from tests.loopback import real
from tests.transports.test_udp import usable_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.processes import Program

    Server = Callable[..., tuple[Program, int]]

PEERS = ["libcoap", "aiocoap", "node-coap"]


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    """The URI of the server of another project."""
    if request.param == "libcoap":
        start: Server = request.getfixturevalue("libcoap_server")
        _, port = start("notls")
    else:
        start = request.getfixturevalue("aiocoap_server" if request.param == "aiocoap" else "node_server")
        _, port = start()
    return f"coap://127.0.0.1:{port}" + ("/time" if request.param == "libcoap" else "/hello")


# (aiocoap 0.4.17 says nothing at all to a long token, so that the request ends with its time limit.)
@pytest.mark.parametrize("uri", ["libcoap", "node-coap"], indirect=True)
@real
async def test_long_tokens(uri: str) -> None:
    """Whatever a server makes of a token of 30 bytes (RFC 8974), the request is answered; with usual ones after that."""
    async with Context.client() as coap:
        for _ in range(2):
            message = Message(Code.GET, uri=uri)
            message.token = bytes(range(30))
            response = await coap.request(message).response
            assert response.code == Code.CONTENT
        assert (await coap.get(uri)).code == Code.CONTENT


@pytest.mark.parametrize("uri", PEERS, indirect=True)
@real
async def test_no_response(uri: str) -> None:
    """RFC 7967: a server that knows the option is silent, and one that does not is no trouble."""
    async with Context.client() as coap:
        for confirmable in (True, False):
            answer = await coap.get(uri, no_response=26, confirmable=confirmable, timeout=20)
            assert answer is NoResponse or answer.code == Code.CONTENT
        assert (await coap.get(uri)).code == Code.CONTENT


@real
async def test_a_group_of_libcoap(start: Callable[..., Program]) -> None:
    usable_group(4)
    port = free_ports(2)
    server = start(program("coap-server-notls"), "-p", str(port), "-g", ALL_COAP_NODES_IPV4)
    server.wait_until_bound(port)
    async with Context.client() as coap:
        members = coap.ask_group(f"coap://{ALL_COAP_NODES_IPV4}:{port}/.well-known/core", timeout=30)
        async for response in members:
            assert response.code == Code.CONTENT
            assert b"</time>" in response.payload
            assert not response.remote.is_multicast
            break
        else:
            pytest.fail("nobody answered")
        await members.aclose()
