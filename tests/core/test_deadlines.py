"""Many deadlines on one timer."""

from __future__ import annotations

import asyncio
import random

from securecoap.core.deadlines import Deadlines
from tests.simulation.clock import VirtualLoop, virtual


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


@virtual
async def test_each_expires_at_its_time_and_one_timer_is_armed() -> None:
    expired: list[tuple[float, float]] = []
    deadlines = Deadlines(loop(), lambda item, now: expired.append((item, now)))
    times = [loop().time() + random.Random(1).uniform(0, 100) for _ in range(1)]
    chance = random.Random(2)
    times += [loop().time() + chance.uniform(0, 100) for _ in range(200)]
    for time in times:
        deadlines.add(time, time)
        assert len(loop().timers()) == 1
    assert len(deadlines) == 201
    await asyncio.sleep(101)
    assert [item for item, _ in expired] == sorted(times)
    assert all(0 <= now - item < 1e-6 for item, now in expired)
    assert loop().timers() == []


@virtual
async def test_items_may_add_items() -> None:
    expired = []

    def again(item: int, now: float) -> None:
        expired.append((item, now - started))
        if item:
            deadlines.add(now + item, item - 1)
            deadlines.add(now - 5, 0)  # overdue: at once

    deadlines = Deadlines(loop(), again)
    started = loop().time()
    deadlines.add(started + 1, 2)
    await asyncio.sleep(10)
    assert [item for item, _ in expired] == [2, 0, 1, 0, 0]
    assert [round(time) for _, time in expired] == [1, 1, 3, 3, 4]


@virtual
async def test_whoever_raises_stops_the_deadlines_of_nobody_else() -> None:
    expired: list[int] = []

    def tell(item: int, _: float) -> None:
        expired.append(item)
        if item == 1:
            raise RuntimeError("the callback of a resource")

    deadlines = Deadlines(loop(), tell)
    for item in (1, 2, 3):
        deadlines.add(loop().time() + max(item, 2), item)
    await asyncio.sleep(2.5)
    assert expired == [1, 2]
    deadlines.add(loop().time() + 1, 4)
    await asyncio.sleep(2)
    assert expired == [1, 2, 3, 4]
    assert [str(one["exception"]) for one in loop().faults] == ["the callback of a resource"]
    loop().faults.clear()


@virtual
async def test_equal_times_keep_their_order() -> None:
    expired: list[object] = []
    deadlines = Deadlines(loop(), lambda item, _: expired.append(item))
    items = [object() for _ in range(20)]  # not comparable
    for item in items:
        deadlines.add(loop().time() + 1, item)
    await asyncio.sleep(2)
    assert expired == items


@virtual
async def test_close() -> None:
    deadlines = Deadlines(loop(), lambda *_: 1 / 0)
    deadlines.add(loop().time() + 1, 1)
    deadlines.close()
    deadlines.add(loop().time() + 1, 2)
    assert loop().timers() == []
    await asyncio.sleep(5)
