"""A peer whose 65,536 Message IDs are all in use (RFC 7252 section 4.4): what becomes slower, and what does not happen.

How long a Message ID is in use is tested with its module, in ``test_peers.py``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.silence import EVERY_CLASS
from securecoap.errors import RequestFailed, RequestTimeout
from securecoap.interfaces import Exchange
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import VirtualLoop, settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import ACK, CON, NON, Plain, Slow, site_of, use_up, wire
from .observing import State, acknowledge, register

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.network import Sent

LIFETIME = TransportParameters().exchange_lifetime
WHOLE_TRANSFER = 40  # blocks, of which only some find a Message ID
BODY = bytes(WHOLE_TRANSFER * 1024)


def waiting(endpoint: Endpoint, peer: str) -> int:
    return len(endpoint.manager.peers[endpoint.interface.address(peer)].queue or ())


def assert_none_came_twice(sent: Iterable[Sent]) -> None:
    """No Message ID within a lifetime, but for retransmissions."""
    last: dict[int, Sent] = {}
    for one in sent:
        if one.mtype not in (CON, NON):
            continue
        before = last.get(one.mid)
        assert before is None or before.data == one.data or one.time - before.time >= LIFETIME
        last[one.mid] = one


class Told(Exchange):
    def __init__(self) -> None:
        self.is_acknowledged = False
        self.error: Exception | None = None
        self.delays: list[float] = []

    def acknowledged(self) -> None:
        self.is_acknowledged = True

    def failed(self, error: Exception) -> None:
        self.error = error

    def delayed(self, until: float) -> None:
        self.delays.append(until)


@virtual
async def test_seventy_thousand_messages_arrive_and_none_has_the_id_of_another() -> None:
    """As fast as one is acknowledged after the other, with two under way."""
    async with Pair(parameters=TransportParameters(nstart=2), delay=(0.0001, 0.0001)) as pair:
        remote = pair.client.interface.address("server")
        told: list[Told] = []
        began = pair.loop.time()
        while len(told) < 70_000:
            for _ in range(500):
                message = Message(Code.GET)
                message.remote = remote
                message.exchange = exchange = Told()
                told.append(exchange)
                pair.client.manager.send_message(message)
            while not all(one.is_acknowledged for one in told[-500:]):
                await asyncio.sleep(0.01)
                assert not any(one.error for one in told[-500:])
        assert LIFETIME < pair.loop.time() - began < LIFETIME + 60  # they waited once, and no longer than they had to
        assert len({sent.mid for sent in pair.requests}) == 65536
        assert_none_came_twice(pair.requests)
        delayed = [one for one in told if one.delays]
        assert 0 < len(delayed) <= 1000


@virtual
async def test_requests_wait_and_have_their_whole_time_for_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The wait is longer than a request may take for its answer; none of it is the peer's. It is said once."""
    async with Pair(site_of(x=Plain())) as pair:
        use_up(pair.client, "server")
        began = pair.loop.time()
        responses = await asyncio.gather(*(pair.client.get("x") for _ in range(5)))
        assert [one.payload for one in responses] == [b"hello"] * 5
        assert pair.requests[0].time == pytest.approx(began + LIFETIME)
        assert len(pair.requests) == 5
        (record,) = caplog.records
        assert record.getMessage() == "all Message IDs of server are in use: what is to be sent waits 247 s"


@virtual
async def test_so_has_whoever_observes_or_only_wants_it_to_arrive() -> None:
    state = State()
    async with Pair(site_of(x=state, y=Plain())) as pair:
        use_up(pair.client, "server")
        began = pair.loop.time()
        observed, sent = pair.client.ask(Code.GET, "x", observe=0), pair.client.post("y", no_response=EVERY_CLASS)
        silence, first = await asyncio.gather(sent, observed.response)
        assert silence is NoResponse
        assert first.payload == b"0"
        assert pair.loop.time() - began == pytest.approx(LIFETIME, abs=1)
        observed.cancel()


