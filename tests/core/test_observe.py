"""Observation at the server (RFC 7641 section 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.errors import BadRequest, SessionEnded
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CON, CONTENT, NON, RST, kinds, site_of, wire
from .observing import CANCEL, OBSERVE, SlowState, State, acknowledge, observe_numbers, register


@virtual
async def test_registration_and_notifications() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        assert kinds(pair.answers) == [(ACK, CONTENT)]
        for number in (b"1", b"2", b"3"):
            state.set(number)
            await settle()
            assert kinds(pair.answers[-1:]) == [(CON, CONTENT)]
            assert pair.answers[-1].message.payload == number
            assert pair.answers[-1].message.token == b"t"
            acknowledge(pair)
        numbers = observe_numbers(pair.answers)
        assert all(number is not None for number in numbers)
        assert numbers == sorted(set(numbers))  # type: ignore[type-var]
        assert state.observation_count == 1


@virtual
async def test_the_order_goes_on_over_a_new_registration() -> None:
    """A sequence that began again would look old to a client that never left (section 4.4)."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        for mid in range(1, 5):
            await register(pair, mid=mid)
            for number in (b"1", b"2", b"3"):
                state.set(number)
                await settle()
                acknowledge(pair)
        numbers = observe_numbers(pair.answers)
        assert len(numbers) == 16
        assert numbers == sorted(set(numbers))  # type: ignore[type-var]


@virtual
async def test_a_change_reaches_each_of_a_thousand_at_once() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        peers = [f"observer-{number}" for number in range(1000)]
        for peer in peers:
            await register(pair, peer)
        for value in (b"1", b"2", b"3"):
            before = len(pair.answers)
            state.set(value)
            await asyncio.sleep(0.001)  # nothing is due so early but what was done at once
            notified = [(one.destination, one.message.payload) for one in pair.answers[before:]]
            assert sorted(notified) == sorted((peer, value) for peer in peers)
            for peer in peers:
                acknowledge(pair, peer)


@virtual
async def test_changes_while_one_is_outstanding_become_one() -> None:
    """R109."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        for number in range(1, 20):
            state.set(b"%d" % number)
            await settle()
        assert [one.message.payload for one in pair.answers] == [b"0", b"1"]
        acknowledge(pair)
        await settle()
        assert [one.message.payload for one in pair.answers] == [b"0", b"1", b"19"]
        acknowledge(pair)
        await settle()
        assert len(pair.answers) == 3


@virtual
async def test_the_newest_state_comes_last() -> None:
    """A rendering that takes long is not overtaken by a newer one and then sent as the newest."""
    state = SlowState(b"first")
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        await asyncio.sleep(1)
        state.set(b"second")
        await asyncio.sleep(1)
        acknowledge(pair)
        state.set(b"slow")
        await asyncio.sleep(0.5)
        state.set(b"last")
        await asyncio.sleep(5)
        assert [one.message.payload for one in pair.answers] == [b"first", b"second", b"slow", b"last"]


@virtual
async def test_renderings_that_wait_leave_nothing_behind() -> None:
    state = SlowState(b"0")
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        for number in range(30):
            state.set(b"%d" % number)
            await asyncio.sleep(0.1)
            acknowledge(pair)
        (incoming,) = pair.server.tokens._incoming.of(pair.server.interface.address("stranger"))
        assert not isinstance(incoming._callbacks, list)
        assert pair.server.server._tasks == set()
        state.set(b"slow")
        await asyncio.sleep(0.1)
        sent = len(pair.answers)
        await register(pair, mid=2, options=CANCEL)
        await asyncio.sleep(3)
        assert kinds(pair.answers[sent:]) == [(ACK, 0), (CON, CONTENT)]  # for the cancellation; nothing of the old one
        assert state.observation_count == 0


@pytest.mark.parametrize("mtype", [CON, NON])
@virtual
async def test_a_reset_ends_it(mtype: int) -> None:
    """R107."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=mtype)
        state.set(b"1")
        await settle()
        acknowledge(pair, mtype=RST)
        assert state.observation_count == 0
        assert len(pair.server.server._observations) == 0
        assert pair.server.tokens._incoming == {}
        state.set(b"2")
        await settle()
        assert len(pair.answers) == 2


@virtual
async def test_silence_ends_it() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.set(b"1")
        await asyncio.sleep(100)
        assert state.observation_count == 0
        assert len(pair.answers) == 6


@virtual
async def test_deregistration() -> None:
    """R103; a GET with Observe=1 that does not deregister is a known fault of another stack."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await register(pair, mid=2, token=b"u")
        await register(pair, mid=3, options=CANCEL)
        assert kinds(pair.answers) == [(ACK, CONTENT)] * 3
        assert pair.answers[-1].message.options.observe is None
        assert state.observation_count == 1
        await register(pair, mid=4, token=b"unknown", options=CANCEL)
        assert kinds(pair.answers[-1:]) == [(ACK, CONTENT)]
        assert state.observation_count == 1


@virtual
async def test_the_same_token_replaces() -> None:
    """R102."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        for mid in range(5):
            await register(pair, mid=mid)
        assert state.observation_count == 1
        state.set(b"1")
        await settle()
        assert len(pair.answers) == 6
        numbers = [number or 0 for number in observe_numbers(pair.answers)]
        assert numbers == sorted(set(numbers))  # they go on over a new registration
        await register(pair, mid=9, options=b"\xb1x")  # a plain GET with that token
        assert state.observation_count == 0


