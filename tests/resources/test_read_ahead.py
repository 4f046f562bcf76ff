"""What was read of files in advance: how much is kept, how long, and of which state."""

from __future__ import annotations

from securecoap.resources.directory import Part
from securecoap.resources.read_ahead import OVERHEAD, PART, ReadAhead


def test_what_was_read_ahead_is_bounded_and_short_lived() -> None:
    ahead = ReadAhead(3 * (PART + OVERHEAD))
    parts = [Part(b"tag", 10 * PART, number * PART, bytes(PART)) for number in range(5)]
    for part in parts:
        ahead.keep(("x",), part, 100.0)
    assert ahead.find(("x",), PART, 100.0) is None  # the oldest has gone
    assert ahead.find(("x",), 2 * PART + 5, 100.0) is parts[2]
    assert ahead.find(("y",), 2 * PART, 100.0) is None
    assert ahead.find(("x",), 3 * PART, 101.0) is None  # too old
    ahead.keep(("x",), parts[4], 200.0)
    ahead.keep(("x", "y"), parts[4], 200.0)
    assert ahead._bytes == 3 * (PART + OVERHEAD)
    ahead.forget(("x",))
    assert ahead.find(("x",), 4 * PART, 200.0) is None
    assert ahead.find(("x", "y"), 4 * PART, 200.0) is parts[4]
    assert ahead._bytes == PART + OVERHEAD
    none = ReadAhead(0)
    none.keep(("x",), parts[0], 0.0)
    assert none.find(("x",), 0, 0.0) is None
    assert (none._bytes, len(none._files)) == (0, 0)


def test_a_new_state_drops_what_was_read_ahead_of_the_old_one() -> None:
    ahead = ReadAhead(10 * PART)
    for number in range(3):
        ahead.keep(("x",), Part(b"old", 10 * PART, number * PART, bytes(PART)), 0.0)
    new = Part(b"new", 10 * PART, 0, bytes(PART))
    ahead.keep(("x",), new, 0.0)
    assert ahead.find(("x",), 0, 0.0) is new
    assert ahead.find(("x",), PART, 0.0) is None
    assert ahead._bytes == PART + OVERHEAD


def test_the_file_that_nobody_reads_goes_first() -> None:
    ahead = ReadAhead(4 * (PART + OVERHEAD))
    of = {name: [Part(b"tag", 10 * PART, start * PART, bytes(PART)) for start in range(3)] for name in "ab"}
    ahead.keep(("a",), of["a"][0], 0.0)
    ahead.keep(("b",), of["b"][0], 0.0)
    for start in (1, 2):
        ahead.keep(("a",), of["a"][start], 0.0)
    ahead.keep(("c",), of["a"][0], 0.0)
    assert ahead.find(("b",), 0, 0.0) is None
    assert [ahead.find(("a",), start * PART, 0.0) for start in range(3)] == of["a"]


def test_very_small_parts_are_not_free() -> None:
    """Each takes more than its content: otherwise there could be very many."""
    ahead = ReadAhead(10 * OVERHEAD)
    for number in range(1000):
        ahead.keep((str(number),), Part(b"tag", 20, 0, bytes(17)), 0.0)
    assert sum(ahead.find((str(number),), 0, 0.0) is not None for number in range(1000)) == 9
