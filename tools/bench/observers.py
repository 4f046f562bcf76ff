"""1,000 observers of one resource: registering them, telling them of a change, and what each of them is kept for.

The generator (obsgen.c) has a socket for each observer, acknowledges at once, and is the same for every server. Every
server has answered plain requests for a second, and has its observers at the same time; a round is one PUT to each
server in turn, so that a noisy machine is noisy for all. CPU time is that of the server's process, from /proc.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import tracemalloc
from statistics import median
from typing import TYPE_CHECKING, Any

from support.environment import fail

from bench.servers import Server, start_server
from securecoap import Context, Message, ObservableResource, Site

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

OBSERVERS = 1000
_QUIET = 1.0  # seconds after each round in which late notifications would come
_LIFETIME = 248.0


class Observers:
    """The generator with its observers of one server."""

    def __init__(self, server: Server, generator: Path, core: int, rounds: int) -> None:
        self.server = server
        self.rounds: list[dict[str, Any]] = []
        command = ["taskset", "-c", str(core), str(generator), "127.0.0.1", str(server.port), str(OBSERVERS)]
        resident, spent = server.program.resident_bytes(), server.program.cpu_seconds()
        self._process = subprocess.Popen(
            [*command, str(rounds), str(_QUIET)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.registered: int = self._line()["registered"]
        self.register_us = (server.program.cpu_seconds() - spent) / OBSERVERS * 1e6
        self.resident_bytes = (server.program.resident_bytes() - resident) / OBSERVERS

    def round(self) -> None:
        """One change."""
        before = self.server.program.cpu_seconds()
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        figures = self._line()
        figures["cpu_us"] = (self.server.program.cpu_seconds() - before) / OBSERVERS * 1e6
        self.rounds.append(figures)

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            fail(f"obsgen against {self.server.name} ended:\n{self.server.program.output}", 1)
        result: dict[str, Any] = json.loads(line)
        return result

    def stop(self) -> None:
        """End the generator."""
        self._process.kill()
        self._process.communicate()


def measure_observers(options: argparse.Namespace, directory: Path, generator: Path) -> dict[str, Any]:
    """Register 1,000 observers with each server, and change what they observe."""
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    servers: list[Server] = []
    observers: dict[str, Observers] = {}
    try:
        for name in options.servers.split(","):
            if (server := start_server(name, "plain", directory, server_core)) is None:
                continue
            servers.append(server)
            if name == "libcoap":
                put = ["coap-client-notls", "-m", "put", "-e", "00000", f"coap://127.0.0.1:{server.port}/obs"]
                subprocess.run(put, check=True, capture_output=True, timeout=20)
            warm = [str(generator.with_name("loadgen")), "-w", "32", "-d", "1", "127.0.0.1", str(server.port)]
            subprocess.run(["taskset", "-c", str(load_core), *warm], check=True, capture_output=True)
            observers[name] = Observers(server, generator, load_core, options.rounds + 1)
        for _ in range(options.rounds + 1):
            for one in observers.values():
                one.round()
    finally:
        for one in observers.values():
            one.stop()
        for server in servers:
            server.program.stop()
    return _print(observers)


def _print(observers: dict[str, Observers]) -> dict[str, Any]:
    print(f"  {'':<12}{'register':>12}{'notify':>12}{'all, ms':>10}{'slowest':>10}{'all told':>10}{'RSS, bytes':>12}")
    table: dict[str, Any] = {}
    for name, one in observers.items():
        rounds = one.rounds[1:]  # after one to warm
        row = table[name] = {
            "registered": one.registered,
            "register_cpu_us": one.register_us,
            "notify_cpu_us": median(line["cpu_us"] for line in rounds),
            "all_ms": median(line["all_ms"] for line in rounds),
            "slowest_ms": max(line["all_ms"] for line in rounds),
            "complete_rounds": sum(line["notified"] == OBSERVERS for line in rounds),
            "rounds": len(rounds),
            "resident_bytes": one.resident_bytes,
        }
        print(
            f"  {name:<12}{row['register_cpu_us']:>9.1f} µs{row['notify_cpu_us']:>9.1f} µs{row['all_ms']:>10.1f}"
            f"{row['slowest_ms']:>10.1f}{row['complete_rounds']:>7}/{row['rounds']}{row['resident_bytes']:>12.0f}",
            flush=True,
        )
    if "aiocoap" in table and "securecoap" in table:
        theirs, ours = table["aiocoap"], table["securecoap"]
        print(
            f"  aiocoap / securecoap: registering {theirs['register_cpu_us'] / ours['register_cpu_us']:.1f} x, "
            f"CPU time of a change {theirs['notify_cpu_us'] / ours['notify_cpu_us']:.1f} x, "
            f"until all are told {theirs['all_ms'] / ours['all_ms']:.1f} x"
        )
    return table


class _State(ObservableResource):
    """What is observed."""

    def render_get(self, _request: Message) -> Message:
        """Five bytes."""
        return Message(payload=b"00000")


def measure_memory_in_process() -> dict[str, float]:
    """Bytes that our server holds for an idle peer, and for an observer beside that (tracemalloc).

    Idle is a peer whose request is so long ago that it is not remembered any more for duplicates.
    """
    return asyncio.run(_measure_memory())


async def _measure_memory() -> dict[str, float]:
    site = Site()
    site.add("/obs", _State())
    async with Context.server(site, bind=["coap://127.0.0.1:0"]) as context:
        manager = context._stacks[0].manager  # noqa: SLF001  # a measurement looks inside
        interface: Any = manager.interface
        interface._socket.send = lambda *_: None  # noqa: SLF001  # nobody is there
        mids = iter(range(65536))

        def exchange(port: int, options: bytes) -> None:
            header = b"\x44\x01" + next(mids).to_bytes(2, "big") + port.to_bytes(4, "big")
            interface._received(header + options, (f"127.0.0.{port % 5}", port), None)  # noqa: SLF001  # as if it had come

        def held(ports: range, options: bytes) -> float:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for port in ports:
                exchange(port, options)
            peers = manager.peers
            for generation in (1, 2):
                for peer in list(peers.values()):
                    peers.rotate(peer, asyncio.get_running_loop().time() + generation * _LIFETIME)
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / len(ports)

        tracemalloc.start()
        try:
            held(range(1024, 1124), b"\x60\x53obs")  # what there is once only
            idle = held(range(2000, 22_000), b"\xb3obs")
            observing = held(range(30_000, 50_000), b"\x60\x53obs")
            figures = {"idle_peer": idle, "observer": observing - idle}
        finally:
            tracemalloc.stop()
    print(f"  securecoap, in process: {figures['idle_peer']:.0f} bytes for an idle peer, ", end="")
    print(f"{figures['observer']:.0f} more for an observer")
    return figures
