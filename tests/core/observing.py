"""What tests of observation share: an observable resource, and a client made of datagrams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from securecoap.resources import ObservableResource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle

from .helpers import ACK, CON, GET, wire

if TYPE_CHECKING:
    from tests.simulation.endpoints import Pair

__all__ = [
    "CANCEL", "OBSERVE", "SlowState", "State", "acknowledge", "numbers_seen", "observe_numbers", "observing", "register",
]  # fmt: skip

OBSERVE = b"\x60\x51x"  # Observe 0, Uri-Path x
CANCEL = b"\x61\x01\x51x"


class State(ObservableResource):
    def __init__(self, state: Any = b"0") -> None:
        self.state = state
        self.renderings = 0

    def render_get(self, request: Message) -> Message:
        self.renderings += 1
        if isinstance(self.state, Exception):
            raise self.state
        if isinstance(self.state, Message):
            return self.state
        return Message(payload=self.state)

    render_fetch = render_get

    def set(self, state: Any) -> None:
        self.state = state
        self.changed()


class SlowState(State):
    async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
        state = self.state
        await asyncio.sleep(1.0 if state == b"slow" else 0.01)
        return Message(payload=state)


def observe_numbers(sent: list[Any]) -> list[int | None]:
    return [one.message.options.observe for one in sent]


async def observing(pair: Pair, **options: Any) -> Any:
    """A client's observation of ``x``, of which the first representation is here."""
    request = pair.client.ask(Code.GET, "x", observe=0, **options)
    await request.response
    return request


async def numbers_seen(pair: Pair, request: Any, state: State, most: int) -> list[int]:
    """What an observer gets to see while the state counts up to a number, and then rests."""
    seen = []

    async def watch() -> None:
        async for notification in request.observation:
            seen.append(int(notification.payload))  # noqa: PERF401  # one at a time, as they come

    watcher = asyncio.create_task(watch())
    for number in range(1, most + 1):
        state.set(b"%d" % number)
        await asyncio.sleep(pair.network.random.uniform(0, 4))
    await asyncio.sleep(200)
    request.cancel()
    await watcher
    return seen


async def register(
    pair: Pair, peer: str = "stranger", mid: int = 1, token: bytes = b"t", mtype: int = CON, options: bytes = OBSERVE
) -> None:
    pair.network.inject(peer, "server", wire(mtype, GET, mid, token, options))
    await settle()


def acknowledge(pair: Pair, peer: str = "stranger", mtype: int = ACK) -> None:
    pair.network.inject(peer, "server", wire(mtype, 0, pair.network.between("server", peer)[-1].mid))
