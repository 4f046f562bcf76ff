"""The table of the behaviour checklist: it holds, and its checker sees what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.requirements import INTEROP, LAST, check_requirements, pending_lines, read_rows

ROOT = Path(__file__).resolve().parents[2]
GOOD = 'title = "x", tests = ["tests/test_a.py::test_one"]'
TESTS = """
def test_one(): ...
async def test_two(): ...
def helper():
    def test_inner(): ...
class TestGroup:
    def test_three(self): ...
TestMachine = Machine.TestCase
"""


def table(root: Path, **rows: str) -> Path:
    """A repository whose table is well but for these rows; an empty one is left out."""
    (root / "tests").mkdir()
    (root / "tests" / "test_a.py").write_text(TESTS)
    entries = {f"R{number:03}": GOOD for number in range(1, LAST + 1)}
    entries |= {f"OSC-{number:02}": GOOD for number in INTEROP} | rows
    lines = (f"{name} = {{ {row} }}\n" for name, row in entries.items() if row)
    (root / "tests" / "requirements.toml").write_text('["an area"]\n' + "".join(lines))
    return root


def test_ours() -> None:
    assert check_requirements(ROOT) == []


@pytest.mark.parametrize(
    "row",
    [
        'title = "x", tests = ["tests/test_a.py::test_two", "tests/test_a.py::TestGroup::test_three"]',
        'title = "x", tests = ["tests/test_a.py::TestMachine"]',
        'title = "x", pending = "not built"',
        'title = "x", pending = "half", tests = ["tests/test_a.py::test_one"]',
    ],
)
def test_what_is_right(tmp_path: Path, row: str) -> None:
    assert check_requirements(table(tmp_path, R007=row)) == []


@pytest.mark.parametrize(
    ("name", "row", "found"),
    [
        ("R007", "", "R007: has no row"),
        ("R194", GOOD, "R194: is no row of the checklist"),
        ("R007", 'title = "x"', "R007: has no test, and no `pending`"),
        ("R007", 'title = "x", tests = []', "R007: has no test, and no `pending`"),
        ("R007", 'title = "x", tests = ["tests/test_a.py::test_four"]', "there is no tests/test_a.py::test_four"),
        ("R007", 'title = "x", tests = ["tests/test_a.py::test_inner"]', "there is no"),
        ("R007", 'title = "x", tests = ["tests/test_a.py::helper"]', "there is no"),
        ("R007", 'title = "x", tests = ["tests/test_a.py"]', "there is no tests/test_a.py"),
        ("R007", 'title = "x", tests = ["tests/test_b.py::test_one"]', "there is no tests/test_b.py::test_one"),
        ("R007", 'tests = ["tests/test_a.py::test_one"]', "a row is"),
        ("R007", 'title = "x", tests = "tests/test_a.py::test_one"', "tests is a list of texts"),
        ("R007", 'title = "x", pending = true', "pending is a text"),
        ("R007", f'{GOOD}, owner = "me"', "what is owner?"),
        ("R007", 'title = "x", tests = ["tests/test_a.py::test_one", "tests/test_a.py::test_one"]', "twice"),
    ],
)
def test_what_is_wrong(tmp_path: Path, name: str, row: str, found: str) -> None:
    faults = check_requirements(table(tmp_path, **{name: row}))
    assert any(found in fault for fault in faults), faults


def test_a_row_stands_in_one_area(tmp_path: Path) -> None:
    root = table(tmp_path)
    with (root / "tests" / "requirements.toml").open("a") as file:
        file.write(f'["another"]\nR007 = {{ {GOOD} }}\n')
    assert check_requirements(root) == ["R007: stands in two areas"]


def test_what_is_pending_is_said(tmp_path: Path) -> None:
    root = table(
        tmp_path,
        R001='title = "x", pending = "proxy"',
        R002=f'{GOOD}, pending = "proxy"',
        R003='title = "x", pending = "proxy"',
    )
    rows, _ = read_rows(root)
    assert pending_lines(rows) == ["without a test: proxy: R001 R003", "proved in part: proxy: R002"]
