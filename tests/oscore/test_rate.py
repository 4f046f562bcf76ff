from __future__ import annotations

from securecoap.oscore.rate import RateLimiter

from .fakes import Scheduler


def test_each_key_for_itself_and_each_second_anew():
    scheduler = Scheduler()
    limiter = RateLimiter(2, scheduler.time)
    assert [limiter.allows("a") for _ in range(3)] == [True, True, False]
    assert limiter.allows("b")
    scheduler.now += 1
    assert limiter.allows("a")


def test_strangers_do_not_make_it_grow():
    limiter = RateLimiter(10, Scheduler().time)
    allowed = sum(limiter.allows(number) for number in range(10_000))
    assert allowed == len(limiter._counts) == 4_096


def test_none_at_all():
    assert not RateLimiter(0, Scheduler().time).allows("a")
