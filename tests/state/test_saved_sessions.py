"""DTLS sessions in the store: taken once, deleted before, and for whom they are (the design, section 6, State)."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest

from securecoap.errors import StateError
from securecoap.state import SqliteStateStore
from securecoap.state.database import connect

if TYPE_CHECKING:
    from pathlib import Path

HERE, THERE = "coaps://::1 5684 0", "coaps://::1 5685 0"


def test_they_are_taken_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStateStore(tmp_path / "state")
        await store.save_sessions(HERE, 1000.0, [b"one", b"two"])
        await store.save_sessions(THERE, 1000.0, [b"three"])
        await store.close()
        store = SqliteStateStore(tmp_path / "state")
        assert sorted(await store.take_sessions(HERE, 0.0)) == [(1000.0, b"one"), (1000.0, b"two")]
        assert await store.take_sessions(HERE, 0.0) == []
        assert await store.take_sessions(THERE, 0.0) == [(1000.0, b"three")]
        await store.close()

    asyncio.run(scenario())


def test_they_are_gone_from_the_disk_before_they_are_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStateStore(tmp_path)
        await store.save_sessions(HERE, 1000.0, [b"one"])
        await store.take_sessions(HERE, 0.0)
        with sqlite3.connect(tmp_path / "state.sqlite3") as other:
            assert other.execute("SELECT count(*) FROM dtls_sessions").fetchone() == (0,)
        other.close()
        await store.close()

    asyncio.run(scenario())


def test_what_nobody_took_is_deleted_one_day(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStateStore(tmp_path)
        await store.save_sessions(HERE, 1000.0, [b"old"])
        await store.save_sessions(THERE, 1000.0, [b"older"])
        await store.save_sessions(HERE, 3000.0, [b"new"])
        assert await store.take_sessions(HERE, 2000.0) == [(3000.0, b"new")]
        assert await store.take_sessions(THERE, 0.0) == []
        await store.close()

    asyncio.run(scenario())


def test_nothing_is_made_where_nothing_was_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = SqliteStateStore(tmp_path / "none", strict=True)
        assert await store.take_sessions(HERE, 0.0) == []
        with pytest.raises(StateError):
            await store.save_sessions(HERE, 1.0, [b"x"])
        await store.close()
        assert not (tmp_path / "none").exists()
        store = SqliteStateStore(tmp_path / "new")
        await store.save_sessions(HERE, 1.0, [b"x"])
        await store.close()

    asyncio.run(scenario())
    assert not caplog.records  # no security context starts anew


class FailingDelete(sqlite3.Connection):
    """A disk that does not take the deletion."""

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if sql.startswith("DELETE FROM dtls"):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)  # type: ignore[arg-type]  # as the base class takes them


def test_what_cannot_be_deleted_is_not_given_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStateStore(tmp_path)
        await store.save_sessions(HERE, 1000.0, [b"one"])
        await store.close()
        store = SqliteStateStore(
            tmp_path,
            connector=lambda path: sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, factory=FailingDelete
            ),
        )
        with pytest.raises(StateError):
            await store.take_sessions(HERE, 0.0)
        await store.close()
        store = SqliteStateStore(tmp_path, connector=connect)
        assert await store.take_sessions(HERE, 0.0) == [(1000.0, b"one")]
        await store.close()

    asyncio.run(scenario())
