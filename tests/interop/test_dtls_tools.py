"""OpenSSL's and GnuTLS's own DTLS programs against our server: the handshake and its ciphers, without any CoAP of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import IDENTITY, PSK, SERVER_CREDENTIALS, Ours, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.processes import Program


@pytest.mark.parametrize("cipher", ["PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256"])
def test_openssl_s_client(cipher: str, ours: Ours, start: Callable[..., Program]) -> None:
    port = ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]
    connection = start(
        program("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-cipher", f"{cipher}:@SECLEVEL=0",
        "-psk", PSK.encode().hex(), "-psk_identity", IDENTITY,
    )  # fmt: skip
    connection.wait_for(rf"Cipher is {cipher}")
    connection.wait_for("Extended master secret: yes")


def test_openssl_s_client_with_a_wrong_key(ours: Ours, start: Callable[..., Program]) -> None:
    port = ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]
    connection = start(
        program("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}",
        "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-psk", "00" * 16, "-psk_identity", IDENTITY, "-timeout",
    )  # fmt: skip
    connection.wait_for("alert", seconds=30)
    assert "Extended master secret: yes" not in connection.output or "error" in connection.output


@pytest.mark.parametrize("cipher", ["AES-128-CCM-8", "AES-128-GCM"])
def test_gnutls_cli(cipher: str, ours: Ours, start: Callable[..., Program]) -> None:
    port = ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]
    priority = f"NONE:+VERS-DTLS1.2:+PSK:+{cipher}:+AEAD:+SIGN-ALL:+COMP-NULL"
    connection = start(
        program("gnutls-cli"), "--udp", "-p", str(port), "127.0.0.1", "--priority", priority,
        "--pskusername", IDENTITY, "--pskkey", PSK.encode().hex(),
    )  # fmt: skip
    connection.wait_for("Handshake was completed")
