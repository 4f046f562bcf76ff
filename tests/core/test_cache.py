"""The client's cache: fresh, validated, keyed by all that matters, never across addresses, bounded (RFC 7252 5.6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.core.cache import ResponseCache
from securecoap.errors import RequestTimeout, SessionEnded
from securecoap.resources import Resource, validated
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import run, virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of


class Counter(Resource):
    """GET and FETCH say how often they were asked; with an entity tag that stands for the state."""

    def __init__(self, etag: bytes | None = None, **options: Any) -> None:
        self.etag = etag
        self.options = options
        self.asked = self.transferred = 0
        self.body = b"state"

    def render_get(self, request: Message) -> Message:
        self.asked += 1
        answer = Message(payload=self.body + b" %d" % self.asked, etag=self.etag, **self.options)
        answer = validated(request, answer)
        self.transferred += answer.code != Code.VALID
        return answer

    render_fetch = render_get

    def render_put(self, request: Message) -> Message:
        self.body = request.payload
        return Message()

    def render_post(self, request: Message) -> Message:
        return Message(Code.CREATED, location_path=("x",))

    def render_delete(self, request: Message) -> Message:
        return Message(Code.NOT_FOUND)


def cached(site: Any, **options: Any) -> Pair:
    return Pair(site, client_options={"cache": True}, **options)


@virtual
async def test_a_fresh_response_is_used_again() -> None:
    """R045, R046: for Max-Age, or for 60 seconds; what is left of that is said."""
    for age, span in (({}, 60), ({"max_age": 10}, 10)):
        resource = Counter(**age)
        async with cached(site_of(x=resource)) as pair:
            first = await pair.client.get("x")
            await asyncio.sleep(span - 2)
            again = await pair.client.get("x")
            assert (again.code, again.payload, again.remote) == (first.code, first.payload, first.remote)
            assert again.options.max_age == 2
            assert resource.asked == len(pair.requests) == 1
            await asyncio.sleep(2)
            assert (await pair.client.get("x")).payload == b"state 2"


@virtual
async def test_max_age_0_is_never_fresh() -> None:
    """R046."""
    for etag in (None, b"e"):
        resource = Counter(etag, max_age=0)
        async with cached(site_of(x=resource)) as pair:
            for count in (1, 2, 3):
                assert (await pair.client.get("x")).code == Code.CONTENT
                assert resource.asked == count
            assert len(pair.client.cache) == (etag is not None)


@virtual
async def test_validation() -> None:
    """R047: a 2.03 has an ETag and no payload, and refreshes what is stored, options and freshness."""
    resource = Counter(b"e1", max_age=5)
    async with cached(site_of(x=resource)) as pair:
        first = await pair.client.get("x")
        await asyncio.sleep(6)
        resource.options = {"max_age": 100}
        again = await pair.client.get("x")
        valid = pair.answers[-1].message
        assert (valid.code, valid.payload, valid.options.etag) == (Code.VALID, b"", b"e1")
        assert pair.requests[-1].message.options.etags == (b"e1",)
        assert (again.code, again.payload, again.options.max_age) == (Code.CONTENT, first.payload, 100)
        assert (resource.asked, resource.transferred) == (2, 1)
        await asyncio.sleep(50)
        assert (await pair.client.get("x")).payload == first.payload
        assert resource.asked == 2
        await asyncio.sleep(51)
        resource.etag = b"e2"
        assert (await pair.client.get("x")).payload == b"state 3"
        assert resource.transferred == 2


@virtual
async def test_a_2_03_without_max_age_is_fresh_for_a_minute() -> None:
    resource = Counter(b"e", max_age=5)
    async with cached(site_of(x=resource)) as pair:
        await pair.client.get("x")
        await asyncio.sleep(6)
        resource.options = {}
        await pair.client.get("x")
        await asyncio.sleep(50)
        await pair.client.get("x")
        assert resource.asked == 2


@virtual
async def test_what_is_a_different_request() -> None:
    """R045: method, options and, with FETCH, the body; not what NoCacheKey options say."""
    resource = Counter()
    async with cached(site_of(x=resource)) as pair:
        asked = 0
        for code, payload, options in (
            (Code.GET, b"", {}),
            (Code.GET, b"", {"accept": 0}),
            (Code.GET, b"", {"uri_query": ("a",)}),
            (Code.FETCH, b"1", {}),
            (Code.FETCH, b"2", {}),
            (Code.FETCH, b"2", {"content_format": 60}),
        ):
            asked += 1
            for _ in range(2):
                await pair.client.ask(code, "x", payload, **options).response
                assert resource.asked == asked
        await pair.client.get("x", size2=0)  # 28 is a NoCacheKey number
        assert resource.asked == asked


@pytest.mark.parametrize("options", [{"etags": (b"q",)}, {"if_match": (b"",)}, {"no_response": 8}])
@virtual
async def test_what_is_asked_on_purpose(options: dict[str, Any]) -> None:
    resource = Counter()
    async with cached(site_of(x=resource)) as pair:
        for count in (1, 2):
            await pair.client.get("x", **options)
            assert resource.asked == count


@virtual
async def test_a_change_of_ones_own_is_seen() -> None:
    """RFC 7252 section 5.9.1: what was created or changed is not fresh any more; what failed changed nothing."""
    resource, other = Counter(), Counter()
    async with cached(site_of(x=resource, y=other, z=Counter())) as pair:
        for change, seen in (
            ((Code.PUT, "x", b"new"), 2),
            ((Code.POST, "z"), 3),  # Location-Path: x
            ((Code.DELETE, "x"), 3),  # 4.04
        ):
            for path in ("x", "y"):
                await pair.client.get(path)
            await pair.client.ask(*change).response
            await pair.client.get("x")
            assert resource.asked == seen
        assert other.asked == 1


@virtual
async def test_an_answer_from_before_a_change_is_not_kept() -> None:
    class Slow(Counter):
        async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
            body = self.body
            self.asked += 1
            await asyncio.sleep(1)
            return Message(payload=body)

    resource = Slow()
    async with cached(site_of(x=resource)) as pair:
        old = pair.client.ask(Code.GET, "x")
        await asyncio.sleep(0.5)
        await pair.client.put("x", b"new")
        assert (await old.response).payload == b"state"
        assert (await pair.client.get("x")).payload == b"new"


@virtual
async def test_errors_are_kept_as_well() -> None:
    """RFC 7252 section 5.9.2; but not a challenge, nor what was suppressed."""
    async with cached(site_of()) as pair:
        for _ in range(2):
            assert (await pair.client.get("nothing")).code == Code.NOT_FOUND
        assert len(pair.requests) == 1
        cache = pair.client.cache
        message = Message(Code.GET)
        message.remote = pair.client.interface.address("server")
        for answer in (Message(Code.UNAUTHORIZED, echo=b"e"), Message(Code.VALID, etag=b"e"), NoResponse):

            async def perform(_: Message, answer: Message = answer) -> Message:
                return answer

            assert await cache.perform(message, perform) is answer
            assert len(cache) == 1


@virtual
async def test_a_failure_is_no_answer() -> None:
    resource = Counter(b"e", max_age=1)
    async with cached(site_of(x=resource)) as pair:
        await pair.client.get("x")
        await asyncio.sleep(2)
        pair.network.drop = lambda _: True
        with pytest.raises(RequestTimeout):
            await pair.client.get("x")


@virtual
async def test_nobody_can_change_what_is_stored() -> None:
    async with cached(site_of(x=Counter())) as pair:
        for _ in range(2):
            answer = await pair.client.get("x")
            answer.options.content_format = 50
            answer.payload = b"scribbled over"
        assert (await pair.client.get("x")).payload == b"state 1"
        assert (await pair.client.get("x")).options.content_format is None


@virtual
async def test_a_large_body_is_kept_whole() -> None:
    resource = Counter()
    resource.body = bytes(5000)
    async with cached(site_of(x=resource)) as pair:
        whole = (await pair.client.get("x")).payload
        sent = len(pair.requests)
        assert (await pair.client.get("x")).payload == whole
        assert len(pair.requests) == sent > 1


class Address:
    """What makes addresses equal is up to whoever makes them."""

    is_multicast = False


def ask(cache: ResponseCache, remote: Any, body: bytes = b"x", path: str = "x", **options: Any) -> bytes:
    """GET, answered by ``body`` if it is sent."""
    message = Message(Code.GET, uri_path=(path,))
    message.remote = remote

    async def perform(_: Message) -> Message:
        return Message(Code.CONTENT, body, **options)

    async def get() -> bytes:
        return (await cache.perform(message, perform)).payload

    return run(get())


class Clock:
    now = 0.0

    def time(self) -> float:
        return self.now


def test_nothing_crosses_an_address() -> None:
    """R062, RFC 7252 section 11.2: another session is another address, and so is none."""
    cache = ResponseCache(Clock(), Limits())
    plain, session, later = Address(), Address(), Address()
    for number, remote in enumerate((plain, session, later)):
        assert ask(cache, remote, b"%d" % number) == b"%d" % number
    assert ask(cache, session, b"other") == b"1"
    cache.discard_peer(session)
    assert ask(cache, session, b"other") == b"other"
    assert ask(cache, plain, b"other") == b"0"
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


@virtual
async def test_what_came_by_a_session_goes_with_it() -> None:
    async with cached(site_of(x=Counter())) as pair:
        await pair.client.get("x")
        pair.client.manager.dispatch_error(SessionEnded("over"), pair.client.interface.address("server"))
        assert len(pair.client.cache) == 0


def test_the_longest_unused_goes() -> None:
    cache = ResponseCache(Clock(), Limits(cache_entries=3))
    remote = Address()
    for path in "abc":
        ask(cache, remote, b"old", path)
    assert ask(cache, remote, b"new", "a") == b"old"  # used: now b is the oldest
    ask(cache, remote, b"old", "d")
    assert len(cache) == 3
    assert [ask(cache, remote, b"new", path) for path in "acd"] == [b"old"] * 3
    assert ask(cache, remote, b"new", "b") == b"new"


def test_bytes_are_bounded() -> None:
    cache = ResponseCache(Clock(), Limits(cache_bytes=100))
    remote = Address()
    for number in range(1000):
        ask(cache, remote, bytes(20), str(number))
        assert cache.size <= 100
    assert (len(cache), cache.size) == (5, 100)
    assert ask(cache, remote, bytes(26), "large") == bytes(26)
    assert ask(cache, remote, b"again", "large") == b"again"  # above a quarter of it
    for _ in range(3):
        ask(cache, remote, bytes(20), "again", max_age=0, etag=b"e")  # what is replaced counts no more
    assert cache.size == 4 * 20 + len(b"again")
    none = ResponseCache(Clock(), Limits(cache_entries=0))
    ask(none, remote)
    assert len(none) == 0
