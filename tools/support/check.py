"""tools/check: everything that can be said about the code without running it, in one command.

Runs all steps even when one fails, and ends with 1 if any did.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.architecture import check_all, public_names, read_modules
from support.environment import ROOT, in_environment, make_environment, say
from support.mutation import BREAKS, check_breaks
from support.requirements import TABLE, check_requirements, pending_lines, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ROOT / "tools" / "public_names.txt"
SCHEMA = ROOT / "credentials" / "schema.json"
WRITE_SCHEMA = "import sys; from securecoap.credentials.schema import schema_text; sys.stdout.write(schema_text())"
IMPORT_COST = """
import sys, securecoap
heavy = [name for name in ("pydantic", "click", "rich", "websockets", "DTLSSocket", "lakers") if name in sys.modules]
missing = [name for name in getattr(securecoap, "__all__", []) if not hasattr(securecoap, name)]
sys.exit("".join(f"import securecoap loads {name}\\n" for name in heavy)
         + "".join(f"securecoap.__all__ names {name}, which is not there\\n" for name in missing) or 0)
"""


def main() -> int:
    """Run the steps that were asked for."""
    parser = argparse.ArgumentParser(prog="tools/check", description=__doc__)
    parser.add_argument("--fix", action="store_true", help="format, and mend what ruff can mend")
    parser.add_argument("--names", action="store_true", help=f"write {NAMES.relative_to(ROOT)} anew")
    options = parser.parse_args()
    if not in_environment("ruff", "mypy", "pytest", "securecoap"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "support.check", *sys.argv[1:]])
    os.chdir(ROOT)
    if options.names:
        NAMES.write_text("".join(f"{name}\n" for name in public_names(read_modules(ROOT)[0])))
    if options.fix:
        _ruff("format", "--quiet")
        _ruff("check", "--fix", "--quiet")
        SCHEMA.write_text(_schema_text())
    steps: list[tuple[str, Callable[[], bool]]] = [
        ("format", lambda: _ruff("format", "--check", "--quiet")),
        ("lint", lambda: _ruff("check", "--quiet")),
        ("types of securecoap", lambda: _mypy("-p", "securecoap")),
        (
            "types of tools",
            lambda: _mypy("tools/support", "tools/bench", "tools/crash", "tools/reload", "tools/fuzz/oscore.py"),
        ),
        ("types of tests", _mypy_tests),
        ("architecture", _architecture),
        ("public names", _names),
        ("behaviour checklist", _requirements),
        ("schema of credentials", _schema),
        ("import", lambda: _run(sys.executable, "-c", IMPORT_COST)),
    ]
    failed = []
    for title, step in steps:
        say(title)
        if not step():
            failed.append(title)
    print(f"tools/check: failed: {', '.join(failed)}" if failed else "tools/check: all well", flush=True)
    return 1 if failed else 0


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def _ruff(*arguments: str) -> bool:
    return _run(sys.executable, "-m", "ruff", *arguments, "securecoap", "tests", "tools")


def _mypy(*arguments: str) -> bool:
    os.environ["MYPYPATH"] = "tools"
    return _run(sys.executable, "-m", "mypy", "--no-error-summary", "--explicit-package-bases", *arguments)


def _mypy_tests() -> bool:
    """Tests need not be annotated, nor show that a value is not None; what they call has to exist and fit."""
    loose = ["--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls", "--allow-any-generics"]
    loose += ["--allow-untyped-decorators", "--no-warn-unreachable", "--check-untyped-defs", "--no-warn-return-any"]
    loose += ["--no-strict-equality", "--no-strict-optional", "--no-warn-unused-ignores", "--no-warn-redundant-casts"]
    # Doubles stand in for what they are not, and white-box tests look behind the seams; what is not there fails anyway.
    lax = ["arg-type", "assignment", "attr-defined", "func-returns-value", "has-type", "list-item", "method-assign"]
    for code in [*lax, "override", "var-annotated"]:
        loose += ["--disable-error-code", code]
    # The peers are run by environments of their own, which have what they import.
    loose += ["--exclude", "tests/interop/peers/", "--follow-imports=silent", "--cache-dir=.mypy_cache/tests"]
    return not any(Path("tests").rglob("*.py")) or _mypy(*loose, "tests")


def _architecture() -> bool:
    faults = check_all(ROOT)
    for fault in faults:
        print(f"{fault.path.relative_to(ROOT)}:{fault.line}: {fault.text}")
    return not faults


def _requirements() -> bool:
    """Each row of the behaviour checklist has tests that are there, and breaks that fit; what is pending is said."""
    faults = [f"{TABLE}: {fault}" for fault in check_requirements(ROOT)]
    faults += [f"{BREAKS}: {fault}" for fault in check_breaks(ROOT)]
    for fault in faults:
        print(fault)
    for line in pending_lines(read_rows(ROOT)[0]):
        print(f"  {line}")
    return not faults


def _schema_text() -> str:
    return subprocess.run([sys.executable, "-c", WRITE_SCHEMA], check=True, stdout=subprocess.PIPE, text=True).stdout


def _schema() -> bool:
    """The schema in ``credentials/`` is what the parsers' tables make."""
    if SCHEMA.read_text() == _schema_text():
        return True
    print(f"{SCHEMA.relative_to(ROOT)} is not what the tables in securecoap/credentials make: tools/check --fix")
    return False


def _names() -> bool:
    """Public names are a promise: what comes or goes is written down in the same commit."""
    modules, _ = read_modules(ROOT)
    now = public_names(modules)
    pinned = NAMES.read_text().splitlines() if NAMES.exists() else []
    if now == pinned:
        return True
    for line in difflib.unified_diff(pinned, now, str(NAMES.relative_to(ROOT)), "the code", lineterm="", n=0):
        print(line)
    print("If this is meant: tools/check --names")
    return False


if __name__ == "__main__":
    sys.exit(main())
