"""tools/crash_oscore: an OSCORE server and three clients under load, killed with SIGKILL at random points.

    tools/crash_oscore                          1,000 kills, a new seed
    tools/crash_oscore --kills 20 --seed 7      fewer; the seed decides who is killed when, not how fast machines are

All their datagrams pass a relay that loses, doubles, delays and replays. Meanwhile fsync fails for a while, and the
disk is full for a while (where there is a C compiler: a preloaded library does it). From the capture and from the
server's own record of executions it then follows that no key was used with one nonce twice, and that no request (one
sealed message) was executed twice. An application's POST can run twice for all that: what it sends again is another
request.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from support.environment import ROOT, in_environment, make_environment, say
from support.processes import Program, free_ports

SECRETS = {
    "one": ("0102030405060708090a0b0c0d0e0f10", "11"),
    "two": ("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf", "22"),
    "three": ("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "33"),
}
SALT = "9e7ca92223786340"
SERVER_ID = "01"
FAULTS = ("fsync", "full")
GIVEN_UP = 200
"""Starts in a row that may fail (the disk) before it is no use any more."""


def main() -> int:
    """Kill, and say what follows from the capture."""
    parser = argparse.ArgumentParser(
        prog="tools/crash_oscore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", type=Path, help="a directory for state and records, kept for a look at them")
    options = parser.parse_args()
    if not in_environment("securecoap", "cbor2"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "crash.driver", *sys.argv[1:]])
    say(f"seed {options.seed}, {options.kills} kills")
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        return Run(options.keep, options.seed).run(options.kills)
    with tempfile.TemporaryDirectory(prefix="securecoap-crash-") as scratch:
        return Run(Path(scratch), options.seed).run(options.kills)


class Run:
    """One run over a directory that is empty.

    Args:
        directory: for everything that the processes write.
        seed: of every choice.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        from crash.proof import Keys, Proof
        from crash.relay import Relay, private_host

        self.directory = directory.resolve()
        self.seed = seed
        self.chance = random.Random(seed)  # a test's choices
        self.counts: Counter[str] = Counter()
        contexts = {
            bytes.fromhex(kid): Keys(
                bytes.fromhex(secret), bytes.fromhex(SALT), bytes.fromhex(kid), bytes.fromhex(SERVER_ID)
            )
            for secret, kid in SECRETS.values()
        }
        self.proof = Proof(contexts)
        port = free_ports()
        self.host = private_host()
        self.relay = Relay(self.proof, self.host, port, random.Random(seed + 1))  # as above
        self.setup = self._write_setup(port)
        self.environment = self._environment()
        self.processes: dict[str, Program] = {}
        self.fruitless = 0
        self.last_words = ""

    def run(self, kills: int) -> int:
        """All of it; 0 if nothing was used twice and everything went on."""
        started = time.monotonic()
        try:
            for name in ("server", *SECRETS):
                self._start(name)
            while self.counts["kills"] < kills and self.fruitless < GIVEN_UP:
                self._hit()
                if self.proof.faults or not self.counts["kills"] % 100:
                    say(self._summary(started))
                if self.proof.faults:
                    break
            for fault in FAULTS:
                self._switch(fault).unlink(missing_ok=True)
            self._wait(datagrams=2_000, seconds=5.0)
        finally:
            for process in self.processes.values():
                process.stop()
            self._drain()
            self.relay.close()
        executions = self.directory / "executions"
        self.proof.executions(executions.read_text().splitlines() if executions.exists() else ())
        answers = self.directory / "answers"
        self.counts["answered"] = answers.stat().st_size if answers.exists() else 0
        if not self.counts["answered"]:
            self.proof.faults.append(f"no request was answered at all. {self.last_words}")
        for fault in self.proof.faults[:20]:
            say(f"FAULT: {fault}")
        verdict = f"{len(self.proof.faults)} FAULTS" if self.proof.faults else "no nonce and no request twice"
        say(f"{self._summary(started)}: {verdict}")
        return 1 if self.proof.faults else 0

    # What is done to them.

    def _hit(self) -> None:
        """Wait for a random point, and end one of them there, nearly always the hard way."""
        if self.chance.random() < 0.3:  # perhaps while it starts
            self._wait(datagrams=1 << 30, seconds=self.chance.random() * 0.5)
        else:
            self._wait(datagrams=self.chance.choice((3, 30, 130, 400, self.chance.randrange(2_000))), seconds=10.0)
        name = self.chance.choice(("server", "server", *SECRETS))
        process = self.processes.pop(name)  # from here on nobody else brings it back
        try:
            if self.chance.random() < 0.15:
                process.signal(signal.SIGTERM)
                self.counts["orderly"] += 1
                deadline = time.monotonic() + 20
                while process.ended is None and time.monotonic() < deadline:
                    self._step()
            else:
                process.signal(signal.SIGKILL)
                self.counts["kills"] += 1
        finally:
            process.stop()
        self._start(name)

    def _wait(self, *, datagrams: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        end = self.relay.passed + datagrams
        while self.relay.passed < end and time.monotonic() < until:
            self._step()

    def _step(self) -> None:
        """Pass datagrams on; break and mend the disk; replay; bring back who has gone by itself."""
        self.relay.step(0.01)
        draw = self.chance.random()
        if draw > 0.9:
            self.relay.replay()
        elif self.environment and draw < 0.003:
            fault = self.chance.choice(FAULTS)
            if not self._switch(fault).exists():
                self._switch(fault).touch()
                self.counts[fault] += 1
        elif draw < 0.05:
            self._switch(self.chance.choice(FAULTS)).unlink(missing_ok=True)
        for name, process in self.processes.items():
            if process.ended is not None:  # the disk failed while it opened its state
                self.counts["gave up"] += 1
                self.fruitless = 0 if "running" in process.output else self.fruitless + 1
                self.last_words = process.output[-2_000:]
                process.stop()
                self._start(name)
                break

    def _drain(self) -> None:
        before = -1
        while before != self.relay.passed:
            before = self.relay.passed
            self.relay.step(0.2)

    # What they are given.

    def _start(self, name: str) -> None:
        role = "server" if name == "server" else "client"
        command = [sys.executable, "-m", "crash.peers", role, str(self.setup), name]
        environment = {**self.environment, "PYTHONPATH": f"{ROOT / 'tools'}{os.pathsep}{ROOT}"}
        self.processes[name] = Program(command, environment=environment, directory=self.directory)

    def _write_setup(self, port: int) -> Path:
        """What each context is kept in, at both ends.

        ``one`` in SQLite, ``two`` in directories of aiocoap's form, ``three`` in nothing: it is derived anew each time.
        """
        server: dict[str, Any] = {}
        clients: dict[str, Any] = {}
        for name, (secret, kid) in SECRETS.items():
            for owner, own, peer in (("server", SERVER_ID, kid), ("client", kid, SERVER_ID)):
                entry: dict[str, Any] = {
                    "secret": {"hex": secret}, "salt": {"hex": SALT}, "sender-id": {"hex": own},
                    "recipient-id": {"hex": peer},
                }  # fmt: skip
                if name == "three":
                    entry["rederive"] = True
                elif name == "two":
                    basedir = self.directory / "state" / f"{owner}-context"
                    basedir.mkdir(parents=True)
                    (basedir / "settings.json").write_text(
                        json.dumps({f"{member}_hex": value["hex"] for member, value in entry.items()})
                    )
                    entry = {"basedir": str(basedir)}
                if owner == "server":
                    server[f":{name}"] = {"oscore": entry}
                else:
                    clients[name] = {
                        "credentials": {f"coap://{self.host}:{self.relay.port}/*": {"oscore": entry}},
                        "state": str(self.directory / "state" / name),
                    }
        setup = self.directory / "setup.json"
        content = {
            "host": self.host,
            "port": port,
            "relay": self.relay.port,
            "executions": str(self.directory / "executions"),
            "answers": str(self.directory / "answers"),
            "server": {"credentials": server, "state": str(self.directory / "state" / "server")},
            "clients": clients,
        }
        setup.write_text(json.dumps(content))
        return setup

    def _environment(self) -> dict[str, str]:
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            say("no faults of the disk: they need Linux and a C compiler")
            return {}
        library = self.directory / "faulty_sync.so"
        source = ROOT / "tests" / "state" / "faulty_sync.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        return {
            "LD_PRELOAD": str(library),
            "FAULTY_SYNC": str(self._switch("fsync")),
            "FAULTY_FULL": str(self._switch("full")),
            "FAULTY_UNDER": str(self.directory / "state"),
        }

    def _switch(self, fault: str) -> Path:
        return self.directory / f"broken-{fault}"

    def _summary(self, started: float) -> str:
        counts = self.counts
        return (
            f"seed {self.seed}: {counts['kills']} kills and {counts['orderly']} orderly ends in "
            f"{time.monotonic() - started:.0f} s, {counts['fsync']} times fsync failed and {counts['full']} times the "
            f"disk was full ({counts['gave up']} starts given up), {self.relay.replayed} replays, "
            f"{self.proof.datagrams} datagrams, {self.proof.sealed} sealed messages, {self.proof.executed} executions, "
            f"{counts['answered']} answered"
        )


if __name__ == "__main__":
    sys.exit(main())
