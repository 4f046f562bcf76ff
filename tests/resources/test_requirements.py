"""Claims that resources require: what is said, that it is held before anything else, and held again after a reload."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from securecoap import Block, Code, Message, ObservableResource, Resource, Site, requires
from securecoap.errors import ErrorResponse, Forbidden, NotAcceptable, Unauthorized
from securecoap.interfaces import EndpointAddress
from securecoap.resources.requirements import Demand
from tests.core.helpers import Slow, site_of
from tests.resources.fakes import FakeAddress, request, route, run
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

EXPRESSIONS: list[tuple[Any, list[tuple[str, ...]], list[tuple[str, ...]]]] = [
    (":a", [(":a",), (":b", ":a")], [(), (":b",), (":A",), ("a",), (":a ",)]),
    ("reader", [(":x", "reader")], [(":reader",), ("read", "er")]),
    ([":a", ":b"], [(":a",), (":b",)], [(), (":c",)]),
    ((":a",), [(":a",)], [()]),
    ({"any-of": [":a", ":b"]}, [(":b",)], [(":c",), ()]),
    ({"all-of": [":a", ":b"]}, [(":a", ":b"), (":b", ":x", ":a")], [(":a",), (":b",), ()]),
    ({"all-of": [":a", ["x", "y"]]}, [(":a", "y"), (":a", "x")], [(":a",), ("x", "y")]),
    ([":a", {"all-of": ["x", "y"]}], [(":a",), ("y", "x")], [("x",), ("y",), ()]),
    ({"all-of": [{"any-of": [":a"]}]}, [(":a",)], [()]),
]


@pytest.mark.parametrize(("expression", "enough", "too_little"), EXPRESSIONS)
def test_expressions(expression: Any, enough: list[tuple[str, ...]], too_little: list[tuple[str, ...]]) -> None:
    demand = Demand(expression)
    assert all(demand.met(claims) for claims in enough)
    assert not any(demand.met(claims) for claims in too_little)


@pytest.mark.parametrize(
    "expression",
    ["", [], (), {}, {"any-of": []}, {"all-of": []}, {"none-of": [":a"]}, {"any-of": [":a"], "all-of": [":b"]}, [""],
     {"any-of": ":a"}, None, True, 1, b":a", [b":a"], [":a", []], [":a", None], {":a"}, {"any-of": None}],
)  # fmt: skip
def test_what_says_nothing_clear_is_refused_when_it_is_said(expression: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        requires(expression)
    if expression is not None:
        with pytest.raises((ValueError, TypeError)):
            Site().add("/x", Resource(), requires=expression)
        with pytest.raises((ValueError, TypeError)):
            type("Some", (Resource,), {"requires": expression})


class Valve(Resource):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def render_get(self, request: Message) -> Message:
        self.calls.append("get")
        return Message(payload=b"open")

    @requires(":operator")
    def render_put(self, request: Message) -> Message:
        """Set it."""
        self.calls.append("put")
        return Message()

    @requires([":operator", ":service"])
    async def render_post(self, request: Message) -> Message:
        await asyncio.sleep(0)
        self.calls.append("post")
        return Message()

    @requires(":operator")
    @requires("second-factor")
    def render_delete(self, request: Message) -> Message:
        self.calls.append("delete")
        return Message()


def ask(resource: Any, code: Code, *claims: str, **options: Any) -> Code | type[ErrorResponse]:
    """The response code, or the kind of refusal."""
    message = request(code, **options)
    message.remote = FakeAddress(claims)
    try:
        answer = resource.dispatch(message)
        return Code.CHANGED if not isinstance(answer, Message) and run_all(answer) else Code.CONTENT
    except ErrorResponse as error:
        return type(error)


def run_all(coroutine: Any) -> bool:
    async def whole() -> None:
        await coroutine

    asyncio.run(whole())
    return True


def test_a_method_that_requires_claims() -> None:
    valve = Valve()
    assert ask(valve, Code.GET) is Code.CONTENT
    assert ask(valve, Code.PUT) is Unauthorized
    assert ask(valve, Code.PUT, ":service") is Forbidden
    assert ask(valve, Code.POST) is Unauthorized
    assert ask(valve, Code.POST, ":reader") is Forbidden
    assert ask(valve, Code.DELETE, ":operator") is Forbidden
    assert ask(valve, Code.DELETE, "second-factor") is Forbidden
    assert valve.calls == ["get"]
    assert ask(valve, Code.PUT, ":operator") is Code.CONTENT
    assert ask(valve, Code.POST, ":service") is Code.CHANGED
    assert ask(valve, Code.DELETE, "second-factor", ":operator") is Code.CONTENT
    assert valve.calls == ["get", "put", "post", "delete"]
    assert Valve.render_put.__doc__ == "Set it."


def test_a_request_of_nobody_has_proved_nothing() -> None:
    with pytest.raises(Unauthorized):
        Valve().dispatch(request(Code.PUT))


def test_what_is_called_by_hand_is_guarded_too() -> None:
    with pytest.raises(Unauthorized):
        run(Valve().render(request(Code.PUT)))
    with pytest.raises(Unauthorized):
        Valve().render_put(request(Code.PUT))


def test_a_class_that_requires_claims_and_its_subclasses() -> None:
    class Config(Valve):
        requires = ":admin"

    class More(Config):
        def render_fetch(self, request: Message) -> Message:
            return Message()

        def render_put(self, request: Message) -> Message:  # decorated no more: only the class's demand is left
            return Message()

    for kind in (Config, More):
        assert ask(kind(), Code.GET) is Unauthorized
        assert ask(kind(), Code.GET, ":operator") is Forbidden
        assert ask(kind(), Code.GET, ":admin") is Code.CONTENT
    assert ask(Config(), Code.PUT, ":admin") is Forbidden
    assert ask(Config(), Code.PUT, ":admin", ":operator") is Code.CONTENT
    assert ask(More(), Code.PUT, ":admin") is Code.CONTENT
    assert ask(More(), Code.FETCH) is Unauthorized
    assert ask(Valve(), Code.GET) is Code.CONTENT


def test_an_overridden_render_is_guarded() -> None:
    class Everything(Resource):
        requires = ":admin"

        async def render(self, request: Message) -> Message:
            return Message()

    class Decorated(Resource):
        @requires(":admin")
        async def render(self, request: Message) -> Message:
            return Message()

    for kind in (Everything, Decorated):
        for code in (Code.GET, Code.IPATCH, 31):
            assert ask(kind(), code) is Unauthorized  # type: ignore[arg-type]  # a method nobody knows
            with pytest.raises(Unauthorized):
                kind().admit(request(code))
            assert ask(kind(), code, ":admin") is Code.CHANGED  # type: ignore[arg-type]  # as above


def test_claims_come_before_formats() -> None:
    class Formats(Resource):
        produces = ("json",)

        @requires(":a")
        def render_get(self, request: Message) -> Message:
            return Message(payload=b"{}", content_format="json")

    assert ask(Formats(), Code.GET, accept=0) is Unauthorized
    assert ask(Formats(), Code.GET, ":a", accept=0) is NotAcceptable


def test_what_cannot_be_guarded_is_refused_when_it_is_made() -> None:
    with pytest.raises(TypeError, match="handlers"):
        requires(":a")(Valve)
    with pytest.raises(TypeError, match="handlers"):
        requires(":a")(staticmethod(lambda _: None).__func__.__name__)  # type: ignore[type-var]  # what is tested
    with pytest.raises(TypeError, match="self and request"):
        type("Static", (Resource,), {"render_get": staticmethod(requires(":a")(lambda *_: Message()))})
    with pytest.raises(TypeError, match="overridden"):
        type("Own", (Resource,), {"requires": ":a", "dispatch": lambda *_: Message()})
    said_of_an_object = Valve()
    said_of_an_object.requires = ":a"  # type: ignore[misc]  # what is tested
    with pytest.raises(ValueError, match="in an object"):
        Site().add("/x", said_of_an_object)


# Places of a site.


class Echo(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=repr(dict(request.parameters)).encode())


def test_a_place_that_requires_claims() -> None:
    valve = Valve()
    site = Site()
    site.add("/valve", valve)
    site.add("/guarded", valve, requires=":admin")
    site.add("/by/{name}", valve, requires=":admin")
    assert route(site, "valve")[0] is valve
    for path in (("guarded",), ("by", "x")):
        guarded, _ = route(site, *path)
        assert ask(guarded, Code.GET) is Unauthorized
        assert ask(guarded, Code.GET, ":operator") is Forbidden
        assert ask(guarded, Code.PUT, ":admin") is Forbidden
        assert ask(guarded, Code.GET, ":admin") is Code.CONTENT
        with pytest.raises(Unauthorized):
            run(guarded.render(request()))
        assert guarded is route(site, *path)[0]
        assert guarded.assembles_bodies is True  # type: ignore[attr-defined]  # all else is the resource's
        assert guarded.is_observable is False  # type: ignore[attr-defined]  # as above
        assert run(guarded.needs_blockwise_assembly(request()))
    assert route(site, "by", "x")[1] == {"name": "x"}
    assert str(site.links()[1].target) == "/guarded"


def test_everything_below_a_place() -> None:
    class Tree:
        def find(self, path: tuple[str, ...]) -> Any:
            return None if path == ("nothing",) else (Echo(), {"rest": "/".join(path)})

    inner = Site()
    inner.add("/free", Valve())
    inner.add("/more", Valve(), requires="second-factor")
    inner.add("/tree", Tree())
    outer = Site()
    outer.add("/{house}", inner, requires=":admin")
    assert outer.find(("home", "tree", "nothing")) is None
    for path, claims in (
        (("free",), (":admin",)),
        (("more",), (":admin", "second-factor")),
        (("tree", "x"), (":admin",)),
    ):
        found, parameters = route(outer, "home", *path)
        assert parameters["house"] == "home"
        assert ask(found, Code.GET) is Unauthorized
        for some in range(len(claims)):
            assert ask(found, Code.GET, *claims[:some], ":other") is Forbidden
        assert ask(found, Code.GET, *claims) is Code.CONTENT


def test_guarded_resources_are_forgotten_with_those_who_use_them() -> None:
    class Tree:
        def find(self, path: tuple[str, ...]) -> Any:
            return Valve(), {}

    site = Site()
    site.add("/", Tree(), requires=":a")
    for number in range(50):
        route(site, str(number))
    gc.collect()
    (entry,) = site._entries.values()
    assert entry.place is not None
    assert not entry.place._guarded


def test_a_resource_that_knows_only_the_contract() -> None:
    class Bare:
        async def needs_blockwise_assembly(self, request: Message) -> bool:
            return True

        async def render(self, request: Message) -> Message:
            return Message(Code.CONTENT)

    site = Site()
    site.add("/bare", Bare(), requires=":a")
    bare, _ = route(site, "bare")
    assert ask(bare, Code.GET) is Unauthorized
    assert ask(bare, Code.GET, ":a") is Code.CHANGED


# At the server.


@pytest.fixture
def prove(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says what everybody has proved from now on."""
    return lambda *claims: monkeypatch.setattr(EndpointAddress, "authenticated_claims", claims)


