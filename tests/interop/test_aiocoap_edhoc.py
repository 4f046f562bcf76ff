"""aiocoap 0.4.17's EDHOC, both directions: no side has an OSCORE key in its files, and yet both speak OSCORE."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import free_ports

from securecoap import Code, Context, Message, Resource, Site
from securecoap.credentials.ccs import private_scalar, public_x
from securecoap.edhoc.messages import parse_message_1
from securecoap.wire import numbers
from tests.interop.harness import LARGE, PEERS, Ours, aiocoap_program, run
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program

pytest.importorskip("lakers", reason="lakers-python is not installed (tools/test installs the extra edhoc)")

Plain = dict[Any, Any]
DEVICE_KEY = private_scalar({1: 2, -1: 1, -4: bytes(range(1, 33))})
SERVER_KEY = private_scalar({1: 2, -1: 1, -4: bytes(range(101, 133))})


def claims_set(scalar: bytes, subject: str, kid: bytes) -> Plain:
    return {14: {2: subject, 8: {1: {1: 2, 2: kid, -1: 1, -2: public_x(scalar)}}}}


DEVICE, GATEWAY = claims_set(DEVICE_KEY, "device", b"\x14"), claims_set(SERVER_KEY, "gateway", b"\x01")


def our_form(value: Any) -> Any:
    """As JSON has it: names for numbers, and objects for byte strings."""
    if isinstance(value, dict):
        return {str(name): our_form(member) for name, member in value.items()}
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def diagnostic(value: Any) -> str:
    """CBOR's diagnostic notation, which aiocoap reads."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{diagnostic(name)}: {diagnostic(member)}" for name, member in value.items()) + "}"
    return f"h'{value.hex()}'" if isinstance(value, bytes) else json.dumps(value)


def key_file(directory: Path, name: str, scalar: bytes) -> Path:
    path = directory / f"{name}.cosekey"
    path.write_text(diagnostic({1: 2, -1: 1, -4: scalar}))
    path.chmod(0o600)
    return path


def edhoc(own: Plain | None, key: Path | None, peer: Plain | None, style: str = "by-key-id", **further: Any) -> Plain:
    members: Plain = {"suite": 2, "method": 3, **further}
    if own is not None:
        members |= {"own-cred": own, "own-cred-style": style}
    if key is not None:
        members["private-key-file"] = str(key)
    if peer is not None:
        members["peer-cred"] = peer
    return {"edhoc-oscore": members}


def kinds(relay: Relay) -> list[str]:
    """What the client sent, by codes and options."""
    found = []
    for inwards, data in relay.datagrams:
        message = Message.decode(data)
        if not inwards or message.code is None or not 0 < message.code < 32:
            continue
        present = {number for number, _ in message.options.pairs}
        if numbers.OSCORE in present:
            found.append("combined" if numbers.EDHOC in present else "oscore")
        else:
            assert message.options.uri_path == (".well-known", "edhoc")
            found.append("message_1" if message.payload[:1] == b"\xf5" else "message_3")
            if found[-1] == "message_1":
                assert parse_message_1(message.payload[1:]).suites == (2,)
    return list(dict.fromkeys(found)) if "oscore" not in found else found


@pytest.fixture
def aiocoap_edhoc_server(
    start: Callable[..., Program], tmp_path: Path
) -> Callable[[Plain | None], tuple[Program, int]]:
    """aiocoap with an identity and one device that it knows, or who says only who it is."""

    def starter(peer: Plain | None) -> tuple[Program, int]:
        port = free_ports()
        credentials = {
            f"coap://127.0.0.1:{port}/*": edhoc(GATEWAY, key_file(tmp_path, "theirs", SERVER_KEY), None),
            ":device": edhoc(None, None, peer),
        }
        path = tmp_path / "aiocoap-server.diag"
        path.write_text(diagnostic(credentials))
        script = PEERS / "aiocoap_server.py"
        server = start(aiocoap_program("python"), script, str(port), str(path), "--debug")
        server.wait_for("^ready")
        return server, port

    return starter


