"""tools/mutation: the table of breaks fits the product, and each break is exactly one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.mutation import BREAKS, Break, broken, check_breaks, read_breaks, run_breaks
from support.requirements import Row

ROOT = Path(__file__).resolve().parents[2]
TEXT = """def a():
    if x:
        return 1

def b():
    if x:
        return 1
"""


def test_ours() -> None:
    assert check_breaks(ROOT) == []
    assert len(read_breaks(ROOT)) >= 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {"a.py": TEXT, "inner/b.py": "def d(): ...\n", "inner/c.py": "def e(): ...\n"}.items():
        path = tmp_path / "room" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize("file", ["room/a.py", "room"])
def test_one_line_is_broken_and_its_indentation_stays(root: Path, file: str) -> None:
    path, after = broken(root, Break("R001", file, "return 1", "return 2", after="def b():"))
    assert path == root / "room" / "a.py"
    assert after == TEXT[: TEXT.rindex("1")] + "2\n"
    assert broken(root, Break("R001", file, "def a():", "def c():")) == (path, TEXT.replace("def a", "def c"))
    assert path.read_text() == TEXT  # that is for the caller to change, and to restore
    path, after = broken(root, Break("R001", "room", "def e(): ...", "e = None"))
    assert (path.name, after) == ("c.py", "e = None\n")


@pytest.mark.parametrize("file", ["room/a.py", "room"])
@pytest.mark.parametrize(
    ("line", "after", "found"),
    [
        ("return 1", "", "2 lines 'return 1'"),
        ("return 3", "", "0 lines 'return 3'"),
        ("return", "", "0 lines"),  # not a part of one
        ("return 1", "if x:", "2 lines"),
        ("def a():", "def b():", "0 lines"),
        ("return 1", "def f():", "0 lines"),
    ],
)
def test_lines_that_are_not_there_once(root: Path, file: str, line: str, after: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        broken(root, Break("R001", file, line, "pass", after))


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("file = 'a.py'\nline = 'def a():'\nbecomes = 'def c():'", ""),
        ("file = 'a.py'\nline = 'def a():'\nbecomes = 'def c('", "no Python"),
        ("file = 'b.py'\nline = 'def a():'\nbecomes = 'def c():'", "b.py"),
        ("file = 'a.py'\nline = 'nothing'\nbecomes = 'def c():'", "0 lines"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path: Path, entry: str, found: str) -> None:
    for name in (BREAKS, "tests/x"):
        (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / "a.py").write_text(TEXT)
    (tmp_path / "tests" / "requirements.toml").write_text('[area]\nR001 = { title = "", tests = ["t.py::test"] }\n')
    (tmp_path / BREAKS).write_text(f"[[R001]]\n{entry}\n")
    faults = check_breaks(tmp_path)
    assert len(faults) == bool(found)
    assert found in "".join(faults)


def test_a_row_without_tests_notices_nothing(tmp_path: Path) -> None:
    (tmp_path / BREAKS).parent.mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "a.py").write_text(TEXT)
    (tmp_path / "tests" / "requirements.toml").write_text('[area]\nR001 = { title = "", pending = "not yet" }\n')
    (tmp_path / BREAKS).write_text("[[R001]]\nfile = 'a.py'\nline = 'def a():'\nbecomes = 'def c():'\n")
    assert check_breaks(tmp_path) == ["R001: has no tests that could notice"]


def test_what_is_noticed_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository of one function: a test that looks, one that does not, and one that is red anyway."""
    package, tests = tmp_path / "securecoap", tmp_path / "tests"
    for directory in (package, tests):
        directory.mkdir()
    product = package / "__init__.py"
    product.write_text("def one():\n    return 1\n")
    (tests / "test_a.py").write_text(
        "from securecoap import one\n"
        "def test_looks(): assert one() == 1\n"
        "def test_looks_away(): one()\n"
        "def test_is_red(): assert one() == 3\n"
    )
    names = {"R001": "test_looks", "R002": "test_looks_away", "R003": "test_is_red", "R004": "test_looks"}
    rows = {name: Row(name, "area", "title", (f"tests/test_a.py::{test}",)) for name, test in names.items()}
    line = dict.fromkeys(names, "return 1") | {"R004": "return 5"}
    breaks = [Break(name, "securecoap", line[name], "return 2") for name in names]
    assert run_breaks(tmp_path, rows, breaks[:2]) == 1
    assert run_breaks(tmp_path, rows, breaks) == 2
    printed = capsys.readouterr().out
    assert "red: tests/test_a.py::test_looks\n" in printed
    assert printed.splitlines()[-3:] == ["1 of 2 were noticed", "not noticed: R002", "not judged: R003 R004"]
    assert product.read_text() == "def one():\n    return 1\n"
