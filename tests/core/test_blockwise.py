"""Bodies larger than a message, both sides (RFC 7959, RFC 9175)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.config import Limits
from securecoap.core.blockwise import Assemblies, request_key, response_key
from securecoap.errors import (
    BadRequest,
    RequestEntityIncomplete,
    RequestEntityTooLarge,
    ServiceUnavailable,
    SessionEnded,
    Unreachable,
)
from securecoap.resources import Resource
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of

BODY = bytes(number % 251 for number in range(5000))


class Body(Resource):
    """Keeps what was put and gives it back."""

    def __init__(self, body: bytes = BODY) -> None:
        self.body = body
        self.requests: list[Message] = []
        self.renderings = 0

    def render_get(self, request: Message) -> Message:
        self.renderings += 1
        return Message(payload=self.body)

    def render_put(self, request: Message) -> Message:
        self.requests.append(request)
        self.body = request.payload
        return Message()

    def render_post(self, request: Message) -> Message:
        self.requests.append(request)
        self.renderings += 1
        return Message(payload=request.payload)

    render_fetch = render_post


def blocks(sent: list[Any], number: int) -> list[Block | None]:
    return [getattr(one.message.options, f"block{number}") for one in sent]


async def one(pair: Pair, code: Code, payload: bytes = b"", *, confirmable: bool = True, **options: Any) -> Message:
    """One exchange without the client's own block handling."""
    message = Message(code, payload, confirmable=confirmable)
    message.scheme, message.unresolved_remote = "coap", "server"
    message.options.uri_path = ("x",)
    for name, value in options.items():
        setattr(message.options, name, value)
    client = pair.client.request(Message(Code.GET, uri="coap://server/"))
    client.cancel()
    assert await pair.client.tokens.fill_or_recognize_remote(message)
    client._interface = pair.client.tokens
    return await client._ask(message)


def block(number: int, more: bool, exponent: int = 2) -> Block:
    return Block(number, more, exponent)


# Both directions together.


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048, 5000, 65536])
@virtual
async def test_round_trip(size: int) -> None:
    body = BODY * 14
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.put("x", body[:size])).code == Code.CHANGED
        assert resource.body == body[:size]
        response = await pair.client.get("x")
        assert response.payload == body[:size]
        assert response.options.block2 is None
        assert (await pair.client.post("x", body[:size])).payload == body[:size]
        assert len(pair.server.server.assemblies) == 0  # nothing is kept
        assert max(len(sent.data) for sent in pair.network.sent) <= 1152


@pytest.mark.parametrize("seed", range(5))
@virtual
async def test_round_trip_over_a_bad_network(seed: int) -> None:
    resource = Body()
    async with Pair(site_of(x=resource), seed, loss=0.1, duplication=0.2, delay=(0.01, 1.0)) as pair:
        for _ in range(5):
            assert (await pair.client.post("x", BODY)).payload == BODY
        assert [request.payload for request in resource.requests] == [BODY] * 5
        assert resource.renderings == 5


@virtual
async def test_sizes_are_told() -> None:
    async with Pair(site_of(x=Body())) as pair:
        await pair.client.post("x", BODY)
        first = pair.requests[0].message.options
        assert (first.size1, first.block1) == (5000, Block(0, True, 6))
        assert pair.requests[1].message.options.size1 is None
        answer = next(sent for sent in pair.answers if sent.message.options.block2 is not None)
        assert answer.message.options.size2 == 5000
        assert answer.message.options.block1 == Block(4, False, 6)


@virtual
async def test_the_client_may_begin_with_a_smaller_size() -> None:
    async with Pair(site_of(x=Body())) as pair:
        assert (await pair.client.get("x", block2=Block(0, False, 3))).payload == BODY
        assert {found.size_exponent for found in blocks(pair.answers, 2) if found is not None} == {3}
        pair.network.sent.clear()
        assert (await pair.client.put("x", BODY, block1=Block(0, False, 4))).code == Code.CHANGED
        assert {found.size_exponent for found in blocks(pair.requests, 1) if found is not None} == {4}


