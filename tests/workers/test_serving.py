"""``serve --workers`` in operation: sessions whose clients move, other credentials, metrics, the end, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import Program

from securecoap import Code, Context, Message
from securecoap.errors import SessionEnded
from tests.cli.conftest import SAMPLES
from tests.loopback import real
from tests.workers.fleet import CREDENTIALS, PATIENCE, PSK, SECRET, Device, Fleet, Port, ports_at_each

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, "--metrics", "0", "--log-format", "console") as running:
        yield running


class Relay(asyncio.DatagramProtocol):
    """Between a client and the server; what the server sees as the client's port can be changed."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._client: tuple[str, int] | None = None
        self._inner: asyncio.DatagramTransport | None = None
        self._outer: asyncio.DatagramTransport | None = None

    async def open(self) -> int:
        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        await self.move()
        port: int = self._inner.get_extra_info("sockname")[1]
        return port

    async def move(self) -> None:
        relay = self

        class Outer(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _: object) -> None:
                if relay._inner is not None:
                    relay._inner.sendto(data, relay._client)

        if self._outer is not None:
            self._outer.close()
        self._outer, _ = await asyncio.get_running_loop().create_datagram_endpoint(Outer, remote_addr=self._server)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._client = addr
        if self._outer is not None:
            self._outer.sendto(data)

    def close(self) -> None:
        for transport in (self._inner, self._outer):
            if transport is not None:
                transport.close()


@real
async def test_a_session_stays_at_its_worker_whatever_the_port_of_its_client(fleet: Fleet) -> None:
    relay = Relay(("127.0.0.1", int(fleet.coaps.rpartition(":")[2])))
    port = await relay.open()
    entry = {f"coaps://127.0.0.1:{port}/*": {"dtls": {"client-identity": {"ascii": "other"}, "psk": {"hex": PSK}}}}
    async with Context.client(entry, state=fleet.directory / "client") as client:
        answers, remotes = [], set()
        for _ in range(12):
            answer = await client.get(f"coaps://127.0.0.1:{port}/who", timeout=PATIENCE)
            answers.append(answer.payload)
            remotes.add(answer.remote)
            await relay.move()
    relay.close()
    assert len(set(answers)) == 1
    assert len(remotes) == 1  # one session: no handshake was needed


@real
async def test_each_worker_knows_whom_another_one_has_met(fleet: Fleet) -> None:
    """The first and the second ClientHello, and a session and its resumption, may come to different workers."""
    entry = {f"{fleet.coaps}/*": {"dtls": {"client-identity": {"ascii": "other"}, "psk": {"hex": PSK}}}}
    served = set()
    for _ in range(12):
        async with Context.client(entry, state=fleet.directory / "client") as client:
            served.add((await client.get(f"{fleet.coaps}/who", timeout=PATIENCE)).payload)
    assert len(served) == 2


def without_dtls(credentials: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in credentials.items() if key != ":other"}


def test_a_reload_that_would_take_effect_with_the_next_start_only_is_refused(fleet: Fleet) -> None:
    workers = set(ports_at_each(fleet, 1))
    fleet.write(CREDENTIALS | {":device": {"oscore": CREDENTIALS[":device"]["oscore"] | {"rederive": True}}})
    fleet.program.signal(signal.SIGHUP)
    fleet.wait_for_text("'rederive' takes effect with the next start only")
    assert set(fleet.workers()) == workers, fleet.program.output


def test_other_credentials_are_in_force_at_all_workers(fleet: Fleet) -> None:
    by_worker = ports_at_each(fleet, 1)
    ports = [there[0] for there in by_worker.values()]
    device = Device()
    device.show_freshness(ports[0])
    fleet.write({key: value for key, value in CREDENTIALS.items() if key != ":device"})
    fleet.program.signal(signal.SIGHUP)
    fleet.wait_for_text("credentials were read again")
    for port in ports:
        outer, _ = device.protect(Code.POST, "posts", b"gone")
        assert port.exchange(port.datagram(outer), outer.token).code == Code.UNAUTHORIZED
    for times, fault in enumerate(('{"a fault', without_dtls(CREDENTIALS)), 1):
        fleet.write(fault)
        fleet.program.signal(signal.SIGHUP)
        fleet.wait_for_text("credentials were not read again", times)
    fleet.write(CREDENTIALS)
    fleet.program.signal(signal.SIGHUP)
    fleet.wait_for_text("credentials were read again", 2)
    assert set(fleet.workers()) == set(by_worker)  # nobody had to begin anew
    for number, port in enumerate(ports):  # and the window is what it was
        outer, identifiers = device.protect(Code.POST, "posts", b"back %d" % number)
        assert device.open(port.exchange(port.datagram(outer), outer.token), identifiers).code == Code.CHANGED
    assert [payload for payload, _ in fleet.posts()] == ["back 0", "back 1"]


