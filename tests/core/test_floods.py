"""A hundred thousand hostile messages against each table: memory stays where it was, and a good client is served.

The limits are small, so that a table is full long before the flood ends; the real ones are the same numbers with more
zeros. Memory is counted in blocks that Python has allocated, between the middle of a flood and its end: a table without
a bound would have grown by 50,000 entries.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.resources import ObservableResource, Resource, Site
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

FLOOD = 100_000
GROWTH = 8_000
"""Allocated blocks in a quarter of a flood; its 25,000 entries of any table would be 25,000 at least."""
LIMITS = Limits(
    peers=500,
    deduplication_bytes=64 * 1024,
    queued_per_peer=20,
    requests_under_way=50,
    responses_to_strangers=50,
    multicast_answers=50,
    body_bytes=16 * 1024,
    assembly_bytes=64 * 1024,
    assemblies=100,
    observations=100,
    observations_per_peer=20,
)


class Target(ObservableResource):
    """Everything at once: quick, slow, large, observable."""

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"hello")

    def render_post(self, request: Message) -> Message:
        return Message(payload=request.payload[:4])

    async def render_put(self, request: Message) -> Message:
        await asyncio.sleep(30)
        return Message()

    def render_fetch(self, request: Message) -> Message:
        return Message(payload=bytes(3000))


class Good(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=b"good")

    def render_post(self, request: Message) -> Message:
        return Message(payload=str(len(request.payload)).encode())


class Known(Contexts):
    """Keeps no record of what was looked up."""

    def find(self, kid: bytes, kid_context: bytes | None) -> list[Any]:
        return [context for context in self.contexts if context.recipient_id == kid]


def head(mtype: int, code: int, mid: int, token: bytes = b"") -> bytes:
    return bytes([0x40 | mtype << 4 | len(token), code]) + (mid & 0xFFFF).to_bytes(2, "big") + token


def spoofed(number: int) -> str:
    return f"spoofed-{number}"


def one(_: int) -> str:
    return "attacker"


CON, NON, ACK, RST = range(4)
PATH = b"\xb1x"

FLOODS: dict[str, tuple[Callable[[int], str], Callable[[int], bytes]]] = {
    "requests from forged addresses": (spoofed, lambda n: head(CON, 1, n) + PATH),
    "unsafe requests from forged addresses": (spoofed, lambda n: head(CON, 2, n) + PATH),
    "unsafe requests from one peer": (one, lambda n: head(CON, 2, n) + PATH),
    "slow requests from forged addresses": (spoofed, lambda n: head(CON, 3, n, b"t") + PATH),
    "slow requests from one peer": (one, lambda n: head(NON, 3, n, n.to_bytes(4, "big")) + PATH),
    "first blocks of bodies, forged": (spoofed, lambda n: head(NON, 2, n) + PATH + b"\xd1\x03\x0e\xff" + bytes(1024)),
    "first blocks of bodies, one peer": (
        one, lambda n: head(NON, 2, n) + b"\xb4" + (n & 0xFFFF).to_bytes(2, "big").hex().encode() + b"\xd1\x03\x0e\xff" + bytes(1024),
    ),
    "large responses, one peer": (one, lambda n: head(NON, 5, n) + PATH + b"\xff" + n.to_bytes(4, "big")),
    "registrations from forged addresses": (spoofed, lambda n: head(CON, 1, n, b"t") + b"\x60\x51x"),
    "registrations from one peer": (one, lambda n: head(CON, 1, n, n.to_bytes(4, "big")) + b"\x60\x51x"),
    "group requests": (spoofed, lambda n: head(NON, 1, n) + PATH),
    "pings": (spoofed, lambda n: head(CON, 0, n)),
    "acknowledgements and resets": (spoofed, lambda n: head(ACK if n % 2 else RST, 0, n)),
    "responses to nothing": (spoofed, lambda n: head(CON, 69, n, n.to_bytes(8, "big"))),
    "notifications of nothing": (one, lambda n: head(NON, 69, n, n.to_bytes(8, "big")) + b"\x61\x05")
    , "no messages": (spoofed, lambda n: b"\x4f\x01" + n.to_bytes(4, "big")),
    "unknown critical options": (spoofed, lambda n: head(CON, 1, n) + b"\xe1\x00\xf0" + bytes([n & 255])),
    "OSCORE with kids of nobody": (spoofed, lambda n: head(CON, 2, n) + b"\x96\x09" + n.to_bytes(5, "big") + b"\xff" + bytes(16)),
    "OSCORE with a known kid": (
        spoofed,
        lambda n: head(CON, 2, n) + b"\x94\x0b" + n.to_bytes(3, "big") + b"\xff" + bytes(16),
    ),
    "long tokens": (spoofed, lambda n: bytes([0x4D, 1]) + (n & 0xFFFF).to_bytes(2, "big") + b"\xff" + bytes(268) + PATH),
}  # fmt: skip


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize("name", FLOODS)
@virtual
async def test_flood(name: str) -> None:
    source, datagram = FLOODS[name]
    site = Site()
    target = Target()
    site.add("/x", target)
    site.add("/good", Good())
    options: dict[str, Any] = {"counts_bytes": True, "limits": LIMITS}
    if "OSCORE" in name:
        options["contexts"] = Known(vectors.context("C.1.2"))
    async with Pair(site, parameters=TransportParameters(default_leisure=1.0), server_options=options) as pair:
        group = "group" in name
        if group:
            pair.network.join("all", pair.server.interface)
        await pair.client.get("good")
        held = []
        for number in range(FLOOD):
            pair.network.inject(source(number), "all" if group else "server", datagram(number))
            if number % 500 == 0:
                target.changed()
                await asyncio.sleep(0.05)
                pair.network.sent.clear()
                pair.server.interface._known.clear()  # real transports keep few addresses, and have tests of their own
            if number % 25_000 == 24_999:
                # A client of good manners that answers an Echo, amid all that.
                assert (await pair.client.get("good")).payload == b"good"
                answer = await pair.client.post("good", bytes(3000))
                assert (answer.code, answer.payload) == (Code.CHANGED, b"3000")
            if number in {FLOOD // 2, FLOOD * 3 // 4, FLOOD - 1}:
                pair.network.sent.clear()
                held.append(blocks())
        # What grows without bound grows in each quarter; something of the process itself, a module that is loaded, once.
        middle, later, end = held
        assert min(later - middle, end - later) < GROWTH
        await asyncio.sleep(600)
        assert (await pair.client.get("good")).payload == b"good"
