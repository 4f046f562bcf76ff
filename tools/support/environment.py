"""Virtual environments and system packages, made where they are missing; knows nothing of what is run in them.

Each environment has a stamp file with what was asked of it, so that a second call costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

__all__ = [
    "ROOT",
    "SHIMS",
    "fail",
    "in_environment",
    "install_system_packages",
    "make_environment",
    "other_pythons",
    "say",
    "try_install",
]

ROOT = Path(__file__).resolve().parents[2]
SHIMS = ROOT / "tools" / "shims"
OLDEST = (3, 11)

# The launcher's way to this package; not for the programs that are started from here.
os.environ.pop("PYTHONPATH", None)


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"== {text}", flush=True)


def fail(text: str, status: int = 2) -> NoReturn:
    """End with one line that says what to do."""
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(status)


def make_environment(directory: Path, requirements: list[str], *, python: str | None = None) -> str:
    """Make or complete a virtual environment; return its interpreter's path.

    Args:
        directory: where it stands.
        requirements: arguments for ``pip install``; a path to this project is installed editable.
        python: the interpreter that it is made with; this process's own by default.
    """
    python = python or str(getattr(sys, "_base_executable", sys.executable))
    interpreter = directory / "bin" / "python"
    alive = interpreter.exists() and _runs(interpreter)
    stamp = _Stamp(directory, requirements)
    if alive and stamp.known:
        return str(interpreter)
    if not alive:
        say(f"making {_shown(directory)}")
        made = subprocess.run([python, "-m", "venv", "--clear", str(directory)], check=False)
        if made.returncode != 0:
            fail(f"{python} cannot make environments: install its venv module (Debian: apt-get install python3-venv)")
    say(f"installing {' '.join(requirements)} in {_shown(directory)}")
    installed = subprocess.run(
        [str(interpreter), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements],
        check=False, cwd=ROOT, env=_build_environment(),
    )  # fmt: skip
    if installed.returncode != 0:
        fail(f"pip could not install {' '.join(requirements)}: its message stands above", 1)
    stamp.write()
    return str(interpreter)


def try_install(interpreter: str, requirements: list[str]) -> bool:
    """Install what the rest can do without; whether that worked."""
    tried = subprocess.run(
        [interpreter, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *requirements],
        check=False,
        cwd=ROOT,
        env=_build_environment(),
        capture_output=True,
        text=True,
    )
    return tried.returncode == 0


def in_environment(*modules: str) -> bool:
    """Whether this process runs in a virtual environment that has these modules."""
    import importlib.util

    return sys.prefix != sys.base_prefix and all(importlib.util.find_spec(name) is not None for name in modules)


def other_pythons() -> dict[tuple[int, int], str]:
    """Every further Python from 3.11 on that this machine has, (major, minor) to its path; not this process's own."""
    found: dict[tuple[int, int], str] = {}
    candidates = [path for minor in range(OLDEST[1], 30) if (path := shutil.which(f"python3.{minor}"))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += [str(path) for path in sorted(pyenv.glob("versions/3.*/bin/python3"), key=_natural, reverse=True)]
    for candidate in candidates:
        asked = subprocess.run(
            [candidate, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if asked.returncode != 0:
            continue  # a pyenv shim whose version is not selected, or a Debian Python without its venv module
        major, minor = (int(part) for part in asked.stdout.split())
        if (major, minor) >= OLDEST and (major, minor) != sys.version_info[:2]:
            found.setdefault((major, minor), candidate)
    return dict(sorted(found.items()))


def install_system_packages(packages: list[str]) -> bool:
    """Install Debian packages when this process may; otherwise say in one line what to install.

    Returns:
        Whether they are there now.
    """
    if not packages:
        return True
    names = " ".join(packages)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        print(f"please install, then run this again: {names} (Debian: apt-get install {names})", file=sys.stderr)
        return False
    say(f"installing {names}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if shutil.which("debconf-set-selections"):
        # tshark asks whether others than root may capture; on a machine that only runs the tests nobody else needs to.
        answer = "wireshark-common wireshark-common/install-setuid boolean false\n"
        subprocess.run(["debconf-set-selections"], input=answer, text=True, check=False, env=quiet)
    with contextlib.suppress(OSError):
        subprocess.run([apt, "update", "-qq"], check=False, env=quiet, stdout=subprocess.DEVNULL)
    command = [apt, "install", "-y", "-qq", "--no-install-recommends", *packages]
    done = subprocess.run(command, check=False, env=quiet, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"apt-get could not install {names}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return done.returncode == 0


def _build_environment() -> dict[str, str]:
    """The environment of pip: dtlssocket's build meets our ``autoreconf`` (tools/shims says why it is enough).

    The prepared dtls_config.h that the stand-in relies on is one for little-endian machines. A Python may have been
    built with a compiler that goes by another name than the one here (``x86_64-linux-gnu-gcc``, ``gcc``).
    """
    environment = dict(os.environ)
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    if "CC" not in environment and shutil.which(compiler[0]) is None and shutil.which("cc"):
        environment["CC"] = " ".join(["cc", *compiler[1:]])
    if sys.byteorder == "little":
        environment["PATH"] = f"{SHIMS}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


class _Stamp:
    """Which requirements an environment was given, and for which pyproject.toml; a new one makes all of them old."""

    def __init__(self, directory: Path, requirements: list[str]) -> None:
        self._path = directory / ".securecoap-stamp"
        ours = any(item.startswith(".") for item in requirements)
        self._project = sha256((ROOT / "pyproject.toml").read_bytes() if ours else b"").hexdigest()
        self._wanted = " ".join(requirements)

    @property
    def known(self) -> bool:
        return self._wanted in self._lines()

    def write(self) -> None:
        self._path.write_text("\n".join([self._project, *self._lines(), self._wanted, ""]))

    def _lines(self) -> list[str]:
        lines = self._path.read_text().splitlines() if self._path.exists() else [""]
        return lines[1:] if lines[0] == self._project else []


def _runs(interpreter: Path) -> bool:
    return subprocess.run([str(interpreter), "-c", ""], check=False, capture_output=True).returncode == 0


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _natural(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parts[-3])]
