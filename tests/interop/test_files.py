"""Files of ours for clients of others: libcoap and aiocoap fetch them by blocks, list them, and write where they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import DTLS, IDENTITY, PSK, Ours, aiocoap_program, program, run

if TYPE_CHECKING:
    from pathlib import Path

BODY = bytes(b"0123456789abcdef"[number % 16] for number in range(70_001))
CREDENTIALS = {
    ":sensor-17": {"dtls": DTLS},
    "*": {"unprotected": True},
    "coap*://*/files/inbox/*": {"any-of": [":sensor-17"], "methods": ["PUT", "DELETE"]},
}


@pytest.fixture
def bases(ours: Ours, tmp_path: Path) -> dict[str, str]:
    """The server's URIs by build of libcoap."""
    (tmp_path / "www" / "inbox").mkdir(parents=True)
    (tmp_path / "www" / "large.txt").write_bytes(BODY)
    site = ["--files", f"{tmp_path / 'www'}=/files"]
    _, ports = ours.serve("coap", "coaps", credentials=CREDENTIALS, site=site)
    plain, secure = f"coap://127.0.0.1:{ports['coap']}/files", f"coaps://127.0.0.1:{ports['coaps']}/files"
    return {"notls": plain, "openssl": secure, "gnutls": secure}


@pytest.mark.parametrize("build", ["notls", "openssl", "gnutls"])
def test_libcoap(build: str, bases: dict[str, str], tmp_path: Path) -> None:
    base, got = bases[build], tmp_path / "got"
    keys = [] if build == "notls" else ["-k", PSK, "-u", IDENTITY]

    def client(*arguments: str | Path) -> str:
        return run(program(f"coap-client-{build}"), *keys, "-B", "60", *arguments)

    for size in ("1024", "256"):
        client("-b", size, "-o", got, f"{base}/large.txt")
        assert got.read_bytes() == BODY
        got.unlink()
    assert f"</files/large.txt>;ct=0;sz={len(BODY)}" in client(f"{base}/")
    assert "4.04" in client(f"{base}/inbox/%2e%2e%2flarge.txt")
    got.write_bytes(BODY[:40_000])
    outcome = client("-m", "put", "-f", got, f"{base}/inbox/new")
    new = tmp_path / "www" / "inbox" / "new"
    if build == "notls":
        assert "4.01" in outcome
        assert not new.exists()
    else:
        assert new.read_bytes() == BODY[:40_000]
        client("-m", "delete", f"{base}/inbox/new")
        assert not new.exists()
    assert "4.05" in client("-m", "put", "-e", "x", f"{base}/large.txt")


def test_aiocoap(bases: dict[str, str]) -> None:
    client = aiocoap_program("aiocoap-client")
    assert run(client, "--quiet", f"{bases['notls']}/large.txt").strip() == BODY.decode()
    assert "4.05" in run(client, "-m", "put", "--payload", "x", f"{bases['notls']}/large.txt")
