"""aiocoap 0.4.17, both directions: plain, OSCORE with context directories of its own, and DTLS (its tinydtls)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.processes import free_ports

from tests.interop.harness import (
    DTLS,
    LARGE,
    OSCORE,
    OSCORE_CLIENT,
    PEERS,
    SERVER_CREDENTIALS,
    Ours,
    aiocoap_context,
    aiocoap_program,
    run,
    write_json,
)
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program


class Peer(NamedTuple):
    """An aiocoap server that is running, and what our client needs for it."""

    program: Program
    base: str
    credentials: object


def serve_with_aiocoap(security: str, server: Callable[..., tuple[Program, int]], directory: Path) -> Peer:
    if security == "plain":
        program, port = server()
        return Peer(program, f"coap://127.0.0.1:{port}", None)
    if security == "oscore":
        context = aiocoap_context(directory / "aiocoap-server-context", OSCORE)
        program, port = server({":us": {"oscore": {"basedir": f"{context}/"}}})
        base = f"coap://127.0.0.1:{port}"
        return Peer(program, base, {f"{base}/*": {"oscore": OSCORE_CLIENT}})
    program, port = server({":us": {"dtls": DTLS}}, dtls=True)
    base = f"coaps://127.0.0.1:{port + 1}"
    return Peer(program, base, {f"{base}/*": {"dtls": DTLS}})


class AiocoapClient:
    """``aiocoap-client`` with the credentials that fit our server."""

    def __init__(self, security: str, port: int, directory: Path) -> None:
        scheme = "coaps" if security == "dtls" else "coap"
        self.base = f"{scheme}://127.0.0.1:{port}"
        self.options: list[str] = []
        if security != "plain":
            entry: dict[str, object] = {"dtls": DTLS}
            if security == "oscore":
                context = aiocoap_context(directory / "aiocoap-client-context", OSCORE_CLIENT)
                entry = {"oscore": {"basedir": f"{context}/"}}
            path = write_json(directory / "aiocoap-client.json", {f"{self.base}/*": entry})
            self.options = ["--credentials", str(path)]

    def command(self, path: str, *arguments: str) -> list[str]:
        return [aiocoap_program("aiocoap-client"), *self.options, *arguments, f"{self.base}{path}"]


def our_server(ours: Ours, security: str) -> dict[str, int]:
    if security == "plain":
        return ours.serve("coap")[1]
    return ours.serve("coap", "coaps", credentials=SERVER_CREDENTIALS)[1]


@pytest.mark.parametrize("security", ["plain", "oscore", "dtls"])
def test_our_client_gets_from_aiocoap(
    security: str, ours: Ours, aiocoap_server: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    peer = serve_with_aiocoap(security, aiocoap_server, tmp_path)
    for _ in range(2):  # the second command continues the state of the first
        answer = ours.run("get", f"{peer.base}/whoami", credentials=peer.credentials)
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout) == ([] if security == "plain" else [":us"])


@pytest.mark.parametrize("security", ["plain", "oscore", "dtls"])
def test_our_client_moves_large_bodies_to_and_from_aiocoap(
    security: str, ours: Ours, aiocoap_server: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    peer = serve_with_aiocoap(security, aiocoap_server, tmp_path)
    answer = ours.run("get", f"{peer.base}/large", credentials=peer.credentials)
    assert answer.stdout == LARGE, answer.stderr
    body = tmp_path / "body"
    body.write_bytes(LARGE[:5000])
    answer = ours.run("post", f"{peer.base}/echo", "--payload", f"@{body}", credentials=peer.credentials)
    assert answer.stdout == LARGE[:5000], answer.stderr


@pytest.mark.parametrize("security", ["plain", "oscore"])
def test_our_client_observes_aiocoap(
    security: str, ours: Ours, aiocoap_server: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    peer = serve_with_aiocoap(security, aiocoap_server, tmp_path)
    observer = ours.start("observe", f"{peer.base}/obs", credentials=peer.credentials)
    observer.wait_for("^00000$")
    for value in ("11111", "22222"):
        run(aiocoap_program("aiocoap-client"), "-m", "put", "--payload", value, f"{peer.base}/obs")
        observer.wait_for(f"^{value}$")
    assert observer.stop() == 0
    # It was told that nobody listens any more. (Its OSCORE hands on no Observe but 0.)
    peer.program.wait_for("^GET /obs .*claims=:us$" if security == "oscore" else "^GET /obs .*observe=1$")


@pytest.mark.parametrize("security", ["plain", "oscore", "dtls"])
def test_aiocoap_gets_from_our_server(security: str, ours: Ours, tmp_path: Path) -> None:
    ports = our_server(ours, security)
    client = AiocoapClient(security, ports["coaps" if security == "dtls" else "coap"], tmp_path)
    expected = {"plain": [], "oscore": [":sensor-18"], "dtls": [":sensor-17"]}
    for _ in range(2):
        printed = run(*client.command("/whoami", "--no-pretty-print"))
        assert json.loads(printed)["claims"] == expected[security]
        assert json.loads(printed)["security"] == ("none" if security == "plain" else security)


@pytest.mark.parametrize("security", ["plain", "oscore", "dtls"])
def test_aiocoap_moves_large_bodies_to_and_from_our_server(security: str, ours: Ours, tmp_path: Path) -> None:
    ports = our_server(ours, security)
    client = AiocoapClient(security, ports["coaps" if security == "dtls" else "coap"], tmp_path)
    assert LARGE.decode("latin1") in run(*client.command("/large"))
    body = tmp_path / "body"
    body.write_bytes(LARGE[:5000])
    run(*client.command("/store/thing", "-m", "put", "--payload", f"@{body}"))
    assert LARGE[:5000].decode("latin1") in run(*client.command("/store/thing"))


@pytest.mark.parametrize("security", ["plain", "oscore"])
def test_aiocoap_observes_our_server(security: str, ours: Ours, start: Callable[..., Program], tmp_path: Path) -> None:
    ports = our_server(ours, security)
    client = AiocoapClient(security, ports["coap"], tmp_path)
    script = PEERS / "aiocoap_observer.py"
    observer = start(aiocoap_program("python"), script, f"{client.base}/obs", *client.options[1:])
    observer.wait_for("^00000$")
    target = f"coap://127.0.0.1:{ports['coap']}" if security == "plain" else f"coaps://127.0.0.1:{ports['coaps']}"
    credentials = None if security == "plain" else {f"{target}/*": {"dtls": DTLS}}
    for value in ("11111", "22222"):
        assert ours.run("put", f"{target}/obs", "--payload", value, credentials=credentials).returncode == 0
        observer.wait_for(f"^{value}$")


@pytest.mark.parametrize("security", ["plain", "oscore"])
def test_our_client_reaches_our_server_through_aiocoap_s_proxy(
    security: str, ours: Ours, start: Callable[..., Program], tmp_path: Path
) -> None:
    """``--proxy``: it forwards to where Proxy-Scheme and the Uri options say; OSCORE goes through it."""
    credentials = SERVER_CREDENTIALS | {"*": {"unprotected": True}} if security == "plain" else SERVER_CREDENTIALS
    _, ports = ours.serve("coap", credentials=credentials)
    port = free_ports()
    start(aiocoap_program("aiocoap-proxy"), "--forward", "--bind", f"127.0.0.1:{port}").wait_until_bound(port)
    target, hop = f"coap://127.0.0.1:{ports['coap']}", f"coap://127.0.0.1:{port}"
    keys = None
    if security == "oscore":
        keys = {f"{target}/*": {"oscore": OSCORE_CLIENT}, f"{hop}/*": {"unprotected": True}}

    def through(method: str, path: str, *arguments: str) -> bytes:
        done = ours.run(method, f"{target}{path}", "--proxy", hop, *arguments, credentials=keys)
        assert done.returncode == 0, done.stderr
        return done.stdout

    through("put", "/store/x", "--payload", "through")
    assert through("get", "/store/x") == b"through"
    assert through("get", "/large") == LARGE
    if keys is not None:  # without OSCORE this proxy forwards no response with Max-Age
        assert json.loads(through("get", "/whoami"))["claims"] == [":sensor-18"]


def test_a_context_directory_is_used_in_turns(ours: Ours, tmp_path: Path) -> None:
    """aiocoap and we use one client context one after the other: no number is used twice, nothing is refused."""
    _, ports = ours.serve("coap", credentials=SERVER_CREDENTIALS)
    with Relay(ports["coap"]) as relay:
        client = AiocoapClient("oscore", relay.port, tmp_path)
        pattern = {f"{client.base}/*": {"oscore": {"basedir": str(tmp_path / "aiocoap-client-context")}}}
        for _ in range(2):
            assert run(*client.command("/hello")).strip() == "hello"
            answer = ours.run("get", f"{client.base}/hello", credentials=pattern)
            assert answer.stdout == b"hello", answer.stderr
        dissected = relay.dissect(
            tmp_path, "-d", f"udp.port=={relay.port},coap", "-Y", f"udp.dstport=={relay.port}",
            "-T", "fields", "-e", "coap.opt.object_security_piv",
        )  # fmt: skip
    numbers = [line for line in dissected if line]
    assert len(numbers) >= 4
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("client", ["ours", "aiocoap"])
def test_oscore_shows_nothing_on_the_wire(
    client: str, ours: Ours, aiocoap_server: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    """By Wireshark's eyes each datagram with a code carries OSCORE, and the path, method and answer are nowhere."""
    if client == "ours":
        context = aiocoap_context(tmp_path / "server-context", OSCORE)
        _, port = aiocoap_server({":us": {"oscore": {"basedir": f"{context}/"}}})
    else:
        port = ours.serve("coap", credentials=SERVER_CREDENTIALS)[1]["coap"]
    with Relay(port) as relay:
        base = f"coap://127.0.0.1:{relay.port}"
        if client == "ours":
            seen = ours.run(
                "get", f"{base}/whoami", credentials={f"{base}/*": {"oscore": OSCORE_CLIENT}}
            ).stdout.decode()
        else:
            seen = run(*AiocoapClient("oscore", relay.port, tmp_path).command("/whoami"))
        dissected = relay.dissect(
            tmp_path, "-d", f"udp.port=={relay.port},coap", "-T", "fields", "-e", "coap.code", "-e", "coap.opt.name"
        )
    assert ":us" in seen or ":sensor-18" in seen
    assert dissected
    for line in dissected:
        code, _, options = line.partition("\t")
        assert code == "0" or (code in {"2", "68"} and "OSCORE" in options), dissected
    assert b"whoami" not in relay.everything
    assert b"sensor" not in relay.everything
