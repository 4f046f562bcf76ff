"""Observation at the server (RFC 7641 section 4)."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.observer import is_newer
from securecoap.errors import BadRequest, SessionEnded, Unreachable
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair
from tests.simulation.network import SimulatedAddress

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
async def test_a_resource_that_fails_at_the_end_of_one_keeps_nobody_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Otherwise neither the others of that peer would end, nor the endpoint close its socket."""

    class Failing(State):
        async def add_observation(self, request: Message, server_observation: Any) -> None:
            server_observation.accept(self.fail)

        def fail(self) -> None:
            raise ValueError("at the end")

    async with Pair(site_of(x=Failing())) as pair:
        for token in (b"1", b"2"):
            await register(pair, mid=int(token), token=token)
        await register(pair, "other")
        assert pair.server.server.observation_count == 3
        pair.server.manager.dispatch_error(111, pair.server.interface.address("stranger"))
        assert pair.server.server.observation_count == 1
    assert pair.server.server.observation_count == 0
    assert not pair.server.interface.is_open
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError] * 3


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
        pair.network.inject("stranger", "server", wire(CON, 5, 2, b"t", OBSERVE))
        assert [number is None for number in observe_numbers(pair.answers)] == [True, False]
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


# One rendering for many.


class Guarded(State):
    """Shows to whom it is shown."""

    def render_get(self, request: Message) -> Message:
        self.renderings += 1
        return Message(payload=b"%s for %s" % (self.state, ",".join(request.remote.authenticated_claims).encode()))


def prove(pair: Pair, peer: str, *claims: str) -> None:
    """Have an address carry claims, as one of a DTLS session does."""
    interface = pair.server.interface
    interface._known[peer, None] = Authenticated(interface, peer, claims)


class Authenticated(SimulatedAddress):
    __slots__ = ("authenticated_claims",)

    def __init__(self, interface: Any, name: str, claims: tuple[str, ...]) -> None:
        super().__init__(interface, name)
        self.authenticated_claims = claims
        self.confirmed = True

    __hash__ = SimulatedAddress.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@virtual
