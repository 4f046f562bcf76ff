"""Every datagram of ``coap_malformed.json``, through the whole stack: exactly the reaction that is written there.

OSCORE's are driven through its layer in ``tests/oscore``; here they go to a server that has no security context at all.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.core.peers import MessageIds
from securecoap.core.plumbing import RequestPipe
from securecoap.errors import UnsupportedContentFormat
from securecoap.resources import Resource, Site
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, NON, Message
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair

if TYPE_CHECKING:
    from collections.abc import Mapping

VECTORS = Path(__file__).parents[1] / "vectors" / "coap_malformed.json"
ENTRIES: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["datagrams"]
BY_ID = {entry["id"]: entry for entry in ENTRIES}

# Where the file leaves a choice, the codes that it allows; those that it names exactly are read from it.
ALLOWED = {
    "BAD-118": {0x82, 0xA5},
    "BAD-119": {0x82, 0xA5},
    "BAD-124": {0x82, 0x84},
    "BAD-125": {0x82, 0x84},
    "BAD-126": {0x80, 0x82, 0x84},
    "BAD-128": {0x84},
    "BAD-129": {0x84},
    "BAD-133": {0xA5},  # this server is no proxy
    "BAD-152": {0x45},
    "BAD-153": {0x80},
    "BAD-156": {0x80},
    "BAD-198": {0x81},
    "BAD-202": {0x84},
    "BAD-203": {0x84},  # its path is the root, where there is nothing
    "BAD-204": {0x45},
    "BAD-205": {0x44, 0x80},
}
SILENT = {"BAD-138"}  # No-Response with all classes, in NON
AS_IF_ABSENT = {"BAD-101", "BAD-103", "BAD-104", "BAD-106", "BAD-107", "BAD-109", "BAD-120"}


class X(Resource):
    """GET is a text; POST and PUT count; formats it knows are 0, 50 and none."""

    def __init__(self) -> None:
        self.executed = 0

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"hello")

    def render_post(self, request: Message) -> Message:
        if request.options.content_format not in {None, 0, 50}:
            raise UnsupportedContentFormat
        self.executed += 1
        return Message(payload=str(self.executed).encode())

    render_put = render_post


def site() -> tuple[Site, X]:
    x = X()
    tree = Site()
    tree.add("/x", x)
    tree.add("/a/b", X())
    tree.add("/a", X())
    return tree, x


async def reactions(pair: Pair, entry: dict[str, Any], at: str = "server", times: int = 1) -> list[Message]:
    before = len(pair.network.from_(at))
    for _ in range(times):
        pair.network.inject("stranger", "all" if entry.get("multicast") else at, bytes.fromhex(entry["hex"]))
    await asyncio.sleep(10)  # longer than leisure
    return [one.message for one in pair.network.from_(at)[before:]]


def check_rejection(entry: dict[str, Any], replies: list[Message]) -> None:
    """Silence or a Reset, as the entry allows."""
    expect = entry["expect"]
    data = bytes.fromhex(entry["hex"])
    if expect.startswith("silent_or_rst") or "silent or RST" in expect:
        assert [reply.encode() for reply in replies] in ([], [b"\x70\x00" + data[2:4]])
    elif expect.startswith("silent"):
        assert replies == []
    else:
        assert expect == "rst"
        expected = entry["expected_reply_hex"] or "7000" + entry["hex"][4:8]
        assert [reply.encode().hex() for reply in replies] == [expected]


SERVER = [
    entry
    for entry in ENTRIES
    if entry["layer"] != "oscore" and entry["role"] != "client" and not ("repeat" in entry or "pair" in entry)
]


@pytest.mark.parametrize("entry", SERVER, ids=lambda entry: entry["id"])
@virtual
async def test_server(entry: dict[str, Any]) -> None:
    tree, x = site()
    for number in range(40):  # a list of links like that of a real server, for BAD-198
        tree.add(f"/sensors/{number}", X())
    async with Pair(tree, server_options={"counts_bytes": True}) as pair:
        pair.network.join("all", pair.server.interface)
        replies = await reactions(pair, entry)
        name, expect = entry["id"], entry["expect"]
        code = re.match(r"([2-5])\.(\d\d)", expect)
        if name in SILENT:
            assert replies == []
        elif name == "BAD-123":  # the first No-Response is honoured: 2.xx is not wanted
            assert [reply.encode().hex() for reply in replies] == ["600000a3"]
        elif name in AS_IF_ABSENT:
            assert [(reply.mtype, reply.code, reply.payload) for reply in replies] == [(ACK, 0x45, b"hello")]
        elif code is not None or name in ALLOWED:
            allowed = ALLOWED.get(name) or {int(code[1]) << 5 | int(code[2])}  # type: ignore[index]  # one of both is there
            request = Message.decode(bytes.fromhex(entry["hex"]))
            (reply,) = replies
            assert reply.code in allowed
            assert reply.token == request.token
            assert reply.mtype == (ACK if request.mtype == CON else NON)
            if request.mtype == CON:
                assert reply.mid == request.mid
            if entry["expected_reply_hex"]:
                assert reply.encode()[:4].hex() == entry["expected_reply_hex"][:8]
            if name == "BAD-198":
                assert reply.options.echo
                assert len(reply.encode()) <= 3 * len(bytes.fromhex(entry["hex"]))
        else:
            check_rejection(entry, replies)
        assert x.executed == (name in {"BAD-138", "BAD-205"})


@virtual
async def test_a_body_of_two_formats() -> None:
    tree, x = site()
    async with Pair(tree) as pair:
        (first,) = await reactions(pair, BY_ID["BAD-150"])
        (second,) = await reactions(pair, BY_ID["BAD-151"])
        assert (first.code, second.code) == (0x5F, 0x88)
        assert x.executed == 0


@virtual
async def test_the_same_twice() -> None:
    for name, copies in (("BAD-200", 2), ("BAD-201", 1)):
        tree, x = site()
        async with Pair(tree) as pair:
            replies = await reactions(pair, BY_ID[name], times=2)
            assert len(replies) == copies
            assert len({reply.encode() for reply in replies}) == 1
            assert replies[0].code == 0x44
            assert x.executed == 1


def test_no_pair_or_repetition_is_forgotten() -> None:
    assert {entry["id"] for entry in ENTRIES if "repeat" in entry or "pair" in entry} == {
        "BAD-150", "BAD-151", "BAD-200", "BAD-201",
    }  # fmt: skip


CLIENT = [
    entry
    for entry in ENTRIES
    if entry["role"] in {"client", "both"}
    and entry["layer"] != "oscore"
    and entry["id"] not in {"BAD-111", "BAD-207"}  # these two are no errors
]


def begin(pair: Pair, token: bytes, mid: int, **options: Any) -> list[Message | Exception]:
    """A request of the client's with that token and Message ID; what comes of it is in the list."""
    got: list[Message | Exception] = []
    message = Message(Code.GET, **options)
    message.remote = pair.client.interface.address("stranger")
    message.token = token
    peer = pair.client.manager.peers.create(message.remote, pair.client.loop.time())
    assert peer is not None
    peer.ids = MessageIds(mid, pair.client.parameters.exchange_lifetime)
    pair.client.tokens.request(RequestPipe(message, lambda response, _: got.append(response), got.append))
    assert pair.requests[-1].mid == mid
    return got


