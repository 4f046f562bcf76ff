"""The receiving half of the message layer (RFC 7252 section 4.2 to 4.5, 5.2, 8.2)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.errors import RequestFailed, RequestTimeout, ResetReceived, SessionEnded, Unreachable
from securecoap.interfaces import Exchange
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

from .helpers import ACK, CHANGED, CON, CONTENT, GET, NON, PATH_X, POST, RST, Plain, Slow, kinds, site_of, wire


def requests(pair: Pair, mtype: int | None = None) -> list[Any]:
    return [one for one in pair.requests if mtype is None or one.mtype == mtype]


# Responses: piggybacked, separate, non-confirmable (section 5.2).


@virtual
async def test_piggybacked() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        response = await pair.client.get("x")
        assert (response.code, response.payload) == (Code.CONTENT, b"hello")
        assert kinds(pair.network.sent) == [(CON, GET), (ACK, CONTENT)]
        request, answer = pair.network.sent
        assert request.mid == answer.mid
        assert request.message.token == answer.message.token


class Above:
    """Stands in for a layer above: keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[int | None] = []

    def dispatch_message(self, message: Message) -> bool:
        self.got.append(message.code)
        if message.exchange is not None:
            message.exchange.is_open = False
        return True


@virtual
async def test_who_gets_what_is_not_protected() -> None:
    """Requests pass by the layers that have nothing to do with them; nothing else does."""
    async with Pair() as pair:
        manager = pair.server.manager
        whole, plain = Above(), Above()
        manager.above, manager.above_plain = whole, plain  # type: ignore[assignment]  # stand-ins
        pair.network.inject("client", "server", wire(CON, GET, 1, b"t", PATH_X))
        assert (whole.got, plain.got) == ([], [GET])
        pair.network.inject("client", "server", wire(CON, POST, 2, b"t", b"\x92\x09\x00"))
        assert (whole.got, plain.got) == ([POST], [GET])
        pair.network.inject("client", "server", wire(NON, CONTENT, 3, b"t"))
        assert (whole.got, plain.got) == ([POST, CONTENT], [GET])
        protected = Above()
        manager.above_protected = protected.dispatch_message
        other, block2, block1 = b"\x51\x05", b"\xd1\x01\x05", b"\xd1\x05\x08"
        for mid, option in enumerate((b"", other, block2, block1), 4):
            pair.network.inject("client", "server", wire(CON, POST, mid, b"t", b"\x92\x09\x00" + option))
        pair.network.inject("client", "server", wire(CON, GET, 8, b"t", PATH_X))
        assert protected.got == [POST, POST]
        assert (whole.got, plain.got) == ([POST, CONTENT, POST, POST], [GET, GET])


@virtual
async def test_separate_confirmable() -> None:
    async with Pair(site_of(x=Slow(1.0))) as pair:
        assert (await pair.client.get("x")).payload == b"late"
        await asyncio.sleep(1)
        assert kinds(pair.requests) == [(CON, GET), (ACK, 0)]
        assert kinds(pair.answers) == [(ACK, 0), (CON, CONTENT)]
        request, empty, response = pair.requests[0], *pair.answers
        assert empty.time - request.time == pytest.approx(0.01 + 0.1)  # the way, and `empty_ack_delay`
        assert empty.mid == request.mid
        assert empty.data == wire(ACK, 0, request.mid)
        assert pair.requests[1].data == wire(ACK, 0, response.mid)


@virtual
async def test_non_confirmable_both_ways() -> None:
    async with Pair(site_of(x=Slow(1.0), y=Plain())) as pair:
        assert (await pair.client.get("x", confirmable=False)).payload == b"late"
        assert (await pair.client.get("y", confirmable=False)).payload == b"hello"
        assert kinds(pair.network.sent) == [(NON, GET), (NON, CONTENT), (NON, GET), (NON, CONTENT)]


@virtual
async def test_a_response_before_the_acknowledgement() -> None:
    """Section 5.2.2: the network may turn them round; the response stops the retransmission."""
    async with Pair(site_of(x=Slow(0.2)), drop=lambda sent: (sent.mtype, sent.code) == (ACK, 0)) as pair:
        assert (await pair.client.get("x")).payload == b"late"
        await asyncio.sleep(200)
        assert [one.code for one in requests(pair, CON)] == [GET]


