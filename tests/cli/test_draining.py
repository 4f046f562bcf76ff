"""The end of a server in a process of its own, by SIGTERM: what its clients get, and how long it takes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import Program, free_ports

from securecoap import Code, Context
from securecoap.core.draining import RETRY_AFTER
from securecoap.errors import CoapError
from securecoap.wire.message import ACK, CON, Message, encode_message
from securecoap.wire.options import Options
from tests.loopback import real
from tests.test_reload import oscore, psk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = """
import asyncio, pathlib
from securecoap import Message, ObservableResource, Resource, Site
from securecoap.core import draining

draining._LULL = 600.0  # however slowly the tests go, nobody is given up

class Gate(Resource):
    async def render_get(self, request):
        print("at the gate", flush=True)
        while not pathlib.Path("open").exists():
            await asyncio.sleep(0.01)
        return Message(payload=b"through")

class Door(ObservableResource):
    def render_get(self, request):
        return Message(payload=b"shut", max_age=1000)

class Large(Resource):
    def render_get(self, request):
        return Message(payload=bytes(50000))

site = Site()
site.add("/gate", Gate())
site.add("/large", Large())
site.add("/door", Door())
"""
CREDENTIALS = {":a": psk("a"), ":c": oscore(True, 0x12, 3)}


class Server:
    """Begins again at the same ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "gates.py").write_text(SITE)
        (directory / "server.json").write_text(json.dumps(CREDENTIALS))
        port = free_ports(2)
        self.coap, self.coaps = f"coap://127.0.0.1:{port}", f"coaps://127.0.0.1:{port + 1}"
        self.programs: list[Program] = []

    def start(self, *arguments: str) -> Program:
        command = [
            sys.executable, "-m", "securecoap", "serve", "gates:site", "--bind", self.coap, self.coaps,
            "--credentials", "server.json", "--state", "state", *arguments,
        ]  # fmt: skip
        program = Program(command, directory=self.directory)
        self.programs.append(program)
        program.wait_for("listening coaps://")
        return program

    def client(self, kind: str, name: str = "device") -> Context:
        credentials = {"coaps://*": psk("a")} if kind == "dtls" else {"coap://*": oscore(False, 0x12, 3)}
        return Context.client(credentials, state=self.directory / name)

    def uri(self, kind: str) -> str:
        return self.coaps if kind == "dtls" else self.coap


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    for program in made.programs:
        program.stop()


async def heard(program: Program, text: str) -> None:
    async with asyncio.timeout(30):
        while text not in program.output:  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(0.01)


async def ended(program: Program) -> int:
    return await asyncio.to_thread(program.wait_for_end)


async def is_refusing(client: Context, uri: str) -> Any:
    """The first answer that says that the server is about to end: its signal takes its time."""
    async with asyncio.timeout(30):
        while True:
            answer = await client.get(f"{uri}/door", timeout=20)
            if answer.code != Code.CONTENT:
                return answer


@pytest.mark.parametrize("kind", ["dtls", "oscore"])
@real
async def test_a_slow_request_under_way_is_answered(server: Server, kind: str) -> None:
    program = server.start()
    async with server.client(kind) as client:
        under_way = asyncio.ensure_future(client.get(f"{server.uri(kind)}/gate", timeout=60))
        await heard(program, "at the gate")
        program.signal(signal.SIGTERM)
        refused = await is_refusing(client, server.uri(kind))
        assert (refused.code, refused.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        (server.directory / "open").touch()
        assert (await under_way).payload == b"through"
        assert await ended(program) == 0


@pytest.mark.parametrize("kind", ["dtls", "oscore"])
@real
async def test_a_download_under_way_is_finished(server: Server, kind: str) -> None:
    program = server.start("--drain-time", "600")
    received = 0
    async with server.client(kind) as client:
        async for part in client.stream(f"{server.uri(kind)}/large", timeout=120):
            if not received:
                program.signal(signal.SIGTERM)
                assert (await is_refusing(client, server.uri(kind))).code == Code.SERVICE_UNAVAILABLE
            received += len(part)
        assert received == 50000
        assert await ended(program) == 0


@pytest.mark.parametrize("kind", ["dtls", "oscore"])
@real
async def test_a_handler_that_takes_too_long_is_not_waited_for(server: Server, kind: str) -> None:
    program = server.start("--drain-time", "1")
    async with server.client(kind) as client:
        under_way = asyncio.ensure_future(client.get(f"{server.uri(kind)}/gate", timeout=60))
        await heard(program, "at the gate")
        program.signal(signal.SIGTERM)
        answer = await under_way
        assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, RETRY_AFTER)
        assert await ended(program) == 0


@real
async def test_a_second_signal_ends_it_at_once(server: Server) -> None:
    program = server.start("--drain-time", "1000")
    async with server.client("dtls") as client:
        under_way = asyncio.ensure_future(client.get(f"{server.coaps}/gate", timeout=60))
        await heard(program, "at the gate")
        program.signal(signal.SIGTERM)
        await is_refusing(client, server.coaps)
        program.signal(signal.SIGTERM)
        assert await ended(program) == -signal.SIGTERM
        under_way.cancel()
        await asyncio.wait([under_way])


def test_an_observer_is_told(server: Server) -> None:
    """Confirmable, without Observe, with the time after which to come back (RFC 7641 section 4.2)."""
    command = [sys.executable, "-m", "securecoap", "serve", "gates:site", "--bind", server.coap]
    program = Program(command, directory=server.directory)
    server.programs.append(program)
    program.wait_for("listening")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.connect(("127.0.0.1", int(server.coap.rpartition(":")[2])))
        client.send(encode_message(CON, Code.GET, 1, b"t", Options([(6, b""), (11, b"door")]).encode(), b""))
        assert Message.decode(client.recv(2048)).options.observe is not None
        program.signal(signal.SIGTERM)
        last = Message.decode(client.recv(2048))
        client.send(encode_message(ACK, 0, last.mid or 0, b"", b"", b""))
        options = last.options
        assert (last.mtype, last.code, last.token) == (CON, Code.SERVICE_UNAVAILABLE, b"t")
        assert (options.observe, options.max_age) == (None, RETRY_AFTER)
        assert program.wait_for_end() == 0


@real
async def test_the_replay_window_goes_on_after_a_restart(server: Server) -> None:
    """Nothing is challenged by an Echo, and nothing is taken twice."""
    program = server.start()
    async with server.client("oscore") as client:
        assert (await client.get(f"{server.coap}/door", timeout=20)).payload == b"shut"
    program.signal(signal.SIGTERM)
    assert await ended(program) == 0
    program = server.start()
    async with server.client("oscore") as client:
        assert (await client.get(f"{server.coap}/door", timeout=20)).payload == b"shut"
    program.signal(signal.SIGTERM)
    assert await ended(program) == 0


@real
async def test_a_dtls_session_goes_on_after_a_restart(server: Server) -> None:
    program = server.start()
    async with server.client("dtls") as client:
        remote = (await client.get(f"{server.coaps}/door", timeout=20)).remote
        program.signal(signal.SIGTERM)
        assert await ended(program) == 0
        server.start()
        assert (await client.get(f"{server.coaps}/door", timeout=20)).remote is remote


@real
async def test_nobody_is_there_after_it(server: Server) -> None:
    program = server.start()
    program.signal(signal.SIGTERM)
    assert await ended(program) == 0
    async with server.client("oscore") as client:
        with pytest.raises(CoapError):
            await client.get(f"{server.coap}/door", timeout=3)
