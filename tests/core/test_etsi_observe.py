"""ETSI's plugtest cases for observation, by their numbers (RFC 7641); there is no OBS_03."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair

from .etsi import LARGE, SMALL, etsi_site
from .helpers import ACK, CON, CONTENT, GET, NON, RST, kinds, wire
from .plugtest import PERFECT, at_least_once, etsi_pair, on_networks, site_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securecoap.wire.message import Message

REGISTER = b"\x60\x53obs"  # Observe 0, Uri-Path obs


class Watch:
    """An observation of the client's, and what it has delivered."""

    def __init__(self, pair: Pair, path: str, **options: Any) -> None:
        self.request = pair.client.ask(Code.GET, path, observe=0, **options)
        self.seen: list[Message] = []
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        self.seen.append(await self.request.response)
        self._came.set()
        assert self.request.observation is not None
        async for notification in self.request.observation:
            self.seen.append(notification)
            self._came.set()

    @property
    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.seen]

    async def until(self, payload: bytes, seconds: float = 100.0) -> None:
        async with asyncio.timeout(seconds):
            while self.payloads[-1:] != [payload]:
                self._came.clear()
                await self._came.wait()

    async def end(self) -> None:
        self.request.cancel()
        await asyncio.wait([self._task])


def numbers_of(sent: list[Any]) -> list[int]:
    found = [one.message.options.observe for one in sent]
    return [number for number in found if number is not None]


