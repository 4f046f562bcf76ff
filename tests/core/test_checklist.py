"""Rows of the behaviour checklist that stand between modules (tests/requirements.toml names them)."""

from __future__ import annotations

import ast
import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import securecoap
from securecoap.cli.demo import demo_site
from securecoap.context import Context
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, encode_message
from tests.loopback import real
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .helpers import ACK, CHANGED, CON, CONTENT, GET, NON, PATH_X, POST, RST, Plain, Slow, kinds, site_of, wire


@virtual
async def test_the_acknowledgement_is_repeated_even_when_all_is_over() -> None:
    """R015: a copy of the request that was late does not start anything, nor is it left without an answer."""
    resource = Slow(1.0)
    async with Pair(site_of(x=resource)) as pair:
        request = wire(CON, POST, 5, b"t", PATH_X)
        pair.network.inject("stranger", "server", request)
        await asyncio.sleep(1.5)
        empty, response = pair.answers
        assert kinds([empty, response]) == [(ACK, 0), (CON, CHANGED)]
        pair.network.inject("stranger", "server", wire(ACK, 0, response.mid))
        await asyncio.sleep(100)
        pair.network.inject("stranger", "server", request)
        await asyncio.sleep(10)
        assert [one.data for one in pair.answers] == [empty.data, response.data, wire(ACK, 0, 5)]
        assert len(resource.seen) == 1


@virtual
async def test_safe_and_idempotent_methods_of_the_demo() -> None:
    """R030: GET and FETCH leave everything as it was; a second PUT or DELETE changes nothing more."""
    paths = ("hello", "obs", "whoami", ".well-known/core", "store/a", "store/b")

    async def everything() -> list[tuple[Any, ...]]:
        answers = [await pair.client.get(path) for path in paths]
        return [(one.code, one.payload, one.options.etag) for one in answers]

    async with Pair(demo_site()) as pair:
        assert (await pair.client.put("store/a", b"1", content_format=0)).code == Code.CREATED
        before = await everything()
        assert await everything() == before
        await pair.client.ask(Code.FETCH, "echo", b"x").response
        assert await everything() == before
        for _ in range(2):
            assert (await pair.client.put("store/a", b"2", content_format=0)).code == Code.CHANGED
            after = await everything()
            assert (await pair.client.put("obs", b"3")).code == Code.CHANGED
            assert after[4][1] == b"2"
        for _ in range(2):
            assert (await pair.client.ask(Code.DELETE, "store/a").response).code in {Code.DELETED, Code.NOT_FOUND}
            assert (await pair.client.get("store/a")).code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("number", "value"),
    [(0, b""), (1, b"\x01"), (255, b"\xff"), (256, b"\x01\0"), (65535, b"\xff\xff"), (1 << 16, b"\x01\0\0")],
)
def test_numbers_are_sent_in_their_shortest_form(number: int, value: bytes) -> None:
    """R006."""
    options = Message(Code.GET, max_age=number, size1=number).options
    assert options.pairs == ((numbers.MAX_AGE, value), (numbers.SIZE1, value))


@virtual
async def test_a_response_with_another_token_is_no_response() -> None:
    """R037: from the right endpoint, at the right time, and not to this request."""
    async with Pair() as pair:
        pair.network.drop = lambda _: True
        request = pair.client.ask(Code.GET, "x")
        await settle()
        token = pair.requests[0].message.token
        for mid, other in enumerate((b"", token[:-1], token + b"x", bytes(8))):
            pair.network.inject("server", "client", wire(CON, CONTENT, mid, other, payload=b"wrong"))
            assert pair.requests[-1].data == wire(RST, 0, mid)
        await settle()
        assert not request.response.done()
        pair.network.inject("server", "client", wire(CON, CONTENT, 9, token, payload=b"right"))
        assert (await request.response).payload == b"right"