@pytest.mark.parametrize(("request_type", "response_type"), [(False, CON), (None, NON)])
@virtual
async def test_a_response_of_the_other_kind_is_taken(request_type: bool | None, response_type: int) -> None:
    """Section 5.2.3."""
    async with Pair() as pair:
        pair.network.join("elsewhere")
        request = pair.client.ask(Code.GET, "x", host="elsewhere", confirmable=request_type)
        await settle()
        token = pair.requests[0].message.token
        pair.network.inject("elsewhere", "client", wire(response_type, CONTENT, 7, token, payload=b"other"))
        assert (await request.response).payload == b"other"


@virtual
async def test_a_late_duplicate_gets_the_stored_answer() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        await pair.client.post("x", b"once")
        request, answer = pair.network.sent
        for moment in (1, 100, 246):
            await asyncio.sleep(pair.loop.time() * 0 + moment - (pair.loop.time() - request.time))
            pair.network.inject("client", "server", request.data)
            assert pair.answers[-1].data == answer.data
        assert len(pair.answers) == 4
        assert len(resource.seen) == 1


@virtual
async def test_a_message_id_is_new_again_after_two_lifetimes() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        datagram = wire(CON, POST, 5, b"t", PATH_X)
        pair.network.inject("stranger", "server", datagram)
        await asyncio.sleep(2 * 247 + 1)
        pair.network.inject("stranger", "server", datagram)
        assert len(resource.seen) == 2


@virtual
async def test_a_duplicate_while_the_handler_works() -> None:
    """Nothing is known to answer yet; once acknowledged, the acknowledgement is repeated (R032)."""
    resource = Slow(5.0)
    async with Pair(site_of(x=resource)) as pair:
        datagram = wire(CON, GET, 5, b"t", PATH_X)
        pair.network.inject("stranger", "server", datagram)
        pair.network.inject("stranger", "server", datagram)
        assert pair.answers == []
        await asyncio.sleep(1)
        pair.network.inject("stranger", "server", datagram)
        assert [one.data for one in pair.answers] == [wire(ACK, 0, 5)] * 2
        assert len(resource.seen) == 1


@virtual
async def test_an_answer_is_stored_though_its_generation_has_turned() -> None:
    """The request came before a new generation began, its answer after: a duplicate gets it all the same."""
    site = site_of(x=Slow(0.05), y=Plain())
    async with Pair(site) as pair:
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"a", b"\xb1y"))
        await asyncio.sleep(247 - 0.02)
        datagram = wire(CON, GET, 5, b"t", PATH_X)
        pair.network.inject("stranger", "server", datagram)
        await asyncio.sleep(0.03)
        pair.network.inject("stranger", "server", wire(CON, GET, 2, b"b", b"\xb1y"))
        await asyncio.sleep(0.1)
        answer = pair.answers[-1]
        assert answer.mid == 5
        pair.network.inject("stranger", "server", datagram)
        assert pair.answers[-1].data == answer.data
        assert len(pair.answers) == 4


@virtual
async def test_a_duplicate_non_is_ignored() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        for _ in range(3):
            pair.network.inject("stranger", "server", wire(NON, POST, 5, b"t", PATH_X))
        assert len(pair.answers) == len(resource.seen) == 1


@virtual
async def test_peers_and_local_addresses_count_for_themselves() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource)) as pair:
        datagram = wire(CON, POST, 5, b"t", PATH_X)
        pair.network.inject("one", "server", datagram)
        pair.network.inject("two", "server", datagram)
        other = pair.server.interface.address("one", "server2")
        other.dedup_offset = 65536
        pair.server.manager.dispatch_message(Message.decode(datagram, other))
        assert len(resource.seen) == 3


# What means nothing (section 4.2, 4.3).


@virtual
async def test_ping_and_empty_non() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.inject("stranger", "server", wire(CON, 0, 9))
        pair.network.inject("stranger", "server", wire(NON, 0, 10))
        assert [one.data for one in pair.answers] == [wire(RST, 0, 9)]


@pytest.mark.parametrize("code", [0x20, 0x3F, 0xC0, 0xE1, 0xFF])
@virtual
async def test_reserved_codes(code: int) -> None:
    async with Pair(site_of(x=Plain())) as pair:
        for mtype in (CON, NON, ACK, RST):
            pair.network.inject("stranger", "server", wire(mtype, code, 9, b"t"))
        assert [one.data for one in pair.answers] == [wire(RST, 0, 9)]


@virtual
async def test_answers_are_never_answered() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        for code in (0, GET, CONTENT, 0xA0, 0xE0):
            for mtype in (ACK, RST):
                pair.network.inject("stranger", "server", wire(mtype, code, 9))
        assert pair.answers == []


