"""Tables of devices (CSV) for commands that make or take many at once: a row for each, with its label and claims.

What further columns mean is for the command.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Row", "read_rows"]

_SEPARATORS: Final = {";": "semicolons", "\t": "tabulators", "|": "bars"}


class Row(NamedTuple):
    """One device.

    Attributes:
        line: where it stands, for messages.
        label: with its colon.
        claims: those of its row.
        cells: what further columns have, by their names; empty ones are left out.
    """

    line: int
    label: str
    claims: tuple[str, ...]
    cells: dict[str, str]


def read_rows(table: Path) -> list[Row]:
    """The rows of a table with a column ``label`` and, maybe, one ``claims``, separated by blanks.

    Raises:
        MakingFault: with the line: it is no such table, or has a label twice.
        OSError: it cannot be read.
    """
    from securecoap.credentials.making import MakingFault

    with table.open("rb") as stream:
        reader = csv.reader(_lines(stream, table), skipinitialspace=True, strict=True)
        try:
            header = next(reader, [])
            names = [name.strip() for name in header]
            if names.count("label") != 1 or len(set(names)) != len(names):
                what = "columns named label and, maybe, claims are expected, each once"
                raise MakingFault(f"{table}:1: {what}{_instead(header)}")
            rows = []
            lines: dict[str, int] = {}
            for row in reader:
                if not row:
                    continue
                if len(row) > len(names):
                    raise MakingFault(f"{table}:{reader.line_num}: more cells than columns")
                cells = {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
                label = cells.pop("label", "")
                if not label:
                    raise MakingFault(f"{table}:{reader.line_num}: no label")
                label = label if label.startswith(":") else f":{label}"
                if lines.setdefault(label, reader.line_num) != reader.line_num:
                    raise MakingFault(f"{table}:{reader.line_num}: {label} is in line {lines[label]} already")
                claims = tuple(cells.pop("claims", "").replace(";", " ").split())
                rows.append(Row(reader.line_num, label, claims, cells))
        except csv.Error as error:
            raise MakingFault(f"{table}:{reader.line_num}: not a table: {error}") from None
    return rows


def _lines(stream: Iterable[bytes], table: Path) -> Iterator[str]:
    """The lines of a file in UTF-8, with their ends; a byte order mark, as spreadsheets write it, is left out."""
    from securecoap.credentials.making import MakingFault

    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise MakingFault(f"{table}:{number}: not UTF-8") from None


def _instead(header: list[str]) -> str:
    """What separates the columns, if it is not a comma."""
    found = [name for character, name in _SEPARATORS.items() if len(header) == 1 and character in header[0]]
    return f"; they are separated by commas, not by {found[0]}" if found else ""
