"""tinydtls as an independent DTLS peer, by dtlssocket in a process of its own, in both directions (RFC 6347, RFC 7252 §9).

Its CoAP is written by hand in the peer's program: nothing between the two ends is shared. What is said of the wire is
read from a relay's record.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import Program, free_ports

from securecoap import Context, errors
from securecoap.config import TransportParameters
from tests.interop.harness import DTLS, IDENTITY, PEERS, PSK, SERVER_CREDENTIALS, Ours, aiocoap_program, run
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRONG = "sixteen bytes no"
HANDSHAKE_LIMIT = 10.0
IMPATIENT = TransportParameters(ack_timeout=0.4)  # the sooner is a session doubted whose server is silent
APPLICATION_DATA = 23


def peer(*arguments: object) -> list[str]:
    return [aiocoap_program("python"), str(PEERS / "tinydtls_peer.py"), *(str(argument) for argument in arguments)]


@pytest.fixture
def serve(start: Callable[..., Program]) -> Callable[..., tuple[Program, int]]:
    """Start the tinydtls server, on a port that is free if none is given."""

    def starter(port: int = 0) -> tuple[Program, int]:
        program = start(*peer("serve", port, IDENTITY, PSK))
        return program, int(program.wait_for(r"^ready (\d+)")[1])

    return starter


def ask(port: int, *paths: str, local: int = 0, key: str = PSK) -> str:
    """Ask with the tinydtls client; what it printed."""
    return run(*peer("get", port, IDENTITY, key, local, 8, *paths))


def records(datagram: bytes) -> list[tuple[int, int]]:
    """(content type, epoch) of each record; fails where the datagram is anything but whole DTLS records (RFC 6347 §4.1)."""
    found = []
    while datagram:
        assert datagram[0] in {20, 21, 22, 23}, datagram
        assert datagram[1:3] in {b"\xfe\xfd", b"\xfe\xff"}, datagram
        length = int.from_bytes(datagram[11:13], "big")
        assert len(datagram) >= 13 + length, datagram
        found.append((datagram[0], int.from_bytes(datagram[3:5], "big")))
        datagram = datagram[13 + length :]
    return found


def assert_sealed(relay: Relay, *secrets: bytes) -> None:
    """Nothing but DTLS records went through, application data only sealed, both ways; and no payload, path or claim."""
    for inwards in (True, False):
        seen = [one for way, data in relay.datagrams if way is inwards for one in records(data)]
        sealed = [epoch for kind, epoch in seen if kind == APPLICATION_DATA]
        assert sealed, relay.datagrams
        assert 0 not in sealed
    for secret in (b"hello", b"whoami", b"claims", PSK.encode(), *secrets):
        assert secret not in relay.everything


def client(port: int, key: str = PSK, **options: Any) -> Context:
    entry = {"dtls": {**DTLS, "psk": {"ascii": key}}}
    return Context.client(credentials={f"coaps://127.0.0.1:{port}/*": entry}, **options)


def test_our_client_and_a_tinydtls_server(
    ours: Ours, serve: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    _, port = serve()
    with Relay(port) as relay:
        base = f"coaps://127.0.0.1:{relay.port}"
        credentials = {f"{base}/*": {"dtls": DTLS}}
        assert ours.run("get", f"{base}/hello", credentials=credentials).stdout == b"hello"
        answer = ours.run("get", f"{base}/whoami", credentials=credentials)
        assert json.loads(answer.stdout) == {"identity": IDENTITY}
        assert_sealed(relay, b"identity")
        dissected = relay.dissect(
            tmp_path, "-d", f"udp.port=={relay.port},dtls", "-T", "fields", "-e", "_ws.col.Protocol"
        )
    assert dissected[-1] == "DTLSv1.2"
    assert set(dissected) <= {"DTLS", "DTLSv1.0", "DTLSv1.2"}, dissected  # by the version in a hello's record


def test_a_tinydtls_client_and_our_server(ours: Ours) -> None:
    _, ports = ours.serve("coap", "coaps", credentials=SERVER_CREDENTIALS)
    with Relay(ports["coaps"]) as relay:
        hello, whoami = ask(relay.port, "/hello", "/whoami").splitlines()
        assert_sealed(relay, b"security", b":sensor-17")
    assert hello == "2.05 hello"
    code, _, body = whoami.partition(" ")
    assert code == "2.05"
    assert json.loads(body) == {"claims": [":sensor-17"], "scheme": "coaps", "security": "dtls"}


def test_a_tinydtls_server_refuses_our_wrong_key(serve: Callable[..., tuple[Program, int]]) -> None:
    server, port = serve()

    async def scenario() -> float:
        async with client(port, WRONG) as coap:
            began = time.monotonic()
            with pytest.raises(errors.HandshakeFailed):
                await coap.get(f"coaps://127.0.0.1:{port}/hello", timeout=60)
            return time.monotonic() - began

    assert asyncio.run(scenario()) < HANDSHAKE_LIMIT + 2
    assert "GET" not in server.output


def test_our_server_refuses_a_tinydtls_client_with_a_wrong_key(ours: Ours) -> None:
    server, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)
    printed = ask(ports["coaps"], "/hello", key=WRONG)
    assert printed.startswith("no answer")
    server.wait_for("the DTLS handshake failed")
    assert ask(ports["coaps"], "/hello") == "2.05 hello\n"  # and nothing is left behind


def test_our_client_notices_that_a_tinydtls_server_lost_its_session(serve: Callable[..., tuple[Program, int]]) -> None:
    """The server's process begins anew on the same port; the next request has a new session, by itself."""
    server, port = serve()

    async def scenario(relay: Relay) -> None:
        nonlocal server
        uri = f"coaps://127.0.0.1:{relay.port}/hello"
        async with client(relay.port, parameters=IMPATIENT) as coap:
            first = await coap.get(uri)
            server.stop()
            server, _ = serve(port)
            second = await coap.get(uri)
            assert (first.payload, second.payload) == (b"hello", b"hello")
            assert first.remote != second.remote  # another epoch: nothing of the old one matches
            handshakes = len(relay.datagrams)
            assert (await coap.get(uri)).remote == second.remote
            assert all(
                kind == APPLICATION_DATA for _, data in relay.datagrams[handshakes:] for kind, _ in records(data)
            )

    with Relay(port) as relay:
        asyncio.run(scenario(relay))
        assert_sealed(relay)
    assert server.output.count("GET /hello") == 2


def test_our_server_takes_back_a_tinydtls_client_that_lost_its_session(ours: Ours) -> None:
    """The client's process ends without a word and begins anew on the same port (RFC 6347 §4.2.8)."""
    _, ports = ours.serve("coaps", credentials=SERVER_CREDENTIALS)
    local = free_ports()
    with Relay(ports["coaps"]) as relay:
        for _ in range(3):
            assert ask(relay.port, "/hello", "/whoami", local=local).startswith("2.05 hello\n2.05 ")
        assert_sealed(relay, b":sensor-17")