@pytest.mark.parametrize("confirmable", [True, False])
@virtual
async def test_what_nobody_answers_waits_or_fails_at_once(confirmable: bool) -> None:
    """Silence means that a request has arrived, or that it is on its way: one that is not sent must not be silent."""
    async with Pair(site_of(x=Plain())) as pair:
        use_up(pair.client, "server")
        request = asyncio.ensure_future(pair.client.post("x", no_response=EVERY_CLASS, confirmable=confirmable))
        await asyncio.sleep(1)
        assert request.done() is not confirmable
        if confirmable:
            assert await request is NoResponse
        else:
            with pytest.raises(RequestFailed, match="no Message ID is free"):
                await request


@pytest.mark.parametrize("confirmable", [None, False])
@virtual
async def test_who_does_not_answer_afterwards_fails_as_always(confirmable: bool | None) -> None:
    parameters = TransportParameters()
    async with Pair(loss=1.0) as pair:
        use_up(pair.client, "server")
        began = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await pair.client.get("x", confirmable=confirmable)
        waited = pair.loop.time() - began - LIFETIME
        if confirmable is False:
            assert waited == pytest.approx(parameters.non_timeout)
        else:
            assert 62 <= waited <= parameters.max_transmit_wait
        assert {sent.time - began >= LIFETIME - 1e-6 for sent in pair.requests} == {True}


@pytest.mark.parametrize(("method", "body", "expected"), [(Code.GET, b"", BODY), (Code.PUT, BODY, b"40960")])
@virtual
async def test_a_transfer_goes_on_when_the_next_ids_are_free(method: Code, body: bytes, expected: bytes) -> None:
    class Large(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=BODY)

        async def render_put(self, request: Message) -> Message:
            return Message(payload=str(len(request.payload)).encode())

    async with Pair(site_of(x=Large())) as pair:
        ids = use_up(pair.client, "server", left=WHOLE_TRANSFER // 4)
        began = pair.loop.time()
        assert (await pair.client.ask(method, "x", body).response).payload == expected
        assert LIFETIME < pair.loop.time() - began < LIFETIME + 10
        assert len(pair.requests) == WHOLE_TRANSFER
        assert_none_came_twice(pair.requests)
        assert not ids.are_awaited


@pytest.mark.parametrize("explicit", [False, True])
@virtual
async def test_cancelled_while_it_waits_it_is_never_sent(explicit: bool) -> None:
    async with Pair(site_of(x=Plain())) as pair:
        use_up(pair.client, "server")
        request = pair.client.ask(Code.GET, "x")
        other = pair.client.ask(Code.GET, "x")
        await settle()
        assert waiting(pair.client, "server") == 2
        if explicit:
            request.cancel()
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):  # its own time limit, shorter than the wait
                    await request.response
        await settle()
        assert waiting(pair.client, "server") == 1
        assert (await other.response).payload == b"hello"
        await asyncio.sleep(2 * LIFETIME)
        assert len(pair.requests) == 1


@virtual
async def test_closing_ends_what_waits() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        use_up(pair.client, "server")
        request = pair.client.ask(Code.GET, "x")
        message = Message(Code.GET)
        message.remote = pair.client.interface.address("server")
        message.exchange = told = Told()
        pair.client.manager.send_message(message)
        await settle()
        pair.client.manager.close()
        await settle()
        assert isinstance(told.error, RequestFailed)
        with pytest.raises(RequestFailed):
            await request.response
        await pair.client.close()
        await pair.server.close()
        assert isinstance(pair.loop, VirtualLoop)
        assert not pair.loop.timers()
        await asyncio.sleep(2 * LIFETIME)
        assert not pair.requests


@virtual
async def test_what_waits_is_bounded() -> None:
    reached: list[str] = []

    class Watched(Limits):
        def reached(self, name: str) -> None:
            reached.append(name)

    async with Pair(site_of(x=Plain()), limits=Watched(queued_per_peer=10)) as pair:
        use_up(pair.client, "server")
        requests = [pair.client.ask(Code.GET, "x") for _ in range(15)]
        results = await asyncio.gather(*(one.response for one in requests), return_exceptions=True)
        assert [type(one) for one in results] == [Message] * 10 + [RequestFailed] * 5
        assert reached == ["queued_per_peer"] * 5
        assert waiting(pair.client, "server") == 0


