"""Rows as runs without a gap, and by what they have beside them; one whose row has gone says so."""

import pytest

from securecoap.errors import StateError
from securecoap.state import rows as module
from securecoap.state.database import Database
from securecoap.state.handle import FIRST_CHUNK
from securecoap.state.protocol import StateRequest
from securecoap.state.rows import by_number, find_rows, make_rows, runs


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([5], [range(5, 6)]),
        ([1, 2, 3], [range(1, 4)]),
        ([1, 3, 4, 9], [range(1, 2), range(3, 5), range(9, 10)]),
    ],
)
def test_runs(rows, expected):
    assert list(runs(rows)) == expected


def test_by_number():
    assert by_number([(1, 64), (5, 7), (2, 64)]) == {64: [1, 2], 7: [5]}
    assert by_number([]) == {}


@pytest.fixture
def row(tmp_path):
    database = Database(tmp_path)
    database.ensure([], strict=False)
    with database.transaction():
        (claim,) = database.claim([StateRequest(bytes(32), ":a")])
    with database.transaction():
        yield claim.backing
    database.close()


def test_numbers_are_given_once_and_never_below_the_mark(row):
    assert row.extend(0, 10) == (64, 74)
    assert row.extend(100, 10) == (100, 110)
    assert row.extend(64, 10) == (110, 120)


def test_what_was_given_up_or_is_gone_gives_no_number(row):
    row._database.connection.execute("DELETE FROM contexts")
    with pytest.raises(StateError, match=":a: its row is gone from the state"):
        row.extend(0, 10)
    row.unlock()
    row.unlock()
    with pytest.raises(StateError, match=":a: no longer owned by this process"):
        row.extend(0, 10)


def test_rows_that_are_made_ascend_behind_all_that_ever_were(tmp_path):
    database = Database(tmp_path)
    database.ensure([], strict=False)
    names = [bytes([number // 256, number % 256]) * 16 for number in range(250)]
    with database.transaction():
        first = make_rows(database.connection, names[:5])
        assert make_rows(database.connection, []) == {}
        database.connection.execute("DELETE FROM contexts WHERE id >= 3")
        rest = make_rows(database.connection, names[5:])
        assert list(first.values()) == [(row, 0) for row in range(1, 6)]
        assert list(rest.values()) == [(row, 0) for row in range(6, 251)]
        assert find_rows(database.connection, rest.keys()) == {
            name: (row, FIRST_CHUNK) for name, (row, _) in rest.items()
        }
        assert find_rows(database.connection, {names[0], names[4], names[7]}) == {
            names[0]: (1, FIRST_CHUNK), names[7]: (8, FIRST_CHUNK),
        }  # fmt: skip
    database.close()


def test_rows_with_gaps_are_an_error(tmp_path, monkeypatch):
    database = Database(tmp_path)
    database.ensure([], strict=False)
    monkeypatch.setattr(
        module, "_making", lambda _count: "INSERT INTO contexts (id, fingerprint, next, form) VALUES (7, ?, 64, 2)"
    )
    with pytest.raises(StateError, match="gaps"), database.transaction():
        make_rows(database.connection, [bytes(32)])
    with database.transaction():
        assert find_rows(database.connection, {bytes(32)}) == {}
    database.close()