async def test_one_rendering_for_all_who_get_the_same() -> None:
    """With one number: what goes to each differs in Message ID and token only."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        for number in range(100):
            await register(pair, f"peer{number}", token=b"%d" % number)
        state.renderings = 0
        before = len(pair.answers)
        state.set(b"new")
        await settle()
        notified = pair.answers[before:]
        assert len(notified) == 100
        assert state.renderings == 1
        assert len({one.message.options.encode() + one.message.payload for one in notified}) == 1


@virtual
async def test_accept_and_etag_are_of_each_observer() -> None:
    class Formats(State):
        def render_get(self, request: Message) -> Message:
            self.renderings += 1
            accept = request.options.accept or 0
            return Message(payload=self.state + b" as %d" % accept, content_format=accept, etag=self.state)

    state = Formats()
    async with Pair(site_of(x=state)) as pair:
        for peer, options in {
            "text": OBSERVE, "json": OBSERVE + b"\x61\x32", "also-json": OBSERVE + b"\x61\x32", "knows": b"\x411" + b"\x20\x51x",
        }.items():  # fmt: skip
            await register(pair, peer, options=options)
        state.renderings = 0
        before = len(pair.answers)
        state.set(b"1")
        await settle()
        sent = {one.destination: (one.code, one.message.payload) for one in pair.answers[before:]}
        assert sent == {
            "text": (CONTENT, b"1 as 0"), "json": (CONTENT, b"1 as 50"), "also-json": (CONTENT, b"1 as 50"),
            "knows": (int(Code.VALID), b""),
        }  # fmt: skip
        assert state.renderings == 3


@pytest.mark.parametrize("same_for_all", [False, True])
@virtual
async def test_what_was_proved_decides_what_is_shared(same_for_all: bool) -> None:
    state = Guarded()
    state.same_for_all = same_for_all
    async with Pair(site_of(x=state)) as pair:
        for peer, claims in {"a": (":a",), "also-a": (":a",), "b": (":b",), "nobody": ()}.items():
            if claims:
                prove(pair, peer, *claims)
            await register(pair, peer)
        state.renderings = 0
        before = len(pair.answers)
        state.set(b"1")
        await settle()
        sent = {one.destination: one.message.payload for one in pair.answers[before:]}
        if same_for_all:
            assert state.renderings == 1
            assert len(set(sent.values())) == 1
        else:
            assert state.renderings == 3
            assert sent == {"a": b"1 for :a", "also-a": b"1 for :a", "b": b"1 for :b", "nobody": b"1 for "}


@virtual
async def test_a_slow_rendering_is_shared_and_outlives_who_asked_first() -> None:
    state = SlowState()
    async with Pair(site_of(x=state)) as pair:
        for number in range(10):
            await register(pair, f"peer{number}", mid=1)
        await asyncio.sleep(2)
        before = len(pair.answers)
        state.set(b"slow")
        await asyncio.sleep(0.5)
        assert len(pair.server.server._tasks) == 1
        await register(pair, "peer0", mid=2, options=CANCEL)
        await asyncio.sleep(2)
        told = {one.destination for one in pair.answers[before:] if one.mtype == CON and one.message.options.observe}
        assert told == {f"peer{number}" for number in range(1, 10)}


@virtual
async def test_a_slow_rendering_for_nobody_is_given_up() -> None:
    state = SlowState()
    async with Pair(site_of(x=state)) as pair:
        for number in range(3):
            await register(pair, f"peer{number}")
        await asyncio.sleep(2)
        state.set(b"slow")
        await asyncio.sleep(0.5)
        for number in range(3):
            pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address(f"peer{number}"))
        await settle()
        assert pair.server.server._tasks == set()
        gc.collect()  # a task that was cancelled is part of a cycle
        assert len(pair.server.server._observations._audiences) == 0


@virtual
async def test_who_is_told_alone_does_not_hear_older_news_after_it() -> None:
    """A rendering that was made before is not sent to who has had a newer one."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await register(pair, "other")
        ((place, _), *_) = state.observations._places.items()
        observation: Any = place.observation
        change = object()
        for one in list(state.observations._places):
            one.observation.notify(change)  # type: ignore[attr-defined]  # the server's has it
        acknowledge(pair)
        state.state = b"newer"
        observation.trigger()
        acknowledge(pair)
        observation.notify(change)
        assert [one.message.payload for one in pair.network.between("server", "stranger")][-2:] == [b"newer"] * 2
        numbers = observe_numbers(pair.network.between("server", "stranger"))
        assert numbers == sorted(set(numbers))  # type: ignore[type-var]


# Retransmission (section 4.5.2) and turns (4.5.1).


