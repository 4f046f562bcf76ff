"""From requests to responses: errors, handlers that wait, gates, No-Response (RFC 7252 section 5, RFC 7967, 8768, 8974)."""

from __future__ import annotations

import asyncio
import logging
import sys
from itertools import pairwise
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.errors import (
    BadRequest,
    ErrorResponse,
    Forbidden,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Unauthorized,
)
from securecoap.resources import Resource, Site
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message, NoResponse
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CHANGED, CON, CONTENT, GET, NON, PATH_X, Plain, Slow, kinds, site_of, wire

SECRET = b"the-payload-is-secret"


class Does(Resource):
    """Calls what it is given, for every method."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def render_get(self, request: Message) -> Any:
        return self.what(request)

    render_post = render_put = render_delete = render_fetch = render_get


class DoesAsync(Does):
    async def render_get(self, request: Message) -> Any:
        await asyncio.sleep(0)
        return self.what(request)

    render_post = render_put = render_delete = render_fetch = render_get


def raiser(error: Exception) -> Any:
    def what(request: Message) -> Message:
        raise error

    return what


@pytest.mark.parametrize("kind", [Does, DoesAsync])
@pytest.mark.parametrize(
    "error",
    [
        BadRequest("why not"),
        Forbidden(),
        NotFound("gone"),
        RequestEntityTooLarge(size1=77),
        ServiceUnavailable(max_age=9),
    ],
)
@virtual
async def test_errors_are_responses(kind: type[Does], error: ErrorResponse) -> None:
    async with Pair(site_of(x=kind(raiser(error)))) as pair:
        for confirmable in (True, False):
            response = await pair.client.get("x", confirmable=confirmable)
            assert response.code == error.code
            assert response.payload == error.diagnostic.encode()
            assert response.options.content_format is None
            assert response.options.size1 == getattr(error, "size1", None)
            assert (response.options.max_age or 60) == (error.max_age or 60)


@pytest.mark.parametrize("kind", [Does, DoesAsync])
@virtual
async def test_a_crash_is_5_00_and_a_log_record(kind: type[Does], caplog: pytest.LogCaptureFixture) -> None:
    async with Pair(site_of(x=kind(lambda _: 1 / 0))) as pair:
        with caplog.at_level(logging.DEBUG):
            response = await pair.client.post("x", SECRET)
        assert (response.code, response.payload, response.options.pairs) == (Code.INTERNAL_SERVER_ERROR, b"", ())
        (record,) = [one for one in caplog.records if one.name.startswith("securecoap")]
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        assert SECRET.decode() not in caplog.text
        assert (await pair.client.get("x")).code == Code.INTERNAL_SERVER_ERROR  # and it goes on


@virtual
async def test_who_makes_a_handler_crash_again_and_again_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Pair(site_of(x=Does(lambda _: 1 / 0))) as pair:
        for _ in range(30):
            assert (await pair.client.get("x")).code == Code.INTERNAL_SERVER_ERROR
        assert 10 <= len(caplog.records) < 25  # ten at once, and one in each second of the network's time


@virtual
async def test_a_peer_writes_no_lines_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    site.add("/store/{name}", Does(lambda _: 1 / 0))
    async with Pair(site) as pair:
        request = pair.client.ask(Code.GET, "store/x\nERROR forged\x1b[31m")
        assert (await request.response).code == Code.INTERNAL_SERVER_ERROR
        (record,) = caplog.records
        assert "\n" not in record.getMessage()
        assert "\x1b" not in record.getMessage()


@pytest.mark.parametrize("kind", [Does, DoesAsync])
@pytest.mark.parametrize("result", [None, b"bytes", 2.05])
@virtual
async def test_a_handler_that_returns_no_message(
    kind: type[Does], result: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with Pair(site_of(x=kind(lambda _: result))) as pair:
        assert (await pair.client.get("x")).code == Code.INTERNAL_SERVER_ERROR
        assert "not a Message" in caplog.text


@virtual
async def test_default_codes_and_unknown_things() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        codes = [
            (await pair.client.ask(code, "x").response).code
            for code in (Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.PATCH)
        ]
        assert codes == [Code.CONTENT, Code.CHANGED, Code.CHANGED, Code.DELETED, Code.CONTENT, Code.METHOD_NOT_ALLOWED]
        assert (await pair.client.get("y")).code == Code.NOT_FOUND


@virtual
async def test_one_message_may_be_returned_again_and_again() -> None:
    """A handler's message is never changed, for whatever request it is the answer."""
    shared = Message(Code.CONTENT, bytes(3000), content_format=42)
    before = (shared.payload, shared.options.pairs, shared.remote, shared.mid, shared.token, shared.exchange)
    async with Pair(site_of(x=Does(lambda _: shared))) as pair:
        for _ in range(2):
            assert (await pair.client.get("x")).payload == bytes(3000)
            assert (await pair.client.post("x", bytes(2000))).payload == bytes(3000)
    assert (shared.payload, shared.options.pairs, shared.remote, shared.mid, shared.token, shared.exchange) == before