@virtual
async def test_a_bad_answer_does_not_end_the_exchange() -> None:
    """R011, R020, R037: requests in an ACK, a Reset with content, another source, another token."""
    async with Pair() as pair:
        request = pair.client.ask(Code.GET, "x")
        await settle()
        mid, token = pair.requests[0].mid, pair.requests[0].message.token
        pair.network.inject("server", "client", wire(ACK, GET, mid, token))
        pair.network.inject("server", "client", wire(RST, CONTENT, mid))
        pair.network.inject("server", "client", wire(ACK, CONTENT, mid, token[:-1] + b"?"))
        pair.network.inject("server", "client", wire(ACK, CONTENT, mid ^ 1, token))
        pair.network.inject("stranger", "client", wire(ACK, CONTENT, mid, token))
        pair.network.inject("stranger", "client", wire(RST, 0, mid))
        await settle()
        assert not request.response.done()
        pair.network.inject("server", "client", wire(ACK, CONTENT, mid, token, payload=b"right"))
        assert (await request.response).payload == b"right"
        assert kinds(pair.requests) == [(CON, GET)]


@virtual
async def test_reset_ends_the_request() -> None:
    async with Pair() as pair:
        for confirmable in (True, False):
            request = pair.client.ask(Code.GET, "x", confirmable=confirmable)
            await settle()
            pair.network.inject("server", "client", wire(RST, 0, pair.requests[-1].mid))
            with pytest.raises(ResetReceived):
                await request.response


@virtual
async def test_unknown_responses() -> None:
    """R100: CON is rejected, NON dropped; the duplicate gets the same."""
    async with Pair() as pair:
        pair.network.inject("stranger", "client", wire(CON, CONTENT, 9, b"unknown"))
        pair.network.inject("stranger", "client", wire(CON, CONTENT, 9, b"unknown"))
        pair.network.inject("stranger", "client", wire(NON, CONTENT, 10, b"unknown"))
        assert [one.data for one in pair.requests] == [wire(RST, 0, 9)] * 2


@virtual
async def test_a_duplicate_response_is_acknowledged_again() -> None:
    async with Pair() as pair:
        request = pair.client.ask(Code.GET, "x")
        await settle()
        datagram = wire(CON, CONTENT, 9, pair.requests[0].message.token, payload=b"x")
        for _ in range(3):
            pair.network.inject("server", "client", datagram)
        assert (await request.response).payload == b"x"
        assert [one.data for one in pair.requests[1:]] == [wire(ACK, 0, 9)] * 3


MALFORMED = ["40010001ff", "4f010001", "48010001aa", "4100000111", "40010001f0", "400100010e"]


@pytest.mark.parametrize("tail", MALFORMED)
@virtual
async def test_malformed(tail: str) -> None:
    data = bytes.fromhex(tail)
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.inject("stranger", "server", data)
        assert [one.data for one in pair.answers] == [b"\x70\x00\x00\x01"]
        for first in (0x10, 0x20, 0x30, 0x40):  # NON, ACK, RST; version 0
            pair.network.inject("stranger", "server", bytes((data[0] ^ first,)) + data[1:])
        pair.network.join("all", pair.server.interface)
        pair.network.inject("stranger", "all", data)
        for length in range(4):
            pair.network.inject("stranger", "server", data[:length])
        assert len(pair.answers) == 1


# Errors of the network (section 4.2).


@virtual
async def test_a_quoted_datagram_ends_only_its_exchange() -> None:
    async with Pair(parameters=TransportParameters(nstart=3)) as pair:
        asked = [pair.client.ask(Code.GET, str(number)) for number in range(3)]
        await settle()
        second = pair.requests[1]
        remote = pair.client.interface.address("server")
        manager = pair.client.manager
        error = Unreachable(111, "refused")
        forged = second.data[:4] + bytes(len(second.data) - 4)
        for quoted in (b"", second.data[:3], forged, bytes((second.data[0] ^ 0x10,)) + second.data[1:]):
            manager.dispatch_quoted_error(error, remote, quoted)
        manager.dispatch_quoted_error(error, pair.client.interface.address("stranger"), second.data)
        await settle()
        assert not any(one.response.done() for one in asked)
        manager.dispatch_quoted_error(error, remote, second.data)
        with pytest.raises(Unreachable):
            await asked[1].response
        assert not asked[0].response.done()
        assert not asked[2].response.done()
        for one in asked:
            one.response.cancel()


