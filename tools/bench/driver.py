"""tools/bench/run: our server, aiocoap's and libcoap's under the same load, interleaved in one run.

One core for the server, another for the generator. Each round runs every server once, so that a noisy machine is
noisy for all; the figure is the median of the rounds. CPU time per request (user + system, from /proc) is the steady
one; requests per second are not, on a shared machine. Compare within one run only.

Port rotation: the generator moves to a new source port before a message ID repeats, as RFC 7252 section 4.4 demands,
and has --window requests outstanding to one server, which NSTART would not allow between two real endpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from support.environment import ROOT, fail, in_environment, install_system_packages, make_environment, say
from support.peers import install_peers

BUILD = ROOT / ".peers" / "bench"
GENERATORS = {"loadgen": [], "echo": [], "obsgen": [], "dtlsgen": ["-lssl", "-lcrypto"]}
ECDHE = "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"
# How many OSCORE requests are prepared for each second of load: more than a server can take.
PREPARED_PER_SECOND = {"securecoap": 90_000, "aiocoap": 6_000}
TRIES = 4  # at a load that needs sessions: a server may lose a handshake while this machine has something else to do


class NoSessionError(Exception):
    """The generator could not make all of its sessions, and has loaded nothing."""


@dataclass(slots=True)
class Figures:
    """What the rounds of one server in one mode gave."""

    rps: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)
    bad: int = 0
    opened: int = 0
    tried_again: int = 0


def main() -> int:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(
        prog="tools/bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        nargs="*",
        help="plain, dtls, oscore, handshakes, certificates, memory, sessions, observe, blocks, clients, contexts, "
        "inprocess "
        "(default: plain, dtls, oscore, handshakes, memory)",
    )
    parser.add_argument(
        "--servers", default="securecoap,aiocoap,libcoap", help="default: %(default)s; 'echo' is the limit"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load, for each server and round")
    parser.add_argument("--window", type=int, default=32, help="requests outstanding; with DTLS as many sessions")
    parser.add_argument("--profile", action="store_true", help="inprocess: say where the time goes")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if not in_environment("securecoap", "cbor2"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "bench.driver", *sys.argv[1:]])
    if len(os.sched_getaffinity(0)) < 2:
        fail("two cores are needed: one for the server, one for the generator")
    install_peers()
    _compile()
    what = options.what or ["plain", "dtls", "oscore", "handshakes", "memory"]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="securecoap-bench-") as scratch:
        for index, mode in enumerate(what):
            directory = Path(scratch) / str(index)
            directory.mkdir()
            say(f"{mode}: {', '.join(options.servers.split(','))}")
            if mode == "contexts":
                results[mode] = measure_contexts()
            elif mode == "inprocess":
                from bench.inprocess import measure

                results[mode] = measure(profile=options.profile)
            elif mode == "sessions":
                from bench.sessions import measure_sessions

                results[mode] = measure_sessions(options, directory)
            elif mode == "memory":
                from bench.observers import measure_memory_in_process

                results[mode] = {**measure_memory(options, directory), "in_process": measure_memory_in_process()}
            elif mode == "observe":
                from bench.observers import measure_observers

                results[mode] = measure_observers(options, directory, BUILD / "obsgen")
            elif mode in {"blocks", "clients"}:
                from bench.blocks import measure_blocks
                from bench.clients import measure_clients

                first, second = sorted(os.sched_getaffinity(0))[:2]
                measure_them = measure_blocks if mode == "blocks" else measure_clients
                results[mode] = measure_them(options.rounds, directory, (first, second))
            else:
                results[mode] = measure_load(mode, options, directory)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def measure_load(mode: str, options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Requests (or handshakes) for every server, interleaved."""
    from bench.servers import start_server

    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    security = "dtls" if mode == "handshakes" else mode
    servers = []
    figures: dict[str, Figures] = {}
    try:
        for name in options.servers.split(","):
            if server := start_server(name, security, directory, server_core):
                servers.append(server)
                figures[name] = Figures()
        loads = {server.name: Load(server, mode, options, directory, load_core) for server in servers}
        for round_number in range(options.rounds + 1):
            for server in servers:
                row = figures[server.name]
                spent, result = _run_once(server, loads[server.name], row)
                if round_number == 0:
                    continue  # warm
                row.rps.append(result.get("rps", result.get("hs_per_s", 0.0)))
                row.cpu_us.append(spent / max(1, result["done"]) * 1e6)
                row.p50_us.append(result["p50_us"])
                row.p99_us.append(result["p99_us"])
                row.bad += sum(int(result.get(key, 0)) for key in ("bad", "wrong", "lost", "fail"))
                row.opened += result.get("opened", 0)
    finally:
        for server in servers:
            server.program.stop()
    return _print_load(mode, figures)


