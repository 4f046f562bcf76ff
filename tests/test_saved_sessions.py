"""A server is restarted, and its DTLS clients go on without a handshake; those whose credential is gone do not."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Context, Message, ObservableResource, Resource, Site
from securecoap.config import TransportParameters
from securecoap.errors import HandshakeFailed, RequestTimeout, Unreachable
from securecoap.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

DTLS = {"client-identity": {"ascii": "sensor-17"}, "psk": {"ascii": "sixteen byte key"}}
SENSOR: dict[str, Any] = {"dtls": DTLS, "claims": ["reader"]}


class Door(ObservableResource):
    """Never fresh: an observer that hears nothing registers again (RFC 7641 section 3.3.1). Each server has its own."""

    serials = count()

    def __init__(self) -> None:
        super().__init__()
        self.serial = next(self.serials)

    def render_get(self, request: Message) -> Message:
        return Message(payload=b"%d" % self.serial, max_age=0)


class Who(Resource):
    """Says who asks."""

    def render_get(self, request: Message) -> Message:
        return Message(payload=" ".join(request.remote.authenticated_claims).encode())


def site() -> Site:
    made = Site()
    made.add("/who", Who())
    made.add("/door", Door())
    return made


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return int(sock.getsockname()[1])


def server(port: int, state: Path | None, entry: dict[str, Any] | None = None, **options: Any) -> Context:
    known = {
        ":sensor-17": SENSOR if entry is None else entry,
        ":other": {"dtls": {**DTLS, "client-identity": {"ascii": "x"}}},
    }
    return Context.server(site(), [f"coaps://[::1]:{port}"], known, state=state, **options)


def client(port: int, **options: Any) -> Context:
    return Context.client({f"coaps://[::1]:{port}/*": SENSOR}, **options)


async def ask(coap: Context, port: int, **options: Any) -> Message:
    return await coap.get(f"coaps://[::1]:{port}/who", **options)


def test_a_client_goes_on_without_a_handshake(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:
            async with server(port, tmp_path):
                first = await ask(coap, port)
            for _ in range(3):
                async with server(port, tmp_path):
                    again = await ask(coap, port)
                    assert again.remote is first.remote
                    assert again.payload == b":sensor-17 reader"

    asyncio.run(scenario())


def test_an_observation_is_registered_again_in_the_same_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has forgotten it; nothing but Max-Age tells the client."""
    monkeypatch.setattr("securecoap.core.observer._GRACE", (0.1, 0.1))

    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:
            notifications = coap.observe(f"coaps://[::1]:{port}/door").__aiter__()
            async with server(port, tmp_path):
                first = await anext(notifications)
            async with server(port, tmp_path):
                async with asyncio.timeout(30):
                    again = await anext(notifications)
                assert again.remote is first.remote
                assert again.payload != first.payload

    asyncio.run(scenario())


def test_without_a_state_directory_the_client_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:
            async with server(port, None):
                first = await ask(coap, port)
            async with server(port, None):
                again = await ask(coap, port)  # a new session, by itself and at once
                assert again.remote is not first.remote

    asyncio.run(scenario())


def test_a_credential_that_is_gone_or_has_another_key_goes_on_with_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rotated = {"dtls": {**DTLS, "psk": {"ascii": "another long key"}}}
    renamed = {"dtls": {**DTLS, "client-identity": {"ascii": "sensor-99"}}}

    async def scenario(entry: dict[str, Any]) -> None:
        port = free_port()
        async with client(port) as coap:
            async with server(port, tmp_path):
                await ask(coap, port)
            async with server(port, tmp_path, entry):
                with pytest.raises((RequestTimeout, HandshakeFailed)):
                    await ask(coap, port, timeout=0.3)
            async with server(port, tmp_path):  # what was not used is gone all the same
                with pytest.raises(RequestTimeout):
                    await ask(coap, port, timeout=0.3)

    with caplog.at_level(logging.INFO):
        for entry in (rotated, renamed):
            asyncio.run(scenario(entry))
    assert caplog.text.count("0 of 1 saved DTLS sessions go on") == 2


