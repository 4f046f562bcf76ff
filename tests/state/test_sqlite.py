"""The SQLite store in one process: making, migrating, failing, sharing; processes are in test_processes."""

import asyncio
import logging
import os
import random
import sqlite3
import stat
import sys
import threading

import pytest

from securecoap.errors import ContextInUse, StateError
from securecoap.state import schema
from securecoap.state.handle import FIRST_CHUNK
from securecoap.state.location import default_state_directory
from securecoap.state.locks import RangeLocks
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, SavedWindow, StateRequest
from securecoap.state.sqlite import SqliteStateStore
from securecoap.state.table import PROCESS
from tests.state.test_handle import number

FP = bytes(range(32))
OTHER = bytes(32)


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    yield
    assert not PROCESS._entries
    assert not RangeLocks._of_process


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


async def use_up(state, used):
    while True:
        used.append(await number(state))


class Disk:
    """A connector whose connections fail where a test says so."""

    def __init__(self):
        self.fail_on = None
        self.after = False
        self.opened = 0

    def __call__(self, path):
        disk = self
        self.opened += 1

        class Connection(sqlite3.Connection):
            def execute(self, statement, *arguments):
                if disk.fail_on is not None and statement.startswith(disk.fail_on):
                    if disk.after:
                        super().execute(statement, *arguments)
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(statement, *arguments)

            def executemany(self, statement, rows):
                rows = list(rows)
                if rows and disk.fail_on is not None and statement.startswith(disk.fail_on):
                    raise sqlite3.OperationalError("disk I/O error")
                return super().executemany(statement, rows)

        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)


def rows(directory):
    connection = sqlite3.connect(directory / "state.sqlite3")
    try:
        return dict(connection.execute("SELECT fingerprint, next FROM contexts").fetchall())
    finally:
        connection.close()


def windows(directory):
    connection = sqlite3.connect(directory / "state.sqlite3")
    try:
        return connection.execute("SELECT count(*) FROM windows").fetchone()[0]
    finally:
        connection.close()


