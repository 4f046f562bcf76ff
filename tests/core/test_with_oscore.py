"""The whole stack with OSCORE in it, on a bad network: deduplication comes before the replay window (the design, 1)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import TransportParameters
from securecoap.errors import RequestTimeout
from securecoap.resources import ObservableResource
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message
from tests.simulation.clock import virtual

from .helpers import protected, site_of

if TYPE_CHECKING:
    from tests.simulation.endpoints import Pair


class Counting(ObservableResource):
    def __init__(self) -> None:
        self.executed: Counter[bytes] = Counter()
        self.claims: set[str] = set()
        self.state = b"0"

    def render_post(self, request: Message) -> Message:
        self.executed[request.payload] += 1
        self.claims.update(request.remote.authenticated_claims)
        assert request.remote.security == "oscore"
        return Message(Code.CHANGED, request.payload)

    async def render_put(self, request: Message) -> Message:
        await asyncio.sleep(request.payload[-1] / 100)
        return self.render_post(request)

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.state)


def secured(resource: Counting, seed: int, **network: Any) -> Pair:
    return protected(site_of(x=resource), seed, parameters=TransportParameters(nstart=4), **network)


@pytest.mark.parametrize("code", [Code.POST, Code.PUT])
@pytest.mark.parametrize("seed", range(3))
@virtual
async def test_at_most_once(seed: int, code: Code) -> None:
    resource = Counting()
    pair = secured(resource, seed, loss=0.2, duplication=0.2, delay=(0.001, 1.5))
    turns = asyncio.Semaphore(4)
    answered = set()

    async def one(number: int) -> None:
        payload = number.to_bytes(2, "big")
        async with turns:
            try:
                response = await pair.client.ask(code, "x", payload).response
            except RequestTimeout:
                return
        assert response.payload == payload
        assert response.remote.security == "oscore"
        answered.add(payload)

    async with pair:
        await asyncio.gather(*(one(number) for number in range(120)))
        await asyncio.sleep(100)
        assert set(resource.executed.values()) == {1}
        assert answered <= resource.executed.keys()
        assert len(answered) > 108
        assert resource.claims == {":device"}
        copies: dict[int, set[bytes]] = {}
        for sent in pair.network.sent:
            if sent.mtype == CON:
                copies.setdefault(sent.mid, set()).add(sent.data)
        assert all(len(found) == 1 for found in copies.values())  # a retransmission is the same, bit by bit
        assert all(not sent.code or sent.message.options.oscore is not None for sent in pair.network.sent)


@virtual
async def test_bodies_and_observation() -> None:
    resource = Counting()
    pair = secured(resource, 7, delay=(0.01, 0.3), duplication=0.1)
    async with pair:
        body = bytes(number % 251 for number in range(6000))
        assert (await pair.client.post("x", body)).payload == body
        assert resource.executed[body] == 1
        assert max(len(sent.data) for sent in pair.network.sent) <= 1152
        request = pair.client.ask(Code.GET, "x", observe=0)
        assert (await request.response).payload == b"0"
        assert request.observation is not None
        for number in (b"1", b"2", b"3"):
            resource.state = number
            resource.changed()
            async with asyncio.timeout(60):
                assert (await anext(request.observation)).payload == number
        request.observation.cancel()
        await asyncio.sleep(5)
        assert resource.observation_count == 0


@virtual
async def test_a_replay_reaches_no_handler() -> None:
    """A copy under the old Message ID is answered from the table, one under a new Message ID by OSCORE: never twice."""
    resource = Counting()
    async with secured(resource, 1) as pair:
        await pair.client.post("x", b"once")
        request, answer = pair.network.sent
        pair.network.inject("client", "server", request.data)
        assert pair.answers[-1].data == answer.data
        other = bytearray(request.data)
        other[3] ^= 1
        pair.network.inject("client", "server", bytes(other))
        assert pair.answers[-1].code == Code.UNAUTHORIZED
        pair.network.inject("stranger", "server", bytes(other))
        assert resource.executed[b"once"] == 1