@on_networks
@virtual
async def test_obs_01_con(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        for state in (b"1", b"2", b"3"):
            site_resource(pair, "obs").set(state)
            await watch.until(state)
        assert watch.payloads == sorted(set(watch.payloads))
        if network is PERFECT:
            assert kinds(pair.network.sent) == [(CON, GET), (ACK, CONTENT)] + [(CON, CONTENT), (ACK, 0)] * 3
            assert len({one.message.token for one in pair.answers}) == 1
            assert {one.message.options.content_format for one in pair.answers} == {0}
            numbers = numbers_of(pair.answers)
            assert len(numbers) == 4
            assert numbers == sorted(set(numbers))
        await watch.end()


@at_least_once
@virtual
async def test_obs_02_non(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs-non", confirmable=False)
        await watch.until(b"0")
        await asyncio.sleep(2)
        if network is PERFECT:  # the first notification to a stranger asks whether it wants any: it is a CON
            site_resource(pair, "obs-non").set(b"1")
            await watch.until(b"1")
        before = len(pair.answers)
        for state in (b"2", b"3"):
            site_resource(pair, "obs-non").set(state)
            await watch.until(state)
            await asyncio.sleep(2)
        if network is PERFECT:
            assert kinds(pair.answers[before:]) == [(NON, CONTENT)] * 2
        await watch.end()


@virtual
async def test_obs_04_a_server_that_lost_its_state() -> None:
    """Max-Age has run out, and the client registers again, with the same token; sequence numbers may be lower."""
    async with etsi_pair(PERFECT) as pair:
        watch = Watch(pair, "obs")
        site_resource(pair, "obs").set(b"1")
        await watch.until(b"1")
        token = pair.requests[0].message.token
        await pair.server.close()
        pair.server = Endpoint(pair.network, "server", etsi_site(), seed=7)
        restarted = pair.loop.time()
        site_resource(pair, "obs").set(b"2")
        await watch.until(b"2", 30 + 100)
        registration = next(one for one in pair.requests if one.time > restarted and one.code == GET)
        assert 30 <= registration.time - restarted + 1 <= 30 + 15 + 1
        assert registration.message.token == token
        assert registration.message.options.observe == 0
        site_resource(pair, "obs").set(b"3")
        await watch.until(b"3")
        await watch.end()


@virtual
async def test_obs_05_a_client_that_vanished() -> None:
    """What is sent again is the current state under the current number; then the server gives up."""
    async with etsi_pair(PERFECT) as pair:
        state = site_resource(pair, "obs")
        pair.network.inject("gone", "server", wire(CON, GET, 1, b"t", REGISTER))
        state.set(b"1")
        await asyncio.sleep(1)
        state.set(b"2")
        await asyncio.sleep(300)
        notifications = pair.answers[1:]
        assert kinds(notifications) == [(CON, CONTENT)] * len(notifications)
        assert 5 <= len(notifications) <= 6  # a first transmission, four more; one more where the newer has its own
        assert {one.message.token for one in notifications} == {b"t"}
        assert notifications[0].message.payload == b"1"
        assert {one.message.payload for one in notifications[1:]} == {b"2"}
        numbers = numbers_of(notifications)
        assert numbers == sorted(numbers)
        assert numbers[0] < numbers[-1]
        assert state.observation_count == 0
        state.set(b"3")
        await asyncio.sleep(10)
        assert len(pair.answers) == 1 + len(notifications)


@virtual
async def test_obs_06_a_client_that_rebooted() -> None:
    async with etsi_pair(PERFECT) as pair:
        state = site_resource(pair, "obs")
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        await watch.end()  # with a farewell that is lost
        pair.network.inject("client", "server", wire(CON, GET, 1, b"t", REGISTER))
        await asyncio.sleep(5)
        assert state.observation_count == 1
        state.set(b"1")
        await asyncio.sleep(5)
        notification = pair.answers[-1]
        assert (notification.mtype, notification.message.payload) == (CON, b"1")
        assert pair.requests[-1].data == wire(RST, 0, notification.mid)
        assert state.observation_count == 0
        state.set(b"2")
        await asyncio.sleep(5)
        assert pair.answers[-1] is notification


@pytest.mark.parametrize("case", [pytest.param("deleted", id="obs_07"), pytest.param("another format", id="obs_08")])
@on_networks
@virtual
async def test_obs_07_and_08_the_last_notification(network: Mapping[str, Any], case: str) -> None:
    async with etsi_pair(network) as pair:
        state = site_resource(pair, "obs")
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        if case == "deleted":
            assert (await pair.client.ask(Code.DELETE, "obs").response).code == Code.DELETED
        else:
            await pair.client.put("obs", b"<x/>", content_format=41)
        await asyncio.sleep(100)
        last = watch.seen[-1]
        assert last.code == (Code.NOT_FOUND if case == "deleted" else Code.NOT_ACCEPTABLE)
        assert last.options.observe is None
        assert state.observation_count == 0
        assert watch._task.done()


@on_networks
@virtual
async def test_obs_09_a_new_value_by_put(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        assert (await pair.client.put("obs", b"9", content_format=0)).code == Code.CHANGED
        await watch.until(b"9")
        assert watch.seen[-1].options.content_format == 0
        await watch.end()


@on_networks
@virtual
async def test_obs_10_a_plain_get_beside_it(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        plain = await pair.client.get("obs")
        assert (plain.code, plain.payload, plain.options.observe) == (Code.CONTENT, b"0", None)
        assert len({one.message.token for one in pair.requests if one.code == GET}) == 2
        assert site_resource(pair, "obs").observation_count == 1
        site_resource(pair, "obs").set(b"1")
        await watch.until(b"1")
        await watch.end()


@pytest.mark.parametrize("seed", range(4))
@virtual
async def test_obs_11_lossy_notifications(seed: int) -> None:
    """Never two outstanding, and in the end the latest state."""
    async with Pair(etsi_site(), seed, loss=0.15, duplication=0.1, delay=(0.01, 0.5)) as pair:
        state = site_resource(pair, "obs")
        outstanding: set[int] = set()

        def look(_: object) -> bool:
            """At what the server waits for, whenever something is sent."""
            outstanding.update(len(peer.outstanding or ()) for peer in pair.server.manager.peers.values())
            return False

        pair.network.drop = look
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        for number in range(1, 30):
            state.set(b"%d" % number)
            await asyncio.sleep(pair.network.random.uniform(0, 3))
        await watch.until(b"29", 300)
        shown = [int(payload) for payload in watch.payloads]
        assert shown == sorted(set(shown))
        assert outstanding == {0, 1}
        await watch.end()


@on_networks
@virtual
async def test_obs_12_deregistration(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs")
        await watch.until(b"0")
        await watch.end()
        await asyncio.sleep(100)
        farewell = next(one for one in pair.requests if one.message.options.observe == 1)
        assert farewell.message.token == pair.requests[0].message.token
        answer = next(one for one in pair.answers if one.mid == farewell.mid or one.time > farewell.time)
        assert answer.message.options.observe is None
        sent = len(pair.answers)
        site_resource(pair, "obs").set(b"1")
        await asyncio.sleep(100)
        assert site_resource(pair, "obs").observation_count == 0
        assert len(pair.answers) == sent


def notified(pair: Pair) -> list[Block | None]:
    """Block2 of each answer with Observe, copies left out."""
    answers = {one.mid: one.message for one in pair.answers if one.message.options.observe is not None}
    return [message.options.block2 for message in answers.values()]


@on_networks
@virtual
async def test_obs_13_large_notifications(network: Mapping[str, Any]) -> None:
    """Each has the first block, and the rest is fetched under other tokens."""
    other = LARGE.upper()
    async with etsi_pair(network) as pair:
        watch = Watch(pair, "obs-large")
        await watch.until(LARGE)
        site_resource(pair, "obs-large").set(other)
        await watch.until(other)
        assert set(notified(pair)) == {Block(0, more=True, size_exponent=6)}
        registration = pair.requests[0].message.token
        fetched = [one.message for one in pair.requests if one.message.options.block2 is not None]
        assert len(fetched) >= 2
        assert all(message.token != registration for message in fetched)
        assert all(message.options.observe is None for message in fetched)
        await watch.end()


@pytest.mark.parametrize("first", [LARGE, SMALL], ids=["large first", "small first"])
@on_networks
@virtual
async def test_obs_14_sizes_that_vary(network: Mapping[str, Any], first: bytes) -> None:
    """Block2 only where it is needed; also in the first response."""
    second = SMALL if first is LARGE else LARGE
    async with etsi_pair(network) as pair:
        state = site_resource(pair, "obs-pumping")
        state.set(first)
        watch = Watch(pair, "obs-pumping")
        await watch.until(first)
        for body in (second, first, second):
            state.set(body)
            await watch.until(body)
        if network is PERFECT:
            large, small = Block(0, more=True, size_exponent=6), None
            expected = [large, small] if first is LARGE else [small, large]
            assert notified(pair) == expected * 2
        assert set(watch.payloads) == {LARGE, SMALL}
        await watch.end()


@virtual
async def test_notifications_after_the_end_are_rejected() -> None:
    """What OBS_06 stands on: whoever knows the token no more says so."""
    async with etsi_pair(PERFECT) as pair:
        pair.network.inject("server", "client", wire(CON, CONTENT, 77, b"t", b"\x61\x05", b"x"))
        await settle()
        assert [one.data for one in pair.requests] == [wire(RST, 0, 77)]
