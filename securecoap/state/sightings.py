"""When peers were last seen, for a person who looks into a state directory: nothing else in it is read.

It is read beside a server that runs, without its locks and without changing anything. Must not know who asks.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from securecoap.errors import StateError
from securecoap.state import schema
from securecoap.state.database import DATABASE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_sightings"]

_SINCE = 3
"""The version of the store that has them."""


def read_sightings(state: Path) -> dict[str, int]:
    """When each label was last seen, in seconds since 1970; empty if none ever was.

    Args:
        state: the state directory, or the database in it.

    Raises:
        StateError: there is no state, or it cannot be read.
    """
    path = state / DATABASE if state.is_dir() else state
    if not path.is_file():
        raise StateError(f"{path}: there is no state")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            if schema.version(connection) < _SINCE:
                return {}
            return {str(label): int(seen) for label, seen in connection.execute("SELECT label, seen FROM sightings")}
    except (sqlite3.Error, StateError) as error:
        raise StateError(f"{path}: cannot be read: {error}") from error
