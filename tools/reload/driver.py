"""Runs `reload.load` with the arguments of the command line, prints the counts, and fails if anybody noticed anything.

The first import is of the standard library only: the environment may have to be made.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from support.environment import ROOT, in_environment, make_environment


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Other credentials for a server under load; see tools/reload/load.py.")
    parser.add_argument("--clients", type=int, default=8, help="steady ones (8)")
    parser.add_argument("--reloads", type=int, default=100, help="changes of the credentials (100)")
    ways = ("signal", "rename", "write", "directory")
    parser.add_argument("--how", choices=ways, default="signal", help="how the server hears of them (signal)")
    arguments = parser.parse_args()
    if not in_environment("securecoap", "cryptography"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "reload.driver", *sys.argv[1:]])
    from reload.load import run

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="securecoap-reload-") as directory:
        counts = asyncio.run(
            run(Path(directory), clients=arguments.clients, reloads=arguments.reloads, how=arguments.how)
        )
    print(f"{counts}; {time.monotonic() - began:.0f} s")
    for failure in counts.failures[:20]:
        print(f"  {failure}")
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