@virtual
async def test_options_that_only_requests_have_are_unrecognised_in_responses() -> None:
    """R040: Uri-Path is critical, and nothing in a response."""
    async with Pair() as pair:
        pair.network.drop = lambda _: True
        request = pair.client.ask(Code.GET, "x")
        await settle()
        token = pair.requests[0].message.token
        pair.network.inject("server", "client", wire(CON, CONTENT, 1, token, PATH_X, b"wrong"))
        assert pair.requests[-1].data == wire(RST, 0, 1)
        assert not request.response.done()
        pair.network.inject("server", "client", wire(CON, CONTENT, 2, token, b"", b"right"))
        assert (await request.response).payload == b"right"


@pytest.mark.parametrize("code", [8, 9, 31])
@pytest.mark.parametrize("path", [PATH_X, b"\xb1y"])
@virtual
async def test_a_method_that_there_is_not_is_4_05(code: int, path: bytes) -> None:
    """R050: piggybacked, whether the resource is there or not."""
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        pair.network.inject("stranger", "server", wire(CON, code, 1, b"t", path))
        assert kinds(pair.answers) == [(ACK, Code.METHOD_NOT_ALLOWED)]
        assert resource.seen == []


class Json(Plain):
    produces = ("json",)


@virtual
async def test_accept_of_what_a_resource_does_not_produce_is_4_06() -> None:
    """R052: its handler need not look, and is not asked; another error of the request wins."""
    resource = Json()
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.get("x", accept=60)).code == Code.NOT_ACCEPTABLE
        assert (await pair.client.ask(Code.PATCH, "x", accept=60).response).code == Code.METHOD_NOT_ALLOWED
        assert (await pair.client.get("y", accept=60)).code == Code.NOT_FOUND
        assert resource.seen == []
        assert (await pair.client.get("x", accept=50)).code == Code.CONTENT


@pytest.mark.parametrize("mtype", [CON, NON])
@pytest.mark.parametrize("token", [b"", b"\0", b"\0\0\0a", b"a\0", bytes(8), b"\0" * 13])
@virtual
async def test_a_token_is_echoed_byte_for_byte(token: bytes, mtype: int) -> None:
    """R035: zeros in front are part of it, in the response of a handler and in that of a fault."""
    async with Pair(site_of(x=Plain())) as pair:
        for mid, options in enumerate((PATH_X, b"\xb1y")):
            pair.network.inject("stranger", "server", encode_message(mtype, GET, mid, token, options, b""))
            await settle()
        assert [one.message.token for one in pair.answers] == [token, token]
        assert [one.code for one in pair.answers] == [CONTENT, Code.NOT_FOUND]


@virtual
async def test_defaults_are_not_sent() -> None:
    """R043: Uri-Port says nothing that the datagram does not, and Max-Age is 60 where nobody says otherwise."""
    for uri in ("coap://h/x", "coap://h:5683/x", "coap://h:61616/x", "coaps://h:5684/x"):
        assert numbers.URI_PORT not in Message(Code.GET, uri=uri).options
    async with Pair(site_of(x=Plain())) as pair:
        response = await pair.client.get("x")
        assert response.options.max_age is None
        assert [number for number, _ in pair.requests[0].message.options] == [numbers.URI_PATH]
        assert pair.answers[0].message.options.pairs == ()


@pytest.mark.parametrize("number", sorted(numbers.RESERVED_LOCATION))
@pytest.mark.parametrize("location", [numbers.LOCATION_PATH, numbers.LOCATION_QUERY])
@virtual
async def test_reserved_location_options_are_a_bad_option(location: int, number: int) -> None:
    """R054: what is reserved for saying more of a location is not ignored beside one (section 5.10.7)."""
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        request = Message(Code.POST, uri_path=("x",))
        request.mtype, request.mid = CON, 7
        request.options.add(number, b"")
        pair.network.inject("stranger", "server", request.encode())
        assert [one.code for one in pair.answers] == [Code.CHANGED]  # alone it is elective
        request.options.add(location, b"a")
        request.mid, request.datagram = 8, None
        pair.network.inject("stranger", "server", request.encode())
        assert [one.code for one in pair.answers] == [Code.CHANGED, Code.BAD_OPTION]
        assert len(resource.seen) == 1


