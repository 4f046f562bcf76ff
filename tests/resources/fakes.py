"""Stand-ins for what a resource meets: the server's observations, a scheduler in virtual time, and a peer's address."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from securecoap.interfaces import EndpointAddress
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import Resource


def run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it waits")


def request(code: int = 1, payload: bytes = b"", parameters: dict[str, str] | None = None, **options: Any) -> Message:
    """A request as a handler sees it."""
    message = Message(code, payload, **options)
    message.parameters = parameters or {}
    return message


@dataclass(eq=False)
class FakeObservation:
    """What the server hands to `add_observation`."""

    ends_at_once: bool = False
    fails: bool = False
    on_trigger: Callable[[], object] = lambda: None
    triggered: list[tuple[Message | None, bool]] = field(default_factory=list)
    end: Callable[[], None] | None = None

    def accept(self, cancellation_callback: Callable[[], None]) -> None:
        if self.fails:
            raise ConnectionError
        self.end = cancellation_callback
        if self.ends_at_once:
            cancellation_callback()

    def trigger(self, response: Message | None = None, *, is_last: bool = False) -> None:
        self.triggered.append((response, is_last))
        self.on_trigger()
        if is_last and self.end is not None:
            self.end()


class Rendering(FakeObservation):
    """An observation that renders when it is triggered, as the server's does, and keeps the payloads."""

    def __init__(self, resource: Any, message: Message) -> None:
        super().__init__()
        self.seen: list[bytes] = []
        self.on_trigger = lambda: self.seen.append(resource.dispatch(message).payload)


class FakeTimer:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeScheduler:
    """A `Scheduler` whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.timers: list[tuple[float, int, FakeTimer, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        self.soon.append((callback, args))
        return None

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self.timers, (when, next(self._order), timer, callback, args))
        return timer

    def create_future(self) -> Any:
        raise NotImplementedError

    def create_task(self, coro: Any) -> Any:
        raise NotImplementedError

    @property
    def armed(self) -> list[float]:
        return sorted(when for when, _, timer, _, _ in self.timers if not timer.is_cancelled)

    def turn(self) -> int:
        """One turn of the loop. Returns how many callbacks it had."""
        soon, self.soon = self.soon, []
        for callback, args in soon:
            callback(*args)
        return len(soon)

    def settle(self) -> int:
        """Turns until there is nothing to do. Returns how many."""
        turns = 0
        while self.turn():
            turns += 1
        return turns

    def advance(self, seconds: float) -> None:
        """Let time pass, calling what is due when it is due."""
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            when, _, timer, callback, args = heapq.heappop(self.timers)
            self.now = max(self.now, when)
            if not timer.is_cancelled:
                callback(*args)
            self.settle()
        self.now = end


class FakeAddress(EndpointAddress):
    """A peer that has proved what it is told to have."""

    def __init__(
        self,
        claims: tuple[str, ...] = (),
        scheme: str = "coap",
        security: str = "none",
        *,
        is_multicast_locally: bool = False,
    ) -> None:
        self.authenticated_claims = claims
        self.scheme = scheme
        self.security = security
        self.is_multicast_locally = is_multicast_locally

    @property
    def hostinfo(self) -> str:
        return "peer.example"


def route(site: Any, *path: str) -> tuple[Resource, dict[str, str]]:
    """What a site finds; it has to find something."""
    found = site.find(path)
    assert found is not None, path
    resource, parameters = found
    return resource, dict(parameters)
