"""Many who wait, one timer."""

from __future__ import annotations

import asyncio

from securecoap.core.patience import Patience
from tests.simulation.clock import VirtualLoop, virtual


@virtual
async def test_each_waits_for_its_span() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    start = loop.time()
    told: list[tuple[float, str]] = []
    patience: Patience[str] = Patience(loop, 10.0, lambda item: told.append((loop.time() - start, item)))
    for name in "abcd":
        patience.add(name, loop.time())
        await asyncio.sleep(2)
    patience.pop("b")
    assert len(loop.timers()) == 1
    await asyncio.sleep(30)
    assert [(round(when, 3), name) for when, name in told] == [(10, "a"), (14, "c"), (16, "d")]
    assert len(patience) == 0
    patience.add("e", loop.time())
    patience.close()
    await asyncio.sleep(30)
    assert len(told) == 3
    assert not loop.timers()


@virtual
async def test_whoever_is_told_may_end_others_and_begin_again() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    told: list[str] = []

    def expired(item: str) -> None:
        told.append(item)
        if item == "a":
            patience.pop("b")
            patience.add("a again", loop.time())

    patience: Patience[str] = Patience(loop, 10.0, expired)
    for name in "abc":
        patience.add(name, loop.time())
    assert list(patience) == ["a", "b", "c"]
    await asyncio.sleep(15)
    assert told == ["a", "c"]
    await asyncio.sleep(15)
    assert told == ["a", "c", "a again"]
    assert not loop.timers()


@virtual
async def test_one_that_begins_later_waits_longer_and_keeps_nobody_else_waiting() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    start = loop.time()
    told: list[tuple[float, str]] = []
    patience: Patience[str] = Patience(loop, 10.0, lambda item: told.append((round(loop.time() - start, 3), item)))
    for name in "abc":
        patience.add(name, loop.time())
    patience.delay("a", start + 30)
    patience.delay("b", start - 1)  # that time is over: nothing changes
    patience.delay("gone", start + 30)
    for number in range(9):  # some are added before that time, and some behind it
        await asyncio.sleep(4)
        patience.add(f"later {number}", loop.time())
        assert len(loop.timers()) == 1
    await asyncio.sleep(60)
    assert sorted(told) == told
    assert {name: when for when, name in told} == {
        "a": 40, "b": 10, "c": 10, **{f"later {number}": 4 * (number + 1) + 10 for number in range(9)},
    }  # fmt: skip
    assert not loop.timers()


@virtual
async def test_one_that_begins_later_can_be_let_go() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    told: list[str] = []
    patience: Patience[str] = Patience(loop, 10.0, told.append)
    patience.add("a", loop.time())
    patience.delay("a", loop.time() + 100)
    assert patience.pop("a", None) is not None
    await asyncio.sleep(15)
    patience.add("b", loop.time())
    await asyncio.sleep(10)
    assert told == ["b"]
    assert not loop.timers()
