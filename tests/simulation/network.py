"""A network in one process: loses, duplicates, reorders and delays datagrams as its seed says, and keeps them all."""

from __future__ import annotations

import random
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from securecoap.config import Limits
from securecoap.errors import FormatError, Unreachable
from securecoap.interfaces import EndpointAddress
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from securecoap.interfaces import MessageDispatcher

__all__ = ["Network", "Sent", "SimulatedAddress", "SimulatedInterface"]


@dataclass(frozen=True, slots=True)
class Sent:
    """One datagram as it was sent, whatever became of it."""

    time: float
    source: str
    destination: str
    data: bytes

    @property
    def message(self) -> Message:
        """Decoded anew."""
        return Message.decode(self.data)

    @property
    def mid(self) -> int:
        return int.from_bytes(self.data[2:4], "big")

    @property
    def mtype(self) -> int:
        return self.data[0] >> 4 & 3

    @property
    def code(self) -> int:
        return self.data[1]


class SimulatedAddress(EndpointAddress):
    """A name on the network, seen from one interface."""

    __slots__ = (
        "budget",
        "confirmed",
        "dedup_offset",
        "grants",
        "interface",
        "is_multicast",
        "is_multicast_locally",
        "local",
        "name",
    )

    def __init__(self, interface: SimulatedInterface, name: str, local: str | None = None) -> None:
        self.interface = interface
        self.name = name
        self.local = local
        self.confirmed = False
        self.grants = None
        self.budget: float = interface.limits.amplification_allowance
        self.dedup_offset = 0
        self.is_multicast = name in interface.network.groups
        self.is_multicast_locally = local is not None and local in interface.network.groups

    def received(self) -> None:
        self.budget = max(self.budget, self.interface.limits.amplification_allowance)

    @property
    def hostinfo(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return type(other) is SimulatedAddress and self.interface is other.interface and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Network:
    """Carries datagrams between its interfaces.

    Args:
        loop: time.
        seed: of everything that is left to chance.
        loss: the part of datagrams that is lost.
        duplication: the part of the others that arrives twice.
        delay: the shortest and the longest time on the way; a range reorders.
        mtu: longer datagrams are lost.
        drop: takes part in the decision: a datagram of which it says ``True`` is lost.

    Attributes:
        sent: every datagram, in order.
        groups: multicast groups by name, with the interfaces in them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int = 0,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        delay: tuple[float, float] = (0.01, 0.01),
        mtu: int = 1280,
        drop: Callable[[Sent], bool] | None = None,
    ) -> None:
        self.loop = loop
        self.random = random.Random(seed)
        self.loss = loss
        self.duplication = duplication
        self.delay = delay
        self.mtu = mtu
        self.drop = drop
        self.sent: list[Sent] = []
        self.groups: dict[str, list[SimulatedInterface]] = {}
        self._interfaces: dict[str, SimulatedInterface] = {}
        self._under_way: list[tuple[float, int, SimulatedInterface, Sent]] = []
        self._order = count()

    def attach(self, interface: SimulatedInterface) -> None:
        self._interfaces[interface.name] = interface

    def detach(self, interface: SimulatedInterface) -> None:
        self._interfaces.pop(interface.name, None)

    def join(self, group: str, *interfaces: SimulatedInterface) -> None:
        self.groups.setdefault(group, []).extend(interfaces)

    def knows(self, name: str) -> bool:
        return name in self._interfaces or name in self.groups

    def inject(self, source: str, destination: str, data: bytes) -> None:
        """A datagram of somebody who has no interface here arrives, now."""
        for interface in self._receivers(destination):
            interface.deliver(data, source, destination)

    def transmit(self, source: str, destination: str, data: bytes) -> None:
        sent = Sent(self.loop.time(), source, destination, data)
        self.sent.append(sent)
        if (self.drop is not None and self.drop(sent)) or len(data) > self.mtu:
            return
        for interface in self._receivers(destination):
            if self.random.random() < self.loss:
                continue
            copies = 2 if self.random.random() < self.duplication else 1
            for _ in range(copies):
                when = sent.time + self.random.uniform(*self.delay)
                heappush(self._under_way, (when, next(self._order), interface, sent))
                self.loop.call_at(when, self._deliver_next)

    def _deliver_next(self) -> None:
        """Timers of the loop that are due at the same time have no order; datagrams have."""
        _, _, interface, sent = heappop(self._under_way)
        interface.deliver(sent.data, sent.source, sent.destination)

    def _receivers(self, destination: str) -> list[SimulatedInterface]:
        if destination in self.groups:
            return self.groups[destination]
        interface = self._interfaces.get(destination)
        return [] if interface is None else [interface]

    def between(self, source: str, destination: str) -> list[Sent]:
        """What was sent from one to the other."""
        return [sent for sent in self.sent if sent.source == source and sent.destination == destination]

    def from_(self, source: str) -> list[Sent]:
        """What was sent by one."""
        return [sent for sent in self.sent if sent.source == source]


class SimulatedInterface:
    """A `MessageInterface` on a `Network`.

    Args:
        limits: of what strangers are sent. By default there is no such limit, so that a test sees what it is about.
    """

    scheme = "coap"

    def __init__(self, network: Network, name: str, limits: Limits | None = None) -> None:
        self.limits = limits or Limits(amplification_factor=float("inf"))
        self.network = network
        self.name = name
        self.above: MessageDispatcher
        self.is_open = True
        self._known: dict[tuple[str, str | None], SimulatedAddress] = {}
        network.attach(self)

    def address(self, name: str, local: str | None = None) -> SimulatedAddress:
        key = name, local
        if key not in self._known:
            self._known[key] = SimulatedAddress(self, name, local)
        return self._known[key]

    def deliver(self, data: bytes, source: str, destination: str) -> bool | None:
        if not self.is_open:
            return None
        remote = self.address(source, destination if destination != self.name else None)
        remote.budget += self.limits.amplification_factor * len(data)
        try:
            message = Message.decode(data, remote)
        except FormatError:
            self.above.dispatch_malformed(data, remote)
            return None
        return self.above.dispatch_message(message)

    def send(self, message: Message) -> None:
        assert self.is_open, "something is sent after shutdown"
        datagram = message.encode()
        message.remote.budget -= len(datagram)
        self.network.transmit(self.name, message.remote.name, datagram)

    def recognize_remote(self, message: Message) -> Any:
        name = message.unresolved_remote
        if message.remote is not None or name is None or message.scheme != self.scheme or not self.network.knows(name):
            return None
        return self.address(name)

    async def determine_remote(self, message: Message) -> Any:
        if message.remote is not None:
            remote = message.remote
            return remote if type(remote) is SimulatedAddress and remote.interface is self else None
        name = message.unresolved_remote
        if name is None or message.scheme != self.scheme:
            return None
        if not self.network.knows(name):
            raise Unreachable("there is no such endpoint")
        return self.address(name)

    async def shutdown(self) -> None:
        self.is_open = False
        self.network.detach(self)
