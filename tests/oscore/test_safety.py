"""What must hold whatever the network and the applications do: no nonce twice under one key, no request run twice.

Two ends in virtual time over a network that loses, repeats, reorders and delays; requests, notifications, cancellation,
role reversal, restarts of either end with and without a saved window, and reservations of numbers that take their time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.window import ReplayWindow
from securecoap.wire.message import CON, Message
from securecoap.wire.options import Options

from .fakes import Address, End, Fate, Gate

ADDRESSES = {"client": Address("client"), "server": Address("server")}


class Recorder:
    """An AEAD that notes every nonce it encrypts with."""

    def __init__(self, aead: Any, used: list[bytes]) -> None:
        self.aead = aead
        self.used = used

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        self.used.append(nonce)
        return self.aead.encrypt(nonce, data, aad)


class Side:
    """One endpoint through its restarts."""

    def __init__(self, name: str, peer: str, vector: str) -> None:
        self.name = name
        self.peer = ADDRESSES[peer]
        self.vector = vector
        self.used: list[bytes] = []
        self.executed: list[bytes] = []
        self.answers: list[bytes] = []
        self.requests: list[Message] = []
        self.asked = 0
        self.end: End
        self.stored = 0
        self.start(ReplayWindow())

    def start(self, window: ReplayWindow) -> None:
        self.end = End(self.vector, start=self.stored)
        self.end.context.window = window
        self.end.context.aead_sender = Recorder(self.end.context.aead_sender, self.used)
        self.end.numbers.limit = self.stored  # nothing is reserved before it is asked for
        self.end.numbers.chunk = 5
        self.cancels: list[Any] = []
        self.requests.clear()

    def restart(self, *, keep_window: bool) -> None:
        window = self.end.context.window
        self.stored = self.end.numbers.limit
        self.end.context.retire()
        if not keep_window:
            window = ReplayWindow(void=True)
        self.start(window)

    def grant(self) -> None:
        self.end.numbers.grant()
        self.end.run()
        self.end.numbers.gate = Gate()

    def request(self, *, observe: bool, echo: bytes | None = None) -> None:
        self.asked += 1
        body = b"%s %d" % (self.name.encode(), self.asked)
        message = Message(2, body, observe=0 if observe else None, echo=echo)
        message.remote = OscoreAddress(self.end.context, self.peer)
        message.token = self.asked.to_bytes(4, "big")
        message.exchange = Fate()
        self.cancels.append(self.end.layer.send_message(message))

    def receive(self, data: bytes) -> None:
        self.end.receive(data, self.peer)
        for message in self.end.above.got:
            if message.code < 64:
                self.executed.append(message.payload)
                self.requests.append(message)
            else:
                self.answers.append(message.payload)
                if message.code == 0x81 and message.options.echo:
                    self.request(observe=False, echo=message.options.echo)
        self.end.above.got.clear()

    def respond(self, index: int) -> None:
        if self.requests:
            request = self.requests[index % len(self.requests)]
            response = Message.inner(0x45, Options(), b"answer to " + request.payload, request.remote, request.token)
            response.exchange = request.exchange
            self.end.layer.send_message(response)


class Network(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.client = Side("client", "server", "C.1.1")
        self.server = Side("server", "client", "C.1.2")
        self.sides = {"client": self.client, "server": self.server}
        self.wire: list[tuple[Side, bytes]] = []
        self.mid = 0

    def collect(self) -> None:
        for side, target in ((self.client, self.server), (self.server, self.client)):
            for message in side.end.below.sent:
                self.mid += 1
                message.mtype, message.mid = CON, self.mid & 0xFFFF
                self.wire.append((target, message.encode()))
            side.end.below.sent.clear()

    @rule(side=st.sampled_from(["client", "server"]), observe=st.booleans())
    def ask(self, side: str, observe: bool) -> None:
        self.sides[side].request(observe=observe)
        self.collect()

    @rule(side=st.sampled_from(["client", "server"]), index=st.integers(0, 20))
    def answer(self, side: str, index: int) -> None:
        self.sides[side].respond(index)
        self.collect()

    @rule(side=st.sampled_from(["client", "server"]))
    def reserve(self, side: str) -> None:
        self.sides[side].grant()
        self.collect()

    @rule(index=st.integers(0, 50), keep=st.booleans())
    def deliver(self, index: int, keep: bool) -> None:
        if self.wire:
            index %= len(self.wire)
            target, data = self.wire[index] if keep else self.wire.pop(index)
            target.receive(data)
            self.collect()

    @rule(index=st.integers(0, 50))
    def lose(self, index: int) -> None:
        if self.wire:
            self.wire.pop(index % len(self.wire))

    @rule(side=st.sampled_from(["client", "server"]), index=st.integers(0, 20))
    def cancel(self, side: str, index: int) -> None:
        cancels = self.sides[side].cancels
        if cancels:
            cancels[index % len(cancels)]()
            self.collect()

    @rule(side=st.sampled_from(["client", "server"]), keep_window=st.booleans())
    def restart(self, side: str, keep_window: bool) -> None:
        self.sides[side].restart(keep_window=keep_window)

    @rule()
    def second(self) -> None:
        for side in self.sides.values():
            side.end.scheduler.now += 1

    @invariant()
    def no_nonce_twice(self) -> None:
        for side in self.sides.values():
            assert len(side.used) == len(set(side.used))

    @invariant()
    def nothing_runs_twice(self) -> None:
        for side in self.sides.values():
            assert len(side.executed) == len(set(side.executed))

    @invariant()
    def answers_belong_to_questions(self) -> None:
        for name, side in self.sides.items():
            assert all(not answer or answer.startswith(b"answer to " + name.encode()) for answer in side.answers)

    def teardown(self) -> None:
        for side in self.sides.values():
            side.end.context.retire()


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
