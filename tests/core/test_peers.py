"""Message IDs given out (RFC 7252 section 4.4)."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from securecoap.config import TransportParameters
from securecoap.core.peers import MessageIds, make_peer
from securecoap.errors import RequestFailed
from securecoap.interfaces import Exchange
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import Plain, site_of

LIFETIME = TransportParameters().exchange_lifetime


@pytest.mark.parametrize("rate", [100.0, 240.0, 300.0, 5000.0])
@pytest.mark.parametrize("first", [0, 1, 4095, 4096, 65535, 31337])
def test_none_comes_twice_within_a_lifetime(rate: float, first: int) -> None:
    ids = MessageIds(first, LIFETIME)
    now = 0.0
    used: dict[int, float] = {}
    given = refused = 0
    while given < 75_000:
        mid = ids.allocate(now)
        if mid is None:
            refused += 1
            now += 1.0
            continue
        given += 1
        assert now - used.get(mid, -LIFETIME) >= LIFETIME
        used[mid] = now
        now += 1 / rate
    assert (refused > 0) == (rate > 65536 / LIFETIME)
    assert len(used) == 65536


def test_they_begin_at_random_and_ascend() -> None:
    peer = make_peer(object(), LIFETIME)  # type: ignore[arg-type]  # any object is an address here
    first = set()
    for seed in range(50):
        peer.ids = None
        first.add(peer.allocate_mid(0.0, random.Random(seed), LIFETIME))
    assert len(first) > 45
    ids = MessageIds(65534, LIFETIME)
    assert [ids.allocate(0.0) for _ in range(4)] == [65534, 65535, 0, 1]


class Told(Exchange):
    def __init__(self) -> None:
        self.error: Exception | None = None

    def failed(self, error: Exception) -> None:
        self.error = error


@virtual
async def test_exhausted_message_ids_fail_and_come_back() -> None:
    """More than 70,000 messages through the layer: no Message ID twice in a lifetime, and failure when all are in use."""
    async with Pair(mtu=0) as pair:  # nobody hears them
        last: dict[int, float] = {}
        failures = 0
        remote = pair.client.interface.address("server")
        for _ in range(3):
            for _ in range(25_000):
                message = Message(Code.GET, confirmable=False)
                message.options.no_response = 26  # sent without waiting for a turn
                message.remote = remote
                message.exchange = told = Told()
                pair.client.manager.send_message(message)
                await asyncio.sleep(0)
                failures += told.error is not None
                assert told.error is None or isinstance(told.error, RequestFailed)
            await asyncio.sleep(100)
        assert failures > 5_000
        await asyncio.sleep(LIFETIME)
        message = Message(Code.GET, confirmable=False)
        message.options.no_response = 26
        message.remote = remote
        pair.client.manager.send_message(message)
        for sent in pair.requests:
            assert sent.time - last.get(sent.mid, float("-inf")) >= LIFETIME
            last[sent.mid] = sent.time
        assert len(last) > 60_000


@virtual
async def test_a_busy_client_does_not_begin_anew() -> None:
    """All answers piggybacked: nothing to deduplicate is stored, and yet the Message IDs are in use."""
    async with Pair(site_of(x=Plain())) as pair:
        for _ in range(100):
            await pair.client.get("x")
            await asyncio.sleep(9.7)
        mids = [sent.mid for sent in pair.requests]
        assert all((later - earlier) % 65536 == 1 for earlier, later in pairwise(mids))
