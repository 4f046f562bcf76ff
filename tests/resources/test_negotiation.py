"""What a resource declares to produce and to consume; the methods of RFC 8132 with their error codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from securecoap.errors import (
    BadRequest,
    Conflict,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    UnprocessableEntity,
    UnsupportedContentFormat,
)
from securecoap.resources import Resource, Site, check_preconditions, etag_for, require_accept, require_content_format
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import CBOR, CONTENT_FORMATS, JSON, LINK_FORMAT, TEXT
from securecoap.wire.message import Message
from tests.core.helpers import site_of
from tests.resources.fakes import request, run
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

MERGE_PATCH, JSON_PATCH = 52, 51


class Sensor(Resource):
    produces = ("json", CBOR)
    consumes = {Code.PUT: ("json",), Code.PATCH: (MERGE_PATCH, None)}  # noqa: RUF012  # nobody changes it

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"{}", content_format=require_accept(request, *self.produces))

    async def render_fetch(self, request: Message) -> Message:
        return self.render_get(request)

    def render_put(self, request: Message) -> Message:
        return Message()

    render_post = render_patch = render_put


def ask(resource: Resource, code: Code, payload: bytes = b"", **options: Any) -> Message:
    answer = resource.dispatch(request(code, payload, **options))
    return answer if isinstance(answer, Message) else run(answer)


@pytest.mark.parametrize("code", [Code.GET, Code.FETCH])
def test_accept(code: Code) -> None:
    """R052."""
    sensor = Sensor()
    for wanted, given in ((None, JSON), (JSON, JSON), ("application/cbor", CBOR)):
        assert ask(sensor, code, accept=wanted).options.content_format == given
    with pytest.raises(NotAcceptable):
        ask(sensor, code, accept=TEXT)
    # What has another answer than a representation is not refused for its format.
    assert ask(sensor, Code.PUT, b"{}", content_format=JSON, accept=TEXT).options.content_format is None


def test_content_format() -> None:
    sensor = Sensor()
    ask(sensor, Code.PUT, b"{}", content_format=JSON)
    ask(sensor, Code.PUT)  # no body, so none of another format
    ask(sensor, Code.PATCH, b"{}")
    ask(sensor, Code.PATCH, b"{}", content_format=MERGE_PATCH)
    ask(sensor, Code.POST, b"{}", content_format=TEXT)  # says nothing of POST
    for code, content_format in ((Code.PUT, MERGE_PATCH), (Code.PUT, None), (Code.PATCH, JSON)):
        with pytest.raises(UnsupportedContentFormat):
            ask(sensor, code, b"{}", content_format=content_format)


def test_one_list_for_every_method() -> None:
    class Takes(Sensor):
        consumes = (TEXT,)

    for code in (Code.POST, Code.PUT, Code.PATCH, Code.FETCH):
        with pytest.raises(UnsupportedContentFormat):
            ask(Takes(), code, b"x", content_format=JSON)
    ask(Takes(), Code.PUT, b"x", content_format=TEXT)


def test_declarations_hold_where_render_is_overridden() -> None:
    class All(Sensor):
        async def render(self, request: Message) -> Message:
            return Message()

    with pytest.raises(NotAcceptable):
        ask(All(), Code.GET, accept=TEXT)
    ask(All(), Code.GET, accept=JSON)
    with pytest.raises(NotAcceptable):
        run(Sensor().render(request(Code.GET, accept=TEXT)))


def test_nothing_is_paid_for_what_is_not_declared() -> None:
    class Plain(Resource):
        def render_get(self, request: Message) -> Message:
            return Message()

    assert Plain._entries[Code.GET] is Plain.render_get


def test_faults_show_when_the_class_is_made() -> None:
    with pytest.raises(ValueError, match="jsno"):
        type("Bad", (Resource,), {"produces": ("jsno",)})
    with pytest.raises(TypeError, match="number or a name"):
        type("Bad", (Resource,), {"consumes": (1.5,)})


def test_links_say_what_is_produced() -> None:
    """RFC 7252 section 7.2.1: ct."""
    site = Site()
    site.add("/a", Sensor())
    site.add("/b", Sensor(), ct=LINK_FORMAT)
    assert [dict(link.attributes).get("ct") for link in site.links()] == ["50 60", "40"]


def test_formats_by_name() -> None:
    message = Message(Code.PUT, content_format="application/json", accept=CONTENT_FORMATS[CBOR])
    assert (message.options.content_format, message.options.accept) == (JSON, CBOR)
    message.options.accept = "link-format"
    assert message.copy(content_format="text").options.content_format == TEXT
    assert message.options.accept == LINK_FORMAT
    with pytest.raises(ValueError, match="unknown content format"):
        Message(content_format="application/jason")
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match="65535"):
            Message(accept=wrong)
    with pytest.raises(TypeError):
        Message(accept=1.5)
    assert require_accept(request(accept="cbor"), "json", "cbor") == CBOR
    assert require_content_format(request(content_format=JSON), "json") == JSON


class Document(Resource):
    """A JSON object, with everything that RFC 8132 has."""

    produces = (JSON,)
    consumes = {Code.PATCH: (JSON_PATCH,), Code.IPATCH: (MERGE_PATCH,), Code.FETCH: (JSON,)}  # noqa: RUF012  # as above

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = {"a": 1, "b": 2}
        self.changes = 0

    @property
    def _etag(self) -> bytes | None:
        return None if self.state is None else etag_for(json.dumps(self.state).encode())

    def render_fetch(self, request: Message) -> Message:
        if self.state is None:
            raise NotFound
        wanted = json.loads(request.payload)
        return Message(payload=json.dumps({key: self.state[key] for key in wanted}).encode(), content_format=JSON)

    def render_ipatch(self, request: Message) -> Message:
        check_preconditions(request, self._etag)
        if self.state is None:
            raise NotFound
        if len(request.payload) > 40:
            raise RequestEntityTooLarge(size1=40)
        try:
            patch = json.loads(request.payload)
        except ValueError:
            raise BadRequest("no JSON") from None
        if not isinstance(patch, dict):
            raise UnprocessableEntity("a merge patch is an object here")
        if "locked" in patch:
            raise Conflict("is locked")
        self.state.update(patch)
        self.changes += 1
        return Message(etag=self._etag)

    def render_patch(self, request: Message) -> Message:
        self.changes += 1
        return Message()

    def render_delete(self, request: Message) -> Message:
        check_preconditions(request, self._etag)
        self.state = None
        return Message()


@virtual
async def test_fetch() -> None:
    """RFC 8132 section 2: safe, with a body that says what is wanted; 2.05."""
    async with Pair(site_of(x=Document())) as pair:
        fetched = await pair.client.ask(Code.FETCH, "x", b'["b"]', content_format="json").response
        assert (fetched.code, fetched.payload) == (Code.CONTENT, b'{"b": 2}')
        for options in ({"content_format": CBOR}, {}):
            refused = await pair.client.ask(Code.FETCH, "x", b'["b"]', **options).response
            assert refused.code == Code.UNSUPPORTED_CONTENT_FORMAT
        assert (await pair.client.ask(Code.FETCH, "x", b"[]", content_format=JSON, accept=TEXT).response).code == 0x86


@pytest.mark.parametrize(
    ("payload", "content_format", "code"),
    [
        (b'{"a": 9}', MERGE_PATCH, Code.CHANGED),
        (b"{", MERGE_PATCH, Code.BAD_REQUEST),
        (b"{}", JSON, Code.UNSUPPORTED_CONTENT_FORMAT),
        (b"[]", MERGE_PATCH, Code.UNPROCESSABLE_ENTITY),
        (b'{"locked": 1}', MERGE_PATCH, Code.CONFLICT),
        (b'{"a": "%s"}' % bytes(50), MERGE_PATCH, Code.REQUEST_ENTITY_TOO_LARGE),
    ],
)
@virtual
async def test_patch_errors(payload: bytes, content_format: int, code: Code) -> None:
    """RFC 8132 section 3.4: 4.00, 4.09, 4.13, 4.15, 4.22; what was refused has changed nothing."""
    document = Document()
    async with Pair(site_of(x=document)) as pair:
        answer = await pair.client.ask(Code.IPATCH, "x", payload, content_format=content_format).response
        assert answer.code == code
        assert document.changes == (code == Code.CHANGED)


@virtual
async def test_patch_with_if_match() -> None:
    """R055 and RFC 8132 section 3.1: on the state that the client knows, or 4.12 and nothing."""
    document = Document()
    async with Pair(site_of(x=document)) as pair:
        first = await pair.client.ask(Code.IPATCH, "x", b'{"a": 5}', content_format=MERGE_PATCH).response
        stale, fresh = b"stale", first.options.etag
        for tag, code in ((stale, Code.PRECONDITION_FAILED), (fresh, Code.CHANGED), (fresh, Code.PRECONDITION_FAILED)):
            answer = await pair.client.ask(
                Code.IPATCH, "x", b'{"a": 6}', content_format=MERGE_PATCH, if_match=[tag]
            ).response
            assert answer.code == code
        assert document.changes == 2
        assert (await pair.client.ask(Code.DELETE, "x", if_match=[stale]).response).code == Code.PRECONDITION_FAILED
        exists = {"content_format": MERGE_PATCH, "if_none_match": True}
        assert (await pair.client.ask(Code.IPATCH, "x", b"{}", **exists).response).code == Code.PRECONDITION_FAILED
        await pair.client.ask(Code.DELETE, "x").response
        gone = await pair.client.ask(Code.IPATCH, "x", b"{}", content_format=MERGE_PATCH).response
        assert gone.code == Code.NOT_FOUND


@virtual
async def test_safe_and_idempotent_methods() -> None:
    """R030: what arrives twice is carried out once; what is safe may be carried out again and changes nothing."""
    document = Document()
    async with Pair(site_of(x=document), duplication=1.0) as pair:
        for _ in range(3):
            await pair.client.ask(Code.FETCH, "x", b"[]", content_format=JSON).response
        assert document.changes == 0
        await pair.client.ask(Code.PATCH, "x", b"[]", content_format=JSON_PATCH).response
        assert document.changes == 1
        for expected in (2, 3):
            await pair.client.ask(Code.IPATCH, "x", b'{"a": 7}', content_format=MERGE_PATCH).response
            assert (document.changes, document.state) == (expected, {"a": 7, "b": 2})
        for _ in range(2):
            assert (await pair.client.ask(Code.DELETE, "x").response).code == Code.DELETED
            assert document.state is None
