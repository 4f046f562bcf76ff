"""1 MiB by blocks of 1024 bytes, GET and PUT: what client and server of a library spend, and what servers alone do.

``tools/bench/run blocks``. Every round runs everything once, interleaved; figures are medians of the rounds, after one
to warm up. First real clients: one message at a time (NSTART), so that client and server take turns, on one core.
Then the generator: the blocks of one body after the other, 32 of them outstanding, as in the other measurements.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from support.environment import ROOT
from support.peers import AIOCOAP
from support.processes import Program

from bench.servers import Server, start_server
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measure_blocks"]

GENERATOR: Final = ROOT / ".peers" / "bench" / "loadgen"
BLOCKS: Final = 1024
METHODS: Final = ("put", "get")
# Client and server; how often in each round.
PAIRS: Final = {("securecoap", "securecoap"): 4, ("securecoap", "libcoap"): 4, ("aiocoap", "aiocoap"): 1}
LOADED: Final = ("securecoap", "libcoap")
BODIES: Final = 16
"""Of a round of the generator; four for each source port."""


@dataclass(slots=True)
class Pair:
    """One client and one server."""

    client: subprocess.Popen[str]
    server: Program
    times: int

    def run(self, method: str) -> tuple[float, ...]:
        """CPU time of client and server for a block in µs, and seconds for a body."""
        before = _spent(self.server)
        stdin, stdout = self.client.stdin, self.client.stdout
        if stdin is None or stdout is None:
            raise SystemExit("the client has no pipes")
        stdin.write(f"{method} {self.times}\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"the client ended; the server said:\n{self.server.output}")
        result = json.loads(line)
        count = self.times * BLOCKS / 1e6
        return result["cpu"] / count, (_spent(self.server) - before) / count, result["seconds"] / self.times


@dataclass(slots=True)
class Load:
    """The generator and one server."""

    command: list[str]
    files: dict[str, Path]
    server: Server

    def run(self, method: str) -> tuple[float, ...]:
        """CPU time of the server for a block in µs, and how many answers were bad or missing."""
        before = _spent(self.server.program)
        command = [*self.command, "-f", str(self.files[method]), "127.0.0.1", str(self.server.port)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
        spent = _spent(self.server.program) - before
        return spent / max(1, done["done"]) * 1e6, done["bad"] + done["lost"]


def measure_blocks(rounds: int, directory: Path, cores: tuple[int, int]) -> dict[str, Any]:
    """Run it, and print the figures.

    Args:
        rounds: that count.
        directory: for what servers and generator read and write.
        cores: of servers and clients, and of the generator.
    """
    clients: dict[str, Pair] = {}
    servers: dict[str, Server] = {}
    figures: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    files = {method: _written(directory / f"{method}.requests", method) for method in METHODS}
    load = ["taskset", "-c", str(cores[1]), str(GENERATOR), "-w", "32", "-d", "120", "-S", str(4 * BLOCKS)]
    try:
        servers["securecoap"] = _ours(directory, cores[0])
        for name in ("libcoap", "aiocoap"):
            if server := start_server(name, "plain", directory, cores[0]):
                servers[name] = server
        for (client, name), times in PAIRS.items():
            python = str(AIOCOAP / "bin" / "python") if client == "aiocoap" else sys.executable
            script = Path(__file__).with_name("transfers.py")
            command = [
                "taskset",
                "-c",
                str(cores[0]),
                python,
                str(script),
                client,
                f"coap://127.0.0.1:{servers[name].port}/store",
            ]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            clients[f"{client}, {name}"] = Pair(process, servers[name].program, times)
        runs: dict[str, Pair | Load] = dict(clients)
        runs |= {f"load, {name}": Load(load, files, servers[name]) for name in LOADED}
        for number in range(rounds + 1):
            for method in METHODS:  # what is put is there to be got
                for name, run in runs.items():
                    row = run.run(method)
                    if number:
                        figures.setdefault((name, method), []).append(row)
    finally:
        for pair in clients.values():
            pair.client.kill()
            pair.client.wait()
        for server in servers.values():
            server.program.stop()
    return _printed({key: [median(column) for column in zip(*rows, strict=True)] for key, rows in figures.items()})


def _ours(directory: Path, core: int) -> Server:
    command = [sys.executable, str(Path(__file__).with_name("block_server.py"))]
    program = Program(command, cores={core}, directory=directory, environment={"XDG_STATE_HOME": str(directory)})
    port = int(program.wait_for(r"^listening \S+:(\d+)")[1])
    return Server("securecoap", "plain", program, port)


def _written(path: Path, method: str) -> Path:
    """What the generator sends: its tokens have four bytes, and it sets them and the message IDs."""
    with path.open("wb") as file:
        for _ in range(BODIES):
            for datagram in _requests(method):
                file.write(len(datagram).to_bytes(2, "little") + datagram)
    return path


def _requests(method: str) -> Iterator[bytes]:
    for number in range(BLOCKS):
        is_put = method == "put"
        code = Code.PUT if is_put else Code.GET
        block = Block(number, is_put and number < BLOCKS - 1, 6)
        message = Message(code, bytes((number * 1024 + i) % 251 for i in range(1024)) if is_put else b"")
        message.options.uri_path = ("store",)
        if is_put:
            message.options.block1 = block
        elif number:
            message.options.block2 = block
        yield encode_message(CON, code, 0, bytes(4), message.options.encode(), message.payload)


def _spent(program: Program) -> float:
    """Seconds on a processor, of the main thread: finer than the ticks of ``stat``."""
    return int(Path(f"/proc/{program.pid}/schedstat").read_text().split()[0]) / 1e9


def _printed(medians: dict[tuple[str, str], list[float]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    print(
        f"  {'client, server':<26}{'':<5}{'client µs':>10}{'server µs':>11}{'both':>8}{'aiocoap / it':>14}{'MiB/s':>8}"
    )
    for (name, method), row in medians.items():
        table[f"{name}, {method}"] = row
        if name.startswith("load"):
            print(f"  {name:<26}{method:<5}{'':>10}{row[0]:>11.1f}{row[1]:>30.0f} bad or lost")
        else:
            base = medians["aiocoap, aiocoap", method]
            client, server, seconds = row
            both = client + server
            ratio = (base[0] + base[1]) / both
            print(
                f"  {name:<26}{method:<5}{client:>10.1f}{server:>11.1f}{both:>8.1f}{ratio:>12.1f} x{1 / seconds:>8.1f}"
            )
    return table
