"""The clock that is read with each message."""

from __future__ import annotations

import asyncio
import time

from securecoap.clock import clock_of


def test_a_loop_of_asyncio_is_read_at_its_source():
    loop = asyncio.new_event_loop()
    try:
        clock = clock_of(loop)
        assert clock is time.monotonic
        before, between, after = loop.time(), clock(), loop.time()
        assert before <= between <= after
    finally:
        loop.close()


def test_time_that_is_another_stays_what_it_is():
    class Simulated(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return 5.0

    class Scheduler:
        def time(self) -> float:
            return 7.0

    loop = Simulated()
    try:
        assert clock_of(loop)() == 5.0
    finally:
        loop.close()
    assert clock_of(Scheduler())() == 7.0  # type: ignore[arg-type]  # as much of one as it needs
