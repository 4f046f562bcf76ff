"""The SQLite file of a state directory, as one worker thread sees it: WAL, every commit on the disk when it returns.

Two files: ``state.sqlite3`` (SQLite adds ``-wal`` and ``-shm``) and ``state.lock``, one byte of which is locked for
each context that a process owns. Every fault closes the connection, and the next transaction begins with a fresh one:
what failed to reach the disk is never believed. This module knows tables and locks, no event loop.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from securecoap.errors import StateError
from securecoap.state import schema
from securecoap.state.handle import FIRST_CHUNK, Chunk, Claim, Return
from securecoap.state.location import make_private_directory, sync_directory
from securecoap.state.locks import RangeLocks
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER
from securecoap.state.rows import Row, by_number, find_marks, find_rows, find_windows, make_rows, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from securecoap.state.handle import Backing
    from securecoap.state.protocol import StateRequest

__all__ = ["DATABASE", "LOCKS", "Database", "connect"]

DATABASE = "state.sqlite3"
LOCKS = "state.lock"

_SETUP_PLACE = 1 << 62  # beyond the id of any context
_BUSY = 10.0
_NAMED = 100  # contexts in one line of the log
_TICK = 0.02

_log = logging.getLogger(__name__)


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose transactions are begun and ended by hand.

    Raises:
        sqlite3.Error: as the database says.
    """
    # One thread at a time uses it, but not always the one that made it: the store may be closed from another.
    return sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)


