"""The programs of docs/*.md run as they stand there, and print what is written below them.

A fenced block of Python is a whole program. If the next block is one of ``text``, that is its output, to the letter; a
line of it with ``…`` stands for anything. Programs choose ports that are free (port 0), and run in a directory of their
own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.transports.test_udp import usable_group

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """One program of a page, with the line where it begins."""

    page: str
    line: int
    text: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def programs_of(page: str, text: str) -> list[Program]:
    blocks = [(text.count("\n", 0, match.start()) + 2, match[1], match[2]) for match in BLOCK.finditer(text)]
    return [
        Program(page, line, code, output if kind == "text" else None)
        for (line, language, code), (_, kind, output) in pairwise([*blocks, (0, "", "")])
        if language == "python"
    ]


PROGRAMS = [one for path in sorted(DOCS.glob("*.md")) for one in programs_of(path.name, path.read_text())]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program(program: Program, tmp_path: Path) -> None:
    if "ALL_COAP_NODES" in program.text:
        usable_group(4)  # or it is skipped
    # As many lines before it as on the page, so that a traceback has the page's line numbers.
    source = tmp_path / program.page.replace(".md", ".py")
    source.write_text("\n" * (program.line - 1) + program.text)
    done = subprocess.run(
        [sys.executable, "-W", "error", source],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path), "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if program.output is not None:
        expected = ".*".join(re.escape(part) for part in program.output.split("…"))
        assert re.fullmatch(expected, done.stdout), f"{program} prints\n{done.stdout}"


def test_every_page_with_programs_is_found() -> None:
    assert {"large-bodies.md", "requesting.md", "serving.md"} <= {one.page for one in PROGRAMS}


def test_what_is_a_program() -> None:
    page = (
        "# x\n\n```python\nprint(1)\n```\n\nprints\n\n```text\n1\n```\n\n```sh\nls\n```\n\n```python\nprint(2)\n```\n"
    )
    assert [(one.line, one.text, one.output) for one in programs_of("x.md", page)] == [
        (4, "print(1)\n", "1\n"),
        (18, "print(2)\n", None),
    ]
