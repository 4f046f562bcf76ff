"""Handshakes with OpenSSL over a network that loses, doubles, delays or reorders one datagram after the other.

(With ``-listen`` s_server gives up at its own first time-out.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.processes import Program, free_ports

from securecoap.dtls.parameters import PskCredential
from tests.interop.rough_relay import DEEDS, RoughRelay
from tests.interop.socket_peer import installed, typed
from tests.interop.test_dtls_keys import Files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.interop

KEY, IDENTITY = b"a shared key", b"client"
PSK = ("-psk", KEY.hex(), "-psk_identity", IDENTITY.decode(), "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0")
CREDENTIAL = PskCredential(IDENTITY, KEY)
FLIGHTS = 6
"""Of both sides together: two ClientHellos, HelloVerifyRequest, and one flight each, and the server's last."""


@pytest.mark.parametrize("mode", ["psk", "certificates"])
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("which", range(FLIGHTS))
def test_our_client_and_an_openssl_server(
    start: Callable[..., Program], peer, tmp_path: Path, mode: str, deed: str, which: int
) -> None:
    files = Files(tmp_path)
    port = free_ports()
    own = ("-cert", files.certificate("gateway"), "-key", files.key("gateway"), "-CAfile", files.ca, "-Verify", "2")
    options = (*PSK, "-nocert") if mode == "psk" else own
    server = start(installed("openssl"), "s_server", "-dtls1_2", "-timeout", "-accept", f"127.0.0.1:{port}", *options)
    server.wait_until_bound(port)
    ours = peer()
    with RoughRelay(port, deed, which) as relay:
        session = ours.connect(relay.port, CREDENTIAL if mode == "psk" else files.certificate_client())
        assert relay.done
        ours.send(session, b"from us to them\n")
        server.wait_for("from us to them")
        typed(server, b"from them to us\n")
        ours.run_until(lambda: ours.data)
        assert ours.data == [b"from them to us\n"]


@pytest.mark.parametrize("mode", ["psk", "certificates"])
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("which", range(FLIGHTS))
def test_an_openssl_client_and_our_server(
    start: Callable[..., Program], peer, tmp_path: Path, mode: str, deed: str, which: int
) -> None:
    files = Files(tmp_path)
    ours = peer(lookup={IDENTITY: CREDENTIAL}.get, keys=files.certificate_server())
    own = ("-cert", files.certificate("device"), "-key", files.key("device"), "-CAfile", files.ca)
    with RoughRelay(ours.port, deed, which) as relay:
        client = start(
            installed("openssl"), "s_client", "-dtls1_2", "-timeout", "-connect", f"127.0.0.1:{relay.port}",
            *(PSK if mode == "psk" else own),
        )  # fmt: skip
        ours.run_until(lambda: ours.established)
        typed(client, b"from them to us\n")
        ours.run_until(lambda: ours.data)
        assert relay.done
        assert ours.data == [b"from them to us\n"]
        ours.send(ours.established[-1], b"from us to them\n")
        client.wait_for("from us to them")
        assert "Extended master secret: yes" in client.output
