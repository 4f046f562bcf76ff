"""Observation at the client (RFC 7641 section 3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import TransportParameters
from securecoap.core.notifications import SequenceNumbers
from securecoap.core.observer import is_newer
from securecoap.errors import RequestTimeout, SessionEnded
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import ACK, CON, CONTENT, NON, RST, kinds, site_of, wire
from .observing import State, numbers_seen, observing


async def take(request: Any, limit: float = 100.0) -> Message:
    async with asyncio.timeout(limit):
        return await anext(request.observation)


@pytest.mark.parametrize("confirmable", [True, False])
@virtual
async def test_observing(confirmable: bool) -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair, confirmable=confirmable)
        assert (await request.response).payload == b"0"
        for number in (b"1", b"2"):
            state.set(number)
            assert (await take(request)).payload == number
        request.observation.cancel()
        await asyncio.sleep(1)
        assert state.observation_count == 0
        last = pair.requests[-1].message
        assert last.options.observe == 1
        assert last.token == pair.requests[0].message.token
        assert last.options.uri_path == ("x",)
        with pytest.raises(StopAsyncIteration):
            await take(request)
        assert pair.client.tokens._outgoing == {}


@pytest.mark.parametrize("seed", range(4))
@virtual
async def test_eventual_consistency_over_a_bad_network(seed: int) -> None:
    state = State()
    async with Pair(site_of(x=state), seed, loss=0.15, duplication=0.2, delay=(0.01, 3.0)) as pair:
        seen = await numbers_seen(pair, await observing(pair), state, 59)
        assert seen[-1] == 59
        assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("last", "number", "elapsed", "newer"),
    [
        (1, 2, 0, True), (2, 1, 0, False), (2, 2, 0, False), (0, (1 << 23) - 1, 0, True), (0, 1 << 23, 0, False),
        ((1 << 24) - 1, 0, 0, True), (1 << 23, 0, 0, False), ((1 << 23) + 1, 0, 0, True), (5, 4, 128.0, False), (5, 4, 128.1, True),
    ],
)  # fmt: skip
def test_what_is_newer(last: int, number: int, elapsed: float, newer: bool) -> None:
    assert is_newer((last, 1000.0), number, 1000.0 + elapsed) == newer


async def observed_by_hand(pair: Pair, options: bytes = b"\x61\x05", **asked: Any) -> tuple[Any, bytes]:
    """A client that observes somebody whom the test plays."""
    pair.network._interfaces["somebody"] = pair.server.interface
    pair.network.drop = lambda sent: sent.destination == "somebody"
    request = pair.client.ask(Code.GET, "x", host="somebody", observe=0, **asked)
    await settle()
    token = pair.requests[0].message.token
    pair.network.inject("somebody", "client", wire(ACK, CONTENT, pair.requests[0].mid, token, options, b"5"))
    await request.response
    return request, token


@virtual
async def test_reordered_notifications_are_dropped() -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        for mid, number in enumerate((7, 6, 7, 9, 8)):
            pair.network.inject(
                "somebody", "client", wire(CON, CONTENT, mid, token, bytes((0x61, number)), b"%d" % number)
            )
            assert pair.requests[-1].data == wire(ACK, 0, mid)  # known, so acknowledged
        assert [(await take(request)).payload for _ in range(2)] == [b"7", b"9"]
        await asyncio.sleep(129)
        pair.network.inject("somebody", "client", wire(NON, CONTENT, 77, token, b"\x61\x01", b"1"))
        assert (await take(request)).payload == b"1"
        request.cancel()
        pair.network.inject("somebody", "client", wire(CON, CONTENT, 99, b"t" + token, b"\x61\x01", b"1"))
        assert pair.requests[-1].data == wire(RST, 0, 99)


@pytest.mark.parametrize("options", [b"", b"\x61\x09"])
@virtual
async def test_an_error_or_a_response_without_observe_is_the_last(options: bytes) -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        code = 0x84 if options else CONTENT
        pair.network.inject("somebody", "client", wire(CON, code, 1, token, options, b"last"))
        assert (await take(request)).payload == b"last"
        with pytest.raises(StopAsyncIteration):
            await take(request)
        sent = len(pair.requests)
        pair.network.inject("somebody", "client", wire(CON, CONTENT, 2, token, b"\x61\x0a", b"too late"))
        assert kinds(pair.requests[sent:]) == [(RST, 0)]
        request.cancel()
        await settle()
        assert len(pair.requests) == sent + 1  # there is nothing to deregister


@virtual
async def test_who_does_not_take_gets_the_newest() -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        for number in range(1000):
            pair.network.inject(
                "somebody",
                "client",
                wire(NON, CONTENT, number, token, b"\x62" + (number + 10).to_bytes(2, "big"), b"%d" % number),
            )
            await asyncio.sleep(0)
        await settle()
        assert len(request.observation._waiting) == 64
        assert (await take(request)).payload == b"936"
        request.cancel()


@virtual
async def test_notifications_while_a_large_one_is_fetched_are_bounded() -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        large = wire(NON, CONTENT, 1, token, b"\x61\x06\xd1\x04\x08", bytes(16))
        pair.network.inject("somebody", "client", large)
        await settle()
        for number in range(1000):
            options = b"\x62" + (number + 10).to_bytes(2, "big")
            pair.network.inject("somebody", "client", wire(NON, CONTENT, number + 2, token, options, b"%d" % number))
        assert request._subscription._shared.observer._answers.qsize() <= 64
        request.cancel()


@virtual
async def test_large_notifications_are_fetched_whole() -> None:
    state = State(b"a" * 3000)
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        assert (await request.response).payload == b"a" * 3000
        state.set(b"b" * 4000)
        assert (await take(request)).payload == b"b" * 4000
        assert {one.message.token for one in pair.requests if one.message.options.block2}.isdisjoint(
            {pair.requests[0].message.token}
        )
        request.cancel()


@virtual
async def test_a_change_while_a_notification_is_fetched() -> None:
    """The two versions are not mixed, and the observation goes on."""
    state = State(b"a" * 3000)
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        state.set(b"b" * 3000)
        for number in range(10):
            await asyncio.sleep(0.015)
            state.set(b"%d" % number * 3000)
        await asyncio.sleep(10)
        seen = [(await take(request)).payload for _ in range(len(request.observation._waiting))]
        assert seen[-1] == b"9" * 3000
        assert all(len(payload) == 3000 and len(set(payload)) == 1 for payload in seen)
        request.cancel()


@virtual
async def test_a_lost_session_registers_again_once() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        for number in range(3):
            pair.client.manager.dispatch_error(SessionEnded("over"), pair.client.interface.address("server"))
            assert (await take(request)).payload == b"%d" % number
            state.set(b"%d" % (number + 1))
            assert (await take(request)).payload == b"%d" % (number + 1)
        request.cancel()


@virtual
async def test_an_observation_that_breaks_off_says_why() -> None:
    """Nothing is heard of the server for ten minutes, in spite of new registrations."""
    async with Pair() as pair:
        request, _ = await observed_by_hand(pair)
        before = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await take(request, 1000)
        assert 400 < pair.loop.time() - before < 700
        sent = [one.time for one in pair.requests]
        with pytest.raises(StopAsyncIteration):
            await take(request)
        await asyncio.sleep(1000)
        assert len(pair.requests) == len(sent)
        assert pair.client.tokens._outgoing == {}


@virtual
async def test_it_registers_again_when_it_is_not_fresh_any_more() -> None:
    """R098: the same token and options, not before Max-Age is over, and at random within 5 to 15 s after that."""
    waits = []
    for seed in range(5):
        state = State(Message(payload=b"0", max_age=100))
        async with Pair(site_of(x=state), seed) as pair:
            request = await observing(pair, accept=0)
            first = pair.requests[0]
            pair.network.sent.clear()
            await asyncio.sleep(50)
            state.set(Message(payload=b"1", max_age=100))
            assert (await take(request)).payload == b"1"
            notified = pair.loop.time()
            await asyncio.sleep(120)
            (again,) = [one for one in pair.requests if one.code == Code.GET]
            (incoming,) = pair.server.tokens._incoming.of(pair.server.interface.address("client"))
            assert (again.message.token, again.message.options) == (first.message.token, first.message.options)
            assert incoming.request.token == first.message.token
            waits.append(again.time - notified)
            assert state.observation_count == 1
            request.cancel()
    assert [wait for wait in waits if not 105 <= wait <= 115.1] == []
    assert max(waits) - min(waits) > 1


@virtual
async def test_a_registration_that_changes_nothing_is_no_notification() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        await asyncio.sleep(1000)
        assert len([one for one in pair.requests if one.code == Code.GET]) > 10
        state.state = b"1"  # nobody is told
        assert (await take(request)).payload == b"1"
        request.cancel()


@virtual
async def test_it_offers_the_etag_that_it_knows() -> None:
    """Only the set of ETags may differ (section 3.3.1); 2.03 then stands for what is known."""
    state = State(Message(payload=b"0", etag=b"a"))
    async with Pair() as pair:
        request, token = await observed_by_hand(pair, b"\x41a\x21\x05")
        await asyncio.sleep(75)
        again = pair.requests[-1]
        assert again.message.options.etags == (b"a",)
        assert again.message.token == token
        answer = wire(ACK, Code.VALID, again.mid, token, b"\x41a\x21\x06")
        pair.network.inject("somebody", "client", answer)
        pair.network.inject("somebody", "client", wire(NON, CONTENT, 1, token, b"\x41b\x21\x07", b"7"))
        assert (await take(request)).payload == b"7"
        pair.network.inject("somebody", "client", wire(NON, Code.VALID, 2, token, b"\x41a\x21\x08"))
        back = await take(request)
        assert (back.payload, back.code) == (b"5", Code.CONTENT)
        request.cancel()
    assert state.renderings == 0


@virtual
async def test_the_etags_of_the_application_are_its_own() -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair, b"\x41a\x21\x05", etags=(b"z",))
        await asyncio.sleep(75)
        assert pair.requests[-1].message.options.etags == (b"z",)
        pair.network.inject("somebody", "client", wire(ACK, Code.VALID, pair.requests[-1].mid, token, b"\x41z\x21\x06"))
        assert (await take(request)).code == Code.VALID
        request.cancel()


@virtual
async def test_it_outlives_a_restart_of_the_server() -> None:
    """The new server knows nothing of the observation, and its numbers may look old."""
    state = State()
    async with Pair() as pair:
        server = Endpoint(pair.network, "somewhere", site_of(x=state), seed=1)
        request = pair.client.ask(Code.GET, "x", host="somewhere", observe=0)
        await request.response
        for number in range(2, 6):
            await server.close()
            server = Endpoint(pair.network, "somewhere", site_of(x=state), seed=number)
            server.server._observations._numbers = SequenceNumbers(-number << 21, pair.loop.time)
            state = State(b"%d" % number)
            server.server.find = site_of(x=state).find
            assert (await take(request)).payload == b"%d" % number
            state.set(b"next")
            assert (await take(request)).payload == b"next"
        request.cancel()
        await asyncio.sleep(1)
        assert state.observation_count == 0
        await server.close()


@pytest.mark.parametrize("seconds", [30, 300])
@virtual
async def test_it_outlives_an_outage(seconds: int) -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        pair.network.drop = lambda _: True
        state.set(b"1")
        await asyncio.sleep(seconds)
        pair.network.drop = None
        assert (await take(request, 200)).payload == b"1"
        state.set(b"2")
        assert (await take(request)).payload == b"2"
        request.cancel()
        await asyncio.sleep(1)
        assert state.observation_count == 0


@virtual
async def test_it_outlives_another_address_of_its_own() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        state.set(b"1")
        assert (await take(request)).payload == b"1"
        interface = pair.client.interface
        pair.network.detach(interface)
        interface.name = "elsewhere"
        pair.network.attach(interface)
        state.set(b"2")
        assert (await take(request)).payload == b"2"
        state.set(b"3")
        assert (await take(request)).payload == b"3"
        await asyncio.sleep(100)
        assert state.observation_count == 1  # the notification to the old address was never acknowledged
        request.cancel()


@virtual
async def test_an_icmp_error_is_an_outage() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        pair.client.manager.dispatch_error(111, pair.client.interface.address("server"))
        state.set(b"1")
        assert (await take(request)).payload == b"1"
        request.cancel()


@virtual
async def test_cancelling_while_it_waits_for_the_server() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair)
        pair.client.manager.dispatch_error(111, pair.client.interface.address("server"))
        await settle()
        request.cancel()
        sent = len(pair.requests)
        await asyncio.sleep(300)
        assert len(pair.requests) == sent


@pytest.mark.parametrize("confirmable", [True, False])
@virtual
async def test_cancelling_without_a_word(confirmable: bool) -> None:
    """R101: the next notification is answered with a Reset, a Non-confirmable one too."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        request = await observing(pair, confirmable=confirmable)
        state.set(b"1")
        await take(request)
        sent = len(pair.requests)
        request.observation.cancel(tell_server=False)
        await asyncio.sleep(1)
        assert len(pair.requests) == sent
        state.set(b"2")
        await asyncio.sleep(1)
        assert kinds(pair.requests[sent:]) == [(RST, 0)]
        assert state.observation_count == 0


