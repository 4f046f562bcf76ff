"""The demo site does what the design's section 7 says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.cli import demo
from securecoap.cli.demo import LARGE_SIZE, STORE_BYTES, STORE_ENTRIES, STORE_ENTRY_BYTES, Slow, Store, Time, demo_site
from securecoap.errors import (
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PreconditionFailed,
    RequestEntityTooLarge,
    ServiceUnavailable,
)
from securecoap.wire.codes import DEFAULT_RESPONSE_CODES, Code
from securecoap.wire.content_formats import CBOR, JSON, LINK_FORMAT, OCTET_STREAM, TEXT
from securecoap.wire.link_format import parse_links
from securecoap.wire.message import Message
from tests.core.helpers import site_of
from tests.resources.fakes import FakeAddress, FakeObservation, FakeScheduler, Rendering, request, route, run
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

if TYPE_CHECKING:
    from securecoap.resources import Site

NOON = datetime(2031, 2, 3, 12, 0, 0, 987_654, tzinfo=UTC)


@pytest.fixture
def site() -> Site:
    return demo_site()


def ask(site: Site, code: int, path: str, payload: bytes = b"", **options: Any) -> Message:
    """The answer of a handler that does not wait, with the code that the server would give it."""
    resource, parameters = route(site, *path[1:].split("/"))
    answer = resource.dispatch(request(code, payload, parameters, **options))  # type: ignore[attr-defined]
    assert isinstance(answer, Message)
    if answer.code is None:
        answer = answer.copy()
        answer.code = DEFAULT_RESPONSE_CODES[code]
    return answer


def observe(site: Site, path: str, observation: FakeObservation) -> None:
    resource, parameters = route(site, *path[1:].split("/"))
    run(resource.add_observation(request(1, b"", parameters, observe=0), observation))  # type: ignore[attr-defined]


def test_hello(site: Site) -> None:
    answer = ask(site, Code.GET, "/hello")
    assert (answer.code, answer.payload, answer.options.content_format) == (Code.CONTENT, b"hello", TEXT)


@pytest.mark.parametrize("path", ["/hello", "/time", "/large", "/slow", "/whoami"])
def test_other_methods_and_formats_are_refused(site: Site, path: str) -> None:
    resource, _ = route(site, path[1:])
    with pytest.raises(MethodNotAllowed):
        resource.dispatch(request(Code.DELETE))  # type: ignore[attr-defined]
    with pytest.raises(NotAcceptable):
        run(resource.render(request(accept=CBOR)))


def test_time(site: Site) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    answer = ask(site, Code.GET, "/time")
    assert before <= datetime.fromisoformat(answer.payload.decode()) <= datetime.now(UTC)
    assert answer.options.max_age == 2
    fixed = Time(now=lambda: NOON).dispatch(request())
    assert isinstance(fixed, Message)
    assert fixed.payload == b"2031-02-03T12:00:00+00:00"


def clock(microsecond: int = 0) -> tuple[Time, FakeScheduler]:
    """A clock whose time passes with its scheduler's."""
    scheduler = FakeScheduler()
    start, begin = NOON.replace(microsecond=microsecond), scheduler.now
    resource = Time(now=lambda: start + timedelta(seconds=scheduler.now - begin))
    resource.scheduler = scheduler
    return resource, scheduler


def test_the_clock_ticks_only_while_it_is_observed() -> None:
    resource, scheduler = clock()
    assert not scheduler.armed
    first, second = FakeObservation(), FakeObservation()
    for observation in (first, second):
        run(resource.add_observation(request(observe=0), observation))
    assert len(scheduler.armed) == 1
    scheduler.advance(3.5)
    assert len(first.triggered) == len(second.triggered) == 3
    assert first.end is not None
    assert second.end is not None
    first.end()
    assert len(scheduler.armed) == 1
    scheduler.advance(1)
    second.end()
    assert not scheduler.armed
    scheduler.advance(10)
    assert (len(first.triggered), len(second.triggered)) == (3, 4)
    run(resource.add_observation(request(observe=0), FakeObservation()))
    assert len(scheduler.armed) == 1


