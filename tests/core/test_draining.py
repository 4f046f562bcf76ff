"""The end of a server: who is answered, what observers are told, how long it may take (virtual time)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.core.draining import RETRY_AFTER, drain
from securecoap.core.plumbing import exchange
from securecoap.errors import Unauthorized
from securecoap.resources import Resource
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import GET, PATH_X, Plain, Slow, kinds, protected, site_of, wire
from .observing import State, acknowledge, register

UNAVAILABLE = int(Code.SERVICE_UNAVAILABLE)


async def end(server: Endpoint, seconds: float = 10.0, patience: float = 5.0) -> float:
    """Drain, and say how long that took."""
    began = server.loop.time()
    await drain(
        server.server,
        server.tokens.incoming,
        lambda: server.manager.is_settled,
        lambda: float("-inf") if server.outer is None else server.outer.used_at,
        seconds,
        patience,
    )
    return server.loop.time() - began


def said(sent: Any) -> tuple[Any, ...]:
    message = sent.message
    return sent.mtype, message.code, message.token, message.options.observe, message.options.max_age


@virtual
async def test_what_is_under_way_is_answered_and_what_is_new_is_not() -> None:
    slow = Slow(4.0)
    async with Pair(site_of(slow=slow, x=Plain())) as pair:
        under_way = asyncio.ensure_future(pair.client.get("slow"))
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        await asyncio.sleep(1)
        for path in ("x", "nothing"):
            refused = await pair.client.get(path)
            assert (refused.code, refused.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        assert (await under_way).payload == b"late"
        assert 3 <= await ending <= 3.2


@virtual
async def test_a_handler_has_its_time_and_no_more() -> None:
    slow = Slow(1000.0)
    async with Pair(site_of(slow=slow)) as pair:
        under_way = asyncio.ensure_future(pair.client.get("slow"))
        await asyncio.sleep(1)
        assert 9.9 <= await end(pair.server) <= 10.2
        answer = await under_way
        assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        await settle()
        assert slow.cancelled == 1


@virtual
async def test_observers_hear_of_it_and_are_forgotten() -> None:
    """RFC 7641 section 4.2: the last notification is what a GET would get now, without Observe."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        for number in range(120):
            await register(pair, f"observer{number}", token=b"t%d" % number)
        assert state.observation_count == 120
        ending = asyncio.ensure_future(end(pair.server))
        for _ in range(10):
            await settle()
        for number in range(120):
            last = pair.network.between("server", f"observer{number}")[-1]
            assert said(last) == (CON, Code.SERVICE_UNAVAILABLE, b"t%d" % number, None, RETRY_AFTER)
            pair.network.inject(f"observer{number}", "server", wire(ACK, 0, last.mid))
        assert state.observation_count == 0
        assert await ending <= 0.2
        state.set(b"later")
        await asyncio.sleep(100)
        assert kinds(pair.network.between("server", "observer7")).count((CON, UNAVAILABLE)) == 1


@virtual
async def test_a_change_of_a_request_under_way_is_told_before_the_end() -> None:
    state = State()

    class Changes(Slow):
        async def render_get(self, request: Any) -> Any:
            answer = await super().render_get(request)
            state.set(b"changed")
            return answer

    async with Pair(site_of(x=state, slow=Changes(2.0))) as pair:
        await register(pair, "observer")
        under_way = asyncio.ensure_future(pair.client.get("slow"))
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        await asyncio.sleep(1.5)
        acknowledge(pair, "observer")
        await settle()
        acknowledge(pair, "observer")
        await ending
        _, change, last = pair.network.between("server", "observer")
        assert change.message.payload == b"changed"
        assert last.message.code == Code.SERVICE_UNAVAILABLE
        assert (await under_way).payload == b"late"


@virtual
async def test_a_lost_answer_is_sent_again_and_the_silent_are_not_waited_for_for_ever() -> None:
    async with Pair(site_of(slow=Slow(2.0), x=State())) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", b"\xb4slow"))
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        await asyncio.sleep(1.5)
        assert not ending.done()  # its answer is not acknowledged
        await asyncio.sleep(3)
        answers = [one for one in pair.network.between("server", "stranger") if one.code]
        assert [one.message.payload for one in answers] == [b"late", b"late"]
        acknowledge(pair)
        assert 3 <= await ending <= 5
        await register(pair, "gone", mid=9)
        assert (await pair.client.get("x")).code == Code.SERVICE_UNAVAILABLE