# The server: Block1.


@virtual
async def test_gaps_are_4_08_and_the_handler_never_sees_them() -> None:
    """A known fault of another stack: 5.00 and a traceback."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        assert (await one(pair, Code.PUT, bytes(64), block1=block(0, True))).code == Code.CONTINUE
        assert (await one(pair, Code.PUT, bytes(64), block1=block(2, True))).code == Code.REQUEST_ENTITY_INCOMPLETE
        assert (await one(pair, Code.PUT, bytes(64), block1=block(1, False))).code == Code.REQUEST_ENTITY_INCOMPLETE
        assert (await one(pair, Code.PUT, bytes(9), block1=block(7, False))).code == Code.REQUEST_ENTITY_INCOMPLETE
        assert resource.requests == []
        assert len(pair.server.server.assemblies) == 0


@virtual
async def test_continue_has_the_block_and_nothing_else() -> None:
    """R079."""
    async with Pair(site_of(x=Body())) as pair:
        response = await one(pair, Code.PUT, bytes(64), block1=block(0, True), size1=128)
        assert response.code == Code.CONTINUE
        assert response.options.block1 == block(0, True)
        assert response.options.block2 is None
        assert response.payload == b""
        last = await one(pair, Code.PUT, bytes(64), block1=block(1, False))
        assert (last.code, last.options.block1) == (Code.CHANGED, block(1, False))


@pytest.mark.parametrize(("size", "more"), [(63, True), (65, True), (65, False), (0, True)])
@virtual
async def test_payload_and_block_size_agree(size: int, more: bool) -> None:
    async with Pair(site_of(x=Body())) as pair:
        assert (await one(pair, Code.PUT, bytes(size), block1=block(0, more))).code == Code.BAD_REQUEST


@virtual
async def test_bert_is_not_for_udp() -> None:
    async with Pair(site_of(x=Body())) as pair:
        for options in ({"block1": Block(0, True, 7)}, {"block2": Block(0, False, 7)}):
            assert (await one(pair, Code.PUT, bytes(64), **options)).code == Code.BAD_REQUEST


@virtual
async def test_too_large_is_4_13_with_size1() -> None:
    resource = Body()
    async with Pair(site_of(x=resource), limits=Limits(body_bytes=200)) as pair:
        early = await one(pair, Code.PUT, bytes(64), block1=block(0, True), size1=201)
        assert (early.code, early.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 200)
        for number in range(3):
            assert (await one(pair, Code.PUT, bytes(64), block1=block(number, True))).code == Code.CONTINUE
        late = await one(pair, Code.PUT, bytes(64), block1=block(3, True))
        assert (late.code, late.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 200)
        assert len(pair.server.server.assemblies) == 0
        assert resource.requests == []


@virtual
async def test_formats_methods_peers_and_tags_do_not_mix() -> None:
    """R081, R092, R170: each of them is another operation."""
    async with Pair(site_of(x=Body())) as pair:
        assert (await one(pair, Code.PUT, bytes(64), block1=block(0, True), content_format=0)).code == Code.CONTINUE
        for code, options in (
            (Code.PUT, {"content_format": 50}),
            (Code.PUT, {}),
            (Code.POST, {"content_format": 0}),
            (Code.PUT, {"content_format": 0, "request_tag": (b"",)}),
            (Code.PUT, {"content_format": 0, "uri_query": ("a",)}),
        ):
            response = await one(pair, code, bytes(64), block1=block(1, False), **options)
            assert response.code == Code.REQUEST_ENTITY_INCOMPLETE, options
        last = await one(pair, Code.PUT, bytes(64), block1=block(1, False), content_format=0)
        assert last.code == Code.CHANGED


@virtual
async def test_tagged_operations_run_side_by_side() -> None:
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        for tag in (b"1", b"2"):
            await one(pair, Code.PUT, tag * 64, block1=block(0, True), request_tag=(tag,))
        for tag in (b"2", b"1"):
            await one(pair, Code.PUT, tag * 6, block1=block(1, False), request_tag=(tag,))
        assert [request.payload for request in resource.requests] == [b"2" * 70, b"1" * 70]


@virtual
async def test_a_new_first_block_begins_anew() -> None:
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        await one(pair, Code.PUT, b"a" * 64, block1=block(0, True))
        await one(pair, Code.PUT, b"b" * 64, block1=block(0, True))
        await one(pair, Code.PUT, b"c", block1=block(1, False))
        assert resource.requests[0].payload == b"b" * 64 + b"c"
        await one(pair, Code.PUT, b"d" * 64, block1=block(0, True))
        await one(pair, Code.PUT, b"e", block1=block(0, False))
        assert resource.requests[1].payload == b"e"


@virtual
async def test_if_none_match_belongs_to_the_first_block() -> None:
    """R090: it holds for the whole body, though later blocks have it not."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        response = await pair.client.put("x", BODY, if_none_match=True)
        assert response.code == Code.CHANGED
        assert [sent.message.options.if_none_match for sent in pair.requests] == [True] + [False] * 4
        assert resource.requests[0].options.if_none_match
        assert resource.requests[0].payload == BODY
        await pair.client.put("x", BODY)
        assert not resource.requests[1].options.if_none_match
        response = await one(pair, Code.PUT, bytes(64), block1=block(1, True), if_none_match=True)
        assert response.code == Code.BAD_REQUEST


