"""Requests to a group and the responses of its members (RFC 7252 section 8)."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any, Self

import pytest

from securecoap.config import Limits
from securecoap.errors import ConfigurationError, Unreachable
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.groups import ALL_COAP_NODES_IPV4, ALL_COAP_NODES_LINK_LOCAL, ALL_COAP_NODES_SITE_LOCAL
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair
from tests.simulation.network import Network

from .helpers import CONTENT, NON, kinds, site_of, wire

REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text())


def test_the_groups_of_all_nodes() -> None:
    """RFC 7252 section 12.8."""
    assert REGISTRY["multicast"] == {
        "ipv4": ALL_COAP_NODES_IPV4,
        "ipv6_link_local": ALL_COAP_NODES_LINK_LOCAL,
        "ipv6_site_local": ALL_COAP_NODES_SITE_LOCAL,
    }


class Named(Resource):
    def __init__(self, body: bytes, code: Code = Code.CONTENT) -> None:
        self.body = body
        self.code = code

    def render_get(self, request: Message) -> Message:
        return NoResponse if self.body == b"silent" else Message(self.code, self.body)

    render_post = render_fetch = render_get


class Group:
    """A client and as many members as there are bodies."""

    def __init__(self, *bodies: bytes, limits: Limits | None = None, **network: Any) -> None:
        self.network = Network(asyncio.get_running_loop(), **network)
        self.client = Endpoint(self.network, "client", limits=limits)
        self.members = [
            Endpoint(self.network, f"m{number}", site_of(x=Named(body)), seed=number)
            for number, body in enumerate(bodies)
        ]
        self.network.join("all", *[member.interface for member in self.members])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for endpoint in (self.client, *self.members):
            await endpoint.close()

    def ask(self, code: Code = Code.GET, payload: bytes = b"", *, host: str = "all", **options: Any) -> Any:
        seconds = options.pop("seconds", None)
        message = Message(code, payload, uri_path=("x",), **options)
        message.scheme, message.unresolved_remote = "coap", host
        return self.client.group(message, seconds)


@virtual
async def test_every_member_answers_once() -> None:
    """R058, R059, R060: one Non-confirmable request; whoever has something to say says it within its Leisure."""
    async with Group(b"a", b"silent", b"b", b"c", duplication=0.5) as group:
        started = group.client.loop.time()
        found = {}
        async for response in group.ask():
            found[response.remote.hostinfo] = (response.code, response.payload)
            assert group.client.loop.time() - started <= 5.1
        assert found == {name: (Code.CONTENT, body) for name, body in (("m0", b"a"), ("m2", b"b"), ("m3", b"c"))}
        assert group.client.loop.time() - started == pytest.approx(15)
        assert kinds(group.network.from_("client")) == [(NON, 1)]
        assert group.client.tokens._outgoing == {}


@virtual
async def test_a_member_that_answers_again() -> None:
    """One response of each; a member has nothing to add."""
    async with Group(b"silent") as group:
        request = group.ask()
        task = asyncio.ensure_future(anext(request))
        await settle()
        token = group.network.from_("client")[0].message.token
        for mid, body in enumerate((b"first", b"second")):
            group.network.inject("m0", "client", wire(NON, CONTENT, mid, token, b"", body))
        assert (await task).payload == b"first"
        with pytest.raises(StopAsyncIteration):
            await anext(request)


@virtual
async def test_a_time_limit() -> None:
    async with Group(b"a", b"b") as group:
        started = group.client.loop.time()
        assert [response async for response in group.ask(seconds=0.001)] == []
        assert group.client.loop.time() - started == pytest.approx(0.001)
        await asyncio.sleep(10)
        assert len(group.network.from_("client")) == 1  # what came later was nobody's, without a word


@virtual
async def test_leaving_early() -> None:
    async with Group(*(b"%d" % number for number in range(10))) as group:
        request = group.ask()
        async for _ in request:
            request.cancel()
            break
        assert request.is_done
        assert group.client.tokens._outgoing == {}
        with pytest.raises(StopAsyncIteration):
            await anext(request)
        task = asyncio.ensure_future(anext(group.ask()))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert group.client.tokens._outgoing == {}


@virtual
async def test_a_large_response_is_fetched_from_its_member() -> None:
    """RFC 7959 section 2.8."""
    large = bytes(3000)
    async with Group(large, b"small", large) as group:
        found = {response.remote.hostinfo: response.payload async for response in group.ask(seconds=200)}
        assert found == {"m0": large, "m1": b"small", "m2": large}
        assert len(group.network.between("client", "m0")) == len(group.network.between("client", "m2")) == 2


@virtual
async def test_a_member_that_goes_away_amid_its_response() -> None:
    async with Group(bytes(3000), b"small") as group:
        group.network.drop = lambda sent: sent.destination == "m0"
        assert [response.payload async for response in group.ask(seconds=200)] == [b"small"]


@virtual
async def test_what_is_kept_is_bounded() -> None:
    async with Group(*(b"%d" % number for number in range(20)), limits=Limits(group_responses=5)) as group:
        assert len([response async for response in group.ask()]) == 5
        request = group.ask()
        task = asyncio.ensure_future(anext(request))
        await settle()
        token = group.network.from_("client")[-1].message.token
        for number in range(1000):  # whoever hears the token may answer under any address
            group.network.inject(f"forged{number}", "client", wire(NON, CONTENT, number, token))
        await task
        assert len(request._heard) == 5
        assert len(request._waiting) == 4
        request.cancel()


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("m0", {}),
        ("all", {"etags": (b"e",)}),
        ("all", {"observe": 0}),
        ("all", {"code": Code.POST, "payload": bytes(1025)}),
    ],
)
@virtual
async def test_what_a_group_does_not_take(host: str, options: dict[str, Any]) -> None:
    """R061 for one."""
    async with Group(b"a") as group:
        with pytest.raises(ConfigurationError):
            await anext(group.ask(host=host, **options))
        assert group.network.sent == []


@virtual
async def test_a_request_that_cannot_be_sent() -> None:
    async with Group(b"a") as group:
        with pytest.raises(Unreachable):
            await anext(group.ask(host="nowhere"))
        task = asyncio.ensure_future(anext(group.ask()))
        await settle()
        group.client.manager.dispatch_error(errno.ENETUNREACH, group.client.interface.address("all"))
        with pytest.raises(Unreachable):
            await task


@virtual
async def test_a_single_response_is_enough_for_a_usual_request() -> None:
    async with Pair(site_of(x=Named(b"a"))) as pair:
        pair.network.join("all", pair.server.interface)
        assert (await pair.client.get("x", host="all")).payload == b"a"
