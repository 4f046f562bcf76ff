"""The servers under test: how each is started with a ``/hello`` that answers ``hello``, in one security mode.

Knows the programs' command lines, nothing of load or figures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support.environment import ROOT
from support.peers import AIOCOAP
from support.processes import Program, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CREDENTIALS", "MODES", "Server", "start_server"]

MODES = ("plain", "dtls", "certificates", "oscore")
CREDENTIALS = Path(__file__).with_name("credentials.json")
KEY, IDENTITY = "secretPSK", "client"  # dtlsgen.c has them built in
# The sample certificate; dtlsgen shows none itself, so no authority is given.
KEYS = ROOT / "credentials" / "keys"
CERTIFICATE, CERTIFICATE_KEY = KEYS / "gateway.cert.pem", KEYS / "gateway.key.pem"


@dataclass(slots=True)
class Server:
    """A running server: whose it is, in which mode, and where."""

    name: str
    mode: str
    program: Program
    port: int


def start_server(name: str, mode: str, directory: Path, core: int) -> Server | None:
    """Start the server of this name, or return ``None`` where it has no such mode."""
    starter: dict[str, Callable[[str, Path, int], Server | None]]
    starter = {"securecoap": _securecoap, "aiocoap": _aiocoap, "libcoap": _libcoap, "echo": _echo}
    directory = directory / f"{name}-{mode}"
    directory.mkdir()
    return starter[name](mode, directory, core)


def _securecoap(mode: str, directory: Path, core: int) -> Server:
    scheme = "coaps" if mode in {"dtls", "certificates"} else "coap"
    command = [ROOT / ".venv" / "bin" / "securecoap", "serve", "--demo", "--bind", f"{scheme}://127.0.0.1:0"]
    command += ["--state", directory / "state"]
    if mode == "certificates":
        own = {"certificate": {"file": str(CERTIFICATE)}, "private-key": {"file": str(CERTIFICATE_KEY)}}
        command += ["--credentials", _written(directory / "credentials.json", {":bench": {"dtls-x509": own}})]
    elif mode != "plain":
        command += ["--credentials", CREDENTIALS]
    program = Program([str(part) for part in command], cores={core}, directory=directory)
    port = int(program.wait_for(rf"^listening {scheme}://\S+:(\d+)")[1])
    return Server("securecoap", mode, program, port)


def _aiocoap(mode: str, directory: Path, core: int) -> Server | None:
    if mode == "certificates":
        return None  # tinydtls has none
    port = free_ports(2)
    script = ROOT / "tests" / "interop" / "peers" / "aiocoap_server.py"
    command: list[str | Path] = [AIOCOAP / "bin" / "python", script, "--quiet", str(port)]
    environment = {"AIOCOAP_DTLSSERVER_ENABLED": "1"} if mode == "dtls" else {}
    if mode == "dtls":
        entry = {"dtls": {"client-identity": {"ascii": IDENTITY}, "psk": {"ascii": KEY}}}
        command.append(_written(directory / "credentials.json", {":bench": entry}))
    if mode == "oscore":
        ours = json.loads(CREDENTIALS.read_text())[":bench-oscore"]["oscore"]
        settings = {f"{name}_hex": value["hex"] for name, value in ours.items()}
        context = directory / "context"
        context.mkdir()
        _written(context / "settings.json", settings)
        _written(context / "sequence.json", {"next-to-send": 0, "received": "unknown"})
        command.append(_written(directory / "credentials.json", {":bench": {"oscore": {"basedir": f"{context}/"}}}))
    program = Program(command, cores={core}, environment=environment, directory=directory)
    program.wait_for("^ready")
    return Server("aiocoap", mode, program, port + 1 if mode == "dtls" else port)


def _libcoap(mode: str, directory: Path, core: int) -> Server | None:
    if mode == "oscore":
        return None  # Debian's has none
    port = free_ports(2)
    command = ["coap-server-notls", "-A", "127.0.0.1", "-p", str(port), "-d", "10"]
    if mode == "dtls":
        command = ["coap-server-openssl", *command[1:], "-k", KEY, "-h", ""]
    elif mode == "certificates":
        command = ["coap-server-openssl", *command[1:], "-c", str(CERTIFICATE), "-j", str(CERTIFICATE_KEY), "-n"]
    program = Program(command, cores={core}, directory=directory)
    program.wait_until_bound(port)
    client = shutil.which("coap-client-notls") or "coap-client-notls"
    subprocess.run(
        [client, "-m", "put", "-e", "hello", f"coap://127.0.0.1:{port}/hello"],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    return Server("libcoap", mode, program, port if mode == "plain" else port + 1)


def _echo(mode: str, directory: Path, core: int) -> Server | None:
    """The limit of the generator: a C program that sends each datagram back."""
    if mode != "plain":
        return None
    port = free_ports()
    program = Program([ROOT / ".peers" / "bench" / "echo", str(port)], cores={core}, directory=directory)
    program.wait_for("^ready")
    return Server("echo", mode, program, port)


def _written(path: Path, value: object) -> str:
    path.write_text(json.dumps(value))
    return str(path)