@virtual
async def test_unfinished_bodies_expire() -> None:
    async with Pair(site_of(x=Body())) as pair:
        await one(pair, Code.PUT, bytes(64), block1=block(0, True))
        await asyncio.sleep(246)
        assert (await one(pair, Code.PUT, bytes(64), block1=block(1, True))).code == Code.CONTINUE
        await asyncio.sleep(248)
        assert (await one(pair, Code.PUT, b"", block1=block(2, False))).code == Code.REQUEST_ENTITY_INCOMPLETE
        await asyncio.sleep(248)
        assert pair.server.server.assemblies.held_bytes == 0


@virtual
async def test_a_resource_may_want_every_block() -> None:
    class Raw(Body):
        assembles_bodies = False

    class Asked(Body):
        async def needs_blockwise_assembly(self, request: Message) -> bool:
            await asyncio.sleep(0.01)
            return request.code == Code.PUT

    raw, asked = Raw(), Asked()
    async with Pair(site_of(x=raw)) as pair:
        await one(pair, Code.PUT, bytes(64), block1=block(5, True))
        assert raw.requests[0].options.block1 == block(5, True)
    async with Pair(site_of(x=asked)) as pair:
        assert (await one(pair, Code.PUT, bytes(64), block1=block(5, True))).code == Code.REQUEST_ENTITY_INCOMPLETE
        assert (await one(pair, Code.POST, bytes(64), block1=block(5, True))).payload == bytes(64)


# The server: Block2.


@virtual
async def test_blocks_of_a_response() -> None:
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        first = await one(pair, Code.GET, block2=block(0, False, 4))
        assert first.options.block2 == block(0, True, 4)
        assert first.options.etag
        third = await one(pair, Code.GET, block2=block(2, False, 4))
        assert third.payload == BODY[512:768]
        assert third.options.etag == first.options.etag
        smaller = await one(pair, Code.GET, block2=block(3, True, 2))  # M means nothing in a request
        assert smaller.payload == BODY[192:256]
        last = await one(pair, Code.GET, block2=block(19, False, 4))
        assert (last.payload, last.options.block2) == (BODY[4864:], block(19, False, 4))
        assert resource.renderings == 1
        assert len(pair.server.server.assemblies) == 0
        beyond = await one(pair, Code.GET, block2=block(20, False, 4))
        assert beyond.code == Code.BAD_REQUEST


