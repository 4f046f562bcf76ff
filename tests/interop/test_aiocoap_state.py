"""aiocoap 0.4.17 and the state of OSCORE contexts: crashes on either side, and context directories that change hands.

All datagrams pass a relay. That no nonce was used twice is said by `crash.proof`, which has keys and code of its own.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from crash.proof import Keys, Proof
from support.processes import Program, free_ports

from tests.interop.harness import OSCORE, OSCORE_CLIENT, PEERS, Ours, aiocoap_context, aiocoap_program, run, write_json
from tests.interop.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KID = bytes.fromhex(OSCORE_CLIENT["sender-id"]["hex"])


class Setting:
    """Servers on one port, one after the other, each with a context directory; clients of both makes; a relay between."""

    def __init__(self, ours: Ours, start: Callable[..., Program], directory: Path) -> None:
        self.ours = ours
        self.start = start
        self.directory = directory
        self.port = free_ports()
        self.server_context = aiocoap_context(directory / "server-context", OSCORE)
        self.client_context = aiocoap_context(directory / "client-context", OSCORE_CLIENT)
        self.running: Program | None = None

    def serve(self, make: str) -> Program:
        entry = {":device": {"oscore": {"basedir": f"{self.server_context}/"}}}
        if make == "aiocoap":
            credentials = write_json(self.directory / "aiocoap-server.json", entry)
            script = PEERS / "aiocoap_server.py"
            self.running = self.start(aiocoap_program("python"), script, str(self.port), str(credentials))
            self.running.wait_for("^ready")
        else:
            bind = f"coap://127.0.0.1:{self.port}"
            self.running = self.ours.start("serve", "--demo", "--bind", bind, credentials=entry)
            self.running.wait_for("^listening")
        return self.running

    def kill(self) -> None:
        assert self.running is not None
        self.running.signal(signal.SIGKILL)
        self.running.wait_for_end()

    def end(self) -> None:
        assert self.running is not None
        assert self.running.stop() in (0, -signal.SIGTERM, 1)

    def get(self, make: str, relay: Relay) -> str:
        base = f"coap://127.0.0.1:{relay.port}"
        pattern = {f"{base}/*": {"oscore": {"basedir": f"{self.client_context}/"}}}
        if make == "aiocoap":
            path = write_json(self.directory / "aiocoap-client.json", pattern)
            return run(aiocoap_program("aiocoap-client"), "--credentials", path, f"{base}/hello").strip()
        path = write_json(self.directory / "our-client.json", pattern)
        answer = self.ours.run("get", f"{base}/hello", credentials=path)
        return answer.stdout.decode() or answer.stderr.decode()


@pytest.fixture
def setting(ours: Ours, start: Callable[..., Program], tmp_path: Path) -> Iterator[Setting]:
    made = Setting(ours, start, tmp_path)
    yield made
    if made.running is not None:
        made.running.stop()


def check_nonces(relay: Relay, least: int) -> None:
    """Each sealed message under a nonce of its own, and nothing that does not verify."""
    secret, salt, server = (bytes.fromhex(OSCORE[name]["hex"]) for name in ("secret", "salt", "sender-id"))
    proof = Proof({KID: Keys(secret, salt, KID, server)})
    for to_server, data in relay.datagrams:
        proof.see(data, to_server=to_server)
    assert proof.faults == []
    assert proof.sealed >= least


@pytest.mark.parametrize(("server", "client"), [("ours", "aiocoap"), ("aiocoap", "ours")])
def test_a_server_that_was_killed_recovers_its_window(server: str, client: str, setting: Setting) -> None:
    """B.1.2: the first request after the crash is challenged and repeated; the client's user sees nothing of it."""
    with Relay(setting.port) as relay:
        for _ in range(3):
            setting.serve(server)
            assert setting.get(client, relay) == "hello"
            before = len(relay.datagrams)
            assert setting.get(client, relay) == "hello"
            assert len(relay.datagrams) == before + 2  # without a challenge
            assert json.loads((setting.server_context / "sequence.json").read_text())["received"] == "unknown"
            setting.kill()
    check_nonces(relay, 3 * 4)


def test_an_orderly_end_spares_the_challenge(setting: Setting) -> None:
    with Relay(setting.port) as relay:
        setting.serve("ours")
        assert setting.get("aiocoap", relay) == "hello"
        setting.end()
        assert isinstance(json.loads((setting.server_context / "sequence.json").read_text())["received"], dict)
        setting.serve("ours")
        before = len(relay.datagrams)
        assert setting.get("aiocoap", relay) == "hello"
        assert len(relay.datagrams) == before + 2
    check_nonces(relay, 6)


@pytest.mark.parametrize("how", ["orderly", "killed"])
def test_context_directories_change_hands(how: str, setting: Setting) -> None:
    """Server and client are aiocoap's and ours in turns, on the same two directories: no number twice, no replay taken."""
    with Relay(setting.port) as relay:
        for server, client in (
            ("aiocoap", "ours"), ("ours", "aiocoap"), ("aiocoap", "aiocoap"), ("ours", "ours"), ("aiocoap", "ours"),
        ):  # fmt: skip
            setting.serve(server)
            assert setting.get(client, relay) == "hello"
            assert setting.get("ours" if client == "aiocoap" else "aiocoap", relay) == "hello"
            if how == "killed":
                setting.kill()
            else:
                setting.end()
    check_nonces(relay, 5 * 4)
