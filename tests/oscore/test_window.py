from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.oscore.window import ReplayWindow

from . import vectors


def receive(window: ReplayWindow, number: int) -> bool:
    if not window.accepts(number):
        return False
    window.mark(number)
    return True


@pytest.mark.parametrize("length", range(1, len(vectors.rfc()["computed_extra"]["replay_window_32"]["sequence"]) + 1))
def test_replay_sequence(length):
    window = ReplayWindow(32)
    sequence = vectors.rfc()["computed_extra"]["replay_window_32"]["sequence"][:length]
    assert [receive(window, number) for number, _ in sequence] == [accepted for _, accepted in sequence]


class Naive:
    """All numbers ever received, in a set."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.received: set[int] = set()

    def receive(self, number: int) -> bool:
        if number in self.received or (self.received and number <= max(self.received) - self.size):
            return False
        self.received.add(number)
        return True


@given(st.integers(1, 100), st.lists(st.integers(0, 300) | st.integers(0, 2**40 - 1)))
def test_equals_a_naive_model(size, numbers):
    window, naive = ReplayWindow(size), Naive(size)
    for number in numbers:
        assert receive(window, number) == naive.receive(number)
        assert window.seen.bit_length() <= size


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1))
def test_nothing_is_accepted_twice(numbers):
    window = ReplayWindow()
    accepted = [number for number in numbers if receive(window, number)]
    assert len(accepted) == len(set(accepted))


def test_accepts_changes_nothing():
    window = ReplayWindow()
    assert window.accepts(5)
    assert window.accepts(5)


def test_a_jump_costs_no_memory():
    window = ReplayWindow()
    window.mark(0)
    window.mark(2**40 - 1)
    assert window.seen == 1


def test_a_void_window_accepts_nothing():
    window = ReplayWindow(void=True)
    assert not any(map(window.accepts, (0, 1, 2**40 - 1)))
    assert not window.proven


def test_start_sets_the_lower_limit():
    window = ReplayWindow(void=True)
    window.start(78)
    assert window.proven
    assert [window.accepts(number) for number in (0, 46, 77, 78, 79)] == [False, False, False, False, True]


def test_start_without_proof():
    window = ReplayWindow(void=True)
    window.start_unproven()
    assert window.accepts(0)
    assert not window.proven


def test_restore():
    window = ReplayWindow(void=True)
    window.restore(10, 0b101)
    assert [window.accepts(number) for number in (7, 8, 9, 10, 11)] == [True, False, True, False, True]
    assert window.proven
    window.restore(10, 0b101, proven=False)
    assert not window.proven


def test_restore_the_window_of_nothing():
    window = ReplayWindow(void=True)
    window.restore(-1, 0)
    assert window.accepts(0)


@pytest.mark.parametrize("state", [(-2, 0), (-1, 1), (1 << 40, 1), (5, -1), (5, 2)])
def test_restore_refuses_what_no_window_was(state):
    with pytest.raises(ValueError):
        ReplayWindow().restore(*state)


@pytest.mark.parametrize("size", [0, -1, 4097])
def test_sizes(size):
    with pytest.raises(ValueError):
        ReplayWindow(size)