@pytest.mark.parametrize("style", ["by-key-id", "by-value"])
@pytest.mark.parametrize("combined", [True, False])
def test_our_client_and_aiocoaps_server(
    style: str,
    combined: bool,
    ours: Ours,
    aiocoap_edhoc_server: Callable[[Plain | None], tuple[Program, int]],
    tmp_path: Path,
) -> None:
    server, port = aiocoap_edhoc_server(DEVICE)
    with Relay(port) as relay:
        base = f"coap://127.0.0.1:{relay.port}"
        further = {} if combined else {"use-combined-edhoc": False}
        entry = edhoc(DEVICE, key_file(tmp_path, "ours", DEVICE_KEY), GATEWAY, style, **further)
        answer = ours.run("get", f"{base}/whoami", credentials={f"{base}/*": our_form(entry)})
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout) == [":device"]
        large = ours.run("get", f"{base}/large", credentials={f"{base}/*": our_form(entry)})
        assert large.stdout == LARGE, large.stderr
        assert kinds(relay)[: 2 if combined else 3] == (
            ["message_1", "combined"] if combined else ["message_1", "message_3", "oscore"]
        )
        # One exchange for each command, though the second needed 64 requests.
        assert kinds(relay).count("message_1") == 2
        assert b"whoami" not in relay.everything
    # In aiocoap's own words.
    server.wait_for("Processing request as EDHOC message 1")
    server.wait_for("EDHOC context .* ready for OSCORE operation")
    server.wait_for("^GET /whoami .*claims=:device$")


def test_our_unauthenticated_client_and_aiocoaps_server(
    ours: Ours, aiocoap_edhoc_server: Callable[[Plain | None], tuple[Program, int]]
) -> None:
    _, port = aiocoap_edhoc_server({"unauthenticated": True})
    base = f"coap://127.0.0.1:{port}"
    entry = edhoc({"unauthenticated": True}, None, GATEWAY)
    del entry["edhoc-oscore"]["own-cred-style"]
    answer = ours.run("get", f"{base}/whoami", credentials={f"{base}/*": our_form(entry)})
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [":device"]


def test_aiocoaps_server_is_another(
    ours: Ours, aiocoap_edhoc_server: Callable[[Plain | None], tuple[Program, int]], tmp_path: Path
) -> None:
    _, port = aiocoap_edhoc_server(DEVICE)
    base = f"coap://127.0.0.1:{port}"
    other = claims_set(private_scalar({1: 2, -1: 1, -4: bytes(range(51, 83))}), "gateway", b"\x01")
    entry = edhoc(DEVICE, key_file(tmp_path, "ours", DEVICE_KEY), other)
    answer = ours.run("get", f"{base}/whoami", credentials={f"{base}/*": our_form(entry)})
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert b"does not verify" in answer.stderr


def aiocoap_client(directory: Path, base: str, style: str, **further: Any) -> list[str]:
    entry = edhoc(DEVICE, key_file(directory, "theirs", DEVICE_KEY), GATEWAY, style, **further)
    path = directory / "aiocoap-client.diag"
    path.write_text(diagnostic({f"{base}/*": entry}))
    return [aiocoap_program("aiocoap-client"), "--credentials", str(path), "-v", "-v", "-v"]


@pytest.mark.parametrize("style", ["by-key-id", "by-value"])
@pytest.mark.parametrize("combined", [True, False])
def test_aiocoaps_client_and_our_server(style: str, combined: bool, ours: Ours, tmp_path: Path) -> None:
    """In aiocoap's form of a server's file: the identity under its URI, the device apart."""
    identity = edhoc(GATEWAY, key_file(tmp_path, "ours", SERVER_KEY), None)
    credentials = our_form({"coap://*/*": identity, ":device": edhoc(None, None, DEVICE)})
    _, ports = ours.serve("coap", credentials=credentials)
    with Relay(ports["coap"]) as relay:
        base = f"coap://127.0.0.1:{relay.port}"
        further = {} if combined else {"use-combined-edhoc": False}
        command = aiocoap_client(tmp_path, base, style, **further)
        printed = run(*command, f"{base}/whoami", "--no-pretty-print")
        assert '"claims": [":device"]' in printed, printed
        assert '"security": "oscore"' in printed
        assert "EDHOC context" in printed  # aiocoap's own words
        assert kinds(relay)[:2] == ["message_1", "combined" if combined else "message_3"]
        assert b"whoami" not in relay.everything