@virtual
async def test_a_quoted_non_ends_its_request() -> None:
    async with Pair() as pair:
        asked = pair.client.ask(Code.GET, "x", confirmable=False)
        await settle()
        remote = pair.client.interface.address("server")
        pair.client.manager.dispatch_quoted_error(Unreachable(111, "refused"), remote, pair.requests[0].data)
        with pytest.raises(Unreachable):
            await asked.response


@virtual
async def test_an_error_of_the_peer_ends_everything_and_sends_nothing() -> None:
    async with Pair() as pair:
        asked = [pair.client.ask(Code.GET, str(number), confirmable=number != 2) for number in range(4)]
        await settle()
        assert len(pair.requests) == 1
        pair.client.manager.dispatch_error(111, pair.client.interface.address("server"))
        for one in asked:
            with pytest.raises(Unreachable):
                await one.response
        await asyncio.sleep(200)
        assert len(pair.requests) == 1


@virtual
async def test_the_end_of_a_session_forgets_its_message_ids() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.inject("stranger", "server", wire(CON, POST, 5, b"t", PATH_X))
        remote = pair.server.interface.address("stranger")
        pair.server.manager.dispatch_error(SessionEnded("over"), remote)
        assert remote not in pair.server.manager.peers
        assert pair.server.manager.peers.stored_bytes == 0


# Multicast (section 8).


@virtual
async def test_multicast_answers_at_leisure() -> None:
    resource = Plain()
    async with Pair(site_of(x=resource), seed=3) as pair:
        pair.network.join("all", pair.server.interface)
        for number in range(50):
            pair.network.inject(f"peer{number}", "all", wire(NON, GET, 5, b"t", PATH_X))
        assert pair.answers == []
        started = pair.loop.time()
        await asyncio.sleep(6)
        delays = [one.time - started for one in pair.answers]
        assert len(delays) == 50
        assert all(0 <= delay <= 5 for delay in delays)
        assert min(delays) < 1
        assert max(delays) > 4
        assert {one.mtype for one in pair.answers} == {NON}


@virtual
async def test_multicast_is_never_rejected() -> None:
    """No Reset, no error, no CON; an unknown method, path or option is met with silence."""
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.join("all", pair.server.interface)
        for mid, datagram in enumerate(
            [
                wire(CON, GET, 1, b"t", PATH_X),
                wire(NON, GET, 2, b"t", b"\xb4none"),
                wire(NON, 0x1F, 3, b"t", PATH_X),
                wire(NON, GET, 4, b"t", b"\xd1\xf4\x00"),
                wire(CON, 0, 5),
                wire(CON, CONTENT, 6, b"t"),
                wire(NON, CONTENT, 7, b"t"),
                wire(CON, 0xFF, 8),
            ]
        ):
            pair.network.inject(f"peer{mid}", "all", datagram)
        await asyncio.sleep(10)
        assert pair.answers == []


@virtual
async def test_multicast_request_of_ours() -> None:
    """R060: responses match by token alone, and the request is Non-confirmable."""
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.join("all", pair.server.interface)
        response = await pair.client.get("x", host="all")
        assert response.payload == b"hello"
        assert response.remote.hostinfo == "server"
        assert kinds(pair.network.sent) == [(NON, GET), (NON, CONTENT)]


# Bounds (section 4.5, Limits).


def stored(pair: Pair) -> int:
    return pair.server.manager.peers.stored_bytes


def recounted(pair: Pair) -> int:
    return sum(peer.stored_bytes for peer in pair.server.manager.peers.values())


@virtual
async def test_answers_to_safe_requests_leave_first() -> None:
    resource = Plain()
    limits = Limits(deduplication_bytes=20_000)
    async with Pair(site_of(x=resource), limits=limits) as pair:
        unsafe = wire(CON, POST, 1, b"t", PATH_X, b"unsafe")
        pair.network.inject("stranger", "server", unsafe)
        for mid in range(2, 2000):
            pair.network.inject(f"peer{mid % 7}", "server", wire(CON, GET, mid, b"t", PATH_X))
            assert stored(pair) <= 20_000 + 1_000
            assert stored(pair) == recounted(pair)
        executed = len(resource.seen)
        pair.network.inject("stranger", "server", unsafe)
        assert len(resource.seen) == executed  # never again, whatever safe requests there were