def test_a_busy_loop_does_not_get_seconds_to_make_up_for() -> None:
    resource, scheduler = clock()
    observation = FakeObservation()
    run(resource.add_observation(request(observe=0), observation))
    scheduler.now += 30
    scheduler.advance(0)
    assert len(observation.triggered) == 1
    scheduler.advance(1.5)
    assert len(observation.triggered) == 2


@pytest.mark.parametrize("microsecond", [0, 1, 499_999, 999_999])
def test_the_clock_ticks_just_behind_the_turn_of_a_second(microsecond: int) -> None:
    resource, scheduler = clock(microsecond)
    run(resource.add_observation(request(observe=0), FakeObservation()))
    (due,) = scheduler.armed
    assert 0 < due - scheduler.now + microsecond / 1e6 - 1 < 0.1


@virtual
async def test_r105_the_next_notification_comes_within_max_age() -> None:
    """The one resource of ours that knows when it changes says so, and keeps it (RFC 7641 section 4.3.1)."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    resource = Time(now=lambda: NOON + timedelta(seconds=loop.time() - begin))
    async with Pair(site_of(time=resource)) as pair:
        asking = pair.client.ask(Code.GET, "time", observe=0)
        await asyncio.sleep(10)
        asking.cancel()
        told = [(one.time, one.message.options.max_age or 0) for one in pair.answers if one.message.options.observe]
    assert len(told) >= 10
    assert all(later - sooner < max_age for (sooner, max_age), (later, _) in pairwise(told))


def test_the_clock_leaves_nothing_behind_in_a_loop() -> None:
    async def look() -> int:
        resource, observation = Time(), FakeObservation()
        await resource.add_observation(request(observe=0), observation)
        timer = resource._timer
        assert isinstance(timer, asyncio.TimerHandle)
        resource._tick()
        timer.cancel()
        await asyncio.sleep(0)
        assert observation.end is not None
        observation.end()
        assert resource._timer is None
        return len(observation.triggered)

    assert asyncio.run(look()) == 1


def test_obs(site: Site) -> None:
    resource, _ = route(site, "obs")
    scheduler = resource.scheduler = FakeScheduler()  # type: ignore[attr-defined]
    first = ask(site, Code.GET, "/obs")
    assert (first.code, first.payload, first.options.content_format) == (Code.CONTENT, b"00000", TEXT)
    observation = Rendering(resource, request(observe=0))
    observe(site, "/obs", observation)
    assert ask(site, Code.PUT, "/obs", b"00001").code == Code.CHANGED
    assert ask(site, Code.GET, "/obs").payload == b"00001"
    scheduler.settle()
    assert observation.seen == [b"00001"]


def test_obs_is_text_unless_said_otherwise(site: Site) -> None:
    ask(site, Code.PUT, "/obs", b"{}", content_format=JSON)
    assert ask(site, Code.GET, "/obs").options.content_format == JSON
    ask(site, Code.PUT, "/obs", b"x")
    assert ask(site, Code.GET, "/obs").options.content_format == TEXT


def test_obs_knows_conditions(site: Site) -> None:
    etag = ask(site, Code.GET, "/obs").options.etag
    assert etag is not None
    assert ask(site, Code.GET, "/obs", etags=(etag,)).code == Code.VALID
    ask(site, Code.PUT, "/obs", b"1", if_match=(etag,))
    with pytest.raises(PreconditionFailed):
        ask(site, Code.PUT, "/obs", b"2", if_match=(etag,))
    with pytest.raises(RequestEntityTooLarge):
        ask(site, Code.PUT, "/obs", bytes(STORE_ENTRY_BYTES + 1))
    assert ask(site, Code.GET, "/obs").payload == b"1"


@pytest.mark.parametrize(
    ("method", "code"), [(Code.POST, Code.CHANGED), (Code.PUT, Code.CHANGED), (Code.FETCH, Code.CONTENT)]
)
@pytest.mark.parametrize("content_format", [CBOR, TEXT, None])
def test_echo(site: Site, method: Code, code: Code, content_format: int | None) -> None:
    answer = ask(site, method, "/echo", b"\x00\xff", content_format=content_format)
    assert (answer.code, answer.payload, answer.options.content_format) == (code, b"\x00\xff", content_format)
    assert answer.payload


def test_echo_has_no_get(site: Site) -> None:
    with pytest.raises(MethodNotAllowed):
        ask(site, Code.GET, "/echo")


def test_large(site: Site) -> None:
    answer = ask(site, Code.GET, "/large")
    assert len(answer.payload) == LARGE_SIZE == 65_536
    assert answer.payload[:251] == bytes(range(251))
    assert answer.payload == (bytes(range(251)) * 262)[:LARGE_SIZE]
    assert answer.options.content_format == OCTET_STREAM
    assert answer.options.etag is not None  # RFC 7959 section 2.4: blocks of one body can be told apart
    assert ask(site, Code.GET, "/large", etags=(answer.options.etag,)).code == Code.VALID


def test_slow() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    answer = Slow(sleep).dispatch(request())
    assert isinstance(answer, Coroutine)
    assert run(answer).payload
    assert slept == [2.0]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (FakeAddress(), {"claims": [], "scheme": "coap", "security": "none"}),
        (
            FakeAddress((":sensor-17", "reader"), "coaps", "dtls"),
            {"claims": [":sensor-17", "reader"], "scheme": "coaps", "security": "dtls"},
        ),
        (FakeAddress((":é",), "coap", "oscore"), {"claims": [":é"], "scheme": "coap", "security": "oscore"}),
    ],
)
def test_whoami(site: Site, address: FakeAddress, said: dict[str, object]) -> None:
    resource, _ = route(site, "whoami")
    message = request()
    message.remote = address
    answer = resource.dispatch(message)  # type: ignore[attr-defined]
    assert json.loads(answer.payload) == said
    assert answer.options.content_format == JSON
    assert answer.options.max_age == 0


def test_store(site: Site) -> None:
    with pytest.raises(NotFound):
        ask(site, Code.GET, "/store/a")
    with pytest.raises(NotFound):
        ask(site, Code.DELETE, "/store/a")
    assert ask(site, Code.PUT, "/store/a", b"{}", content_format=JSON).code == Code.CREATED
    assert ask(site, Code.PUT, "/store/a", b"[]", content_format=JSON).code == Code.CHANGED
    answer = ask(site, Code.GET, "/store/a")
    assert (answer.code, answer.payload, answer.options.content_format) == (Code.CONTENT, b"[]", JSON)
    with pytest.raises(NotAcceptable):
        ask(site, Code.GET, "/store/a", accept=TEXT)
    assert ask(site, Code.DELETE, "/store/a").code == Code.DELETED
    with pytest.raises(NotFound):
        ask(site, Code.GET, "/store/a")
    assert site.find(("store", "")) is None
    with pytest.raises(MethodNotAllowed):
        ask(site, Code.POST, "/store/a")


def test_store_keeps_what_has_no_format(site: Site) -> None:
    ask(site, Code.PUT, "/store/a", b"")
    answer = ask(site, Code.GET, "/store/a", accept=CBOR)
    assert answer.payload == b""
    assert answer.options.content_format is None


def test_store_knows_conditions(site: Site) -> None:
    with pytest.raises(PreconditionFailed):
        ask(site, Code.PUT, "/store/a", b"1", if_match=(b"",))
    etag = ask(site, Code.PUT, "/store/a", b"1", if_none_match=True).options.etag
    assert etag is not None
    with pytest.raises(PreconditionFailed):
        ask(site, Code.PUT, "/store/a", b"2", if_none_match=True)
    assert ask(site, Code.GET, "/store/a", etags=(etag,)).code == Code.VALID
    ask(site, Code.PUT, "/store/a", b"2", if_match=(etag,))
    with pytest.raises(PreconditionFailed):
        ask(site, Code.DELETE, "/store/a", if_match=(etag,))
    assert ask(site, Code.GET, "/store/a").payload == b"2"


def test_store_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (STORE_ENTRIES, STORE_BYTES) == (1_000, 16 * 1024 * 1024)
    with pytest.raises(RequestEntityTooLarge) as too_large:
        ask(site, Code.PUT, "/store/a", bytes(STORE_ENTRY_BYTES + 1))
    assert too_large.value.size1 == STORE_ENTRY_BYTES
    monkeypatch.setattr(demo, "STORE_ENTRIES", 3)
    monkeypatch.setattr(demo, "STORE_BYTES", 100)
    for name in "abc":
        ask(site, Code.PUT, f"/store/{name}", bytes(30))
    with pytest.raises(ServiceUnavailable) as full:
        ask(site, Code.PUT, "/store/d", b"")
    assert full.value.max_age
    ask(site, Code.PUT, "/store/c", bytes(40))
    with pytest.raises(ServiceUnavailable):
        ask(site, Code.PUT, "/store/c", bytes(41))
    assert len(ask(site, Code.GET, "/store/c").payload) == 40
    ask(site, Code.DELETE, "/store/a")
    ask(site, Code.PUT, "/store/d", bytes(30))
    ask(site, Code.PUT, "/store/d", b"")
    ask(site, Code.PUT, "/store/c", bytes(70))


def test_store_tells_the_observers_of_a_name() -> None:
    site = demo_site()
    resource, _ = route(site, "store", "a")
    assert isinstance(resource, Store)

    async def scenario() -> None:
        missing, of_a, of_b = FakeObservation(), FakeObservation(), FakeObservation()
        observe(site, "/store/a", missing)
        assert missing.end is None  # not accepted: nothing is there
        for name in "ab":
            ask(site, Code.PUT, f"/store/{name}", b"1")
        observe(site, "/store/a", of_a)
        observe(site, "/store/a", FakeObservation(ends_at_once=True))
        observe(site, "/store/b", of_b)
        observe(site, "/store/b", FakeObservation())
        ask(site, Code.PUT, "/store/a", b"2")
        await asyncio.sleep(0)
        assert (len(of_a.triggered), len(of_b.triggered)) == (1, 0)
        ask(site, Code.DELETE, "/store/a")
        await asyncio.sleep(0)
        assert (len(of_a.triggered), len(of_b.triggered)) == (2, 0)
        assert of_a.end is not None
        of_a.end()  # the server does, when it renders 4.04
        assert set(resource._observations) == {"b"}
        assert of_b.end is not None
        of_b.end()
        assert set(resource._observations) == {"b"}

    asyncio.run(scenario())


def test_an_observation_that_ends_at_once_leaves_nothing(site: Site) -> None:
    resource, _ = route(site, "store", "a")
    assert isinstance(resource, Store)
    ask(site, Code.PUT, "/store/a", b"1")
    observe(site, "/store/a", FakeObservation(ends_at_once=True))
    assert not resource._observations


def test_what_there_is_can_be_discovered(site: Site) -> None:
    ask(site, Code.PUT, "/store/a b", b"12", content_format=JSON)
    ask(site, Code.PUT, "/store/c", b"")
    answer = ask(site, Code.GET, "/.well-known/core")
    assert answer.options.content_format == LINK_FORMAT
    links = {link.target: link for link in parse_links(answer.payload)}
    assert list(links) == [
        "/hello", "/time", "/obs", "/echo", "/large", "/store/a%20b", "/store/c", "/slow", "/whoami",
    ]  # fmt: skip
    assert [target for target, link in links.items() if link.has("obs")] == [
        "/time",
        "/obs",
        "/store/a%20b",
        "/store/c",
    ]
    assert dict(links["/store/a%20b"].attributes) == {"obs": None, "ct": "50", "sz": "2"}


def test_two_sites_have_nothing_in_common() -> None:
    one, other = demo_site(), demo_site()
    ask(one, Code.PUT, "/store/a", b"1")
    ask(one, Code.PUT, "/obs", b"1")
    assert ask(other, Code.GET, "/obs").payload == b"00000"
    with pytest.raises(NotFound):
        ask(other, Code.GET, "/store/a")
