"""ETSI's plugtest cases for blockwise transfer, by their numbers (RFC 7959)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from tests.simulation.clock import settle, virtual

from .etsi import LARGE
from .plugtest import PERFECT, etsi_pair, on_networks, site_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.endpoints import Pair
    from tests.simulation.network import Sent

DESIRED = 2  # the exponent of blocks of 64 bytes


def once(sent: list[Sent]) -> list[Sent]:
    """Without copies and Empty messages."""
    return list({(one.mid, one.code): one for one in sent if one.code}.values())


def check_download(pair: Pair, exponent: int, body: bytes, answers: list[Sent] | None = None) -> None:
    """Blocks come in order, all of one size, and nobody sends one that was not asked for."""
    size = 16 << exponent
    count = -(-len(body) // size)
    answers = once(pair.answers) if answers is None else answers
    assert [one.message.options.block2 for one in answers] == [
        Block(number, number < count - 1, exponent) for number in range(count)
    ]
    assert [one.message.payload for one in answers] == [body[at : at + size] for at in range(0, len(body), size)]


def asked_blocks(pair: Pair) -> list[Block | None]:
    return [one.message.options.block2 for one in once(pair.requests)]


@pytest.mark.parametrize("exponent", [pytest.param(DESIRED, id="block_01"), pytest.param(0, id="block_06")])
@on_networks
@virtual
async def test_block_01_and_06_get_with_early_negotiation(network: Mapping[str, Any], exponent: int) -> None:
    async with etsi_pair(network) as pair:
        response = await pair.client.get("large", block2=Block(0, more=False, size_exponent=exponent))
        assert (response.code, response.payload) == (Code.CONTENT, LARGE)
        if network is PERFECT:
            check_download(pair, exponent, LARGE)
            count = -(-len(LARGE) // (16 << exponent))
            assert asked_blocks(pair) == [Block(number, more=False, size_exponent=exponent) for number in range(count)]


@on_networks
@virtual
async def test_block_02_get_with_late_negotiation(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await pair.client.get("large")
        assert (response.code, response.payload) == (Code.CONTENT, LARGE)
        if network is PERFECT:
            check_download(pair, 6, LARGE)
            assert asked_blocks(pair) == [None, Block(1, more=False, size_exponent=6)]


@on_networks
@virtual
async def test_block_03_put(network: Mapping[str, Any]) -> None:
    body = LARGE[::-1]
    async with etsi_pair(network) as pair:
        wish = Block(0, more=True, size_exponent=DESIRED)
        response = await pair.client.put("large-update", body, content_format=0, block1=wish)
        assert response.code == Code.CHANGED
        assert site_resource(pair, "large-update").body == body
        if network is PERFECT:
            size = 16 << DESIRED
            count = -(-len(body) // size)
            blocks = [Block(number, number < count - 1, DESIRED) for number in range(count)]
            assert [one.message.options.block1 for one in pair.requests] == blocks
            assert [one.message.options.block1 for one in pair.answers] == blocks
            assert [one.code for one in pair.answers] == [Code.CONTINUE] * (count - 1) + [Code.CHANGED]
            assert {len(one.message.payload) for one in pair.requests[:-1]} == {size}


@on_networks
@virtual
async def test_block_04_post_that_creates(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await pair.client.post("large-create", LARGE, content_format=0)
        assert response.code == Code.CREATED
        assert len(response.options.location_path) == 2
        if network is PERFECT:
            assert [one.code for one in pair.answers] == [Code.CONTINUE, Code.CREATED]
        created = await pair.client.get("/".join(response.options.location_path))
        assert (created.code, created.payload) == (Code.CONTENT, LARGE)
        assert len(site_resource(pair, "large-create").created) == 1  # carried out once, whatever was lost


@on_networks
@virtual
async def test_block_05_post_with_a_large_answer(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await pair.client.post("large-post", LARGE, content_format=0)
        assert (response.code, response.payload) == (Code.CHANGED, LARGE.upper())
        if network is PERFECT:
            first, last, rest = pair.requests
            assert [one.message.options.block1 for one in (first, last, rest)] == [
                Block(0, more=True, size_exponent=6),
                Block(1, more=False, size_exponent=6),
                None,
            ]
            assert (rest.message.code, rest.message.payload) == (Code.POST, b"")
            assert rest.message.options.block2 == Block(1, more=False, size_exponent=6)
            answer = pair.answers[1].message
            assert answer.options.block1 == Block(1, more=False, size_exponent=6)
            check_download(pair, 6, LARGE.upper(), pair.answers[1:])


@virtual
async def test_block_03_a_server_that_wants_smaller_blocks() -> None:
    """Numbers are counted in its size from there on."""
    async with etsi_pair(PERFECT) as pair:
        pair.network.groups["small"] = []
        address = pair.client.interface.address("small")
        address.is_multicast = False
        request = pair.client.ask(Code.PUT, "large-update", LARGE, host="small", content_format=0)
        seen: list[tuple[Block, bytes]] = []
        answered = 0
        while not request.response.done():
            for one in pair.requests[answered:]:
                answered += 1
                block = one.message.options.block1
                assert block is not None
                seen.append((block, one.message.payload))
                answer = one.message.copy()
                answer.code = Code.CONTINUE if block.more else Code.CHANGED
                answer.payload = b""
                answer.options = type(answer.options)()
                answer.options.block1 = Block(block.number, block.more, min(block.size_exponent, DESIRED))
                answer.mtype, answer.mid, answer.token = 2, one.mid, one.message.token
                pair.network.inject("small", "client", answer.encode())
            await settle()
        assert (await request.response).code == Code.CHANGED
        assert seen[0][0] == Block(0, more=True, size_exponent=6)
        assert seen[1][0] == Block(1024 >> (4 + DESIRED), more=True, size_exponent=DESIRED)
        assert [block.start for block, _ in seen[1:]] == list(range(1024, len(LARGE), 16 << DESIRED))
        assert b"".join(payload for _, payload in seen) == LARGE
