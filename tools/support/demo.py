"""tools/demo: the secure demo server on loopback, two devices, and a stranger.

Starts ``securecoap serve --demo`` with credentials/server.json, asks it as one device over DTLS and as another over
OSCORE who it saw, shows that a stranger is refused, and stops it. Ends with 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.environment import ROOT, make_environment, say
from support.processes import Program, ProgramFailed

SAMPLES = ROOT / "credentials"


def main() -> int:
    """Run the demonstration."""
    argparse.ArgumentParser(
        prog="tools/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    interpreter = make_environment(ROOT / ".venv", ["-e", "."])
    with tempfile.TemporaryDirectory(prefix="securecoap-demo-") as scratch:
        return _Demo(str(Path(interpreter).with_name("securecoap")), Path(scratch)).run()


class _Demo:
    def __init__(self, program: str, scratch: Path) -> None:
        self.program = program
        self.scratch = scratch
        self.surprises = 0

    def run(self) -> int:
        arguments = ["serve", "--demo", "--bind", "coap://127.0.0.1:0", "--bind", "coaps://127.0.0.1:0"]
        arguments += ["--credentials", str(SAMPLES / "server.json"), "--state", str(self.scratch / "server")]
        say("a server that knows the devices of credentials/server.json")
        self._show(arguments)
        with Program([self.program, *arguments]) as server:
            try:
                coap = int(server.wait_for(r"^listening coap://127\.0\.0\.1:(\d+)")[1])
                coaps = int(server.wait_for(r"^listening coaps://127\.0\.0\.1:(\d+)")[1])
            except ProgramFailed as failure:
                print(failure, file=sys.stderr)
                return 1
            self._print(server.output)
            self._device("a device with a DTLS key", "sensor-dtls.json", f"coaps://127.0.0.1:{coaps}")
            self._device("a device with an OSCORE context", "sensor-oscore.json", f"coap://127.0.0.1:{coap}")
            self._stranger("a stranger without credentials", f"coap://127.0.0.1:{coap}", None, status=1)
            self._stranger("a stranger with a key of its own", f"coaps://127.0.0.1:{coaps}", _forged(), status=3)
            ended = server.stop()
        say(f"the server was stopped, and ended with {ended}")
        if ended != 0:
            self.surprises += 1
        print("tools/demo: all as it should be" if not self.surprises else f"tools/demo: {self.surprises} surprises")
        return 1 if self.surprises else 0

    def _device(self, title: str, sample: str, base: str) -> None:
        """Ask /whoami with a sample device's file."""
        say(title)
        done = self._get(f"{base}/whoami", SAMPLES / sample)
        expected = "dtls" if base.startswith("coaps") else "oscore"
        try:
            seen = json.loads(done.stdout)
        except ValueError:
            seen = {}
        if done.returncode != 0 or not seen.get("claims") or seen.get("security") != expected:
            self._surprise(f"status {done.returncode}")

    def _stranger(self, title: str, base: str, entry: dict[str, Any] | None, *, status: int) -> None:
        say(title)
        file = None
        if entry is not None:
            file = self.scratch / "stranger.json"
            file.write_text(json.dumps({f"{base}/*": entry}))
        done = self._get(f"{base}/whoami", file)
        if done.returncode != status or done.stdout:
            self._surprise(f"status {done.returncode}, expected {status}")

    def _get(self, uri: str, credentials: Path | None) -> subprocess.CompletedProcess[str]:
        arguments = ["get", uri, "--state", str(self.scratch / "devices")]
        if credentials is not None:
            arguments += ["--credentials", str(credentials)]
        self._show(arguments)
        done = subprocess.run([self.program, *arguments], check=False, capture_output=True, text=True, timeout=60)
        self._print(done.stdout)
        self._print(done.stderr)
        return done

    def _surprise(self, text: str) -> None:
        self.surprises += 1
        self._print(f"this is not what was expected: {text}")

    @staticmethod
    def _show(arguments: list[str]) -> None:
        print("$ securecoap", *arguments, flush=True)

    @staticmethod
    def _print(text: str) -> None:
        for line in text.splitlines():
            print(f"    {line}", flush=True)


def _forged() -> dict[str, Any]:
    """The right identity of a device, with a key that somebody made up."""
    server = json.loads((SAMPLES / "server.json").read_text())
    identity = next(
        entry["dtls"]["client-identity"] for entry in server.values() if isinstance(entry, dict) and "dtls" in entry
    )
    return {"dtls": {"client-identity": identity, "psk": {"hex": "00" * 16}}}


if __name__ == "__main__":
    sys.exit(main())
