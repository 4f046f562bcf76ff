"""Echo (RFC 9175 section 2): values, strangers and their budget, and requests that have to be fresh."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.echo import EchoValues
from securecoap.oscore.sender import Sender
from securecoap.resources import ObservableResource, Resource, Site
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, NON, Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint, Pair
from tests.simulation.network import Network

from .helpers import wire

if TYPE_CHECKING:
    from tests.simulation.network import Sent

DISCOVERY = bytes.fromhex("500100f0bb2e77656c6c2d6b6e6f776e04636f7265")  # BAD-198: 21 bytes, Non-confirmable


class Everything(ObservableResource):
    """GET is large, POST answers at length, and both count; it may take its time."""

    def __init__(self, size: int = 600, seconds: float = 0.0) -> None:
        self.size = size
        self.seconds = seconds
        self.executed = 0
        self.registered = 0

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"x" * self.size)

    async def render_post(self, request: Message) -> Message:
        self.executed += 1
        await asyncio.sleep(self.seconds)
        return Message(payload=b"y" * self.size)

    async def render_fetch(self, request: Message) -> Message:
        await asyncio.sleep(self.seconds)
        return Message(payload=b"z" * self.size)

    async def add_observation(self, request: Message, server_observation: Any) -> None:
        self.registered += 1
        await super().add_observation(request, server_observation)


def site_of(**resources: Resource) -> Site:
    site = Site()
    for name, resource in resources.items():
        site.add(f"/{name}", resource)
    return site


def on_guard(site: Site, seed: int = 0, limits: Limits | None = None, **network: Any) -> Pair:
    """A server that counts what strangers are sent, and a client of its."""
    return Pair(site, seed, limits=limits, server_options={"counts_bytes": True}, **network)


def volume(datagrams: list[Sent]) -> int:
    return sum(len(sent.data) for sent in datagrams)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Values.


def test_r162_r177_a_value_is_bound_to_its_time_and_address() -> None:
    clock = Clock()
    values = EchoValues(random.Random(1), clock)
    here, there = ("2001:db8::1", 5683), ("2001:db8::2", 5683)
    value = values.make(here)  # type: ignore[arg-type]  # whatever is hashable
    assert len(value) == 13
    clock.now += 7
    assert values.age(here, value) == pytest.approx(7, abs=0.01)  # type: ignore[arg-type]
    assert values.age(there, value) is None  # type: ignore[arg-type]
    for position in range(len(value)):
        changed = bytes(byte ^ (position == at) for at, byte in enumerate(value))
        assert values.age(here, changed) is None, position  # type: ignore[arg-type]
    for other in (None, b"", value[:-1], value + b"\0", bytes(40)):
        assert values.age(here, other) is None  # type: ignore[arg-type]


def test_r175_a_restart_rejects_earlier_values() -> None:
    clock = Clock()
    value = EchoValues(random.SystemRandom(), clock).make(("::1", 1))  # type: ignore[arg-type]
    assert EchoValues(random.SystemRandom(), clock).age(("::1", 1), value) is None  # type: ignore[arg-type]


def test_r176_a_value_tells_nothing_of_the_client() -> None:
    values = EchoValues(random.Random(1), Clock())
    first, second = (values.make(("192.0.2.1", port)) for port in (1, 2))  # type: ignore[arg-type]
    assert first[:5] == second[:5] == bytes(5)  # the time alone, and that from the start of this process


# Strangers.


@virtual
async def test_r063_r169_a_forged_discovery_gets_a_challenge() -> None:
    site = site_of(**{f"resource-{number}": Everything() for number in range(40)})
    async with on_guard(site) as pair:
        pair.network.inject("victim", "server", DISCOVERY)
        (challenge,) = pair.network.between("server", "victim")
        assert challenge.message.code == Code.UNAUTHORIZED
        assert challenge.message.options.echo
        assert challenge.mtype == NON
        assert len(challenge.data) <= 3 * len(DISCOVERY)


@pytest.mark.parametrize("confirmable", [True, False])
@virtual
async def test_a_client_that_receives_answers_once_and_is_known(confirmable: bool) -> None:
    """A Non-confirmable request is challenged; a Confirmable one gets a small block with an Echo value, and asks again."""
    site = site_of(large=Everything(5000))
    async with on_guard(site) as pair:
        for requests in (1 + 5, 5):
            pair.network.sent.clear()
            assert len((await pair.client.get("large", confirmable=confirmable)).payload) == 5000
            assert len(pair.requests) == requests
            echoes = [sent.message for sent in pair.answers if sent.message.options.echo is not None]
            assert [message.code for message in echoes] == [
                Code.CONTENT if confirmable else Code.UNAUTHORIZED
            ] * (requests - 5)  # fmt: skip


@virtual
async def test_a_client_that_does_not_know_echo_is_served_in_blocks_that_it_pays_for() -> None:
    body = bytes(range(250)) * 8
    site = Site()

    class Large(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=body)

    site.add("/large", Large())
    async with on_guard(site) as pair:
        got, number, exponent = b"", 0, 6
        asked = 0
        while True:
            # As short as they come: no token.
            request = b"\x40\x01" + (0x100 + number).to_bytes(2, "big") + b"\xb5large"
            if number:
                value = number << 4 | exponent
                block = value.to_bytes((value.bit_length() + 7) // 8, "big")
                request += bytes([0xC0 + len(block)]) + block
            asked += len(request)
            pair.network.inject("old", "server", request)
            await asyncio.sleep(0.01)
            answer = pair.network.between("server", "old")[-1].message
            assert answer.code == Code.CONTENT
            block2 = answer.options.block2
            assert block2 is not None
            assert block2.number == number
            got += answer.payload
            number, exponent = number + 1, block2.size_exponent
            if not block2.more:
                break
        assert got == body
        assert volume(pair.network.between("server", "old")) <= 3 * asked + 64


@virtual
async def test_small_answers_need_no_echo() -> None:
    async with on_guard(site_of(small=Everything(10))) as pair:
        for _ in range(50):
            assert len((await pair.client.get("small")).payload) == 10
        assert all(sent.code != Code.UNAUTHORIZED for sent in pair.answers)


@virtual
async def test_a_client_without_echo_is_served_in_small_blocks() -> None:
    """What RFC 7252 section 11.3 asks for, for those who do not know RFC 9175: 16 bytes fit into every budget."""
    async with on_guard(site_of(large=Everything(200))) as pair:
        body = b""
        for number in range(13):
            block = (number << 4).to_bytes(1, "big") if number else b""
            request = b"\x54\x01" + (0x100 + number).to_bytes(2, "big") + b"tokn" + b"\xb5large"
            pair.network.inject("old", "server", request + bytes([0xC0 + len(block)]) + block)
            await asyncio.sleep(0)
            answer = pair.network.between("server", "old")[-1].message
            assert answer.code == Code.CONTENT, (number, answer)
            body += answer.payload
        assert body == b"x" * 200


@virtual
async def test_r166_the_value_of_another_address_confirms_nobody() -> None:
    async with on_guard(site_of(large=Everything())) as pair:
        pair.network.inject("attacker", "server", b"\x50\x01\x00\x01\xb5large")
        value = pair.network.between("server", "attacker")[0].message.options.echo
        assert value is not None
        forged = b"\x50\x01\x00\x02\xb5large\xdd\xe4\x00" + value  # Echo is option 252: 13 + 228 after Uri-Path
        assert Message.decode(forged).options.echo == value
        pair.network.inject("victim", "server", forged)
        assert pair.network.between("server", "victim")[0].message.code == Code.UNAUTHORIZED
        pair.network.inject("attacker", "server", forged)
        assert pair.network.between("server", "attacker")[-1].message.code == Code.CONTENT


@virtual
async def test_an_old_value_confirms_nobody() -> None:
    async with on_guard(site_of(large=Everything())) as pair:
        pair.network.inject("late", "server", b"\x50\x01\x00\x01\xb5large")
        value = pair.network.between("server", "late")[0].message.options.echo
        assert value is not None
        await asyncio.sleep(301)
        pair.network.inject("late", "server", b"\x50\x01\x00\x02\xb5large\xdd\xe4\x00" + value)
        assert pair.network.between("server", "late")[-1].message.code == Code.UNAUTHORIZED


@virtual
async def test_r168_a_late_challenge_is_no_con() -> None:
    """The handler took so long that the request has been acknowledged: a separate challenge is Non-confirmable."""
    async with on_guard(site_of(slow=Everything(600, seconds=3))) as pair:
        pair.network.inject("victim", "server", b"\x40\x05\x00\x01\xb4slow")
        await asyncio.sleep(100)
        acknowledgement, challenge = pair.network.between("server", "victim")
        assert (acknowledgement.mtype, acknowledgement.code) == (ACK, 0)
        assert (challenge.mtype, challenge.code) == (NON, Code.UNAUTHORIZED)


@virtual
async def test_a_challenged_registration_is_none() -> None:
    resource = Everything()
    async with on_guard(site_of(x=resource)) as pair:
        pair.network.inject("victim", "server", b"\x51\x01\x00\x01t\x60\x51x")
        resource.changed()
        await asyncio.sleep(200)
        (challenge,) = pair.network.between("server", "victim")
        assert challenge.code == Code.UNAUTHORIZED
        assert resource.registered == 1
        assert resource.observation_count == 0


@virtual
async def test_what_an_unsafe_request_did_is_told_and_counted() -> None:
    """Carried out once, answered at once; the bytes beyond the budget keep what comes next waiting for an Echo."""
    resource = Everything()
    async with on_guard(site_of(x=resource)) as pair:
        pair.network.inject("victim", "server", b"\x40\x02\x00\x01\xb1x")
        await asyncio.sleep(0.05)
        for mid in range(2, 30):
            pair.network.inject("victim", "server", b"\x40\x02\x00" + bytes([mid]) + b"\xb1x")
            await asyncio.sleep(0.05)
        answers = pair.network.between("server", "victim")
        assert answers[0].code == Code.CHANGED
        assert resource.executed == 1
        assert {sent.code for sent in answers[1:]} == {Code.UNAUTHORIZED}


@virtual
async def test_duplicates_are_no_way_around() -> None:
    resource = Everything()
    async with on_guard(site_of(x=resource)) as pair:
        for _ in range(50):
            pair.network.inject("victim", "server", b"\x40\x02\x00\x01\xb1x")
            await asyncio.sleep(0.01)
        assert resource.executed == 1
        assert len(pair.network.between("server", "victim")) == 1


@pytest.mark.parametrize("seed", range(8))
@virtual
async def test_whatever_is_forged_the_factor_is_three(seed: int) -> None:
    """A victim that answers nothing gets three times what was sent in its name, and one message of 1 KiB more."""
    chance = random.Random(seed)
    resource = Everything(900)
    site = site_of(x=resource, s=Everything(100, seconds=1), l=Everything(20_000))
    async with on_guard(site, seed) as pair:
        forged = 0
        for _ in range(3000):
            request = (
                bytes([chance.choice([0x40, 0x50, 0x41]), chance.choice([0, 1, 1, 2, 5])])
                + chance.randbytes(2)[:1] + bytes([chance.randrange(8)])
            )  # fmt: skip
            request += b"t" if request[0] & 15 else b""
            request += chance.choice([b"", b"\x60"]) if request[1] == 1 else b""
            observes = request.endswith(b"\x60")
            request += bytes([0x51 if observes else 0xB1]) + chance.choice([b"x", b"s", b"l", b"n"])
            request = request[:4] if request[1] == 0 else request
            forged += len(request)
            pair.network.inject("victim", "server", request)
            if chance.random() < 0.05:
                resource.changed()
            await asyncio.sleep(chance.choice([0.0, 0.001, 1.0]))
        await asyncio.sleep(300)
        assert forged > 10_000
        # Challenges are a little above the factor where a request has no bytes to spare: 4 + 15 for 4 to 6.
        assert volume(pair.network.between("server", "victim")) <= 4 * forged + 5 * 1100


@pytest.mark.parametrize(("size", "copies"), [(10, 5), (30, 2), (70, 1)])
@virtual
async def test_a_response_goes_again_to_a_stranger_within_the_budget(size: int, copies: int) -> None:
    """A victim of 9 forged bytes gets three times as many and the allowance; a peer that asks again pays for more."""
    request = b"\x40\x05\x00\x01\xb4slow"
    async with on_guard(site_of(slow=Everything(size, seconds=3))) as pair:
        pair.network.inject("peer", "server", request)
        await asyncio.sleep(100)
        responses = [one for one in pair.network.between("server", "peer") if one.code]
        assert {one.mtype for one in responses} == {CON}
        assert len(responses) == copies
        assert volume(pair.network.between("server", "peer")) <= 3 * len(request) + 64


@virtual
async def test_a_peer_that_asks_again_gets_its_response_again() -> None:
    async with on_guard(site_of(slow=Everything(70, seconds=3))) as pair:
        for _ in range(12):
            pair.network.inject("peer", "server", b"\x40\x05\x00\x01\xb4slow")
            await asyncio.sleep(3)
        assert [one.code for one in pair.network.between("server", "peer")].count(Code.CONTENT) == 3


@virtual
async def test_a_peer_that_acknowledges_is_no_longer_short_of_budget() -> None:
    async with on_guard(site_of(slow=Everything(70, seconds=3), small=Everything(30))) as pair:
        pair.network.inject("peer", "server", b"\x40\x05\x00\x01\xb4slow")
        await asyncio.sleep(3.5)
        response = pair.network.between("server", "peer")[-1]
        assert (response.mtype, response.code) == (CON, Code.CONTENT)
        pair.network.inject("peer", "server", b"\x60\x00" + response.data[2:4])
        pair.network.inject("peer", "server", b"\x40\x01\x00\x02\xb5small")
        assert pair.network.between("server", "peer")[-1].code == Code.CONTENT


@virtual
async def test_observations_of_a_victim_end_with_the_first_notification_that_is_not_acknowledged() -> None:
    """Registrations with a forged address cost a few bytes each while the resource is small."""
    resource = Everything(size=1)
    network = Network(asyncio.get_running_loop())
    server = Endpoint(network, "server", site_of(x=resource), counts_bytes=True)
    spent = 0
    for number in range(100):
        registration = wire(CON, Code.GET, number + 1, bytes((number,)), b"\x60\x51x")  # Observe 0, Uri-Path x
        spent += len(registration)
        network.inject("victim", "server", registration)
    await settle()
    assert resource.observation_count == 100
    resource.size = 1000
    for _ in range(10):
        resource.changed()
        await asyncio.sleep(100)
    assert resource.observation_count == 0
    got = network.from_("server")
    assert len([one for one in got if len(one.data) > 1000]) == 1  # and not again: it is beyond the budget
    assert sum(len(one.data) for one in got) < 10 * spent
    await server.close()


@virtual
async def test_who_answers_our_request_receives() -> None:
    """Role reversal: a response with our token, 64 random bits, shows as much as an Echo would."""
    theirs = Everything(5)
    async with on_guard(site_of(large=Everything(5000))) as pair:
        pair.client.server.find = site_of(x=theirs).find  # the client serves, too
        assert len((await pair.server.get("x", host="client")).payload) == 5
        assert len((await pair.client.get("large")).payload) == 5000
        assert all(sent.code != Code.UNAUTHORIZED for sent in pair.answers)


# Fresh requests.


class Door(Resource):
    fresh_within = 5.0

    def __init__(self) -> None:
        self.opened = 0

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"closed")

    def render_post(self, request: Message) -> Message:
        self.opened += 1
        return Message()


def secured(site: Site) -> Pair:
    loop = asyncio.get_running_loop()
    ours, theirs = vectors.context("C.1.1"), vectors.context("C.1.2")
    for context in (ours, theirs):
        context.sender = Sender(Numbers(), loop)
    client = Contexts(ours)
    client.client = ours
    return Pair(
        site,
        parameters=TransportParameters(nstart=4),
        client_options={"contexts": client},
        server_options={"contexts": Contexts(theirs)},
    )


@virtual
async def test_r164_a_door_opens_for_a_fresh_request_only() -> None:
    door = Door()
    async with secured(site_of(door=door)) as pair:
        assert (await pair.client.get("door")).payload == b"closed"
        before = len(pair.requests)
        assert (await pair.client.post("door")).code == Code.CHANGED
        assert door.opened == 1
        assert len(pair.requests) - before == 2  # the challenge, and its answer
        assert all(sent.message.options.echo is None for sent in pair.answers)  # R163: it is inside


@virtual
async def test_r164_a_request_that_was_held_back_opens_nothing() -> None:
    door = Door()
    async with secured(site_of(door=door)) as pair:
        held: list[Sent] = []

        def hold_the_second(sent: Sent) -> bool:
            if sent.source == "client" and len(pair.requests) >= 2:
                held.append(sent)
                return True
            return False

        pair.network.drop = hold_the_second
        request = pair.client.ask(Code.POST, "door")
        await asyncio.sleep(4)
        assert held
        request.cancel()
        await asyncio.sleep(6)
        pair.network.inject("client", "server", held[0].data)
        await asyncio.sleep(1)
        assert door.opened == 0


class Meter(Door):
    """Takes blocks one by one, each with its effect."""

    assembles_bodies = False

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        return False


@virtual
@pytest.mark.parametrize("is_protected", [True, False])
async def test_r164_each_block_is_fresh_where_each_has_an_effect(is_protected: bool) -> None:
    door = Meter()
    async with secured(site_of(door=door)) if is_protected else Pair(site_of(door=door)) as pair:
        request = pair.client.ask(Code.POST, "door", bytes(16), block1=Block(1, more=True, size_exponent=0))
        await asyncio.sleep(0.011)  # it has arrived
        assert door.opened == 0
        response = await request.response
        assert (door.opened, response.code) == ((1, Code.CHANGED) if is_protected else (0, Code.UNAUTHORIZED))


@virtual
async def test_r167_freshness_takes_protection() -> None:
    door = Door()
    async with Pair(site_of(door=door)) as pair:
        answer = await pair.client.post("door")
        assert answer.code == Code.UNAUTHORIZED
        assert answer.options.echo is None
        assert door.opened == 0


@virtual
async def test_r166_a_client_returns_a_value_to_its_maker_only() -> None:
    """Two servers, each with a challenge of its own, asked in turn and at once."""
    values: dict[str, set[bytes | None]] = {"server": set(), "other": set()}

    def site(name: str) -> Site:
        class Asking(Resource):
            def render_get(self, request: Message) -> Message:
                values[name].add(request.options.echo)
                if request.options.echo is None:
                    answer = Message(Code.UNAUTHORIZED)
                    answer.options.echo = name.encode()
                    return answer
                return Message(payload=name.encode())

        return site_of(x=Asking())

    async with Pair(site("server")) as pair:
        other = Endpoint(pair.network, "other", site("other"))
        for _ in range(3):
            answers = await asyncio.gather(pair.client.get("x"), pair.client.get("x", host="other"))
            assert [answer.payload for answer in answers] == [b"server", b"other"]
        await other.close()
    assert values == {"server": {None, b"server"}, "other": {None, b"other"}}
