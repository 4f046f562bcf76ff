"""Real peers of other projects: started on loopback ports that were free, ended by their process id.

A test skips, with the reason, where its peer is not installed (tools/test installs them all). In CI (``CI=true``) every
peer has to be there: a skipped interop test fails.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import Program, free_ports

from tests.interop.harness import PEERS, Ours, aiocoap_program, node_script, program, write_json
from tests.interop.socket_peer import SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


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


@pytest.fixture
def peer() -> Iterator[Callable[..., SocketPeer]]:
    made: list[SocketPeer] = []

    def maker(**options: Any) -> SocketPeer:
        made.append(SocketPeer(**options))
        return made[-1]

    yield maker
    for one in made:
        one.close()
