"""Our server with the engine tinydtls: other stacks' clients, which are asked for a cookie twice (RFC 6347 section 4.2.1)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import DTLS, IDENTITY, PSK, SERVER_CREDENTIALS, Ours, program, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.processes import Program

pytest.importorskip("DTLSSocket")


@pytest.fixture
def port(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> int:
    original = ours._options
    monkeypatch.setattr(ours, "_options", lambda *arguments: [*original(*arguments), "--dtls-engine", "tinydtls"])
    return ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]


@pytest.mark.parametrize("engine", ["tinydtls", "python"])
def test_our_client(engine: str, ours: Ours, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "python":
        monkeypatch.undo()
    uri = f"coaps://127.0.0.1:{port}"
    for _ in range(3):
        answer = ours.run("get", f"{uri}/whoami", credentials={f"{uri}/*": {"dtls": DTLS}})
        assert b'":sensor-17"' in answer.stdout, answer
    assert len(ours.run("get", f"{uri}/large", credentials={f"{uri}/*": {"dtls": DTLS}}).stdout) == 65536


def test_openssl_s_client(port: int, start: Callable[..., Program]) -> None:
    connection = start(
        program("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}",
        "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-psk", PSK.encode().hex(), "-psk_identity", IDENTITY,
    )  # fmt: skip
    connection.wait_for(r"Cipher is PSK-AES128-CCM8")


def test_gnutls_cli(port: int, start: Callable[..., Program]) -> None:
    connection = start(
        program("gnutls-cli"), "--udp", "-p", str(port), "127.0.0.1",
        "--priority", "NONE:+VERS-DTLS1.2:+PSK:+AES-128-CCM-8:+AEAD:+SIGN-ALL:+COMP-NULL",
        "--pskusername", IDENTITY, "--pskkey", PSK.encode().hex(),
    )  # fmt: skip
    connection.wait_for("Handshake was completed")


@pytest.mark.parametrize("client", ["coap-client-openssl", "coap-client-gnutls"])
def test_libcoap(client: str, port: int) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"{client} is not installed (tools/test installs it)")
    printed = run(program(client), "-u", IDENTITY, "-k", PSK, f"coaps://127.0.0.1:{port}/hello")
    assert "hello" in printed
