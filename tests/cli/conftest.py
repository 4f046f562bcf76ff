"""Commands run in this process (`run`), against a server in another one, or against a stand-in for `Context`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.processes import Program

from securecoap.cli.program import run as run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLES = Path(__file__).parents[2] / "credentials"


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    out: bytes
    err: str


@pytest.fixture(autouse=True)
def _unchanged_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("securecoap")
    before = root.handlers, root.level, ours.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers, level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: a device that forgets its sequence numbers is taken for a replay."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _own_state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state))


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Outcome]:
    """Run a command line in this process."""

    def runner(*arguments: object) -> Outcome:
        capfdbinary.readouterr()
        status = run_program([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return Outcome(status, out, err.decode())

    return runner


class Site(NamedTuple):
    """A demo server in a process of its own."""

    program: Program
    coap: str
    coaps: str | None


def start_demo(directory: Path, *arguments: str) -> Site:
    """Start ``serve --demo`` on loopback, at ports that are free."""
    secure = "--credentials" in arguments
    command = [sys.executable, "-m", "securecoap", "serve", "--demo", "--bind", "coap://[::1]:0"]
    if secure:
        command += ["--bind", "coaps://[::1]:0"]
    program = Program([*command, "--state", str(directory / "state"), *arguments], directory=directory)
    try:
        coap = program.wait_for(r"listening (coap://[^\s\"]+)")[1]
        coaps = program.wait_for(r"listening (coaps://[^\s\"]+)")[1] if secure else None
    except BaseException:
        program.stop()
        raise
    return Site(program, coap, coaps)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo server, open."""
    site = start_demo(tmp_path_factory.mktemp("demo"))
    yield site
    site.program.stop()


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo server with the sample credentials."""
    site = start_demo(tmp_path_factory.mktemp("secure"), "--credentials", str(SAMPLES / "server.json"))
    yield site
    site.program.stop()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a credentials file."""

    def writer(content: object, name: str = "credentials.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return writer
