"""What was read of files beyond the block that was asked for, so that not every block of a transfer goes to the disk.

Each part has the entity-tag of the state that it is of, and so has every block that is cut from it (RFC 7959 section
2.4). It reads nothing itself, and knows no messages.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from securecoap.resources.directory import Part

__all__ = ["OVERHEAD", "PART", "ReadAhead"]

PART: Final = 64 * 1024
"""Bytes that are read at once of a file; parts begin at multiples of it."""
OVERHEAD: Final = 512
"""Bytes that a part takes beside its content."""
_KEPT_FOR: Final = 1.0
"""Seconds for which a part is used."""

Path: TypeAlias = tuple[str, ...]


class _State:
    """What was read ahead of one state of a file: parts by where they begin, and until when they are used."""

    __slots__ = ("etag", "parts")

    def __init__(self, etag: bytes) -> None:
        self.etag = etag
        self.parts: dict[int, tuple[Part, float]] = {}


class ReadAhead:
    """What was read of files beyond the block that was asked for.

    Of each file there is one state only, the newest that was seen: a client that begins again finds no older block. At
    the bound the oldest part of the longest unread file goes.

    Args:
        most_bytes: of all parts, with their `OVERHEAD`.
    """

    __slots__ = ("_bytes", "_files", "_most")

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._files: OrderedDict[Path, _State] = OrderedDict()

    def keep(self, names: Path, part: Part, now: float) -> None:
        """Keep a part that begins at a multiple of `PART`, and nothing of another state of that file."""
        state = self._files.get(names)
        if state is None or state.etag != part.etag:
            self.forget(names)
            state = self._files[names] = _State(part.etag)
        self._drop(state, part.start)
        state.parts[part.start] = (part, now + _KEPT_FOR)
        self._bytes += len(part.payload) + OVERHEAD
        self._files.move_to_end(names)
        while self._bytes > self._most:
            oldest, state = next(iter(self._files.items()))
            self._drop(state, next(iter(state.parts)))
            if not state.parts:
                del self._files[oldest]

    def find(self, names: Path, start: int, now: float) -> Part | None:
        """The part that has this byte, if it was read a moment ago."""
        state = self._files.get(names)
        if state is None:
            return None
        part, until = state.parts.get(start - start % PART, (None, 0.0))
        return part if now < until else None

    def forget(self, names: Path) -> None:
        """Drop all of a file."""
        state = self._files.pop(names, None)
        if state is not None:
            for start in list(state.parts):
                self._drop(state, start)

    def _drop(self, state: _State, start: int) -> None:
        part, _ = state.parts.pop(start, (None, 0.0))
        if part is not None:
            self._bytes -= len(part.payload) + OVERHEAD
