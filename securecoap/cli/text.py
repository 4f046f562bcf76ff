"""Text for a person, on stderr or a terminal: nothing that came from a peer can move the cursor or end a line there.

Knows no message and no format.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Final

__all__ = ["printable", "reader_left", "tell"]

_SUSPECT: Final = re.compile(r"[^\n\t\x20-\x7e]")


def printable(text: str, *, lines: bool = True) -> str:
    """``text`` with every control, format and unassigned character written as an escape.

    Args:
        text: from anywhere.
        lines: whether line breaks and tabs are kept.
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")

    text = _SUSPECT.sub(escape, text)
    return text if lines else text.replace("\n", "\\n").replace("\t", "\\t")


def tell(text: str) -> None:
    """Say something on stderr, after the program's name; further lines are indented."""
    shown = printable(text).replace("\n", "\n  ")
    print(f"securecoap: {shown}", file=sys.stderr, flush=True)  # noqa: T201  # this is the command line


def reader_left() -> int:
    """Nobody reads stdout any more: keep the interpreter from complaining about it at its end.

    Returns:
        The exit status of a program that SIGPIPE has ended.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 128 + signal.SIGPIPE
