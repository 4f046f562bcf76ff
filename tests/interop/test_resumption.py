"""OpenSSL's client goes on with a session of our server: by ticket (RFC 5077) and by session ID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import IDENTITY, PSK, SERVER_CREDENTIALS, Ours, program
from tests.interop.test_dtls_keys import Files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program


@pytest.mark.parametrize("by", ["ticket", "id", "id for a plain key"])
def test_openssl_s_client(by: str, ours: Ours, start: Callable[..., Program], tmp_path: Path) -> None:
    session = tmp_path / "session.pem"
    if by == "id for a plain key":  # a ticket would cost more than it saves
        cipher, credentials = "PSK-AES128-CCM8", SERVER_CREDENTIALS
        shown = ["-psk", PSK.encode().hex(), "-psk_identity", IDENTITY]
    else:
        files = Files(tmp_path)
        cipher, credentials = "ECDHE-ECDSA-AES128-CCM8", {":fleet": files.x509_entry("gateway")}
        shown = ["-cert", files.certificate("device"), "-key", files.key("device"), "-CAfile", files.ca]
    port = ours.serve("coaps", credentials=credentials)[1]["coaps"]

    def connect(*options: str) -> Program:
        return start(
            program("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}",
            "-cipher", f"{cipher}:@SECLEVEL=0", *shown, *(["-no_ticket"] if by == "id" else []), *options,
        )  # fmt: skip

    first = connect("-sess_out", str(session))
    first.wait_for(f"New, TLSv1.2, Cipher is {cipher}")
    first.wait_for("Extended master secret: yes")
    assert ("TLS session ticket:" in first.output) is (by == "ticket")
    first.stop()
    again = connect("-sess_in", str(session))
    again.wait_for(f"Reused, TLSv1.2, Cipher is {cipher}")
