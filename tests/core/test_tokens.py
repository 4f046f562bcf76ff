"""Which response belongs to which request (RFC 7252 section 5.3)."""

from __future__ import annotations

import asyncio

import pytest

from securecoap.config import TransportParameters
from securecoap.core.plumbing import Ping, RequestPipe
from securecoap.errors import SessionEnded
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CON, CONTENT, GET, NON, PATH_X, Plain, Slow, site_of, wire


def begin(pair: Pair, token: bytes = b"", **options: object) -> tuple[RequestPipe, list[object]]:
    got: list[object] = []
    message = Message(Code.GET, **options)
    message.remote = pair.client.interface.address("server")
    message.token = token
    pipe = RequestPipe(message, lambda response, is_last: got.append((response.payload, is_last)), got.append)
    pair.client.tokens.request(pipe)
    return pipe, got


@virtual
async def test_a_response_after_the_interest_means_nothing() -> None:
    async with Pair() as pair:
        pipe, got = begin(pair)
        token = pair.requests[0].message.token
        pipe.end_interest()
        pair.network.inject("server", "client", wire(CON, CONTENT, 1, token))
        assert [one.mtype for one in pair.requests] == [CON, 3]
        assert got == []


@pytest.mark.parametrize("observe", [{}, {"observe": 0}])
@pytest.mark.parametrize("mtype", [CON, NON])
@virtual
async def test_a_response_from_elsewhere_means_nothing(mtype: int, observe: dict[str, int]) -> None:
    """Section 5.3.2: its source has to be where the request went; in a session of DTLS, that very one (section 9.1.2)."""
    async with Pair() as pair:
        _, got = begin(pair, **observe)
        token = pair.requests[0].message.token
        pair.network.inject("stranger", "client", wire(mtype, CONTENT, 1, token, payload=b"forged"))
        assert got == []
        assert [(one.destination, one.mtype) for one in pair.requests[1:]] == (
            [("stranger", 3)] if mtype == CON else []
        )
        pair.network.inject("server", "client", wire(mtype, CONTENT, 1, token, payload=b"true"))
        assert got == [(b"true", True)]


@virtual
async def test_one_response_and_no_more() -> None:
    async with Pair() as pair:
        _, got = begin(pair)
        token = pair.requests[0].message.token
        for mid in range(3):
            pair.network.inject("server", "client", wire(NON, CONTENT, mid, token, payload=b"%d" % mid))
        assert got == [(b"0", True)]


@virtual
async def test_a_token_taken_over() -> None:
    """Re-registration uses the token again (RFC 7641 section 3.3.1): the end of the old does not end the new."""
    async with Pair() as pair:
        old, got_old = begin(pair, b"same", observe=0)
        _, got_new = begin(pair, b"same", observe=0)
        old.end_interest()
        pair.network.inject("server", "client", wire(NON, CONTENT, 1, b"same", b"\x61\x01", b"x"))
        assert (got_old, got_new) == ([], [(b"x", False)])


@virtual
async def test_tokens_of_peers_are_their_own() -> None:
    slow = Slow(5.0)
    async with Pair(site_of(x=slow)) as pair:
        for peer in ("one", "two"):
            pair.network.inject(peer, "server", wire(CON, GET, 1, b"t", PATH_X))
        await asyncio.sleep(10)
        assert slow.cancelled == 0
        assert {one.destination for one in pair.answers if one.code} == {"one", "two"}


@virtual
async def test_the_end_of_one_peer_is_not_the_end_of_another() -> None:
    async with Pair(mtu=0) as pair:
        _, got = begin(pair)
        pair.client.manager.dispatch_error(SessionEnded("over"), pair.client.interface.address("other"))
        assert got == []
        pair.client.manager.dispatch_error(111, pair.client.interface.address("server"))
        assert len(got) == 1
        assert pair.client.tokens._outgoing == {}


@virtual
async def test_nothing_is_kept_of_what_was_answered() -> None:
    async with Pair(site_of(x=Plain(), y=Slow(1.0))) as pair:
        for path in ("x", "y", "z"):
            for confirmable in (True, False):
                await pair.client.get(path, confirmable=confirmable)
        await asyncio.sleep(5)
        for tokens in (pair.client.tokens, pair.server.tokens):
            assert (tokens._outgoing, tokens._incoming) == ({}, {})


@pytest.mark.parametrize("code", [0x41, 0x5F, 0xBF])
@virtual
async def test_codes_of_responses_that_nobody_knows(code: int) -> None:
    """An unknown response code is one of its class (section 5.9)."""
    async with Pair() as pair:
        _, got = begin(pair)
        pair.network.inject("server", "client", wire(NON, code, 1, pair.requests[0].message.token, payload=b"x"))
        assert got == [(b"x", True)]
        await settle()


@virtual
async def test_an_acknowledgement_finds_its_request_without_its_token() -> None:
    """It is of one message of ours: with a token taken over it ends the very request that it answers."""
    async with Pair(parameters=TransportParameters(nstart=2)) as pair:
        old, got_old = begin(pair, b"same", observe=0)
        _, got_new = begin(pair, b"same", observe=0)
        first, second = (one.message.mid or 0 for one in pair.requests)
        pair.network.inject("server", "client", wire(ACK, CONTENT, second, b"same", b"\x61\x01", b"new"))
        assert (got_old, got_new) == ([], [(b"new", False)])
        pair.network.inject("server", "client", wire(ACK, CONTENT, first, b"same", b"", b"old"))
        assert (got_old, got_new) == ([(b"old", True)], [(b"new", False)])
        pair.network.inject("server", "client", wire(NON, CONTENT, 1, b"same", b"\x61\x02", b"newer"))
        assert got_new[1:] == [(b"newer", False)]
        old.end_interest()


