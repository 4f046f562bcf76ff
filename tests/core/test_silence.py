"""No-Response (RFC 7967): what a client makes of silence, and what a server leaves out."""

from __future__ import annotations

import asyncio

import pytest

from securecoap.config import Limits
from securecoap.core.silence import EVERY_CLASS
from securecoap.errors import RequestTimeout, ResetReceived
from securecoap.resources import ObservableResource, Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CON, CONTENT, NON, RST, Plain, kinds, site_of, wire


class Picky(Resource):
    """POST of ``ok`` is fine, anything else is not."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def render_post(self, request: Message) -> Message:
        self.seen.append(request.payload)
        return Message() if request.payload[:2] == b"ok" else Message(Code.BAD_REQUEST)


def known(pair: Pair, token: bytes) -> bool:
    """Whether the token is taken at the client."""
    return pair.client.tokens._outgoing.find(pair.client.interface.address("server"), token) is not None


@virtual
async def test_nobody_waits_for_what_nobody_wants() -> None:
    """A Non-confirmable request of which no answer is wanted is done at once; nothing comes back."""
    resource = Picky()
    async with Pair(site_of(x=resource)) as pair:
        started = pair.loop.time()
        for payload in (b"ok", b"no"):
            answer = await pair.client.post("x", payload, no_response=EVERY_CLASS, confirmable=False)
            assert answer is NoResponse
        assert pair.loop.time() == started
        await asyncio.sleep(1)
        assert resource.seen == [b"ok", b"no"]
        assert pair.answers == []


@virtual
async def test_an_acknowledgement_is_all_that_a_confirmable_one_waits_for() -> None:
    """R185."""
    async with Pair(site_of(x=Picky()), seed=3) as pair:
        pair.drop_next(lambda sent: sent.source == "client")
        assert await pair.client.post("x", b"no", no_response=EVERY_CLASS) is NoResponse
        assert kinds(pair.answers) == [(ACK, 0)]
        assert len(pair.requests) == 2  # it was retransmitted, and is not any more
        await asyncio.sleep(100)
        assert len(pair.requests) == 2


@virtual
async def test_an_error_that_is_wanted_is_waited_for() -> None:
    async with Pair(site_of(x=Picky())) as pair:
        for confirmable in (True, False):
            started = pair.loop.time()
            answer = await pair.client.post("x", b"no", no_response=2, confirmable=confirmable)
            assert answer.code == Code.BAD_REQUEST
            assert pair.loop.time() - started < 1
            assert await pair.client.post("x", b"ok", no_response=2, confirmable=confirmable) is NoResponse
            assert 10 <= pair.loop.time() - started < 11


@virtual
async def test_a_server_that_does_not_know_the_option() -> None:
    """It is elective: an answer that comes all the same, while somebody waits, is the answer."""
    async with Pair() as pair:
        request = pair.client.ask(Code.POST, "x", b"ok", no_response=2)
        await settle()
        sent = pair.requests[0]
        pair.network.inject("server", "client", wire(ACK, 0x44, sent.mid, sent.message.token))
        assert (await request.response).code == Code.CHANGED


@pytest.mark.parametrize("mtype", [ACK, CON, NON])
@virtual
async def test_a_response_is_no_silence_though_none_was_wanted(mtype: int) -> None:
    """It comes with the news that the request has arrived, or is that news."""
    async with Pair() as pair:
        request = pair.client.ask(Code.POST, "x", b"no", no_response=EVERY_CLASS)
        await settle()
        sent = pair.requests[0]
        pair.network.inject("server", "client", wire(mtype, 0x80, sent.mid, sent.message.token))
        assert (await request.response).code == Code.BAD_REQUEST
        assert not pair.client.tokens._outgoing


@virtual
async def test_failures_are_failures() -> None:
    async with Pair(drop=lambda sent: sent.source == "server") as pair:
        with pytest.raises(RequestTimeout):
            await pair.client.post("x", b"", no_response=EVERY_CLASS)
        request = pair.client.ask(Code.POST, "x", no_response=EVERY_CLASS)
        await settle()
        pair.network.inject("server", "client", wire(RST, 0, pair.requests[-1].mid))
        with pytest.raises(ResetReceived):
            await request.response
        assert len(pair.client.silent) == 0


@virtual
async def test_tokens_are_kept_as_long_as_an_answer_may_come() -> None:
    """R186: a late answer is no stranger's, and the token nobody else's."""
    async with Pair() as pair:
        pair.network.drop = lambda _: True
        await pair.client.post("x", b"", no_response=EVERY_CLASS, confirmable=False)
        token = pair.requests[0].message.token
        assert known(pair, token)
        await asyncio.sleep(200)
        assert known(pair, token)
        pair.network.inject("server", "client", wire(CON, CONTENT, 7, token))
        assert kinds(pair.requests[1:]) == [(ACK, 0)]
        await pair.client.post("x", b"", no_response=EVERY_CLASS, confirmable=False)
        await asyncio.sleep(246)
        assert len(pair.client.silent) == 1
        await asyncio.sleep(2)
        assert len(pair.client.silent) == 0
        assert pair.client.tokens._outgoing == {}
        pair.network.inject("server", "client", wire(CON, CONTENT, 8, token))
        assert kinds(pair.requests[-1:]) == [(RST, 0)]


@virtual
async def test_what_is_kept_is_bounded() -> None:
    async with Pair(site_of(x=Picky()), limits=Limits(silent_requests=5)) as pair:
        for _ in range(20):
            await pair.client.post("x", b"ok", no_response=EVERY_CLASS, confirmable=False)
        assert len(pair.client.silent) == 5
        assert [known(pair, sent.message.token) for sent in pair.requests] == [False] * 15 + [
            True
        ] * 5  # the oldest went


@virtual
async def test_a_body_in_blocks() -> None:
    """The option is about the response to the whole body; 2.31 goes on coming."""
    resource = Picky()
    body = b"ok" + bytes(3000)
    async with Pair(site_of(x=resource)) as pair:
        assert await pair.client.post("x", body, no_response=EVERY_CLASS) is NoResponse
        assert resource.seen == [body]
        wishes = [sent.message.options.no_response for sent in pair.requests]
        assert wishes == [None, None, EVERY_CLASS]
        assert [sent.code for sent in pair.answers] == [0x5F, 0x5F, 0]


@virtual
async def test_a_server_never_holds_2_31_back() -> None:
    """A client that says it in each block would send no second one."""
    async with Pair(site_of(x=Picky())) as pair:
        first = wire(CON, 2, 1, b"t", b"\xb1x\xd1\x03\x0e\xd1\xda\x1a", b"ok" + bytes(1022))
        assert Message.decode(first).options.no_response == EVERY_CLASS
        pair.network.inject("stranger", "server", first)
        await asyncio.sleep(1)
        assert kinds(pair.answers) == [(ACK, 0x5F)]


class Door(ObservableResource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=b"open")


@virtual
async def test_no_observation_of_which_nobody_wants_to_hear() -> None:
    door = Door()
    async with Pair(site_of(x=door)) as pair:
        for mid, wish in enumerate((2, 26, 8)):
            options = b"\x60\x51x\xd1\xea" + bytes((wish,))
            message = Message.decode(wire(NON, 1, mid, bytes((mid,)), options))
            assert (message.options.observe, message.options.no_response) == (0, wish)
            pair.network.inject("stranger", "server", message.encode())
        await asyncio.sleep(1)
        assert door.observation_count == 1  # errors only are not wanted
        assert [sent.code for sent in pair.answers] == [CONTENT]


@virtual
async def test_cancellation() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        request = pair.client.ask(Code.POST, "x", no_response=2)
        await asyncio.sleep(1)
        assert request.may_be_silent
        request.response.cancel()
        await settle()
        assert request.is_done
        assert pair.client.tokens._outgoing == {}
