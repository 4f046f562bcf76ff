"""tools/crash_oscore, shortened, and that its proof finds what it looks for."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.oscore import OscoreClient, get
from crash.proof import Keys, Proof
from crash.relay import Relay, private_host
from support.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
SECRET, SALT = bytes(range(16)), b"salt"
KID = b"\x11"


def proof() -> Proof:
    return Proof({KID: Keys(SECRET, SALT, KID, b"\x01")})


def sealed(number: int, text: bytes = b"x", token: bytes = b"abcd") -> bytes:
    """A request of the client, as code apart from the proof seals it."""
    client = OscoreClient(SECRET, SALT, KID, b"\x01", start=number)
    datagram = client.protect(get(text.decode()))[1]
    return datagram[:2] + number.to_bytes(2, "big") + token + datagram[8:]


def test_retransmissions_and_new_numbers_are_no_fault() -> None:
    found = proof()
    for data in (sealed(0), sealed(0), sealed(1), sealed(300)):
        found.see(data, to_server=True)
    assert not found.faults
    assert found.sealed == 3


@pytest.mark.parametrize("second", [sealed(7, b"y"), sealed(7, b"x", token=b"efgh")])
def test_a_nonce_twice_is_found_whatever_it_sealed(second: bytes) -> None:
    found = proof()
    found.see(sealed(7), to_server=True)
    found.see(second, to_server=True)
    assert len(found.faults) == 1
    assert "used twice" in found.faults[0]


@pytest.mark.parametrize(
    ("change", "to_server"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), True),  # what nobody with the key has sealed
        (lambda data: data[:1] + b"\x44" + data[2:], False),  # and an answer to nothing
        (lambda data: data[:1] + b"\x45" + data[2:8], False),  # content without protection
        (lambda data: data[:1] + b"\x01" + data[2:8], True),
    ],
)
def test_what_should_not_be_there_is_found(change: Callable[[bytes], bytes], to_server: bool) -> None:
    found = proof()
    found.see(change(sealed(7)), to_server=to_server, source=("192.0.2.1", 61616))
    (fault,) = found.faults
    assert ", from 192.0.2.1:61616: " in fault


def test_an_execution_twice_or_out_of_nothing_is_found() -> None:
    found = proof()
    found.see(sealed(7), to_server=True)
    keys = found.contexts[KID]
    line, other = (f"{KID.hex()} - {keys.nonce(KID, number).hex()}" for number in (b"\x07", b"\x08"))
    found.executions([line])
    assert not found.faults
    found = proof()
    found.see(sealed(7), to_server=True)
    found.executions([line, line, other])
    assert [fault.split(":")[0] for fault in found.faults] == [
        "executed twice",
        "executed, and never sent by the client",
    ]


def test_each_run_has_an_address_of_its_own() -> None:
    hosts = {private_host(process) for process in (*range(1, 3_000), 65_535, 65_536, 4_194_303)}
    if sys.platform.startswith("linux"):
        assert len(hosts) == 2_999 + 3
        assert all(ip_address(host).is_loopback for host in hosts)
        assert "127.0.0.1" not in hosts
    assert private_host() == private_host(os.getpid())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="all of 127/8 is loopback on Linux only")
def test_what_is_sent_to_a_port_alone_does_not_get_in() -> None:
    """Ports are used again, and somebody may still send to whoever had one before."""
    found = proof()
    relay = Relay(found, private_host(), free_ports(), random.Random(1))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stray = bytes.fromhex("60a30001")  # an unprotected 5.03
            stranger.sendto(stray, ("127.0.0.1", relay.port))
            stranger.sendto(stray, (private_host(), relay.port))
            relay.step(30.0)
            host, port = stranger.getsockname()
            assert relay.passed == 1
            assert found.faults == [f"without protection, from {host}:{port}: {stray.hex()}"]
    finally:
        relay.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_kills_under_load() -> None:
    kills = os.environ.get("SECURECOAP_TEST_KILLS", "12")
    seed = os.environ.get("SECURECOAP_TEST_SEED", str(random.SystemRandom().randrange(1 << 32)))
    done = subprocess.run(
        [sys.executable, "-m", "crash.driver", "--kills", kills, "--seed", seed],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
    )
    sys.stdout.write(done.stdout + done.stderr)
    assert done.returncode == 0
    assert f"seed {seed}: {kills} kills" in done.stdout
    assert done.stdout.rstrip().endswith("no nonce and no request twice")