def test_a_worker_that_begins_anew_has_the_credentials_of_the_last_reload(fleet: Fleet) -> None:
    by_worker = ports_at_each(fleet, 1)
    victim, (port,) = next(iter(by_worker.items()))
    fleet.write({key: value for key, value in CREDENTIALS.items() if key != ":device"})
    fleet.program.signal(signal.SIGHUP)
    fleet.wait_for_text("credentials were read again")
    os.kill(victim, signal.SIGKILL)
    fleet.wait_for_text("2 of 2 workers serve")
    outer, _ = Device().protect(Code.POST, "posts", b"gone")
    assert port.exchange(port.datagram(outer), outer.token).code == Code.UNAUTHORIZED


def test_metrics_are_those_of_all_workers(fleet: Fleet) -> None:
    metrics = fleet.program.wait_for(r"^metrics (\S+)$")[1]

    def read(path: str) -> str:
        with urllib.request.urlopen(metrics.replace("/metrics", path), timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    by_worker = ports_at_each(fleet, 4)
    asked = sum(map(len, by_worker.values()))
    total = re.search(
        r'^securecoap_requests_total{code="2.05",method="GET",security="none"} (\S+)$', read("/metrics"), re.MULTILINE
    )
    assert total is not None
    assert float(total[1]) >= asked
    assert read("/health") == "alive\n"
    assert read("/ready") == "ready\n"
    os.kill(next(iter(by_worker)), signal.SIGKILL)
    fleet.wait_for_text("2 of 2 workers serve")
    text = read("/metrics")
    assert "securecoap_worker_ends_total 1.0" in text
    assert "securecoap_workers_ready 2.0" in text
    after = re.search(
        r'^securecoap_requests_total{code="2.05",method="GET",security="none"} (\S+)$', text, re.MULTILINE
    )
    assert after is not None
    assert float(after[1]) >= float(total[1])  # what a worker that has ended counted is not lost


def test_no_key_is_where_others_may_look(fleet: Fleet) -> None:
    for pid in (fleet.program.pid, *fleet.workers()):
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{name}").read_bytes()
            for secret in (PSK, SECRET):
                assert secret.encode() not in content
                assert bytes.fromhex(secret) not in content


def test_somebody_elses_port_is_not_shared(fleet: Fleet) -> None:
    command = [sys.executable, "-m", "securecoap", "serve", "house:site", "--workers", "2", "--bind", fleet.coap]
    with Program(command, directory=fleet.directory) as second:
        assert second.wait_for_end(seconds=PATIENCE) == 2
        assert "cannot be bound" in second.output
    assert Port(fleet).worker in fleet.workers()


def test_a_site_that_is_not_there(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "securecoap",
        "serve",
        "nowhere:site",
        "--workers",
        "2",
        "--bind",
        "coap://[::1]:0",
    ]
    with Program(command, directory=tmp_path) as program:
        assert program.wait_for_end(seconds=PATIENCE) == 2
        assert "there is no module nowhere" in program.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--demo"], "keeps its state in one process"),
        (["house:site", "--bind", "coap://[ff02::fd%lo]:0", "--insecure"], "each worker would answer"),
    ],
)
def test_what_several_workers_cannot_serve(tmp_path: Path, arguments: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "securecoap", "serve", "--workers", "2", *arguments]
    with Program(command, directory=tmp_path) as program:
        assert program.wait_for_end(seconds=PATIENCE) == 2
        assert reason in program.output


def test_sockets_of_a_service_manager_are_not_shared(tmp_path: Path) -> None:
    script = (
        "import os, socket, sys; sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.bind(('127.0.0.1', 0)); "
        "os.dup2(sock.fileno(), 3); os.set_inheritable(3, True); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
        "os.execv(sys.executable, [sys.executable, '-m', 'securecoap', 'serve', 'house:site', '--workers', '2'])"
    )
    with Program([sys.executable, "-c", script], directory=tmp_path) as program:
        assert program.wait_for_end(seconds=PATIENCE) == 2
        assert "cannot be shared" in program.output


