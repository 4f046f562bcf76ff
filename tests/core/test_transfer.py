"""Uploads and downloads of a client: over the simulated network, and against servers that do odd things."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.request_tags import RequestTags
from securecoap.core.transfer import Transfer
from securecoap.errors import RequestTimeout, SessionEnded, TransferFailed
from securecoap.resources import Resource
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of
from .test_blockwise import BODY, Body, block, blocks, one

OTHER = bytes(255 - byte for byte in BODY)


# The client against odd servers.


class Odd(Resource):
    """Answers each block as its test says."""

    assembles_bodies = False

    def __init__(self, *answers: Message) -> None:
        self.answers = list(answers)
        self.requests: list[Message] = []

    def render_get(self, request: Message) -> Message:
        self.requests.append(request)
        return self.answers.pop(0)

    render_put = render_get


@virtual
async def test_the_server_wants_smaller_blocks() -> None:
    """R080: the size in its first answer holds, and numbers are counted in it."""

    class Small(Body):
        assembles_bodies = False

        def __init__(self) -> None:
            super().__init__(b"")

        def render_put(self, request: Message) -> Message:
            asked = request.options.block1
            assert asked is not None
            assert asked.start == len(self.body)
            self.body += request.payload
            return Message(Code.CONTINUE if asked.more else Code.CHANGED, block1=Block(asked.number, asked.more, 4))

    resource = Small()
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.put("x", BODY)).code == Code.CHANGED
        assert resource.body == BODY
        assert [found.size_exponent for found in blocks(pair.requests, 1) if found] == [6] + [4] * 16


@virtual
async def test_too_large_with_a_smaller_size_as_a_hint() -> None:
    """R089: the whole body again."""
    answers = [Message(Code.REQUEST_ENTITY_TOO_LARGE, block1=Block(0, True, 5))]
    answers += [Message(Code.CONTINUE, block1=Block(number, True, 5)) for number in range(9)]
    answers += [Message(Code.CHANGED, block1=Block(9, False, 5))]
    resource = Odd(*answers)
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.put("x", BODY)).code == Code.CHANGED
        assert b"".join(request.payload for request in resource.requests[1:]) == BODY


@pytest.mark.parametrize(
    "answers",
    [
        [Message(Code.CONTINUE)],
        [Message(Code.CONTINUE, block1=Block(1, True, 6))],
    ],
)
@virtual
async def test_wrong_acknowledgements_of_blocks(answers: list[Message]) -> None:
    async with Pair(site_of(x=Odd(*answers))) as pair:
        with pytest.raises(TransferFailed):
            await pair.client.put("x", BODY)


def part(
    number: int, more: bool, size: int = 64, code: Code = Code.CONTENT, etag: bytes = b"e", exponent: int = 2
) -> Message:
    return Message(code, bytes(size), block2=Block(number, more, exponent), etag=etag)


@pytest.mark.parametrize(
    "answers",
    [
        [part(0, True, 63)],
        [part(0, True), part(2, False)],
        [part(0, True), part(1, True, 60)],
        [part(0, True), part(1, False, 1024, exponent=6)],
        [part(0, True), part(0, True)],
    ],
)
@virtual
async def test_wrong_blocks_of_a_response(answers: list[Message]) -> None:
    async with Pair(site_of(x=Odd(*answers))) as pair:
        with pytest.raises(TransferFailed):
            await pair.client.get("x")
        assert len(pair.requests) == len(answers)


@virtual
async def test_a_response_without_end_is_bounded() -> None:
    class Endless(Resource):
        assembles_bodies = False

        def render_get(self, request: Message) -> Message:
            asked = request.options.block2
            return part(0 if asked is None else asked.number, True, 1024, exponent=6)

    async with Pair(site_of(x=Endless()), limits=Limits(body_bytes=10_000)) as pair:
        with pytest.raises(TransferFailed, match="larger"):
            await pair.client.get("x")
        assert len(pair.requests) == 10


# Without a network: `ask` is the server.


class Scripted:
    """Answers each request as its test says."""

    def __init__(self, *answers: Message) -> None:
        self.answers = list(answers)
        self.asked: list[Message] = []

    async def __call__(self, message: Message) -> Message:
        self.asked.append(message)
        return self.answers.pop(0)

    @property
    def blocks1(self) -> list[Block | None]:
        return [message.options.block1 for message in self.asked]

    @property
    def blocks2(self) -> list[Block | None]:
        return [message.options.block2 for message in self.asked]


class Peer:
    is_multicast = False
    security = "none"


def request(code: Code, payload: bytes = b"", **options: Any) -> Message:
    message = Message(code, payload, **options)
    message.remote = Peer()
    return message


async def perform(server: Any, message: Message, tags: RequestTags | None = None, **options: Any) -> Message:
    return await Transfer(1 << 20, tags or RequestTags(), **options).perform(message, server)


def acknowledged(number: int, more: bool = True, exponent: int = 6, code: int = Code.CONTINUE) -> Message:
    return Message(code, block1=Block(number, more, exponent))


@virtual
async def test_a_server_that_acts_on_each_block() -> None:
    """RFC 7959 section 2.5: a success without M is for this block alone, and the next one is sent."""
    server = Scripted(*(acknowledged(number, more=False, code=Code.CHANGED) for number in range(5)))
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.CHANGED
    assert b"".join(message.payload for message in server.asked) == BODY


@virtual
async def test_an_error_ends_an_upload() -> None:
    server = Scripted(acknowledged(0), Message(Code.FORBIDDEN, b"no"))
    response = await perform(server, request(Code.PUT, BODY))
    assert (response.code, response.payload) == (Code.FORBIDDEN, b"no")


@virtual
async def test_a_success_that_acknowledges_no_block_is_none() -> None:
    """The server acted on a part without knowing that it is one."""
    with pytest.raises(TransferFailed, match="acknowledged"):
        await perform(Scripted(Message(Code.CHANGED)), request(Code.PUT, BODY))


@virtual
async def test_a_server_that_asks_for_more_than_there_is() -> None:
    """2.31 to the last block is a strange answer, and the end."""
    server = Scripted(*(acknowledged(number) for number in range(4)), acknowledged(4, more=False))
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.CONTINUE
    assert not server.answers


@virtual
async def test_smaller_blocks_in_the_middle() -> None:
    """R080: numbers count in the smaller size; sizes do not grow again."""
    server = Scripted(
        acknowledged(0), acknowledged(1, exponent=4), *(acknowledged(number, exponent=6) for number in range(8, 19)),
        acknowledged(19, more=False, exponent=4, code=Code.CHANGED),
    )  # fmt: skip
    await perform(server, request(Code.PUT, BODY))
    asked = server.blocks1
    assert asked[:3] == [Block(0, True, 6), Block(1, True, 6), Block(8, True, 4)]
    assert asked[-1] == Block(19, False, 4)
    assert b"".join(message.payload for message in server.asked) == BODY


@virtual
async def test_a_server_that_lost_the_blocks_gets_them_again() -> None:
    """4.08, after a restart for example: from the beginning, with a tag that was not used before (RFC 9175 3.5.1)."""
    server = Scripted(
        acknowledged(0), acknowledged(1), Message(Code.REQUEST_ENTITY_INCOMPLETE),
        *(acknowledged(number) for number in range(4)), acknowledged(4, more=False, code=Code.CHANGED),
    )  # fmt: skip
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.CHANGED
    assert b"".join(message.payload for message in server.asked[3:]) == BODY
    assert {message.options.request_tag for message in server.asked[:3]} == {()}
    assert {message.options.request_tag for message in server.asked[3:]} == {(b"",)}


@virtual
async def test_a_server_that_loses_them_again_and_again() -> None:
    lost = [acknowledged(0), Message(Code.REQUEST_ENTITY_INCOMPLETE)] * 4
    server = Scripted(*lost)
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert not server.answers
    tags = [message.options.request_tag for message in server.asked]
    assert len(set(tags)) == 4


@virtual
async def test_an_echo_in_the_middle_of_a_body() -> None:
    """R165: the whole body again, with the value in every block."""
    challenge = Message(Code.UNAUTHORIZED, echo=b"value")
    rest = [*(acknowledged(number) for number in range(4)), acknowledged(4, more=False, code=Code.CHANGED)]
    server = Scripted(acknowledged(0), challenge, *rest)
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.CHANGED
    assert [message.options.echo for message in server.asked] == [None, None, *[b"value"] * 5]
    server = Scripted(*[challenge] * 3)
    assert (await perform(server, request(Code.PUT, BODY))).code == Code.UNAUTHORIZED


@virtual
async def test_a_wish_for_small_blocks_of_the_answer_goes_with_the_last_block() -> None:
    """RFC 7959 section 2.7 and figure 12."""
    server = Scripted(*(acknowledged(number) for number in range(4)), acknowledged(4, more=False, code=Code.CHANGED))
    await perform(server, request(Code.POST, BODY, block2=Block(0, False, 2)))
    assert server.blocks2 == [None] * 4 + [Block(0, False, 2)]


@virtual
async def test_the_answer_to_an_upload_is_fetched_in_order_and_by_its_tag() -> None:
    """R087, R170: Block2 requests without Block1 and payload, with the Request-Tag of the upload."""
    tags = RequestTags()
    message = request(Code.POST, BODY)
    tags.take(message)
    first = acknowledged(4, more=False, code=Code.CHANGED)
    first.payload, first.options.block2, first.options.etag = bytes(64), Block(0, True, 2), b"e"
    more = [part(1, True, code=Code.CHANGED), part(2, False, 9, code=Code.CHANGED)]
    server = Scripted(*(acknowledged(number) for number in range(4)), first, *more)
    response = await perform(server, message, tags)
    assert response.payload == bytes(64 + 64 + 9)
    assert server.blocks2 == [None] * 5 + [Block(1, False, 2), Block(2, False, 2)]
    assert server.blocks1[5:] == [None, None]
    assert [message.payload for message in server.asked[5:]] == [b"", b""]
    assert {message.options.request_tag for message in server.asked} == {(b"",)}


CHANGES = [
    part(1, False, etag=b"f"),
    part(1, False, code=Code.NOT_FOUND),
    Message(Code.CONTENT, bytes(64), block2=Block(1, False, 2), etag=b"e", content_format=50),
    Message(Code.CONTENT, bytes(64), block2=Block(1, False, 2)),
    Message(Code.BAD_REQUEST),
]


@pytest.mark.parametrize("changed", CHANGES)
@virtual
async def test_a_body_that_changes_is_fetched_anew(changed: Message) -> None:
    """R083: what comes is one version, whole."""
    again = [part(0, True, etag=b"g"), part(1, False, 7, etag=b"g")]
    server = Scripted(part(0, True), changed, *again)
    response = await perform(server, request(Code.GET))
    assert (response.payload, response.options.etag) == (bytes(71), b"g")
    assert server.blocks2 == [None, Block(1, False, 2), None, Block(1, False, 2)]


@pytest.mark.parametrize("changed", CHANGES)
@virtual
async def test_a_body_that_always_changes_fails(changed: Message) -> None:
    server = Scripted(*[part(0, True), changed] * 5)
    with pytest.raises(TransferFailed, match=r"changed|cannot be fetched"):
        await perform(server, request(Code.GET))
    assert len(server.asked) == 8
    server = Scripted(part(0, True), changed)
    with pytest.raises(TransferFailed):  # a POST is not done twice
        await perform(server, request(Code.POST))


@virtual
async def test_what_says_nothing_of_the_version_may_differ() -> None:
    """Time passes between blocks: only entity tag and format are compared."""
    later = part(1, False, 7)
    later.options.max_age = 3
    later.options.size2 = 71
    server = Scripted(part(0, True), later)
    assert (await perform(server, request(Code.GET))).payload == bytes(71)


@virtual
async def test_what_has_gone_is_said_to_have_gone() -> None:
    server = Scripted(part(0, True), Message(Code.NOT_FOUND), Message(Code.NOT_FOUND))
    assert (await perform(server, request(Code.GET))).code == Code.NOT_FOUND


@virtual
async def test_an_echo_in_the_middle_of_a_download() -> None:
    challenge = Message(Code.UNAUTHORIZED, echo=b"value")
    server = Scripted(part(0, True), challenge, part(1, True), part(2, False))
    assert (await perform(server, request(Code.GET))).payload == bytes(192)
    assert [message.options.echo for message in server.asked] == [None, None, b"value", b"value"]


@virtual
async def test_blocks_of_an_answer_from_a_group_come_from_who_gave_it() -> None:
    """R088."""

    class Group(Peer):
        is_multicast = True

    member = Peer()
    first = part(0, True)
    first.remote = member
    message = request(Code.GET)
    message.remote = Group()
    server = Scripted(first, part(1, False))
    assert (await perform(server, message)).payload == bytes(128)
    assert server.asked[1].remote is member
    assert server.blocks2[1] == Block(1, False, 2)


@virtual
async def test_requests_for_blocks_have_what_the_first_had() -> None:
    """R077, R090, R091: but for what belongs to the first one; M is 0."""
    server = Scripted(part(0, True), part(1, True), part(2, False))
    await perform(server, request(Code.GET, accept=50, if_none_match=True, size2=0, uri_query=("a",)))
    for number, message in enumerate(server.asked[1:], 1):
        assert message.options == Message(Code.GET, accept=50, uri_query=("a",), block2=Block(number, False, 2)).options


@virtual
async def test_a_fetch_repeats_what_it_asks_for_unless_it_was_in_blocks() -> None:
    server = Scripted(part(0, True), part(1, False))
    await perform(server, request(Code.FETCH, b"what"))
    assert [message.payload for message in server.asked] == [b"what"] * 2


@virtual
async def test_more_blocks_than_numbers() -> None:
    server = Scripted(*[acknowledged(0, exponent=0)])

    class Huge:
        size = None

        async def read(self, size: int) -> tuple[bytes, bool]:
            return bytes(1 << 20), True

        async def rewind(self) -> bool:
            return True

    async def ask(message: Message) -> Message:
        asked = message.options.block1
        assert asked is not None
        return acknowledged(asked.number, exponent=0)

    with pytest.raises(TransferFailed, match="2\\*\\*20"):
        await perform(ask, request(Code.PUT), source=Huge())
    assert server.answers


# Parts of a body.


@pytest.mark.parametrize("exponent", [6, 2])
@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 10), (0, 1024), (1000, 1030), (1024, 2048), (4999, 5000), (4999, None), (0, None), (3000, 3000), (4000, 9000)],
)
@virtual
async def test_a_part_of_a_body(start: int, stop: int | None, exponent: int) -> None:
    """RFC 7959 section 2.4: random access; no block that has nothing of the part is fetched."""
    resource = Body()
    async with Pair(
        site_of(x=resource), server_options={"parameters": TransportParameters(block_size=16 << exponent)}
    ) as pair:
        transfer = Transfer(1 << 20, RequestTags(), part=(start, stop))
        response = await pair.client.ask(Code.GET, "x", transfer=transfer).response
        assert response.payload == BODY[start:stop]
        assert response.options.block2 is None
        size = 16 << exponent
        least = -(-min(stop or 5000, 5000) // size) - start // size
        assert len(pair.requests) <= max(least, 1) + 1


@virtual
async def test_a_part_of_what_is_small_or_not_there() -> None:
    async with Pair(site_of(x=Body(b"0123456789"))) as pair:

        async def get(path: str, start: int, stop: int | None) -> Message:
            return await pair.client.ask(
                Code.GET, path, transfer=Transfer(99, RequestTags(), part=(start, stop))
            ).response

        assert (await get("x", 2, 5)).payload == b"234"
        assert (await get("x", 5000, None)).code == Code.BAD_REQUEST
        assert (await get("y", 0, None)).code == Code.NOT_FOUND
    server = Scripted(Message(Code.CONTENT, b"0123"))
    with pytest.raises(TransferFailed, match="only 4 bytes"):
        await perform(server, request(Code.GET), part=(1024, None))


@virtual
async def test_a_part_of_what_changes_is_fetched_anew() -> None:
    server = Scripted(part(1, True), part(2, False, etag=b"f"), part(1, True, etag=b"f"), part(2, False, 3, etag=b"f"))
    response = await perform(server, request(Code.GET, block2=Block(0, False, 2)), part=(64, None))
    assert response.payload == bytes(67)
    assert server.blocks2 == [Block(1, False, 2), Block(2, False, 2)] * 2


@virtual
async def test_a_part_is_bounded_and_its_blocks_fit() -> None:
    server = Scripted(*(part(number, True, 1024, exponent=6) for number in range(2, 9)))
    with pytest.raises(TransferFailed, match="larger"):
        await Transfer(3000, RequestTags(), part=(2048, None)).perform(request(Code.GET), server)
    for wrong in (part(1, True, 1024, exponent=6), part(0, True)):
        with pytest.raises(TransferFailed, match="another block"):
            await perform(Scripted(wrong), request(Code.GET), part=(2048, None))


@virtual
async def test_one_block_of_a_body() -> None:
    """The application may ask for a block by its number, and gets that."""
    async with Pair(site_of(x=Body())) as pair:
        response = await pair.client.get("x", block2=Block(3, False, 5))
        assert (response.payload, response.options.block2) == (BODY[1536:2048], Block(3, True, 5))


# Sizes.


@virtual
async def test_small_blocks_for_a_network_that_needs_them() -> None:
    """Early negotiation: the client says in its first request what it takes (RFC 7959 section 2.4)."""
    small = TransportParameters(block_size=64)
    async with Pair(site_of(x=Body()), client_options={"parameters": small}) as pair:
        assert (await pair.client.post("x", BODY)).payload == BODY
        assert (await pair.client.get("x")).payload == BODY
        assert all(len(sent.message.payload) <= 64 for sent in pair.network.sent)
    async with Pair(site_of(x=Body()), server_options={"parameters": small}) as pair:
        assert (await pair.client.post("x", BODY)).payload == BODY
        assert len(pair.requests[0].message.payload) == 1024
        assert pair.answers[0].message.options.block1 == Block(0, True, 2)
        assert pair.requests[1].message.options.block1 == Block(16, True, 2)
        assert all(len(sent.message.payload) <= 64 for sent in pair.answers)


@virtual
async def test_the_server_scales_what_the_client_asks_for() -> None:
    """R082: the size that is asked for, or a smaller one, at the same place of the body."""
    async with Pair(site_of(x=Body()), server_options={"parameters": TransportParameters(block_size=64)}) as pair:
        response = await one(pair, Code.GET, block2=block(2, False, 6))
        assert (response.options.block2, response.payload) == (Block(32, True, 2), BODY[2048:2112])


@virtual
async def test_who_wants_to_see_progress_asks_for_the_size() -> None:
    """R091: a hint, in the first request only; the body may turn out otherwise."""
    first = part(0, True)
    first.options.size2 = 1000
    server = Scripted(first, part(1, True), part(2, False, 9))
    steps: list[tuple[int, int | None]] = []
    response = await perform(server, request(Code.GET), progress=lambda *step: steps.append(step))
    assert [message.options.size2 for message in server.asked] == [0, None, None]
    assert steps == [(64, 1000), (128, 1000), (137, 137)]
    assert len(response.payload) == 137


# Several transfers of one client.


@virtual
async def test_concurrent_uploads_do_not_mix() -> None:
    """R170, R172: to the same resource, with the same options; each handler call sees one of the bodies, whole."""
    resource = Body()
    async with Pair(site_of(x=resource), 3, delay=(0.01, 0.5), parameters=TransportParameters(nstart=8)) as pair:
        bodies = [bytes([number]) * (2000 + 700 * number) for number in range(8)]
        answers = await asyncio.gather(*(pair.client.post("x", body) for body in bodies))
        assert [answer.payload for answer in answers] == bodies
        assert sorted(request.payload for request in resource.requests) == sorted(bodies)
        tags = [sent.message.options.request_tag for sent in pair.requests if sent.message.options.block1]
        assert len(set(tags)) == 8
        assert () in tags


@virtual
async def test_the_absent_tag_is_used_again_when_its_upload_has_concluded() -> None:
    """R171, R172: not before; an upload that was given up stays in doubt."""
    async with Pair(site_of(x=Body())) as pair:
        for _ in range(2):
            await pair.client.put("x", BODY)
        assert {sent.message.options.request_tag for sent in pair.requests} == {()}
        upload = pair.client.ask(Code.PUT, "x", BODY)
        await asyncio.sleep(0.03)
        upload.cancel()
        pair.network.sent.clear()
        await pair.client.put("x", OTHER)
        await pair.client.put("x", BODY)
        assert [sent.message.options.request_tag for sent in pair.requests] == [(b"",)] * 5 + [(b"\x01",)] * 5
        pair.network.sent.clear()
        await pair.client.put("x", BODY, uri_query=("other",))
        await pair.client.put("x", b"small")
        assert {sent.message.options.request_tag for sent in pair.requests} == {()}


@virtual
async def test_a_block_of_an_upload_that_was_given_up_comes_late() -> None:
    """R172: the last one would end the next body with the wrong bytes, and nobody would see it."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        held: list[bytes] = []

        def hold(sent: Any) -> bool:
            asked = sent.message.options.block1
            if sent.source == "client" and asked and asked.number == 4 and not held:
                held.append(sent.data)
            return bool(held)

        pair.network.drop = hold
        upload = pair.client.ask(Code.PUT, "x", OTHER)
        await asyncio.sleep(1)
        upload.cancel()
        pair.network.drop = None

        def inject(sent: Any) -> bool:
            asked = sent.message.options.block1
            if sent.source == "client" and asked and asked.number == 4:
                pair.network.inject("client", "server", held[0])
            return False

        pair.network.drop = inject
        assert (await pair.client.put("x", BODY)).code == Code.CHANGED
        assert [request.payload for request in resource.requests] == [OTHER, BODY]  # that upload is whole now, too


