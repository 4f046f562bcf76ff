"""The real peers of the interop tests and benchmarks: what each is called, and how it gets here.

Knows where they are installed (`.peers/` and the system), not how they are used.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from support.environment import ROOT, install_system_packages, make_environment, other_pythons, say

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AIOCOAP", "MBEDTLS", "NODE", "install_peers"]

AIOCOAP: Path = ROOT / ".peers" / "aiocoap"
MBEDTLS: Path = ROOT / ".peers" / "mbedtls"
NODE: Path = ROOT / ".peers" / "node"

# aiocoap 0.4.17 cannot work with cbor2 6; its DTLS is dtlssocket.
AIOCOAP_REQUIREMENTS = ["aiocoap[oscore,prettyprint]==0.4.17", "cbor2<6", "dtlssocket==0.2.3"]
MBEDTLS_REQUIREMENTS = ["--only-binary", ":all:", "python-mbedtls==2.10.1"]
MBEDTLS_PYTHONS = ((3, 12), (3, 11))
"""Those for which it has wheels; its sources need mbedTLS's own."""
NODE_COAP = "coap@1.5.0"

SYSTEM_PACKAGES = {
    "coap-client-openssl": "libcoap3-bin",
    "coap-server-gnutls": "libcoap3-bin",
    "openssl": "openssl",
    "gnutls-cli": "gnutls-bin",
    "tshark": "tshark",
    "systemd-analyze": "systemd",
    "zsh": "zsh",
    "fish": "fish",
}


def install_peers() -> None:
    """Bring every peer that this machine can have; the tests of one that is missing say so when they skip."""
    missing = {package for program, package in SYSTEM_PACKAGES.items() if shutil.which(program) is None}
    install_system_packages(sorted(missing))
    AIOCOAP.parent.mkdir(exist_ok=True)
    make_environment(AIOCOAP, AIOCOAP_REQUIREMENTS)
    _install_mbedtls()
    _install_node_coap()


def _install_mbedtls() -> None:
    pythons = {sys.version_info[:2]: str(getattr(sys, "_base_executable", sys.executable)), **other_pythons()}
    python = next((pythons[version] for version in MBEDTLS_PYTHONS if version in pythons), None)
    if python is None:
        say("no Python 3.11 or 3.12 here: the tests with mbedTLS will be skipped")
        return
    make_environment(MBEDTLS, MBEDTLS_REQUIREMENTS, python=python)


def _install_node_coap() -> None:
    if (NODE / "node_modules" / "coap" / "package.json").exists():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        say("no npm here: the tests with node-coap will be skipped (Debian: apt-get install nodejs npm)")
        return
    NODE.mkdir(parents=True, exist_ok=True)
    (NODE / "package.json").write_text('{"private": true}\n')
    say(f"installing {NODE_COAP}")
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", NODE_COAP],
        check=False,
        cwd=NODE,
    )
