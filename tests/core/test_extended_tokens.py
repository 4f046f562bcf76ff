"""Long tokens of a client (RFC 8974): used where they are understood, and found out where nobody knows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.core.extended_tokens import ExtendedTokens
from securecoap.errors import RequestTimeout, ResetReceived
from securecoap.interfaces import EndpointAddress
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import CON, Plain, site_of

LONG = bytes(range(30))


def ask(pair: Pair, token: bytes = LONG, code: Code = Code.GET, payload: bytes = b"", **options: Any) -> Any:
    message = Message(code, payload, uri="coap://server/x", **options)
    message.options.uri_host = None
    message.token = token
    return pair.client.request(message).response


def tokens(pair: Pair) -> list[bytes]:
    """Of the requests that were sent."""
    return [sent.message.token for sent in pair.requests if sent.code]


def no_extension(pair: Pair) -> None:
    """The server is one of RFC 7252: a token length above 8 is a format error, so a Confirmable message is rejected."""
    deliver = pair.server.interface.deliver

    def old(data: bytes, source: str, destination: str) -> bool | None:
        if data[0] & 15 > 8:
            pair.server.manager.dispatch_malformed(data, pair.server.interface.address(source))
            return None
        return deliver(data, source, destination)

    pair.server.interface.deliver = old  # type: ignore[method-assign]  # that is the point


@pytest.mark.parametrize("length", [1, 8, 9, 12, 13, 32])
@virtual
async def test_a_token_of_the_applications_own(length: int) -> None:
    """R178: of any length that the peer takes, it comes back as it was."""
    token = bytes(range(length))
    async with Pair(site_of(x=Plain())) as pair:
        assert (await ask(pair, token)).payload == b"hello"
        assert tokens(pair) == [token]
        assert pair.answers[0].message.token == token


@virtual
async def test_support_is_found_out_once() -> None:
    """R180: by a Confirmable request that has no other fault."""
    async with Pair(site_of(x=Plain())) as pair:
        remote = pair.client.interface.address("server")
        known = pair.client.common.extended_tokens
        assert known.supports(remote) is None
        await ask(pair, confirmable=False)
        assert len(tokens(pair)[0]) == 8  # it would find nothing out, and may be lost
        assert known.supports(remote) is None
        await ask(pair)
        assert pair.requests[-1].mtype == CON
        assert known.supports(remote) is True
        await ask(pair, confirmable=False)
        assert tokens(pair)[1:] == [LONG, LONG]
        await asyncio.sleep(86_400)
        assert known.supports(remote) is None


@virtual
async def test_a_peer_that_does_not_know_them() -> None:
    """R180: a Reset says so; it is remembered, and not for ever."""
    async with Pair(site_of(x=Plain())) as pair:
        no_extension(pair)
        for _ in range(2):
            for confirmable in (True, False):
                assert (await ask(pair, confirmable=confirmable)).payload == b"hello"
        assert [len(token) for token in tokens(pair)] == [30, 8, 8, 8, 8]
        await asyncio.sleep(1_799)
        await ask(pair)
        assert len(tokens(pair)[-1]) == 8
        await asyncio.sleep(1)
        await ask(pair)
        assert [len(token) for token in tokens(pair)[-2:]] == [30, 8]


@virtual
async def test_a_reset_of_who_knows_them_is_a_reset() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        await ask(pair)
        no_extension(pair)
        with pytest.raises(ResetReceived):
            await ask(pair)


@virtual
async def test_too_long_for_this_server() -> None:
    """R181: 5.03, no Reset; the request is made with a usual token then."""
    async with Pair(site_of(x=Plain()), server_options={"limits": Limits(token_length=20)}) as pair:
        assert (await ask(pair)).payload == b"hello"
        assert [sent.code for sent in pair.answers] == [Code.SERVICE_UNAVAILABLE, Code.CONTENT]
        assert [len(token) for token in tokens(pair)] == [30, 8]
        await ask(pair)
        assert len(tokens(pair)[-1]) == 8


@virtual
async def test_a_refusal_that_has_other_reasons() -> None:
    class Refuses(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(Code.BAD_REQUEST)

    async with Pair(site_of(x=Refuses())) as pair:
        assert (await ask(pair)).code == Code.BAD_REQUEST
        assert pair.client.common.extended_tokens.supports(pair.client.interface.address("server")) is True


@virtual
async def test_only_the_first_exchange_has_it() -> None:
    """RFC 9175 section 4.2: a token is not used twice; blocks and repetitions have their own."""
    async with Pair(site_of(x=Plain())) as pair:
        assert (await ask(pair, code=Code.POST, payload=bytes(3000))).payload == bytes(3000)
        assert tokens(pair)[0] == LONG
        assert len(set(tokens(pair))) == len(tokens(pair)) > 3


@virtual
async def test_silence_finds_nothing_out() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.drop = lambda _: True
        with pytest.raises(RequestTimeout):
            await ask(pair)
        assert len(pair.client.common.extended_tokens) == 0


@virtual
async def test_findings_are_bounded() -> None:
    class Address(EndpointAddress):
        pass

    known = ExtendedTokens(asyncio.get_running_loop(), Limits(extended_token_peers=3))
    remotes = [Address() for _ in range(10)]
    for remote in remotes:
        message = Message(Code.GET)
        message.remote = remote

        async def answer(_: Message) -> Message:
            return Message(Code.CONTENT)

        await known.perform(message, LONG, answer)
    assert len(known) == 3
    assert [known.supports(remote) for remote in remotes] == [None] * 7 + [True] * 3