@virtual
async def test_the_tag_of_the_application_is_kept() -> None:
    async with Pair(site_of(x=Body())) as pair:
        await pair.client.put("x", BODY, request_tag=(b"a", b"b"))
        assert {sent.message.options.request_tag for sent in pair.requests} == {(b"a", b"b")}
        assert all(not sent.message.options.request_tag for sent in pair.answers)


def test_what_is_in_doubt_is_bounded() -> None:
    """Beyond the bound nothing is forgotten: all get tags."""
    tags = RequestTags(most=2)
    assert [tags.take(request(Code.PUT, uri_path=(str(number),)))[1] for number in range(4)] == [
        None,
        None,
        b"",
        b"\x01",
    ]
    assert len(tags) == 2


def test_over_dtls_the_absent_tag_is_used_once() -> None:
    """R172: RFC 9175 section 3.5.1: a retransmitted record may be held back, and nobody knows."""
    tags = RequestTags()
    message = request(Code.PUT)
    message.remote.security = "dtls"
    operation, tag = tags.take(message)
    assert (tag, operation is None) == (None, False)
    assert operation is not None
    tags.release(operation)
    assert tags.take(message)[1] == b""


@virtual
async def test_a_request_tag_without_blocks_means_nothing() -> None:
    """R171."""
    resource = Body()
    async with Pair(site_of(x=resource)) as pair:
        assert (await one(pair, Code.PUT, b"a" * 64, block1=block(0, True), request_tag=(b"t",))).code == Code.CONTINUE
        assert (await one(pair, Code.PUT, b"whole", request_tag=(b"t",))).code == Code.CHANGED
        assert (await one(pair, Code.PUT, b"b", block1=block(1, False), request_tag=(b"t",))).code == Code.CHANGED
        assert [request.payload for request in resource.requests] == [b"whole", b"a" * 64 + b"b"]


