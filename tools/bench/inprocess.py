"""The path of a request through our own layers, without sockets: where the time goes; with what ``--metrics`` adds.

    tools/bench/run inprocess [--profile]

A stand-in for the interface hands datagrams to the message layer and takes the answers; the rest is the real stack.
With DTLS the interface is real, too, and only its socket stood in for: what is left out is the system calls. ``put``
and ``get`` are single blocks of 1024 bytes: 1 MiB again and again, put first, and then got. Numbers: the fastest of
five repetitions.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import pstats
import random
import sys
import tempfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from bench.dtls_in_process import DtlsServer
from bench.oscore import ECHO, Answer, OscoreClient, get, parse
from bench.servers import CREDENTIALS
from securecoap import Message, Resource, Site
from securecoap.cli.metrics import Metrics
from securecoap.config import Limits
from securecoap.core.echo import EchoValues
from securecoap.core.messages import MessageManager
from securecoap.core.serving import Server
from securecoap.core.tokens import TokenManager
from securecoap.keyring import Keyring
from securecoap.oscore.layer import OscoreLayer
from securecoap.transports.udp import UdpAddress, make_address
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 1024  # of a body
PER_PORT = 4 * BLOCKS
COUNT = 5 * PER_PORT
KINDS = {"plain": "hello", "put": "put", "get": "get", "metrics": "hello", "oscore": "hello", "dtls": "hello"}


class Hello(Resource):
    """The simplest handler."""

    def render_get(self, _request: Message) -> Message:
        """Say hello."""
        return Message(payload=b"hello")


class Store(Resource):
    """Keeps a body."""

    body = b""

    def render_get(self, _request: Message) -> Message:
        """Give it."""
        return Message(payload=self.body)

    def render_put(self, request: Message) -> Message:
        """Take it."""
        self.body = request.payload
        return Message()


def make_site() -> Site:
    """What all of them serve."""
    site = Site()
    site.add("/hello", Hello())
    site.add("/store", Store())
    return site


def block(kind: str, index: int) -> bytes:
    """Code, options and payload of one of the requests that put a body, or get it."""
    number, is_put = index % BLOCKS, kind == "put"
    message = Message(Code.PUT if is_put else Code.GET, bytes(1024) if is_put else b"")
    message.options.uri_path = ("store",)
    if is_put:
        message.options.block1 = Block(number, number < BLOCKS - 1, 6)
    elif number:
        message.options.block2 = Block(number, False, 6)
    encoded = encode_message(CON, message.code or 0, 0, b"", message.options.encode(), message.payload)
    return encoded[1:2] + encoded[4:]


class Wire:
    """Stands in for a `MessageInterface`; keeps the last answer."""

    is_multicast = False
    address = ("127.0.0.1", 5683)
    local_host = "127.0.0.1"

    def __init__(self) -> None:
        limits = Limits()
        self.allowance, self.factor = limits.amplification_allowance, limits.amplification_factor
        self.last = b""
        self.answers = 0

    def send(self, message: Message) -> None:
        """Encode, as a socket would need it."""
        self.send_datagram(message.encode(), message.remote)

    def send_datagram(self, datagram: bytes, remote: UdpAddress) -> None:
        """Take what a socket would be given."""
        self.last = datagram
        if not remote.confirmed:
            remote.budget -= len(datagram)
        self.answers += 1


class Stack:
    """Our layers over a `Wire`, with one client's requests for them."""

    def __init__(self, security: str, state: str) -> None:
        site = make_site()
        loop, randomness = asyncio.get_running_loop(), random.Random(1)
        echo = EchoValues(randomness, loop.time)
        self.wire = Wire()
        if KINDS[security] in {"put", "get"}:
            self.wire.allowance = 1 << 30  # nobody here answers an Echo
        self.ports = iter(range(1024, 65536))
        self.manager = MessageManager(loop, randomness, echo)
        self.client: OscoreClient | None = None
        self.keyring: Keyring | None = None
        below: Any = self.manager
        authorize = None
        if security == "oscore":
            limits = Limits()
            entry = json.loads(CREDENTIALS.read_text())[":bench-oscore"]
            self.keyring = Keyring(
                {":client": entry},
                state=state,
                strict_state=False,
                names=(),
                bound=["127.0.0.1"],
                limits=limits,
                wait=1.0,
            )
            self.keyring.attach(loop)
            below = OscoreLayer(self.manager, self.keyring, loop, randomness, limits)
            self.keyring.add_layer(below)
            self.manager.above_protected = below.dispatch_request
            authorize = None if self.keyring.access is None else self.keyring.access.authorize
            mirrored = {**entry["oscore"], "sender-id": entry["oscore"]["recipient-id"]}
            self.client = OscoreClient.from_entry({**mirrored, "recipient-id": entry["oscore"]["sender-id"]})
        self.server = Server(site, loop, randomness, echo, authorize=authorize)
        handler = Metrics().measure(self.server) if security == "metrics" else self.server
        self.tokens = TokenManager(below, handler, randomness, echo)
        below.above = self.tokens
        self.manager.above = self.tokens if below is self.manager else below
        self.manager.interface = self.wire  # type: ignore[assignment]  # a stand-in

    async def start(self) -> None:
        """Open the state; answer the Echo challenge; look at the answer."""
        if self.keyring is not None:
            await self.keyring.open_all()
        answer = await self._exchange(get("hello"))
        if self.client is not None and ECHO in answer.options:
            answer = await self._exchange(get("hello", answer.options[ECHO]))
        if answer.payload != b"hello":
            raise SystemExit(f"the stack answers {answer}")

    def requests(self, count: int, kind: str = "hello") -> Callable[[], None]:
        """A function that feeds this many new requests."""
        addresses = [self._address() for _ in range(-(-count // PER_PORT))]
        inner = [get("hello")] if kind == "hello" else [block(kind, i) for i in range(BLOCKS)]
        prepared = [(self._datagram(inner[i % len(inner)], i), addresses[i // PER_PORT]) for i in range(count)]

        def run() -> None:
            decode, dispatch, factor = Message.decode, self.manager.dispatch_message, self.wire.factor
            for data, remote in prepared:
                if not remote.confirmed:
                    remote.budget += factor * len(data)
                dispatch(decode(data, remote))

        return run

    async def close(self) -> None:
        """End all."""
        self.tokens.close()
        self.manager.close()
        await self.server.close()
        if self.keyring is not None:
            await self.keyring.close()

    def _address(self) -> UdpAddress:
        return make_address(self.wire, ("127.0.0.1", next(self.ports)), None, 0)  # type: ignore[arg-type]  # a stand-in

    def _datagram(self, inner: bytes, index: int) -> bytes:
        mark = (index % PER_PORT).to_bytes(2, "big") + index.to_bytes(4, "big")
        if self.client is None:
            return b"\x44" + inner[:1] + mark + inner[1:]
        datagram = self.client.protect(inner)[1]
        return datagram[:2] + mark + datagram[8:]

    async def _exchange(self, inner: bytes) -> Answer:
        number = self.client.sequence if self.client else 0
        before = self.wire.answers
        self.manager.dispatch_message(Message.decode(self._datagram(inner, 0), self._address()))
        while self.wire.answers == before:  # noqa: ASYNC110  # only at the start, and only for a few turns
            await asyncio.sleep(0)
        if self.client is not None:
            return self.client.open(number, self.wire.last)
        options, payload = parse(self.wire.last, 8)
        return Answer(self.wire.last[1], options, payload)


def measure(*, profile: bool = False) -> dict[str, dict[str, float]]:
    """Run it, and print the figures."""
    return {name: asyncio.run(_measure(name, profile=profile)) for name in KINDS}


async def _measure(name: str, *, profile: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="securecoap-bench-") as state:
        stack = DtlsServer(make_site(), state) if name == "dtls" else Stack(name, state)
        try:
            await stack.start()
            if KINDS[name] == "get":
                stack.requests(BLOCKS, "put")()
                stack.requests(BLOCKS, "get")()
                if stack.wire.last[-1024:] != bytes(1024):
                    raise SystemExit("the stack does not answer with the last block")
            return _figures(stack, name, profile=profile)
        finally:
            await stack.close()


def _figures(stack: Stack | DtlsServer, name: str, *, profile: bool) -> dict[str, float]:
    kind = KINDS[name]
    times = []
    for _ in range(5):
        run = stack.requests(COUNT, kind)
        start = time.process_time()
        run()
        times.append((time.process_time() - start) / COUNT)
    calls = _count_calls(stack.requests(BLOCKS, kind)) / BLOCKS
    gc.collect()
    run = stack.requests(COUNT, kind)
    tracemalloc.start()
    run()
    retained = tracemalloc.get_traced_memory()[0] / COUNT
    tracemalloc.stop()
    if not stack.wire.last:
        raise SystemExit("no answers")
    figures = {"us": min(times) * 1e6, "calls": calls, "retained_bytes": retained}
    print(f"  {name:<8}{figures['us']:8.2f} µs, {calls:.0f} calls, {retained:.0f} bytes retained per request")
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(stack.requests(COUNT, kind))
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return figures


def _count_calls(run: Callable[[], None]) -> int:
    count = 0

    def hook(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(hook)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count
