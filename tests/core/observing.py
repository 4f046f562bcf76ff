"""What tests of observation share: an observable resource, and a client made of datagrams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from securecoap.resources import ObservableResource
from securecoap.wire.message import Message
from tests.simulation.clock import settle

from .helpers import ACK, CON, GET, wire

if TYPE_CHECKING:
    from tests.simulation.endpoints import Pair

__all__ = ["CANCEL", "OBSERVE", "SlowState", "State", "acknowledge", "observe_numbers", "register"]

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


async def register(
    pair: Pair, peer: str = "stranger", mid: int = 1, token: bytes = b"t", mtype: int = CON, options: bytes = OBSERVE
) -> None:
    pair.network.inject(peer, "server", wire(mtype, GET, mid, token, options))
    await settle()


def acknowledge(pair: Pair, peer: str = "stranger", mtype: int = ACK) -> None:
    pair.network.inject(peer, "server", wire(mtype, 0, pair.network.between("server", peer)[-1].mid))
