"""Rows of contexts in the SQLite store: one of them as its owner has it, and the statements that find and make many.

Many rows are runs without a gap, whose neighbours cost one call together. Knows the tables of contexts and windows, and
neither locks nor transactions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from securecoap.errors import StateError
from securecoap.state.handle import FIRST_CHUNK, Chunk, next_chunk
from securecoap.state.protocol import SavedWindow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from securecoap.state.database import Database

__all__ = ["Row", "by_number", "find_marks", "find_rows", "find_windows", "make_rows", "runs"]

_FEW = 100  # rows that are looked up one by one
_TOGETHER = 100  # rows that one statement makes: two thirds of the time are the statement's
_LAST = """
    SELECT max(
        coalesce((SELECT max(id) FROM contexts), 0),
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'contexts'), 0)
    )
"""


class Row:
    """A context's row: see `securecoap.state.handle.Backing`."""

    __slots__ = ("_database", "_label", "held", "place")

    def __init__(self, database: Database, row: int, label: str) -> None:
        self._database = database
        self.place = row
        self._label = label
        self.held = True

    def extend(self, start: int, count: int) -> Chunk:
        """See `securecoap.state.handle.Backing`."""
        chunk = next_chunk(max(start, self._mark()), count, self._label)
        self._database.connection.execute("UPDATE contexts SET next = ? WHERE id = ?", (chunk.end, self.place))
        return chunk

    def fault(self) -> StateError:
        """Why nothing is known of it."""
        why = "its row is gone from the state" if self.held else "no longer owned by this process"
        return StateError(f"{self._label}: {why}")

    def unlock(self) -> None:
        """See `securecoap.state.handle.Backing`."""
        self._database.unlock((self,))

    def forget(self) -> None:
        """See `securecoap.state.handle.Backing`."""
        self.held = False

    def _mark(self) -> int:
        query = "SELECT next FROM contexts WHERE id = ?"
        row = self._database.connection.execute(query, (self.place,)).fetchone() if self.held else None
        if row is None:
            raise self.fault()
        return int(row[0])


def find_rows(connection: sqlite3.Connection, names: AbstractSet[bytes]) -> dict[bytes, tuple[int, int]]:
    """Row and mark of those of these fingerprints that have one."""
    answers = _answers(connection, "SELECT fingerprint, id, next FROM contexts", "fingerprint", names)
    return {name: (row, mark) for name, row, mark in answers}


def find_marks(connection: sqlite3.Connection, rows: AbstractSet[int]) -> dict[int, int]:
    """The marks of those of these rows that are there."""
    answers = _answers(connection, "SELECT id, next FROM contexts", "id", rows)
    return {int(row): int(mark) for row, mark in answers}


def find_windows(connection: sqlite3.Connection, rows: AbstractSet[int]) -> dict[int, SavedWindow]:
    """The windows that are saved for these rows."""
    answers = _answers(connection, "SELECT context, highest, seen, size, proven FROM windows", "context", rows)
    return {
        row: SavedWindow(highest, int.from_bytes(seen, "big"), size, bool(proven))
        for row, highest, seen, size, proven in answers
    }


def _answers(connection: sqlite3.Connection, query: str, column: str, keys: AbstractSet[object]) -> Iterator[Any]:
    """The rows whose first column is one of ``keys``: one by one, or by reading them all."""
    if len(keys) < _FEW:
        one = f"{query} WHERE {column} = ?"
        return (answer for key in keys for answer in connection.execute(one, (key,)))
    return (answer for answer in connection.execute(query) if answer[0] in keys)


def make_rows(connection: sqlite3.Connection, names: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    """Make a row for each of these fingerprints, whose first `FIRST_CHUNK` numbers are reserved.

    If they ascend, the index of the table grows at its end only.

    Returns:
        Row, and mark before the reservation. The rows ascend without a gap.

    Raises:
        StateError: they do not.
    """
    if not names:
        return {}
    (last,) = connection.execute(_LAST).fetchone()
    newest: int | None = last
    for begin in range(0, len(names), _TOGETHER):
        some = names[begin : begin + _TOGETHER]
        newest = connection.execute(_making(len(some)), some).lastrowid
    # AUTOINCREMENT only goes up: so nothing was left out, and nobody has to be asked which row each of them has.
    if newest != last + len(names):
        raise StateError("the rows of new contexts have gaps")
    return {name: (row, 0) for row, name in enumerate(names, last + 1)}


@lru_cache(maxsize=2)
def _making(count: int) -> str:
    """The statement that makes so many rows; it takes their fingerprints."""
    places = ", ".join([f"(?, {FIRST_CHUNK}, 2)"] * count)
    return f"INSERT INTO contexts (fingerprint, next, form) VALUES {places}"  # noqa: S608 - only places


def by_number(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Rows, by the number that each has beside it."""
    found: dict[int, list[int]] = {}
    for row, number in pairs:
        found.setdefault(number, []).append(row)
    return found


def runs(rows: Sequence[int]) -> Iterator[range]:
    """Ascending numbers as ranges without a gap."""
    if not rows:
        return
    first = last = rows[0]
    for row in rows:
        if row > last + 1:
            yield range(first, last + 1)
            first = row
        last = row
    yield range(first, last + 1)
