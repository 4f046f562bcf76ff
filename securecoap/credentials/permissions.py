"""Whether other users of the machine get at a file with keys: its mode, and the directories on the way to it.

Looks at modes only, never into a file. A directory that is closed to others protects what is in it.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["READABLE", "REPLACEABLE", "Permissions"]

READABLE: Final = "others may read the file with this key: chmod o-rwx"
REPLACEABLE: Final = "others may put another file in its place: a directory on the way is writable for everybody"


class Permissions:
    """What others may do; asks each directory once."""

    __slots__ = ("_ways",)

    def __init__(self) -> None:
        self._ways: dict[Path, tuple[bool, bool]] = {}

    def fault_of_key(self, path: Path) -> str | None:
        """What is wrong with a file that has a key: `READABLE`, `REPLACEABLE` or nothing."""
        try:
            path = path.resolve(strict=True)
            is_reached, is_replaceable = self._way(path.parent)
            is_open = is_reached and bool(path.stat().st_mode & stat.S_IROTH)
        except (OSError, RuntimeError):  # it is not there (any more), not ours to look at, or a circle of links
            return None
        return READABLE if is_open else REPLACEABLE if is_replaceable else None

    def is_reached(self, path: Path) -> bool:
        """Whether others get as far as a file or into a directory.

        Raises:
            OSError: it cannot be looked at.
        """
        path = path.resolve()
        return self._way(path if path.is_dir() else path.parent)[0]

    def is_replaceable(self, path: Path) -> bool:
        """Whether others can put another file in the place of one; the sticky bit keeps them from that.

        Raises:
            OSError: it cannot be looked at.
        """
        path = path.resolve()
        return self._way(path if path.is_dir() else path.parent)[1]

    def _way(self, directory: Path) -> tuple[bool, bool]:
        """Whether others get into a directory, and whether they may rename something on the way to it or in it."""
        known = self._ways.get(directory)
        if known is None:
            is_reached, is_replaceable = (True, False) if directory.parent == directory else self._way(directory.parent)
            mode = directory.stat().st_mode
            is_reached = is_reached and bool(mode & stat.S_IXOTH)
            is_shared = bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
            known = self._ways[directory] = (is_reached, is_replaceable or (is_reached and is_shared))
        return known
