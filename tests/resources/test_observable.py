"""Observations as a resource keeps them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from securecoap.resources import ObservableResource, ObservationSet
from securecoap.resources.observable import BATCH
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.resources.fakes import FakeObservation, FakeScheduler, Rendering, request, run

if TYPE_CHECKING:
    from securecoap.interfaces import Observable


class Door(ObservableResource):
    def __init__(self, scheduler: FakeScheduler | None = None) -> None:  # no super().__init__(): none is needed
        self.scheduler = scheduler
        self.state = b"closed"
        self.counts: list[int] = []

    def render_get(self, message: Message) -> Message:
        return Message(payload=self.state)

    def update_observation_count(self, count: int) -> None:
        self.counts.append(count)


@pytest.fixture
def scheduler() -> FakeScheduler:
    return FakeScheduler()


@pytest.fixture
def door(scheduler: FakeScheduler) -> Door:
    return Door(scheduler)


def _observe(door: ObservableResource, observation: FakeObservation | None = None) -> FakeObservation:
    observation = observation or FakeObservation()
    run(door.add_observation(request(observe=0), observation))
    return observation


def test_an_observation_is_accepted_and_ends(door: Door) -> None:
    assert door.is_observable
    assert door.observation_count == 0
    first, second = _observe(door), _observe(door)
    assert door.observation_count == len(door.observations) == 2
    assert first.end is not None
    assert second.end is not None
    first.end()
    first.end()
    assert door.observation_count == 1
    second.end()
    assert door.counts == [1, 2, 1, 0]


def test_changed_without_observers_needs_no_loop(door: Door, scheduler: FakeScheduler) -> None:
    Door().changed()
    Door().end_observations()
    observation = _observe(door)
    assert observation.end is not None
    observation.end()
    door.changed()
    door.end_observations()
    assert not scheduler.soon


def test_changed_only_schedules_and_once(door: Door, scheduler: FakeScheduler) -> None:
    observation = _observe(door, Rendering(door, request(observe=0)))
    assert isinstance(observation, Rendering)
    for state in (b"ajar", b"open"):
        door.state = state
        door.changed()
    assert not observation.triggered
    assert scheduler.turn() == 1
    assert observation.seen == [b"open"]
    assert scheduler.settle() == 0
    door.changed()
    scheduler.settle()
    assert observation.triggered == [(None, False)] * 2


def test_batches_leave_turns_to_others(door: Door, scheduler: FakeScheduler) -> None:
    observations = [_observe(door) for _ in range(2 * BATCH + 1)]
    door.changed()
    told = []
    while scheduler.turn():
        told.append(sum(len(one.triggered) for one in observations))
    assert told == [BATCH, 2 * BATCH, 2 * BATCH + 1]
    assert all(len(one.triggered) == 1 for one in observations)


def test_a_change_in_the_middle_of_a_round_starves_nobody(door: Door, scheduler: FakeScheduler) -> None:
    observations = [_observe(door) for _ in range(3 * BATCH)]
    door.changed()
    for _ in range(3):
        scheduler.turn()
        door.changed()
    assert [len(one.triggered) for one in observations] == [1] * (3 * BATCH)
    scheduler.settle()
    assert [len(one.triggered) for one in observations] == [2] * (3 * BATCH)


def test_those_that_ended_meanwhile_are_left_out(door: Door, scheduler: FakeScheduler) -> None:
    observations = [_observe(door) for _ in range(BATCH + 2)]
    door.changed()
    scheduler.turn()
    assert observations[-1].end is not None
    observations[-1].end()
    scheduler.settle()
    assert [len(one.triggered) for one in observations] == [1] * (BATCH + 1) + [0]


def test_a_change_while_rendering_is_a_new_round(door: Door, scheduler: FakeScheduler) -> None:
    observation = FakeObservation()
    changes = iter([door.changed])

    def change_once() -> None:
        for change in changes:
            change()

    observation.on_trigger = change_once
    _observe(door, observation)
    door.changed()
    assert scheduler.settle() == 2
    assert len(observation.triggered) == 2


def test_a_failure_does_not_cost_the_others_their_notification(door: Door, scheduler: FakeScheduler) -> None:
    def fail() -> None:
        raise ConnectionError

    broken, sound = FakeObservation(on_trigger=fail), FakeObservation()
    _observe(door, broken)
    _observe(door, sound)
    door.changed()
    with pytest.raises(ConnectionError):
        scheduler.turn()
    scheduler.settle()
    assert len(sound.triggered) == len(broken.triggered) == 1


def test_end_at_once_and_failing_accept(door: Door) -> None:
    _observe(door, FakeObservation(ends_at_once=True))
    assert door.observation_count == 0
    with pytest.raises(ConnectionError):
        _observe(door, FakeObservation(fails=True))
    assert door.observation_count == 0
    assert door.counts == []


def test_the_last_response(door: Door, scheduler: FakeScheduler) -> None:
    observations = [_observe(door) for _ in range(BATCH + 1)]
    door.end_observations()
    assert scheduler.settle() == 2
    assert door.observation_count == 0
    for one in observations:
        [(response, is_last)] = one.triggered
        assert response is not None
        assert response.code == Code.NOT_FOUND
        assert is_last
    again = _observe(door)
    door.changed()
    scheduler.settle()
    assert again.triggered == [(None, False)]
    farewell = Message(Code.SERVICE_UNAVAILABLE)
    door.end_observations(farewell)
    scheduler.settle()
    assert again.triggered[1] == (farewell, True)


def test_accepting_directly(door: Door) -> None:
    assert door.dispatch_observation(request(observe=0), FakeObservation()) is None
    assert door.observation_count == 1

    class Choosy(Door):
        async def add_observation(self, message: Message, server_observation: object) -> None:
            """Refuses."""

    choosy = Choosy()
    coroutine = choosy.dispatch_observation(request(observe=0), FakeObservation())
    assert coroutine is not None
    run(coroutine)
    assert choosy.observation_count == 0


def test_it_may_live_longer_than_a_loop() -> None:
    door = Door()
    first = _observe(door)

    async def change(turns: int) -> None:
        door.changed()
        for _ in range(turns):
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.call_soon(door.changed)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()  # before the round that was scheduled
    assert not first.triggered
    asyncio.run(change(2))
    assert len(first.triggered) == 1
    asyncio.run(change(2))
    assert len(first.triggered) == 2


def test_outside_of_the_loop_it_says_so() -> None:
    door = Door()
    _observe(door)
    with pytest.raises(RuntimeError):
        door.changed()


def test_a_set_of_its_own() -> None:
    scheduler = FakeScheduler()
    observations = ObservationSet(scheduler=scheduler)
    one = FakeObservation()
    observations.accept(one)
    observations.changed()
    scheduler.settle()
    assert len(one.triggered) == len(observations) == 1
    assert one.end is not None
    one.end()
    assert not observations


def test_the_hook_may_be_left_alone_and_it_fits_the_seam() -> None:
    class Plain(ObservableResource):
        pass

    resource: Observable = Plain()
    run(resource.add_observation(request(observe=0), FakeObservation()))
    assert not Plain.same_for_all