@virtual
async def test_r110_the_newest_state_replaces_one_under_retransmission() -> None:
    """With a Message ID of its own, and the counter and time-out of the old one."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        start = pair.loop.time()
        for number in range(1, 100):
            state.set(b"%d" % number)
            await asyncio.sleep(1)
        sent = pair.answers[1:]
        assert len(sent) == 5  # four retransmissions, and then the client is given up
        assert len({one.mid for one in sent}) == 5
        payloads = [int(one.message.payload) for one in sent]
        assert payloads == sorted(set(payloads))
        numbers = observe_numbers(sent)
        assert numbers == sorted(set(numbers))  # type: ignore[type-var]
        waits = [later.time - one.time for one, later in pairwise(sent)]
        assert 2 <= waits[0] <= 3
        assert [wait / waits[0] for wait in waits] == pytest.approx([1, 2, 4, 8])
        for one, number in zip(sent, payloads, strict=True):
            assert number - 1 <= one.time - start <= number  # the newest there was
        assert state.observation_count == 0


@virtual
async def test_r110_what_has_not_changed_is_repeated_as_it_is() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.set(b"1")
        await asyncio.sleep(20)
        assert len(pair.answers) > 3
        assert len({one.data for one in pair.answers[1:]}) == 1


@virtual
async def test_r110_an_acknowledgement_ends_the_old_time_outs() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.set(b"1")
        await asyncio.sleep(1)
        state.set(b"2")
        await asyncio.sleep(3)
        assert [one.message.payload for one in pair.answers] == [b"0", b"1", b"2"]
        acknowledge(pair)
        state.set(b"3")
        await asyncio.sleep(100)
        last = [one.time for one in pair.answers[3:]]
        assert len(last) == 5
        assert 2 <= last[1] - last[0] <= 3


@virtual
async def test_r110_a_slow_handler_keeps_the_time_outs_too() -> None:
    state = SlowState()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await asyncio.sleep(1)
        for number in range(1, 100):
            state.set(b"%d" % number)
            await asyncio.sleep(1)
        sent = [one for one in pair.answers if one.mtype == CON]
        assert len(sent) <= 6
        assert state.observation_count == 0


@virtual
async def test_r109_a_notification_that_waits_for_its_turn_is_of_the_newest_state() -> None:
    """NSTART is for all observations of a client together."""
    first, second = State(b"a"), State(b"b")
    async with Pair(site_of(x=first, y=second)) as pair:
        await register(pair)
        await register(pair, mid=2, token=b"u", options=b"\x60\x51y")
        first.set(b"a1")
        await settle()
        for number in range(1, 5):
            second.set(b"b%d" % number)
            await settle()
        assert [one.message.payload for one in pair.answers] == [b"a", b"b", b"a1"]
        acknowledge(pair)
        await settle()
        assert [one.message.payload for one in pair.answers[3:]] == [b"b4"]
        acknowledge(pair)
        await settle()
        assert len(pair.answers) == 4


@virtual
async def test_r108_one_in_many_is_confirmable() -> None:
    state = State()
    async with Pair(site_of(x=state), parameters=TransportParameters(unacknowledged_notifications=5)) as pair:
        await register(pair, mtype=NON)
        for number in range(20):
            state.set(b"%d" % number)
            await settle()
            if pair.answers[-1].mtype == CON:
                acknowledge(pair)
            await asyncio.sleep(1)
        assert [one.mtype for one in pair.answers[1:]] == ([CON] + [NON] * 5) * 3 + [CON, NON]


@virtual
async def test_non_confirmable_notifications_keep_their_distance() -> None:
    """One in a round-trip time (section 4.5.1), and the last one is of the last state."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        state.set(b"first")
        await asyncio.sleep(0.5)
        acknowledge(pair)
        start = len(pair.answers)
        for number in range(100):
            state.set(b"%d" % number)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        sent = pair.answers[start:]
        assert 15 <= len(sent) <= 21
        assert min(later.time - one.time for one, later in pairwise(sent)) >= 0.499
        assert sent[-1].message.payload == b"99"


# Bounds.


@virtual
async def test_r112_bounds_of_an_identity() -> None:
    """Many sessions of one credential are one client."""
    state = State()
    async with Pair(site_of(x=state), limits=Limits(observations_per_identity=3)) as pair:
        for number in range(5):
            prove(pair, f"session{number}", ":fleet")
            await register(pair, f"session{number}")
        assert state.observation_count == 3
        prove(pair, "another", ":another")
        await register(pair, "another")
        assert state.observation_count == 4
        pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address("session0"))
        prove(pair, "session9", ":fleet")
        await register(pair, "session9")
        assert state.observation_count == 4
        assert pair.answers[-1].message.options.observe is not None


@virtual
async def test_r112_strangers_leave_room_for_the_others() -> None:
    state = State()
    async with Pair(site_of(x=state), limits=Limits(observations=10)) as pair:
        for number in range(12):
            await register(pair, f"stranger{number}")
        assert state.observation_count == 9
        prove(pair, "known", ":known")
        await register(pair, "known")
        assert state.observation_count == 10
        assert len(pair.server.server._observations) == 10
        for number in range(12):
            pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address(f"stranger{number}"))
        pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address("known"))
        table = pair.server.server._observations
        assert (len(table), table._strangers, table._of) == (0, 0, {})


