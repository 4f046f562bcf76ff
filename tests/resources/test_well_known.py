"""``/.well-known/core`` (RFC 6690)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from securecoap.errors import BadRequest, MethodNotAllowed, NotAcceptable
from securecoap.resources import NoResponse, ObservableResource, Resource, Site, WellKnownCore
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import JSON, LINK_FORMAT
from securecoap.wire.link_format import Link, parse_links
from securecoap.wire.message import Message
from tests.resources.fakes import FakeAddress, request, route

_FILTERS: list[Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "coap_messages.json").read_text(encoding="utf-8")
)["link_format_filters"]

LINKS = {
    "/link1": {"rt": "Type1", "if": "If1", "sz": 100, "ct": 40},
    "/link2": {"rt": ["Type1", "Type2"], "if": ["foo", "If2"], "ct": (0, 40)},
    "/link3": {"rt": "Type1 Type3", "if": "foo", "ct": 400},
    "/other": {"rt": "Type10", "sz": 0},
    "/bare": {},
}
# By the rule that each filter has in the vectors.
EXPECTED = {
    "rt=Type1": ["/link1", "/link2", "/link3"],
    "rt=*": ["/link1", "/link2", "/link3", "/other"],
    "if=If*": ["/link1", "/link2"],
    "href=/link1": ["/link1"],
    "href=/link*": ["/link1", "/link2", "/link3"],
    "sz=*": ["/link1", "/other"],
    "ct=40": ["/link1", "/link2"],
}


@pytest.fixture
def core() -> WellKnownCore:
    return WellKnownCore(lambda: [Link.create(target, said) for target, said in LINKS.items()])  # type: ignore[arg-type]


def _targets(answer: Message) -> list[str]:
    return [link.target for link in parse_links(answer.payload)]


def _ask(resource: Any, *queries: str, **options: Any) -> Message:
    answer = resource.dispatch(request(uri_query=queries, **options))
    assert isinstance(answer, Message)
    return answer


def test_without_filter(core: WellKnownCore) -> None:
    answer = _ask(core)
    assert _targets(answer) == list(LINKS)
    assert answer.options.content_format == LINK_FORMAT
    assert answer.code is None


def test_the_vectors_are_all_there() -> None:
    assert {vector["query"] for vector in _FILTERS} == set(EXPECTED)


@pytest.mark.parametrize("query", [vector["query"] for vector in _FILTERS])
def test_filter(core: WellKnownCore, query: str) -> None:
    assert _targets(_ask(core, query)) == EXPECTED[query]


def test_several_filters_are_all_to_hold(core: WellKnownCore) -> None:
    assert _targets(_ask(core, "rt=Type1", "sz=*")) == ["/link1"]


def test_nothing_found_is_an_empty_list(core: WellKnownCore) -> None:
    assert _ask(core, "rt=nothing").payload == b""
    core_of_peer = request(uri_query=("rt=nothing",))
    core_of_peer.remote = FakeAddress()
    assert core.dispatch(core_of_peer).options.content_format == LINK_FORMAT  # type: ignore[union-attr]


def test_a_multicast_request_that_finds_nothing_is_not_answered(core: WellKnownCore) -> None:
    message = request(uri_query=("rt=nothing",))
    message.remote = FakeAddress(is_multicast_locally=True)
    assert core.dispatch(message) is NoResponse
    message.options.uri_query = ("rt=Type1",)
    assert core.dispatch(message) is not NoResponse


def test_a_query_that_is_no_filter(core: WellKnownCore) -> None:
    with pytest.raises(BadRequest):
        _ask(core, "=x")


def test_other_formats_and_methods(core: WellKnownCore) -> None:
    assert _ask(core, accept=LINK_FORMAT).payload
    with pytest.raises(NotAcceptable):
        _ask(core, accept=JSON)
    with pytest.raises(MethodNotAllowed):
        core.dispatch(request(Code.POST))


def test_a_list_that_the_client_has(core: WellKnownCore) -> None:
    etag = _ask(core).options.etag
    assert etag is not None
    assert _ask(core, etags=(etag,)).code == Code.VALID
    assert _ask(core, "rt=*", etags=(etag,)).payload


class Described(ObservableResource):
    link_attributes = {"rt": "temperature-c", "if": "sensor", "title": "of the class"}  # noqa: RUF012


class Unlike(Resource):
    """Lists what it has below its template."""

    def links(self) -> Any:
        return [({"name": "a b"}, {"ct": 0}), ({"name": "é"}, {"ct": None, "rt": "own"})]


def test_a_site_lists_what_was_added() -> None:
    site, nested = Site(), Site()
    site.add("/", Resource(), title='say "hello"')
    site.add("/temperature", Described(), title="of the path", ct=[0, 50])
    site.add("/quiet", Described(), attributes={"obs": False, "hreflang": "en"}, osc=True)
    site.add("/hidden", Resource(), is_listed=False)
    nested.add("/", Resource())
    nested.add("/x/", Resource(), sz=3)
    nested.add("/{name}/more", Unlike())
    site.add("/sub", nested)
    site.add("/devices/{name}", Site())
    site.add("/store/{name}", Unlike(), rt="given")
    site.add("/unlisted/{name}", Resource())
    site.add(("", "a/b"), Resource())
    answer = _ask(route(site, ".well-known", "core")[0])
    assert answer.payload.decode().split(",") == [
        r'</>;title="say \"hello\""',
        '</temperature>;rt="temperature-c";if="sensor";title="of the path";ct="0 50";obs',
        '</quiet>;rt="temperature-c";if="sensor";title="of the class";osc;hreflang="en"',
        "</sub>",
        "</sub/x/>;sz=3",
        "</sub/a%20b/more>;ct=0",
        '</sub/%C3%A9/more>;rt="own"',
        '</store/a%20b>;rt="given";ct=0',
        '</store/%C3%A9>;rt="own"',
        "</.//a%2Fb>",
    ]


def test_resources_of_other_makes_are_listed() -> None:
    class Bare:
        async def render(self, message: Message) -> Message:
            return Message()

    class Watched(Bare):
        async def add_observation(self, message: Message, server_observation: object) -> None: ...

    class Tree:
        def find(self, path: tuple[str, ...]) -> None: ...

    site = Site()
    site.add("/bare", Bare())  # type: ignore[arg-type]
    site.add("/watched", Watched())  # type: ignore[arg-type]
    site.add("/template/{name}", Bare())  # type: ignore[arg-type]
    site.add("/tree", Tree())
    assert _ask(route(site, ".well-known", "core")[0]).payload == b"</bare>,</watched>;obs"
