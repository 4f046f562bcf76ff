"""tools/mutation: are the tests of the behaviour checklist able to fail?

    tools/mutation                         20 rows drawn from a fresh seed, which is printed
    tools/mutation --seed 7 --count 10 --area 8613
    tools/mutation --id R012 --id R099     these
    tools/mutation --all                   every row that has a break; takes long

For each row drawn, one line of the product is broken as `tools/support/mutations.toml` says, and the row's own tests
run: one of them has to fail. All of it happens in a temporary copy of the repository, never in the checkout.

Ends with 1 if a break goes unnoticed, 2 if the tests of a row do not even pass with nothing broken.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.environment import ROOT, fail, in_environment, make_environment, say
from support.requirements import Row, read_rows

__all__ = ["BREAKS", "Break", "broken", "check_breaks", "read_breaks", "run_breaks"]

BREAKS = "tools/support/mutations.toml"
PATIENCE = 300.0  # seconds for the tests of one row; a break may well make an endless loop
COPIED = ("securecoap", "tests", "tools", "credentials", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "bench")
_FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Break:
    """One line of the product, and what stands there instead.

    Attributes:
        id: the row of the checklist whose tests are to notice.
        file: where the line is; or a directory, of whose files one has it.
        line, becomes: without their indentation, which stays.
        after: where the line occurs more than once: an earlier line; the first one after it is meant.
    """

    id: str
    file: str
    line: str
    becomes: str
    after: str = ""


def read_breaks(root: Path) -> list[Break]:
    """The table below ``root``."""
    table: dict[str, list[dict[str, Any]]] = tomllib.loads((root / BREAKS).read_text(encoding="utf-8"))
    return [Break(name, **entry) for name, entries in table.items() for entry in entries]


def broken(root: Path, one: Break) -> tuple[Path, str]:
    """The file below ``root`` with that line, and its text when the line is broken.

    Raises:
        ValueError: the line is not there, or more than once.
    """
    where = root / one.file
    found = []
    for path in sorted(where.rglob("*.py")) if where.is_dir() else [where] if where.exists() else []:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        numbers = [number for number, line in enumerate(lines) if line.strip() == one.line]
        if one.after:
            anchors = [number for number, line in enumerate(lines) if line.strip() == one.after]
            numbers = [next(number for number in numbers if number > at) for at in anchors if numbers[-1:] > [at]]
        found += [(path, lines, number) for number in numbers]
    if len(found) != 1:
        behind = f" after {one.after!r}" if one.after else ""
        raise ValueError(f"{one.file} has {len(found)} lines {one.line!r}{behind}")
    path, lines, number = found[0]
    lines[number] = lines[number].replace(one.line, one.becomes)
    return path, "".join(lines)


def check_breaks(root: Path) -> list[str]:
    """What is wrong with the table: rows that are none, lines that are no longer there."""
    rows, _ = read_rows(root)
    faults = []
    for one in read_breaks(root):
        if one.id not in rows or not rows[one.id].tests:
            faults.append(f"{one.id}: has no tests that could notice")
        try:
            compile(broken(root, one)[1], one.file, "exec")
        except ValueError as error:
            faults.append(f"{one.id}: {error}")
        except SyntaxError as error:
            faults.append(f"{one.id}: what {one.file} becomes is no Python: {error.msg}")
    return faults


def main() -> int:
    """Draw, break, run."""
    parser = argparse.ArgumentParser(
        prog="tools/mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="what to draw from; random, and printed, by default")
    parser.add_argument("--count", type=int, default=20, help="how many rows to draw")
    parser.add_argument("--area", default="", help="only rows whose area has this in its name")
    parser.add_argument("--id", action="append", dest="ids", metavar="R000", help="this row; may be given again")
    parser.add_argument("--commit", metavar="REV", help="of this commit; by default what stands in the checkout")
    parser.add_argument("--all", action="store_true", help="every row that has a break")
    parser.add_argument("--list", action="store_true", help="say which rows have a break, and which have none")
    options = parser.parse_args()
    if not in_environment("pytest", "securecoap"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "support.mutation", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="mutation-") as directory:
        copy = Path(directory)
        _copy_to(copy, options.commit)
        rows, _ = read_rows(copy)
        breaks: dict[str, list[Break]] = {}
        for one in read_breaks(copy):
            if options.area in rows[one.id].area:
                breaks.setdefault(one.id, []).append(one)
        if options.list:
            return _list(rows, breaks, options.area)
        if options.ids:
            if missing := set(options.ids) - breaks.keys():
                fail(f"no break is known for {', '.join(sorted(missing))}")
            drawn = options.ids
        elif options.all:
            drawn = sorted(breaks)
        else:
            seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
            print(f"seed {seed}")
            drawn = random.Random(seed).sample(sorted(breaks), min(options.count, len(breaks)))
        return run_breaks(copy, rows, [one for name in drawn for one in breaks[name]])


def _copy_to(copy: Path, commit: str | None) -> None:
    if commit is not None:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(copy)], input=archive, check=True)
        return
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(source, copy)


def _list(rows: dict[str, Row], breaks: dict[str, list[Break]], area: str) -> int:
    areas: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows.values():
        if area in row.area:
            areas.setdefault(row.area, ([], []))[row.id not in breaks].append(row.id)
    for name, (having, without) in areas.items():
        print(f"{name}\n  with a break:    {' '.join(having) or '-'}\n  without a break: {' '.join(without) or '-'}")
    return 0


def run_breaks(copy: Path, rows: dict[str, Row], chosen: list[Break]) -> int:
    """Break the product in ``copy`` by each in turn, say what its row's tests did, and leave it whole.

    Returns:
        0 if every break was noticed, 1 if one was not, 2 if one could not be judged.
    """
    _see_that_the_copy_is_tested(copy)
    say("the tests of these rows, with nothing broken")
    tests = list(dict.fromkeys(test for one in chosen for test in rows[one.id].tests))
    status, output = _pytest(copy, tests, "--maxfail=1000")
    red = set(_FAILED.findall(output))
    if status not in {0, 1} or (status == 1 and not red):  # some file cannot be imported, and so none was run
        for one in chosen:
            status, output = _pytest(copy, list(rows[one.id].tests), "--maxfail=1000")
            if status != 0:
                red.update(_FAILED.findall(output) if status == 1 else rows[one.id].tests)
    unnoticed, unjudged = [], []
    for one in chosen:
        if already := red.intersection(rows[one.id].tests):
            print(
                f"{one.id} {rows[one.id].title}\n    red with nothing broken: {', '.join(sorted(already))}", flush=True
            )
            unjudged.append(one.id)
            continue
        try:
            path, text = broken(copy, one)
        except ValueError as error:
            print(f"{one.id} {rows[one.id].title}\n    the break does not fit any more: {error}")
            unjudged.append(one.id)
            continue
        whole = path.read_text(encoding="utf-8")
        try:
            path.write_text(text, encoding="utf-8")
            status, output = _pytest(copy, list(rows[one.id].tests), "-x")
        finally:
            path.write_text(whole, encoding="utf-8")
        found = _FAILED.search(output)
        if status == 1 and found:
            seen = f"red: {found[1]}"
        elif status is None:
            seen = f"red: no end within {PATIENCE:.0f} s"
        else:
            seen = "UNNOTICED" if status == 0 else f"UNCLEAR, pytest ended with {status}"
            unnoticed.append(one.id)
        print(f"{one.id} {rows[one.id].title}\n    {path.relative_to(copy)}: {one.line}\n    -> {one.becomes}")
        print(f"    {seen}", flush=True)
    judged = len(chosen) - len(unjudged)
    print(f"{judged - len(unnoticed)} of {judged} were noticed")
    if unnoticed:
        print(f"not noticed: {' '.join(unnoticed)}")
    if unjudged:
        print(f"not judged: {' '.join(unjudged)}")
    return 2 if unjudged else 1 if unnoticed else 0


def _environment(copy: Path) -> dict[str, str]:
    # In front of the editable installation, which leads to the checkout.
    return {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'tools'}", "PYTHONDONTWRITEBYTECODE": "1"}


def _see_that_the_copy_is_tested(copy: Path) -> None:
    script = "import pathlib, securecoap; print(pathlib.Path(securecoap.__file__).resolve().parents[1])"
    asked = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=_environment(copy), check=True, capture_output=True, text=True
    )
    if Path(asked.stdout.strip()) != copy.resolve():
        fail(f"the copy in {copy} would not be what is tested")


def _pytest(copy: Path, tests: list[str], option: str) -> tuple[int | None, str]:
    """Exit status, or ``None`` when it took too long, and what was printed."""
    plain = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plain, option, *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=_environment(copy), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
