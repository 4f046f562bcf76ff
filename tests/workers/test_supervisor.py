"""The parent among processes that die, hang, refuse, or do not end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.errors import ConfigurationError
from securecoap.workers.messages import Boot, Switch
from securecoap.workers.supervisor import Supervisor
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OTHERS = Switch(b"")


class Parent:
    """What a supervisor asks."""

    def __init__(self) -> None:
        self.needs: list[bytes] = []
        self.begun: list[tuple[int, float]] = []
        self.how = "good"

    def make(self, **arguments: Any) -> Supervisor:
        return Supervisor(
            2,
            boot=lambda number: Boot(number, b"", 0, b"", (), 0, (), {"how": self.how}),
            descriptors=lambda _: (),
            need=self.needs.append,
            begins=lambda number, pause: self.begun.append((number, pause)),
            changed=lambda: None,
            module="tests.workers.stand_in",
            **arguments,
        )


@pytest.fixture
def parent() -> Parent:
    """One whose workers are good, until it says how else."""
    return Parent()


@asynccontextmanager
async def running(parent: Parent, **arguments: Any) -> AsyncIterator[Supervisor]:
    supervisor = parent.make(**arguments)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop(30)
    assert all(worker.process is None for worker in supervisor.workers)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


def kill(supervisor: Supervisor) -> None:
    """End the first worker the hard way."""
    process = supervisor.workers[0].process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)


def pids(supervisor: Supervisor) -> list[int | None]:
    return [None if worker.process is None else worker.process.pid for worker in supervisor.workers]


@real
async def test_one_that_dies_is_begun_anew(parent: Parent, caplog: pytest.LogCaptureFixture) -> None:
    async with running(parent) as supervisor:
        before = pids(supervisor)
        kill(supervisor)
        await until(lambda: supervisor.ready == 1)
        await until(lambda: supervisor.ready == 2)
        assert pids(supervisor)[1] == before[1]
        assert pids(supervisor)[0] != before[0]
        assert supervisor.restarts == 1
        assert parent.begun == [(0, 0.2)]
    assert "worker 0 has ended: SIGKILL" in caplog.text


@real
async def test_one_that_says_nothing_is_ended(parent: Parent, caplog: pytest.LogCaptureFixture) -> None:
    parent.how = "silent"
    async with running(parent, patience=3.0) as supervisor:
        # It has been heard at its beginning only. The other one is talked to.
        parent.how = "good"
        first = pids(supervisor)[0]

        def is_another() -> bool:
            supervisor.granted(b"x", None)
            return pids(supervisor)[0] not in (first, None) and supervisor.ready == 2

        await until(is_another)
    assert "worker 0 has said nothing for 3 s, and is ended" in caplog.text


@real
async def test_pauses_grow(parent: Parent) -> None:
    async with running(parent) as supervisor:
        parent.how = "dies"
        kill(supervisor)
        await until(lambda: len(parent.begun) >= 3)
        assert [pause for _, pause in parent.begun[:3]] == [0.2, 0.4, 0.8]
        parent.how = "good"
        await until(lambda: supervisor.ready == 2)


@pytest.mark.parametrize(("how", "fault"), [("faulty", "this\nand that"), ("dies", "ended before it served")])
@real
async def test_one_that_cannot_begin_ends_the_start(parent: Parent, how: str, fault: str) -> None:
    parent.how = how
    with pytest.raises(ConfigurationError, match=fault):
        async with running(parent):
            raise AssertionError("it began")


@real
async def test_one_that_does_not_take_other_credentials_begins_anew_with_them(parent: Parent) -> None:
    parent.how = "stubborn"
    async with running(parent) as supervisor:
        before = pids(supervisor)
        await supervisor.switch(OTHERS)
        assert pids(supervisor) == [None, before[1]]  # nobody is left with the ones before
        await until(lambda: supervisor.ready == 2)
        assert pids(supervisor)[0] != before[0]


@real
async def test_one_that_is_about_to_begin_gets_other_credentials_as_soon_as_it_has_begun(parent: Parent) -> None:
    """However many come meanwhile: it is not ended for them, or it would never begin."""
    async with running(parent) as supervisor:
        parent.how = "slow"
        kill(supervisor)
        await until(lambda: b"a sign" in parent.needs)
        begins = pids(supervisor)[0]
        switches = [asyncio.create_task(supervisor.switch(OTHERS)) for _ in range(5)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in switches)  # it might serve with those before
        supervisor.granted(b"the sign", None)
        await asyncio.gather(*switches)
        assert (pids(supervisor)[0], supervisor.ready, supervisor.restarts) == (begins, 2, 1)


@real
async def test_one_that_ends_instead_of_beginning_keeps_no_reload_waiting(parent: Parent) -> None:
    async with running(parent) as supervisor:
        parent.how = "slow"
        kill(supervisor)
        await until(lambda: b"a sign" in parent.needs)
        switch = asyncio.create_task(supervisor.switch(OTHERS))
        await asyncio.sleep(0)
        parent.how = "good"
        kill(supervisor)
        await switch
        await until(lambda: supervisor.ready == 2)
        assert supervisor.restarts == 2


@real
async def test_what_they_need_and_count(parent: Parent) -> None:
    async with running(parent) as supervisor:
        await until(lambda: len(parent.needs) == 2)
        supervisor.granted(b"this", None)
        await until(lambda: parent.needs.count(b"this again") == 2)
        counted = {number: answer.metrics[0][3][0][2] for number, answer in await supervisor.count()}
        assert counted == dict(enumerate(pids(supervisor)))
        first = pids(supervisor)[0]
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        assert [number for number, _ in await supervisor.count()] == [1]  # without one that does not answer
        os.kill(first, signal.SIGCONT)
        await until(lambda: supervisor.ready == 2)
        assert len(await supervisor.count()) == 2


@real
async def test_one_that_does_not_end_is_ended(parent: Parent, caplog: pytest.LogCaptureFixture) -> None:
    parent.how = "stays"
    supervisor = parent.make()
    await supervisor.start()
    processes = [worker.process for worker in supervisor.workers]
    await supervisor.stop(0.2)
    assert [None if process is None else process.returncode for process in processes] == [-signal.SIGKILL] * 2
    assert "did not end in time" in caplog.text
