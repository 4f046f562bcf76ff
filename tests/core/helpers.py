"""Resources and short-cuts of the core's tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from securecoap.config import TransportParameters
from securecoap.core.peers import MessageIds
from securecoap.oscore.sender import Sender
from securecoap.resources import Resource, Site
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, NON, RST, Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.endpoints import Pair

if TYPE_CHECKING:
    from tests.simulation.endpoints import Endpoint
    from tests.simulation.network import Sent

__all__ = ["ACK", "CON", "NON", "RST", "Plain", "Slow", "kinds", "protected", "site_of", "use_up", "wire"]


class Plain(Resource):
    """GET says ``hello``, POST and PUT count."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    def render_get(self, request: Message) -> Message:
        self.seen.append(request)
        return Message(payload=b"hello")

    def render_post(self, request: Message) -> Message:
        self.seen.append(request)
        return Message(payload=request.payload)

    render_put = render_post
    render_fetch = render_post

    def render_delete(self, request: Message) -> Message:
        self.seen.append(request)
        return Message()


class Slow(Plain):
    """Takes its time; knows who was cancelled."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.cancelled = 0

    async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
        self.seen.append(request)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Message(payload=b"late")

    render_post = render_put = render_delete = render_fetch = render_get  # type: ignore[assignment]


def site_of(**resources: Resource) -> Site:
    site = Site()
    for name, resource in resources.items():
        site.add(f"/{name}", resource)
    return site


def wire(mtype: int, code: int, mid: int, token: bytes = b"", options: bytes = b"", payload: bytes = b"") -> bytes:
    """A datagram as somebody else would make it."""
    header = bytes((0x40 | mtype << 4 | len(token), code)) + mid.to_bytes(2, "big")
    return header + token + options + (b"\xff" + payload if payload else b"")


def kinds(sent: list[Sent]) -> list[tuple[int, int]]:
    """Type and code of each datagram."""
    return [(one.mtype, one.code) for one in sent]


def protected(site: Site, seed: int = 0, **options: Any) -> Pair:
    """A pair whose requests OSCORE protects, by the contexts of RFC 8613 appendix C.1; the server calls it ``:device``.

    Args:
        site, seed, options: see `Pair`.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = vectors.context("C.1.1"), vectors.context("C.1.2")
    for context in (ours, theirs):
        context.sender = Sender(Numbers(), loop)
    theirs.claims = (":device",)
    client = Contexts(ours)
    client.client = ours
    return Pair(
        site, seed, client_options={"contexts": client}, server_options={"contexts": Contexts(theirs)}, **options
    )


def use_up(endpoint: Endpoint, peer: str, left: int = 0) -> MessageIds:
    """Give out the Message IDs for a peer, all but some, now."""
    address = endpoint.interface.address(peer)
    table = endpoint.manager.peers
    now = endpoint.loop.time()
    state = table.get(address) or table.create(address, now)
    assert state is not None
    ids = state.ids = MessageIds(0, TransportParameters().exchange_lifetime)
    for _ in range(65536 - left):
        assert ids.allocate(now) is not None
    return ids


PATH_X = b"\xb1x"
GET, POST = int(Code.GET), int(Code.POST)
CONTENT, CHANGED = int(Code.CONTENT), int(Code.CHANGED)