class Database:
    """One state directory. All methods are called in one worker thread.

    Args:
        directory: where the files are.
        connector: makes the connection to an existing file.
    """

    def __init__(self, directory: Path, connector: Callable[[Path], sqlite3.Connection] = connect) -> None:
        self.directory = directory
        self._path = directory / DATABASE
        self._connector = connector
        self._connection: sqlite3.Connection | None = None
        self._locks: RangeLocks | None = None
        self._file: os.stat_result | None = None
        self._suspect = False

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the transaction that is under way."""
        if self._connection is None:
            raise StateError(f"{self._path}: not open")
        return self._connection

    @property
    def locks(self) -> RangeLocks:
        """The locks of this process on contexts."""
        if self._locks is None:
            raise StateError(f"{self._path}: not open")
        return self._locks

    def ensure(self, labels: Sequence[str], *, strict: bool) -> None:
        """Have the store there, made or migrated if need be; the first call in a process does the work.

        Raises:
            StateError: it is missing and ``strict``, or cannot be made, read or migrated.
        """
        if self._file is not None:
            return
        if strict and not self.exists():
            raise StateError(f"no state in {self.directory}, and it was asked not to begin anew")
        try:
            make_private_directory(self.directory)
            if self._locks is None:
                self._locks = RangeLocks.shared(self.directory / LOCKS)
            self._wait_for_setup(self._locks)
            try:
                self._set_up(labels, strict=strict)
            finally:
                self._locks.release(_SETUP_PLACE)
        except (OSError, sqlite3.Error) as error:
            self._disconnect()
            raise StateError(f"the state in {self.directory} cannot be used: {error}") from error
        except StateError:
            self._disconnect()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction, durable when it is left without an exception.

        Raises:
            StateError: it is not durable, whatever the database would say if asked again.
        """
        try:
            self._check_place()
            if self._connection is None:
                self._connection = self._open()
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._suspect = True
            self._connection.execute("COMMIT")
            self._suspect = False
        except BaseException as error:
            self._disconnect()
            if isinstance(error, (OSError, sqlite3.Error, StateError)):
                raise StateError(f"the state in {self.directory} failed: {error}") from error
            raise

    def claim(self, requests: Sequence[StateRequest]) -> list[Claim | None]:
        """See `securecoap.state.handle.Home.claim`. Each kind of statement runs once for all of them."""
        connection = self.connection
        names = {request.fingerprint for request in requests}
        rows = find_rows(connection, names)
        if len(rows) < len(names):
            self._rename([request for request in requests if request.fingerprint not in rows])
            rows = find_rows(connection, names)
        new = make_rows(connection, sorted(names.difference(rows)))
        owned: list[range] = []
        try:
            denied = self._lock(sorted([row for row, _ in rows.values()]), owned)
            known = list(owned)
            denied |= self._lock([row for row, _ in new.values()], owned)
            windows = find_windows(connection, {row for run in known for row in run})
            ends = [(run[0], run[-1]) for run in known]
            connection.executemany("DELETE FROM windows WHERE context BETWEEN ? AND ?", ends)
            # All used: it can be opened, for what its peers still say; the handle refuses to number anything.
            connection.executemany(
                "UPDATE contexts SET next = min(next + ?, ?) WHERE id BETWEEN ? AND ?",
                [(FIRST_CHUNK, MAX_SEQUENCE_NUMBER + 1, *end) for end in ends],
            )
        except BaseException:
            self._release(owned)
            raise
        rows.update(new)
        chunks = {
            mark: Chunk(mark, min(mark + FIRST_CHUNK, MAX_SEQUENCE_NUMBER + 1))
            for mark in {mark for _, mark in rows.values()}  # most are new, and have the same
        }
        claims: list[Claim | None] = []
        for request in requests:
            row, mark = rows[request.fingerprint]
            claim = None
            if row not in denied:
                claim = Claim(Row(self, row, request.label), chunks[mark], windows.get(row))
            claims.append(claim)
        return claims

    def give_back(self, returns: Sequence[Return]) -> list[StateError | None]:
        """See `securecoap.state.handle.Home.give_back`. Each kind of statement runs once for all of them."""
        places: list[Row] = [cast("Row", one.backing) for one in returns]
        marks = find_marks(self.connection, {one.place for one in places if one.held})
        faults: list[StateError | None] = []
        lowered: list[tuple[int, int]] = []
        windows: list[tuple[object, ...]] = []
        for place, (_, unused, end, window) in zip(places, returns, strict=True):
            mark = marks.get(place.place) if place.held else None
            if mark is None:
                faults.append(place.fault())
                continue
            faults.append(None)
            if mark == end and unused < end:
                lowered.append((place.place, unused))
            if window is not None:
                seen = window.seen.to_bytes((window.seen.bit_length() + 7) // 8, "big")
                windows.append((place.place, window.highest, seen, window.size, window.proven))
        self.connection.executemany(
            "UPDATE contexts SET next = ? WHERE id BETWEEN ? AND ?",
            [
                (unused, run[0], run[-1])
                for unused, rows in by_number(lowered).items()  # of which unused contexts have the same, mostly
                for run in runs(sorted(rows))
            ],
        )
        self.connection.executemany(
            "INSERT OR REPLACE INTO windows (context, highest, seen, size, proven) VALUES (?, ?, ?, ?, ?)", windows
        )
        return faults

    def unlock(self, backings: Sequence[Backing]) -> None:
        """See `securecoap.state.handle.Home.unlock`: by runs, as they were locked."""
        rows = []
        for backing in cast("Sequence[Row]", backings):
            if backing.held:
                backing.held = False
                rows.append(backing.place)
        self._release(runs(sorted(rows)))

    def _release(self, owned: Iterable[range]) -> None:
        for run in owned:
            with suppress(OSError, StateError):  # closed: the locks are gone already
                self.locks.release(run[0], len(run))

    def _rename(self, requests: list[StateRequest]) -> None:
        """Give the rows of earlier versions the fingerprints of this one.

        What such a row is called now can only be told from the credential, and costs what it did then.
        """
        if not self.connection.execute("SELECT EXISTS (SELECT 1 FROM contexts WHERE form = 1)").fetchone()[0]:
            return
        former = {
            request.former(request.source): request.fingerprint for request in requests if request.former is not None
        }
        self.connection.executemany(
            "UPDATE contexts SET fingerprint = ?, form = 2 WHERE id = ? AND form = 1",
            [(former[name], row) for name, (row, _) in find_rows(self.connection, former.keys()).items()],
        )

    def _lock(self, rows: list[int], owned: list[range]) -> set[int]:
        """Add to ``owned`` those of the ascending ``rows`` whose locks can be had, by runs without a gap.

        Returns:
            Those that another process has.
        """
        acquire = self.locks.acquire
        denied: set[int] = set()
        for run in runs(rows):
            if acquire(run[0], len(run)):
                owned.append(run)
                continue
            for row in run:
                if len(run) > 1 and acquire(row):
                    owned.append(range(row, row + 1))  # whatever fails, what is locked is in it
                else:
                    denied.add(row)
        return denied

    def exists(self) -> bool:
        """Whether there is a store; a file without a byte is what a crash leaves before the first commit."""
        return self._path.exists() and self._path.stat().st_size > 0

    def take_sessions(self, endpoint: str, forget_before: float) -> list[tuple[float, bytes]]:
        """Delete and return what `save_sessions` kept, and delete everybody's that is older than ``forget_before``."""
        rows = self.connection.execute("SELECT saved, session FROM dtls_sessions WHERE endpoint = ?", (endpoint,))
        taken = [(float(saved), bytes(session)) for saved, session in rows if saved >= forget_before]
        self.connection.execute(
            "DELETE FROM dtls_sessions WHERE endpoint = ? OR saved < ?", (endpoint, float(forget_before))
        )
        return taken

    def save_sessions(self, endpoint: str, saved: float, sessions: Sequence[bytes]) -> None:
        """Keep sessions for the next start of this endpoint."""
        self.connection.executemany(
            "INSERT INTO dtls_sessions (endpoint, saved, session) VALUES (?, ?, ?)",
            [(endpoint, float(saved), session) for session in sessions],
        )

    def save_sightings(self, seen: Mapping[str, int], forget_before: int) -> None:
        """Keep when labels were last seen, and forget those that were not for long."""
        self.connection.executemany(
            "INSERT INTO sightings (label, seen) VALUES (?, ?) "
            "ON CONFLICT (label) DO UPDATE SET seen = max(seen, excluded.seen)",
            list(seen.items()),
        )
        self.connection.execute("DELETE FROM sightings WHERE seen < ?", (forget_before,))

    def close(self) -> None:
        """Close the files. Locks that are still held are given up."""
        self._disconnect()
        if self._locks is not None:
            self._locks.close()
            self._locks = None
        self._file = None

    def _wait_for_setup(self, locks: RangeLocks) -> None:
        deadline = time.monotonic() + _BUSY
        while not locks.acquire(_SETUP_PLACE):
            if time.monotonic() > deadline:
                raise StateError(f"the state in {self.directory} is being set up by another process, and stays so")
            time.sleep(_TICK)

    def _set_up(self, labels: Sequence[str], *, strict: bool) -> None:
        if strict and not self.exists():
            raise StateError(f"no state in {self.directory}, and it was asked not to begin anew")
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = self._connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        if schema.version(connection) == 0:
            if strict:
                raise StateError(f"the state in {self.directory} is empty, and it was asked not to begin anew")
            _warn(self.directory, labels)
        schema.migrate(connection)
        connection.execute("COMMIT")
        sync_directory(self.directory)
        self._file = self._path.stat()

    def _open(self) -> sqlite3.Connection:
        connection = self._connector(self._path)
        try:
            self._expect(connection, "journal_mode = WAL", "wal", "this file system cannot hold a write-ahead log")
            # FULL: each commit is on the disk; the others: also on systems where fsync alone stops at the drive.
            for pragma in ("synchronous = FULL", "fullfsync = 1", "checkpoint_fullfsync = 1", "foreign_keys = 1"):
                connection.execute(f"PRAGMA {pragma}")
            if self._suspect:
                # After a failed fsync the kernel calls the log's pages clean, on the disk or not, and the next fsync
                # succeeds: so their content is written once more, to the database, and the log begins anew.
                self._expect(connection, "wal_checkpoint(TRUNCATE)", 0, "it recovers from a fault, others still use it")
                self._suspect = False
        except BaseException:
            connection.close()
            raise
        return connection

    def _expect(self, connection: sqlite3.Connection, pragma: str, answer: object, otherwise: str) -> None:
        if connection.execute(f"PRAGMA {pragma}").fetchone()[0] != answer:
            raise StateError(f"{self._path}: {otherwise}")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()  # rolls back what was not committed

    def _check_place(self) -> None:
        """A store that was moved or deleted under us would be begun anew by the next process: stop here."""
        try:
            in_place = self._file is not None and os.path.samestat(self._path.stat(), self._file)
        except FileNotFoundError:
            in_place = False
        if not in_place or not self.locks.in_place():
            raise StateError("its files were moved or deleted while in use")


def _warn(directory: Path, labels: Sequence[str]) -> None:
    """Say which security contexts start anew; a store that is made for anything else is nothing to worry about."""
    if labels:
        _log.warning(
            "No state in %s: it is made now, and these security contexts start anew, with sequence number 0: %s. "
            "For new credentials this is as it should be. If one of them was used before, its peers refuse its "
            "messages at best, and nonces are used twice at worst: give it new keys, or restore the directory.",
            directory,
            ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""),
        )