@real
async def test_contexts_that_are_derived_anew_are_each_workers_own(tmp_path: Path) -> None:
    """RFC 8613 appendix B.2: who comes to another worker is taken for one that has lost its context; nothing runs twice."""
    server = {
        ":device": {"oscore": CREDENTIALS[":device"]["oscore"] | {"rederive": True}},
        ":other": CREDENTIALS[":other"],
    }
    with Fleet(tmp_path, credentials=server) as fleet:
        relay = Relay(("127.0.0.1", fleet.port))
        port = await relay.open()
        own = server[":device"]["oscore"] | {"sender-id": {"hex": "12"}, "recipient-id": {"hex": "01"}}
        async with Context.client({f"coap://127.0.0.1:{port}/*": {"oscore": own}}, state=tmp_path / "client") as client:
            for number in range(12):
                answer = await client.post(f"coap://127.0.0.1:{port}/posts", b"%d" % number, timeout=PATIENCE)
                assert answer.code == Code.CHANGED
                await relay.move()
        relay.close()
        assert [payload for payload, _ in fleet.posts()] == [str(number) for number in range(12)]
        assert len({worker for _, worker in fleet.posts()}) == 2


@real
async def test_contexts_that_edhoc_agreed_on_are_each_workers_own(tmp_path: Path) -> None:
    """RFC 9528: who comes to another worker agrees on new keys there; nothing runs twice."""
    pytest.importorskip("lakers")
    server = json.loads((SAMPLES / "server-edhoc.json").read_text())
    device = json.loads((SAMPLES / "sensor-edhoc.json").read_text())
    device["coap://*/*"]["edhoc-oscore"]["private-key-file"] = str(SAMPLES / "keys" / "sensor-20-edhoc.cosekey")
    shutil.copytree(SAMPLES / "keys", tmp_path / "keys")
    with Fleet(tmp_path, credentials=server | {":other": CREDENTIALS[":other"]}) as fleet:
        relay = Relay(("127.0.0.1", fleet.port))
        port = await relay.open()
        entry = {f"coap://127.0.0.1:{port}/*": device["coap://*/*"]}
        async with Context.client(entry, state=tmp_path / "client") as client:
            ended = 0
            for number in range(12):
                try:
                    answer = await client.post(f"coap://127.0.0.1:{port}/posts", b"%d" % number, timeout=PATIENCE)
                except SessionEnded:  # what is not safe is for the application to repeat
                    ended += 1
                    answer = await client.post(f"coap://127.0.0.1:{port}/posts", b"%d" % number, timeout=PATIENCE)
                assert answer.code == Code.CHANGED
                await relay.move()
            assert 0 < ended < 12
        relay.close()
        assert [payload for payload, _ in fleet.posts()] == [str(number) for number in range(12)]
        assert len({worker for _, worker in fleet.posts()}) == 2


@real
async def test_sessions_go_on_after_an_orderly_restart(fleet: Fleet) -> None:
    entry = {f"{fleet.coaps}/*": {"dtls": {"client-identity": {"ascii": "other"}, "psk": {"hex": PSK}}}}
    clients: list[Context] = []
    before: list[Message] = []
    async with AsyncExitStack() as stack:
        # The system chooses the worker by a client's port: six of them all come to the same one every 32nd time.
        while len(clients) < 6 or (len({answer.payload for answer in before}) < 2 and len(clients) < 40):
            client = Context.client(entry, state=fleet.directory / f"client {len(clients)}")
            clients.append(await stack.enter_async_context(client))
            before.append(await client.get(f"{fleet.coaps}/who", timeout=PATIENCE))
        assert len({answer.payload for answer in before}) == 2
        assert await asyncio.to_thread(fleet.program.stop, seconds=PATIENCE) == 0
        await asyncio.to_thread(fleet.start_again)
        after = [await client.get(f"{fleet.coaps}/who", timeout=PATIENCE) for client in clients]
    assert [answer.remote for answer in after] == [answer.remote for answer in before]  # no handshake was needed
    assert not {answer.payload for answer in after} & {answer.payload for answer in before}


def test_a_service_manager_hears_of_the_whole(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with Fleet(tmp_path, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as fleet:
            assert manager.recv(1000) == b"READY=1\nSTATUS=serving"  # "listening" is said by the parent only, too
            assert len(re.findall("^listening", fleet.program.output, re.MULTILINE)) == 2
            workers = fleet.workers()
            assert len(workers) == 2
            for worker in workers:
                assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker}/environ").read_bytes()
            for pid in (*workers, fleet.program.pid):  # as systemd does with a control group
                os.kill(pid, signal.SIGTERM)
            assert manager.recv(1000).startswith(b"STOPPING=1")
            assert fleet.program.wait_for_end(seconds=PATIENCE) == 0