def _run_once(server: Any, load: Load, row: Figures) -> tuple[float, dict[str, Any]]:
    """One round: CPU seconds of the server, and what the generator says; again where it had no sessions."""
    tries = 1
    while True:
        before = server.program.cpu_seconds()
        try:
            result = load.run()
        except NoSessionError as error:
            if tries == TRIES:
                fail(f"{error}, {TRIES} times one after the other\n{server.program.output}", 1)
            tries += 1
            row.tried_again += 1
            say(f"{error}: the round is tried again")
        else:
            return server.program.cpu_seconds() - before, result


class Load:
    """The generator against one server; each run prepares what has to be new."""

    def __init__(self, server: Any, mode: str, options: argparse.Namespace, directory: Path, core: int) -> None:
        self.server, self.mode, self.options, self.core = server, mode, options, core
        self.file = directory / f"{server.name}.requests"
        self.kept = directory / f"{server.name}.answers"
        self.context: Any = None

    def run(self) -> dict[str, Any]:
        """Run the generator once; its figures, and for OSCORE how many answers were opened."""
        host, port = "127.0.0.1", str(self.server.port)
        seconds, window = str(self.options.seconds), str(self.options.window)
        if self.mode == "oscore":
            return self._oscore(host, port)
        if self.mode in {"dtls", "handshakes", "certificates"}:
            return self._generate(
                "dtlsgen", host, port, "load" if self.mode == "dtls" else "hs", seconds, window, "hello"
            )
        raw = ["-r"] if self.server.name == "echo" else ["-x", b"hello".hex()]
        return self._generate("loadgen", "-w", window, "-d", seconds, *raw, host, port)

    def _oscore(self, host: str, port: str) -> dict[str, Any]:
        from bench.oscore import OscoreClient
        from bench.servers import CREDENTIALS

        if self.context is None:
            entry = json.loads(CREDENTIALS.read_text())[":bench-oscore"]["oscore"]
            entry["sender-id"], entry["recipient-id"] = entry["recipient-id"], entry["sender-id"]
            self.context = OscoreClient.from_entry(entry)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.connect((host, int(port)))
                for _ in range(3):  # the first is challenged with Echo, and repeated with its value
                    _expect_hello(self.context.exchange(sock, "hello"))
        count = int(PREPARED_PER_SECOND[self.server.name] * self.options.seconds)
        first = self.context.write_requests(self.file, count, "hello")
        load = [
            "-w",
            str(self.options.window),
            "-d",
            str(self.options.seconds),
            "-f",
            str(self.file),
            "-o",
            str(self.kept),
        ]
        result = self._generate("loadgen", *load, host, port)
        if result["sent"] >= count:
            say(f"{self.server.name}: all {count} prepared requests were used before the time was over")
        opened = 0
        for answer in self.context.open_samples(self.kept, first):
            _expect_hello(answer)
            opened += 1
        if not opened:
            fail(f"{self.server.name}: not one answer to open", 1)
        return {**result, "opened": opened}

    def _generate(self, program: str, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            ["taskset", "-c", str(self.core), str(BUILD / program), *arguments],
            check=False, capture_output=True, text=True, timeout=60 + 3 * self.options.seconds,
            env={**os.environ, **({"CIPHER": ECDHE} if self.mode == "certificates" else {})},
        )  # fmt: skip
        if missing := re.search(r"^conn \d+ failed$", done.stderr, re.MULTILINE):
            raise NoSessionError(f"{program} against {self.server.name}: {missing[0]}")
        if done.returncode != 0 or not done.stdout:
            fail(
                f"{program} against {self.server.name}: {done.stderr or done.returncode}\n{self.server.program.output}",
                1,
            )
        result: dict[str, Any] = json.loads(done.stdout)
        return result