# No response (RFC 7967).


@pytest.mark.parametrize("kind", [Does, DoesAsync])
@virtual
async def test_no_response(kind: type[Does]) -> None:
    async with Pair(site_of(x=kind(lambda _: NoResponse))) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        pair.network.inject("stranger", "server", wire(NON, GET, 2, b"t", PATH_X))
        await asyncio.sleep(5)
        assert [one.data for one in pair.answers] == [wire(ACK, 0, 1)]
        assert pair.server.tokens._incoming == {}


@pytest.mark.parametrize(
    ("wish", "wanted"), [(0, {2, 4, 5}), (2, {4, 5}), (8, {2, 5}), (16, {2, 4}), (26, set()), (127, set())]
)
@virtual
async def test_no_response_option(wish: int, wanted: set[int]) -> None:
    """R184, R185."""
    site = site_of(a=Plain(), b=Does(raiser(BadRequest())), c=Does(raiser(ServiceUnavailable())))
    async with Pair(site) as pair:
        for mid, (path, code_class) in enumerate((("a", 2), ("b", 4), ("c", 5))):
            option = b"\xb1" + path.encode() + (b"\xd0\xea" if wish == 0 else bytes((0xD1, 0xEA, wish)))
            for mtype in (CON, NON):
                before = len(pair.answers)
                pair.network.inject("stranger", "server", wire(mtype, GET, mid * 2 + mtype, b"t", option))
                await asyncio.sleep(1)
                answers = pair.answers[before:]
                if code_class in wanted:
                    assert [one.code >> 5 for one in answers] == [code_class]
                else:
                    assert kinds(answers) == ([(ACK, 0)] if mtype == CON else [])


# Handlers that wait.


