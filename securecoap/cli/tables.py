"""Tables of devices (CSV) for commands that make or take many at once: a row for each, with its label and claims.

What further columns mean is for the command.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Row", "read_rows"]


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
        MakingFault: it is no such table.
        OSError: it cannot be read.
    """
    from securecoap.credentials.making import MakingFault

    with table.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            if names.count("label") != 1 or len(set(names)) != len(names):
                raise MakingFault(f"{table}:1: columns named label and, maybe, claims are expected, each once")
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) > len(names):
                    raise MakingFault(f"{table}:{reader.line_num}: more cells than columns")
                cells = {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
                label = cells.pop("label", "")
                claims = tuple(cells.pop("claims", "").replace(";", " ").split())
                rows.append(Row(reader.line_num, label if label.startswith(":") else f":{label}", claims, cells))
        except (csv.Error, UnicodeDecodeError) as error:
            raise MakingFault(f"{table}: not a table: {error}") from None
    return rows
