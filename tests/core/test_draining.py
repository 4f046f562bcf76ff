"""The end of a server: who is answered, what observers are told, how long it may take (virtual time)."""

from __future__ import annotations

import asyncio
from typing import Any

from securecoap.core.draining import RETRY_AFTER, drain
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import GET, PATH_X, Plain, Slow, kinds, site_of, wire
from .observing import State, acknowledge, register

UNAVAILABLE = int(Code.SERVICE_UNAVAILABLE)


async def end(server: Endpoint, seconds: float = 10.0, patience: float = 5.0) -> float:
    """Drain, and say how long that took."""
    began = server.loop.time()
    await drain(server.server, server.tokens.incoming, lambda: server.manager.is_settled, seconds, patience)
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
