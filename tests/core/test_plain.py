"""The short way of a request, and who goes on where it ends."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from securecoap.calls import Calls
from securecoap.config import TransportParameters
from securecoap.core.client import ClientRequest
from securecoap.core.plain import PlainRequest
from securecoap.core.transmission import Outgoing
from securecoap.errors import RequestTimeout, ResetReceived, SessionEnded, Unreachable
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import ACK, Plain, Slow, kinds, site_of, wire


class SimulatedCalls(Calls):
    """``get`` and its like on a simulated network."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._common = endpoint.common
        self.taken_over: list[PlainRequest] = []
        self.requested: list[Message] = []

    def request(self, message: Message, **transfer: Any) -> ClientRequest:
        self.requested.append(message)
        return self._endpoint.request(message, self._endpoint.transfer(**transfer))

    def _take_over(self, plain: PlainRequest) -> ClientRequest:
        self.taken_over.append(plain)
        return ClientRequest(plain.request, self._endpoint.common, begun=plain)


class Large(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=bytes(3000))


class WantsEcho(Resource):
    async def render_post(self, request: Message) -> Message:
        if request.options.echo is None:
            return Message(Code.UNAUTHORIZED, echo=b"1")
        return Message(payload=request.payload)


def is_idle(pair: Pair) -> bool:
    client = pair.client
    return not client.tokens._outgoing and not len(client.common.patience)


@virtual
async def test_one_message_and_its_answer() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        calls = SimulatedCalls(pair.client)
        tasks = len(asyncio.all_tasks())
        response = await calls.get("coap://server/x?a=1")
        assert (response.code, response.payload) == (Code.CONTENT, b"hello")
        assert resource.seen[0].options.uri_query == ("a=1",)
        response = await calls.put("coap://server/x", b"body", content_format=40)
        assert response.payload == b"body"
        assert resource.seen[1].options.content_format == 40
        assert (await calls.post("coap://server/x", b"other", timeout=1)).payload == b"other"
        assert not calls.requested
        assert not calls.taken_over
        assert is_idle(pair)
        assert len(asyncio.all_tasks()) == tasks


@pytest.mark.parametrize(
    "options",
    [{"confirmable": False}, {"no_response": 26}, {"observe": 1}, {"payload": bytes(1025)}],
)
@virtual
async def test_what_is_not_plain_goes_the_long_way(options: dict[str, Any]) -> None:
    async with Pair(site_of(x=Plain())) as pair:
        calls = SimulatedCalls(pair.client)
        await calls.post("coap://server/x", **options)
        assert len(calls.requested) == 1


@virtual
async def test_smaller_blocks_and_a_cache_go_the_long_way() -> None:
    for options in ({"parameters": TransportParameters(block_size=64)}, {"cache": True}):
        async with Pair(site_of(x=Plain()), client_options=options) as pair:
            calls = SimulatedCalls(pair.client)
            assert (await calls.get("coap://server/x")).payload == b"hello"
            assert len(calls.requested) == 1


@virtual
async def test_an_address_that_has_to_be_found_goes_the_long_way() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        calls = SimulatedCalls(pair.client)
        pair.client.common.recognize = lambda _: None
        assert (await calls.get("coap://server/x")).payload == b"hello"
        assert calls.requested[0].remote is None


@virtual
async def test_the_rest_of_a_large_response() -> None:
    async with Pair(site_of(x=Large())) as pair:
        calls = SimulatedCalls(pair.client)
        response = await calls.get("coap://server/x")
        assert response.payload == bytes(3000)
        assert len(pair.requests) == 3
        assert len(calls.taken_over) == 1
        assert is_idle(pair)


@virtual
async def test_an_echo_is_answered() -> None:
    async with Pair(site_of(x=WantsEcho())) as pair:
        calls = SimulatedCalls(pair.client)
        response = await calls.post("coap://server/x", b"body")
        assert response.payload == b"body"
        assert len(pair.requests) == 2
        assert pair.requests[0].message.token != pair.requests[1].message.token