def test_aiocoaps_client_whom_our_server_does_not_know(ours: Ours, tmp_path: Path) -> None:
    identity = edhoc(GATEWAY, key_file(tmp_path, "ours", SERVER_KEY), None)
    stranger = claims_set(SERVER_KEY[::-1], "other", b"\x15")
    _, ports = ours.serve("coap", credentials=our_form({"coap://*/*": identity, ":other": edhoc(None, None, stranger)}))
    base = f"coap://127.0.0.1:{ports['coap']}"
    printed = run(*aiocoap_client(tmp_path, base, "by-value"), f"{base}/whoami", "--no-pretty-print")
    assert "claims" not in printed


def test_wireshark_sees_the_option_and_oscore(
    ours: Ours, aiocoap_edhoc_server: Callable[[Plain | None], tuple[Program, int]], tmp_path: Path
) -> None:
    _, port = aiocoap_edhoc_server(DEVICE)
    with Relay(port) as relay:
        base = f"coap://127.0.0.1:{relay.port}"
        entry = edhoc(DEVICE, key_file(tmp_path, "ours", DEVICE_KEY), GATEWAY)
        assert ours.run("get", f"{base}/hello", credentials={f"{base}/*": our_form(entry)}).stdout == b"hello"
        dissected = relay.dissect(
            tmp_path, "-d", f"udp.port=={relay.port},coap", "-T", "fields", "-e", "coap.code", "-e", "coap.opt.name"
        )
    with_code = [line for line in dissected if not line.startswith("0\t")]
    assert "Uri-Path" in with_code[0]
    assert "OSCORE" in with_code[2]
    assert "21" in with_code[2] or "EDHOC" in with_code[2]
    assert "OSCORE" in with_code[3]


def test_through_aiocoaps_proxy(start: Callable[..., Program], tmp_path: Path) -> None:
    """The proxy carries message_1 and the combined request (RFC 9668 section 3.1: Safe-to-Forward), and sees nothing."""
    port = free_ports()
    proxy = start(aiocoap_program("aiocoap-proxy"), "--forward", "--bind", f"127.0.0.1:{port}")
    proxy.wait_until_bound(port)
    server_side = {":device": edhoc(GATEWAY, key_file(tmp_path, "server", SERVER_KEY), DEVICE)}

    class Who(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=" ".join(request.remote.authenticated_claims).encode())

    async def ask(relay: Relay, server_port: int) -> list[bytes]:
        device = edhoc(DEVICE, key_file(tmp_path, "device", DEVICE_KEY), GATEWAY)
        known = {f"coap://127.0.0.1:{server_port}/*": device, f"coap://127.0.0.1:{relay.port}/*": {"unprotected": True}}
        async with Context.client(known, state=tmp_path / "client") as client:
            answers = []
            for _ in range(2):
                message = Message(
                    Code.GET, uri=f"coap://127.0.0.1:{relay.port}", proxy_scheme="coap", uri_host="127.0.0.1",
                    uri_port=server_port, uri_path=("secret-place",),
                )  # fmt: skip
                answers.append((await client.request(message).response).payload)
            return answers

    async def run_both() -> tuple[list[bytes], Relay]:
        site = Site()
        site.add("/secret-place", Who())
        async with Context.server(site, ["coap://127.0.0.1:0"], server_side, state=tmp_path / "server") as server:
            with Relay(port) as relay:
                return await ask(relay, int(server.endpoints[0].rpartition(":")[2])), relay

    answers, relay = asyncio.run(run_both())
    assert answers == [b":device"] * 2
    assert kinds(relay) == ["message_1", "combined", "oscore"]
    assert b"secret-place" not in relay.everything