@virtual
async def test_cancelling_before_the_first_response() -> None:
    async with Pair(mtu=0) as pair:
        request = pair.client.ask(Code.GET, "x", observe=0)
        await asyncio.sleep(1)
        request.response.cancel()
        await asyncio.sleep(300)
        assert len(pair.requests) == 1
        request = pair.client.ask(Code.GET, "x", observe=0)
        with pytest.raises(RequestTimeout):
            await request.response
        with pytest.raises(StopAsyncIteration):
            await take(request)


# A server that says when it is back


UNAVAILABLE = int(Code.SERVICE_UNAVAILABLE)
BACK_IN_FIVE = b"\xd1\x01\x05"  # Max-Age


def end_by_server(pair: Pair, token: bytes, options: bytes = BACK_IN_FIVE) -> None:
    pair.network.inject("somebody", "client", wire(CON, UNAVAILABLE, 900, token, options))


@virtual
async def test_a_server_that_restarts_is_observed_again() -> None:
    """RFC 7252 section 5.9.3.4: 5.03 with a Max-Age is a pause; nobody above hears of it."""
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        end_by_server(pair, token)
        ended = pair.loop.time()
        await asyncio.sleep(5 + 16)
        again = pair.requests[-1]
        assert (again.message.token, again.message.options.observe) == (token, 0)
        assert 5 + 5 <= again.time - ended <= 5 + 15.1
        pair.network.inject("somebody", "client", wire(ACK, CONTENT, again.mid, token, b"\x61\x01", b"6"))
        assert (await take(request)).payload == b"6"
        request.cancel()


@virtual
async def test_without_a_time_it_is_the_end() -> None:
    async with Pair() as pair:
        request, token = await observed_by_hand(pair)
        end_by_server(pair, token, b"")
        assert (await take(request)).code == Code.SERVICE_UNAVAILABLE
        with pytest.raises(StopAsyncIteration):
            await take(request)


@virtual
async def test_it_does_not_wait_for_ever_for_a_server_to_be_back() -> None:
    patience = 40.0
    async with Pair(parameters=TransportParameters(observation_patience=patience)) as pair:
        request, token = await observed_by_hand(pair)
        began = pair.loop.time()
        end_by_server(pair, token)
        answered = 1
        while pair.loop.time() < began + 200 and not request.observation._waiting:
            await asyncio.sleep(1)
            if len(pair.requests) > answered:
                answered = len(pair.requests)
                pair.network.inject(
                    "somebody", "client", wire(ACK, UNAVAILABLE, pair.requests[-1].mid, token, BACK_IN_FIVE)
                )
        assert (await take(request)).code == Code.SERVICE_UNAVAILABLE
        assert pair.loop.time() - began <= patience
        assert answered >= 2