@pytest.mark.parametrize("value", [2, 5, 0xFFFFFF])
@virtual
async def test_other_values_are_a_plain_get(value: int) -> None:
    """R094."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        encoded = value.to_bytes((value.bit_length() + 7) // 8, "big")
        await register(pair, options=bytes((0x60 | len(encoded),)) + encoded + b"\x51x")
        assert pair.answers[0].message.options.observe is None
        assert state.observation_count == 0


@virtual
async def test_only_get_and_fetch_and_observable_resources() -> None:
    class Posting(State):
        render_post = State.render_get

    state = Posting()
    async with Pair(site_of(x=state)) as pair:
        pair.network.inject("stranger", "server", wire(CON, 2, 1, b"t", OBSERVE))
        assert pair.answers[-1].message.options.observe is None
        pair.network.inject("stranger", "server", wire(CON, 5, 2, b"t", OBSERVE))
        assert pair.answers[-1].message.options.observe is not None
        assert state.observation_count == 1


@virtual
async def test_a_resource_may_refuse() -> None:
    class Choosy(State):
        async def add_observation(self, request: Message, server_observation: Any) -> None:
            await asyncio.sleep(0.01)
            if request.options.uri_query == ("yes",):
                await super().add_observation(request, server_observation)

    state = Choosy()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await register(pair, mid=2, token=b"u", options=OBSERVE + b"\x43yes")
        await asyncio.sleep(0.05)
        assert [number is None for number in observe_numbers(pair.answers)] == [True, False]
        assert state.observation_count == 1


@pytest.mark.parametrize("state", [BadRequest("now wrong"), ValueError("crash"), Message(Code.NOT_FOUND)])
@virtual
async def test_an_error_ends_it(state: Any) -> None:
    """R104."""
    resource = State()
    async with Pair(site_of(x=resource)) as pair:
        await register(pair)
        resource.set(state)
        await settle()
        last = pair.answers[-1]
        assert last.code >= 0x80
        assert last.message.options.observe is None
        assert resource.observation_count == 0
        resource.set(b"again")
        await settle()
        assert len(pair.answers) == 2
        assert pair.server.tokens._incoming == {}


@virtual
async def test_an_error_at_registration() -> None:
    resource = State()
    resource.state = BadRequest("never")
    async with Pair(site_of(x=resource)) as pair:
        await register(pair)
        assert kinds(pair.answers) == [(ACK, 0x80)]
        assert pair.answers[0].message.options.observe is None
        assert resource.observation_count == 0


@virtual
async def test_another_format_ends_it() -> None:
    """R104: 4.06."""
    resource = State()
    async with Pair(site_of(x=resource)) as pair:
        await register(pair)
        resource.set(Message(payload=b"{}", content_format=50))
        await settle()
        assert kinds(pair.answers) == [(ACK, CONTENT), (CON, 0x86)]
        assert resource.observation_count == 0


@virtual
async def test_nothing_to_say() -> None:
    resource = State()
    async with Pair(site_of(x=resource)) as pair:
        await register(pair)
        resource.set(NoResponse)
        await settle()
        resource.set(b"1")
        await settle()
        assert [one.message.payload for one in pair.answers] == [b"0", b"1"]


@virtual
async def test_bounds() -> None:
    """Beyond them a registration is a plain GET."""
    state = State()
    limits = Limits(observations=5, observations_per_peer=2)
    async with Pair(site_of(x=state), limits=limits) as pair:
        for number in range(4):
            await register(pair, mid=number, token=b"%d" % number)
        assert state.observation_count == 2
        assert [number is None for number in observe_numbers(pair.answers)] == [False, False, True, True]
        for number in range(5):
            await register(pair, f"peer{number}")
        assert state.observation_count == 5
        await register(pair, mid=9, token=b"0", options=CANCEL)
        await register(pair, "another")
        assert state.observation_count == 5
        assert pair.answers[-1].message.options.observe is not None


@virtual
async def test_a_large_notification_is_one_block() -> None:
    """R086; whole in one datagram is a known fault of another stack."""
    state = State(bytes(3000))
    async with Pair(site_of(x=state)) as pair:
        await register(pair, options=OBSERVE + b"\xc1\x02")  # Block2 0/0/64
        state.set(b"x" * 3000)
        await settle()
        for one in pair.answers:
            block2 = one.message.options.block2
            assert block2 is not None
            assert (block2.number, block2.more, block2.size) == (0, True, 64)
            assert len(one.message.payload) == 64
            assert one.message.options.etag


@virtual
async def test_a_confirmable_one_each_day() -> None:
    """R108."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        for hour in range(60):
            state.set(b"%d" % hour)
            await settle()
            if pair.answers[-1].mtype == CON:
                acknowledge(pair)
            await asyncio.sleep(3600)
        confirmable = [one.time for one in pair.answers if one.mtype == CON]
        assert len(confirmable) == 3  # the first one shows that somebody is there
        assert confirmable[1] - confirmable[0] == pytest.approx(24 * 3600, abs=3601)
        assert confirmable[2] - confirmable[1] == pytest.approx(24 * 3600, abs=3601)


@virtual
async def test_a_forged_registration_sends_its_victim_little() -> None:
    """An observation from an address that nobody has shown to be real ends with its first notification."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        for number in range(600):
            state.set(b"%d" % number)
            await asyncio.sleep(1)
        assert state.observation_count == 0
        assert [one.mtype for one in pair.answers] == [NON] + [CON] * 5


@virtual
async def test_the_end_of_the_peer_ends_it() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await register(pair, mid=2, token=b"u")
        pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address("stranger"))
        assert state.observation_count == 0
        assert len(pair.server.server._observations) == 0


@virtual
async def test_last_words() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.end_observations()
        await settle()
        assert kinds(pair.answers) == [(ACK, CONTENT), (CON, 0x84)]
        assert state.observation_count == 0