@virtual
async def test_handlers_run_as_tasks() -> None:
    seen = []

    class Waits(Resource):
        async def render_get(self, request: Message) -> Message:
            seen.append(asyncio.current_task())
            async with asyncio.timeout(5):
                await asyncio.sleep(0.01)
            return Message(payload=b"waited")

    async with Pair(site_of(x=Waits())) as pair:
        assert (await pair.client.get("x")).payload == b"waited"
        assert isinstance(seen[0], asyncio.Task)
        assert kinds(pair.answers) == [(ACK, CONTENT)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from Python 3.12")
@virtual
async def test_a_handler_that_does_not_wait_is_answered_at_once() -> None:
    class Quick(Resource):
        async def render_get(self, request: Message) -> Message:
            assert asyncio.current_task() is not None
            return Message(payload=b"quick")

    async with Pair(site_of(x=Quick())) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        assert kinds(pair.answers) == [(ACK, CONTENT)]


@virtual
async def test_a_handler_is_cancelled_when_its_token_is_used_again() -> None:
    slow = Slow(50.0)
    async with Pair(site_of(x=slow)) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        await asyncio.sleep(1)
        pair.network.inject("stranger", "server", wire(CON, GET, 2, b"t", PATH_X))
        await asyncio.sleep(1)
        assert slow.cancelled == 1
        await asyncio.sleep(50)
        assert [one.code for one in pair.answers if one.code] == [CONTENT]


@virtual
async def test_a_handler_is_cancelled_with_its_peer() -> None:
    slow = Slow(50.0)
    async with Pair(site_of(x=slow)) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        await asyncio.sleep(1)
        pair.server.manager.dispatch_error(111, pair.server.interface.address("stranger"))
        await asyncio.sleep(100)
        assert slow.cancelled == 1
        assert kinds(pair.answers) == [(ACK, 0)]
        assert pair.server.server._tasks == set()


@virtual
async def test_handlers_under_way_are_bounded() -> None:
    slow = Slow(5.0)
    async with Pair(site_of(x=slow, y=Plain()), limits=Limits(requests_under_way=3)) as pair:
        for number in range(5):
            pair.network.inject(f"peer{number}", "server", wire(CON, GET, 1, b"t", PATH_X))
        await settle()
        assert kinds(pair.answers) == [(ACK, 0xA3)] * 2
        assert pair.answers[0].message.options.max_age == 5
        assert (await pair.client.get("y")).payload == b"hello"  # what needs no task is served
        await asyncio.sleep(6)
        assert (await pair.client.get("x")).payload == b"late"


@virtual
async def test_closing_cancels_handlers() -> None:
    slow = Slow(50.0)
    async with Pair(site_of(x=slow)) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        await asyncio.sleep(1)
        await pair.server.close()
        assert slow.cancelled == 1


# Gates.


@virtual
async def test_foreign_names() -> None:
    def is_own(host: str, remote: object) -> bool:
        return host == "mine"

    async with Pair(site_of(x=Plain()), server_options={"is_own_name": is_own}) as pair:
        assert (await pair.client.get("x", uri_host="MINE")).code == Code.CONTENT
        assert (await pair.client.get("x")).code == Code.CONTENT
        assert (await pair.client.get("x", uri_host="other")).code == Code.NOT_FOUND


@virtual
async def test_no_proxy_and_hop_limit() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        assert (await pair.client.get("x", proxy_uri="coap://elsewhere/x")).code == Code.PROXYING_NOT_SUPPORTED
        assert (await pair.client.get("x", proxy_scheme="coap", uri_host="e")).code == Code.PROXYING_NOT_SUPPORTED
        assert resource.seen == []
        assert (await pair.client.get("x", hop_limit=1)).code == Code.CONTENT
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X + b"\x51\x00"))
        assert pair.answers[-1].code == Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (b"\x51\x01", Code.CONTENT),
        (b"\x51\xff", Code.CONTENT),  # an end point counts nothing down, and passes nothing on
        (b"\x51\x00", Code.BAD_REQUEST),
        (b"\x50", Code.BAD_REQUEST),
        (b"\x52\x01\x00", Code.BAD_REQUEST),
        (b"\x51\x07\x01\x00", Code.CONTENT),  # the first of a surplus counts (RFC 7252 section 5.4.5)
    ],
)
@virtual
async def test_hop_limit(options: bytes, code: Code) -> None:
    """R187."""
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X + options))
        assert pair.answers[-1].code == code


@virtual
async def test_policy_comes_before_everything_else() -> None:
    seen = []

    def authorize(request: Message) -> None:
        seen.append(request.options.uri_path)
        raise Unauthorized

    async with Pair(site_of(x=Plain()), server_options={"authorize": authorize}) as pair:
        assert (await pair.client.get("nothing")).code == Code.UNAUTHORIZED  # it does not tell what exists
        assert (await pair.client.put("x", bytes(5000))).code == Code.UNAUTHORIZED
        assert seen == [("nothing",), ("x",)]
        assert len(pair.server.server.assemblies) == 0


@pytest.mark.parametrize("names", [None, False, True])
@virtual
async def test_a_resource_that_takes_only_methods_that_the_policy_names(names: bool | None) -> None:
    class Careful(Plain):
        takes_named_methods_only = True

    asked = []

    def names_method(request: Message) -> bool:
        asked.append(request.code)
        return bool(names)

    options = {} if names is None else {"names_method": names_method}
    careful = Careful()
    async with Pair(site_of(x=careful), server_options=options) as pair:
        assert (await pair.client.get("x")).code == Code.CONTENT
        assert (await pair.client.put("x", bytes(5000))).code == (Code.CHANGED if names else Code.METHOD_NOT_ALLOWED)
        assert len(pair.server.server.assemblies) == 0
    assert len(careful.seen) == (2 if names else 1)
    assert set(asked) == (set() if names is None else {Code.PUT})


# Tokens (RFC 8974).


@pytest.mark.parametrize("length", [0, 1, 8, 9, 12, 13, 32])
@virtual
async def test_long_tokens(length: int) -> None:
    token = bytes(range(length))
    async with Pair(site_of(x=Plain())) as pair:
        head = bytes((0x40 | min(length, 13), GET, 0, 1)) + (bytes((length - 13,)) if length >= 13 else b"")
        pair.network.inject("stranger", "server", head + token + PATH_X)
        assert pair.answers[0].message.token == token
        assert pair.answers[0].code == CONTENT