class Door(ObservableResource):
    state = b"0"

    @requires(":reader")
    def render_get(self, request: Message) -> Message:
        return Message(payload=self.state)


def test_nothing_is_kept_for_who_may_not(prove: Any) -> None:
    @virtual
    async def scenario() -> None:
        door, valve = Door(), Valve()
        site = site_of(door=door, valve=valve)
        site.add("/house/door", door, requires=":resident")
        async with Pair(site) as pair:
            for proved, code in (((), Code.UNAUTHORIZED), ((":other",), Code.FORBIDDEN)):
                prove(*proved)
                assert (await pair.client.put("valve", bytes(5000))).code is code
                assert len(pair.server.server.assemblies) == 0
                for path in ("door", "house/door"):
                    answer = await pair.client.get(path, observe=0)
                    assert (answer.code, answer.options.observe) == (code, None)
                assert door.observation_count == 0
                assert not pair.server.tokens.incoming()
            assert valve.calls == []
            prove(":operator", ":reader")
            assert (await pair.client.put("valve", bytes(5000))).code is Code.CHANGED
            assert (await pair.client.get("house/door", observe=0)).code is Code.FORBIDDEN
            assert (await pair.client.get("door", observe=0)).options.observe is not None
            assert door.observation_count == 1

    scenario()