@virtual
async def test_an_icmp_error_ends_it() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.set(b"1")
        await settle()
        remote = pair.server.interface.address("stranger")
        pair.server.manager.dispatch_quoted_error(Unreachable(111, "gone"), remote, pair.answers[-1].data)
        assert state.observation_count == 0


@virtual
async def test_r106_the_order_goes_on_over_a_restart() -> None:
    """Numbers follow the wall clock that the server is given."""
    state = State()
    last = -1
    for now in (1.7e9, 1.7e9 + 3):
        async with Pair(site_of(x=state), server_options={"now": now}) as pair:
            await register(pair)
            for number in range(100):
                state.set(b"%d" % number)
                await settle()
                acknowledge(pair)
            numbers = [number or 0 for number in observe_numbers(pair.answers)]
            assert is_newer((last, 0.0), numbers[0], 0.0) or last < 0
            last = numbers[-1]


@virtual
async def test_r105_max_age_is_what_the_resource_says() -> None:
    state = State(Message(payload=b"0", max_age=7))
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        state.set(Message(payload=b"1", max_age=8))
        await settle()
        assert [one.message.options.max_age for one in pair.answers] == [7, 8]


@virtual
async def test_closing_leaves_no_timer() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        state.set(b"1")
        await asyncio.sleep(1)
        acknowledge(pair)
        for number in range(5):
            state.set(b"%d" % number)
            await settle()
    assert pair.loop.timers() == []  # type: ignore[attr-defined]  # the virtual one tells


class Failing(State):
    """Accepts, and fails then."""

    async def add_observation(self, request: Message, server_observation: Any) -> None:
        self.observations.accept(server_observation)
        await asyncio.sleep(0.01)
        raise RuntimeError("a fault of the resource")


class FailingAtOnce(State):
    def dispatch_observation(self, request: Message, server_observation: Any) -> None:
        self.observations.accept(server_observation)
        raise RuntimeError("a fault of the resource")


@pytest.mark.parametrize("kind", [Failing, FailingAtOnce])
@virtual
async def test_a_resource_that_fails_after_it_accepted(kind: type[State], caplog: pytest.LogCaptureFixture) -> None:
    """The client is told 5.00, so it does not observe; nor does the resource go on telling it."""
    state = kind()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        await asyncio.sleep(1)
        assert [one.message.code for one in pair.answers] == [Code.INTERNAL_SERVER_ERROR]
        table = pair.server.server._observations
        assert (state.observation_count, len(table), table._of, table._audiences) == (0, 0, {}, {})
    assert "a fault of the resource" in caplog.text


@virtual
async def test_r112_registrations_that_wait_for_their_resource_are_counted() -> None:
    class Slow(State):
        async def add_observation(self, request: Message, server_observation: Any) -> None:
            await asyncio.sleep(0.01)
            if self.state != b"refuse":
                self.observations.accept(server_observation)

    state = Slow()
    async with Pair(site_of(x=state), limits=Limits(observations_per_peer=3)) as pair:
        for number in range(9):
            await register(pair, mid=number, token=b"%d" % number)
        await asyncio.sleep(1)
        assert state.observation_count == 3
        assert sum(number is not None for number in observe_numbers(pair.answers)) == 3
        state.state = b"refuse"
        for number in range(9):
            await register(pair, "another", mid=number, token=b"%d" % number)
            await asyncio.sleep(1)
        await register(pair, "a third", mid=1, token=b"gone")
        pair.server.manager.dispatch_error(SessionEnded("over"), pair.server.interface.address("a third"))
        await asyncio.sleep(1)
        table = pair.server.server._observations
        assert (len(table), table._strangers, list(table._of.values())) == (3, 3, [3])


@virtual
async def test_accepted_when_it_is_over() -> None:
    """A resource that takes its time may accept what has ended meanwhile, and is told so."""
    kept: list[Any] = []

    class Late(State):
        async def add_observation(self, request: Message, server_observation: Any) -> None:
            kept.append(server_observation)

    async with Pair(site_of(x=Late())) as pair:
        await register(pair)
        ended: list[str] = []
        kept[0].accept(lambda: ended.append("over"))
        assert ended == ["over"]
        assert len(pair.server.server._observations) == 0
