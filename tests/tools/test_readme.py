"""The README's programs run as they stand there, but for the ports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.processes import Program, free_ports

ROOT = Path(__file__).resolve().parents[2]


def test_server_and_client(tmp_path: Path) -> None:
    server_text, client_text = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    port = free_ports(2)
    server_text = server_text.replace(":5683", f":{port}").replace(":5684", f":{port + 1}")
    assert str(port + 1) in server_text
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    with Program([sys.executable, "-c", server_text], environment=environment, directory=ROOT) as server:
        server.wait_until_bound(port + 1)

        def client(text: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", text], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr + server.output
            return done.stdout

        assert "21.5" in client(client_text.replace("[::1]/", f"[::1]:{port + 1}/"))
        server.wait_for(re.escape("asked by (':sensor-17', 'reader')"))
        stranger = client_text.replace('credentials="credentials/sensor-dtls.json"', "")
        assert "4.01" in client(stranger.replace("coaps://[::1]/", f"coap://[::1]:{port}/"))
