"""Who was there lately: known without work for each message, written now and then and at the end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Context, Message, Resource, Site
from securecoap.access import Access
from securecoap.config import Limits
from securecoap.credentials import CredentialsMap, OwnNames
from securecoap.errors import Forbidden, StateError
from securecoap.interfaces import EndpointAddress
from securecoap.sightings import INTERVAL, Sightings
from securecoap.state.sightings import read_sightings
from securecoap.wire.codes import Code
from tests.loopback import real
from tests.simulation.clock import settle, virtual

if TYPE_CHECKING:
    from pathlib import Path

DTLS = {"client-identity": {"ascii": "a"}, "psk": {"ascii": "sixteen byte key"}}
DEVICE: dict[str, Any] = {"dtls": DTLS, "claims": ["reader"]}


class Address(EndpointAddress):
    __slots__ = ("authenticated_claims", "confirmed", "grants")

    def __init__(self, *claims: str) -> None:
        self.authenticated_claims = claims
        self.confirmed = True
        self.grants = None


def access(**patterns: Any) -> Access:
    entries = {":a": DEVICE, "coap*://*/x": ":a", **patterns}
    return Access(CredentialsMap.from_dict(entries, role="server").policy, OwnNames(["h"]))


def ask(policy: Access, remote: EndpointAddress, path: str = "x") -> None:
    request = Message(Code.GET, uri_path=(path,))
    request.remote = remote
    policy.authorize(request)


class Store:
    def __init__(self) -> None:
        self.written: list[dict[str, int]] = []
        self.fault: StateError | None = None

    async def save_sightings(self, seen: dict[str, int], forget_before: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.written.append(dict(seen))


def test_who_is_asked_about_was_there() -> None:
    policy = access()
    before = time.time()
    ask(policy, Address(":a", "reader", "san:a.example", "san:coap://a.example"))
    seen = policy.take_seen()
    assert seen.keys() == {":a", "reader"}  # what a certificate says has no end
    assert all(before <= when <= time.time() for when in seen.values())
    assert policy.take_seen() == {}


def test_a_stranger_is_nobody() -> None:
    policy = access(**{"*": {"unprotected": True}})
    ask(policy, Address(), "y")
    assert policy.take_seen() == {}


def test_who_goes_on_is_asked_about_when_grants_are_renewed() -> None:
    """Between two renewals a request costs no more than the look-up of its grant."""
    policy = access()
    remote = Address(":a")
    ask(policy, remote)
    policy.take_seen()
    ask(policy, remote)
    assert policy.take_seen() == {}
    policy.renew()
    ask(policy, remote)
    assert policy.take_seen().keys() == {":a"}


def test_who_is_refused_was_there_too() -> None:
    policy = access()
    with pytest.raises(Forbidden):
        ask(policy, Address(":b"))
    assert policy.take_seen().keys() == {":b"}


@virtual
async def test_now_and_then_and_at_the_end() -> None:
    policy = access()
    store: Any = Store()
    sightings = Sightings(policy, lambda: store)
    sightings.begin()
    sightings.begin()
    remote = Address(":a", "reader")
    ask(policy, remote)
    await asyncio.sleep(INTERVAL - 1)
    assert store.written == []
    await asyncio.sleep(2)
    assert [seen.keys() for seen in store.written] == [{":a"}]
    await asyncio.sleep(3 * INTERVAL)
    assert len(store.written) == 1  # nobody was there
    ask(policy, remote)
    await sightings.end()
    assert [seen.keys() for seen in store.written] == [{":a"}, {":a"}]
    await asyncio.sleep(10 * INTERVAL)
    assert len(store.written) == 2


@virtual
async def test_what_could_not_be_written_is_written_later(caplog: pytest.LogCaptureFixture) -> None:
    policy = access()
    store: Any = Store()
    store.fault = StateError("the disk is full")
    sightings = Sightings(policy, lambda: store)
    sightings.begin()
    ask(policy, Address(":a"))
    await asyncio.sleep(INTERVAL + 1)
    assert "the disk is full" in caplog.text
    store.fault = None
    ask(policy, Address(":a", "x"))
    await sightings.end()
    assert [seen.keys() for seen in store.written] == [{":a"}]
    await settle()


class Hello(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=b"hello")


@real
async def test_a_server_with_a_state_directory_keeps_them(tmp_path: Path) -> None:
    site = Site()
    site.add("/x", Hello())
    started = int(time.time())
    secret = {"secret": {"hex": "01" * 16}}
    known = {
        ":a": DEVICE,
        ":b": {"dtls": {**DTLS, "client-identity": {"ascii": "b"}}},
        ":o": {"oscore": {**secret, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}},
        ":role": ":o",
    }
    mine = {
        "coaps://*": {"dtls": DTLS},
        "coap://*": {"oscore": {**secret, "sender-id": {"hex": "02"}, "recipient-id": {"hex": "01"}}},
    }
    binds = ["coap://[::1]:0", "coaps://[::1]:0"]
    server = Context.server(site, bind=binds, credentials=known, state=tmp_path / "s", limits=Limits())
    async with server, Context.client(mine, state=tmp_path / "c") as client:
        for endpoint in server.endpoints:
            await client.get(endpoint + "/x", timeout=30)
    seen = read_sightings(tmp_path / "s")
    assert seen.keys() == {":a", ":o", ":role"}
    assert all(started <= when <= time.time() for when in seen.values())
    assert read_sightings(tmp_path / "c") == {}
