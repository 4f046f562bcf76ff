"""ETSI's plugtest cases for the core of CoAP, by their numbers; CORE_24 to 29 are about a proxy (there is no CORE_30)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.wire.codes import Code
from tests.simulation.clock import virtual

from .etsi import XML
from .helpers import ACK, CON, CONTENT, GET, NON, RST, kinds, wire
from .plugtest import PERFECT, at_least_once, etsi_pair, on_networks, site_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securecoap.wire.message import Message
    from tests.simulation.endpoints import Pair

TEXT = 0


async def exchange(
    pair: Pair, network: Mapping[str, Any], code: Code, path: str, expected: Code, payload: bytes = b"", **options: Any
) -> Message:
    """One request and its response; on a perfect network they are two datagrams, of which all is known."""
    before = len(pair.network.sent)
    response = await pair.client.ask(code, path, payload, **options).response
    assert response.code == expected
    if network is PERFECT:
        request, answer = pair.network.sent[before:]
        confirmable = options.get("confirmable") is not False
        assert kinds([request, answer]) == [
            (CON if confirmable else NON, code),
            (ACK if confirmable else NON, expected),
        ]
        assert answer.message.token == request.message.token
        if confirmable:
            assert answer.mid == request.mid
        assert (answer.message.options.content_format is not None) == bool(answer.message.payload)
    return response


@on_networks
@virtual
async def test_core_01_con_get(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await exchange(pair, network, Code.GET, "test", Code.CONTENT)
        assert (response.payload, response.options.content_format) == (b"this is a test", TEXT)


@on_networks
@virtual
async def test_core_02_con_delete(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        await exchange(pair, network, Code.DELETE, "test", Code.DELETED)


@on_networks
@virtual
async def test_core_03_con_put(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        await exchange(pair, network, Code.PUT, "test", Code.CHANGED, b"another", content_format=TEXT)
        assert site_resource(pair, "test").value == b"another"


@on_networks
@virtual
async def test_core_04_con_post(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        await exchange(pair, network, Code.POST, "test", Code.CREATED, b"new", content_format=TEXT)


@pytest.mark.parametrize(
    ("code", "expected", "payload"),
    [
        pytest.param(Code.GET, Code.CONTENT, b"", id="core_05_get"),
        pytest.param(Code.DELETE, Code.DELETED, b"", id="core_06_delete"),
        pytest.param(Code.PUT, Code.CHANGED, b"x", id="core_07_put"),
        pytest.param(Code.POST, Code.CREATED, b"x", id="core_08_post"),
    ],
)
@at_least_once
@virtual
async def test_core_05_to_08_non(network: Mapping[str, Any], code: Code, expected: Code, payload: bytes) -> None:
    async with etsi_pair(network) as pair:
        options = {"content_format": TEXT} if payload else {}
        await exchange(pair, network, code, "test", expected, payload, confirmable=False, **options)
        await asyncio.sleep(10)
        assert {one.mtype for one in pair.network.sent} == {NON}
        if network is PERFECT:
            request, answer = pair.network.sent
            assert answer.mid != request.mid  # of the server's own numbers, which begin elsewhere


@on_networks
@virtual
async def test_core_09_separate_response(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await pair.client.get("separate")
        assert (response.code, response.payload) == (Code.CONTENT, b"separate")
        await asyncio.sleep(100)
        if network is PERFECT:
            request, empty, separate, last = pair.network.sent
            assert kinds([request, empty, separate, last]) == [(CON, GET), (ACK, 0), (CON, CONTENT), (ACK, 0)]
            assert empty.data == wire(ACK, 0, request.mid)
            assert separate.mid != request.mid
            assert separate.message.token == request.message.token
            assert last.data == wire(ACK, 0, separate.mid)


@pytest.mark.parametrize("length", range(1, 9))
@virtual
async def test_core_10_token(length: int) -> None:
    """A client of another make chooses its tokens as it likes."""
    token = bytes(range(length))
    async with etsi_pair(PERFECT) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 9, token, b"\xb4test"))
        (answer,) = pair.answers
        assert (answer.mtype, answer.mid, answer.message.token) == (ACK, 9, token)


@virtual
async def test_core_11_token_in_a_separate_response() -> None:
    async with etsi_pair(PERFECT) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 9, b"\0\1", b"\xb8separate"))
        await asyncio.sleep(1.5)
        empty, separate = pair.answers
        assert empty.data == wire(ACK, 0, 9)
        assert (separate.mtype, separate.message.token) == (CON, b"\0\1")


@virtual
async def test_core_12_empty_token() -> None:
    async with etsi_pair(PERFECT) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 9, b"", b"\xb4test"))
        (answer,) = pair.answers
        assert (answer.code, answer.message.token) == (CONTENT, b"")


@on_networks
@virtual
async def test_core_13_uri_path(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await exchange(pair, network, Code.GET, "seg1/seg2/seg3", Code.CONTENT)
        assert response.payload == b"seg1/seg2/seg3"
        assert pair.requests[0].message.options.pairs == ((11, b"seg1"), (11, b"seg2"), (11, b"seg3"))


@on_networks
@virtual
async def test_core_14_uri_query(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        query = ("first=1", "second=2")
        response = await exchange(pair, network, Code.GET, "query", Code.CONTENT, uri_query=query)
        assert response.payload == b"first=1&second=2"
        assert pair.requests[0].message.options.get_all(15) == [b"first=1", b"second=2"]


@virtual
async def test_core_15_lossy_piggybacked() -> None:
    """The request is lost, then the response; there is one result, and the handler ran once."""
    async with etsi_pair(PERFECT) as pair:
        lost = iter((True, False, True))
        pair.network.drop = lambda _: next(lost, False)
        response = await pair.client.get("test")
        assert response.payload == b"this is a test"
        assert kinds(pair.network.sent) == [(CON, GET), (CON, GET), (ACK, CONTENT), (CON, GET), (ACK, CONTENT)]
        assert len({one.data for one in pair.requests}) == 1
        assert len({one.data for one in pair.answers}) == 1


@pytest.mark.parametrize("lost", ["request", "acknowledgement", "response", "acknowledgement of the response"])
@virtual
async def test_core_16_lossy_separate(lost: str) -> None:
    wanted = {
        "request": ("client", CON, GET),
        "acknowledgement": ("server", ACK, 0),
        "response": ("server", CON, CONTENT),
        "acknowledgement of the response": ("client", ACK, 0),
    }[lost]
    async with etsi_pair(PERFECT) as pair:
        pair.drop_next(lambda sent: (sent.source, sent.mtype, sent.code) == wanted)
        assert (await pair.client.get("separate")).payload == b"separate"
        await asyncio.sleep(200)
        requests = [one for one in pair.requests if one.code == GET]
        responses = [one for one in pair.answers if one.code == CONTENT]
        # Where the acknowledgement is lost, the response itself says that the request has arrived.
        assert len(requests) == (2 if lost == "request" else 1)
        assert len(responses) == (2 if "response" in lost else 1)
        assert len({one.data for one in requests}) == len({one.data for one in responses}) == 1
        assert kinds(pair.requests[-1:]) == [(ACK, 0)]


@at_least_once
@virtual
async def test_core_17_non_separate(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        assert (await pair.client.get("separate", confirmable=False)).payload == b"separate"
        await asyncio.sleep(100)
        assert set(kinds(pair.network.sent)) == {(NON, GET), (NON, CONTENT)}
        assert len({one.message.token for one in pair.network.sent}) == 1


@on_networks
@virtual
async def test_core_18_location_path(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await exchange(pair, network, Code.POST, "test", Code.CREATED, b"new", content_format=TEXT)
        assert response.options.location_path == ("location1", "location2", "location3")
        assert response.options.get_all(8) == [b"location1", b"location2", b"location3"]


@on_networks
@virtual
async def test_core_19_location_query(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        response = await exchange(pair, network, Code.POST, "location-query", Code.CREATED, b"new", content_format=TEXT)
        assert response.options.location_query == ("first=1", "second=2")
        assert response.options.get_all(20) == [b"first=1", b"second=2"]


@on_networks
@virtual
async def test_core_20_accept(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        for content_format, payload in ((TEXT, b"text"), (XML, b"<text/>")):
            response = await exchange(pair, network, Code.GET, "multi-format", Code.CONTENT, accept=content_format)
            assert (response.options.content_format, response.payload) == (content_format, payload)
        assert len({one.mid for one in pair.requests if one.code == GET}) == 2
        await exchange(pair, network, Code.GET, "multi-format", Code.NOT_ACCEPTABLE, accept=60)


@on_networks
@virtual
async def test_core_21_etag(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        first = await exchange(pair, network, Code.GET, "validate", Code.CONTENT)
        valid = await exchange(pair, network, Code.GET, "validate", Code.VALID, etag=first.options.etag)
        assert (valid.options.etag, valid.payload) == (first.options.etag, b"")
        site_resource(pair, "validate").value = b"second"
        second = await exchange(pair, network, Code.GET, "validate", Code.CONTENT, etag=first.options.etag)
        assert second.payload == b"second"
        assert second.options.etag not in {None, first.options.etag}


@on_networks
@virtual
async def test_core_22_if_match(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:

        async def put(payload: bytes, expected: Code, **options: Any) -> None:
            await exchange(pair, network, Code.PUT, "validate", expected, payload, content_format=TEXT, **options)

        first = await exchange(pair, network, Code.GET, "validate", Code.CONTENT)
        await put(b"second", Code.CHANGED, if_match=(first.options.etag,))
        second = await exchange(pair, network, Code.GET, "validate", Code.CONTENT)
        assert second.payload == b"second"
        assert second.options.etag != first.options.etag
        await put(b"of somebody else", Code.CHANGED)
        await put(b"third", Code.PRECONDITION_FAILED, if_match=(second.options.etag,))
        assert (await pair.client.get("validate")).payload == b"of somebody else"


@on_networks
@virtual
async def test_core_23_if_none_match(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        for expected in (Code.CREATED, Code.PRECONDITION_FAILED):
            await exchange(pair, network, Code.PUT, "create1", expected, expected.dotted.encode(), if_none_match=True)
        assert (await pair.client.get("create1")).payload == b"2.01"


@virtual
async def test_core_31_ping() -> None:
    async with etsi_pair(PERFECT) as pair:
        pair.network.inject("stranger", "server", b"\x40\x00\x12\x34")
        assert [one.data for one in pair.answers] == [b"\x70\x00\x12\x34"]
        assert kinds(pair.answers) == [(RST, 0)]
