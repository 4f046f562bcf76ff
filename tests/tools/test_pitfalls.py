"""The faults of other stacks in docs/pitfalls.md: each names tests, and those are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    row.strip("|\n").split("|")
    for row in (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8").splitlines()
    if row.startswith("| ") and not row.startswith(("| ---", "| fault"))
]


def test_there_are_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize(("fault", "tests"), ROWS, ids=lambda text: text.strip()[:40])
def test_named_tests_exist(fault: str, tests: str) -> None:
    named = re.findall(r"`(\w+/\w+\.py)(?:::(\w+))?`", tests)
    assert named, fault
    for file, name in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(?:async )?def {name}\(", text, re.MULTILINE) if name else text, f"{file}::{name}"