@virtual
async def test_full_of_unsafe_requests() -> None:
    """A stranger's unsafe request is not carried out until an Echo shows that it is none; others are served."""
    resource = Plain()
    async with Pair(site_of(x=resource), limits=Limits(deduplication_bytes=5_000)) as pair:
        for mid in range(200):
            pair.network.inject("stranger", "server", wire(CON, POST, mid, b"t", PATH_X, b"x"))
        codes = [one.code for one in pair.answers]
        refused = codes.index(Code.UNAUTHORIZED)
        assert set(codes[refused:]) == {Code.UNAUTHORIZED}
        assert len(resource.seen) == refused
        assert stored(pair) <= 5_000 + 1_000
        pair.network.inject("stranger", "server", wire(NON, POST, 999, b"t", PATH_X))
        assert len(pair.answers) == 201
        assert (pair.answers[-1].mtype, pair.answers[-1].code) == (NON, Code.UNAUTHORIZED)
        assert len(resource.seen) == refused
        for mid in range(300, 400):
            pair.network.inject("other", "server", wire(CON, GET, mid, b"t", PATH_X))
            assert pair.answers[-1].code == CONTENT
        assert stored(pair) <= 5_000 + 1_000
        pair.server.interface.address("friend").confirmed = True
        pair.network.inject("friend", "server", wire(CON, POST, 1, b"t", PATH_X))
        assert pair.answers[-1].code == CHANGED
        await asyncio.sleep(600)
        pair.network.inject("stranger", "server", wire(CON, POST, 1, b"t", PATH_X))
        assert pair.answers[-1].code == CHANGED


@virtual
async def test_a_full_table_does_not_lock_oscore_out() -> None:
    """Its replay window refuses what is forgotten here, so that strangers who fill the table keep no device out."""
    async with Pair(site_of(x=Plain()), limits=Limits(deduplication_bytes=5_000)) as pair:
        for mid in range(200):
            pair.network.inject("stranger", "server", wire(CON, POST, mid, b"t", PATH_X, b"x"))
        assert pair.answers[-1].code == Code.UNAUTHORIZED
        for mid in range(100):
            pair.network.inject("device", "server", wire(CON, POST, mid, b"t", b"\x90\x21x", b"x"))
            assert pair.answers[-1].code == CHANGED
        assert stored(pair) <= 5_000 + 1_000


@virtual
async def test_confirmed_peers_are_bounded_too() -> None:
    """Who shares an address with a confirmed peer, or forges it, must not fill the memory either."""
    resource = Plain()
    async with Pair(site_of(x=resource), limits=Limits(deduplication_bytes=5_000)) as pair:
        pair.server.interface.address("friend").confirmed = True
        for mid in range(1000):
            pair.network.inject("friend", "server", wire(CON, POST, mid, b"t", PATH_X, b"x"))
        assert stored(pair) <= 2 * 5_000 + 1_000
        assert pair.answers[-1].code == 0xA3
        assert len(resource.seen) > 5_000 / 250  # and yet more than a stranger


@virtual
@pytest.mark.parametrize("first", [True, False])
async def test_a_confirmed_peer_whose_address_was_made_anew(first: bool) -> None:
    """An interface forgets address objects when strangers are many; who was confirmed stays so."""
    async with Pair(site_of(x=Plain()), limits=Limits(deduplication_bytes=5_000, peers=20)) as pair:
        interface, peers = pair.server.interface, pair.server.manager.peers
        interface.address("friend").confirmed = first
        pair.network.inject("friend", "server", wire(CON, GET, 1, b"t", PATH_X))
        interface._known.clear()
        interface.address("friend").confirmed = not first
        for mid in range(100):
            pair.network.inject("stranger", "server", wire(CON, POST, mid, b"t", PATH_X, b"x"))
        assert pair.answers[-1].code == Code.UNAUTHORIZED
        pair.network.inject("friend", "server", wire(CON, POST, 2, b"t", PATH_X))
        assert pair.answers[-1].code == CHANGED
        for number in range(100):
            pair.network.inject(f"stranger{number}", "server", wire(CON, GET, 1, b"t", PATH_X))
        assert interface.address("friend") in peers


@virtual
async def test_responses_of_strangers_are_bounded_too() -> None:
    async with Pair(site_of(x=Plain()), limits=Limits(deduplication_bytes=5_000)) as pair:
        for mid in range(2000):
            pair.network.inject("stranger", "server", wire(CON, CONTENT, mid, b"t"))
        assert stored(pair) <= 6_000
        assert stored(pair) == recounted(pair)