# When it ends early.


@virtual
async def test_a_cancelled_transfer_sends_nothing_any_more() -> None:
    async with Pair(site_of(x=Body())) as pair:
        for code, body in ((Code.PUT, BODY), (Code.GET, b"")):
            work = pair.client.ask(code, "x", body)
            await asyncio.sleep(0.03)
            work.cancel()
            sent = len(pair.requests)
            await asyncio.sleep(500)
            assert len(pair.requests) == sent
        assert len(pair.server.server.assemblies) == 0


@virtual
async def test_a_server_that_falls_silent() -> None:
    async with Pair(site_of(x=Body())) as pair:
        pair.network.drop = lambda sent: sent.time > 1000.05
        with pytest.raises(RequestTimeout):
            await pair.client.put("x", BODY)


# When the request is made again, because its session was lost.


class Bytes:
    """A source that may be read again, or not."""

    def __init__(self, body: bytes, *, again: bool = True) -> None:
        self.body = body
        self.size: int | None = len(body)
        self.position = 0
        self.again = again

    async def read(self, size: int) -> tuple[bytes, bool]:
        start, self.position = self.position, self.position + size
        return self.body[start : self.position], self.position < len(self.body)

    async def rewind(self) -> bool:
        self.position = 0
        return self.again


class Parts:
    """A sink that may forget, or not."""

    def __init__(self, *, again: bool = True) -> None:
        self.body = b""
        self.again = again

    async def write(self, part: bytes) -> None:
        self.body += part

    async def restart(self) -> bool:
        self.body = b""
        return self.again


