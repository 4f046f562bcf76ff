"""``serve`` reads its credentials again: at SIGHUP, and with ``--reload``; with a client that goes on meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time

import pytest

from securecoap import Code, Context
from securecoap.cli import reloading
from securecoap.errors import CoapError, ConfigurationError, HandshakeFailed, SessionEnded, UnprotectedResponse
from tests.cli.conftest import start_demo
from tests.loopback import real
from tests.test_reload import CLIENTS, DEVICES, psk, without

READ_AGAIN = r"were read again"


@pytest.fixture
def site(tmp_path):
    """A server over DTLS and OSCORE, and how to write its file as a provisioning tool does: replaced in one step."""

    def write(content):
        beside = tmp_path / "server.new"
        beside.write_text(content if isinstance(content, str) else json.dumps(content))
        beside.replace(tmp_path / "server.json")

    started = []

    def start(*arguments):
        started.append(start_demo(tmp_path, "--credentials", str(tmp_path / "server.json"), *arguments))
        return started[-1]

    write(DEVICES)
    yield start, write
    for one in started:
        one.program.stop()


async def heard(program, pattern, times=1):
    """Wait for a line while this loop turns."""
    deadline = time.monotonic() + 20
    while len(re.findall(pattern, program.output)) < times:
        assert time.monotonic() < deadline, program.output
        await asyncio.sleep(0.02)


async def claims(client, uri):
    return json.loads((await client.get(uri + "/whoami", timeout=5)).payload)["claims"]


@real
async def test_rotation_and_removal_under_load(site, tmp_path):
    start, write = site
    server = start()
    secure, plain = server.coaps, server.coap
    clients = {}
    for name in "abcd":
        clients[name] = Context.client(CLIENTS[name], state=tmp_path / name)
        await clients[name].start()
    uris = {"a": secure, "b": secure, "c": plain, "d": plain}
    answers = dict.fromkeys("bd", 0)
    is_over = False

    async def load(name):
        remote = None
        while not is_over:
            answer = await clients[name].get(uris[name] + "/whoami", timeout=5)
            assert answer.code == Code.CONTENT
            assert remote is None or answer.remote is remote  # neither a handshake nor an error
            remote = answer.remote
            answers[name] += 1

    for name in "ac":
        assert await claims(clients[name], uris[name]) == [f":{name}"]
    tasks = [asyncio.ensure_future(load(name)) for name in "bd"]
    # The new key beside the old one, then the old one goes.
    rotated = {**DEVICES, ":a": {"any-of": [psk("a"), psk("a2", 77)]}}
    write(rotated)
    server.program.signal(signal.SIGHUP)
    await heard(server.program, READ_AGAIN)
    renewed = Context.client({"coaps://*": psk("a2", 77)})
    await renewed.start()
    assert await claims(renewed, secure) == [":a"]
    assert await claims(clients["a"], secure) == [":a"]
    write({**without(":c"), ":a": psk("a2", 77)})
    server.program.signal(signal.SIGHUP)
    await heard(server.program, READ_AGAIN, 2)
    assert await claims(renewed, secure) == [":a"]
    with pytest.raises((HandshakeFailed, SessionEnded)):
        await claims(clients["a"], secure)
    with pytest.raises(UnprotectedResponse):
        await claims(clients["c"], plain)
    before = dict(answers)
    write("{")
    server.program.signal(signal.SIGHUP)
    await heard(server.program, "were not read again")
    write({":x": {"dtls": {}}, "coap://*": ":nobody"})
    server.program.signal(signal.SIGHUP)
    await heard(server.program, "were not read again", 2)
    await heard(server.program, ":nobody")
    assert ":x" in server.program.output
    assert await claims(renewed, secure) == [":a"]
    async with asyncio.timeout(20):
        while any(answers[name] <= before[name] for name in "bd"):  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0)
    is_over = True
    await asyncio.gather(*tasks)
    for client in (*clients.values(), renewed):
        await client.shutdown()
    server.program.signal(signal.SIGTERM)
    assert server.program.wait_for_end() == 0


@real
async def test_a_changed_file_is_read_without_a_signal(site, tmp_path):
    pytest.importorskip("watchfiles")
    start, write = site
    server = start("--reload", "--log-format", "json")
    write({**DEVICES, ":e": psk("e", 9)})
    await heard(server.program, READ_AGAIN)
    async with Context.client({"coaps://*": psk("e", 9)}) as client:
        assert await claims(client, server.coaps) == [":e"]
        write(DEVICES)
        await heard(server.program, READ_AGAIN, 2)
        with pytest.raises(CoapError):
            await claims(client, server.coaps)
    events = [json.loads(line) for line in server.program.output.splitlines() if "event" in line]
    assert [(one["event"], one["entries"]) for one in events if one["event"] == "reload"] == [
        ("reload", 5),
        ("reload", 4),
    ]
    write("[]")
    await heard(server.program, "reload-failed")
    (failed,) = [json.loads(line) for line in server.program.output.splitlines() if "reload-failed" in line]
    assert failed["level"] == "error"
    assert len(failed["faults"]) == 1
    server.program.signal(signal.SIGTERM)
    assert server.program.wait_for_end() == 0
    errors = [line for line in server.program.output.splitlines() if '"level": "error"' in line]
    assert len(errors) == 1  # one for each failure, with all that there is to be said


@real
async def test_a_directory_of_files_is_watched_too(tmp_path):
    pytest.importorskip("watchfiles")
    directory = tmp_path / "credentials.d"
    directory.mkdir()
    (directory / "10.json").write_text(json.dumps(DEVICES))
    server = start_demo(tmp_path, "--credentials", str(directory), "--reload")
    try:
        (directory / "20.json").write_text(json.dumps({":e": psk("e", 9)}))
        await heard(server.program, READ_AGAIN)
        async with Context.client({"coaps://*": psk("e", 9)}) as client:
            assert await claims(client, server.coaps) == [":e"]
    finally:
        server.program.stop()


def test_without_credentials_there_is_nothing_to_be_read_again(tmp_path):
    site = start_demo(tmp_path)
    site.program.signal(signal.SIGHUP)
    site.program.wait_for("there are no --credentials")
    assert site.program.stop() == 0


def test_what_watches_files_is_asked_for_before_anything_is_bound(monkeypatch):
    reloading.require_watching()
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigurationError, match=r"securecoap\[reload\]"):
        reloading.require_watching()
