"""``securecoap serve``: what stops it before it starts, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from functools import partial
from urllib.parse import urlsplit

import pytest
from support.processes import Program

from securecoap import Context
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message, encode_message
from securecoap.wire.options import Options
from tests.cli.conftest import SAMPLES, start_demo

LOOPBACK = "coap://[::1]:0"


def serve(directory, *arguments, environment=None):
    return Program(
        [sys.executable, "-m", "securecoap", "serve", *map(str, arguments)],
        directory=directory,
        environment=environment,
    )


# Before anything is bound


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "coap://[::]:0"],
        ["--bind", LOOPBACK, "--bind", "coap://0.0.0.0:0"],
        ["--bind", "coap://192.0.2.1:0"],
    ],
)
def test_without_credentials_it_is_for_this_machine_only(run, arguments):
    outcome = run("serve", "--demo", *arguments, "--check-config")
    assert outcome[:2] == (2, b"")
    assert "--insecure" in outcome.err
    assert run("serve", "--demo", *arguments, "--insecure", "--check-config").status == 0


@pytest.mark.parametrize("bind", [LOOPBACK, "coap://127.0.0.1:0", "coap://localhost:0", "coap://127.1.2.3"])
def test_loopback_needs_no_credentials(run, bind):
    assert run("serve", "--demo", "--bind", bind, "--check-config") == (0, b"", "the configuration is good\n")


def test_the_default_bind_without_credentials_is_loopback(run):
    assert run("serve", "--demo", "--check-config").status == 0


def test_coaps_needs_a_credential_for_dtls(run, write):
    only_oscore = write({":a": json.loads((SAMPLES / "server.json").read_text())[":sensor-18"]})
    for arguments in (
        ["--bind", "coaps://[::1]:0"],
        ["--bind", LOOPBACK, "--bind", "COAPS://[::1]:0", "--credentials", only_oscore],
        ["--credentials", only_oscore],
    ):
        outcome = run("serve", "--demo", *arguments)
        assert outcome[:2] == (2, b"")
        assert "needs a credential for DTLS" in outcome.err
    assert run("serve", "--demo", "--bind", LOOPBACK, "--credentials", only_oscore, "--check-config").status == 0


def test_the_samples_are_good(run):
    assert run("serve", "--demo", "--credentials", SAMPLES / "server.json", "--check-config").status == 0


@pytest.mark.parametrize(
    "bind", ["http://[::1]", "coap+tcp://[::1]:0", "coap://host.example:0", "[::1]:0", "coap://[::1]:99999", ""]
)
def test_binds_that_cannot_be(run, bind):
    outcome = run("serve", "--demo", "--bind", bind)
    assert outcome[:2] == (2, b"")
    assert outcome.err


def test_a_broken_file_lists_all_faults(run, write):
    broken = write({":a": {"dtls": {"psk": {"hex": "xyz"}}}, "coap://*": ":nobody", ":c": {"what": {}}})
    outcome = run("serve", "--demo", "--bind", LOOPBACK, "--credentials", broken)
    assert outcome[:2] == (2, b"")
    for place in (":a.dtls", ":nobody", ":c"):
        assert place in outcome.err
    assert "listening" not in outcome.err
    lines = run("serve", "--demo", "--credentials", broken, "--log-format", "json").err.splitlines()
    assert len(lines) >= 3
    assert all(json.loads(line)["level"] == "error" for line in lines)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_contexts_that_another_server_has(run, tmp_path, monkeypatch, log_format):
    """It says whose, and what to do next; with a state directory of its own it would use nonces twice."""
    monkeypatch.setattr(Context, "server", partial(Context.server, state_wait=0.1))
    credentials = str(SAMPLES / "server.json")
    first = start_demo(tmp_path, "--credentials", credentials)
    try:
        outcome = run(
            "serve", "--demo", "--bind", LOOPBACK, "--credentials", credentials,
            "--state", tmp_path / "state", "--log-format", log_format,
        )  # fmt: skip
    finally:
        first.program.stop()
    assert outcome[:2] == (2, b"")
    if log_format == "json":
        record = json.loads(outcome.err.splitlines()[-1])
        what, advice = record["message"], record["advice"]
    else:
        what, advice = outcome.err.splitlines()[-2:]
        assert advice.startswith("  ")
    assert "in use by another process: :sensor-18" in what
    assert "end it first" in advice


@pytest.mark.parametrize(
    "arguments",
    [
        ["not_a_module_here:site"],
        ["noform"],
        ["--demo", "module:site"],
        ["--demo", "--log-format", "xml"],
        ["--demo", "--dtls-engine", "none"],
        ["--demo", "--credentials", "/no/such/file"],
    ],
)
def test_usage(run, arguments):
    outcome = run("serve", *arguments)
    assert outcome[:2] == (2, b"")
    assert outcome.err


def test_a_port_that_is_taken(run):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        outcome = run("serve", "--demo", "--bind", f"coap://[::1]:{taken.getsockname()[1]}")
    assert outcome[:2] == (2, b"")
    assert "listening" not in outcome.err
    first, advice = outcome.err.splitlines()
    assert first.startswith("securecoap: ::1 port ")  # and not the number of an error
    assert "another program on that port" in advice


def test_strict_state_wants_the_directory(run, tmp_path):
    outcome = run(
        "serve", "--demo", "--bind", LOOPBACK, "--credentials", SAMPLES / "server.json",
        "--state", tmp_path / "missing", "--strict-state",
    )  # fmt: skip
    assert outcome[:2] == (2, b"")
    assert "listening" not in outcome.err


# Running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(tmp_path, number):
    with serve(tmp_path, "--demo", "--bind", LOOPBACK, "coap://127.0.0.1:0") as server:
        server.wait_for(r"^listening coap://127\.0\.0\.1:\d+$")
        assert [line.split(":")[0] for line in server.output.splitlines()] == ["listening coap"] * 2
        assert ":0" not in [line[-2:] for line in server.output.splitlines()]
        server.signal(number)
        assert server.wait_for_end() == 0


def test_credentials_and_every_kind_of_bind(tmp_path):
    site = start_demo(tmp_path, "--credentials", str(SAMPLES / "server.json"), "--name", "gateway.example")
    site.program.signal(signal.SIGTERM)
    assert site.program.wait_for_end() == 0
    for value in ("70d634576ed8c60fac270a44780f754a", "816e561b1b290b51ae25368f4ac8a9a6"):
        assert value not in site.program.output
    site.program.stop()


def test_json_log_lines(tmp_path):
    site = start_demo(tmp_path, "--log-format", "json")
    lines = site.program.output.splitlines()
    site.program.stop()
    (line, *_) = map(json.loads, lines)
    assert (line["message"], line["uri"]) == (f"listening {site.coap}", site.coap)


def test_what_is_under_way_is_answered_before_it_ends(tmp_path):
    site = start_demo(tmp_path)
    host, port = urlsplit(site.coap).hostname, urlsplit(site.coap).port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect((host, port))

        def ask(path, number):
            message = Message(Code.GET, uri_path=(path,))
            message.token = bytes([number])
            message.mtype, message.mid = CON, number
            client.send(message.encode())

        ask("slow", 1)
        assert client.recv(2048) == bytes.fromhex("60000001")  # its handler works
        site.program.signal(signal.SIGTERM)
        number, refused = 2, b""
        while not refused:  # until the signal has arrived, others are answered
            ask("hello", number)
            answer = client.recv(2048)
            refused = answer if answer[1] == Code.SERVICE_UNAVAILABLE else b""
            number += 1
        answer = client.recv(2048)
        assert (answer[1], answer[4:5], answer[-4:]) == (Code.CONTENT, b"\x01", b"slow")
        client.send(bytes.fromhex("6000") + answer[2:4])
    assert site.program.wait_for_end() == 0
    site.program.stop()


def test_hangup_does_not_end_it(tmp_path, run):
    site = start_demo(tmp_path)
    site.program.signal(signal.SIGHUP)
    site.program.wait_for("there are no --credentials")
    assert run("get", f"{site.coap}/hello").out == b"hello"
    assert site.program.stop() == 0


SITE = """
from securecoap import Message, Resource, Site
class Door(Resource):
    def render_get(self, request):
        return Message(payload=b"shut")
    def render_put(self, request):
        raise RuntimeError("jammed\\x1b[2J")
