"""Steps of a transfer: one after the other in the callback that brings a response, with one timer."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.core.stepping import Steps
from securecoap.errors import RequestFailed, RequestTimeout
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import PlumbingRequest


class Below:
    """The layers below: what was asked, and what was ended."""

    def __init__(self, answer: Callable[[PlumbingRequest], None] = lambda _: None) -> None:
        self.asked: list[Message] = []
        self.ended: list[int] = []
        self.pipe: Any = None
        self._answer = answer

    def send(self, pipe: PlumbingRequest) -> None:
        number = len(self.asked)
        self.asked.append(pipe.request)
        self.pipe = pipe
        pipe.on_interest_end(lambda: self.ended.append(number))
        self._answer(pipe)


def steps_of(below: Below, head: Message | None = None) -> Steps:
    return Steps(below.send, asyncio.get_running_loop(), 10.0, head)


async def ask_for(steps: Steps, count: int) -> list[bytes]:
    return [(await steps.ask(Message(Code.GET, b"%d" % number))).payload for number in range(count)]


@virtual
async def test_one_after_the_other_without_a_turn_of_the_loop() -> None:
    below = Below()
    steps = steps_of(below, Message(Code.CONTENT, b"head"))
    task = asyncio.ensure_future(steps.run(ask_for(steps, 4)))
    await settle()
    for number in (1, 2, 3):
        assert [one.payload for one in below.asked] == [b"%d" % one for one in range(1, number + 1)]
        below.pipe.add_response(Message(Code.CONTENT, b"answer %d" % number))
    assert await task == [b"head", b"answer 1", b"answer 2", b"answer 3"]
    assert below.ended == []  # whoever gives the last response has ended by itself


@virtual
async def test_answers_that_come_at_once() -> None:
    below = Below(lambda pipe: pipe.add_response(Message(Code.CONTENT, b"now")))
    steps = steps_of(below)
    assert await steps.run(ask_for(steps, 100)) == [b"now"] * 100


@virtual
async def test_an_answer_that_is_not_the_last_ends_its_exchange() -> None:
    below = Below(lambda pipe: pipe.add_response(Message(Code.CONTENT, b"one of them"), is_last=False))
    steps = steps_of(below)
    assert await steps.run(ask_for(steps, 2)) == [b"one of them"] * 2
    assert below.ended == [0, 1]


@virtual
async def test_each_response_has_its_span_and_all_one_timer() -> None:
    below = Below()
    steps = steps_of(below)
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.ensure_future(steps.run(ask_for(steps, 3)))
    for _ in range(2):
        await asyncio.sleep(9.0)
        below.pipe.add_response(Message(Code.CONTENT))
    with pytest.raises(RequestTimeout):
        await task
    assert loop.time() == began + 28.0
    assert below.ended == [2]


@virtual
async def test_failures_are_those_of_the_one_who_asks() -> None:
    def refuse(_: PlumbingRequest) -> None:
        raise RequestFailed("no interface")

    async def two(steps: Steps) -> str:
        try:
            await steps.ask(Message(Code.GET))
        except RequestFailed as error:
            return str(error)
        return ""

    for answer in (refuse, lambda pipe: pipe.add_exception(RequestFailed("no interface"))):
        steps = steps_of(Below(answer))
        assert await steps.run(two(steps)) == "no interface"
    below = Below()
    steps = steps_of(below)
    task = asyncio.ensure_future(steps.run(ask_for(steps, 2)))
    await settle()
    below.pipe.add_exception(RequestFailed("later"))
    with pytest.raises(RequestFailed, match="later"):
        await task


@virtual
async def test_cancelled_it_ends_what_is_under_way_and_asks_no_more() -> None:
    below = Below()
    steps = steps_of(below)
    task = asyncio.ensure_future(steps.run(ask_for(steps, 2)))
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert below.ended == [0]
    below.pipe.add_response(Message(Code.CONTENT))
    below.pipe.add_exception(RequestFailed("late"))
    assert len(below.asked) == 1


@virtual
async def test_no_reference_cycle_stays() -> None:
    below = Below(lambda pipe: pipe.add_response(Message(Code.CONTENT)))
    steps = steps_of(below)
    gc.collect()
    gc.disable()
    try:
        await steps.run(ask_for(steps, 50))
        assert all(message.exchange is None for message in below.asked)
        below.pipe = None
        del steps
        assert gc.collect() == 0
    finally:
        gc.enable()
