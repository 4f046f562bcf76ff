"""One registration for all who observe the same (RFC 7641 section 3.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import TransportParameters
from securecoap.errors import RequestTimeout
from securecoap.wire.codes import Code
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of
from .observing import State, observing

if TYPE_CHECKING:
    from securecoap.wire.message import Message


async def take(request: Any) -> bytes:
    async with asyncio.timeout(100):
        notification: Message = await anext(request.observation)
        return notification.payload


def registrations(pair: Pair) -> int:
    return len({one.message.token for one in pair.requests if one.code and one.message.options.observe == 0})


@virtual
async def test_r096_who_observes_the_same_shares_a_registration() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        first = await observing(pair)
        state.set(b"1")
        assert await take(first) == b"1"
        second = await observing(pair)
        assert (await second.response).payload == b"1"  # what is known, at once
        together = pair.client.ask(Code.GET, "x", observe=0)
        assert (await together.response).payload == b"1"
        assert registrations(pair) == state.observation_count == 1
        state.set(b"2")
        assert [await take(request) for request in (first, second, together)] == [b"2"] * 3
        for request in (first, second, together):
            assert state.observation_count == 1
            request.cancel()
            await asyncio.sleep(1)
        assert state.observation_count == 0
        assert [one.message.options.observe for one in pair.requests if one.code] == [0, 1]


@virtual
async def test_r096_at_the_same_time() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        requests = [pair.client.ask(Code.GET, "x", observe=0) for _ in range(5)]
        assert [(await request.response).payload for request in requests] == [b"0"] * 5
        assert registrations(pair) == 1
        requests[0].cancel()  # whose registration it was
        await asyncio.sleep(1)
        state.set(b"1")
        assert [await take(request) for request in requests[1:]] == [b"1"] * 4
        for request in requests:
            request.cancel()


@virtual
async def test_another_request_is_another_registration() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        requests = [await observing(pair), await observing(pair, accept=0), await observing(pair, uri_query=("a",))]
        assert registrations(pair) == state.observation_count == 3
        for request in requests:
            request.cancel()
        await asyncio.sleep(1)
        assert state.observation_count == 0


@virtual
async def test_what_ends_one_ends_all_and_then_it_begins_anew() -> None:
    state = State()
    async with Pair(site_of(x=state), parameters=TransportParameters(observation_patience=1)) as pair:
        first, second = await observing(pair), await observing(pair)
        state.end_observations()
        for request in (first, second):
            assert (await anext(request.observation)).code == Code.NOT_FOUND
            with pytest.raises(StopAsyncIteration):
                await take(request)
        third = await observing(pair)
        assert registrations(pair) == 2
        fourth = await observing(pair)
        pair.network.drop = lambda _: True
        for request in (third, fourth):
            with pytest.raises(RequestTimeout):
                async with asyncio.timeout(500):
                    await anext(request.observation)
        await settle()
        assert len(pair.client.common.observers) <= 1  # what is over goes with the next registration
