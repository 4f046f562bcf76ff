"""tools/test: set everything up, then run every test on every Python that the machine has.

    tools/test                     all of it
    tools/test --quick             this Python only, and no peers are installed
    tools/test tests/wire -k uri   arguments that it does not know go to pytest

The tests of interop and of these tools run once, on the Python that started this; the other Pythons run the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib

from support.environment import ROOT, make_environment, other_pythons, say, try_install
from support.peers import install_peers

SETS = {"all", "test", "dev"}  # extras made of others


def main() -> int:
    """Run the suites; the exit status is that of the first one that failed."""
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only with this Python, and without installing peers")
    options, rest = parser.parse_known_args()
    os.chdir(ROOT)
    python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
    if options.quick:
        return _pytest(python, rest)
    install_peers()
    say(f"tests on Python {sys.version.split()[0]}")
    status = _pytest(python, rest)
    for version, path in other_pythons().items():
        name = f"{version[0]}.{version[1]}"
        other = make_environment(ROOT / f".venv-{name}", ["-e", ".[test]"], python=path)
        missing = _install_extras(other)
        without = f" (without the extra {', '.join(missing)}: it cannot be installed there)" if missing else ""
        say(f"tests on Python {name}{without}")
        status = _pytest(other, [*rest, "--ignore=tests/interop", "--ignore=tests/tools"]) or status
    return status


def _install_extras(interpreter: str) -> list[str]:
    """Install every extra that exists for this Python; return the names of the others.

    A new Python is there before all compiled packages are: what is missing is said, and its tests skip.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: list(packages) for name, packages in project["optional-dependencies"].items() if name not in SETS}
    if try_install(interpreter, [package for packages in extras.values() for package in packages]):
        return []
    return [name for name, packages in extras.items() if not try_install(interpreter, packages)]


def _pytest(python: str, arguments: list[str]) -> int:
    # Twice as many as a small machine has cores: tests with real peers and processes mostly wait.
    workers = (
        [] if any(item.startswith(("-n", "--pdb", "-x")) for item in arguments) else ["-n", "4", "--dist", "loadfile"]
    )
    return subprocess.run([python, "-m", "pytest", *workers, *arguments], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