def measure_contexts() -> dict[str, float]:
    """What 100,000 OSCORE contexts from a file cost, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.contexts"], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    for name, value in figures.items():
        print(f"  {name:<20}{value:12.2f}")
    return figures


def measure_memory(options: argparse.Namespace, directory: Path) -> dict[str, float]:
    """What a server still holds for each plain request when a load is over, within EXCHANGE_LIFETIME.

    Growth of resident memory from after 5,000 warming requests until the end, divided by the requests; the source port
    changes every 1,000 requests, so that many peers are remembered, and the deduplication table is filled.
    """
    from bench.servers import start_server

    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    retained = {}
    for name in options.servers.split(","):
        server = start_server(name, "plain", directory, server_core)
        if server is None:
            continue
        try:
            count = 20_000 if name == "aiocoap" else 100_000
            sizes = []
            for number in (5_000, count):
                command = [
                    "taskset",
                    "-c",
                    str(load_core),
                    str(BUILD / "loadgen"),
                    "-w",
                    "32",
                    "-d",
                    "120",
                    "-S",
                    "1000",
                ]
                command += ["-n", str(number), "127.0.0.1", str(server.port)]
                subprocess.run(command, check=True, capture_output=True)
                sizes.append(server.program.resident_bytes())
            retained[name] = (sizes[1] - sizes[0]) / count
            print(f"  {name:<12}{retained[name]:8.0f} bytes retained per request ({count} requests, 1,000 per port)")
        finally:
            server.program.stop()
    return retained


def _print_load(mode: str, figures: dict[str, Figures]) -> dict[str, Any]:
    base = median(figures["aiocoap"].cpu_us) if "aiocoap" in figures else None
    unit = "handshakes/s" if mode in {"handshakes", "certificates"} else "requests/s"
    head = f"  {'':<12}{unit:>13}{'CPU µs each':>13}{'aiocoap / it':>14}{'p50 µs':>10}{'p99 µs':>10}"
    print(f"{head}{'bad, lost':>11}{'opened':>8}")
    table = {}
    for name, row in figures.items():
        cpu = median(row.cpu_us)
        ratio = f"{base / cpu:.1f} x" if base and cpu else ""
        line = f"  {name:<12}{median(row.rps):>13.0f}{cpu:>13.1f}{ratio:>14}{median(row.p50_us):>10.0f}"
        print(f"{line}{median(row.p99_us):>10.0f}{row.bad:>11}{row.opened or '':>8}", flush=True)
        table[name] = {
            "per_second": median(row.rps),
            "cpu_us": cpu,
            "cpu_us_rounds": row.cpu_us,
            "aiocoap_ratio": base / cpu if base and cpu else None,
            "p50_us": median(row.p50_us),
            "p99_us": median(row.p99_us),
            "bad_or_lost": row.bad,
            "answers_opened": row.opened,
            "rounds_tried_again": row.tried_again,
        }
        if row.tried_again:
            print(
                f"  {'':<12}  ({row.tried_again} rounds were tried again: not all sessions could be made)", flush=True
            )
    return table


def _expect_hello(answer: Any) -> None:
    if answer.code != 0x45 or answer.payload != b"hello":
        fail(
            f"a protected answer is {answer.code >> 5}.{answer.code & 31:02} {answer.payload[:40]!r}, not 2.05 hello", 1
        )


def _compile() -> None:
    compiler = (
        shutil.which("cc") or shutil.which("gcc") or fail("no C compiler (Debian: apt-get install gcc libc6-dev)")
    )
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, libraries in GENERATORS.items():
        source = Path(__file__).with_name(f"{name}.c")
        target = BUILD / name
        if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
            continue
        command = [compiler, "-O2", "-o", str(target), str(source), *libraries]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode != 0 and "openssl/" in made.stderr and install_system_packages(["libssl-dev"]):
            made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode != 0:
            fail(f"{name}.c does not compile:\n{made.stderr}", 1)


if __name__ == "__main__":
    sys.exit(main())
