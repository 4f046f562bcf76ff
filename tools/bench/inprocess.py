"""The path of a plain request through our own layers, without sockets: where the time goes.

    tools/bench/run inprocess [--profile]

A stand-in for the interface hands datagrams to the message layer and takes the answers; the rest is the real stack.
What it leaves out is the system calls, and OSCORE and DTLS. Numbers: the fastest of five repetitions.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import random
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

from securecoap import Message, Resource, Site
from securecoap.core.messages import MessageManager
from securecoap.core.serving import Server
from securecoap.core.tokens import TokenManager
from securecoap.transports.udp import UdpAddress

if TYPE_CHECKING:
    from collections.abc import Callable

PER_PORT = 5_000


class Hello(Resource):
    """The simplest handler."""

    def render_get(self, _request: Message) -> Message:
        """Say hello."""
        return Message(payload=b"hello")


class Wire:
    """Stands in for a `MessageInterface`; keeps the last answer."""

    is_multicast = False
    address = ("127.0.0.1", 5683)

    def __init__(self) -> None:
        self.last = b""
        self.answers = 0

    def send(self, message: Message) -> None:
        """Encode, as a socket would need it."""
        self.last = message.encode()
        self.answers += 1


def measure(*, profile: bool = False) -> dict[str, float]:
    """Run it, and print the figures."""
    return asyncio.run(_measure(profile=profile))


async def _measure(*, profile: bool) -> dict[str, float]:
    site = Site()
    site.add("/hello", Hello())
    loop, randomness = asyncio.get_running_loop(), random.Random(1)
    wire = Wire()
    manager = MessageManager(loop, randomness)
    server = Server(site, loop, randomness)
    tokens = TokenManager(manager, server, randomness)
    manager.above, manager.interface = tokens, wire  # type: ignore[assignment]  # a stand-in
    ports = iter(range(1024, 65536))

    def requests(count: int) -> Callable[[], None]:
        addresses = [UdpAddress(wire, ("127.0.0.1", next(ports)), None, 0) for _ in range(-(-count // PER_PORT))]  # type: ignore[arg-type]
        prepared = [
            (b"\x44\x01" + (i % PER_PORT).to_bytes(2) + i.to_bytes(4) + b"\xb5hello", addresses[i // PER_PORT])
            for i in range(count)
        ]

        def run() -> None:
            decode, dispatch = Message.decode, manager.dispatch_message
            for data, remote in prepared:
                dispatch(decode(data, remote))

        return run

    requests(1000)()
    if not wire.last.endswith(b"\xffhello") or wire.answers != 1000:
        raise SystemExit(f"the stand-in got {wire.answers} answers, the last {wire.last!r}")
    times = []
    for _ in range(5):
        run = requests(20_000)
        start = time.process_time()
        run()
        times.append((time.process_time() - start) / 20_000)
    calls = _count_calls(requests(1000)) / 1000
    gc.collect()
    run = requests(20_000)
    tracemalloc.start()
    run()
    retained = tracemalloc.get_traced_memory()[0] / 20_000
    tracemalloc.stop()
    figures = {"us": min(times) * 1e6, "calls": calls, "retained_bytes": retained}
    print(f"  in process  {figures['us']:.2f} µs, {calls:.0f} calls, {retained:.0f} bytes retained per request")
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(requests(20_000))
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    tokens.close()
    manager.close()
    await server.close()
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
