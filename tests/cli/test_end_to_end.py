"""The command line against the demo server in another process, over loopback: plain, DTLS and OSCORE."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, Message, encode_message
from securecoap.wire.options import Options

LARGE = bytes(i % 251 for i in range(65536))


def entries(site, **changes):
    """The sample devices' credentials, for where the server really is."""
    psk = {"hex": "70d634576ed8c60fac270a44780f754a"}
    oscore = {
        "secret": {"hex": "816e561b1b290b51ae25368f4ac8a9a6"},
        "salt": {"hex": "64fcb9f4fe984759"},
        "sender-id": {"hex": "12"},
        "recipient-id": {"hex": "01"},
    }
    return {
        f"{site.coaps}/*": {"dtls": {"client-identity": {"ascii": "sensor-17"}, "psk": changes.get("psk", psk)}},
        f"{site.coap}/*": {"oscore": oscore | changes.get("oscore", {})},
    }


@pytest.fixture
def device(secure, write):
    return write(entries(secure))


@contextmanager
def command(*arguments, stdout=subprocess.PIPE):
    """A command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "securecoap", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# Plain


def test_get(demo, run):
    assert run("get", f"{demo.coap}/hello") == (0, b"hello", "")
    assert run("get", f"{demo.coap}/hello", "--non") == (0, b"hello", "")


def test_not_found(demo, run):
    outcome = run("get", f"{demo.coap}/store/nothing-here")
    assert outcome[:2] == (1, b"")
    assert outcome.err.startswith("securecoap: 4.04 Not Found")


def test_store(demo, run):
    uri = f"{demo.coap}/store/end-to-end"
    assert (
        run("put", uri, "--payload", '{"a": 1}', "--content-format", "json", "-v")
        .err.splitlines()[-1]
        .startswith("securecoap: 2.01")
    )
    assert (
        run("put", uri, "--payload", '{"a": 2}', "--content-format", "json", "-v")
        .err.splitlines()[-1]
        .startswith("securecoap: 2.04")
    )
    outcome = run("get", uri, "-v")
    assert outcome[:2] == (0, b'{"a": 2}')
    assert "application/json" in outcome.err
    assert run("get", uri, "--accept", "cbor").status == 1
    assert run("delete", uri).status == 0
    assert run("get", uri).status == 1


@pytest.mark.parametrize("method", ["post", "fetch"])
def test_echo(demo, run, method, tmp_path):
    (tmp_path / "body").write_bytes(b"\x00\xff\n")
    assert run(method, f"{demo.coap}/echo", "--payload", f"@{tmp_path / 'body'}") == (0, b"\x00\xff\n", "")


@pytest.mark.parametrize("size", [None, 32, 1024])
def test_large_bodies(demo, run, size, tmp_path):
    blocks = [] if size is None else ["--block-size", size]
    assert run("get", f"{demo.coap}/large", *blocks).out == LARGE
    (tmp_path / "body").write_bytes(LARGE[:3000])
    assert run("post", f"{demo.coap}/echo", "--payload", f"@{tmp_path / 'body'}", *blocks).out == LARGE[:3000]


def test_discover(demo, run):
    assert b"</hello>" in run("discover", demo.coap).out
    filtered = run("discover", f"{demo.coap}?href=/he*").out
    assert filtered.startswith(b"</hello>")
    assert b"</time>" not in filtered


def test_ping(demo, run):
    assert run("ping", demo.coap) == (0, b"", "")


def test_nobody_there(run, unused_uri):
    assert run("get", f"{unused_uri}/hello", "--timeout", "5").status == 3
    assert run("ping", unused_uri, "--timeout", "5").status == 3


def test_a_name_that_does_not_resolve(run):
    outcome = run("get", "coap://name.invalid/", "--timeout", "5")
    assert outcome[:2] == (3, b"")
    assert "name.invalid" in outcome.err


@pytest.fixture
def unused_uri():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
    return f"coap://[::1]:{port}"


@pytest.fixture
def silent_uri():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind(("::1", 0))
        yield f"coap://[::1]:{silent.getsockname()[1]}"


def test_nobody_answers(run, silent_uri):
    assert run("get", f"{silent_uri}/", "--timeout", "0.2").status == 3
    assert run("observe", f"{silent_uri}/", "--timeout", "0.2").status == 3
    assert run("ping", silent_uri, "--timeout", "0.2").status == 3


@pytest.mark.parametrize("uri", ["coap+tcp://[::1]/", "coaps+ws://h/"])
def test_a_transport_that_is_not_there(run, uri):
    assert run("get", uri).status == 2


# Secure


def whoami(run, uri, device):
    outcome = run("get", f"{uri}/whoami", "--credentials", device)
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_who_the_server_sees(secure, run, device):
    seen = whoami(run, secure.coaps, device)
    assert seen["security"] == "dtls"
    assert ":sensor-17" in seen["claims"]
    seen = whoami(run, secure.coap, device)
    assert seen["security"] == "oscore"
    assert seen["claims"] == [":sensor-18"]


@pytest.mark.parametrize("scheme", ["coap", "coaps"])
def test_secure_exchanges_of_every_form(secure, run, device, scheme):
    base = getattr(secure, scheme)
    protected = "--credentials", device
    assert run("get", f"{base}/large", *protected).out == LARGE
    assert run("put", f"{base}/store/{scheme}", "--payload", "x" * 3000, *protected).status == 0
    assert run("get", f"{base}/store/{scheme}", *protected).out == b"x" * 3000
    assert run("ping", base, *protected) == (0, b"", "")
    assert b"</hello>" in run("discover", base, *protected).out


def test_a_stranger_is_refused(secure, run, write):
    outcome = run("get", f"{secure.coap}/whoami")
    assert outcome[:2] == (1, b"")
    assert "4.01" in outcome.err
    assert run("get", f"{secure.coap}/hello") == (0, b"hello", "")
    wrong = write(entries(secure, psk={"hex": "00" * 16}, oscore={"secret": {"hex": "00" * 16}}))
    outcome = run("get", f"{secure.coaps}/hello", "--credentials", wrong, "--timeout", "8")
    assert outcome[:2] == (3, b"")
    assert run("get", f"{secure.coap}/hello", "--credentials", wrong, "--timeout", "8")[:2] in {(1, b""), (3, b"")}


def test_a_credential_that_cannot_be_used_sends_nothing(secure, run, write):
    assert run("get", f"{secure.coaps}/hello").status == 2
    other = write({f"{secure.coap}/*": entries(secure)[f"{secure.coaps}/*"]})
    assert run("get", f"{secure.coap}/hello", "--credentials", other).status == 2


def test_a_context_that_another_process_has(secure, run, device):
    with command("observe", f"{secure.coap}/time", "--credentials", device) as other:
        assert other.stdout.readline()
        outcome = run("get", f"{secure.coap}/whoami", "--credentials", device, "--timeout", "3")
    assert outcome[:2] == (2, b"")


def test_the_keylog_has_the_sessions_secret(secure, run, device, tmp_path):
    assert run("get", f"{secure.coaps}/whoami", "--credentials", device, "--keylog", tmp_path / "keys").status == 0
    assert (tmp_path / "keys").read_text().startswith("CLIENT_RANDOM ")


# Observation, signals, pipes


def stop(process, number):
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_observe_until_a_signal(demo, run, number):
    uri = f"{demo.coap}/store/observed-{number}"
    run("put", uri, "--payload", "one")
    with command("observe", uri) as observer:
        assert observer.stdout.readline() == b"one\n"
        run("put", uri, "--payload", "two")
        assert observer.stdout.readline() == b"two\n"
        assert stop(observer, number) == (0, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_is_told_that_an_observation_ends(number):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.settimeout(20)
        with command("observe", f"coap://[::1]:{server.getsockname()[1]}/x") as observer:
            data, client = server.recvfrom(2000)
            registration = Message.decode(data)
            assert (registration.code, registration.options.observe) == (Code.GET, 0)
            options = Options()
            options.observe = 5
            server.sendto(
                encode_message(ACK, Code.CONTENT, registration.mid, registration.token, options.encode(), b"1"), client
            )
            assert observer.stdout.readline() == b"1\n"
            assert stop(observer, number) == (0, b"", b"")
        goodbye = Message.decode(server.recv(2000))
        assert (goodbye.code, goodbye.token, goodbye.options.observe) == (Code.GET, registration.token, 1)
        assert goodbye.options.uri_path == ("x",)


@pytest.mark.parametrize("scheme", ["coap", "coaps"])
def test_observe_securely(secure, run, device, scheme):
    uri = f"{getattr(secure, scheme)}/time"
    with command("observe", uri, "--credentials", device) as observer:
        first, _, third = (observer.stdout.readline() for _ in range(3))  # the turn of a second may be at any of them
        assert third > first
        assert stop(observer, signal.SIGINT)[0] == 0


def test_an_observation_ends_with_what_it_observes(demo, run):
    uri = f"{demo.coap}/store/deleted"
    run("put", uri, "--payload", "one")
    with command("observe", uri) as observer:
        assert observer.stdout.readline() == b"one\n"
        run("delete", uri)
        out, err = observer.communicate(timeout=20)
        assert (observer.returncode, out) == (1, b"")
        assert b"4.04" in err


def test_what_cannot_be_observed(demo, run):
    outcome = run("observe", f"{demo.coap}/hello")
    assert outcome[:2] == (0, b"hello\n")
    assert run("observe", f"{demo.coap}/store/nothing-here")[:2] == (1, b"")


def test_a_reader_that_leaves_ends_an_observation(demo):
    read, write = os.pipe()
    with command("observe", f"{demo.coap}/time", stdout=write) as observer:
        os.close(write)
        assert os.read(read, 1)
        os.close(read)
        _, err = observer.communicate(timeout=20)
        assert (observer.returncode, err) == (0, b"")


def test_a_reader_that_left_is_no_traceback(demo):
    read, write = os.pipe()
    os.close(read)
    with command("get", f"{demo.coap}/large", stdout=write) as get:
        os.close(write)
        _, err = get.communicate(timeout=20)
        assert (get.returncode, err) == (128 + signal.SIGPIPE, b"")


def test_a_terminal_gets_a_pretty_payload(demo, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")  # without colours
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    ours, theirs = pty.openpty()
    with command("get", f"{demo.coap}/whoami", stdout=theirs) as get:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
        assert get.wait(20) == 0
    assert shown.splitlines() == [b"{", b'  "claims": [],', b'  "scheme": "coap",', b'  "security": "none"', b"}"]


def test_the_installed_command_is_the_same_program():
    from importlib.metadata import entry_points

    from securecoap.cli import main

    (entry,) = entry_points(group="console_scripts", name="securecoap")
    assert entry.load() is main