@pytest.mark.parametrize(("method", "again"), [("get", True), ("fetch", True), ("post", False), ("delete", False)])
@virtual
async def test_a_lost_session_is_made_good_once_for_safe_requests(method: str, again: bool) -> None:
    async with Pair(site_of(x=Slow(5.0))) as pair:
        calls = SimulatedCalls(pair.client)
        request = asyncio.ensure_future(getattr(calls, method)("coap://server/x"))
        await asyncio.sleep(1)
        remote = pair.client.interface.address("server")
        pair.client.manager.dispatch_error(SessionEnded("over"), remote)
        await settle()
        if again:
            assert len(pair.requests) == 2
            assert not request.done()
            pair.client.manager.dispatch_error(SessionEnded("over"), remote)
        with pytest.raises(SessionEnded):
            await request
        assert is_idle(pair)


@virtual
async def test_an_address_that_refuses() -> None:
    async with Pair(site_of(x=Slow(5.0))) as pair:
        calls = SimulatedCalls(pair.client)
        request = asyncio.ensure_future(calls.get("coap://server/x"))
        await settle()
        pair.client.manager.dispatch_error(111, pair.client.interface.address("server"))
        with pytest.raises(Unreachable):
            await request  # it is the only one of that name
        assert len(calls.taken_over) == 1
        assert is_idle(pair)


@virtual
async def test_failures() -> None:
    async with Pair(site_of(x=Slow(500.0))) as pair:
        calls = SimulatedCalls(pair.client)
        started = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await calls.get("coap://server/x")
        assert pair.loop.time() - started == pytest.approx(93)
        assert is_idle(pair)
        with pytest.raises(RequestTimeout, match=r"within 2 s"):
            await calls.get("coap://server/x", timeout=2)
        assert is_idle(pair)
        request = asyncio.ensure_future(calls.get("coap://server/x"))
        await settle()
        sent = pair.requests[-1].message
        pair.network.transmit("server", "client", wire(3, 0, sent.mid or 0))
        with pytest.raises(ResetReceived):
            await request
        assert is_idle(pair)


@virtual
async def test_a_time_limit_is_one_for_all_that_it_takes() -> None:
    async with Pair(site_of(x=Large()), delay=(1.0, 1.0)) as pair:
        calls = SimulatedCalls(pair.client)
        started = pair.loop.time()
        with pytest.raises(RequestTimeout, match=r"within 3 s"):
            await calls.get("coap://server/x", timeout=3)
        assert pair.loop.time() - started == pytest.approx(3)
        await settle()
        assert is_idle(pair)


@virtual
async def test_what_cannot_be_sent_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(message: Message) -> None:
        raise ValueError("the layers below cannot carry this")

    async with Pair() as pair:
        calls = SimulatedCalls(pair.client)
        monkeypatch.setattr(pair.client.interface, "send", send)
        with pytest.raises(ValueError, match="cannot carry"):
            await calls.get("coap://server/x")
        assert is_idle(pair)


@virtual
async def test_cancellation_at_each_moment_sends_nothing_more() -> None:
    for moment in (0.0, 0.005, 0.05, 0.2, 1.0, 2.9, 10.0):
        async with Pair(site_of(x=Slow(60.0))) as pair:
            request = asyncio.ensure_future(SimulatedCalls(pair.client).get("coap://server/x"))
            await asyncio.sleep(moment)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            sent = len(pair.requests)
            await asyncio.sleep(50)
            assert len(pair.requests) == sent
            assert is_idle(pair)


@virtual
async def test_whoever_closes_ends_it() -> None:
    async with Pair(site_of(x=Slow(60.0))) as pair:
        request = asyncio.ensure_future(SimulatedCalls(pair.client).get("coap://server/x"))
        other = pair.client.ask(Code.GET, "x")
        await settle()
        pair.client.common.cancel_plain()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert not other.response.done()
        other.cancel()
        assert is_idle(pair)


@virtual
async def test_nothing_stays_of_what_was_answered() -> None:
    """Neither until its time-out would have come, nor until cycles are collected."""
    async with Pair(site_of(x=Plain())) as pair:
        calls = SimulatedCalls(pair.client)
        await calls.get("coap://server/x")
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await calls.get("coap://server/x")
            assert [one for one in gc.get_objects() if isinstance(one, (PlainRequest, Outgoing))] == []
        finally:
            gc.enable()
        assert kinds(pair.answers)[-1] == (ACK, int(Code.CONTENT))
