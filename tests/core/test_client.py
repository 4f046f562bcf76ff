"""Requests of the application: Echo, a second try after a lost session, time limits, cancellation."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.client import ClientRequest
from securecoap.core.common import Common
from securecoap.errors import (
    ConfigurationError,
    RequestFailed,
    RequestTimeout,
    ResetReceived,
    SessionEnded,
    Unreachable,
)
from securecoap.resources import Resource
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CON, CONTENT, GET, Plain, Slow, kinds, site_of, wire


class WantsEcho(Resource):
    """Asks for an Echo ``times`` times, and then answers."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.seen: list[Message] = []

    def render_get(self, request: Message) -> Message:
        self.seen.append(request)
        if len(self.seen) <= self.times:
            return Message(Code.UNAUTHORIZED, echo=b"%d" % len(self.seen))
        return Message(payload=b"fresh")

    render_put = render_get


@virtual
async def test_echo_is_answered() -> None:
    resource = WantsEcho(1)
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.get("x", accept=0)).payload == b"fresh"
        first, second = resource.seen
        assert (first.options.echo, second.options.echo) == (None, b"1")
        assert second.options.accept == 0
        assert first.token != second.token


@virtual
async def test_echo_is_no_loop() -> None:
    resource = WantsEcho(1000)
    async with Pair(site_of(x=resource)) as pair:
        response = await pair.client.get("x")
        assert response.code == Code.UNAUTHORIZED
        assert len(resource.seen) == 3


@virtual
async def test_unauthorized_without_echo_is_an_answer() -> None:
    class Refuses(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(Code.UNAUTHORIZED)

    async with Pair(site_of(x=Refuses())) as pair:
        assert (await pair.client.get("x")).code == Code.UNAUTHORIZED
        assert len(pair.requests) == 1


@virtual
async def test_echo_amid_an_upload() -> None:
    resource = WantsEcho(1)
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.put("x", bytes(3000))).payload == b"fresh"
        blocks = [(one.message.options.block1, one.message.options.echo) for one in pair.requests]
        whole = [Block(0, True, 6), Block(1, True, 6), Block(2, False, 6)]
        assert blocks == [(block, None) for block in whole] + [(block, b"1") for block in whole]
        assert resource.seen[-1].payload == bytes(3000)


@pytest.mark.parametrize(
    ("code", "again"),
    [(Code.GET, True), (Code.FETCH, True), (Code.POST, False), (Code.PUT, False), (Code.DELETE, False)],
)
@virtual
async def test_a_lost_session_is_made_good_once_for_safe_requests(code: Code, again: bool) -> None:
    async with Pair(site_of(x=Slow(5.0))) as pair:
        request = pair.client.ask(code, "x")
        await asyncio.sleep(1)
        remote = pair.client.interface.address("server")
        first = pair.requests[0].message
        pair.client.manager.dispatch_error(SessionEnded("over"), remote)
        await settle()
        if not again:
            with pytest.raises(SessionEnded):
                await request.response
            assert [one.code for one in pair.requests] == [code]
            return
        second = pair.requests[-1].message
        assert second.token != first.token
        assert second.options.uri_path == ("x",)
        pair.client.manager.dispatch_error(SessionEnded("over"), remote)
        with pytest.raises(SessionEnded):
            await request.response
        assert len([one for one in pair.requests if one.code == code]) == 2


@virtual
async def test_cancellation_at_each_moment_sends_nothing_more() -> None:
    for moment in (0.0, 0.005, 0.05, 0.2, 1.0, 2.9, 10.0):
        async with Pair(site_of(x=Slow(60.0))) as pair:
            request = pair.client.ask(Code.GET, "x")
            await asyncio.sleep(moment)
            request.response.cancel()
            await settle()
            sent = len(pair.requests)
            await asyncio.sleep(50)
            assert len(pair.requests) == sent
            assert pair.client.tokens._outgoing == {}
            assert request.is_done


@virtual
async def test_time_limits() -> None:
    """RFC 7252's span for everything about one exchange; a handler that answers later is too late."""
    async with Pair(site_of(x=Slow(200.0))) as pair:
        started = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await pair.client.get("x")
        assert pair.loop.time() - started == pytest.approx(93)
        with pytest.raises(TimeoutError):
            await pair.client.get("x", confirmable=False)
        assert pair.loop.time() - started == pytest.approx(103)


@virtual
async def test_failures_are_seen_by_whoever_waits_and_by_nobody_else() -> None:
    async with Pair() as pair:
        unwatched = pair.client.ask(Code.GET, "x", host="nowhere")
        with pytest.raises(Unreachable):
            await pair.client.ask(Code.GET, "x", host="nowhere").response
        del unwatched  # its exception was nobody's business


@virtual
async def test_an_unexpected_error_reaches_the_caller() -> None:
    async with Pair() as pair:

        async def broken(message: Message) -> Any:
            raise ConfigurationError("no")

        pair.client.common.choose = broken  # type: ignore[method-assign]
        pair.client.common.recognize = lambda _: None
        with pytest.raises(ConfigurationError):
            await pair.client.get("x")

        async def worse(message: Message) -> Any:
            raise ZeroDivisionError

        pair.client.common.choose = worse  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await pair.client.get("x")


