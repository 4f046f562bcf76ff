from __future__ import annotations

import pytest

from securecoap.config import Limits
from securecoap.errors import RequestFailed, SessionEnded, StateError
from securecoap.oscore.sender import Held, Sender

from .fakes import Numbers, Scheduler


class Item(Held):
    def __init__(self, log: list[tuple[str, object]], name: str, *, request: bool = True) -> None:
        self.number = None
        self.is_request = request  # type: ignore[misc]
        self.log = log
        self.name = name

    def transmit(self, number: int) -> None:
        self.log.append((self.name, number))

    def failed(self, error) -> None:
        self.log.append((self.name, type(error)))


@pytest.fixture
def log():
    return []


@pytest.fixture
def scheduler():
    return Scheduler()


def test_numbers_are_taken_in_order(log, scheduler):
    sender = Sender(Numbers(5), scheduler)
    for name in "abc":
        sender.send(Item(log, name))
    assert log == [("a", 5), ("b", 6), ("c", 7)]


def test_held_messages_keep_their_order(log, scheduler):
    numbers = Numbers(0, 1)
    sender = Sender(numbers, scheduler)
    for name in "abcd":
        sender.send(Item(log, name))
    assert log == [("a", 0)]
    assert numbers.reservations == 0
    scheduler.run()
    assert numbers.reservations == 1
    numbers.grant()
    scheduler.run()
    assert log == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]


def test_it_reserves_again_when_a_chunk_is_too_small(log, scheduler):
    numbers = Numbers(0, 0)
    numbers.chunk = 1
    numbers.grant()
    sender = Sender(numbers, scheduler)
    for name in "abc":
        sender.send(Item(log, name))
    scheduler.run()
    assert [name for name, _ in log] == ["a", "b", "c"]
    assert numbers.reservations == 3


def test_a_response_passes_requests_that_are_held_for_the_window(log, scheduler):
    sender = Sender(Numbers(0), scheduler, window=1)
    sender.unanswered(0)
    sender.send(Item(log, "first"))  # takes 0
    sender.send(Item(log, "held"))  # takes 1
    sender.send(Item(log, "behind"))
    sender.send(Item(log, "response", request=False))
    assert log == [("first", 0), ("response", 2)]
    sender.answered(0)
    assert log[2:] == [("held", 1), ("behind", 3)]


def test_a_response_waits_behind_nothing_but_numbers(log, scheduler):
    numbers = Numbers(0, 2)
    sender = Sender(numbers, scheduler, window=1)
    sender.unanswered(0)
    for name in ("first", "held"):
        sender.send(Item(log, name))
    sender.send(Item(log, "response", request=False))
    numbers.grant()
    scheduler.run()
    assert log == [("first", 0), ("response", 2)]


def test_a_failed_reservation_fails_what_has_no_number(log, scheduler):
    numbers = Numbers(0, 2)
    sender = Sender(numbers, scheduler, window=1)
    sender.unanswered(0)
    for name in ("first", "far"):
        sender.send(Item(log, name))
    sender.send(Item(log, "response", request=False))
    numbers.refuse()
    scheduler.run()
    assert log == [("first", 0), ("response", StateError)]
    sender.answered(0)
    assert log[2:] == [("far", 1)]


def test_capacity(log, scheduler):
    sender = Sender(Numbers(0, 0), scheduler, limits=Limits(queued_per_peer=2))
    for name in "abc":
        sender.send(Item(log, name))
    assert log == []
    scheduler.calls[-1][0](*scheduler.calls[-1][1])
    assert log == [("c", RequestFailed)]
    sender.close()


def test_numbers_beyond_the_last_are_refused(log, scheduler):
    sender = Sender(Numbers(2**40 - 1), scheduler)
    for name in "ab":
        sender.send(Item(log, name))
    scheduler.run()
    assert log == [("a", 2**40 - 1), ("b", StateError)]


def test_numbers_beyond_the_last_are_refused_after_a_wait(log, scheduler):
    numbers = Numbers(2**40 - 1, 0)
    numbers.grant()
    sender = Sender(numbers, scheduler)
    for name in "ab":
        sender.send(Item(log, name))
    scheduler.run()
    assert log == [("a", 2**40 - 1), ("b", StateError)]


def test_close(log, scheduler):
    sender = Sender(Numbers(0, 0), scheduler)
    sender.send(Item(log, "held"))
    sender.close()
    sender.send(Item(log, "late"))
    scheduler.run()
    assert log == [("held", SessionEnded), ("late", SessionEnded)]
    assert all(task.done for task in scheduler.tasks)


def test_closing_with_a_reason(log, scheduler):
    sender = Sender(Numbers(0, 0), scheduler)
    sender.send(Item(log, "held"))
    sender.close(RequestFailed("shutdown"))
    scheduler.run()
    assert log == [("held", RequestFailed)]


def test_withdrawing_what_is_not_held(log, scheduler):
    sender = Sender(Numbers(0), scheduler)
    item = Item(log, "a")
    sender.send(item)
    sender.withdraw(item)
    assert log == [("a", 0)]


def test_answers_nobody_waits_for(scheduler):
    Sender(Numbers(0), scheduler).answered(17)


def test_what_is_sent_while_held_messages_go_stays_behind_them(log, scheduler):
    numbers = Numbers(0, 0)
    sender = Sender(numbers, scheduler)

    class Eager(Item):
        def transmit(self, number: int) -> None:
            super().transmit(number)
            if self.name == "a":
                sender.send(Item(log, "inner"))
                sender.answered(99)

    sender.send(Eager(log, "a"))
    sender.send(Item(log, "b"))
    numbers.grant()
    scheduler.run()
    assert [number for _, number in log] == [0, 1, 2]
    assert {name for name, _ in log} == {"a", "b", "inner"}
