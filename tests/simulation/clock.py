"""An event loop whose time is virtual: it never waits, but jumps to the next timer.

Ninety-three seconds of retransmission take no time, and a test sees exactly when something happened. When nothing is
scheduled and nothing can happen any more, whoever still waits would wait for ever: that is a `Deadlock`.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Deadlock", "VirtualLoop", "run", "virtual"]

START = 1000.0

T = TypeVar("T")
P = ParamSpec("P")


class Deadlock(Exception):
    """Somebody waits, and nothing is going to happen."""


class _Selector(selectors.SelectSelector):
    """Never waits: what the loop would have waited for is added to its time."""

    now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise Deadlock("nothing is scheduled, and something still waits")
            self.now += max(timeout, 0.0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs in virtual time; what callbacks raise is kept in `faults`."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        # A timer is due within this. The real clock's 1 ns is below what a float can tell after a few months, and
        # virtual time does not go on by itself.
        self._clock_resolution = 1e-8
        self.faults: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        return self._virtual.now

    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are armed."""
        return [handle for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]  # no API tells


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time; a fault in any callback fails, too."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        result = runner.run(coroutine)
        for fault in loop.faults:
            raise AssertionError(fault["message"]) from fault.get("exception")
        return result


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an ``async def`` test run in virtual time."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapper


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)
