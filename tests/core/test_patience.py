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
