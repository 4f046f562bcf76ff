"""mbedTLS (python-mbedtls) both ways, with pre-shared keys and certificates: a third opinion on our handshakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.peers import MBEDTLS
from support.processes import Program, free_ports

from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.suites import SUITES
from tests.interop.harness import PEERS
from tests.interop.test_dtls_keys import Files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.socket_peer import SocketPeer

pytestmark = pytest.mark.interop

IDENTITY, KEY = "client", "a key of any length"
CREDENTIAL = PskCredential(IDENTITY.encode(), KEY.encode(), (":client",))
PSK = {
    0xC0A8: "TLS-PSK-WITH-AES-128-CCM-8",
    0xC0A4: "TLS-PSK-WITH-AES-128-CCM",
    0x00A8: "TLS-PSK-WITH-AES-128-GCM-SHA256",
    0x00A9: "TLS-PSK-WITH-AES-256-GCM-SHA384",
    0xC0A5: "TLS-PSK-WITH-AES-256-CCM",
    0xC0A9: "TLS-PSK-WITH-AES-256-CCM-8",
}
X509 = {
    0xC0AE: "TLS-ECDHE-ECDSA-WITH-AES-128-CCM-8",
    0xC0AC: "TLS-ECDHE-ECDSA-WITH-AES-128-CCM",
    0xC02B: "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
    0xC02C: "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
    0xC0AF: "TLS-ECDHE-ECDSA-WITH-AES-256-CCM-8",
}


def mbedtls(start: Callable[..., Program], *arguments: object) -> Program:
    interpreter = MBEDTLS / "bin" / "python"
    if not interpreter.exists():
        pytest.skip("python-mbedtls is not installed in .peers/mbedtls (tools/test installs it)")
    return start(interpreter, PEERS / "mbedtls_peer.py", *(str(argument) for argument in arguments))


def echoed(ours: SocketPeer, server: Program, port: int, credential: Any, name: str) -> None:
    server.wait_for("^ready")
    session = ours.connect(port, credential)
    ours.send(session, b"echo this")
    ours.run_until(lambda: ours.data)
    assert ours.data == [b"echo this"]
    server.wait_for(f"suite .*{name}")


def answered(ours: SocketPeer, client: Program, name: str) -> None:
    ours.run_until(lambda: ours.data or ours.failed)
    assert not ours.failed, ours.failed
    assert ours.data == [b"from them to us\n"]
    ours.send(ours.established[0], b"from us to them")
    client.wait_for("got b'from us to them'")
    assert name in client.output


@pytest.mark.parametrize("code", PSK)
def test_our_client_and_an_mbedtls_server_with_a_psk(start, peer, code):
    port = free_ports()
    server = mbedtls(start, "serve", port, PSK[code], "psk", IDENTITY, KEY)
    echoed(peer(parameters=DtlsParameters(suites=(SUITES[code],))), server, port, CREDENTIAL, PSK[code])


@pytest.mark.parametrize("code", PSK)
def test_an_mbedtls_client_and_our_server_with_a_psk(start, peer, code):
    ours = peer(lookup={CREDENTIAL.identity: CREDENTIAL}.get)
    answered(ours, mbedtls(start, "client", ours.port, PSK[code], "psk", IDENTITY, KEY), PSK[code])


@pytest.mark.parametrize("code", X509)
def test_our_client_and_an_mbedtls_server_with_certificates(start, peer, tmp_path, code):
    files = Files(tmp_path)
    port = free_ports()
    own = (files.ca, files.certificate("gateway"), files.key("gateway"))
    server = mbedtls(start, "serve", port, X509[code], "x509", *own)
    ours = peer(parameters=DtlsParameters(suites=(SUITES[code],)))
    echoed(ours, server, port, files.certificate_client(), X509[code])


@pytest.mark.parametrize("code", X509)
def test_an_mbedtls_client_and_our_server_with_certificates(start, peer, tmp_path, code):
    files = Files(tmp_path)
    ours = peer(keys=files.certificate_server())
    own = (files.ca, files.certificate("device"), files.key("device"))
    answered(ours, mbedtls(start, "client", ours.port, X509[code], "x509", *own), X509[code])
    assert ours.established[0].claims == ("san:sensor-19.example",)