def test_new_claims_count(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:
            async with server(port, tmp_path):
                await ask(coap, port)
            async with server(port, tmp_path, {**SENSOR, "claims": ["writer"]}):
                assert (await ask(coap, port)).payload == b":sensor-17 writer"

    asyncio.run(scenario())


def test_no_secret_and_no_key_is_in_the_file(tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        port = free_port()
        async with client(port) as coap, server(port, tmp_path) as running:
            await ask(coap, port)
            (session,) = running._stacks[0].manager.interface._engine.sessions()  # type: ignore[attr-defined]  # of DTLS
            return [*session.read.secret, *session.write.secret, b"sixteen byte key"]

    secrets = asyncio.run(scenario())
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"sensor-17".hex().encode() in content
    assert not any(secret in content or secret.hex().encode() in content for secret in secrets)


def test_a_start_that_fails_loses_no_session(tmp_path: Path) -> None:
    """Its port was still taken: what was saved is there for the next try."""

    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:
            async with server(port, tmp_path):
                first = await ask(coap, port)
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
                other.bind(("::1", port))
                with pytest.raises(Unreachable):
                    await server(port, tmp_path).start()
            async with server(port, tmp_path):
                assert (await ask(coap, port)).remote is first.remote

    asyncio.run(scenario())


def test_a_port_that_was_any_saves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with server(0, tmp_path) as running:
            port = int(running.endpoints[0].rpartition(":")[2])
            async with client(port) as coap:
                await ask(coap, port)
                await running.shutdown()

    asyncio.run(scenario())
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as connection:  # it says when peers were seen
        assert connection.execute("SELECT count(*) FROM dtls_sessions").fetchone() == (0,)


def test_a_disk_that_fails_at_the_end_ends_the_server_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap, server(port, tmp_path / "none", strict_state=True):
            await ask(coap, port)

    asyncio.run(scenario())
    assert "1 DTLS sessions are lost" in caplog.text


def die(running: Context) -> None:
    """Let a server end without a word, as one that crashed."""
    for stack in running._stacks:
        interface: Any = stack.manager.interface
        interface._engine._transmit = interface._socket.send = lambda *_: None


@pytest.mark.parametrize("dies", [False, True])
def test_a_request_after_a_restart_makes_its_session_by_itself(dies: bool) -> None:
    async def scenario() -> None:
        port = free_port()
        async with client(port, parameters=TransportParameters(ack_timeout=0.1)) as coap:
            async with server(port, None) as running:
                first = await ask(coap, port)
                if dies:
                    die(running)
            async with server(port, None):
                again = await ask(coap, port)  # within its own time limit
                assert again.payload == b":sensor-17 reader"
                assert again.remote is not first.remote

    asyncio.run(scenario())


@pytest.mark.parametrize("dies", [False, True])
def test_an_observation_is_registered_again_after_a_restart(dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("securecoap.core.observer._GRACE", (0.1, 0.1))

    async def scenario() -> None:
        port = free_port()
        async with client(port, parameters=TransportParameters(ack_timeout=0.1)) as coap:
            notifications = coap.observe(f"coaps://[::1]:{port}/door").__aiter__()
            async with server(port, None) as running:
                first = await anext(notifications)
                if dies:
                    die(running)
            async with server(port, None):
                async with asyncio.timeout(30):
                    again = await anext(notifications)
                assert again.remote is not first.remote
                assert again.payload != first.payload

    asyncio.run(scenario())


def test_an_observation_is_registered_again_after_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last notification says when to come back, then the session ends: nobody waits for an answer on that one."""
    monkeypatch.setattr("securecoap.core.observer._GRACE", (0.1, 0.1))
    monkeypatch.setattr("securecoap.core.draining.RETRY_AFTER", 0)

    async def scenario() -> None:
        port = free_port()
        async with client(port) as coap:  # whose time-outs are long
            notifications = coap.observe(f"coaps://[::1]:{port}/door").__aiter__()
            async with server(port, None) as running:
                first = await anext(notifications)
                await running.drain(1)
            async with server(port, None):
                async with asyncio.timeout(30):
                    again = await anext(notifications)
                assert again.remote is not first.remote

    asyncio.run(scenario())


def test_settings_say_where() -> None:
    assert ServerSettings(site()).state is None