site = Site()
site.add("/door", Door())
"""


@pytest.mark.parametrize("place", ["cwd", "path"])
def test_a_site_of_ones_own(tmp_path, run, place):
    (tmp_path / "lib").mkdir()
    (tmp_path / ("lib" if place == "path" else ".") / "my_house.py").write_text(SITE)
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "lib"), os.environ.get("PYTHONPATH", "")])}
    with serve(tmp_path, "my_house:site", "--bind", LOOPBACK, environment=environment) as server:
        uri = server.wait_for(r"^listening (coap://\S+)$")[1]
        assert run("get", f"{uri}/door").out == b"shut"
        outcome = run("put", f"{uri}/door", "--payload", "open")
        assert outcome[:2] == (1, b"")
        assert "jammed" not in outcome.err
        server.wait_for("RuntimeError: jammed")
        assert "\x1b" not in server.output


def test_a_name_it_answers_to(tmp_path, run, write):
    with serve(
        tmp_path, "--demo", "--bind", LOOPBACK, "--name", "one.example", "two.example",
        "--credentials", write({"*": {"unprotected": True}}), "--state", tmp_path / "state",
    ) as server:  # fmt: skip
        server.wait_for("^listening")


WAITING = """
import asyncio, pathlib
from securecoap import Message, Resource, Site
class Gate(Resource):
    async def render_get(self, request):
        while not pathlib.Path("open").exists():
            await asyncio.sleep(0.01)
        return Message(payload=b"through")
site = Site()
site.add("/gate", Gate())
"""


def test_a_request_under_way_is_answered_before_it_ends(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    with (
        serve(tmp_path, "waiting:site", "--bind", LOOPBACK) as server,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client,
    ):
        port = int(server.wait_for(r"^listening coap://\[::1\]:(\d+)$")[1])
        client.connect(("::1", port))
        client.settimeout(20)

        def ask(mid, path):
            client.send(encode_message(CON, Code.GET, mid, mid.to_bytes(2, "big"), Options([(11, path)]).encode(), b""))
            return Message.decode(client.recv(2000))

        assert ask(1, b"gate").code == Code.EMPTY  # it is under way
        server.signal(signal.SIGTERM)
        mid = 2
        while (answer := ask(mid, b"else")).code == Code.NOT_FOUND:  # the signal takes its time
            mid += 1
        assert answer.code == Code.SERVICE_UNAVAILABLE
        (tmp_path / "open").touch()
        last = Message.decode(client.recv(2000))
        assert (last.code, last.token, last.payload) == (Code.CONTENT, b"\x00\x01", b"through")
        assert server.wait_for_end() == 0
