"""Observation as a state machine: whatever happens in between, the client ends with the last state or with an error.

Changes, lost, doubled, delayed and reordered datagrams, cut connections, restarts of the server, other addresses of the
client, network errors, cancellation and new observations, in any order, over the simulated network in virtual time.
After each run everything works again, and then the invariant of RFC 7641 section 1.3 has to come true: eventual
consistency.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from securecoap.config import TransportParameters
from securecoap.errors import RequestFailed
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import VirtualLoop
from tests.simulation.endpoints import Endpoint
from tests.simulation.network import Network

from .helpers import site_of
from .observing import State

if TYPE_CHECKING:
    from collections.abc import Coroutine

MAX_AGE = 30
"""Seconds in which a client that has lost its observation finds that out."""
LONG_ENOUGH = 1200.0
"""Max-Age, its grace, the time-outs of whatever was under way, and the longest pause between tries."""


class Watcher:
    """One observation of the client's, what it saw, and how it ended."""

    def __init__(self, client: Endpoint, *, confirmable: bool) -> None:
        self.confirmable = confirmable
        self.request = client.ask(Code.GET, "x", observe=0, confirmable=confirmable)
        self.seen: list[bytes] = []
        self.error: Exception | None = None
        self.is_cancelled = False
        self.task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        try:
            self.seen.append((await self.request.response).payload)
            assert self.request.observation is not None
            async for notification in self.request.observation:
                self.seen.append(notification.payload)
        except RequestFailed as error:
            self.error = error
        except asyncio.CancelledError:
            if not self.is_cancelled:
                raise


class ObserveMachine(RuleBasedStateMachine):
    """Rules are what may happen; time passes in `wait` only."""

    size = 5
    """Bytes of a representation."""
    is_slow = False
    """Whether the handler is a coroutine that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.version = 0
        self.watchers: list[Watcher] = []
        self.generation = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def representation(self) -> Message:
        text = b"%05d" % self.version
        return Message(payload=text * (self.size // 5), max_age=MAX_AGE)

    async def _start_server(self) -> None:
        self.generation += 1
        self.state = SlowRepresentation() if self.is_slow else State()
        self.state.state = self.representation()
        self.server = Endpoint(
            self.network,
            "server",
            site_of(x=self.state),
            seed=self.generation,
            now=1e9 + self.loop.time(),
            parameters=TransportParameters(unacknowledged_notifications=3),
        )

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        async def start() -> None:
            self.network = Network(self.loop, seed)
            self.client = Endpoint(self.network, "client", seed=seed)
            await self._start_server()

        self.run(start())

    # What may happen.

    @precondition(lambda self: len(self.watchers) < 3)
    @rule(confirmable=st.booleans())
    def observe(self, confirmable: bool) -> None:
        async def start() -> None:
            self.watchers.append(Watcher(self.client, confirmable=confirmable))
            await asyncio.sleep(0)

        self.run(start())

    @rule(count=st.integers(1, 4))
    def change(self, count: int) -> None:
        async def change() -> None:
            for _ in range(count):
                self.version += 1
                self.state.set(self.representation())
            await asyncio.sleep(0)

        self.run(change())

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.5, 3.0, 20.0, 60.0, 150.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(loss=st.sampled_from([0.0, 0.2, 0.6, 1.0]), duplication=st.sampled_from([0.0, 0.5]))
    def weather(self, loss: float, duplication: float) -> None:
        self.network.loss, self.network.duplication = loss, duplication

    @rule(longest=st.sampled_from([0.01, 1.0, 10.0]))
    def distance(self, longest: float) -> None:
        self.network.delay = (0.01, longest)

    @rule(pause=st.sampled_from([0.0, 5.0]))
    def restart(self, pause: float) -> None:
        async def restart() -> None:
            await self.server.close()
            await asyncio.sleep(pause)
            await self._start_server()

        self.run(restart())

    @rule(number=st.integers(0, 9))
    def move(self, number: int) -> None:
        """The client has another address from now on."""
        interface = self.client.interface
        self.network.detach(interface)
        interface.name = f"client-{number}"
        self.network.attach(interface)

    @rule()
    def network_error(self) -> None:
        async def report() -> None:
            self.client.manager.dispatch_error(113, self.client.interface.address("server"))
            await asyncio.sleep(0)

        self.run(report())

    @precondition(lambda self: self.watchers)
    @rule(data=st.data(), tell_server=st.booleans())
    def cancel(self, data: st.DataObject, tell_server: bool) -> None:
        watcher = data.draw(st.sampled_from(self.watchers))

        async def cancel() -> None:
            watcher.is_cancelled = True
            assert watcher.request.observation is not None
            watcher.request.observation.cancel(tell_server=tell_server)
            await asyncio.sleep(0)

        self.run(cancel())

    # What has to hold.

    @invariant()
    def nothing_goes_back(self) -> None:
        """Nobody is told of an older state after a newer one."""
        for watcher in self.watchers:
            assert watcher.seen == sorted(watcher.seen)

    @invariant()
    def bodies_are_whole(self) -> None:
        for watcher in self.watchers:
            for payload in watcher.seen:
                assert len(payload) == self.size // 5 * 5
                assert payload == payload[:5] * (self.size // 5)

    @invariant()
    def nothing_failed_inside(self) -> None:
        assert self.loop.faults == []

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            self.loop.close()
            return
        try:
            self.network.loss = self.network.duplication = 0.0
            self.network.delay = (0.01, 0.01)
            self.run(asyncio.sleep(LONG_ENOUGH))
            newest = self.representation().payload
            alive = set()
            for watcher in self.watchers:
                if not watcher.is_cancelled and watcher.error is None:
                    alive.add(watcher.confirmable)
                    assert watcher.seen
                    assert watcher.seen[-1] == newest
            self.nothing_goes_back()
            self.bodies_are_whole()
            # Those that were given up without a word are gone with the next notification, others are still told.
            self.version += 1
            self.run(self._change())
            self.run(asyncio.sleep(LONG_ENOUGH))
            assert self.state.observation_count == len(alive)  # those who want the same share a registration
            for watcher in self.watchers:
                if not watcher.is_cancelled and watcher.error is None:
                    assert watcher.seen[-1] == self.representation().payload
            self.run(self._close())
            self.nothing_failed_inside()
        finally:
            self.loop.close()

    async def _change(self) -> None:
        self.state.set(self.representation())

    async def _close(self) -> None:
        for watcher in self.watchers:
            watcher.is_cancelled = True
            watcher.request.cancel()
        await asyncio.gather(*(watcher.task for watcher in self.watchers))
        await self.client.close()
        await self.server.close()
        await asyncio.sleep(1)  # what is on its way in the network
        assert self.loop.timers() == []
        assert len(self.server.server._observations) == 0


class SlowRepresentation(State):
    async def render_get(self, request: Message) -> Message:  # type: ignore[override]  # a handler may be either
        state: Message = self.state
        await asyncio.sleep(0.3)
        return state


class LargeRepresentations(ObserveMachine):
    """Those that need several blocks."""

    size = 3000


class SlowRepresentations(ObserveMachine):
    """Those that take a while to render."""

    is_slow = True


@pytest.mark.parametrize("machine", [ObserveMachine, LargeRepresentations, SlowRepresentations])
def test_the_last_state_is_seen_or_an_error(machine: type[ObserveMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