@virtual
async def test_a_response_in_the_acknowledgement_of_a_response_means_nothing() -> None:
    """Nor does one in that of a ping: their exchanges are no requests."""
    async with Pair(site_of(x=Slow(1.0))) as pair:
        pair.network.inject("client", "server", wire(CON, GET, 7, b"t", PATH_X))
        await asyncio.sleep(2)
        separate = next(one for one in pair.answers if one.code == CONTENT).message
        assert separate.mtype == CON
        pair.network.inject("client", "server", wire(ACK, CONTENT, separate.mid or 0, b"t", b"", b"what?"))
        ping = Message(Code.EMPTY)
        ping.remote = pair.client.interface.address("server")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ping.exchange = Ping(answer)
        pair.client.manager.send_message(ping)
        pair.network.inject("server", "client", wire(ACK, CONTENT, pair.requests[-1].message.mid or 0))
        assert not answer.done()


@pytest.mark.parametrize("mtype", [CON, NON])
@virtual
async def test_a_response_may_come_before_the_acknowledgement(mtype: int) -> None:
    """Section 5.2.2: messages may be reordered. It says that the request has arrived, so that is not sent again."""
    async with Pair() as pair:
        _, got = begin(pair)
        request = pair.requests[0].message
        pair.network.inject("server", "client", wire(mtype, CONTENT, 1, b"another", payload=b"x"))
        assert got == []
        pair.network.inject("server", "client", wire(mtype, CONTENT, 2, request.token, payload=b"x"))
        assert got == [(b"x", True)]
        answered = [ACK] if mtype == CON else []
        assert [one.mtype for one in pair.requests if one.mtype == ACK] == answered
        pair.network.inject("server", "client", wire(ACK, 0, request.mid or 0))
        await asyncio.sleep(300)
        assert len([one for one in pair.requests if one.code == GET]) == 1
        assert got == [(b"x", True)]


@virtual
async def test_only_what_outlives_its_acknowledgement_is_looked_for_by_token() -> None:
    async with Pair() as pair:
        _, got = begin(pair)
        request = pair.requests[0].message
        assert not pair.client.tokens._outgoing
        pair.network.inject("server", "client", wire(ACK, 0, request.mid or 0))
        assert len(pair.client.tokens._outgoing) == 1
        pair.network.inject("server", "client", wire(CON, CONTENT, 1, request.token, payload=b"x"))
        assert got == [(b"x", True)]
        assert not pair.client.tokens._outgoing


@virtual
async def test_a_response_that_must_not_be_processed_leaves_its_request_waiting() -> None:
    """Section 5.4.1: what has a critical option that nobody knows is dropped, or rejected; another one may be right."""
    async with Pair() as pair:
        _, got = begin(pair)
        request = pair.requests[0].message
        pair.network.inject("server", "client", wire(ACK, CONTENT, request.mid or 0, request.token, b"\xd1\x80x"))
        assert [one.mtype for one in pair.requests] == [CON]
        pair.network.inject("server", "client", wire(CON, CONTENT, 1, request.token, b"\xd1\x80x"))
        assert [one.mtype for one in pair.requests] == [CON, 3]
        pair.network.inject("server", "client", wire(CON, CONTENT, 2, request.token, payload=b"x"))
        assert got == [(b"x", True)]
        assert not pair.client.tokens._outgoing


@pytest.mark.parametrize("mtype", [CON, NON])
@virtual
async def test_a_response_that_is_rejected_before_the_acknowledgement_ends_nothing(mtype: int) -> None:
    """What must not be processed says nothing: the request is sent again, and a piggybacked response is its answer."""
    async with Pair(drop=lambda sent: sent.source == "client") as pair:
        _, got = begin(pair)
        request = pair.requests[0].message
        pair.network.inject("server", "client", wire(mtype, CONTENT, 1, request.token, b"\xd1\x80x"))
        await asyncio.sleep(4)
        assert len([one for one in pair.requests if one.code == GET]) == 2
        pair.network.inject("server", "client", wire(ACK, CONTENT, request.mid or 0, request.token, payload=b"x"))
        assert got == [(b"x", True)]
        assert not pair.client.tokens._outgoing


@virtual
async def test_what_answers_an_earlier_request_with_the_token_may_come_before_the_new_one_is_sent() -> None:
    """RFC 7641 section 3.3.1: a registration that waits for its turn to be renewed is not ended by a Reset."""
    async with Pair() as pair:
        begin(pair)
        renewed, got = begin(pair, b"same", observe=0)
        assert len(pair.requests) == 1
        pair.network.inject("server", "client", wire(NON, CONTENT, 1, b"same", b"\x61\x01", b"x"))
        assert got == [(b"x", False)]
        assert len(pair.requests) == 1
        renewed.end_interest()
        assert not pair.client.tokens._outgoing
