"""The rule of these tests: in CI a peer that is missing is a failure, elsewhere a skip with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.interop.harness import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("in_ci", "status", "words"), [("true", 1, "was skipped in CI"), ("", 0, "is not installed")])
def test_a_missing_peer(in_ci: str, status: int, words: str, tmp_path: Path) -> None:
    node = "tests/interop/test_dtls_tools.py::test_openssl_s_client"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", node],
        check=False, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "CI": in_ci, "PATH": str(tmp_path)},
        timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    assert words in done.stdout
