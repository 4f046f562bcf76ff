"""What the interop tests share: where the peers are, how they are run, and our command line as a user has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.peers import AIOCOAP, NODE
from support.processes import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).with_name("peers")

PSK = "sixteen byte key"  # as long as a key may be for tinydtls
IDENTITY = "sensor-17"
OSCORE = {
    "secret": {"hex": "0102030405060708090a0b0c0d0e0f10"},
    "salt": {"hex": "9e7ca92223786340"},
    "sender-id": {"hex": "01"},
    "recipient-id": {"hex": "12"},
}
OSCORE_CLIENT = {**OSCORE, "sender-id": OSCORE["recipient-id"], "recipient-id": OSCORE["sender-id"]}
DTLS = {"client-identity": {"ascii": IDENTITY}, "psk": {"ascii": PSK}}
SERVER_CREDENTIALS = {":sensor-17": {"dtls": DTLS}, ":sensor-18": {"oscore": OSCORE}}
LARGE = bytes(i % 251 for i in range(65536))


def program(name: str) -> str:
    """The path of a peer's program; skips the test where there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (tools/test installs it)")
    return path


def aiocoap_program(name: str) -> str:
    path = AIOCOAP / "bin" / name
    if not path.exists():
        pytest.skip("aiocoap is not installed in .peers/aiocoap (tools/test installs it)")
    return str(path)


def aiocoap_module(name: str) -> Any:
    """One of aiocoap's modules, from its own environment where that has this Python; skips the test where it has not."""
    packages = AIOCOAP / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if str(packages) not in sys.path:
        sys.path.append(str(packages))  # behind our own, which stay what they are
    return pytest.importorskip(name, reason="aiocoap is not installed in .peers/aiocoap for this Python")


def node_script(name: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of one of our node-coap scripts."""
    if not (NODE / "node_modules" / "coap").exists():
        pytest.skip("node-coap is not installed in .peers/node (tools/test installs it where npm is)")
    return [program("node"), str(PEERS / name)], {"NODE_PATH": str(NODE / "node_modules")}


def run(*command: str | Path, environment: dict[str, str] | None = None, seconds: float = 60) -> str:
    """Run a peer's client to its end; return all that it printed (its exit status often says nothing)."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        timeout=seconds,
    )
    return done.stdout.decode("latin1")


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


class Ours:
    """Our command line, as a user has it: one state directory, credentials in files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[Program] = []

    @staticmethod
    def command(*arguments: str | Path) -> list[str]:
        return [str(Path(sys.executable).with_name("securecoap")), *(str(part) for part in arguments)]

    def run(self, *arguments: str | Path, credentials: object = None) -> subprocess.CompletedProcess[bytes]:
        """Run a client command to its end."""
        return subprocess.run(
            self.command(*arguments, *self._options("client", credentials)),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )

    def start(self, *arguments: str | Path, credentials: object = None) -> Program:
        """Start a client command that goes on."""
        started = Program(self.command(*arguments, *self._options("client", credentials)))
        self._running.append(started)
        return started

    def serve(
        self, *schemes: str, credentials: object = None, site: Sequence[str] = ("--demo",)
    ) -> tuple[Program, dict[str, int]]:
        """Start a server on 127.0.0.1, of the demo site unless another is said; return it with the port of each scheme."""
        binds = [part for scheme in schemes for part in ("--bind", f"{scheme}://127.0.0.1:0")]
        options = self._options("server", credentials)
        server = Program(self.command("serve", *site, *binds, *options))
        self._running.append(server)
        ports = {scheme: int(server.wait_for(rf"^listening {scheme}://[^\s/]*:(\d+)")[1]) for scheme in schemes}
        return server, ports

    def stop(self) -> None:
        for started in self._running:
            started.stop()

    def _options(self, side: str, credentials: object) -> list[str]:
        options = ["--state", str(self.directory / f"{side}-state")]
        if credentials is not None:
            path = credentials if isinstance(credentials, Path) else self.directory / f"{side}.json"
            if not isinstance(credentials, Path):
                write_json(path, credentials)
            options += ["--credentials", str(path)]
        return options


def aiocoap_context(directory: Path, entry: dict[str, dict[str, str]]) -> Path:
    """A context directory in aiocoap's own form, never used before on this side."""
    directory.mkdir()
    write_json(directory / "settings.json", {f"{name}_hex": value["hex"] for name, value in entry.items()})
    write_json(directory / "sequence.json", {"next-to-send": 0, "received": "unknown"})
    return directory
