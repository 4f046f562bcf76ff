"""Any interleaving of loss, duplication, reordering, cancellation and restart ends in the right body, or one error.

Hypothesis chooses what the network does to each datagram and what happens between them; time is virtual. After every
history each transfer has ended, in the right body or in a documented error, no handler has seen a body that nobody
sent, and nothing is held any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from securecoap.config import TransportParameters
from securecoap.errors import RequestFailed
from securecoap.resources import Resource, Site
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import VirtualLoop, settle
from tests.simulation.endpoints import Endpoint
from tests.simulation.network import Network

if TYPE_CHECKING:
    from securecoap.core.client import ClientRequest
    from tests.simulation.network import Sent

# Sizes about the borders of blocks; the exponents make many messages of few bytes.
SIZES = st.sampled_from([0, 1, 15, 16, 17, 64, 65, 127, 128, 200, 333])
EXPONENTS = st.sampled_from([0, 1, 2, 6])
WAYS = st.sampled_from([None, 0, 2])
LONG = 1_000.0
"""Seconds after which every request and every body under way has ended: above EXCHANGE_LIFETIME and any retransmission."""
ERRORS = {
    Code.REQUEST_ENTITY_INCOMPLETE,  # the server restarted again and again, or forgot a response that is not made twice
    Code.SERVICE_UNAVAILABLE,
}


def body_of(number: int, size: int) -> bytes:
    """A body in which no two blocks are alike, and none is like one of another body."""
    return b"".join(number.to_bytes(2, "big") + index.to_bytes(2, "big") for index in range(-(-size // 4)))[:size]


class Store(Resource):
    """One for all lives of the server, as a database would be."""

    def __init__(self) -> None:
        self.body = b""
        self.seen: list[bytes] = []

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.body)

    def render_put(self, request: Message) -> Message:
        self.seen.append(request.payload)
        self.body = request.payload
        return Message()

    def render_post(self, request: Message) -> Message:
        self.seen.append(request.payload)
        return Message(payload=request.payload[::-1])


@dataclass
class Transfer:
    """One request under way, and what may come of it."""

    method: Code
    request: ClientRequest
    body: bytes
    was_cancelled: bool = False


class Blocks(RuleBasedStateMachine):
    """One client, one server that may restart, and a network that does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.transfers: list[Transfer] = []
        self.fates: list[str] = []
        self.sent: set[bytes] = {b""}
        self.store = Store()
        self.count = 0

    @initialize(seed=st.integers(0, 1000), nstart=st.sampled_from([1, 4]), confirmable=st.booleans(), sizes=EXPONENTS)
    def begin(self, seed: int, nstart: int, confirmable: bool, sizes: int) -> None:
        self.seed = seed
        self.confirmable = confirmable
        self.parameters = TransportParameters(nstart=nstart)
        self.server_parameters = TransportParameters(nstart=nstart, block_size=16 << sizes)
        self.run(self._begin())

    async def _begin(self) -> None:
        self.network = Network(self.loop, self.seed, delay=(0.01, 0.3), drop=self._treat)
        self.client = Endpoint(self.network, "client", parameters=self.parameters, seed=self.seed)
        self._start_server()

    def _start_server(self) -> None:
        site = Site()
        site.add("/x", self.store)
        self.count += 1
        self.server = Endpoint(
            self.network, "server", site, parameters=self.server_parameters, seed=self.seed + self.count
        )

    def _treat(self, sent: Sent) -> bool:
        fate = self.fates.pop() if self.fates else "arrives"
        if fate == "twice":
            self.loop.call_later(0.2, self._again, sent)
        elif fate == "late":  # after what was sent later, and after retransmissions
            self.loop.call_later(7.0, self._again, sent)
            return True
        return fate == "lost"

    def _again(self, sent: Sent) -> None:
        self.network.inject(sent.source, sent.destination, sent.data)

    def run(self, coroutine: Any) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(coroutine)
        for fault in self.loop.faults:
            raise AssertionError(fault["message"]) from fault.get("exception")

    # What happens.

    @rule(method=st.sampled_from([Code.GET, Code.PUT, Code.POST]), size=SIZES, block1=WAYS, block2=WAYS)
    def ask(self, method: Code, size: int, block1: int | None, block2: int | None) -> None:
        self.run(self._ask(method, size, block1, block2))

    async def _ask(self, method: Code, size: int, block1: int | None, block2: int | None) -> None:
        body = b"" if method == Code.GET else body_of(len(self.transfers) + 1, size)
        self.sent.add(body)
        options: dict[str, Any] = {"confirmable": self.confirmable}
        if block1 is not None and size > 16 << block1 and method != Code.GET:
            options["block1"] = Block(0, False, block1)
        if block2 is not None:
            options["block2"] = Block(0, False, block2)
        self.transfers.append(Transfer(method, self.client.ask(method, "x", body, **options), body))
        await settle()

    @rule(fates=st.lists(st.sampled_from(["arrives", "arrives", "lost", "twice", "late"]), min_size=1, max_size=12))
    def network_is_bad(self, fates: list[str]) -> None:
        self.fates = fates

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 3.0, 20.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self._pass(seconds))

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @precondition(lambda self: any(not one.request.is_done for one in self.transfers))
    @rule(which=st.integers(0, 99))
    def somebody_gives_up(self, which: int) -> None:
        under_way = [one for one in self.transfers if not one.request.is_done]
        chosen = under_way[which % len(under_way)]
        chosen.was_cancelled = True
        self.run(self._cancel(chosen))

    async def _cancel(self, chosen: Transfer) -> None:
        chosen.request.cancel()
        await settle()

    @rule()
    def the_server_restarts(self) -> None:
        self.run(self._restart())

    async def _restart(self) -> None:
        await self.server.close()
        self._start_server()

    @rule(size=SIZES)
    def the_resource_changes(self, size: int) -> None:
        self.store.body = body_of(60_000 + len(self.sent), size)
        self.sent.add(self.store.body)

    # What has to hold.

    def teardown(self) -> None:
        if hasattr(self, "network"):
            self.fates = []
            self.run(self._end())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def _end(self) -> None:
        await asyncio.sleep(LONG)
        for transfer in self.transfers:
            self._check(transfer)
        assert all(body in self.sent for body in self.store.seen), "a handler saw a body that nobody sent"
        assert len(self.server.server.assemblies) == 0
        assert self.server.server.assemblies.held_bytes == 0
        await self.client.close()
        await self.server.close()
        assert self.loop.timers() == []

    def _check(self, transfer: Transfer) -> None:
        response = transfer.request.response
        assert transfer.request.is_done
        assert response.done()
        if response.cancelled():
            assert transfer.was_cancelled
            return
        error = response.exception()
        if error is not None:
            assert isinstance(error, RequestFailed), error
            return
        answer = response.result()
        if answer.code in ERRORS:
            return
        if transfer.method == Code.GET:
            assert answer.code == Code.CONTENT
            assert answer.payload in self.sent, "versions were mixed"
        else:
            assert answer.code == Code.CHANGED
            assert transfer.body in self.store.seen
            assert answer.payload == (transfer.body[::-1] if transfer.method == Code.POST else b"")


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
