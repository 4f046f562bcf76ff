"""Slots, and their locks: what a process leaves half done is mended, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from securecoap.errors import ConfigurationError, StateError
from securecoap.workers import memory
from securecoap.workers.memory import BUSY, CAPACITY, SharedMemory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = SharedMemory.create()
    yield made
    os.close(made)


@pytest.fixture
def two(descriptor: int) -> Iterator[tuple[SharedMemory, SharedMemory]]:
    """As two workers have it."""
    pair = SharedMemory(descriptor), SharedMemory(descriptor)
    yield pair
    for one in pair:
        one.close()


def nothing() -> None:
    raise AssertionError("there is nothing to mend")


def test_both_have_the_same_words(two: tuple[SharedMemory, SharedMemory]) -> None:
    here, there = two
    place = here.allocate(3)
    here.words[place + 2] = 1 << 63
    assert there.words[place + 2] == 1 << 63


def test_a_slot_is_given_out_once_and_again_when_it_is_free(two: tuple[SharedMemory, SharedMemory]) -> None:
    here, _ = two
    places = [here.allocate(count) for count in (3, 5, 3)]
    assert places == [0, 3, 8]
    here.words[4] = 7
    here.free(3, 5)
    assert here.allocate(3) == 11  # another size
    assert here.allocate(5) == 3
    assert not any(here.words[3:8])


def test_there_is_an_end(two: tuple[SharedMemory, SharedMemory]) -> None:
    here, _ = two
    here.allocate(CAPACITY // 8 - 2)
    here.allocate(2)
    with pytest.raises(StateError, match="no room"):
        here.allocate(1)


def test_a_lock_is_one_slots(two: tuple[SharedMemory, SharedMemory]) -> None:
    here, there = two
    assert here.lock(0, nothing)
    assert there.lock(8, nothing)
    there.unlock(8)
    here.unlock(0)
    assert there.lock(0, nothing)


def test_a_lock_that_is_not_given_up_is_not_waited_for(
    two: tuple[SharedMemory, SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two
    now = iter(range(100))
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(now))
    assert here.lock(0, nothing)
    assert not there.lock(0, nothing)


def test_who_ends_amid_a_change_is_noticed(two: tuple[SharedMemory, SharedMemory]) -> None:
    here, there = two
    here.words[BUSY] = 1
    mended: list[int] = []
    assert there.lock(0, lambda: mended.append(1))
    assert mended == [1]
    there.unlock(0)
    assert here.words[BUSY] == 0


def test_a_process_that_is_killed_leaves_no_lock(descriptor: int) -> None:
    script = (
        "import sys; from securecoap.workers.memory import SharedMemory\n"
        f"shared = SharedMemory({descriptor}); shared.lock(0, lambda: None); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], pass_fds=[descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        mine = SharedMemory(descriptor)
        assert not mine.lock(0, nothing)
        child.send_signal(signal.SIGKILL)
        child.wait()
    mended: list[int] = []
    assert mine.lock(0, lambda: mended.append(1))
    assert mended == [1]
    mine.close()


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with pytest.raises(ConfigurationError, match="Linux"):
        SharedMemory.create()


def test_without_proc_there_is_a_reason() -> None:
    with pytest.raises(ConfigurationError, match="/proc"):
        SharedMemory(9999)
