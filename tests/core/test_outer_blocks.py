"""A proxy that knows no OSCORE cuts protected messages up, and both ends put them together (RFC 8613 4.1.3.4.2)."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.errors import RequestTimeout, SessionEnded, UnprotectedResponse
from securecoap.oscore.sender import Sender
from securecoap.resources import ObservableResource, Resource, Site
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import CON, use_up, wire

BODY = bytes(number % 251 for number in range(3000))
SMALL = TransportParameters(block_size=64)


class Body(ObservableResource):
    """Gives back what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Message] = []
        self.state = b"0" * 500

    def render_post(self, request: Message) -> Message:
        self.requests.append(request)
        assert request.remote.security == "oscore"
        return Message(Code.CHANGED, request.payload)

    def render_get(self, request: Message) -> Message:
        assert request.remote.security == "oscore"
        return Message(payload=self.state)


class Proxy(Resource):
    """Forwards what it gets to the server, in small blocks, and the answers in small blocks to the client."""

    def __init__(self) -> None:
        self.endpoint: Endpoint
        self.answer: Message | None = None
        self.forwarded = 0

    async def render(self, request: Message) -> Message:
        self.forwarded += 1
        if self.answer is not None:
            return self.answer
        message = Message(request.code, request.payload)
        message.scheme, message.unresolved_remote = "coap", "server"
        message.options.oscore = request.options.oscore
        response = await self.endpoint.request(message, self.endpoint.transfer(exponent=2)).response
        return Message(response.code, response.payload, oscore=response.options.oscore)


