"""Sender Sequence Numbers that workers take from one counter: never one twice, and none that is not reserved."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from securecoap.errors import StateError
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER
from securecoap.workers.memory import BUSY, SharedMemory
from securecoap.workers.numbers import SharedStore, Slot
from securecoap.workers.window import END, GRANT, NEXT, slot_words
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = b"fingerprint"
SLOT = Slot(0, 32)


class Parent:
    """Grants what is asked for, when it is told to."""

    def __init__(self) -> None:
        self.descriptor = SharedMemory.create()
        self.memory = SharedMemory(self.descriptor)
        self.memory.allocate(slot_words(32))
        self.stores: list[SharedStore] = []
        self.asked: list[bytes] = []
        self.memories: list[SharedMemory] = []

    def store(self) -> SharedStore:
        self.memories.append(SharedMemory(self.descriptor))
        self.stores.append(SharedStore(self.memories[-1], {NAME: SLOT}, self.asked.append))
        return self.stores[-1]

    def grant(self, end: int, fault: str | None = None) -> None:
        words = self.memory.words
        if fault is None:
            words[GRANT] = end - words[END]
            words[END] = end
        for store in self.stores:
            store.granted(NAME, fault)


@pytest.fixture
def parent() -> Iterator[Parent]:
    made = Parent()
    yield made
    for memory in (made.memory, *made.memories):
        memory.close()
    os.close(made.descriptor)


@real
async def test_two_workers_have_no_number_in_common(parent: Parent) -> None:
    parent.grant(64)
    here, there = [await parent.store().open(NAME, label="a") for _ in range(2)]
    taken = [worker.next_number() for _ in range(16) for worker in (here, there)]
    assert taken == list(range(32))
    assert not parent.asked
    assert (here.next_number(), there.next_number()) == (32, 33)
    assert len(parent.asked) == 2  # once by each: half is used
    rest = [here.next_number() for _ in range(40)]
    assert [one for one in rest if one is not None] == list(range(34, 64))
    assert there.next_number() is None
    assert len(parent.asked) == 2


@real
async def test_who_waits_goes_on_when_there_are_more(parent: Parent) -> None:
    state = await parent.store().open(NAME, label="a")
    assert state.next_number() is None
    waiting = asyncio.ensure_future(state.reserve())
    await asyncio.sleep(0)
    assert parent.asked
    parent.grant(10)
    await waiting
    assert state.next_number() == 0


@real
async def test_why_there_are_none_is_told_and_asked_again(parent: Parent) -> None:
    state = await parent.store().open(NAME, label="a")
    waiting = asyncio.ensure_future(state.reserve())
    await asyncio.sleep(0)
    parent.grant(0, "the disk is full")
    with pytest.raises(StateError, match="disk"):
        await waiting
    asked = len(parent.asked)
    assert state.next_number() is None
    assert len(parent.asked) == asked + 1


@real
async def test_a_number_that_a_process_was_taking_when_it_ended_is_lost(parent: Parent) -> None:
    parent.grant(64)
    state = await parent.store().open(NAME, label="a")
    state.next_number()
    parent.memory.words[BUSY] = 1
    assert state.next_number() is None
    assert parent.memory.words[NEXT] == 64


@real
async def test_without_the_lock_there_is_no_number(parent: Parent) -> None:
    parent.grant(64)
    state = await parent.store().open(NAME, label="a")
    assert parent.memory.lock(0, lambda: None)
    assert state.next_number() is None
    waiting = asyncio.ensure_future(state.reserve())
    await asyncio.sleep(0)
    parent.memory.unlock(0)
    await waiting
    assert state.next_number() == 0


@real
async def test_all_numbers_used(parent: Parent) -> None:
    state = await parent.store().open(NAME, label="a")
    parent.memory.words[NEXT] = MAX_SEQUENCE_NUMBER
    parent.grant(MAX_SEQUENCE_NUMBER + 1)
    assert not state.exhausted
    assert state.next_number() == MAX_SEQUENCE_NUMBER
    assert state.next_number() is None
    assert state.exhausted


@real
async def test_a_context_has_one_handle_until_its_last_user_closes_it(parent: Parent) -> None:
    parent.grant(64)
    store = parent.store()
    state = await store.open(NAME, label="a")
    state.companion = object()
    assert await store.open(NAME, label="b") is state
    await store.close_many([(state, None)])
    assert state.companion is not None
    assert state.next_number() == 0
    await store.close_many([(state, None)])
    assert state.companion is None
    assert state.next_number() is None
    parent.memory.words[NEXT] = 64
    with pytest.raises(StateError, match="closed"):
        await state.reserve()
    assert await store.open(NAME, label="a") is not state


@real
async def test_what_the_parent_has_not_opened_is_not_there(parent: Parent) -> None:
    store = parent.store()
    with pytest.raises(StateError, match="no state for :b"):
        await store.open(b"another", label=":b")
    store.replace({b"another": SLOT})
    await store.open(b"another", label=":b")
    with pytest.raises(StateError, match="no state for :a"):
        await store.open(NAME, label=":a")


@real
async def test_closing_the_store_lets_nobody_wait(parent: Parent) -> None:
    store = parent.store()
    state = await store.open(NAME, label="a")
    waiting = asyncio.ensure_future(state.reserve())
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StateError, match="closed"):
        await waiting
    assert "secret" not in repr(state)