def test_numbers_are_in_the_file_before_they_are_handed_out(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        for expected in range(3000):
            assert await number(state) == expected
            if expected % 16 == 0:
                assert rows(tmp_path)[FP] > expected
        await state.close()
        assert rows(tmp_path)[FP] == 3000
        await store.close()
        assert rows(tmp_path)[FP] == 3000

    asyncio.run(main())


def test_each_commit_is_full_and_in_a_log(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        connection = store._home.database.connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        await state.close()
        await store.close()

    asyncio.run(main())


def test_nothing_is_written_in_the_thread_of_the_event_loop(tmp_path):
    """An fsync takes milliseconds, in which nobody would be answered."""
    threads = set()

    class Connection(sqlite3.Connection):
        def execute(self, statement, *arguments):
            threads.add(threading.get_ident())
            return super().execute(statement, *arguments)

    def connect(path):
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Connection)

    def sync(descriptor):
        threads.add(threading.get_ident())
        os.fsync(descriptor)

    async def main():
        store = SqliteStateStore(tmp_path / "state", connector=connect, sync=sync)
        (tmp_path / "sequence.json").write_text('{"next-to-send": 0, "received": "unknown"}')
        for state in (await store.open(FP, label=":a"), await store.open(OTHER, label=":b", basedir=tmp_path)):
            for _ in range(1000):
                await number(state)
            await state.close(SavedWindow(5, 1, 32))
        await store.close()

    asyncio.run(main())
    assert threads
    assert threading.get_ident() not in threads


def test_fresh_store_warns_once_with_the_names_and_an_existing_one_never(tmp_path, caplog):
    directory = tmp_path / "new" / "state"

    async def main(labels):
        store = SqliteStateStore(directory)
        states = await store.open_many([StateRequest(label.encode() * 16, label) for label in labels])
        more = await store.open(OTHER, label=":later")
        for state in (*states, more):
            await state.close()
        await store.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(main([":a", ":b"]))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert ":a, :b" in record.getMessage()
        caplog.clear()
        asyncio.run(main([":c"]))
        assert not caplog.records


def test_strict_refuses_a_missing_or_empty_store_and_makes_nothing(tmp_path):
    directory = tmp_path / "state"

    async def attempt(strict):
        store = SqliteStateStore(directory, strict=strict)
        try:
            state = await store.open(FP, label=":a")
            await state.close()
        finally:
            await store.close()

    with pytest.raises(StateError, match="no state"):
        asyncio.run(attempt(strict=True))
    assert not directory.exists()
    directory.mkdir()
    (directory / "state.sqlite3").touch()
    with pytest.raises(StateError, match="no state"):
        asyncio.run(attempt(strict=True))
    connection = sqlite3.connect(directory / "state.sqlite3")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with pytest.raises(StateError, match="is empty"):
        asyncio.run(attempt(strict=True))
    asyncio.run(attempt(strict=False))
    asyncio.run(attempt(strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_only_the_owner_can_read(tmp_path):
    directory = tmp_path / "a" / "b"

    async def main():
        store = SqliteStateStore(directory)
        await store.open(FP, label=":a")
        names = names_in(directory)
        assert names == ["state.lock", "state.sqlite3", "state.sqlite3-shm", "state.sqlite3-wal"]
        for name in names:
            assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600, name
        await store.close()

    before = os.umask(0)
    try:
        asyncio.run(main())
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700


def test_window_is_void_in_the_file_as_soon_as_the_context_is_open(tmp_path):
    saved = SavedWindow(300, (1 << 31) | 1, 32, proven=False)

    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        await state.close(saved)
        assert windows(tmp_path) == 1
        state = await store.open(FP, label=":a")
        assert windows(tmp_path) == 0
        assert state.take_window() == saved
        await store.close()
        assert windows(tmp_path) == 0

    asyncio.run(main())


@pytest.mark.parametrize("window", [SavedWindow(-1, 0, 32), SavedWindow(MAX_SEQUENCE_NUMBER, (1 << 4096) - 1, 4096)])
def test_any_window_survives(tmp_path, window):
    async def main():
        store = SqliteStateStore(tmp_path)
        await (await store.open(FP, label=":a")).close(window)
        assert (await store.open(FP, label=":a")).take_window() == window
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("statement", ["COMMIT", "UPDATE", "BEGIN"])
def test_fault_of_the_disk_gives_no_number_and_recovery_reuses_none(tmp_path, statement, after):
    disk = Disk()

    async def main():
        store = SqliteStateStore(tmp_path, connector=disk)
        state = await store.open(FP, label=":a")
        disk.fail_on, disk.after = statement, after
        used = []
        with pytest.raises(StateError, match="disk I/O error"):
            await use_up(state, used)
        assert used == list(range(FIRST_CHUNK))
        connections = disk.opened
        disk.fail_on = None
        used += [await number(state) for _ in range(1000)]
        assert disk.opened > connections
        assert used == sorted(set(used))
        assert rows(tmp_path)[FP] > used[-1]
        await state.close()
        state = await store.open(FP, label=":a")
        assert await number(state) == used[-1] + 1
        await store.close()

    asyncio.run(main())


def test_log_of_a_failed_commit_is_written_once_more_before_it_is_built_on(tmp_path):
    disk = Disk()

    async def main():
        store = SqliteStateStore(tmp_path, connector=disk)
        state = await store.open(FP, label=":a")
        disk.fail_on, disk.after = "COMMIT", True
        while state.next_number() is not None:
            pass
        with pytest.raises(StateError):
            await state.reserve()
        disk.fail_on, disk.after = "PRAGMA wal_checkpoint(TRUNCATE)", False
        with pytest.raises(StateError):
            await state.reserve()
        disk.fail_on = None
        await state.reserve()
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "statement", ["COMMIT", "INSERT", "SELECT fingerprint", "DELETE", "UPDATE", "PRAGMA journal_mode"]
)
def test_fault_while_opening_leaves_the_context_free(tmp_path, statement):
    disk = Disk()

    async def main():
        store = SqliteStateStore(tmp_path, connector=disk)
        await (await store.open(FP, label=":a")).close(SavedWindow(1, 1, 32))
        await store.close()
        disk.fail_on = statement
        store = SqliteStateStore(tmp_path, connector=disk)
        with pytest.raises(StateError):
            await store.open_many([StateRequest(FP, ":a"), StateRequest(OTHER, ":b")], wait=0)
        disk.fail_on = None
        state = await store.open(FP, label=":a", wait=0)
        assert state.next_number() == 0
        await store.close()

    asyncio.run(main())


def test_fault_while_closing_is_logged_and_numbers_stay_reserved(tmp_path, caplog):
    disk = Disk()

    async def main():
        store = SqliteStateStore(tmp_path, connector=disk)
        state = await store.open(FP, label=":a")
        state.next_number()
        disk.fail_on = "INSERT"
        await state.close(SavedWindow(1, 1, 32))
        disk.fail_on = None
        state = await store.open(FP, label=":a", wait=0)
        assert state.take_window() is None
        assert state.next_number() == FIRST_CHUNK
        await store.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "could not be saved" in caplog.text


@pytest.mark.parametrize("name", ["state.sqlite3", "state.lock"])
@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted")
def test_files_deleted_under_a_process_stop_it(tmp_path, name):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        (tmp_path / name).unlink()
        while state.next_number() is not None:
            pass
        with pytest.raises(StateError, match="moved or deleted"):
            await state.reserve()
        await store.close()

    asyncio.run(main())


def test_foreign_or_newer_or_broken_files_are_refused(tmp_path):
    path = tmp_path / "state.sqlite3"

    async def attempt():
        store = SqliteStateStore(tmp_path)
        try:
            await store.open(FP, label=":a")
        finally:
            await store.close()

    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE contexts (name TEXT)")
    connection.close()
    with pytest.raises(StateError, match="another application"):
        asyncio.run(attempt())
    path.unlink()
    asyncio.run(attempt())
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO migrations (version) VALUES (?)", (len(schema.STEPS) + 1,))
    connection.close()
    with pytest.raises(StateError, match="newer version"):
        asyncio.run(attempt())
    path.write_bytes(b"this is not a database, but long enough to be read as one" * 100)
    with pytest.raises(StateError):
        asyncio.run(attempt())
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError):
        asyncio.run(attempt())


def test_migration_takes_the_numbers_along_and_a_failed_one_changes_nothing(tmp_path, monkeypatch):
    async def use(expected):
        store = SqliteStateStore(tmp_path)
        try:
            state = await store.open(FP, label=":a")
            assert state.next_number() == expected
            await state.close()
        finally:
            await store.close()

    asyncio.run(use(0))
    before = schema.STEPS
    monkeypatch.setattr(
        schema.migrate, "__defaults__", ((*before, ("CREATE TABLE later (x INTEGER)", "NOT A STATEMENT")),)
    )
    with pytest.raises(StateError):
        asyncio.run(use(1))
    monkeypatch.setattr(schema.migrate, "__defaults__", ((*before, ("CREATE TABLE later (x INTEGER)",)),))
    asyncio.run(use(1))
    connection = sqlite3.connect(tmp_path / "state.sqlite3")
    versions = [(version,) for version in range(1, len(before) + 2)]
    assert connection.execute("SELECT version FROM migrations").fetchall() == versions
    connection.execute("SELECT x FROM later")
    connection.close()
    asyncio.run(use(2))
    monkeypatch.undo()
    with pytest.raises(StateError, match="newer version"):
        asyncio.run(use(3))


def test_restored_backup_never_lowers_the_numbers_of_a_running_process(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        used = [await number(state) for _ in range(500)]
        connection = sqlite3.connect(tmp_path / "state.sqlite3")
        with connection:
            connection.execute("UPDATE contexts SET next = 1")
        connection.close()
        used += [await number(state) for _ in range(5000)]
        assert used == sorted(set(used))
        assert rows(tmp_path)[FP] > used[-1]
        await store.close()

    asyncio.run(main())


def test_numbers_given_away_by_somebody_else_are_skipped(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        connection = sqlite3.connect(tmp_path / "state.sqlite3")
        with connection:
            connection.execute("UPDATE contexts SET next = 100000")
        connection.close()
        used = [await number(state) for _ in range(1000)]
        assert used == sorted(set(used))
        assert not [value for value in used if FIRST_CHUNK <= value < 100000]
        await store.close()

    asyncio.run(main())


def test_many_windows_are_saved_and_voided_together(tmp_path):
    async def main():
        requests = [StateRequest(i.to_bytes(32, "big"), f":{i}") for i in range(300)]
        store = SqliteStateStore(tmp_path)
        kept = await store.open(FP, label=":kept")
        await kept.close(SavedWindow(1, 1, 32))
        states = await store.open_many(requests)
        await store.close_many([(state, SavedWindow(i, 1, 32)) for i, state in enumerate(states)])
        assert windows(tmp_path) == 301
        states = await store.open_many(requests)
        assert windows(tmp_path) == 1
        assert [state.take_window().highest for state in states] == list(range(300))
        await store.close()

    asyncio.run(main())


def test_a_context_that_is_closed_twice_in_one_call_gives_back_no_number_that_it_has_used(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":device")
        used = [state.next_number() for _ in range(5)]
        await store.close_many([(state, SavedWindow(7, 1, 32)), (state, None)])
        state = await store.open(FP, label=":device")
        assert state.next_number() == used[-1] + 1
        assert state.take_window() == SavedWindow(7, 1, 32)
        await store.close()

    asyncio.run(main())


class Pieces:
    """How many locks without a gap the system has to keep for a process that gives them up one by one."""

    def __init__(self, monkeypatch):
        self.most = self.count = 0
        self.held = set()
        acquire, release = RangeLocks.acquire, RangeLocks.release

        def acquired(locks, place, count=1):
            self.held.update(range(place, place + count))
            self.count += 1
            return acquire(locks, place, count)

        def released(locks, place, count=1):
            assert self.held.issuperset(range(place, place + count))
            self.held.difference_update(range(place, place + count))
            self.count += (place - 1 in self.held) + (place + count in self.held) - 1
            self.most = max(self.most, self.count)
            release(locks, place, count)

        monkeypatch.setattr(RangeLocks, "acquire", acquired)
        monkeypatch.setattr(RangeLocks, "release", released)


@pytest.mark.parametrize(("closed_by", "count"), [("each", 20_000), ("store", 2_000), ("failed opening", 2_000)])
def test_contexts_in_any_order_are_given_up_from_one_end(tmp_path, monkeypatch, closed_by, count):
    """Given up here and there, 20,000 locks would be up to 5,000 pieces, through which the system looks for each."""
    first = [StateRequest(number.to_bytes(32, "big"), f"c{number}") for number in range(count)]
    other_order = random.Random(1).sample(first, count)

    async def main():
        store = SqliteStateStore(tmp_path)
        await store.close_many([(handle, None) for handle in await store.open_many(first)])
        pieces = Pieces(monkeypatch)
        if closed_by == "failed opening":
            beside = StateRequest(OTHER, "beside", tmp_path / "missing" / "directory")
            with pytest.raises(StateError):
                await store.open_many([*other_order, beside])
        else:
            handles = await store.open_many(other_order)
            if closed_by == "each":
                await store.close_many([(handle, None) for handle in handles])
        await store.close()
        assert not pieces.held
        assert pieces.most <= 1

    asyncio.run(main())


def test_two_stores_on_one_directory_share_handles_and_the_last_closes(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")

    async def main():
        first, second = SqliteStateStore(tmp_path / "state"), SqliteStateStore(tmp_path / "link")
        state = await first.open(FP, label=":a")
        assert await second.open(FP, label=":a") is state
        await first.close()
        assert await number(state) == 0
        with pytest.raises(StateError, match="closed"):
            await first.open(OTHER, label=":b")
        await second.close()
        assert state.next_number() is None

    asyncio.run(main())


def test_one_context_in_two_directories_is_refused(tmp_path):
    async def main():
        first, second = SqliteStateStore(tmp_path / "a"), SqliteStateStore(tmp_path / "b")
        await first.open(FP, label=":a")
        other = await second.open(OTHER, label=":b")
        with pytest.raises(ContextInUse, match="another state directory"):
            await second.open_many([StateRequest(bytes([7]) * 32, ":c"), StateRequest(FP, ":a")])
        assert other.next_number() == 0
        await second.open(bytes([7]) * 32, label=":c", wait=0)
        await first.close()
        await second.open(FP, label=":a", wait=0)
        await second.close()

    asyncio.run(main())


def test_store_that_follows_another_at_once_keeps_its_locks(tmp_path):
    async def main():
        first = SqliteStateStore(tmp_path)
        await first.open(FP, label=":a")
        closing = asyncio.create_task(first.close())
        await asyncio.sleep(0)
        second = SqliteStateStore(tmp_path)
        state = await second.open(FP, label=":a")
        await closing
        assert state.held
        assert await number(state) == 0
        await second.close()

    asyncio.run(main())


def test_many_contexts_that_run_out_at_once_share_transactions(tmp_path):
    begun = 0
    disk = Disk()

    def connector(path):
        connection = disk(path)

        def trace(statement):
            nonlocal begun
            begun += statement.startswith("BEGIN")

        connection.set_trace_callback(trace)
        return connection

    async def main():
        nonlocal begun
        store = SqliteStateStore(tmp_path, connector=connector)
        states = await store.open_many([StateRequest(i.to_bytes(32, "big"), f":{i}") for i in range(500)])
        begun = 0
        for state in states:
            while state.next_number() is not None:
                pass
        await asyncio.gather(*(number(state) for state in states))
        assert begun < 50
        await store.close()

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_child_owns_nothing(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        assert state.next_number() == 0
        child = os.fork()
        if child == 0:
            os._exit(0 if state.next_number() is None and not PROCESS._entries else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - it ends at once
        assert state.next_number() == 1
        await store.close()

    asyncio.run(main())


def test_default_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_directory() == tmp_path / "securecoap"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for invalid in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", invalid)
        assert default_state_directory() == tmp_path / "home" / ".local" / "state" / "securecoap"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_state_directory().parts[-3:] == ("Library", "Application Support", "securecoap")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setattr(sys, "platform", "win32")
    assert default_state_directory() == tmp_path / "local" / "securecoap" / "state"


def test_handle_that_lost_its_context_changes_nothing_any_more(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        old = await store.open(FP, label=":a")
        PROCESS.evict(old)
        new = await store.open(FP, label=":a", wait=0)
        before = rows(tmp_path)
        await old.close(SavedWindow(9, 1, 32))
        assert rows(tmp_path) == before
        assert windows(tmp_path) == 0
        assert new.next_number() == FIRST_CHUNK
        await store.close()

    asyncio.run(main())


def test_closing_never_lowers_a_mark_that_somebody_else_has_set(tmp_path):
    async def main():
        store = SqliteStateStore(tmp_path)
        state = await store.open(FP, label=":a")
        connection = sqlite3.connect(tmp_path / "state.sqlite3")
        with connection:
            connection.execute("UPDATE contexts SET next = 100000")
        connection.close()
        await state.close()
        assert rows(tmp_path)[FP] == 100000
        await store.close()

    asyncio.run(main())
