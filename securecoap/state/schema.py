"""The tables of the SQLite store, by version. A store is brought to the newest version when it is opened.

Written for SQLite from 3.24 on, which is why column types are CHECKs and not STRICT. A step is never edited once it was
released: a new version appends one. This module knows no context and no thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.errors import StateError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["APPLICATION_ID", "STEPS", "migrate", "version"]

APPLICATION_ID = 0x53436F41
"""In the file's header, so that no other database is taken for a store: "SCoA"."""

STEPS: Sequence[Sequence[str]] = (
    (
        # The id also is the place of the context's lock: never given to another context.
        """
        CREATE TABLE contexts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            fingerprint BLOB NOT NULL UNIQUE CHECK (typeof(fingerprint) = 'blob'),
            next INTEGER NOT NULL CHECK (typeof(next) = 'integer' AND next BETWEEN 0 AND 1099511627776)
        )
        """,
        # A row is there from an orderly shutdown to the next opening only.
        """
        CREATE TABLE windows (
            context INTEGER PRIMARY KEY REFERENCES contexts (id),
            highest INTEGER NOT NULL CHECK (typeof(highest) = 'integer' AND highest BETWEEN -1 AND 1099511627775),
            seen BLOB NOT NULL CHECK (typeof(seen) = 'blob'),
            size INTEGER NOT NULL CHECK (typeof(size) = 'integer' AND size > 0),
            proven INTEGER NOT NULL CHECK (proven IN (0, 1))
        )
        """,
    ),
    (
        # Rows are there from an orderly shutdown to the next start only: whoever takes them deletes them first.
        """
        CREATE TABLE dtls_sessions (
            endpoint TEXT NOT NULL CHECK (typeof(endpoint) = 'text'),
            saved REAL NOT NULL CHECK (typeof(saved) = 'real'),
            session BLOB NOT NULL CHECK (typeof(session) = 'blob')
        )
        """,
        "CREATE INDEX dtls_sessions_of ON dtls_sessions (endpoint)",
    ),
    (
        # For people only: nothing depends on it, and a label that has another name now is another one.
        """
        CREATE TABLE sightings (
            label TEXT PRIMARY KEY CHECK (typeof(label) = 'text'),
            seen INTEGER NOT NULL CHECK (typeof(seen) = 'integer')
        )
        """,
    ),
    (
        # Form 1 are the fingerprints of versions 1 to 3. Their programs, if they still run, get no new context here: it
        # would be unknown by that name to whoever has the other, and both would number from 0.
        "ALTER TABLE contexts ADD COLUMN form INTEGER NOT NULL DEFAULT 1 CHECK (form IN (1, 2))",
        "CREATE INDEX contexts_of_form_1 ON contexts (id) WHERE form = 1",
        """
        CREATE TRIGGER contexts_of_form_2 BEFORE INSERT ON contexts WHEN NEW.form = 1
        BEGIN SELECT RAISE(ABORT, 'the state is that of a newer version'); END
        """,
    ),
)

_MIGRATIONS = """
    CREATE TABLE IF NOT EXISTS migrations (
        version INTEGER PRIMARY KEY,
        applied TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
    )
"""


def version(connection: sqlite3.Connection) -> int:
    """The version of a store; 0 for one that is empty.

    Raises:
        StateError: the file is another application's database.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        (newest,) = connection.execute("SELECT max(version) FROM migrations").fetchone()
        return int(newest)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application or tables:
        raise StateError("the file is a database of another application")
    return 0


def migrate(connection: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring a store to the newest version, inside the caller's transaction.

    Raises:
        StateError: the store is of a newer version than this program knows, or not a store.
        sqlite3.Error: as the database says.
    """
    found = version(connection)
    if found > len(steps):
        raise StateError(f"the state was written by a newer version (schema {found}, known: {len(steps)})")
    if found == len(steps):
        return
    connection.execute(_MIGRATIONS)
    for number, statements in enumerate(steps[found:], found + 1):
        for statement in statements:
            connection.execute(statement)
        connection.execute("INSERT INTO migrations (version) VALUES (?)", (number,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
