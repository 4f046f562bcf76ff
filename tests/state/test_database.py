"""Many contexts in one claim: by runs of locks and of rows, and what another process holds is left out."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from securecoap.state import database as module
from securecoap.state import schema
from securecoap.state.database import LOCKS, Database
from securecoap.state.handle import FIRST_CHUNK, Chunk, Return
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, SavedWindow, StateRequest

HOLDER = "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR); {}; print(flush=True); sys.stdin.read()"


@pytest.fixture
def database(tmp_path):
    found = Database(tmp_path)
    found.ensure([], strict=False)
    yield found
    found.close()


def requests(count, first=0):
    return [StateRequest(bytes((number,)) * 32, f"c{number}") for number in range(first, first + count)]


def claim(database, wanted):
    with database.transaction():
        return database.claim(wanted)


def held_by_another(path, places):
    """A process that has locked these bytes; it ends when its input does."""
    calls = "; ".join(f"fcntl.lockf(d, fcntl.LOCK_EX, 1, {place})" for place in places)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(calls), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    return holder


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_each_gets_a_row_of_its_own_and_the_next_claim_goes_on_behind_it(database, count):
    wanted = requests(count)
    first = claim(database, wanted)
    assert [one.chunk for one in first] == [Chunk(0, FIRST_CHUNK)] * count
    assert len({one.backing.place for one in first}) == count
    for one in first:
        one.backing.unlock()
    again = claim(database, wanted[::-1])
    assert [one.chunk for one in again] == [Chunk(FIRST_CHUNK, 2 * FIRST_CHUNK)] * count
    assert [one.backing.place for one in again] == [one.backing.place for one in first][::-1]


def test_new_ones_among_old_ones(database):
    old = claim(database, requests(5))
    for one in old:
        one.backing.unlock()
    both = claim(database, requests(8))
    assert [one.chunk.first for one in both] == [FIRST_CHUNK] * 5 + [0] * 3


def test_the_last_numbers_are_no_more_than_there_are(database):
    (one,) = claim(database, requests(1))
    one.backing.unlock()
    with database.transaction():
        database.connection.execute("UPDATE contexts SET next = ?", (MAX_SEQUENCE_NUMBER - 1,))
    (one,) = claim(database, requests(1))
    assert one.chunk == Chunk(MAX_SEQUENCE_NUMBER - 1, MAX_SEQUENCE_NUMBER + 1)
    one.backing.unlock()
    (one,) = claim(database, requests(1))
    assert one.chunk == Chunk(MAX_SEQUENCE_NUMBER + 1, MAX_SEQUENCE_NUMBER + 1)


def former(name):
    return b"former " + name[:2]


def in_an_earlier_version(path, names):
    with closing(sqlite3.connect(path / "state.sqlite3")) as connection, connection:
        schema.migrate(connection, schema.STEPS[:3])
        rows = [(former(name), 7 + place) for place, name in enumerate(names)]
        connection.executemany("INSERT INTO contexts (fingerprint, next) VALUES (?, ?)", rows)


@pytest.mark.parametrize("count", [1, 250])
def test_contexts_of_an_earlier_version_go_on_where_they_were(tmp_path, count):
    wanted = [StateRequest(one.fingerprint, one.label, None, former, one.fingerprint) for one in requests(count)]
    # The last of them is new, and one that nobody asks for keeps its name.
    in_an_earlier_version(tmp_path, [one.fingerprint for one in wanted[:-1]] + [b"x"])
    database = Database(tmp_path)
    database.ensure([], strict=True)
    for round_number in range(2):
        claims = claim(database, wanted)
        begin = round_number * FIRST_CHUNK
        assert [one.chunk.first - begin for one in claims] == [*range(7, 6 + count), 0]
        database.unlock([one.backing for one in claims])
    left = database.connection.execute("SELECT fingerprint FROM contexts WHERE form = 1").fetchall()
    assert left == [(former(b"x"),)]
    database.close()


def test_a_former_name_costs_a_derivation_and_is_asked_for_only_where_there_is_one(database):
    def fail(_source):
        raise AssertionError("not needed")

    assert claim(database, [StateRequest(b"new", "c", None, fail)])[0].chunk.first == 0


def test_a_program_of_an_earlier_version_that_still_runs_gets_no_new_context(database):
    with pytest.raises(module.StateError, match="newer version"), database.transaction():
        database.connection.execute("INSERT INTO contexts (fingerprint, next) VALUES (?, 0)", (b"name",))
    assert claim(database, requests(1))[0].chunk.first == 0


def test_what_is_given_back_of_one_that_is_gone_or_not_owned_is_a_fault_of_its_own(database):
    claims = claim(database, requests(4))
    claims[1].backing.unlock()
    with database.transaction():
        row = claims[2].backing.place
        database.connection.execute("DELETE FROM contexts WHERE id = ?", (row,))
        # Somebody else has given numbers away: the mark stays.
        database.connection.execute("UPDATE contexts SET next = 500 WHERE id = ?", (claims[3].backing.place,))
    window = SavedWindow(5, 1, 32)
    with database.transaction():
        faults = database.give_back([Return(one.backing, 3, one.chunk.end, window) for one in claims])
    assert [str(fault) for fault in faults] == [
        "None", "c1: no longer owned by this process", "c2: its row is gone from the state", "None",
    ]  # fmt: skip
    database.unlock([one.backing for one in claims])
    again = claim(database, requests(4))
    assert [one.chunk.first for one in again] == [3, FIRST_CHUNK, 0, 500]
    assert [one.window for one in again] == [window, None, None, window]


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_what_another_process_holds_is_left_out_and_unchanged(database, tmp_path):
    wanted = requests(6)
    rows = [one.backing.place for one in claim(database, wanted)]
    for row in rows:
        database.locks.release(row)
    holder = held_by_another(tmp_path / LOCKS, [rows[2], rows[3]])
    with holder:
        claims = claim(database, wanted)
        assert [one is None for one in claims] == [False, False, True, True, False, False]
        marks = dict(database.connection.execute("SELECT id, next FROM contexts"))
        assert [marks[row] // FIRST_CHUNK for row in rows] == [2, 2, 1, 1, 2, 2]
        # What was locked is held against others, each by itself.
        claims[0].backing.unlock()
        assert locked(tmp_path / LOCKS, rows) == [False, True, True, True, True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_a_claim_that_fails_keeps_no_lock(database, tmp_path, monkeypatch):
    rows = [one.backing.place for one in claim(database, requests(4))]
    for row in rows:
        database.locks.release(row)

    def fault(_connection, _rows):
        raise OSError("the disk")

    monkeypatch.setattr(module, "find_windows", fault)
    with pytest.raises(module.StateError), database.transaction():
        database.claim(requests(4))
    assert locked(tmp_path / LOCKS, rows) == [False] * 4


def locked(path, places):
    """Whether another process would find these bytes locked."""
    program = (
        "import fcntl, os, sys\n"
        "d = os.open(sys.argv[1], os.O_RDWR)\n"
        "for place in sys.argv[2:]:\n"
        "    try:\n"
        "        fcntl.lockf(d, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(place))\n"
        "        print(0)\n"
        "    except OSError:\n"
        "        print(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), *map(str, places)], stdout=subprocess.PIPE, check=True
    )
    return [line == b"1" for line in done.stdout.split()]
