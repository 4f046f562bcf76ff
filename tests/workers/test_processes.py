"""Several real processes on one port: what must not happen twice does not, whichever of them gets a datagram."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from securecoap.wire.codes import Code
from tests.workers.fleet import PATIENCE, Device, Fleet, Port, number_of, ports_at_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as running:
        yield running


def test_a_request_that_is_replayed_from_other_ports_runs_once(fleet: Fleet) -> None:
    by_worker = ports_at_each(fleet, 10)
    ports = [port for pair in zip(*by_worker.values(), strict=True) for port in pair]
    device = Device()
    device.show_freshness(ports[0])
    rounds, sent = 200, 0
    for number in range(rounds):
        outer, identifiers = device.protect(Code.POST, "posts", str(number).encode())
        done = False
        # To both workers at once, now one before the other and now the other; in the first rounds to one alone.
        order = ports[number % 2 :] + ports[: number % 2]
        if number < len(by_worker):
            answer = order[0].exchange(order[0].datagram(outer, confirmable=False), outer.token)
            assert device.open(answer, identifiers).code == Code.CHANGED
            done = True
        replayed = False
        while not (done and replayed):
            replayed = True
            for port in order:
                outer.datagram = None
                port.sock.send(port.datagram(outer, confirmable=False))
                sent += 1
            for port in ports:
                for answer in port.receive(0.0 if done else 0.05):
                    if answer.token == outer.token and answer.options.oscore is not None:
                        assert device.open(answer, identifiers).code == Code.CHANGED
                        done = True
    assert sent >= 4_000
    posts = fleet.posts()
    assert Counter(payload for payload, _ in posts) == {str(number): 1 for number in range(rounds)}
    assert {worker for _, worker in posts} == set(by_worker)  # each of them was the first


def test_no_number_of_a_key_is_used_twice(fleet: Fleet) -> None:
    by_worker = ports_at_each(fleet, 5)
    ports = [port for there in by_worker.values() for port in there]
    device = Device()
    device.show_freshness(ports[0])
    observed = {}
    for port in ports:
        outer, identifiers = device.protect(Code.GET, "state", observe=True)
        first = port.exchange(port.datagram(outer), outer.token)
        assert device.open(first, identifiers).options.observe is not None
        observed[outer.token] = (port, identifiers)
    ciphertexts: dict[int, set[bytes]] = {}
    changer = Port(fleet)
    for change in range(30):
        wanted = b"change %d" % change
        outer, identifiers = device.protect(Code.PUT, "state", wanted)
        assert device.open(changer.exchange(changer.datagram(outer), outer.token), identifiers).code == Code.CHANGED
        missing = set(observed)

        def collect() -> bool:
            for port in ports:
                for answer in port.receive(0.01):
                    if answer.options.oscore is None or answer.token not in observed:
                        continue
                    number = number_of(answer)
                    assert number is not None
                    ciphertexts.setdefault(number, set()).add(answer.payload)
                    if device.open(answer, observed[answer.token][1]).payload == wanted:  # noqa: B023  # as above
                        missing.discard(answer.token)  # noqa: B023  # as above
            return not missing  # noqa: B023  # as above

        fleet.wait_for(collect)  # observers at both workers hear of it, though one of them was told
    assert len(ciphertexts) >= 250
    assert all(len(sealed) == 1 for sealed in ciphertexts.values())


def test_a_worker_that_dies_is_begun_anew_and_replays_stay_refused(fleet: Fleet) -> None:
    by_worker = ports_at_each(fleet, 2)
    (victim, (port, _)), (_, (other, _)) = by_worker.items()
    device = Device()
    device.show_freshness(port)
    outer, identifiers = device.protect(Code.POST, "posts", b"once")
    answer = port.exchange(port.datagram(outer), outer.token)
    assert device.open(answer, identifiers).code == Code.CHANGED
    os.kill(victim, signal.SIGKILL)
    fleet.wait_for_text("worker 0 has ended|worker 1 has ended")
    fleet.wait_for_text("2 of 2 workers serve")
    assert victim not in fleet.workers()
    for again in (port, other):
        outer.datagram = None
        assert again.exchange(again.datagram(outer), outer.token).code == Code.UNAUTHORIZED
    assert [payload for payload, _ in fleet.posts()] == ["once"]
    outer, identifiers = device.protect(Code.POST, "posts", b"more")  # no Echo: the window is what it was
    assert device.open(port.exchange(port.datagram(outer), outer.token), identifiers).code == Code.CHANGED


def test_windows_and_numbers_outlast_an_orderly_end(fleet: Fleet) -> None:
    device = Device()
    port = ports_at_each(fleet, 1).popitem()[1][0]
    device.show_freshness(port)
    outer, identifiers = device.protect(Code.POST, "posts", b"before")
    assert device.open(port.exchange(port.datagram(outer), outer.token), identifiers).code == Code.CHANGED
    assert fleet.program.stop(seconds=PATIENCE) == 0
    fleet.start_again()
    outer.datagram = None
    assert port.exchange(port.datagram(outer), outer.token).code == Code.UNAUTHORIZED
    outer, identifiers = device.protect(Code.POST, "posts", b"after")
    assert device.open(port.exchange(port.datagram(outer), outer.token), identifiers).code == Code.CHANGED
    assert [payload for payload, _ in fleet.posts()] == ["before", "after"]


def test_after_a_crash_of_the_parent_its_workers_end_and_freshness_has_to_be_shown(fleet: Fleet) -> None:
    device = Device()
    port = ports_at_each(fleet, 1).popitem()[1][0]
    device.show_freshness(port)
    workers = fleet.workers()
    fleet.program.signal(signal.SIGKILL)
    fleet.program.stop()
    fleet.wait_for(lambda: not any(_lives(worker) for worker in workers))
    fleet.start_again()
    device.show_freshness(port)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # no path
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