@real
async def test_randomness_is_the_system_s() -> None:
    """R074: keys, nonces and tokens are drawn from what is handed in, and that is the system's own source."""
    async with Context.client() as context:
        assert type(context._random) is random.SystemRandom
    root = Path(securecoap.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                assert node.attr == "SystemRandom", path
            assert not (isinstance(node, ast.ImportFrom) and node.module == "random"), path


@virtual
async def test_an_echo_goes_back_only_where_it_came_from() -> None:
    """R166: a later request, to that endpoint or to another, does not have the value of an earlier challenge."""
    challenge = wire(ACK, Code.UNAUTHORIZED, 0, b"", b"\xd1\xef\x07")[4:]  # Echo 07
    async with Pair(site_of(x=Plain())) as pair:
        other = Endpoint(pair.network, "other", site_of(x=Plain()))
        pair.drop_next(lambda sent: sent.destination == "server")
        request = pair.client.ask(Code.GET, "x")
        await settle()
        (first,) = pair.requests
        head = bytes((0x60 | len(first.message.token), Code.UNAUTHORIZED)) + first.mid.to_bytes(2, "big")
        pair.network.inject("server", "client", head + first.message.token + challenge)
        assert (await request.response).code == Code.CONTENT
        assert pair.requests[1].message.options.echo == b"\x07"
        for host in ("other", "server"):
            await pair.client.get("x", host=host)
        assert [one.message.options.echo for one in pair.requests[2:]] == [None, None]
        assert [one.destination for one in pair.requests] == ["server", "server", "other", "server"]
        await other.close()


@virtual
async def test_a_token_never_comes_twice() -> None:
    """R174: a response that is late, or was held back by somebody, finds no later request of the same session."""
    async with Pair() as pair:
        tokens = [pair.client.tokens.allocate_token() for _ in range(100_000)]
        assert len(set(tokens)) == len(tokens)
        assert {len(token) for token in tokens} == {8}  # R180: no longer than every peer takes, so none is asked


@pytest.mark.parametrize("hop", [None, 1, 2, 16])
@pytest.mark.parametrize("observe", [None, 0])
@pytest.mark.parametrize("target", ["proxy_uri", "proxy_scheme"])
@virtual
async def test_nothing_is_forwarded(target: str, observe: int | None, hop: int | None) -> None:
    """R048, R111, R155, R183, R188, R189: what a proxy must do is not to be done by who forwards nothing.

    Neither with Observe nor with a Hop-Limit nor protected with OSCORE does a byte go on, and it is never 5.08.
    """
    resource = Plain()
    async with Pair(resource) as pair:
        origin = Endpoint(pair.network, "origin", Plain())
        options: dict[str, Any] = {"proxy_uri": "coap://origin/x"} if target == "proxy_uri" else {
            "proxy_scheme": "coap", "uri_host": "origin",
        }  # fmt: skip
        if observe is not None:
            options["observe"] = observe
        if hop is not None:
            options["hop_limit"] = hop
        for code in (Code.GET, Code.POST):
            if code == Code.POST and observe is not None:
                continue
            assert (await pair.client.ask(code, "x", **options).response).code == Code.PROXYING_NOT_SUPPORTED
        protected = Message(Code.POST, b"ciphertext")
        protected.mid, protected.mtype = 77, CON
        for name, value in {**options, "oscore": b"\x09\x01\x01"}.items():
            setattr(protected.options, name, value)
        pair.network.inject("stranger", "server", protected.encode())
        assert pair.answers[-1].code >> 5 in {4, 5}
        assert pair.network.between("server", "origin") == []
        assert not resource.seen
        assert all(sent.code != Code.HOP_LIMIT_REACHED for sent in pair.answers)
        await origin.close()
