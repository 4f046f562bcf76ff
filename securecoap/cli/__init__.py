"""The command line (design, section 7): one module for each group of commands, loaded when one of them is used.

Everything a command does stands on the public API; nothing here knows a layer. What all modules share: `options` (what
may be written), `session` (running against a `Context`, exit statuses), `output` and the renderers (what is printed).
"""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command that ``sys.argv`` asks for, and end the process with its exit status."""
    from securecoap.cli.program import run

    sys.exit(run())
