"""Our client and aiocoap's against libcoap's server: what a small GET costs the client, alone and with 32 in flight.

``tools/bench/run clients``. Every round runs both once, interleaved; figures are medians of the rounds, after one to
warm up. aiocoap has NSTART 1 in any case: its 32 requests wait for each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from support.peers import AIOCOAP

from bench.servers import start_server

__all__ = ["measure_clients"]

COUNTS = {"securecoap": 10_000, "aiocoap": 1_000}
IN_FLIGHT = (1, 32)


def measure_clients(rounds: int, directory: Path, cores: tuple[int, int]) -> dict[str, Any]:
    """Run it, and print the figures.

    Args:
        rounds: that count.
        directory: for what the server writes.
        cores: of the server, and of the clients.
    """
    server = start_server("libcoap", "plain", directory, cores[0])
    if server is None:
        raise SystemExit("libcoap's server is missing")
    processes: dict[str, subprocess.Popen[str]] = {}
    figures: dict[tuple[str, int], list[float]] = {(name, many): [] for name in COUNTS for many in IN_FLIGHT}
    try:
        for name in COUNTS:
            python = str(AIOCOAP / "bin" / "python") if name == "aiocoap" else sys.executable
            script = str(Path(__file__).with_name("requesting.py"))
            command = ["taskset", "-c", str(cores[1]), python, script, name, f"coap://127.0.0.1:{server.port}/hello"]
            processes[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(rounds + 1):
            for many in IN_FLIGHT:
                for name, process in processes.items():
                    spent = _run(process, COUNTS[name], many)
                    if number:
                        figures[name, many].append(spent)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        server.program.stop()
    return _print(figures)


def _run(process: subprocess.Popen[str], count: int, in_flight: int) -> float:
    """CPU time of the client for a request, in µs."""
    if process.stdin is None or process.stdout is None:
        raise SystemExit("the client has no pipes")
    process.stdin.write(f"{count} {in_flight}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit("the client ended")
    return float(json.loads(line)["cpu"]) / count * 1e6


def _print(figures: dict[tuple[str, int], list[float]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    print(f"  {'client':<12}{'in flight':>10}{'µs':>8}{'aiocoap / it':>14}")
    for (name, many), spent in figures.items():
        cost = median(spent)
        ratio = median(figures["aiocoap", many]) / cost
        print(f"  {name:<12}{many:>10}{cost:>8.1f}{ratio:>12.1f} x")
        table[f"{name}, {many}"] = {"us": cost, "ratio": ratio}
    return table
