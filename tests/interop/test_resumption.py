"""OpenSSL's client goes on with a session of our server: by ticket (RFC 5077) and by session ID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import IDENTITY, PSK, SERVER_CREDENTIALS, Ours, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program


@pytest.mark.parametrize("by", ["ticket", "id"])
def test_openssl_s_client(by: str, ours: Ours, start: Callable[..., Program], tmp_path: Path) -> None:
    port = ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]
    session = tmp_path / "session.pem"

    def connect(*options: str) -> Program:
        return start(
            program("openssl"), "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}",
            "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-psk", PSK.encode().hex(), "-psk_identity", IDENTITY,
            *(["-no_ticket"] if by == "id" else []), *options,
        )  # fmt: skip

    first = connect("-sess_out", str(session))
    first.wait_for("New, TLSv1.2, Cipher is PSK-AES128-CCM8")
    first.wait_for("Extended master secret: yes")
    assert ("TLS session ticket:" in first.output) is (by == "ticket")
    first.stop()
    again = connect("-sess_in", str(session))
    again.wait_for("Reused, TLSv1.2, Cipher is PSK-AES128-CCM8")
