"""The command line with EDHOC's samples: a server that knows one device, and those that it does not know."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from support.processes import Program

from .conftest import SAMPLES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("lakers", reason="lakers-python is not installed (the extra edhoc)")

DEVICE = SAMPLES / "sensor-edhoc.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("edhoc")
    server = Program(
        [sys.executable, "-m", "securecoap", "serve", "--demo", "--bind", "coap://[::1]:0",
         "--credentials", str(SAMPLES / "server-edhoc.json"), "--state", str(directory / "state")],
        directory=directory,
    )  # fmt: skip
    yield server.wait_for(r"listening (coap://[^\s\"]+)")[1]
    assert server.stop() == 0


def test_the_device_is_known(base: str, run: Callable[..., Outcome]) -> None:
    outcome = run("get", f"{base}/whoami", "--credentials", DEVICE)
    assert (outcome.status, outcome.err) == (0, "")
    assert json.loads(outcome.out) == {"claims": [":sensor-20"], "scheme": "coap", "security": "oscore"}
    large = run("get", f"{base}/large", "--credentials", DEVICE)
    assert large.out == bytes(i % 251 for i in range(65536))
    assert run("put", f"{base}/store/x", "--payload", "y", "--credentials", DEVICE).status == 0
    assert run("get", f"{base}/store/x", "--credentials", DEVICE, "--non").out == b"y"


def test_nothing_is_left_in_the_state_directory(base: str, run: Callable[..., Outcome], tmp_path: Path) -> None:
    assert run("get", f"{base}/hello", "--credentials", DEVICE, "--state", tmp_path / "state").out == b"hello"
    assert not (tmp_path / "state").exists()


def test_others_are_not(base: str, run: Callable[..., Outcome], tmp_path: Path) -> None:
    assert run("get", f"{base}/whoami").status == 1  # 4.01
    entry = json.loads(DEVICE.read_text())["coap://*/*"]["edhoc-oscore"]
    for name in ("own-cred-style", "private-key-file"):
        del entry[name]
    entry["own-cred"] = {"unauthenticated": True}
    stranger = tmp_path / "stranger.json"
    stranger.write_text(json.dumps({"coap://*/*": {"edhoc-oscore": entry}}))
    outcome = run("get", f"{base}/whoami", "--credentials", stranger)
    assert (outcome.status, outcome.out) == (3, b"")
    assert "the credential is not known" in outcome.err
