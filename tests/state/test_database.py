"""Many contexts in one claim: by runs of locks and of rows, and what another process holds is left out."""

import subprocess
import sys

import pytest

from securecoap.state import database as module
from securecoap.state.database import LOCKS, Database, _runs
from securecoap.state.handle import FIRST_CHUNK, Chunk
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, StateRequest

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


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        ([], []),
        ([5], [range(5, 6)]),
        ([1, 2, 3], [range(1, 4)]),
        ([1, 3, 4, 9], [range(1, 2), range(3, 5), range(9, 10)]),
    ],
)
def test_runs(rows, runs):
    assert list(_runs(rows)) == runs


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

    def fault(_self, _rows):
        raise OSError("the disk")

    monkeypatch.setattr(module.Database, "_windows", fault)
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
