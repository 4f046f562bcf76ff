"""The table of what proves which row of the behaviour checklist: `tests/requirements.toml`, read and checked.

Works on source text alone (``ast``), so that a test that cannot be imported does not keep the check from running.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["INTEROP", "LAST", "TABLE", "Row", "check_requirements", "pending_lines", "read_rows"]

TABLE = "tests/requirements.toml"
LAST = 193  # the checklist has R001 to R193
INTEROP = (*range(18), *range(20, 38))  # and OSC-00 to OSC-37, without 18 and 19: the interop cases of OSCORE


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the checklist.

    Attributes:
        area: the heading it stands under.
        tests: ``path::name``, or ``path::Class::name``, from the top of the repository.
        pending: what is not built or not proved yet; empty when nothing is missing.
    """

    id: str
    area: str
    title: str
    tests: tuple[str, ...]
    pending: str = ""


def read_rows(root: Path) -> tuple[dict[str, Row], list[str]]:
    """Every row of the table below ``root`` by id, and what is wrong with its form."""
    rows: dict[str, Row] = {}
    faults = []
    for area, entries in tomllib.loads((root / TABLE).read_text(encoding="utf-8")).items():
        for name, entry in entries.items():
            text = _fault_of(entry)
            if text:
                faults.append(f"{name}: {text}")
            elif name in rows:
                faults.append(f"{name}: stands in two areas")
            else:
                tests = tuple(entry.get("tests", ()))
                rows[name] = Row(name, area, entry["title"], tests, entry.get("pending", ""))
    return rows, faults


def _fault_of(entry: Any) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("title"), str):
        return 'a row is { title = "…", tests = ["…"] }'
    if unknown := entry.keys() - {"title", "tests", "pending"}:
        return f"what is {', '.join(sorted(unknown))}?"
    tests = entry.get("tests", [])
    if not isinstance(tests, list) or not all(isinstance(test, str) for test in tests):
        return "tests is a list of texts"
    if not isinstance(entry.get("pending", ""), str):
        return "pending is a text that says what is missing"
    if len(set(tests)) < len(tests):
        return "names a test twice"
    return ""


def check_requirements(root: Path) -> list[str]:
    """Every fault of the table: rows that are missing, unproved and not said to be so, tests that are not there."""
    rows, faults = read_rows(root)
    expected = {f"R{number:03}" for number in range(1, LAST + 1)} | {f"OSC-{number:02}" for number in INTEROP}
    faults += [f"{name}: has no row" for name in sorted(expected - rows.keys())]
    faults += [f"{name}: is no row of the checklist" for name in sorted(rows.keys() - expected)]
    for row in rows.values():
        if not row.tests and not row.pending:
            faults.append(f"{row.id}: has no test, and no `pending` that says why")
        faults += [f"{row.id}: there is no {test}" for test in row.tests if not _exists(root, test)]
    return faults


def pending_lines(rows: dict[str, Row]) -> list[str]:
    """What is pending, for a person: one line for each reason, rows without any test first."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for row in rows.values():
        if row.pending:
            groups.setdefault((bool(row.tests), row.pending), []).append(row.id)
    return [
        f"{'proved in part' if proved else 'without a test'}: {reason}: {' '.join(sorted(names))}"
        for (proved, reason), names in sorted(groups.items())
    ]


def _exists(root: Path, test: str) -> bool:
    path, _, name = test.partition("::")
    return bool(name) and name in _tests_of(root / path)


@cache
def _tests_of(path: Path) -> frozenset[str]:
    """The names pytest gives to the tests of a file: functions, methods, and classes that are made by assignment."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return frozenset()
    names = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test"):
                names.add(name)
            case ast.ClassDef(name=name, body=body) if name.startswith("Test"):
                methods = (one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                names |= {f"{name}::{one.name}" for one in methods if one.name.startswith("test")}
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("Test"):
                names.add(name)  # a state machine of hypothesis: TestX = X.TestCase
    return frozenset(names)
