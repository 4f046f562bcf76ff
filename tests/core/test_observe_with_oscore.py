"""Observations under OSCORE, through the whole stack (RFC 8613 section 4.1.3.5 and 7.4.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.errors import SessionEnded
from securecoap.oscore.sender import Sender
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, RST, Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint

from .helpers import protected, site_of
from .observing import State, numbers_seen, observing

if TYPE_CHECKING:
    from tests.simulation.endpoints import Pair
    from tests.simulation.network import Sent


async def take(request: Any, limit: float = 200.0) -> bytes:
    async with asyncio.timeout(limit):
        payload: bytes = (await anext(request.observation)).payload
        return payload


def requests_of(pair: Pair) -> list[Sent]:
    return [one for one in pair.requests if 0 < one.code < 32]


@virtual
async def test_r131_r132_each_registration_and_cancellation_has_a_partial_iv_of_its_own() -> None:
    state = State(Message(payload=b"0", max_age=10))
    async with protected(site_of(x=state)) as pair:
        request = await observing(pair)
        await asyncio.sleep(60)
        request.observation.cancel()
        await asyncio.sleep(1)
        sent = requests_of(pair)
        assert len(sent) >= 4
        assert {one.code for one in sent} == {int(Code.FETCH)}  # the outer code of whatever has to do with Observe
        assert [one.message.options.observe for one in sent] == [0] * (len(sent) - 1) + [1]
        assert len({one.message.options.oscore for one in sent}) == len(sent)
        assert len({one.message.token for one in sent}) == 1
        assert state.observation_count == 0


@pytest.mark.parametrize("seed", range(3))
@virtual
async def test_eventual_consistency_over_a_bad_network(seed: int) -> None:
    state = State()
    async with protected(site_of(x=state), seed, loss=0.15, duplication=0.2, delay=(0.01, 3.0)) as pair:
        seen = await numbers_seen(pair, await observing(pair), state, 39)
        assert seen[-1] == 39
        assert seen == sorted(set(seen))


@virtual
async def test_r110_what_replaces_a_notification_is_protected_anew() -> None:
    """Another plaintext under the same Partial IV would break the cipher."""
    state = State()
    async with protected(site_of(x=state)) as pair:
        request = await observing(pair)
        pair.network.drop = lambda sent: sent.destination == "client"
        for number in range(1, 30):
            state.set(b"%d" % number)
            await asyncio.sleep(1)
        sent = [one for one in pair.answers if one.mtype == CON]
        assert len(sent) == 4
        assert len({one.mid for one in sent}) == 4
        values = [one.message.options.oscore for one in sent]
        assert len(set(values)) == 4
        assert None not in values
        pair.network.drop = None
        assert await take(request) == b"29"
        request.cancel()


@virtual
async def test_one_rendering_and_a_seal_for_each() -> None:
    state = State()
    async with protected(site_of(x=state)) as pair:
        requests = [await observing(pair, confirmable=confirmable) for confirmable in (None, True, False)]
        state.renderings = 0
        state.set(b"1")
        assert [await take(request) for request in requests] == [b"1"] * 3
        assert state.renderings == 1
        notified = [one for one in pair.answers if one.mtype == CON]
        assert len({one.message.payload for one in notified}) == 3
        for request in requests:
            request.cancel()


@virtual
async def test_the_end_of_the_context_ends_it() -> None:
    state = State()
    async with protected(site_of(x=state)) as pair:
        request = await observing(pair)
        state.set(b"1")
        assert await take(request) == b"1"
        (place,) = state.observations._places
        observation: Any = place.observation
        pair.server.oscore.release(observation.request.remote.context, SessionEnded("the credential was removed"))
        await settle()
        assert state.observation_count == 0
        assert len(pair.server.server._observations) == 0
        sent = len(pair.answers)
        state.set(b"2")
        await asyncio.sleep(1)
        assert len(pair.answers) == sent
        request.cancel()


@virtual
async def test_r159_a_client_that_was_restarted_takes_no_earlier_notification() -> None:
    """Appendix B.1.3: it has lost what tells a replay, so it knows of no observation, and registers again."""
    state = State()
    async with protected(site_of(x=state)) as pair:
        request = await observing(pair)
        state.set(b"1")
        assert await take(request) == b"1"
        earlier = pair.answers[-1]
        pair.network.drop = lambda sent: sent.source == "client"  # it has no time to say goodbye
        await pair.client.close()
        pair.network.drop = None
        context = vectors.context("C.1.1")
        context.sender = Sender(Numbers(start=100), pair.loop)
        contexts = Contexts(context)
        contexts.client = context
        pair.client = Endpoint(pair.network, "client", seed=1, contexts=contexts)

        state.set(b"2")  # to the one that is no more
        await asyncio.sleep(1)
        assert pair.requests[-1].mtype == RST
        assert state.observation_count == 0

        again = pair.client.ask(Code.GET, "x", observe=0)
        assert (await again.response).payload == b"2"
        token = requests_of(pair)[-1].message.token
        assert token != earlier.message.token
        for mid, forged in enumerate((earlier.message.token, token)):
            replayed = earlier.data.replace(earlier.message.token, forged)
            pair.network.inject("server", "client", replayed[:2] + bytes((0, mid)) + replayed[4:])
        await asyncio.sleep(1)
        state.set(b"3")
        assert await take(again) == b"3"
        again.cancel()
