"""The simulation itself: time that jumps, and a network that does what its seed says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from .clock import Deadlock, VirtualLoop, run, virtual
from .network import Network, Sent, SimulatedInterface

if TYPE_CHECKING:
    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message


def test_a_year_takes_no_time() -> None:
    async def sleep() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(365 * 24 * 3600)
        return loop.time() - before

    assert run(sleep()) == pytest.approx(365 * 24 * 3600)


def test_time_limits_are_virtual() -> None:
    async def limited() -> None:
        async with asyncio.timeout(1000):
            await asyncio.sleep(1001)

    with pytest.raises(TimeoutError):
        run(limited())


def test_waiting_for_nothing_is_a_deadlock() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(wait())


def test_faults_of_callbacks_fail() -> None:
    async def fault() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError) as caught:
        run(fault())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@virtual
async def test_timers() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    timer = loop.call_later(5, print)
    assert loop.timers() == [timer]
    timer.cancel()
    assert loop.timers() == []


class Heard:
    client_credentials = None

    def __init__(self) -> None:
        self.messages: list[tuple[float, int | None]] = []
        self.malformed = 0

    def dispatch_message(self, message: Message) -> bool:
        self.messages.append((asyncio.get_running_loop().time(), message.mid))
        return True

    def dispatch_malformed(self, datagram: bytes, remote: EndpointAddress) -> None:
        self.malformed += 1

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None: ...

    def dispatch_quoted_error(self, error: Exception, remote: EndpointAddress, datagram: bytes) -> None: ...


async def carry(seed: int, **options: object) -> tuple[Network, Heard]:
    network = Network(asyncio.get_running_loop(), seed, **options)  # type: ignore[arg-type]
    heard = Heard()
    SimulatedInterface(network, "b").above = heard
    for mid in range(1000):
        network.transmit("a", "b", b"\x50\x01" + mid.to_bytes(2, "big"))
    await asyncio.sleep(100)
    return network, heard


@virtual
async def test_a_perfect_network() -> None:
    network, heard = await carry(0)
    assert [mid for _, mid in heard.messages] == list(range(1000))
    assert all(
        time - sent.time == pytest.approx(0.01) for (time, _), sent in zip(heard.messages, network.sent, strict=True)
    )
    assert network.between("a", "b") == network.sent
    assert network.from_("b") == []


@virtual
async def test_a_bad_network() -> None:
    network, heard = await carry(1, loss=0.2, duplication=0.2, delay=(0.0, 1.0))
    mids = [mid for _, mid in heard.messages]
    assert 700 < len(set(mids)) < 900
    assert 1.1 < len(mids) / len(set(mids)) < 1.3
    assert mids != sorted(mids)  # type: ignore[type-var]
    assert len(network.sent) == 1000
    _, again = await carry(1, loss=0.2, duplication=0.2, delay=(0.0, 1.0))
    assert [mid for _, mid in again.messages] == mids
    _, other = await carry(2, loss=0.2, duplication=0.2, delay=(0.0, 1.0))
    assert [mid for _, mid in other.messages] != mids


@virtual
async def test_size_groups_and_bytes() -> None:
    network, heard = await carry(0, mtu=3)
    assert heard.messages == []
    network.mtu = 100
    network.drop = lambda sent: sent.mid == 2
    network.join("all", *network._interfaces.values())
    for data in (b"\x50\x01\x00\x01", b"\x50\x01\x00\x02", b"\x50", bytes(101)):
        network.transmit("a", "all", data)
    network.transmit("a", "nobody", b"\x50\x01\x00\x01")
    await asyncio.sleep(1)
    assert [mid for _, mid in heard.messages] == [1]
    assert heard.malformed == 1
    assert isinstance(network.sent[-1], Sent)
    assert (network.sent[-1].mtype, network.sent[-1].code, network.sent[-1].mid) == (1, 1, 1)
