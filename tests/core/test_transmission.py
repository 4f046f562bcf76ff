"""The sending half: turns, retransmission, giving up, cancellation (RFC 7252 section 4.2, 4.7)."""

from __future__ import annotations

import asyncio

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.errors import RequestFailed, RequestTimeout
from securecoap.wire.codes import Code
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CON, GET, Plain, Slow, kinds, site_of, wire


@pytest.mark.parametrize("seed", range(20))
@virtual
async def test_schedule(seed: int) -> None:
    """t0, then after T, 2T, 4T and 8T with T in [2, 3], the failure 16T after the last: 62 to 93 s."""
    async with Pair(seed=seed, loss=1.0) as pair:
        started = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await pair.client.get("x")
        ended = pair.loop.time()
        times = [sent.time - started for sent in pair.requests]
        first = times[1]
        assert 2.0 <= first <= 3.0
        assert times == pytest.approx([0, first, 3 * first, 7 * first, 15 * first], abs=1e-9)
        assert ended - started == pytest.approx(31 * first, abs=1e-9)
        assert len({sent.data for sent in pair.requests}) == 1
        await asyncio.sleep(300)
        assert len(pair.requests) == 5


@virtual
async def test_timeouts_are_random() -> None:
    firsts = set()
    for seed in range(10):
        async with Pair(seed=seed, loss=1.0) as pair:
            request = pair.client.ask(Code.GET, "x")
            await asyncio.sleep(4)
            firsts.add(pair.requests[1].time - pair.requests[0].time)
            request.cancel()
    assert len(firsts) == 10


@virtual
async def test_other_parameters() -> None:
    parameters = TransportParameters(ack_timeout=1.0, ack_random_factor=1.0, max_retransmit=2)
    async with Pair(loss=1.0, parameters=parameters) as pair:
        started = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await pair.client.get("x")
        assert [sent.time - started for sent in pair.requests] == pytest.approx([0, 1, 3])
        assert pair.loop.time() - started == pytest.approx(7)


@pytest.mark.parametrize("nstart", [1, 2, 4])
@virtual
async def test_turns(nstart: int) -> None:
    async with Pair(
        site_of(x=Slow(5.0)),
        parameters=TransportParameters(nstart=nstart),
        drop=lambda sent: (sent.mtype, sent.code) == (ACK, 0) and sent.source == "server",
    ) as pair:
        asked = [pair.client.ask(Code.GET, "x") for _ in range(8)]
        await settle()
        assert len(pair.requests) == nstart
        responses = await asyncio.gather(*(one.response for one in asked))
        assert {response.payload for response in responses} == {b"late"}
        firsts = {sent.mid: sent.time for sent in reversed(pair.requests) if sent.code == GET}
        assert len(set(firsts.values())) == 8 // nstart


@virtual
async def test_an_acknowledged_request_makes_room_for_the_next() -> None:
    async with Pair(site_of(x=Slow(20.0), y=Plain())) as pair:
        slow = pair.client.ask(Code.GET, "x")
        await settle()
        started = pair.loop.time()
        await pair.client.get("y")
        assert pair.loop.time() - started < 1
        assert (await slow.response).payload == b"late"


@virtual
async def test_peers_have_turns_of_their_own() -> None:
    async with Pair(mtu=0) as pair:
        for host in ("server", "other"):
            pair.network.groups.setdefault("unused", [])
            pair.network._interfaces.setdefault(host, pair.server.interface)
            pair.client.ask(Code.GET, "x", host=host)
        await settle()
        assert {sent.destination for sent in pair.requests} == {"server", "other"}


@virtual
async def test_a_cancelled_message_is_not_sent_again() -> None:
    async with Pair(mtu=0) as pair:
        first = pair.client.ask(Code.GET, "1")
        second = pair.client.ask(Code.GET, "2")
        third = pair.client.ask(Code.GET, "3")
        await asyncio.sleep(1)
        assert len(pair.requests) == 1
        second.response.cancel()  # it waits for its turn, and never gets it
        await asyncio.sleep(0.5)
        first.response.cancel()
        await settle()
        assert len(pair.requests) == 2
        assert pair.requests[1].message.options.uri_path == ("3",)
        third.cancel()
        await asyncio.sleep(300)
        assert len(pair.requests) == 2
        manager = pair.client.manager
        assert all(peer.is_idle for peer in manager.peers.values())