class Path:
    """Client, proxy and server."""

    def __init__(self, limits: Limits | None = None, **network: Any) -> None:
        self.body = Body()
        self.proxy = Proxy()
        site = Site()
        site.add("/x", self.body)
        loop = asyncio.get_running_loop()
        ours, theirs = vectors.context("C.1.1"), vectors.context("C.1.2")
        for context in (ours, theirs):
            context.sender = Sender(Numbers(), loop)
        client = Contexts(ours)
        client.client = ours
        self.pair = Pair(
            site,
            limits=limits,
            client_options={"contexts": client},
            server_options={"contexts": Contexts(theirs)},
            **network,
        )
        self.proxy.endpoint = Endpoint(self.pair.network, "proxy", self.proxy, parameters=SMALL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pair.client.close()
        await self.proxy.endpoint.close()
        await self.pair.server.close()

    async def post(self, payload: bytes) -> Message:
        return await self.pair.client.ask(Code.POST, "x", payload, host="proxy").response

    def outer(self, source: str, number: int) -> list[Block]:
        found = [
            getattr(sent.message.options, f"block{number}")
            for sent in self.pair.network.from_(source)
            if len(sent.data) > 4
        ]
        return [block for block in found if block is not None]

    def check_nothing_is_left(self) -> None:
        for end in (self.pair.client, self.pair.server):
            assert not end.outer._requests
            assert not end.outer._fetches
            assert len(end.outer._bodies) == 0


@pytest.mark.parametrize("size", [0, 30, 500, 1024, 3000])
@virtual
async def test_both_ways_through_a_proxy_of_small_blocks(size: int) -> None:
    """R129: outer blocks are handled before decryption, inner ones after it."""
    async with Path() as path:
        response = await path.post(BODY[:size])
        assert (response.code, response.payload) == (Code.CHANGED, BODY[:size])
        assert [request.payload for request in path.body.requests] == [BODY[:size]]
        assert all(
            sent.message.payload == b"" or len(sent.message.payload) <= 64 for sent in path.pair.network.from_("proxy")
        )
        if size > 64:
            assert path.outer("proxy", 1)
            assert path.outer("client", 2)
            assert {block.size_exponent for block in path.outer("client", 2)} == {2}
        assert path.outer("client", 1) == []  # ours are inner (R130)
        path.check_nothing_is_left()


@pytest.mark.parametrize("seed", range(4))
@virtual
async def test_over_a_bad_network(seed: int) -> None:
    async with Path(seed=seed, loss=0.05, duplication=0.2, delay=(0.01, 0.4)) as path:
        for _ in range(2):
            assert (await path.post(BODY)).payload == BODY
        assert len(path.body.requests) == 2
        path.check_nothing_is_left()


@virtual
async def test_requests_are_put_together_within_their_bound() -> None:
    """R129: beyond MAX_UNFRAGMENTED_SIZE the message is discarded; the proxy is told."""
    async with Path(Limits(unfragmented_bytes=300)) as path:
        with pytest.raises(UnprotectedResponse) as caught:
            await path.post(BODY[:500])
        assert caught.value.code == Code.REQUEST_ENTITY_TOO_LARGE
        assert path.body.requests == []
        path.check_nothing_is_left()


@virtual
async def test_responses_are_put_together_within_their_bound() -> None:
    async with Path() as path:
        path.pair.client.outer._limits = Limits(unfragmented_bytes=300)
        with pytest.raises(RequestTimeout):
            await path.post(BODY[:500])
        await asyncio.sleep(300)
        path.check_nothing_is_left()


def outer_block(number: int) -> bytes:
    """A block of a protected request, as a datagram."""
    options = Message(oscore=b"\x09\x14\x07", block1=Block(number, True, 2)).options.encode()
    return wire(CON, Code.POST, 1, b"", options, bytes(64))


@virtual
async def test_a_gap_in_a_request_is_4_08() -> None:
    async with Path() as path:
        path.pair.network.inject("proxy", "server", outer_block(1))
        assert path.pair.network.from_("server")[-1].code == Code.REQUEST_ENTITY_INCOMPLETE


ODD = [
    Message(Code.CHANGED, bytes(63), oscore=b"", block2=Block(0, True, 2)),
    Message(Code.CHANGED, bytes(64), oscore=b"", block2=Block(0, True, 2)),  # and the same again
]


@pytest.mark.parametrize("answer", ODD)
@virtual
async def test_odd_blocks_of_a_response(answer: Message) -> None:
    async with Path() as path:
        path.proxy.answer = answer
        with pytest.raises((RequestTimeout, UnprotectedResponse)):
            await path.post(b"")
        assert path.proxy.forwarded <= 2
        path.check_nothing_is_left()


@virtual
async def test_an_error_of_the_proxy_in_the_middle() -> None:
    """It comes without protection, and proves nothing but that there is no answer."""
    async with Path() as path:

        def forget(sent: Any) -> bool:
            if sent.source == "client" and sent.message.options.block2 is not None:
                path.proxy.endpoint.server.assemblies.close()
            return False

        path.pair.network.drop = forget
        with pytest.raises(UnprotectedResponse) as caught:
            await path.post(BODY[:500])
        assert caught.value.code == Code.REQUEST_ENTITY_INCOMPLETE
        path.check_nothing_is_left()


@virtual
async def test_a_request_that_is_cancelled_in_the_middle() -> None:
    async with Path() as path:
        request = path.pair.client.ask(Code.POST, "x", BODY[:1000], host="proxy")
        for _ in range(200):
            if path.outer("client", 2):
                break
            await asyncio.sleep(0.01)
        request.cancel()
        sent = len(path.pair.requests)
        await asyncio.sleep(300)
        assert len(path.pair.requests) == sent
        path.check_nothing_is_left()


@virtual
async def test_a_proxy_that_falls_silent_in_the_middle() -> None:
    async with Path() as path:
        path.pair.network.drop = lambda sent: sent.source == "client" and sent.message.options.block2 is not None
        with pytest.raises(RequestTimeout):
            await path.post(BODY[:500])
        path.check_nothing_is_left()


@virtual
async def test_what_is_remembered_is_bounded() -> None:
    async with Path(Limits(outer_requests=3)) as path:
        path.pair.network.drop = lambda sent: sent.source == "client"
        requests = [path.pair.client.ask(Code.POST, "x", b"", host="proxy", confirmable=False) for _ in range(5)]
        await asyncio.sleep(1)
        assert len(path.pair.client.outer._requests) == 3
        for request in requests:
            request.cancel()
        await asyncio.sleep(1)
        path.check_nothing_is_left()


@virtual
async def test_it_goes_with_the_session() -> None:
    async with Path() as path:
        outer = path.pair.server.outer
        path.pair.network.inject("proxy", "server", outer_block(0))
        assert len(outer._bodies) == 1
        path.pair.server.manager.dispatch_error(SessionEnded("over"), path.pair.server.interface.address("proxy"))
        assert len(outer._bodies) == 0


@virtual
async def test_an_unprotected_block_does_not_get_into_a_protected_body() -> None:
    """R092: nor the other way round; the address says which security a block had."""
    async with Path() as path:
        sent: list[int] = []

        def interfere(datagram: Any) -> bool:
            if datagram.source == "client" and len(datagram.data) > 500 and not sent:
                sent.append(1)
                options = Message(uri_path=("x",), block1=Block(1, False, 6)).options.encode()
                path.pair.network.inject("client", "server", wire(CON, Code.POST, 9, b"t", options, b"forged"))
            return False

        path.pair.network.drop = interfere
        response = await path.pair.client.ask(Code.POST, "x", BODY).response
        assert sent
        assert response.payload == BODY
        assert [request.payload for request in path.body.requests] == [BODY]
        assert Code.REQUEST_ENTITY_INCOMPLETE in {one.code for one in path.pair.answers}


@virtual
async def test_when_a_body_was_last_used() -> None:
    """For whoever waits until nobody fetches any more (`securecoap.core.draining`)."""
    async with Path(delay=(0.1, 0.1)) as path:
        outer = path.pair.server.outer
        assert outer.used_at == float("-inf")
        under_way = asyncio.ensure_future(path.post(BODY[:1000]))
        while not path.body.requests:  # noqa: ASYNC110  # virtual time, and nobody tells
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert path.pair.loop.time() - 0.3 <= outer.used_at <= path.pair.loop.time()
        assert (await under_way).payload == BODY[:1000]
        assert outer.used_at == float("-inf")


@virtual
async def test_both_kinds_of_blocks_wait_for_message_ids() -> None:
    """RFC 7252 section 4.4: whoever waits for the whole hears of it, however far down the message is that waits."""
    async with Path() as path:
        use_up(path.pair.client, "proxy", left=5)
        began = path.pair.loop.time()
        response = await path.post(BODY)
        assert response.payload == BODY
        assert path.pair.loop.time() - began > TransportParameters().exchange_lifetime
        path.check_nothing_is_left()
