"""Thousands of exchanges over a bad network: each request is carried out once at most (RFC 7252 section 4.2, 4.5)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from securecoap.config import TransportParameters
from securecoap.errors import RequestTimeout
from securecoap.resources import Resource, Site
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message
from tests.simulation.clock import run
from tests.simulation.endpoints import Pair

EXCHANGES = 3000
PER_SEED = 250


class Counting(Resource):
    def __init__(self) -> None:
        self.executed: Counter[bytes] = Counter()

    def render_post(self, request: Message) -> Message:
        self.executed[request.payload] += 1
        return Message(Code.CHANGED, request.payload)


class SlowCounting(Counting):
    async def render_post(self, request: Message) -> Message:
        self.executed[request.payload] += 1
        await asyncio.sleep(request.payload[-1] / 100)
        return Message(Code.CHANGED, request.payload)


async def exchange(resource: Counting, seed: int, *, confirmable: bool) -> None:
    site = Site()
    site.add("/count", resource)
    parameters = TransportParameters(nstart=8)
    pair = Pair(site, seed, parameters=parameters, loss=0.2, duplication=0.2, delay=(0.001, 1.5))
    answered: set[bytes] = set()

    turns = asyncio.Semaphore(parameters.nstart)  # the time limit of a request includes its waiting in the queue

    async def one(number: int) -> None:
        payload = number.to_bytes(2, "big")
        try:
            async with turns:
                response = await pair.client.post("count", payload, confirmable=confirmable)
        except RequestTimeout:
            return
        assert response.payload == payload
        answered.add(payload)

    async with pair:
        await asyncio.gather(*(one(number) for number in range(PER_SEED)))
        await asyncio.sleep(parameters.max_transmit_wait)  # what is still on its way arrives
    assert all(count == 1 for count in resource.executed.values())
    assert answered <= resource.executed.keys()
    check_retransmissions(pair, parameters)
    assert len(answered) > PER_SEED * (0.9 if confirmable else 0.4)


def check_retransmissions(pair: Pair, parameters: TransportParameters) -> None:
    """Every Confirmable message of either side has an exact schedule and is the same in each copy."""
    for sender in "client", "server":
        copies: dict[int, list[tuple[float, bytes]]] = {}
        for sent in pair.network.from_(sender):
            if sent.mtype == CON:
                copies.setdefault(sent.mid, []).append((sent.time, sent.data))
        for sendings in copies.values():
            times = [time for time, _ in sendings]
            assert len({data for _, data in sendings}) == 1
            assert len(times) <= 1 + parameters.max_retransmit
            assert times[-1] - times[0] <= parameters.max_transmit_span
            gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
            if gaps:
                assert 2.0 <= gaps[0] <= 3.0
                assert gaps == pytest.approx([gaps[0] * 2**step for step in range(len(gaps))])


@pytest.mark.parametrize("seed", range(EXCHANGES // PER_SEED))
def test_confirmable(seed: int) -> None:
    run(exchange(Counting(), seed, confirmable=True))


@pytest.mark.parametrize("seed", range(100, 102))
def test_non_confirmable(seed: int) -> None:
    run(exchange(Counting(), seed, confirmable=False))


@pytest.mark.parametrize("seed", range(200, 204))
def test_separate_responses(seed: int) -> None:
    run(exchange(SlowCounting(), seed, confirmable=True))
