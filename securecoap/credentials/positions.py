"""Where each value of a JSON text stands (RFC 8259), and which keys are given twice.

Reads texts that the standard library's parser has accepted, and only when there is something to report: so no error
handling stands here, and loading a faultless file pays nothing. Must not know what the values mean.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["TOKEN", "Path", "Positions", "scan"]

Path = tuple[str | int, ...]
"""Where a value is: member names and list indices from the top."""

TOKEN: Final = re.compile(r'[ \t\r\n]*("(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+)', re.DOTALL)

_COLON: Final = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_VALUE: Final = json.JSONDecoder()


@dataclass(slots=True)
class Positions:
    """Lines and columns, counted from 1, by path; and the paths that were given again, each with its line."""

    lines: dict[Path, int] = field(default_factory=dict)
    repeated: list[tuple[Path, int]] = field(default_factory=list)
    columns: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest value around it that exists."""
        while path:
            if (found := self.lines.get(path)) is not None:
                return found
            path = path[:-1]
        return self.lines.get((), 1)

    def column(self, path: Path) -> int:
        """The column, counted from 1, of ``path``, or of the nearest value around it that exists."""
        while path:
            if (found := self.columns.get(path)) is not None:
                return found
            path = path[:-1]
        return self.columns.get((), 1)


def scan(text: str, names: Collection[object] | None = None) -> Positions:
    """Find the line of every member (that of its name) and list element in ``text``, which must be JSON.

    Args:
        text: JSON.
        names: members of the outermost object; if they are given, all others are passed over, which is much faster.
    """
    positions = Positions()
    lines = positions.lines
    stack: list[dict[str, int] | int] = []  # for an object its names and how often each was seen; for a list the index
    path: list[str | int] = []
    before = -1  # where the last line ended
    position, line, name = 0, 1, True  # ``name``: the next string in an object is a member's name
    while (match := TOKEN.match(text, position)) is not None:
        lexeme = match[1]
        start = match.start(1)
        line += text.count("\n", position, start)
        before = max(before, text.rfind("\n", position, start))
        column = start - before
        position = match.end()
        if lexeme in ("]", "}"):
            stack.pop()
            path.pop()
            name = False
            continue
        if lexeme in (":", ","):
            top = stack[-1]
            name = lexeme == "," and isinstance(top, dict)
            if lexeme == "," and isinstance(top, int):
                stack[-1] = top + 1
                path[-1] = top + 1
            continue
        if name and stack and isinstance(stack[-1], dict):
            key = json.loads(lexeme, strict=False) if "\\" in lexeme else lexeme[1:-1]
            if names is not None and len(stack) == 1 and key not in names:
                end = _VALUE.raw_decode(text, _COLON.match(text, position).end())[1]  # type: ignore[union-attr]  # JSON
                line += text.count("\n", position, end)
                before = max(before, text.rfind("\n", position, end))
                position, name = end, False
                continue
            path[-1] = key
            if key in stack[-1]:
                positions.repeated.append((tuple(path), line))
            stack[-1][key] = line
            lines[tuple(path)] = line
            positions.columns[tuple(path)] = column
            name = False
            continue
        lines.setdefault(tuple(path), line)
        positions.columns.setdefault(tuple(path), column)
        if lexeme == "{":
            stack.append({})
            path.append("")
            name = True
        elif lexeme == "[":
            stack.append(0)
            path.append(0)
    return positions