@virtual
async def test_who_does_not_acknowledge_the_end_costs_the_patience_only() -> None:
    async with Pair(site_of(x=State())) as pair:
        await register(pair, "gone")
        assert 4.9 <= await end(pair.server) <= 5.1


@virtual
async def test_nothing_to_end_takes_no_time() -> None:
    async with Pair(site_of(x=State())) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        await settle()
        assert await end(pair.server) == 0


# Bodies in blocks: each block is a request, and those of what was begun are taken.

BODY = bytes(number % 251 for number in range(20 * 1024))
SLOWLY: Any = {"delay": (0.05, 0.05)}  # a block takes 0.1 s, and BODY two seconds


class Bodies(Plain):
    """Gives and takes whole bodies, after a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds

    async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
        self.seen.append(request)
        await asyncio.sleep(self.seconds)
        return Message(payload=BODY)

    async def render_post(self, request: Message) -> Message:  # type: ignore[override]  # likewise
        self.seen.append(request)
        await asyncio.sleep(self.seconds)
        return Message(payload=request.payload)

    render_put = render_post  # type: ignore[assignment]


class Parts(Resource):
    """Cuts its body itself, and takes each part of another by itself."""

    assembles_bodies = False

    def __init__(self) -> None:
        self.taken = bytearray()

    async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
        block = request.options.block2 or Block(0, False, 6)
        part = Message(payload=BODY[block.start : block.start + block.size], etag=b"1")
        part.options.block2 = block._replace(more=block.start + block.size < len(BODY))
        return part

    async def render_put(self, request: Message) -> Message:
        block = request.options.block1
        assert block is not None
        assert len(self.taken) == block.start
        self.taken += request.payload
        answer = Message(Code.CONTINUE if block.more else Code.CHANGED)
        answer.options.block1 = block
        return answer


@pytest.mark.parametrize(
    ("code", "body", "handler"), [(Code.GET, b"", 0.0), (Code.PUT, BODY, 0.0), (Code.POST, BODY, 1.5)]
)
@virtual
async def test_a_body_under_way_is_finished_and_then_it_ends(code: Code, body: bytes, handler: float) -> None:
    """That of a response, that of a request, and both with a handler that works in between."""
    resource = Bodies(handler)
    async with Pair(site_of(x=resource, y=Plain()), **SLOWLY) as pair:
        transfer = pair.client.ask(code, "x", body).response
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        await asyncio.sleep(0.5)
        refused = await pair.client.get("y")
        assert (refused.code, refused.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        assert (await transfer).payload == BODY
        finished = pair.loop.time()
        assert len(resource.seen) == 1
        await ending
        assert pair.loop.time() - finished < 0.2


@virtual
async def test_a_large_answer_of_a_handler_that_was_working() -> None:
    async with Pair(site_of(x=Bodies(2.0)), **SLOWLY) as pair:
        transfer = pair.client.ask(Code.GET, "x").response
        await asyncio.sleep(1)
        took = await end(pair.server)
        assert (await transfer).payload == BODY
        assert 2 < took < 3.5


@virtual
async def test_it_takes_no_longer_than_it_may() -> None:
    async with Pair(site_of(x=Bodies()), delay=(0.5, 0.5)) as pair:
        transfer = pair.client.ask(Code.GET, "x").response
        await asyncio.sleep(2)
        assert 3 <= await end(pair.server, seconds=3.0) <= 3.1
        answer = await transfer
        assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)


@pytest.mark.parametrize(("idle", "longest"), [(1.0, 4.1), (4.0, 1.1), (6.0, 0.0)])
@virtual
async def test_whoever_has_gone_is_not_waited_for(idle: float, longest: float) -> None:
    async with Pair(site_of(x=Bodies()), **SLOWLY) as pair:
        transfer = pair.client.ask(Code.GET, "x")
        await asyncio.sleep(1)
        transfer.cancel()
        await asyncio.sleep(idle)
        took = await end(pair.server)
        assert longest - 0.3 <= took <= longest


@virtual
async def test_one_that_was_waited_for_may_lose_a_block() -> None:
    async with Pair(site_of(x=Bodies()), **SLOWLY) as pair:
        transfer = pair.client.ask(Code.GET, "x").response
        await asyncio.sleep(1)
        pair.drop_next(lambda sent: sent.source == "client")
        await end(pair.server)
        assert (await transfer).payload == BODY


@virtual
async def test_a_resource_that_cuts_its_bodies_itself() -> None:
    """Nothing is held of them, so that the end is known by silence only."""
    parts = Parts()
    async with Pair(site_of(x=parts), **SLOWLY) as pair:
        download = pair.client.ask(Code.GET, "x").response
        upload = pair.client.ask(Code.PUT, "x", BODY).response
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        assert (await download).payload == BODY
        assert (await upload).code == Code.CHANGED
        assert bytes(parts.taken) == BODY
        finished = pair.loop.time()
        await ending
        assert 4 < pair.loop.time() - finished < 5.1


FIRST, LATER = Block(0, True, 6), Block(3, True, 6)


@pytest.mark.parametrize(
    ("code", "path", "options"),
    [
        (Code.GET, "x", {"block2": Block(0, False, 6)}),
        (Code.PUT, "x", {"block1": FIRST}),
        (Code.PUT, "parts", {"block1": FIRST}),
        (Code.PUT, "x", {"block1": LATER}),
        (Code.PUT, "nothing", {"block1": LATER}),
        (Code.POST, "x", {"block2": Block(3, False, 6)}),
        (Code.GET, "x", {"observe": 0}),
    ],
)
@virtual
async def test_what_was_not_begun_is_new(code: Code, path: str, options: dict[str, Any]) -> None:
    resource, parts = Bodies(), Parts()
    async with Pair(site_of(x=resource, parts=parts), **SLOWLY) as pair:
        somebody_elses = pair.client.ask(Code.PUT, "x", BODY).response
        await asyncio.sleep(0.5)
        ending = asyncio.ensure_future(end(pair.server))
        await settle()
        stranger = Endpoint(pair.network, "stranger")
        message = Message(code, bytes(1024) if "block1" in options else b"", uri_path=(path,), **options)
        message.scheme, message.unresolved_remote = "coap", "server"
        assert await stranger.tokens.fill_or_recognize_remote(message)
        answer = await exchange(message, stranger.tokens.request, pair.loop, 100.0)
        assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        assert (await somebody_elses).payload == BODY
        assert len(resource.seen) == 1
        assert not parts.taken
        await ending
        await stranger.close()


@virtual
async def test_the_policy_is_asked_about_each_block_as_before() -> None:
    is_allowed = True

    def authorize(_: Message) -> None:
        if not is_allowed:
            raise Unauthorized

    async with Pair(site_of(x=Bodies()), server_options={"authorize": authorize}, **SLOWLY) as pair:
        transfer = pair.client.ask(Code.GET, "x").response
        await asyncio.sleep(0.5)
        ending = asyncio.ensure_future(end(pair.server))
        await asyncio.sleep(0.5)
        assert not transfer.done()
        is_allowed = False
        await asyncio.sleep(0.5)
        assert pair.answers[-1].code == Code.UNAUTHORIZED
        assert (await transfer).code == Code.UNAUTHORIZED
        assert (await pair.client.get("x")).code == Code.UNAUTHORIZED  # and of new ones first
        await ending


@virtual
async def test_a_protected_body_under_way() -> None:
    async with protected(site_of(x=Bodies()), **SLOWLY) as pair:
        transfer = pair.client.ask(Code.GET, "x").response
        await asyncio.sleep(1)
        ending = asyncio.ensure_future(end(pair.server))
        await settle()
        assert (await pair.client.get("x")).code == Code.SERVICE_UNAVAILABLE
        response = await transfer
        assert response.payload == BODY
        assert response.remote.security == "oscore"
        assert await ending < 3
