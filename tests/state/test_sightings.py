"""When peers were last seen: kept in the store, read beside it, and no reason to lose anything else."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from securecoap.errors import StateError
from securecoap.state import StateRequest, schema
from securecoap.state.sightings import read_sightings
from securecoap.state.sqlite import SqliteStateStore

FP = bytes(range(32))
FORMER = bytes(range(32, 64))


def save(directory, *written, forget_before=0):
    async def main():
        store = SqliteStateStore(directory)
        for seen in written:
            await store.save_sightings(seen, forget_before)
        found = read_sightings(directory)  # beside the one that writes
        await store.close()
        return found

    return asyncio.run(main())


def test_the_latest_is_kept(tmp_path):
    assert save(tmp_path, {":a": 10, ":b": 20}, {":a": 5, ":c": 30}, {":b": 21}) == {":a": 10, ":b": 21, ":c": 30}
    assert read_sightings(tmp_path) == {":a": 10, ":b": 21, ":c": 30}
    assert read_sightings(tmp_path / "state.sqlite3") == {":a": 10, ":b": 21, ":c": 30}


def test_who_was_not_seen_for_long_is_forgotten(tmp_path):
    assert save(tmp_path, {":a": 10, ":b": 20}, forget_before=15) == {":b": 20}


def test_nothing_is_made_by_reading(tmp_path):
    with pytest.raises(StateError, match="there is no state"):
        read_sightings(tmp_path)
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "state.sqlite3"
    path.write_bytes(b"this is not a database, but long enough to be read as one" * 100)
    with pytest.raises(StateError, match="cannot be read"):
        read_sightings(tmp_path)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE contexts (name TEXT)")
    connection.close()
    with pytest.raises(StateError, match="another application"):
        read_sightings(tmp_path)


def test_a_store_of_an_earlier_version(tmp_path):
    """It has none; with the next start of a server it can have some, and has kept its numbers."""

    async def use(expected):
        store = SqliteStateStore(tmp_path)
        (state,) = await store.open_many([StateRequest(FP, ":a", None, lambda _: FORMER)])
        assert state.next_number() == expected
        await state.close()
        await store.close()

    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as connection, connection:
        schema.migrate(connection, schema.STEPS[:2])
        connection.execute("INSERT INTO contexts (fingerprint, next) VALUES (?, 1)", (FORMER,))
    assert read_sightings(tmp_path) == {}
    assert save(tmp_path, {":a": 1}) == {":a": 1}
    asyncio.run(use(1))
