"""Datagrams and announcements among workers: to whom they are meant, whole, and an announcement in the end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.workers import lanes
from securecoap.workers.lanes import Lanes
from securecoap.workers.seat import Seat
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CID = 25


def pairs(count: int) -> list[tuple[socket.socket, socket.socket]]:
    return [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]


@pytest.fixture
def two() -> Iterator[tuple[Lanes, Lanes]]:
    made = pairs(2)
    others = [sender for _, sender in made]
    # Each worker has descriptors of its own of the same sockets.
    both = tuple(Lanes(number, made[number][0], [one.dup() for one in others]) for number in range(2))
    yield both  # type: ignore[misc]  # there are two
    for one in both:
        one.close()
    for sender in others:
        sender.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("peer", [("192.0.2.1", 65535), ("2001:db8::1", 5684, 7, 9), ("fe80::1%lo", 1, 0, 1)])
@pytest.mark.parametrize("local", [None, b"", bytes(range(20))])
@pytest.mark.parametrize("data", [b"", b"x", bytes(2048)])
@real
async def test_a_datagram_is_handed_over_as_it_came(
    two: tuple[Lanes, Lanes], data: bytes, local: bytes | None, peer: tuple[Any, ...]
) -> None:
    here, there = two
    taken: list[tuple[Any, ...]] = []
    there.takers[1] = lambda *arguments: taken.append(arguments)
    there.open(asyncio.get_running_loop(), lambda _: None)
    assert here.hand_over(1, 1, data, peer, local)
    await until(lambda: taken)
    assert taken == [(data, peer, local)]


def test_what_is_nobodys_is_not_handed_over(two: tuple[Lanes, Lanes]) -> None:
    here, _ = two
    assert not here.hand_over(0, 0, b"x", ("192.0.2.1", 1), None)
    assert not here.hand_over(2, 0, b"x", ("192.0.2.1", 1), None)


@real
async def test_a_lane_that_is_full_loses_datagrams_and_no_announcement(
    two: tuple[Lanes, Lanes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_AGAIN", 0.001)
    here, there = two
    loop = asyncio.get_running_loop()
    here.open(loop, lambda _: None)
    for _ in range(2_000):
        assert here.hand_over(1, 0, bytes(2_000), ("192.0.2.1", 1), None)
    for _ in range(3):
        here.announce("/a")
        here.announce("/b")
    await asyncio.sleep(0.01)
    heard: list[str] = []
    there.open(loop, heard.append)
    await until(lambda: heard)
    await until(lambda: not here._timer)
    await asyncio.sleep(0.01)
    assert heard == ["/a", "/b"]


def test_a_seat_hands_over_records_of_other_workers_only(two: tuple[Lanes, Lanes]) -> None:
    here, _ = two
    handed: list[tuple[Any, ...]] = []
    here.hand_over = lambda *arguments: handed.append(arguments) is None and arguments[0] < 2  # type: ignore[method-assign]  # a stand-in
    seat = Seat(0, bytes(32), None, here)  # type: ignore[arg-type]  # no context is opened
    taken: list[bytes] = []
    take = seat.share(lambda data, _peer, _local: taken.append(data))
    seat.share(lambda *_: None)
    head = bytes((CID, 254, 253, 0, 1, 0, 0, 0, 0, 0, 1))
    records = [head + bytes((worker,)) + bytes(20) for worker in (0, 1, 9)]
    for data in (*records, head, b"", b"\x17" + records[1][1:]):
        take(data, ("192.0.2.1", 1), None)
    assert handed == [
        (worker, 0, record, ("192.0.2.1", 1), None) for worker, record in ((1, records[1]), (9, records[2]))
    ]
    # Of a worker that does not exist: dropped by whoever gets it, as every record of an unknown session.
    assert taken == [records[0], records[2], head, b"", b"\x17" + records[1][1:]]
    assert repr(seat) == "<Seat 0>"
