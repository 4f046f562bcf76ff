"""A replay window in shared memory: as one that one process has, and in doubt it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.oscore.window import ReplayWindow
from securecoap.workers.memory import BUSY, SharedMemory
from securecoap.workers.window import END, NEXT, SharedWindow, slot_words

if TYPE_CHECKING:
    from collections.abc import Iterator

CHALLENGE = bytes(range(8))


class Shared:
    """One slot, and the windows that workers make of it."""

    def __init__(self) -> None:
        self.descriptor = SharedMemory.create()
        self.memories: list[SharedMemory] = []
        self.place = 5

    def window(self, size: int = 32) -> SharedWindow:
        self.memories.append(SharedMemory(self.descriptor))
        return SharedWindow(self.memories[-1], self.place, size)

    def close(self) -> None:
        for memory in self.memories:
            memory.close()
        os.close(self.descriptor)


@pytest.fixture
def shared() -> Iterator[Shared]:
    made = Shared()
    yield made
    made.close()


@given(
    st.sampled_from((1, 7, 32, 63, 64, 65, 200, 4096)),
    st.lists(st.tuples(st.booleans(), st.integers(0, 300) | st.integers(0, 2**40 - 1)), max_size=60),
)
def test_two_workers_together_accept_what_one_would(size: int, received: list[tuple[bool, int]]) -> None:
    shared = Shared()
    both = shared.window(size), shared.window(size)
    both[0].restore(-1, 0)
    alone = ReplayWindow(size)
    try:
        for at, number in received:
            window = both[at]
            expected = alone.accepts(number)
            assert window.accepts(number) == expected
            assert window.mark(number) == expected
            if expected:
                alone.mark(number)
            assert (window.highest, window.seen, window.void) == (alone.highest, alone.seen, alone.void)
    finally:
        shared.close()


def test_one_of_two_that_have_looked_accepts(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    here.restore(10, 1)
    assert here.accepts(11)
    assert there.accepts(11)
    assert there.mark(11)
    assert not here.mark(11)
    assert not here.mark(10)


def test_a_slot_that_nobody_has_written_is_void(shared: Shared) -> None:
    window = shared.window()
    assert window.void
    assert not window.accepts(0)
    assert not window.mark(0)


def test_the_void_is_ended_once_by_the_challenge_that_all_have(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    assert here.challenge is None
    assert not here.start(7)  # nobody was asked
    assert here.offer(CHALLENGE) == CHALLENGE
    assert there.challenge == CHALLENGE
    assert there.offer(bytes(8)) == CHALLENGE  # not one for each
    assert there.start(7)
    assert not here.start(7)
    assert there.proven
    assert here.challenge is None
    assert not here.accepts(7)
    assert not here.accepts(6)
    assert here.mark(8)
    assert here.proven


def test_a_challenge_of_an_earlier_void_ends_no_later_one(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    here.offer(CHALLENGE)
    assert there.challenge == CHALLENGE  # a request with it is being verified
    assert here.challenge == CHALLENGE
    assert here.start(7)
    shared.memories[0].words[shared.place + BUSY] = 1  # somebody ends amid a change
    assert not here.mark(8)
    assert here.void
    assert not there.start(7)
    here.offer(bytes(8))
    assert not there.start(7)  # and there is another challenge by now
    assert there.challenge == bytes(8)
    assert there.start(9)


def test_what_is_half_changed_is_void_and_its_numbers_are_given_up(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    here.restore(10, 1)
    words = shared.memories[0].words
    words[shared.place + NEXT], words[shared.place + END] = 20, 64
    words[shared.place + BUSY] = 1
    assert not here.is_whole
    assert not there.mark(11)
    assert there.is_whole
    assert here.void
    assert words[shared.place + NEXT] == 64


def test_without_its_lock_nothing_is_accepted(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    here.restore(10, 1)
    assert shared.memories[0].lock(shared.place, lambda: None)
    assert not there.mark(11)
    assert not there.accepts(10)
    assert there.offer(CHALLENGE) is None
    shared.memories[0].unlock(shared.place)
    assert there.mark(11)


def test_a_window_that_was_never_proved(shared: Shared) -> None:
    here, there = shared.window(), shared.window()
    here.start_unproven()
    assert there.mark(0)
    assert not there.proven
    assert not here.mark(0)


@pytest.mark.parametrize("state", [(-2, 0), (1 << 40, 1), (3, 2), (-1, 1), (3, -1)])
def test_what_is_no_window(shared: Shared, state: tuple[int, int]) -> None:
    window = shared.window()
    with pytest.raises(ValueError, match="not the state"):
        window.restore(*state)
    assert window.void


def test_windows_of_a_few_places_take_few_words() -> None:
    assert slot_words(1) == slot_words(64) == slot_words(65) - 1