class Breaking(Scripted):
    """Loses its session after some answers, once."""

    def __init__(self, after: int, *answers: Message) -> None:
        super().__init__(*answers)
        self.after = after

    async def __call__(self, message: Message) -> Message:
        self.after -= 1
        if self.after == -1:
            raise SessionEnded("over")
        return await super().__call__(message)


@pytest.mark.parametrize("again", [True, False])
@virtual
async def test_a_source_and_a_sink_begin_again_with_the_request(again: bool) -> None:
    first = part(0, True)
    answers = [acknowledged(0), *(acknowledged(number) for number in range(4)), first, part(1, False, 5)]
    first.options.block1 = Block(4, False, 6)
    source, sink = Bytes(BODY, again=again), Parts()
    transfer = Transfer(1 << 20, RequestTags(), source=source, sink=sink)
    server = Breaking(1, *answers)
    with pytest.raises(SessionEnded):
        await transfer.perform(request(Code.FETCH), server)
    if not again:
        with pytest.raises(TransferFailed, match="cannot be read twice"):
            await transfer.perform(request(Code.FETCH), server)
        return
    response = await transfer.perform(request(Code.FETCH), server)
    assert (response.payload, sink.body) == (b"", bytes(69))
    assert b"".join(message.payload for message in server.asked[1:6]) == BODY