def test_a_stranger_is_not_even_asked_for_freshness(prove: Any) -> None:
    class Actuator(Valve):
        fresh_within = 5

    @virtual
    async def scenario() -> None:
        async with Pair(site_of(x=Actuator())) as pair:
            prove(":other")
            answer = await pair.client.put("x", b"1")
            assert (answer.code, answer.options.echo) == (Code.FORBIDDEN, None)

    scenario()


def test_a_review_asks_resources_again(prove: Any) -> None:
    """Credentials were replaced, and the session goes on with fewer claims."""

    class Lasting(Slow):
        requires = ":reader"

    @virtual
    async def scenario() -> None:
        door, slow, free = Door(), Lasting(30), Slow(30)
        site = site_of(door=door, slow=slow, free=free, valve=Valve())
        async with Pair(site, server_options={"authorize": lambda _: None}) as pair:
            prove(":reader", ":operator")
            assert (await pair.client.get("door", observe=0)).options.observe is not None
            waiting = [asyncio.ensure_future(pair.client.get(path)) for path in ("slow", "free")]
            await asyncio.sleep(5)
            body = Message(Code.PUT, bytes(16), uri_path=("valve",))
            body.options.block1 = Block(0, True, 0)
            body.remote = pair.server.tokens.incoming()[0].request.remote
            assemblies = pair.server.server.assemblies
            assemblies.receive(body)
            pair.server.server.review(pair.server.tokens.incoming())
            assert (door.observation_count, len(assemblies)) == (1, 1)
            prove(":someone")
            pair.server.server.review(pair.server.tokens.incoming())
            assert (door.observation_count, len(assemblies)) == (0, 0)
            assert (await waiting[0]).code is Code.FORBIDDEN
            assert (slow.cancelled, free.cancelled) == (1, 0)
            assert (await waiting[1]).payload == b"late"
            await settle()

    scenario()