@virtual
async def test_a_time_limit_of_the_caller_stops_retransmission() -> None:
    async with Pair(mtu=0) as pair:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await pair.client.get("x")
        sent = len(pair.requests)
        await asyncio.sleep(300)
        assert len(pair.requests) == sent == 2


@virtual
async def test_the_queue_is_bounded() -> None:
    async with Pair(mtu=0, limits=Limits(queued_per_peer=3)) as pair:
        asked = [pair.client.ask(Code.GET, "x") for _ in range(6)]
        await asyncio.sleep(0.1)
        assert [one.response.done() for one in asked] == [False] * 4 + [True] * 2
        for one in asked[4:]:
            with pytest.raises(RequestFailed, match="too many"):
                await one.response
        for one in asked[:4]:
            one.cancel()


@virtual
async def test_a_non_confirmable_request_takes_a_turn_until_it_is_answered() -> None:
    async with Pair(site_of(x=Slow(3.0))) as pair:
        asked = [pair.client.ask(Code.GET, "x", confirmable=False) for _ in range(2)]
        await asyncio.sleep(2)
        assert len(pair.requests) == 1
        await asyncio.gather(*(one.response for one in asked))
        assert pair.requests[1].time - pair.requests[0].time == pytest.approx(3.02)


@virtual
async def test_a_separate_response_is_retransmitted_until_acknowledged_or_rejected() -> None:
    async with Pair(site_of(x=Slow(1.0))) as pair:
        for mid, verdict in enumerate((None, 2, 3)):
            stranger = f"stranger{mid}"
            pair.network.inject(stranger, "server", wire(CON, GET, mid, b"t", b"\xb1x"))
            await asyncio.sleep(1.5)
            response = pair.network.between("server", stranger)[-1]
            if verdict is not None:
                pair.network.inject(stranger, "server", wire(verdict, 0, response.mid))
            await asyncio.sleep(100)
            sent = [one for one in pair.network.between("server", stranger) if one.mtype == CON]
            assert len(sent) == (5 if verdict is None else 1)
            assert len({one.data for one in sent}) == 1


@pytest.mark.parametrize(("awake", "copies"), [(1, 1), (4, 2)])
@virtual
async def test_nothing_comes_of_a_clock_that_jumps(awake: float, copies: int) -> None:
    """R013: after a long sleep of the machine nothing is sent beyond MAX_TRANSMIT_SPAN."""
    async with Pair(mtu=0) as pair:
        request = pair.client.ask(Code.GET, "x")
        await asyncio.sleep(awake)
        pair.loop._virtual.now += 1000  # type: ignore[attr-defined]
        with pytest.raises(RequestTimeout):
            await request.response
        assert kinds(pair.requests) == [(CON, GET)] * copies


@virtual
async def test_probing_rate() -> None:
    """R026: a peer that does not answer gets a byte a second on average; one word of it, and all is forgotten."""
    async with Pair(site_of(x=Plain()), loss=1.0) as pair:
        started = pair.loop.time()
        refused = 0
        for _ in range(200):
            with pytest.raises(RequestFailed) as caught:
                await pair.client.ask(Code.GET, "x", confirmable=False).response
            if not isinstance(caught.value, RequestTimeout):
                refused += 1
                await asyncio.sleep(10)
        passed = pair.loop.time() - started
        sent = sum(len(one.data) for one in pair.requests)
        assert refused
        assert sent <= passed + TransportParameters().exchange_lifetime + 20
        assert sent >= passed / 2
        pair.network.loss = 0.0
        await asyncio.sleep(60)
        for _ in range(50):
            await pair.client.ask(Code.GET, "x", confirmable=False).response
