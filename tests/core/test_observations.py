"""The table of observations: who shares notifications, what is counted, and when (RFC 7641 section 4).

That bounds hold on the wire is tested in ``test_observe.py``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.observations import Observations
from securecoap.interfaces import EndpointAddress
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import VirtualLoop, virtual

if TYPE_CHECKING:
    from securecoap.core.observe import Observation, Rendering


class Address(EndpointAddress):
    """One that has proved what it says, or nothing."""

    def __init__(self, *claims: str, security: str = "oscore") -> None:
        self.authenticated_claims = claims
        self.confirmed = bool(claims)
        self.security = security
        self.scheme = "coap"


class Incoming:
    """A registration that came in."""

    was_answered = True
    is_confirmable = False

    def __init__(self, remote: Any, **options: Any) -> None:
        self.request = Message(options.pop("code", Code.GET), options.pop("payload", b""), observe=0, **options)
        self.request.remote = remote
        self.ends: list[Any] = []
        self.sent: list[Message] = []

    def on_interest_end(self, callback: Any, fate: Any = None) -> None:
        self.ends.append((callback, fate))

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        assert not is_last
        self.sent.append(message)


class Watched(Limits):
    reached_bounds: list[str] = []  # noqa: RUF012  # emptied by each test

    def reached(self, name: str) -> None:
        self.reached_bounds.append(name)


def table(render: Any = lambda *_: None, **limits: int) -> Observations:
    Watched.reached_bounds.clear()
    return Observations(
        Watched(**limits), TransportParameters(), asyncio.get_running_loop(), first_number=7, render=render
    )


def registered(observations: Observations, resource: Any, incoming: Any) -> Observation:
    observation = observations.register(incoming, resource)
    assert observation is not None
    return observation


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ({}, {}, True),
        ({"uri_query": ("a",)}, {"uri_query": ("b",)}, False),
        ({"accept": 50}, {}, False),
        ({"payload": b"1", "code": Code.FETCH}, {"payload": b"2", "code": Code.FETCH}, False),
        ({"code": Code.FETCH}, {}, False),
        # What a server asked for, or what is the client's own affair, makes no other representation.
        ({"echo": b"now"}, {}, True),
        ({"request_tag": (b"1",)}, {"request_tag": (b"2",)}, True),
        ({"no_response": 0}, {}, True),
        ({"oscore": b"\x09\x01"}, {"oscore": b"\x09\x02"}, True),
    ],
)
@virtual
async def test_who_asks_the_same_shares_an_audience(one: dict[str, Any], other: dict[str, Any], share: bool) -> None:
    observations, resource = table(), Resource()
    first = registered(observations, resource, Incoming(Address(":a"), **one))
    second = registered(observations, resource, Incoming(Address(":a"), **other))
    assert (first.audience is second.audience) is share
    assert first.audience.members == 1 + share


@virtual
async def test_what_was_proved_counts_unless_it_is_the_same_for_all() -> None:
    observations, resource = table(), Resource()
    audiences = [
        registered(observations, resource, Incoming(address)).audience
        for address in (Address(":a"), Address(":a", "reader"), Address(":a", security="dtls"), Address(":a"))
    ]
    assert len({id(one) for one in audiences}) == 3
    assert audiences[0] is audiences[3]
    resource.same_for_all = True
    shared = {id(registered(observations, resource, Incoming(Address(claim))).audience) for claim in (":a", ":b")}
    assert len(shared) == 1
    other = registered(observations, Resource(), Incoming(Address(":a"))).audience
    assert all(other is not one for one in audiences)  # another resource, whatever is asked


@virtual
async def test_nothing_is_left_of_what_has_ended() -> None:
    observations, resource = table(), Resource()
    here, there = Address(":a"), Address()
    first = [registered(observations, resource, Incoming(here, uri_query=(str(number),))) for number in range(3)]
    second = registered(observations, resource, Incoming(there))
    assert (len(observations), observations._strangers) == (4, 1)
    for observation in (*first, second, second):  # to end twice is to end once
        observation.end()
    assert (len(observations), observations._strangers) == (0, 0)
    assert (observations._of, observations._audiences) == ({}, {})


@pytest.mark.parametrize(
    ("bound", "others"),
    [
        ("observations", ()),
        ("observations_per_peer", ()),
        ("observations_per_identity", (Address(":a"),)),
    ],
)
@virtual
async def test_one_too_many_is_not_counted(bound: str, others: tuple[Address, ...]) -> None:
    observations, resource = table(**{bound: 2}), Resource()
    here = Address(":a")
    kept = [registered(observations, resource, Incoming(remote)) for remote in (here, *(others or (here,)))]
    before = dict(observations._of)
    for _ in range(3):
        incoming: Any = Incoming(here)
        assert observations.register(incoming, resource) is None
        assert incoming.ends == []  # nobody has to hear of its end
    assert Watched.reached_bounds == [bound] * 3
    assert (len(observations), observations._of) == (2, before)
    kept[0].end()
    assert observations.register(Incoming(here), resource) is not None  # type: ignore[arg-type]  # stands for one


@virtual
async def test_a_change_is_rendered_once_for_an_audience_and_numbers_go_up() -> None:
    rendered: list[Rendering] = []
    observations, resource = table(lambda rendering, _: rendered.append(rendering)), Resource()
    incomings = [Incoming(Address(":a")) for _ in range(3)]
    members = [registered(observations, resource, incoming) for incoming in incomings]
    for change in (object(), object()):
        for member in members:
            member.notify(change)
        rendered[-1].respond(Message(payload=b"state"))
        for member in members:
            member.acknowledged()  # the first is to be acknowledged
    assert len(rendered) == 2
    first, second = ({incoming.sent[place].options.observe for incoming in incomings} for place in (0, 1))
    assert len(first) == len(second) == 1  # one notification, for all of them
    assert min(second) > max(first) >= 7


@virtual
async def test_one_that_is_woken_goes_on_and_after_the_end_nobody_is() -> None:
    rendered: list[Rendering] = []
    observations, resource = table(lambda rendering, _: rendered.append(rendering)), Resource()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    observation = registered(observations, resource, Incoming(Address(":a")))
    observation._wanted = object()  # a change that had to wait
    observations.wake(loop.time() + 5, observation)
    await asyncio.sleep(4)
    assert not rendered
    await asyncio.sleep(2)
    assert len(rendered) == 1
    observations.wake(loop.time() + 5, observation)
    observations.close()
    assert not loop.timers()
