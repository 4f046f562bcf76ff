"""The stand-in for autoreconf: enough for dtlssocket's build, and a refusal for anything else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

AUTORECONF = Path(__file__).resolve().parents[2] / "tools" / "shims" / "autoreconf"


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(AUTORECONF), "--force", "--install", "--verbose", "."]
    return subprocess.run(command, check=False, cwd=directory, capture_output=True, text=True)


def test_it_makes_a_configure_that_succeeds(tmp_path: Path) -> None:
    for name in ("dtls_config.h", "configure.ac"):
        (tmp_path / name).touch()
    assert run(tmp_path).returncode == 0
    assert os.access(tmp_path / "configure", os.X_OK)
    assert subprocess.run(["./configure"], check=False, cwd=tmp_path).returncode == 0


def test_it_refuses_another_project(tmp_path: Path) -> None:
    (tmp_path / "configure.ac").touch()
    done = run(tmp_path)
    assert done.returncode == 1
    assert "install autoconf and automake" in done.stderr
    assert not (tmp_path / "configure").exists()