@pytest.mark.parametrize("entry", CLIENT, ids=lambda entry: entry["id"])
@virtual
async def test_client(entry: dict[str, Any]) -> None:
    async with Pair() as pair:
        pair.network.join("all", pair.client.interface)
        pair.network.drop = lambda _: True
        got = begin(pair, b"\xaa" if "token matches" in entry["why"] else b"\xbb", 0xABCD)
        started = len(pair.requests)
        replies = await reactions(pair, entry, "client")
        own = [one.data for one in pair.requests[:started]]
        check_rejection(entry, [reply for reply in replies if reply.encode() not in own])
        assert got == []


@virtual
async def test_client_ignores_an_elective_option_of_bad_length() -> None:
    async with Pair() as pair:
        got = begin(pair, b"\xaa", 0x90)
        pair.network.inject("stranger", "client", bytes.fromhex(BY_ID["BAD-111"]["hex"]))
        (response,) = got
        assert isinstance(response, Message)
        assert response.payload == b"x"
        assert response.options.max_age in {None, 60}


@virtual
async def test_client_drops_a_stale_notification() -> None:
    async with Pair() as pair:
        pair.client.tokens.allocate_token = lambda: b"\xaa"  # type: ignore[method-assign]
        request = pair.client.ask(Code.GET, "x", host="stranger", observe=0)
        pair.network.groups["stranger"] = []
        address = pair.client.interface.address("stranger")
        address.is_multicast = False
        await settle()
        pair.network.inject("stranger", "client", bytes.fromhex("5145000aaa6105ff79"))
        assert (await request.response).payload == b"y"
        stale = bytearray.fromhex(BY_ID["BAD-207"]["hex"])
        pair.network.inject("stranger", "client", bytes(stale))
        stale[0] = 0x51  # and as a NON, so that nothing but its number is wrong with it
        pair.network.inject("stranger", "client", bytes(stale))
        await settle()
        assert request.observation is not None
        assert list(request.observation._waiting) == []
        request.cancel()


OSCORE = [entry for entry in ENTRIES if entry["layer"] == "oscore"]


@pytest.mark.parametrize("entry", OSCORE, ids=lambda entry: entry["id"])
@virtual
async def test_oscore_without_any_context(entry: dict[str, Any]) -> None:
    """An error of RFC 8613 section 8.2 at most, and nothing is carried out."""
    tree, x = site()

    class NoContexts:
        found: Mapping[Any, Any] = MappingProxyType({})

        def find(self, kid: bytes, kid_context: bytes | None) -> list[Any]:
            return []

        async def for_request(self, message: Message) -> None:
            return None

    async with Pair(tree, server_options={"contexts": NoContexts()}) as pair:
        replies = await reactions(pair, entry)
        if entry["role"] == "client":
            assert replies == []
        else:
            (reply,) = replies
            assert reply.code in {0x81, 0x82}
            assert reply.mtype == ACK
        assert x.executed == 0
