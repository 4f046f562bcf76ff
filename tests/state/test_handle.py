"""Handles over the store in memory: chunks, waiting, cancellation, sharing, the end of the numbers."""

import asyncio
import logging

import pytest

from securecoap.errors import ContextInUse, StateError
from securecoap.state.handle import FIRST_CHUNK, LARGEST_CHUNK
from securecoap.state.memory import MemoryStateStore
from securecoap.state.null import NullStateStore
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, SavedWindow, StateRequest

FP = bytes(range(32))


async def number(state):
    while (value := state.next_number()) is None:
        await state.reserve()
    return value


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never came true")


def test_numbers_rise_from_zero_without_gap_across_chunks():
    async def main():
        state = await MemoryStateStore().open(FP, label=":a")
        assert [await number(state) for _ in range(5000)] == list(range(5000))

    asyncio.run(main())


def test_prefetch_begins_at_half_of_a_chunk_and_nobody_waits():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.hold()
        for expected in range(FIRST_CHUNK):
            assert state.next_number() == expected
        assert state.next_number() is None
        store.release()
        assert state.next_number() == FIRST_CHUNK

    asyncio.run(main())


def test_prefetch_is_asked_for_once_and_before_the_end():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.hold()
        for _ in range(FIRST_CHUNK // 2):
            state.next_number()
        assert not store._worker._waiting
        state.next_number()
        assert len(store._worker._waiting) == 1
        while state.next_number() is not None:
            pass
        assert len(store._worker._waiting) == 1

    asyncio.run(main())


def test_chunks_grow_to_a_bound():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        marks = set()
        for _ in range(6 * LARGEST_CHUNK):
            state.next_number()
            marks.add(store._records[FP].mark)
        steps = [b - a for a, b in zip(sorted(marks), sorted(marks)[1:], strict=False)]
        assert steps[0] > FIRST_CHUNK
        assert steps == sorted(steps)
        assert steps[-1] == LARGEST_CHUNK

    asyncio.run(main())


def test_many_waiters_get_distinct_numbers():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.hold()
        while state.next_number() is not None:
            pass
        tasks = [asyncio.create_task(number(state)) for _ in range(3 * LARGEST_CHUNK // 64)]
        await until(lambda: len(state._waiters) == len(tasks))
        store.release()
        numbers = await asyncio.gather(*tasks)
        assert len(set(numbers)) == len(numbers)
        assert min(numbers) >= FIRST_CHUNK

    asyncio.run(main())


def test_cancelled_waiter_loses_nothing_and_others_go_on():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.hold()
        while state.next_number() is not None:
            pass
        tasks = [asyncio.create_task(number(state)) for _ in range(3)]
        await until(lambda: len(state._waiters) == 3)
        tasks[0].cancel()
        tasks[1].cancel()
        await until(lambda: tasks[0].done() and tasks[1].done())
        store.release()
        assert await tasks[2] == FIRST_CHUNK
        assert state.next_number() == FIRST_CHUNK + 1

    asyncio.run(main())


def test_fault_fails_every_waiter_hands_out_nothing_and_is_logged_once(caplog):
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.fail(OSError("no space"))
        numbers = []
        while (value := state.next_number()) is not None:
            numbers.append(value)
        assert numbers == list(range(FIRST_CHUNK))  # these were durable before the fault
        for _ in range(3):
            with pytest.raises(StateError, match="no space"):
                await state.reserve()
            assert state.next_number() is None
        store.fail(None)
        await state.reserve()
        assert state.next_number() == FIRST_CHUNK

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("left", [0, 1, FIRST_CHUNK, FIRST_CHUNK + 1, 10 * FIRST_CHUNK])
def test_last_number_is_the_last(left):
    async def main():
        store = MemoryStateStore()
        store.skip_to(FP, MAX_SEQUENCE_NUMBER + 1 - left)
        state = await store.open(FP, label=":a")
        last = None
        for _ in range(left):
            last = await number(state)
        assert left == 0 or last == MAX_SEQUENCE_NUMBER
        assert state.exhausted
        assert state.next_number() is None
        with pytest.raises(StateError, match="new keys"):
            await state.reserve()
        await state.close()
        again = await store.open(FP, label=":a")
        assert again.next_number() is None

    asyncio.run(main())


def test_orderly_close_gives_back_unused_numbers_and_crash_does_not():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        assert [state.next_number() for _ in range(3)] == [0, 1, 2]
        await state.close()
        state = await store.open(FP, label=":a")
        assert state.next_number() == 3
        store.crash()
        assert state.next_number() is None
        state = await store.open(FP, label=":a")
        assert state.next_number() == 3 + FIRST_CHUNK

    asyncio.run(main())


def test_handle_of_before_a_crash_cannot_touch_its_successor():
    async def main():
        store = MemoryStateStore()
        old = await store.open(FP, label=":a")
        store.crash()
        new = await store.open(FP, label=":a")
        await old.close(SavedWindow(9, 1, 32))
        assert store._records[FP].window is None
        assert (await store.open(FP, label=":a")) is new

    asyncio.run(main())


def test_closed_handle_hands_out_nothing_even_with_a_reservation_under_way():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        store.hold()
        while state.next_number() is not None:
            pass
        waiter = asyncio.create_task(number(state))
        await until(lambda: state._waiters)
        closing = asyncio.create_task(state.close())
        await until(waiter.done)
        with pytest.raises(StateError, match="closed"):
            waiter.result()
        store.release()
        await closing
        assert state.next_number() is None
        with pytest.raises(StateError):
            await state.reserve()
        again = await store.open(FP, label=":a")
        assert again.next_number() >= FIRST_CHUNK

    asyncio.run(main())


def test_window_is_saved_at_close_and_given_back_once():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        assert state.take_window() is None
        await state.close(SavedWindow(7, 0b101, 32))
        state = await store.open(FP, label=":a")
        assert state.take_window() == SavedWindow(7, 0b101, 32)
        assert state.take_window() is None
        store.crash()
        state = await store.open(FP, label=":a")
        assert state.take_window() is None

    asyncio.run(main())


def test_handle_is_shared_in_a_loop_and_closed_with_its_last_user():
    async def main():
        store = MemoryStateStore()
        first = await store.open(FP, label=":a")
        second = await store.open(FP, label=":b")
        assert first is second
        await first.close()
        assert second.next_number() == 0
        await second.close()
        assert second.next_number() is None

    asyncio.run(main())


def test_a_window_that_nobody_took_stays_as_it_was_however_the_handle_is_closed():
    async def main():
        store = MemoryStateStore()
        saved = SavedWindow(7, 0b101, 32)
        await (await store.open(FP, label=":a")).close(saved)
        state = await store.open(FP, label=":a")
        await state.close()
        state = await store.open(FP, label=":a")
        await store.open(FP, label=":b")  # shared, and given up in any order
        await state.close()
        await state.close()
        state = await store.open(FP, label=":a")
        assert state.take_window() == saved
        await state.close()  # whoever took it has to say what became of it
        assert (await store.open(FP, label=":a")).take_window() is None

    asyncio.run(main())


@pytest.mark.parametrize("companion", [None, object()])
def test_window_of_a_shared_handle_is_saved_only_with_a_companion(companion):
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        await store.open(FP, label=":a")
        state.companion = companion
        await state.close()
        await state.close(SavedWindow(7, 1, 32))
        assert state.companion is None
        state = await store.open(FP, label=":a")
        assert (state.take_window() is not None) is (companion is not None)

    asyncio.run(main())


def test_open_many_answers_in_order_and_counts_a_fingerprint_asked_for_twice():
    async def main():
        store = MemoryStateStore()
        keys = [bytes([i]) * 32 for i in (3, 1, 3, 2)]
        handles = await store.open_many([StateRequest(key, f":{key[0]}") for key in keys])
        assert [handle.fingerprint for handle in handles] == keys
        assert handles[0] is handles[2]
        assert handles[0].users == 2

    asyncio.run(main())


def test_opening_at_once_shares_one_claim():
    async def main():
        store = MemoryStateStore()
        store.hold()
        tasks = [asyncio.create_task(store.open(FP, label=":a")) for _ in range(5)]
        await until(lambda: store._worker._waiting)
        store.release()
        handles = await asyncio.gather(*tasks)
        assert len(set(map(id, handles))) == 1
        assert handles[0].users == 5

    asyncio.run(main())


def test_cancelled_opening_leaves_the_context_free():
    async def main():
        store = MemoryStateStore()
        store.hold()
        task = asyncio.create_task(store.open(FP, label=":a"))
        await until(lambda: store._worker._waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.release()
        state = await store.open(FP, label=":a", wait=0)
        assert state.users == 1

    asyncio.run(main())


def test_failed_opening_leaves_the_context_free():
    async def main():
        store = MemoryStateStore()
        store.fail(OSError("broken"))
        with pytest.raises(StateError, match="broken"):
            await store.open(FP, label=":a")
        store.fail(None)
        assert (await store.open(FP, label=":a", wait=0)).next_number() == 0

    asyncio.run(main())


def test_reopening_waits_for_the_closing():
    async def main():
        store = MemoryStateStore()
        state = await store.open(FP, label=":a")
        state.next_number()
        store.hold()
        closing = asyncio.create_task(state.close(SavedWindow(3, 1, 32)))
        opening = asyncio.create_task(store.open(FP, label=":a"))
        await until(lambda: store._worker._waiting)
        store.release()
        await closing
        again = await opening
        assert again is not state
        assert again.next_number() == 1
        assert again.take_window() == SavedWindow(3, 1, 32)

    asyncio.run(main())


def test_another_event_loop_is_another_owner_until_it_is_closed():
    store = MemoryStateStore()

    async def first():
        state = await store.open(FP, label=":a")
        state.next_number()
        return state

    async def second():
        with pytest.raises(ContextInUse, match=":a"):
            await store.open(FP, label=":a", wait=0)

    async def third():
        return (await store.open(FP, label=":a", wait=0)).next_number()

    loop = asyncio.new_event_loop()
    state = loop.run_until_complete(first())
    asyncio.run(second())
    loop.close()
    assert asyncio.run(third()) == FIRST_CHUNK
    assert state.next_number() is None


def test_repr_shows_no_fingerprint():
    async def main():
        state = await MemoryStateStore().open(FP, label=":a")
        assert repr(state) == "<state of :a>"

    asyncio.run(main())


def test_null_store_refuses_everything():
    async def main():
        store = NullStateStore()
        with pytest.raises(StateError, match=":a"):
            await store.open(FP, label=":a")
        with pytest.raises(StateError, match=":a"):
            await store.open_many([StateRequest(FP, ":a")])
        await store.close()

    asyncio.run(main())