@virtual
async def test_random_access_without_a_first_block() -> None:
    """Safe requests are rendered anew; the others are not carried out a second time."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        assert (await one(pair, Code.GET, block2=block(1, False, 6))).payload == BODY[1024:2048]
        assert (await one(pair, Code.POST, block2=block(1, False, 6))).code == Code.REQUEST_ENTITY_INCOMPLETE
        assert resource.requests == []
        assert (await one(pair, Code.GET, block2=block(4, False, 6))).payload == BODY[4096:]
        assert len(pair.server.server.assemblies) == 0


@virtual
async def test_a_kept_body_does_not_change() -> None:
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        pair.network.drop = lambda sent: setattr(resource, "body", bytes(5000)) if blocks([sent], 2)[0] else False  # type: ignore[func-returns-value]
        assert (await pair.client.get("x")).payload == BODY


@virtual
async def test_fetch_bodies_are_kept_apart() -> None:
    """RFC 8132 section 2: the payload is part of what is asked for."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        first = await one(pair, Code.FETCH, b"a" * 100, block2=block(0, False, 2))
        second = await one(pair, Code.FETCH, b"b" * 100, block2=block(0, False, 2))
        assert first.options.etag != second.options.etag
        for letter in (b"a", b"b"):
            rest = await one(pair, Code.FETCH, letter * 100, block2=block(1, False, 2))
            assert rest.payload == letter * 36
        assert resource.renderings == 2
        assert (await pair.client.ask(Code.FETCH, "x", BODY).response).payload == BODY
        assert max(len(sent.data) for sent in pair.network.sent) <= 1152
        assert len(pair.server.server.assemblies) == 0


@virtual
async def test_an_error_in_the_middle_and_no_response() -> None:
    class Refuses(Resource):
        def render_put(self, request: Message) -> Message:
            raise BadRequest("no")

        def render_post(self, request: Message) -> Message:
            return NoResponse

    async with Pair(site_of(x=Refuses())) as pair:
        response = await pair.client.put("x", BODY)
        assert (response.code, response.payload) == (Code.BAD_REQUEST, b"no")
        with pytest.raises(TimeoutError):
            await pair.client.post("x", BODY)


# The table (bounds and eviction).


class Address:
    security = "none"

    def __init__(self, name: str, confirmed: bool = False) -> None:
        self.name = name
        self.confirmed = confirmed


