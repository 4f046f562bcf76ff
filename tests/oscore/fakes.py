"""Stand-ins for the neighbours of the layer, and virtual time."""

from __future__ import annotations

import random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from securecoap.errors import StateError
from securecoap.interfaces import EndpointAddress, Exchange, ResponseSlot
from securecoap.oscore.layer import OscoreLayer
from securecoap.oscore.sender import Sender
from securecoap.oscore.window import ReplayWindow
from securecoap.wire.message import Message

from . import vectors

if TYPE_CHECKING:
    from collections.abc import Mapping


class Address(EndpointAddress):
    """A plain address, equal by name."""

    def __init__(self, name: str, claims: tuple[str, ...] = ()) -> None:
        self.name = name
        self.confirmed = False
        self.authenticated_claims = claims
        self.is_multicast = name.startswith("multicast")
        self.is_multicast_locally = False

    @property
    def hostinfo(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Task:
    """A coroutine that is stepped by the scheduler, and waits only for a `Gate`."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.done = False

    def step(self) -> None:
        try:
            self.coroutine.send(None)
        except StopIteration:
            self.done = True

    def cancel(self) -> None:
        self.coroutine.close()
        self.done = True


class Gate:
    """Waits until somebody opens it."""

    def __init__(self) -> None:
        self.is_open = False
        self.error: Exception | None = None

    def __await__(self):
        while not self.is_open:
            yield self
        if self.error is not None:
            raise self.error


class Scheduler:
    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []
        self.tasks: list[Task] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any) -> None:
        self.calls.append((callback, args))

    def call_at(self, when: float, callback: Any, *args: Any) -> Any:
        raise AssertionError("the layer sets no timers")

    def create_future(self) -> Any:
        raise AssertionError("the layer makes no futures")

    def create_task(self, coro: Any) -> Any:
        task = Task(coro)
        self.tasks.append(task)
        return task

    def run(self) -> None:
        progress = True
        while progress:
            progress = bool(self.calls)
            calls, self.calls = self.calls, []
            for callback, args in calls:
                callback(*args)
            for task in [task for task in self.tasks if not task.done]:
                task.step()
                progress = progress or task.done


class Numbers:
    """Sequence numbers, reserved in chunks when a gate is opened."""

    def __init__(self, start: int = 0, reserved: int = 2**62) -> None:
        self.next = start
        self.limit = reserved
        self.chunk = 10
        self.gate = Gate()
        self.reservations = 0

    def next_number(self) -> int | None:
        if self.next >= self.limit:
            return None
        self.next += 1
        return self.next - 1

    async def reserve(self) -> None:
        self.reservations += 1
        await self.gate
        self.limit = max(self.next, self.limit) + self.chunk

    def grant(self) -> None:
        self.gate.is_open = True

    def refuse(self) -> None:
        self.gate.error = StateError("the disk is full")
        self.gate.is_open = True


class Below:
    """A `TokenInterface` that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.cancelled: list[Message] = []
        self.remote: Address | None = Address("server")
        self.on_send: Any = None

    def send_message(self, message: Message) -> Any:
        self.sent.append(message)
        if self.on_send is not None:
            self.on_send(message)
        return lambda: self.cancelled.append(message)

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        message.remote = self.remote
        return self.remote is not None

    def take(self) -> Message:
        assert len(self.sent) == 1, self.sent
        return self.sent.pop()


class Above:
    """A `TokenDispatcher` that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.errors: list[tuple[Any, Any]] = []
        self.means = True
        self.on_message: Any = None

    def dispatch_message(self, message: Message) -> bool:
        self.got.append(message)
        if self.on_message is not None:
            self.on_message(message)
        return self.means

    def dispatch_error(self, error: Any, remote: Any) -> None:
        self.errors.append((error, remote))

    def take(self) -> Message:
        assert len(self.got) == 1, self.got
        return self.got.pop()


class Slot(ResponseSlot):
    """The message layer's slot of one incoming request."""

    def __init__(self) -> None:
        self.fate = None
        self.unanswered = 0

    def no_response(self) -> None:
        self.unanswered += 1


class Fate(Exchange):
    """What the sender of a message was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def acknowledged(self) -> None:
        self.told.append("acknowledged")

    def failed(self, error: Exception) -> None:
        self.told.append(error)


class Contexts:
    """A `ContextSource` with a few contexts."""

    found: Mapping[Any, Any] = MappingProxyType({})

    def __init__(self, *contexts: Any) -> None:
        self.contexts = list(contexts)
        self.client: Any = None
        self.bases: list[Any] = []
        self.lookups: list[tuple[bytes, bytes | None]] = []

    def find(self, kid: bytes, kid_context: bytes | None) -> list[Any]:
        self.lookups.append((kid, kid_context))
        return [
            context
            for context in self.contexts
            if context.recipient_id == kid and kid_context in (None, context.kid_context)
        ]

    def derivations(self, kid: bytes) -> list[Any]:
        return [one for one in self.bases if one._recipient_id == kid]

    def known(self, message: Message) -> Any:
        return False if isinstance(self.client, Exception) else self.client

    async def for_request(self, message: Message) -> Any:
        if isinstance(self.client, Exception):
            raise self.client
        return self.client


class End:
    """One endpoint: a layer with its neighbours, and one context of Appendix C."""

    def __init__(
        self,
        name: str,
        *,
        start: int = 0,
        void: bool = False,
        claims: tuple[str, ...] = (),
        randomness: Any = None,
        **changes: Any,
    ) -> None:
        self.scheduler = Scheduler()
        self.below = Below()
        self.above = Above()
        self.numbers = Numbers(start)
        self.context = vectors.context(name, window=ReplayWindow(void=void), **changes)
        self.context.sender = Sender(self.numbers, self.scheduler)
        self.context.claims = claims
        self.contexts = Contexts(self.context)
        self.layer = OscoreLayer(self.below, self.contexts, self.scheduler, randomness or random.Random(1))
        self.layer.above = self.above

    def receive(self, wire: str | bytes, remote: Address) -> tuple[bool, Slot]:
        """What the message layer does with a datagram."""
        data = bytes.fromhex(wire) if isinstance(wire, str) else wire
        message = Message.decode(data, remote)
        slot = Slot()
        if message.code is not None and message.code < 32:
            message.exchange = slot
        return self.layer.dispatch_message(message), slot

    def run(self) -> None:
        self.scheduler.run()
