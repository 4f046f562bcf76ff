"""The file with the secrets of handshakes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from securecoap.transports.key_log import key_log_file


def test_lines_are_appended_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    for line in ("CLIENT_RANDOM 00 01", "CLIENT_RANDOM 02 03"):
        key_log_file(path)(line)
    assert path.read_text() == "CLIENT_RANDOM 00 01\nCLIENT_RANDOM 02 03\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_that_was_taken_away_is_made_anew_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    append = key_log_file(path)
    path.rename(tmp_path / "keys.log.1")
    append("CLIENT_RANDOM 00 01")
    assert path.read_text() == "CLIENT_RANDOM 00 01\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_does_not_end_handshakes(caplog: pytest.LogCaptureFixture) -> None:
    append = key_log_file("/dev/full")
    append("CLIENT_RANDOM 00 5ec7e7")
    append("CLIENT_RANDOM 01 5ec7e7")
    _, record = caplog.records
    assert "No space left" in record.getMessage()
    assert "5ec7e7" not in caplog.text


def test_it_is_said_that_there_is_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.log"
    key_log_file(path)
    path.chmod(0o644)
    key_log_file(path)
    first, second = caplog.records
    assert first.levelname == "WARNING"
    assert first.__dict__["fields"] == {"event": "keylog", "file": str(path)}
    assert "others" not in first.getMessage()
    assert "others than its owner may read it" in second.getMessage()
