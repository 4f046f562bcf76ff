"""What a service manager hears of the server, what it hands over, and what it makes of the unit file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import Program

from securecoap.cli.systemd import Notifier, take_sockets
from tests.cli.conftest import SAMPLES

DEPLOY = Path(__file__).parents[2] / "deploy"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true",
    reason="systemd-analyze is not installed (tools/test installs it)",
)


class Manager:
    """The end of NOTIFY_SOCKET that a service manager has."""

    def __init__(self, path):
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(20)

    def hear(self):
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def hear_of(self, name):
        while name not in (message := self.hear()):
            pass
        return message

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_it_hears_of_a_whole_life(tmp_path, manager):
    command = [sys.executable, "-m", "securecoap", "serve", "--demo", "--bind", "coap://[::1]:0",
               "--credentials", str(SAMPLES / "server.json"), "--state", str(tmp_path / "state")]  # fmt: skip
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    with Program(command, directory=tmp_path, environment=environment) as server:
        assert manager.hear_of("READY")["STATUS"] == "serving"
        for _ in range(3):
            manager.hear_of("WATCHDOG")
        server.signal(signal.SIGHUP)
        assert int(manager.hear_of("RELOADING")["MONOTONIC_USEC"]) > 0
        manager.hear_of("READY")
        server.signal(signal.SIGTERM)
        manager.hear_of("STOPPING")
        assert server.wait_for_end() == 0


def test_without_a_manager_nothing_is_said():
    notifier = Notifier({})
    notifier.ready("serving")
    asyncio.run(notifier.feed_watchdog())  # ends at once


@pytest.mark.parametrize("environment", [{"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_not_meant(environment, manager):
    asyncio.run(Notifier({"NOTIFY_SOCKET": manager.path, **environment}).feed_watchdog())


def test_a_manager_that_is_gone_is_no_fault(tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "HOME": "/"}
    Notifier(environment).ready("serving")
    assert environment == {"HOME": "/"}


def test_abstract_addresses():
    name = f"securecoap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        Notifier({"NOTIFY_SOCKET": "@" + name}).stopping()
        assert sock.recv(100).startswith(b"STOPPING=1\n")


def activate(directory, sockets, names, *arguments):
    """Start a server as a service manager does: with sockets from descriptor 3 on, and the process's own id."""
    script = (
        "import os, sys\n"
        f"for place, fd in enumerate({[sock.fileno() for sock in sockets]}):\n"
        "    os.dup2(fd, 103 + place)\n"
        f"for place in range({len(sockets)}):\n"
        "    os.dup2(103 + place, 3 + place)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), "
        f"LISTEN_FDS='{len(sockets)}', LISTEN_FDNAMES='{names}')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'securecoap', 'serve', *sys.argv[1:]])\n"
    )
    for sock in sockets:
        os.set_inheritable(sock.fileno(), True)
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=directory, pass_fds=[sock.fileno() for sock in sockets], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_it_serves_on_sockets_that_were_bound_for_it(tmp_path, run):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secure,
    ):
        for sock in (plain, secure):
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in (plain, secure)]
        server = activate(
            tmp_path, [plain, secure], "x:coaps", "--demo",
            "--credentials", SAMPLES / "server.json", "--state", tmp_path / "state",
        )  # fmt: skip
    try:
        lines = [server.stderr.readline() for _ in range(3)]
        assert {line.strip() for line in lines if "listening" in line} == {
            f"listening coap://127.0.0.1:{ports[0]}",
            f"listening coaps://127.0.0.1:{ports[1]}",
        }
        device = json.loads((SAMPLES / "sensor-dtls.json").read_text())
        ours = tmp_path / "device.json"
        ours.write_text(
            json.dumps({"coaps://*": next(one for name, one in device.items() if name.startswith("coaps"))})
        )
        assert run("get", f"coaps://127.0.0.1:{ports[1]}/hello", "--credentials", ours).out == b"hello"
        assert run("get", f"coap://127.0.0.1:{ports[0]}/hello").out == b"hello"
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.communicate()


def test_what_is_bound_already_is_not_bound_again(tmp_path, run):
    """The configuration names the very addresses that the socket unit has, as the samples in deploy/ do."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as given:
        given.bind(("::1", 0))
        port = given.getsockname()[1]
        server = activate(tmp_path, [given], "coap", "--demo", "--bind", f"coap://[0::1]:{port}", "coap://127.0.0.1:0")
    try:
        assert server.stderr.readline().strip() == f"listening coap://[::1]:{port}"
        assert server.stderr.readline().startswith("listening coap://127.0.0.1:")
        assert run("get", f"coap://[::1]:{port}/hello").out == b"hello"
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.communicate()


def test_sockets_are_taken_once_and_by_whom_they_are_for():
    assert take_sockets({}) == {}
    others = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    assert take_sockets(others) == {}
    assert others == {}


def test_what_is_no_udp_socket_is_refused(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        server = activate(tmp_path, [stream], "coap", "--demo")
        _, said = server.communicate(timeout=20)
    assert server.returncode == 2
    assert "no UDP socket" in said


@needs_systemd
def test_the_unit_files_are_good(tmp_path):
    for unit in DEPLOY.glob("securecoap*"):
        text = re.sub(
            r"^ExecStart=\S+", f"ExecStart={sys.executable} -m securecoap", unit.read_text(), flags=re.MULTILINE
        )
        (tmp_path / unit.name).write_text(text)
    units = sorted(tmp_path.glob("securecoap*"))
    assert len(units) >= 1
    outcome = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (outcome.returncode, [line for line in outcome.stderr.splitlines() if "securecoap" in line]) == (0, [])


@needs_systemd
def test_the_unit_is_sandboxed():
    outcome = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", DEPLOY / "securecoap.service"],
        capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_COLORS": "0"},
    )  # fmt: skip
    if "nrecognized option" in outcome.stderr:
        pytest.skip("this systemd-analyze does not read a unit that is not installed")
    assert outcome.returncode == 0, outcome.stdout[-400:]
