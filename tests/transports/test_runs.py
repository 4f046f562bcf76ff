"""Runs of datagrams: what the system is handed at once, what it refuses, and what comes back of a run."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import pytest

from securecoap.transports.runs import Runs
from tests.loopback import needs_linux

PEER = ("127.0.0.1", 5683)
UDP_SEGMENT = 103


class Cutter:
    """Stands in for a socket: what it was handed at once, and what it says to that."""

    def __init__(self) -> None:
        self.runs: list[list[bytes]] = []
        self.refusals: list[OSError] = []

    def getsockopt(self, level: int, name: int) -> int:
        assert (level, name) == (socket.IPPROTO_UDP, UDP_SEGMENT)
        return 0

    def sendmsg(self, run: list[bytes], ancillary: Any, flags: int, peer: object) -> None:
        ((level, name, size),) = ancillary
        assert (level, name, int.from_bytes(size, sys.byteorder)) == (socket.IPPROTO_UDP, UDP_SEGMENT, len(run[0]))
        assert (flags, peer) == (0, PEER)
        assert {len(data) for data in run} == {len(run[0])}
        if self.refusals:
            raise self.refusals.pop()
        self.runs.append(run)


def runs_over(sock: Any) -> Runs:
    return Runs(sock)


def datagrams(count: int, size: int = 4) -> list[bytes]:
    return [b"%0*d" % (size, number) for number in range(count)]


@pytest.fixture
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.usefixtures("on_linux")
def test_several_go_at_once_and_one_does_not() -> None:
    sock = Cutter()
    runs = runs_over(sock)
    assert runs.send(datagrams(3), 4, PEER) == []
    assert sock.runs == [datagrams(3)]
    assert runs.send(datagrams(1), 4, PEER) == datagrams(1)
    assert len(sock.runs) == 1


@pytest.mark.usefixtures("on_linux")
def test_a_run_fits_into_a_packet() -> None:
    sock = Cutter()
    runs = runs_over(sock)
    assert runs.send(datagrams(64, 1200), 1200, PEER) == []
    assert [len(run) for run in sock.runs] == [54, 10]
    assert [data for run in sock.runs for data in run] == datagrams(64, 1200)


@pytest.mark.parametrize("size", [0, 40_000])
@pytest.mark.usefixtures("on_linux")
def test_what_is_not_to_be_joined_is_left(size: int) -> None:
    sock = Cutter()
    assert runs_over(sock).send([bytes(size)] * 2, size, PEER) == [bytes(size)] * 2
    assert not sock.runs


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMSGSIZE, errno.EAGAIN, errno.ECONNREFUSED])
@pytest.mark.usefixtures("on_linux")
def test_what_the_system_refuses_is_left_to_be_sent_alone(number: int) -> None:
    sock = Cutter()
    runs = runs_over(sock)
    sock.refusals = [OSError(number, "refused")]
    assert runs.send(datagrams(64, 1200), 1200, PEER) == datagrams(64, 1200)
    assert runs.send(datagrams(2), 4, PEER) == []  # another one may go


@pytest.mark.usefixtures("on_linux")
def test_a_network_that_takes_no_runs_is_not_asked_again() -> None:
    sock = Cutter()
    runs = runs_over(sock)
    sock.refusals = [OSError(errno.EIO, "no checksums")]
    assert runs.send(datagrams(3), 4, PEER) == datagrams(3)
    assert runs.send(datagrams(3), 4, PEER) == datagrams(3)
    assert not sock.runs


def test_a_system_that_does_not_know_of_runs_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_self: Cutter, _level: int, _name: int) -> int:
        raise OSError(errno.ENOPROTOOPT, "unknown")

    monkeypatch.setattr(sys, "platform", "darwin")
    assert runs_over(Cutter()).send(datagrams(3), 4, PEER) == datagrams(3)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Cutter, "getsockopt", unknown)
    assert runs_over(Cutter()).send(datagrams(3), 4, PEER) == datagrams(3)


@pytest.mark.usefixtures("on_linux")
def test_a_run_that_comes_back_is_meant_as_a_whole() -> None:
    sock = Cutter()
    runs = runs_over(sock)
    assert runs.meant(b"0000", PEER) == [b"0000"]
    runs.send(datagrams(9), 4, PEER)
    assert runs.meant(b"000000010002000", PEER) == datagrams(9)  # the network quotes as much as it likes
    assert runs.meant(b"0000", PEER) == [b"0000"]  # one of them, which was cut off on its way
    assert runs.meant(b"0003", PEER) == [b"0003"]
    assert runs.meant(b"00000001", ("127.0.0.1", 1)) == [b"00000001"]
    assert runs.meant(b"00000009", PEER) == [b"00000009"]


@needs_linux
def test_this_system_cuts_a_run() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        for data in Runs(sender).send(datagrams(64), 4, receiver.getsockname()):
            sender.sendto(data, receiver.getsockname())
        assert [receiver.recv(2048) for _ in range(64)] == datagrams(64)