@virtual
async def test_the_message_of_the_application_is_not_changed() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        message = Message(Code.PUT, bytes(3000), uri="coap://server/x", content_format=0)
        before = (message.options.pairs, message.payload, message.token, message.mid, message.remote, message.mtype)
        for _ in range(2):
            assert (await pair.client.request(message).response).code == Code.CHANGED
        assert before == (
            message.options.pairs,
            message.payload,
            message.token,
            message.mid,
            message.remote,
            message.mtype,
        )


@virtual
async def test_a_critical_option_that_a_response_must_not_have() -> None:
    """R039: RST for CON, nothing for NON, and a piggybacked one is dropped."""
    async with Pair() as pair:
        pair.network.drop = lambda _: True
        request = pair.client.ask(Code.GET, "x")
        await settle()
        mid, token = pair.requests[0].mid, pair.requests[0].message.token
        critical = b"\xd1\x0c\x00"
        pair.network.inject("server", "client", wire(CON, CONTENT, 1, token, critical))
        pair.network.inject("server", "client", wire(1, CONTENT, 2, token, critical))
        pair.network.inject("server", "client", wire(ACK, CONTENT, mid, token, critical))
        assert kinds(pair.requests) == [(CON, GET), (3, 0)]
        assert not request.response.done()
        await asyncio.sleep(50)
        assert len(pair.requests) == 2  # it was acknowledged
        pair.network.inject("server", "client", wire(CON, CONTENT, 3, token, b"", b"right"))
        assert (await request.response).payload == b"right"


@virtual
async def test_many_at_once_get_their_own_answers() -> None:
    async with Pair(site_of(x=Plain()), delay=(0.01, 0.5)) as pair:
        bodies = [b"%d" % number for number in range(50)]
        responses = await asyncio.gather(*(pair.client.post("x", body) for body in bodies))
        assert [response.payload for response in responses] == bodies


@virtual
async def test_both_ends_are_client_and_server() -> None:
    """Role reversal between two endpoints."""
    async with Pair(site_of(x=Plain()), client_options={"site": site_of(y=Plain())} | {}) as pair:
        there, back = await asyncio.gather(pair.client.get("x"), pair.server.ask(Code.GET, "y", host="client").response)
        assert there.payload == back.payload == b"hello"


@virtual
async def test_a_reset_server() -> None:
    async with Pair(drop=lambda sent: sent.source == "server") as pair:
        request = pair.client.ask(Code.GET, "x")
        await settle()
        pair.network.inject("server", "client", wire(3, 0, pair.requests[0].mid))
        with pytest.raises(ResetReceived):
            await request.response
        assert isinstance(request.response.exception(), RequestFailed)


class TwoAddresses:
    """Chooses and carries requests: the first address refuses, after ``delay``; the second answers."""

    def __init__(self, addresses: list[str], delay: float = 0.0) -> None:
        self.addresses = addresses
        self.delay = delay
        self.sent: list[tuple[str, int]] = []

    async def choose(self, message: Message) -> TwoAddresses:
        message.remote = self.addresses[min(len(self.sent), len(self.addresses) - 1)]
        return self

    def request(self, pipe: Any) -> None:
        message = pipe.request
        self.sent.append((message.remote, message.code))
        loop = asyncio.get_running_loop()
        if message.remote == "refuses":
            loop.call_later(self.delay, pipe.add_exception, Unreachable(111, "refused"))
        else:
            loop.call_soon(pipe.add_response, Message(Code.CHANGED))


async def ask(network: TwoAddresses, code: Code = Code.PUT, remote: Any = None) -> Message:
    message = Message(code, uri="coap://name.example/x")
    message.remote = remote
    loop = asyncio.get_running_loop()
    common = Common(network.choose, loop, TransportParameters(), Limits(), random.Random(1))
    return await ClientRequest(message, common).response


@virtual
async def test_another_address_of_the_name_when_the_first_refuses() -> None:
    network = TwoAddresses(["refuses", "answers"], delay=1.9)
    assert (await ask(network)).code == Code.CHANGED
    assert [remote for remote, _ in network.sent] == ["refuses", "answers"]


@virtual
async def test_no_other_address_when_a_copy_may_have_arrived() -> None:
    network = TwoAddresses(["refuses", "answers"], delay=2.1)
    with pytest.raises(Unreachable):
        await ask(network)
    assert len(network.sent) == 1


@virtual
async def test_the_only_address_is_not_tried_twice() -> None:
    network = TwoAddresses(["refuses"])
    with pytest.raises(Unreachable):
        await ask(network)
    assert len(network.sent) == 1


@virtual
async def test_a_remote_that_was_given_is_the_only_one() -> None:
    network = TwoAddresses(["refuses", "answers"])
    with pytest.raises(Unreachable):
        await ask(network, remote="refuses")
    assert len(network.sent) == 1


@virtual
async def test_no_etag_goes_to_a_group() -> None:
    """RFC 7252 section 8.2.1: a 2.03 would not say whose representation it means."""
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.join("all", pair.server.interface)
        with pytest.raises(ConfigurationError):
            await pair.client.get("x", host="all", etags=[b"\x01"])
        assert pair.network.sent == []
        assert (await pair.client.get("x", etags=[b"\x01"])).payload == b"hello"


@virtual
async def test_a_request_that_cannot_be_sent_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(message: Message) -> None:
        raise ValueError("the layers below cannot carry this")

    async with Pair() as pair:
        monkeypatch.setattr(pair.client.interface, "send", send)
        with pytest.raises(ValueError, match="cannot carry"):
            await pair.client.get("/x")
        assert not pair.client.tokens._outgoing
