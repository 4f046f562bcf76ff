"""The one timer of a DTLS engine (RFC 6347 section 4.2.4)."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from securecoap.transports.dtls_timer import EngineTimer


class Clock:
    """A scheduler in virtual time, and an engine that says when it wants to be called."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due = inf
        self.later = inf
        self.timers: list[tuple[float, Any]] = []
        self.handled: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any) -> Any:
        timer = (when, callback)
        self.timers.append(timer)
        return Handle(self.timers, timer)

    def next_timeout(self) -> float:
        return self.due

    def handle_timeout(self, now: float) -> None:
        self.handled.append(now)
        self.due = self.later

    def fire(self, now: float) -> None:
        self.now = now
        [(_, callback)] = self.timers
        self.timers.clear()
        callback()


class Handle:
    def __init__(self, timers: list[Any], timer: Any) -> None:
        self.timers, self.timer = timers, timer

    def cancel(self) -> None:
        if self.timer in self.timers:
            self.timers.remove(self.timer)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timer(clock: Clock) -> EngineTimer:
    return EngineTimer(clock, clock)  # type: ignore[arg-type]  # as much of both as it needs


def when(clock: Clock) -> list[float]:
    return [moment for moment, _ in clock.timers]


def test_nothing_is_armed_while_nothing_is_due(clock, timer):
    timer.arm()
    assert when(clock) == []


def test_only_what_is_due_earlier_takes_another_timer(clock, timer):
    for due, expected in ((110.0, 110.0), (120.0, 110.0), (inf, 110.0), (105.0, 105.0)):
        clock.due = due
        timer.arm()
        assert when(clock) == [expected]


def test_a_loop_that_calls_a_little_early_has_the_work_done(clock, timer):
    clock.due, clock.later = 110.0, 112.0
    timer.arm()
    clock.fire(109.999)
    assert clock.handled == [110.0]
    assert when(clock) == [112.0]
    clock.later = inf
    clock.fire(115.0)
    assert clock.handled == [110.0, 115.0]
    assert when(clock) == []


def test_whoever_raises_stops_the_deadlines_of_nobody_else(clock, timer, monkeypatch):
    """An engine says that something is due earlier than it has told last: what it told has to be armed."""
    handle = clock.handle_timeout

    def handle_and_raise(now: float) -> None:
        handle(now)
        raise RuntimeError("the callback of a resource")

    monkeypatch.setattr(clock, "handle_timeout", handle_and_raise)
    clock.due, clock.later = 110.0, 112.0
    timer.arm()
    with pytest.raises(RuntimeError, match="resource"):
        clock.fire(110.0)
    assert when(clock) == [112.0]


def test_after_its_end_nothing_fires_until_it_is_armed_again(clock, timer):
    clock.due = 110.0
    timer.arm()
    timer.close()
    timer.close()
    assert when(clock) == []
    timer.arm()
    assert when(clock) == [110.0]
