"""Our DTLS engine against OpenSSL's and GnuTLS's, over loopback sockets, in both directions (RFC 6347, RFC 4279).

CoAP stacks over DTLS, and tinydtls, are tested elsewhere; here it is records and handshakes alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import Program, free_ports

from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.suites import SUITES
from tests.interop.socket_peer import SocketPeer, installed, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.interop

KEY = b"secretPSK"
IDENTITY = b"client"
CREDENTIAL = PskCredential(IDENTITY, KEY, (":client",))
CIPHERS = {
    0xC0A8: "PSK-AES128-CCM8",
    0x00A8: "PSK-AES128-GCM-SHA256",
    0xC0A4: "PSK-AES128-CCM",
    0x00A9: "PSK-AES256-GCM-SHA384",
    0xC0A5: "PSK-AES256-CCM",
    0xC0A9: "PSK-AES256-CCM8",
}
GNUTLS = "NONE:+VERS-DTLS1.2:+PSK:+SIGN-ALL:+COMP-NULL:+MAC-ALL:+AEAD:+AES-128-CCM-8:+AES-128-GCM"


def openssl_server(
    start: Callable[..., Program], *arguments: str, cipher: str = "PSK-AES128-CCM8"
) -> tuple[Program, int]:
    port = free_ports()
    server = start(
        *(installed("openssl"), "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", "-nocert"),
        *("-psk", KEY.hex(), "-psk_identity", IDENTITY.decode(), "-cipher", f"{cipher}:@SECLEVEL=0", *arguments),
    )
    server.wait_until_bound(port)
    return server, port


def openssl_client(start: Callable[..., Program], port: int, *arguments: str, key: bytes = KEY) -> Program:
    return start(
        *(installed("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-psk", key.hex()),
        *(
            "-psk_identity",
            IDENTITY.decode(),
            "-cipher",
            "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:@SECLEVEL=0",
            *arguments,
        ),
    )


def exchange_with_server(ours: SocketPeer, server: Program, port: int) -> None:
    ours.endpoint.connect(("127.0.0.1", port), CREDENTIAL, time.monotonic())
    ours.run_until(lambda: ours.established or ours.failed)
    assert not ours.failed
    ours.send(ours.established[0], b"from us to them\n")
    server.wait_for("from us to them")
    typed(server, b"from them to us\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"from them to us\n"]


@pytest.mark.parametrize("code", sorted(CIPHERS))
def test_our_client_and_openssl_server_with_each_suite(start, peer, code):
    server, port = openssl_server(start, cipher=CIPHERS[code])
    exchange_with_server(peer(parameters=DtlsParameters(suites=(SUITES[code],))), server, port)


def test_our_client_and_openssl_server_with_a_hint_a_cookie_and_a_small_mtu(start, peer):
    server, port = openssl_server(start, "-psk_hint", "a hint", "-listen", "-mtu", "256")
    exchange_with_server(peer(), server, port)


def test_openssl_server_understands_our_close_notify(start, peer):
    server, port = openssl_server(start)
    ours = peer()
    exchange_with_server(ours, server, port)
    ours.endpoint.close(ours.established[0])
    server.wait_for("^DONE")


def test_openssl_server_refuses_our_wrong_key(start, peer):
    _, port = openssl_server(start)
    ours = peer(parameters=DtlsParameters(handshake_time_limit=3.0))
    ours.endpoint.connect(("127.0.0.1", port), PskCredential(IDENTITY, b"not the key"), time.monotonic())
    ours.run_until(lambda: ours.failed)
    assert not ours.established


def test_a_dead_server_fails_within_the_time_limit(peer):
    ours = peer(parameters=DtlsParameters(handshake_time_limit=1.5))
    ours.endpoint.connect(("127.0.0.1", free_ports()), CREDENTIAL, time.monotonic())
    ours.run_until(lambda: ours.failed, 5.0)
    assert "nobody answered" in str(ours.failed[0])


def serve(peer: Callable[..., SocketPeer], **parameters: Any) -> SocketPeer:
    return peer(lookup={IDENTITY: CREDENTIAL}.get, parameters=DtlsParameters(**parameters))


@pytest.mark.parametrize("parameters", [{}, {"identity_hint": b"a hint"}, {"datagram_size": 128}])
def test_our_server_and_openssl_client(start, peer, parameters):
    ours = serve(peer, **parameters)
    client = openssl_client(start, ours.port, *(["-mtu", "300"] if parameters else []))
    ours.run_until(lambda: ours.established)
    assert ours.established[0].claims == (":client",)
    assert ours.largest <= parameters.get("datagram_size", 1232)
    typed(client, b"from them to us\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"from them to us\n"]
    ours.send(ours.established[0], b"from us to them\n")
    client.wait_for("from us to them")
    assert "Secure Renegotiation IS supported" in client.output
    assert "Extended master secret: yes" in client.output
    typed(client, b"Q\n")
    ours.run_until(lambda: ours.ended)
    assert ours.ended[0].name == "CLOSED_BY_PEER"


def test_our_server_refuses_renegotiation_to_openssl(start, peer):
    ours = serve(peer)
    client = openssl_client(start, ours.port)
    ours.run_until(lambda: ours.established)
    typed(client, b"R\n")
    end = time.monotonic() + 2
    ours.run_until(lambda: ours.ended or time.monotonic() > end)
    assert len(ours.established) == 1
    client.wait_for("no renegotiation|RENEGOTIATING")


def test_our_server_refuses_openssl_with_a_wrong_key(start, peer):
    ours = serve(peer)
    client = openssl_client(start, ours.port, key=b"another key")
    ours.run_until(lambda: ours.failed)
    assert ours.failed[0].alert == "decrypt_error"
    client.wait_for("alert decrypt error")


def test_our_client_and_gnutls_server(start, peer, tmp_path):
    ours = peer()
    port = free_ports()
    server = gnutls_server(start, port, tmp_path)
    ours.endpoint.connect(("127.0.0.1", port), CREDENTIAL, time.monotonic())
    ours.run_until(lambda: ours.established or ours.failed)
    assert not ours.failed
    ours.send(ours.established[0], b"echo this\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"echo this\n"]
    assert server.output is not None


def gnutls_server(start: Callable[..., Program], port: int, directory: Path) -> Program:
    passwords = directory / "psk.txt"
    passwords.write_text(f"{IDENTITY.decode()}:{KEY.hex()}\n")
    server = start(
        *(installed("gnutls-serv"), "--udp", "--echo", "-p", str(port), "--priority", GNUTLS),
        *("--pskpasswd", str(passwords), "--pskhint", "gnutls"),
    )
    server.wait_until_bound(port)
    return server


def test_our_server_and_gnutls_client(start, peer):
    ours = serve(peer)
    client = start(
        *(
            installed("gnutls-cli"),
            "--udp",
            "-p",
            str(ours.port),
            "--priority",
            GNUTLS,
            "--pskusername",
            IDENTITY.decode(),
        ),
        *("--pskkey", KEY.hex(), "127.0.0.1"),
    )
    ours.run_until(lambda: ours.established)
    typed(client, b"from them to us\n")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"from them to us\n"]
    ours.send(ours.established[0], b"from us to them\n")
    client.wait_for("from us to them")
