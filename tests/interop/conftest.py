"""Real peers of other projects: started on loopback ports that were free, ended by their process id.

A test skips, with the reason, where its peer is not installed (tools/test installs them all). In CI (``CI=true``) every
peer has to be there: a skipped interop test fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from support.peers import AIOCOAP, NODE  # noqa: E402
from support.processes import Program, free_ports  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEERS = Path(__file__).with_name("peers")
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

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

if not all((ROOT / "securecoap" / part).exists() for part in ("context.py", "cli/serve.py")):
    # nothing to talk with yet
    collect_ignore = ["test_aiocoap.py", "test_libcoap.py", "test_node_coap.py", "test_dtls_tools.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: an interop test was skipped in CI: {reason}"
    return report


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

    def serve(self, *schemes: str, credentials: object = None) -> tuple[Program, dict[str, int]]:
        """Start the demo server on 127.0.0.1; return it with the port of each scheme."""
        binds = [part for scheme in schemes for part in ("--bind", f"{scheme}://127.0.0.1:0")]
        options = self._options("server", credentials)
        server = Program(self.command("serve", "--demo", *binds, *options))
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


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    """Our client and server commands."""
    made = Ours(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start a program; ended with the test."""
    running: list[Program] = []

    def starter(*command: str | Path, environment: dict[str, str] | None = None) -> Program:
        running.append(Program([str(part) for part in command], environment=environment))
        return running[-1]

    yield starter
    for started in running:
        started.stop()


@pytest.fixture
def libcoap_server(start: Callable[..., Program]) -> Callable[..., tuple[Program, int]]:
    """Start Debian's coap-server of one build (notls, openssl, gnutls); it listens on the port, and on port + 1 for DTLS."""

    def starter(build: str, *arguments: str) -> tuple[Program, int]:
        port = free_ports(2)
        server = start(program(f"coap-server-{build}"), "-A", "127.0.0.1", "-p", str(port), "-d", "10", *arguments)
        server.wait_until_bound(port)
        return server, port

    return starter


@pytest.fixture
def aiocoap_server(start: Callable[..., Program], tmp_path: Path) -> Callable[..., tuple[Program, int]]:
    """Start our aiocoap server; with ``dtls`` it listens on port + 1 too."""

    def starter(credentials: object = None, *, dtls: bool = False) -> tuple[Program, int]:
        port = free_ports(2)
        files = [write_json(tmp_path / "aiocoap-server.json", credentials)] if credentials is not None else []
        environment = {"AIOCOAP_DTLSSERVER_ENABLED": "1"} if dtls else {}
        script = PEERS / "aiocoap_server.py"
        server = start(aiocoap_program("python"), script, str(port), *files, environment=environment)
        server.wait_for("^ready")
        return server, port

    return starter


@pytest.fixture
def node_server(start: Callable[..., Program]) -> Callable[[], tuple[Program, int]]:
    """Start our node-coap server."""

    def starter() -> tuple[Program, int]:
        port = free_ports()
        command, environment = node_script("node_server.js")
        server = start(*command, str(port), environment=environment)
        server.wait_for("^ready")
        return server, port

    return starter


def aiocoap_context(directory: Path, entry: dict[str, dict[str, str]]) -> Path:
    """A context directory in aiocoap's own form, never used before on this side."""
    directory.mkdir()
    write_json(directory / "settings.json", {f"{name}_hex": value["hex"] for name, value in entry.items()})
    write_json(directory / "sequence.json", {"next-to-send": 0, "received": "unknown"})
    return directory
