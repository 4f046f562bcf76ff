"""A context's row of the SQLite store, and many rows as runs without a gap: neighbours cost one call together.

Knows the table of contexts, and neither locks nor transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.errors import StateError
from securecoap.state.handle import Chunk, next_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from securecoap.state.database import Database

__all__ = ["Row", "by_number", "runs"]


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