@virtual
async def test_peers_are_bounded() -> None:
    limits = Limits(peers=100)
    async with Pair(site_of(x=Plain()), limits=limits) as pair:
        peers = pair.server.manager.peers
        friends = [pair.server.interface.address(f"friend{number}") for number in range(40)]
        for friend in friends:
            friend.confirmed = True
            pair.network.inject(friend.name, "server", wire(CON, POST, 1, b"t", PATH_X))
        for number in range(1000):
            pair.network.inject(f"stranger{number}", "server", wire(CON, POST, 1, b"t", PATH_X))
        assert len(peers) == 100
        assert all(friend in peers for friend in friends)
        assert stored(pair) == recounted(pair)


@virtual
async def test_strangers_do_not_push_out_confirmed_peers() -> None:
    """When all are confirmed, a stranger is not served; another confirmed one is."""
    async with Pair(site_of(x=Plain()), limits=Limits(peers=70)) as pair:
        peers = pair.server.manager.peers
        for number in range(70):
            pair.server.interface.address(f"friend{number}").confirmed = True
            pair.network.inject(f"friend{number}", "server", wire(CON, POST, 1, b"t", PATH_X))
        answered = len(pair.answers)
        for number in range(200):
            pair.network.inject(f"stranger{number}", "server", wire(CON, POST, 1, b"t", PATH_X))
        assert len(peers) == 70
        assert len(pair.answers) == answered
        pair.server.interface.address("newcomer").confirmed = True
        pair.network.inject("newcomer", "server", wire(CON, POST, 1, b"t", PATH_X))
        assert len(pair.answers) == answered + 1
        assert len(peers) == 70


@virtual
async def test_no_room_for_a_peer_of_ours() -> None:
    async with Pair(limits=Limits(peers=2)) as pair:
        asked = [pair.client.ask(Code.GET, "x", host=host) for host in ("server", "client", "third")]
        pair.network.groups["third"] = []
        await settle()
        with pytest.raises(RequestFailed):
            await asked[2].response
        for one in asked:
            one.cancel()


@virtual
async def test_an_evicted_peer_leaves_no_bytes() -> None:
    async with Pair(site_of(x=Slow(0.05)), limits=Limits(peers=10)) as pair:
        for number in range(50):
            pair.network.inject(f"stranger{number}", "server", wire(CON, GET, 1, b"t", PATH_X))
        await asyncio.sleep(1)
        assert stored(pair) == recounted(pair)
        await asyncio.sleep(1000)
        assert stored(pair) == 0
        assert len(pair.server.manager.peers) == 0


# The end.


class Told(Exchange):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


@virtual
async def test_close_leaves_nothing() -> None:
    async with Pair(site_of(x=Slow(50.0))) as pair:
        pair.network.join("all", pair.server.interface)
        pair.network.inject("stranger", "server", wire(CON, GET, 1, b"t", PATH_X))
        pair.network.inject("stranger", "all", wire(NON, GET, 2, b"t", b"\xbb.well-known\x04core"))
        waiting = [pair.client.ask(Code.GET, "x", host=host) for host in ("server", "server")]
        await asyncio.sleep(0.05)
        await pair.client.close()
        await pair.server.close()
        for one in waiting:
            with pytest.raises(RequestFailed):
                await one.response
        sent = len(pair.network.sent)
        assert [timer for timer in pair.loop.timers() if "deliver" not in repr(timer)] == []  # type: ignore[attr-defined]
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(300)
        assert len(pair.network.sent) == sent
        message = Message(Code.GET)
        message.remote = pair.client.interface.address("server")
        message.exchange = told = Told()
        pair.client.manager.send_message(message)
        await settle()
        assert len(told.errors) == 1


@virtual
async def test_idle_peers_are_forgotten() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        await pair.client.get("x")
        assert pair.client.manager.peers
        await asyncio.sleep(3 * 247)
        assert not pair.client.manager.peers
        assert not pair.server.manager.peers
        assert pair.loop.timers() == []  # type: ignore[attr-defined]


@virtual
async def test_ping_of_ours() -> None:
    async with Pair() as pair:
        ping = Message(Code.EMPTY)
        ping.remote = pair.client.interface.address("server")
        ping.exchange = told = Told()
        pair.client.manager.send_message(ping)
        await asyncio.sleep(1)
        assert isinstance(told.errors[0], ResetReceived)
        assert [len(one.data) for one in pair.network.sent] == [4, 4]


@virtual
async def test_time_limits() -> None:
    async with Pair(loss=1.0) as pair:
        started = pair.loop.time()
        with pytest.raises(RequestTimeout):
            await pair.client.get("x", confirmable=False)
        assert pair.loop.time() - started == pytest.approx(10)
        assert len(pair.requests) == 1