@virtual
async def test_another_peer_is_not_concerned() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        other = Endpoint(pair.network, "other", site_of(x=Plain()))
        use_up(pair.client, "server")
        late = pair.client.ask(Code.GET, "x")
        began = pair.loop.time()
        assert (await pair.client.get("x", host="other")).payload == b"hello"
        assert pair.loop.time() - began < 1
        late.cancel()
        await other.close()


@virtual
async def test_what_is_answered_at_once_needs_none() -> None:
    """The server has used its own up; responses that go with the acknowledgement have the request's."""
    async with Pair(site_of(x=Plain(), slow=Slow(1.0))) as pair:
        use_up(pair.server, "client")
        began = pair.loop.time()
        assert (await pair.client.get("x")).payload == b"hello"
        assert pair.loop.time() - began < 1
        slow = pair.client.ask(Code.GET, "slow")  # and a separate response waits
        await asyncio.sleep(60)
        assert not slow.response.done()
        await asyncio.sleep(LIFETIME)
        assert waiting(pair.server, "client") == 0
        assert any(sent.mtype == CON and sent.code == Code.CONTENT for sent in pair.answers)


@virtual
async def test_of_confirmable_notifications_the_newest_state_goes_out() -> None:
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair)
        use_up(pair.server, "stranger")
        sent_before = len(pair.answers)
        for value in (b"1", b"2", b"3"):
            state.set(value)
            await asyncio.sleep(10)
        assert len(pair.answers) == sent_before
        assert waiting(pair.server, "stranger") == 1
        await asyncio.sleep(LIFETIME - 29)
        newer = pair.answers[sent_before:]
        assert [one.message.payload for one in newer] == [b"3"]
        acknowledge(pair)


@virtual
async def test_of_others_the_newest_state_goes_out_when_there_is_one_again() -> None:
    """A Non-confirmable notification does not wait; the observation goes on, and nothing is rendered meanwhile."""
    state = State()
    async with Pair(site_of(x=state)) as pair:
        await register(pair, mtype=NON)
        state.set(b"first")  # is to be acknowledged, so the round-trip time is known
        await settle()
        acknowledge(pair)
        await settle()
        use_up(pair.server, "stranger")
        await asyncio.sleep(5)
        sent_before, rendered_before = len(pair.answers), state.renderings
        for value in (b"1", b"2", b"3"):
            state.set(value)
            await asyncio.sleep(10)
        assert len(pair.answers) == sent_before
        assert state.renderings == rendered_before + 1
        assert waiting(pair.server, "stranger") == 0
        await asyncio.sleep(LIFETIME)
        newer = pair.answers[sent_before:]
        assert [(one.mtype, one.message.payload) for one in newer] == [(NON, b"3")]
        state.set(b"4")
        await asyncio.sleep(5)
        assert pair.answers[-1].message.payload == b"4"


@virtual
async def test_a_response_without_acknowledgement_is_lost() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        use_up(pair.server, "stranger")
        pair.network.inject("stranger", "server", wire(NON, Code.GET, 1, b"t", b"\xb1x"))
        await asyncio.sleep(2 * LIFETIME)
        assert not pair.answers
        pair.network.inject("stranger", "server", wire(NON, Code.GET, 2, b"t", b"\xb1x"))
        await settle()
        assert [sent.mtype for sent in pair.answers] == [NON]


@virtual
async def test_the_end_of_one_that_was_sent_before_starts_nothing() -> None:
    """It makes room for the next by NSTART, but there is still no Message ID."""
    async with Pair(site_of(x=Slow(5.0)), drop=lambda sent: sent.mtype == ACK and sent.source == "server") as pair:
        use_up(pair.client, "server", left=1)
        first = pair.client.ask(Code.GET, "x")
        second = pair.client.ask(Code.GET, "x")
        third = pair.client.ask(Code.GET, "x")
        assert (await first.response).payload == b"late"
        assert waiting(pair.client, "server") == 2
        began = pair.loop.time()
        assert (await second.response).payload == b"late"
        assert (await third.response).payload == b"late"
        assert pair.loop.time() - began > LIFETIME - 10
        assert_none_came_twice(pair.requests)