class Clock:
    """A `Scheduler` whose time a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any) -> Clock:
        self.timers.append((when, callback))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def advance(self, to: float) -> None:
        self.now = to
        due, self.timers = [one for one in self.timers if one[0] <= to], [one for one in self.timers if one[0] > to]
        for _, callback in due:
            callback()


def table_of(**limits: int) -> tuple[Assemblies, Clock]:
    clock = Clock()
    return Assemblies(Limits(**limits), 247.0, clock), clock  # type: ignore[arg-type]  # what it needs of a scheduler


def request_from(remote: Any, payload: bytes = bytes(64), **options: Any) -> Message:
    message = Message(Code.PUT, payload, **options)
    message.remote = remote
    return message


def add(table: Assemblies, remote: Any, number: int, more: bool, payload: bytes = bytes(64)) -> bytes | None:
    """The body, if this was its last block."""
    request = request_from(remote, payload, block1=block(number, more))
    return request.payload if table.receive(request) is None else None


def test_the_longest_idle_unconfirmed_body_goes() -> None:
    table, _ = table_of(assemblies=3)
    friend, *strangers = Address("friend", True), *(Address(str(number)) for number in range(5))
    add(table, friend, 0, True)
    add(table, strangers[0], 0, True)
    add(table, strangers[1], 0, True)
    add(table, strangers[0], 1, True)
    add(table, strangers[2], 0, True)  # in place of 1
    with pytest.raises(RequestEntityIncomplete):
        add(table, strangers[1], 1, True)
    assert add(table, strangers[0], 2, False) == bytes(192)
    assert add(table, friend, 1, False) == bytes(128)


def test_only_a_confirmed_one_pushes_out_a_confirmed_one() -> None:
    table, _ = table_of(assemblies=2)
    friends = [Address(str(number), True) for number in range(3)]
    for friend in friends[:2]:
        add(table, friend, 0, True)
    with pytest.raises(ServiceUnavailable):
        add(table, Address("stranger"), 0, True)
    add(table, friends[2], 0, True)
    with pytest.raises(RequestEntityIncomplete):
        add(table, friends[0], 1, True)
    assert len(table) == 2


def test_bytes_are_bounded_and_counted() -> None:
    table, _ = table_of(assembly_bytes=1000, body_bytes=600)

    def held() -> int:
        return sum(one.size for one in table._table.values())

    remotes = [Address(str(number)) for number in range(40)]
    for remote in remotes:
        add(table, remote, 0, True)
        assert table.held_bytes == held() <= 1000
    for number in range(1, 9):
        add(table, remotes[-1], number, True)
    with pytest.raises(RequestEntityTooLarge):
        add(table, remotes[-1], 9, True)
    first = table.respond(request_from(remotes[0], b"", block2=block(0, False)), Message(Code.CHANGED, bytes(900)))
    assert first.options.block2 == block(0, True)
    assert table.held_bytes == held() <= 1000
    again = table.receive(request_from(remotes[0], b"", block2=block(1, False)))
    assert again is not None
    assert again.options.etag == first.options.etag
    large = Message(Code.CHANGED, bytes(2000))
    table.respond(request_from(remotes[1], b"", block2=block(0, False)), large)  # no room: not kept
    with pytest.raises(RequestEntityIncomplete):
        table.receive(request_from(remotes[1], b"", block2=block(1, False)))
    table.discard_of(remotes[0])  # type: ignore[arg-type]
    assert table.held_bytes == held()
    table.close()
    assert (len(table), table.held_bytes) == (0, 0)


def test_unfinished_bodies_are_released_when_their_time_is_over() -> None:
    """R093: by a timer of their own, not by the next one who comes."""
    table, clock = table_of()
    add(table, Address("a"), 0, True)
    clock.advance(100.0)
    add(table, Address("b"), 0, True)
    assert len(clock.timers) == 1
    clock.advance(247.0)
    assert len(table) == 1
    clock.advance(347.0)
    assert (len(table), table.held_bytes, clock.timers) == (0, 0, [])
    add(table, Address("c"), 0, True)
    table.close()
    assert clock.timers == []


def test_a_kept_response_is_not_kept_from_who_wants_the_present_one() -> None:
    """Who goes forward fetches a body; who asks again for a part is a reader, and gets nothing older than Max-Age."""
    table, clock = table_of()
    remote = Address("a")

    def get(number: int) -> Message | None:
        request = Message(Code.GET, block2=block(number, False))
        request.remote = remote
        return table.receive(request)

    request = Message(Code.GET)
    request.remote = remote
    table.respond(request, Message(Code.CONTENT, bytes(5000), max_age=10))
    clock.advance(9.0)
    assert get(1) is not None
    assert get(1) is not None
    clock.advance(10.0)
    assert get(2) is not None
    assert get(2) is None
    assert len(table) == 0


@virtual
async def test_bodies_go_with_the_session_of_their_peer() -> None:
    async with Pair(site_of(x=Body())) as pair:
        assert (await one(pair, Code.PUT, bytes(64), block1=block(0, True))).code == Code.CONTINUE
        bodies = pair.server.server.assemblies
        remote = next(iter(bodies._table))[0]
        pair.server.manager.dispatch_error(Unreachable("for now"), remote)
        assert len(bodies) == 1
        pair.server.manager.dispatch_error(SessionEnded("for good"), remote)
        assert len(bodies) == 0


@pytest.mark.parametrize("key", [request_key, response_key])
def test_what_makes_an_operation(key: Any) -> None:
    remote = Address("a")
    plain = key(request_from(remote))
    assert plain == key(request_from(remote, b"other", block1=block(3, True), observe=0, size1=7, echo=b"1"))
    assert plain != key(request_from(Address("a")))
    assert plain != key(request_from(remote, accept=0))


@pytest.mark.parametrize("key", [request_key, response_key])
def test_request_tags_make_operations(key: Any) -> None:
    """R170: their order, number and presence count; an empty one is not an absent one."""
    remote = Address("a")
    lists: list[tuple[bytes, ...]] = [(), (b"",), (b"", b""), (b"a",), (b"a", b"b"), (b"b", b"a"), (b"ab",)]
    assert len({key(request_from(remote, request_tag=tags)) for tags in lists}) == len(lists)
    assert key(request_from(remote, request_tag=(b"a", b"b"))) == key(request_from(remote, request_tag=(b"a", b"b")))


@virtual
async def test_the_entity_tag_of_a_body_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    digested = []
    monkeypatch.setattr(
        "securecoap.core.response_body.body_etag", lambda payload: digested.append(len(payload)) or b"tag"
    )
    async with Pair(site_of(body=Body())) as pair:
        answer = await pair.client.get("/body", block2=Block(0, False, 0))
        assert (answer.payload, answer.options.etag) == (BODY, b"tag")
        assert len(pair.requests) == 313
    assert digested == [5000]  # one for each small block would let a stranger buy much work with few bytes


@virtual
async def test_an_answer_that_many_blocks_share_belongs_to_none_of_them() -> None:
    async with Pair(site_of(x=Body())) as pair:
        for _ in range(2):
            assert (await one(pair, Code.PUT, bytes(64), block1=block(0, True))).code == Code.CONTINUE
    shared = table_of()[0].receive(request_from(Address("a"), block1=block(0, True)))
    assert shared is table_of()[0].receive(request_from(Address("b"), block1=block(0, True)))
    assert shared is not None
    assert (shared.remote, shared.exchange, shared.token, shared.mid, shared.datagram) == (None, None, b"", None, None)


ANY_BLOCK = st.none() | st.builds(Block, st.integers(0, 6) | st.just(0xFFFFF), st.booleans(), st.integers(0, 7))
ANY_REQUEST = st.tuples(
    st.sampled_from([Code.GET, Code.PUT, Code.POST, Code.FETCH]),
    st.sampled_from([0, 1, 15, 16, 17, 32, 64, 200]),
    ANY_BLOCK,
    ANY_BLOCK,
    st.sampled_from([(), (b"",), (b"a", b"b")]),
    st.none() | st.sampled_from([0, 500, 0xFFFFFFFF]),
    st.booleans(),
)
REFUSALS = {
    Code.BAD_REQUEST,
    Code.REQUEST_ENTITY_INCOMPLETE,
    Code.REQUEST_ENTITY_TOO_LARGE,
    Code.SERVICE_UNAVAILABLE,
}


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_REQUEST, min_size=1, max_size=12))
def test_whatever_comes_is_answered_within_the_bounds(requests: list[Any]) -> None:
    """R075, R093: a value or one of the documented errors, and never more than the limits say."""

    @virtual
    async def talk() -> None:
        limits = Limits(body_bytes=400, assembly_bytes=600, assemblies=3)
        async with Pair(site_of(x=Body(BODY[:300])), limits=limits) as pair:
            table = pair.server.server.assemblies
            for code, size, block1, block2, tags, size1, if_none_match in requests:
                options = {"block1": block1, "block2": block2, "request_tag": tags, "size1": size1}
                payload = b"" if code == Code.GET else bytes(size)
                response = await one(pair, code, payload, **options, if_none_match=if_none_match)
                assert response.code in REFUSALS or (response.code or 0) < 96
                assert len(response.payload) <= 1024
                assert table.held_bytes == sum(held.size for held in table._table.values()) <= 600
                assert len(table) <= 3
            await asyncio.sleep(300)
            assert (len(table), table.held_bytes) == (0, 0)

    talk()
