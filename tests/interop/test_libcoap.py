"""libcoap 4.3.1 as Debian has it, both directions: plain, and DTLS-PSK with its OpenSSL and GnuTLS builds.

``coap-client`` exits with 0 whatever happens, so what it prints is what counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import DTLS, IDENTITY, LARGE, PSK, SERVER_CREDENTIALS, Ours, program, run
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.processes import Program

BUILDS = ["notls", "openssl", "gnutls"]
SECURE = ["openssl", "gnutls"]


def our_server(ours: Ours, build: str) -> str:
    """Our server for this build of the client: its base URI."""
    if build == "notls":
        return f"coap://127.0.0.1:{ours.serve('coap')[1]['coap']}"
    return f"coaps://127.0.0.1:{ours.serve('coaps', credentials=SERVER_CREDENTIALS)[1]['coaps']}"


def client(build: str, *arguments: str | Path, key: str = PSK, identity: str = IDENTITY) -> list[str | Path]:
    keys = [] if build == "notls" else ["-k", key, "-u", identity]
    return [program(f"coap-client-{build}"), *keys, *arguments]


def peer(build: str, server: Callable[..., tuple[Program, int]], hint: str = "") -> tuple[str, object]:
    """A libcoap server of this build: its base URI, and our credentials for it."""
    if build == "notls":
        _, port = server(build)
        return f"coap://127.0.0.1:{port}", None
    _, port = server(build, "-k", PSK, "-h", hint)
    base = f"coaps://127.0.0.1:{port + 1}"
    return base, {f"{base}/*": {"dtls": DTLS}}


@pytest.mark.parametrize("build", BUILDS)
def test_libcoap_gets_from_our_server(build: str, ours: Ours) -> None:
    base = our_server(ours, build)
    seen = json.loads(run(*client(build, f"{base}/whoami")))
    assert seen["claims"] == ([] if build == "notls" else [":sensor-17"])
    assert seen["security"] == ("none" if build == "notls" else "dtls")
    assert "4.04" in run(*client(build, f"{base}/nothing/here"))


@pytest.mark.parametrize("build", BUILDS)
def test_libcoap_moves_large_bodies_to_and_from_our_server(build: str, ours: Ours, tmp_path: Path) -> None:
    base = our_server(ours, build)
    got, body = tmp_path / "got", tmp_path / "body"
    body.write_bytes(LARGE[:5000])
    run(*client(build, "-b", "256", "-o", got, f"{base}/large"))
    assert got.read_bytes() == LARGE
    run(*client(build, "-m", "put", "-b", "512", "-f", body, f"{base}/store/thing"))
    run(*client(build, "-o", got, f"{base}/store/thing"))
    assert got.read_bytes() == LARGE[:5000]


@pytest.mark.parametrize("build", BUILDS)
def test_libcoap_observes_our_server(build: str, ours: Ours, start: Callable[..., Program]) -> None:
    base = our_server(ours, build)
    observer = start(*client(build, "-s", "60", "-w", f"{base}/obs"))
    observer.wait_for("00000")
    for value in ("11111", "22222"):
        run(*client(build, "-m", "put", "-e", value, f"{base}/obs"))
        observer.wait_for(value)


@pytest.mark.parametrize("build", SECURE)
@pytest.mark.parametrize(("key", "identity"), [("another 16 bytes", IDENTITY), (PSK, "nobody")])
def test_a_stranger_with_libcoap_gets_nothing(build: str, key: str, identity: str, ours: Ours) -> None:
    base = our_server(ours, build)
    printed = run(*client(build, "-B", "3", f"{base}/whoami", key=key, identity=identity))
    assert "claims" not in printed
    assert "sensor" not in printed
    assert json.loads(run(*client(build, f"{base}/whoami")))["claims"] == [":sensor-17"]  # the server goes on


@pytest.mark.parametrize("build", BUILDS)
def test_our_client_gets_from_libcoap(
    build: str, ours: Ours, libcoap_server: Callable[..., tuple[Program, int]]
) -> None:
    base, credentials = peer(build, libcoap_server)
    answer = ours.run("get", f"{base}/", credentials=credentials)
    assert answer.stdout.startswith(b"This is a test server made with libcoap"), answer.stderr
    missing = ours.run("get", f"{base}/nothing", credentials=credentials)
    assert missing.returncode == 1
    assert b"4.04" in missing.stderr


@pytest.mark.parametrize("build", SECURE)
def test_our_client_takes_an_identity_hint(
    build: str, ours: Ours, libcoap_server: Callable[..., tuple[Program, int]]
) -> None:
    base, credentials = peer(build, libcoap_server, hint="CoAP")
    assert b"libcoap" in ours.run("get", f"{base}/", credentials=credentials).stdout


@pytest.mark.parametrize("build", BUILDS)
def test_our_client_moves_large_bodies_to_and_from_libcoap(
    build: str, ours: Ours, libcoap_server: Callable[..., tuple[Program, int]], tmp_path: Path
) -> None:
    base, credentials = peer(build, libcoap_server)
    body = tmp_path / "body"
    body.write_bytes(LARGE[:5000])
    put = ours.run("put", f"{base}/thing", "--payload", f"@{body}", credentials=credentials)
    assert put.returncode == 0, put.stderr
    assert ours.run("get", f"{base}/thing", credentials=credentials).stdout == LARGE[:5000]


@pytest.mark.parametrize("build", BUILDS)
def test_our_client_observes_libcoap(
    build: str, ours: Ours, libcoap_server: Callable[..., tuple[Program, int]]
) -> None:
    base, credentials = peer(build, libcoap_server)
    observer = ours.start("observe", f"{base}/time", credentials=credentials)
    observer.wait_for(r"(?:\w+ \d+ \d+:\d+:\d+\s+){3}")  # it ticks every second
    assert observer.stop() == 0


@pytest.mark.parametrize("build", SECURE)
def test_our_client_with_a_wrong_key_fails_in_time(
    build: str, ours: Ours, libcoap_server: Callable[..., tuple[Program, int]]
) -> None:
    base, _ = peer(build, libcoap_server)
    wrong = {f"{base}/*": {"dtls": {**DTLS, "psk": {"ascii": "another 16 bytes"}}}}
    answer = ours.run("get", f"{base}/", credentials=wrong)
    assert answer.returncode == 3
    assert answer.stdout == b""
    assert PSK.encode() not in answer.stderr
    assert b"another 16 bytes" not in answer.stderr


@pytest.mark.parametrize("build", SECURE)
def test_dtls_shows_nothing_on_the_wire(build: str, ours: Ours, tmp_path: Path) -> None:
    """By Wireshark's eyes there is nothing but DTLS 1.2 records, and path and answer are nowhere."""
    port = ours.serve("coaps", credentials=SERVER_CREDENTIALS)[1]["coaps"]
    with Relay(port) as relay:
        # -U: no Uri-Port, which would name the relay's
        printed = run(*client(build, "-U", f"coaps://127.0.0.1:{relay.port}/whoami"))
        fields = ["-T", "fields", "-e", "dtls.record.version", "-e", "dtls.record.content_type"]
        dissected = relay.dissect(tmp_path, "-d", f"udp.port=={relay.port},dtls", *fields)
    assert json.loads(printed)["claims"] == [":sensor-17"]
    content_types = ",".join(line.partition("\t")[2] for line in dissected).split(",")
    assert content_types.count("23") >= 2  # application data, both ways
    assert all(line.partition("\t")[0] for line in dissected), dissected
    assert b"whoami" not in relay.everything
    assert b"claims" not in relay.everything