@virtual
async def test_a_body_on_its_way_is_not_held() -> None:
    """Ten megabytes up and ten down, and a few kilobytes of them at a time; no limit of held bodies counts."""
    count = 10_000

    class Endless:
        size = None
        sent = 0

        async def read(self, size: int) -> tuple[bytes, bool]:
            self.sent += 1
            return bytes(size), self.sent < count

        async def rewind(self) -> bool:
            return False

    class Counting(Parts):
        received = 0

        async def write(self, part: bytes) -> None:
            self.received += len(part)

    async def server(message: Message) -> Message:
        block1, block2 = message.options.block1, message.options.block2
        if block1 is not None and block1.more:
            return acknowledged(block1.number)
        number = 0 if block2 is None else block2.number
        answer = part(number, number < count - 1, 1024, exponent=6)
        answer.options.block1 = block1
        return answer

    sink = Counting()
    transfer = Transfer(5_000, RequestTags(), source=Endless(), sink=sink)
    tracemalloc.start()
    await transfer.perform(request(Code.FETCH), server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sink.received == count * 1024
    assert peak < 200_000


@virtual
async def test_a_sink_that_cannot_forget() -> None:
    sink = Parts(again=False)
    transfer = Transfer(1 << 20, RequestTags(), sink=sink)
    server = Breaking(2, part(0, True), part(1, True))
    with pytest.raises(SessionEnded):
        await transfer.perform(request(Code.GET), server)
    with pytest.raises(TransferFailed, match="handed on"):
        await transfer.perform(request(Code.GET), server)