@pytest.mark.parametrize("length", [33, 268, 269, 600])
@virtual
async def test_too_long_tokens(length: int) -> None:
    """R181: 5.03 with the token, not a Reset."""
    token = bytes(length)
    async with Pair(site_of(x=Plain())) as pair:
        extended = bytes((length - 13,)) if length < 269 else (length - 269).to_bytes(2, "big")
        data = bytes((0x40 | (13 if length < 269 else 14), GET, 0, 1)) + extended + token + PATH_X
        pair.network.inject("stranger", "server", data)
        assert pair.answers[0].code == 0xA3
        assert pair.answers[0].message.token == token


@virtual
async def test_tokens_are_random() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        for _ in range(300):
            await pair.client.get("x")
        tokens = [one.message.token for one in pair.requests]
        assert len(set(tokens)) == 300
        assert {len(token) for token in tokens} == {8}
        assert (
            sum((int.from_bytes(b, "big") - int.from_bytes(a, "big")) % 2**64 < 2**32 for a, b in pairwise(tokens)) == 0
        )


@virtual
async def test_options_that_a_request_must_not_have() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X + b"\xd1\x01\x00"))  # critical 25
        pair.network.inject("stranger", "server", wire(NON, GET, 2, b"t", PATH_X + b"\xd1\x01\x00"))
        pair.network.inject("stranger", "server", wire(CON, GET, 3, b"t", PATH_X + b"\xd1\x00\x00"))  # elective 24
        assert kinds(pair.answers) == [(ACK, 0x82), (ACK, CONTENT)]
        assert b"25" in pair.answers[0].message.payload
        assert len(resource.seen) == 1


@virtual
async def test_a_resource_alone_and_nothing_at_all() -> None:
    """One resource serves every path; a pure client serves none."""
    async with Pair(Plain()) as pair:
        assert (await pair.client.get("any/path")).payload == b"hello"
        pair.network.inject("server", "client", wire(CON, GET, 1, b"t", PATH_X))
        assert pair.requests[-1].code == Code.NOT_FOUND
        assert await pair.client.get("x", no_response=26) is NoResponse


@virtual
async def test_the_payload_limit_is_a_block() -> None:
    for size, blocks in ((0, 1), (1024, 1), (1025, 2), (4096, 4)):
        async with Pair(site_of(x=Does(lambda _, size=size: Message(payload=bytes(size))))) as pair:
            assert len((await pair.client.post("x")).payload) == size
            assert len(pair.answers) == blocks
            assert max(len(one.data) for one in pair.answers) <= 1152
            assert pair.answers[0].code == CHANGED


@virtual
async def test_a_payload_of_get_means_nothing() -> None:
    """RFC 7252 section 5.5 (R008): ignored on receipt."""
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        pair.network.inject("client", "server", wire(CON, GET, 77, b"t", PATH_X, b"ignored"))
        await settle()
        assert [request.payload for request in resource.seen] == [b""]


@virtual
async def test_what_a_new_policy_does_not_allow_ends_and_the_rest_goes_on() -> None:
    refused: set[tuple[str, ...]] = set()

    def authorize(request: Message) -> None:
        if request.options.uri_path in refused:
            raise Forbidden("not any more")

    slow, other = Slow(30), Slow(30)
    async with Pair(site_of(x=slow, y=other), server_options={"authorize": authorize}) as pair:
        requests = [asyncio.ensure_future(pair.client.get(path)) for path in "xy"]
        body = Message(Code.PUT, bytes(16), uri_path=("x",))
        body.options.block1 = Block(0, True, 0)
        await asyncio.sleep(5)
        assert len(pair.server.tokens.incoming()) == 2
        body.remote = pair.server.tokens.incoming()[0].request.remote
        assemblies = pair.server.server.assemblies
        assemblies.receive(body)
        elsewhere = body.copy()
        elsewhere.options.uri_path = ("y",)
        elsewhere.remote = body.remote
        assemblies.receive(elsewhere)
        pair.server.server.review(pair.server.tokens.incoming())
        assert len(pair.server.tokens.incoming()) == len(assemblies) == 2
        refused.add(("x",))
        pair.server.server.review(pair.server.tokens.incoming())
        answer = await requests[0]
        assert (answer.code, answer.payload) == (Code.FORBIDDEN, b"not any more")
        assert (slow.cancelled, other.cancelled) == (1, 0)
        assert len(assemblies) == 1
        assert (await requests[1]).payload == b"late"
