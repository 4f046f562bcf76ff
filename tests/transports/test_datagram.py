"""Sockets on loopback: what is bound, what arrives from where, errors of the network, bounded batches."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
from typing import Any

import pytest

from securecoap.errors import Unreachable
from securecoap.transports import datagram
from securecoap.transports.datagram import DatagramSocket, is_wildcard, open_socket
from tests.loopback import needs_ipv6, needs_linux, real

HOSTS = ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)]


class End:
    """A `DatagramSocket` that keeps what comes."""

    def __init__(self, host: str, port: int = 0, **options: Any) -> None:
        self.got: asyncio.Queue[tuple[bytes, Any, bytes | None]] = asyncio.Queue()
        self.errors: asyncio.Queue[tuple[Exception, Any, bytes]] = asyncio.Queue()
        self.socket = DatagramSocket(
            open_socket(host, port),
            asyncio.get_running_loop(),
            lambda *got: self.got.put_nowait(got),
            lambda *error: self.errors.put_nowait(error),
            **options,
        )
        self.address = self.socket.address

    async def take(self) -> tuple[bytes, Any, bytes | None]:
        async with asyncio.timeout(10):
            return await self.got.get()

    async def error(self) -> tuple[Exception, Any, bytes]:
        async with asyncio.timeout(10):
            return await self.errors.get()


@pytest.mark.parametrize("host", HOSTS)
@real
async def test_there_and_back(host: str) -> None:
    one, two = End(host), End(host)
    assert one.address[1] != 0
    one.socket.send(b"hello", two.address)
    data, source, local = await two.take()
    assert (data, source, local) == (b"hello", one.address, None)
    two.socket.send(b"hi", source)
    assert (await one.take())[0] == b"hi"
    one.socket.close()
    two.socket.close()
    one.socket.close()  # harmless


@needs_linux
@pytest.mark.parametrize("wildcard", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)])
@real
async def test_a_wildcard_answers_from_the_address_that_was_asked(wildcard: str) -> None:
    server = End(wildcard)
    port = server.address[1]
    hosts = ["127.0.0.1", "127.0.0.2", "127.1.2.3"] + (["::1"] if wildcard == "::" else [])
    locals_ = set()
    for host in hosts:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((host, port))  # it takes answers from there only
            client.send(b"to " + host.encode())
            data, source, local = await server.take()
            assert data == b"to " + host.encode()
            assert local is not None
            locals_.add(local)
            server.socket.send(b"answer", source, local)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                assert await loop.sock_recv(client, 100) == b"answer"
    assert len(locals_) == len(hosts)
    server.socket.close()


@real
async def test_a_client_needs_no_packet_information() -> None:
    client, server = End("0.0.0.0", packet_info=False), End("127.0.0.1")
    client.socket.send(b"x", server.address)
    _, source, _ = await server.take()
    server.socket.send(b"y", ("127.0.0.1", source[1]))
    assert (await client.take())[2] is None
    client.socket.close()
    server.socket.close()


@needs_linux
@pytest.mark.parametrize("host", HOSTS)
@real
async def test_a_closed_port_is_told_with_the_datagram(host: str) -> None:
    gone = open_socket(host, 0)
    address = gone.getsockname()
    gone.close()
    end = End(host)
    for payload in (b"first datagram", b"second datagram"):
        end.socket.send(payload, address)
        error, peer, quoted = await end.error()
        assert isinstance(error, Unreachable)
        assert error.errno == errno.ECONNREFUSED
        assert peer[:2] == address[:2]
        assert payload.startswith(quoted[: len(payload)])
        assert quoted
    end.socket.send(b"to itself", end.address)  # and it goes on
    assert (await end.take())[0] == b"to itself"
    end.socket.close()


@needs_linux
@real
async def test_errors_of_the_network_are_told_from_when_they_are_wanted() -> None:
    """A server's peers go away all the time; only who began something with one wants to know."""
    gone = open_socket("127.0.0.1", 0)
    address = gone.getsockname()
    gone.close()
    end = End("127.0.0.1", errors=False)
    end.socket.send(b"nobody cares", address)
    end.socket.send(b"to itself", end.address)
    await end.take()
    assert end.errors.empty()
    end.socket.report_errors()
    end.socket.send(b"somebody cares", address)
    _, peer, quoted = await end.error()
    assert peer == address
    assert quoted.startswith(b"somebody"[: len(quoted)])
    end.socket.close()


@real
async def test_what_cannot_be_sent_is_told() -> None:
    end = End("127.0.0.1")
    end.socket.send(bytes(70_000), end.address)
    error, peer, _ = await end.error()
    assert isinstance(error, Unreachable)
    assert error.errno == errno.EMSGSIZE
    assert peer == end.address
    end.socket.close()


@real
async def test_reading_is_in_bounded_batches() -> None:
    """Another callback gets its turn, however much there is to read."""
    end = End("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(150):
            sender.sendto(b"%d" % number, end.address)
    sizes = []
    while end.got.qsize() < 150:
        await asyncio.sleep(0)
        sizes.append(end.got.qsize())
    steps = [later - earlier for earlier, later in zip([0, *sizes], sizes, strict=False)]
    assert max(steps) <= 64
    end.socket.close()


class Waiting:
    """Stands in for a socket: what waits in it, how often it was asked for nothing, and what was sent."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.waiting = 0
        self.in_vain = 0
        self.sent: list[bytes] = []
        self.closed = False

    def getsockname(self) -> Any:
        return ("127.0.0.1", 5683)

    def fileno(self) -> int:
        return 3

    def getsockopt(self, _level: int, _name: int) -> int:
        raise OSError(errno.ENOPROTOOPT, "a system that takes no runs")

    def recvfrom(self, _size: int) -> Any:
        if not self.waiting:
            self.in_vain += 1
            raise BlockingIOError
        self.waiting -= 1
        return b"x", ("127.0.0.1", 1)

    def sendto(self, data: bytes, _peer: object) -> None:
        assert not self.closed
        if data == b"too long":
            raise OSError(errno.EMSGSIZE, "too long")
        if data != b"no room":
            self.sent.append(data)
            return
        raise BlockingIOError

    def close(self) -> None:
        self.closed = True


class Reader:
    """Stands in for a loop that calls as long as something waits."""

    def __init__(self) -> None:
        self.soon: list[tuple[Any, ...]] = []

    def add_reader(self, _number: int, callback: Any) -> None:
        self.callback = callback

    def remove_reader(self, _number: int) -> None:
        """It is closed."""

    def call_soon(self, *call: Any) -> None:
        self.soon.append(call)

    def run_soon(self) -> None:
        """One turn: what was there at its beginning."""
        calls, self.soon = self.soon, []
        for callback, *given in calls:
            callback(*given)

    def bring(self, sock: Waiting, count: int) -> int:
        """Let datagrams come, all at once; return the turns that it takes to read them."""
        sock.waiting = count
        for turns in range(count + 1):
            if not sock.waiting:
                return turns
            self.callback()
        raise AssertionError("a turn in which nothing was read")


def test_no_second_datagram_is_looked_for_each_time_while_they_come_alone() -> None:
    sock: Any = Waiting()
    loop: Any = Reader()
    got: list[bytes] = []
    DatagramSocket(sock, loop, lambda data, *_: got.append(data), lambda *_: None, errors=False)
    assert [loop.bring(sock, 1) for _ in range(90)] == [1] * 90
    assert sock.in_vain == 9
    assert loop.bring(sock, 100) <= 9 + 6  # many at once are soon read many at a time
    assert loop.bring(sock, 100) <= 3
    assert len(got) == 290


class Burst:
    """A `DatagramSocket` whose every datagram wakes somebody who sends the next of ``answers`` then."""

    def __init__(self, *answers: bytes, **options: Any) -> None:
        self.sock: Any = Waiting()
        self.loop: Any = Reader()
        self.failed: list[bytes] = []
        self.answers = iter(answers)
        self.socket = DatagramSocket(
            self.sock,
            self.loop,
            lambda *_: self.loop.call_soon(self.answer),
            lambda _error, _peer, data: self.failed.append(data),
            errors=False,
            **{"bursts": True, **options},
        )
        for count in (*[1] * 9, 2, 4, 8, 16, 32):  # many came together before
            self.sock.waiting = count
            self.loop.callback()
        self.loop.soon.clear()
        self.socket._end_burst()
        self.before: list[int] = []

    def answer(self) -> None:
        self.before.append(len(self.sock.sent))
        self.send(next(self.answers))

    def send(self, data: bytes) -> None:
        self.socket.send(data, ("127.0.0.1", 1))


def test_those_whom_a_batch_wakes_send_together() -> None:
    burst = Burst(b"1", b"2", b"3", b"4")
    burst.loop.bring(burst.sock, 3)
    burst.loop.run_soon()
    assert burst.before == [0, 0, 0]
    assert burst.sock.sent == [b"1", b"2", b"3"]
    burst.send(b"later")
    assert burst.sock.sent[3:] == [b"later"]
    burst.loop.bring(burst.sock, 1)  # alone: it waits for nobody
    burst.loop.run_soon()
    assert burst.sock.sent[4:] == [b"4"]
    assert not burst.loop.soon


def test_a_whole_batch_is_no_other() -> None:
    burst = Burst(*[b"%d" % number for number in range(64)])
    burst.sock.waiting = 64
    burst.loop.callback()
    assert not burst.sock.sent
    burst.loop.run_soon()
    assert burst.sock.sent == [b"%d" % number for number in range(64)]


def test_a_server_sends_at_once() -> None:
    burst = Burst(b"1", b"2", bursts=False)
    burst.loop.bring(burst.sock, 2)
    burst.loop.run_soon()
    assert burst.before == [0, 1]


def test_what_is_collected_is_bounded() -> None:
    burst = Burst()
    burst.loop.bring(burst.sock, 2)
    for number in range(63):
        burst.send(b"%d" % number)
    assert not burst.sock.sent
    for number in range(63, 66):
        burst.send(b"%d" % number)
        assert len(burst.sock.sent) == number + 1
    assert burst.sock.sent == [b"%d" % number for number in range(66)]


def test_what_cannot_be_sent_together_fails_alone() -> None:
    burst = Burst(b"1", b"too long", b"no room", b"4")
    burst.loop.bring(burst.sock, 4)
    burst.loop.run_soon()
    assert burst.sock.sent == [b"1", b"4"]
    burst.loop.run_soon()
    assert burst.failed == [b"too long"]


def test_what_was_handed_over_is_sent_before_the_end() -> None:
    burst = Burst()
    burst.loop.bring(burst.sock, 2)
    burst.send(b"1")
    burst.loop.soon = burst.loop.soon[-1:]
    burst.socket.close()
    assert burst.sock.sent == [b"1"]
    burst.loop.run_soon()
    assert burst.sock.sent == [b"1"]


@pytest.mark.parametrize("host", HOSTS)
@real
async def test_a_burst_to_several_arrives_as_it_was_sent(host: str) -> None:
    sender, one, two = End(host, bursts=True), End(host), End(host)
    sender.socket._begin_burst()
    sent = [b"%04d" % number for number in range(20)]
    for number, data in enumerate(sent):
        sender.socket.send(data, one.address)
        if number % 7 == 0:
            sender.socket.send(b"longer" + data, one.address)
        if number % 5 == 0:
            sender.socket.send(data, two.address)
    got = [(await one.take())[0] for _ in range(23)]
    assert [data for data in got if len(data) == 4] == sent
    assert [data for data in got if len(data) != 4] == [b"longer" + data for data in sent[::7]]
    assert [(await two.take())[0] for _ in range(4)] == sent[::5]
    for end in (sender, one, two):
        end.socket.close()


@needs_linux
@pytest.mark.parametrize("host", HOSTS)
@real
async def test_each_datagram_of_a_burst_that_nobody_takes_fails(host: str) -> None:
    end, gone = End(host, bursts=True), End(host)
    gone.socket.close()
    end.socket._begin_burst()
    sent = [b"%04d" % number for number in range(8)]
    for data in sent:
        end.socket.send(data, gone.address)
    failed = [await end.error() for _ in sent]
    assert [data for _, _, data in failed] == sent
    assert {peer for _, peer, _ in failed} == {gone.address}
    end.socket.close()


@real
async def test_closing_amid_a_batch() -> None:
    loop = asyncio.get_running_loop()
    got: list[bytes] = []

    def received(data: bytes, source: object, local: object) -> None:
        got.append(data)
        end.close()

    end = DatagramSocket(open_socket("127.0.0.1", 0), loop, received, lambda *_: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(3):
            sender.sendto(b"x", end.address)
    for _ in range(10):
        await asyncio.sleep(0)
    assert got == [b"x"]


@pytest.mark.parametrize("wildcard", [False, True])
@real
async def test_what_is_too_long_is_dropped_and_not_cut(wildcard: bool) -> None:
    end = End("0.0.0.0" if wildcard else "127.0.0.1")
    target = ("127.0.0.1", end.address[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in (3000, 2048, 2047, 1):
            sender.sendto(bytes(size), target)
    assert len((await end.take())[0]) == 2047
    assert len((await end.take())[0]) == 1
    end.socket.close()


@real
async def test_addresses_that_cannot_be_bound() -> None:
    taken = End("127.0.0.1")
    for host, port in (("127.0.0.1", taken.address[1]), ("192.0.2.1", 0), ("2001:db8::1", 0)):
        with pytest.raises(Unreachable):
            open_socket(host, port)
    taken.socket.close()
    gc.collect()


@pytest.mark.parametrize(("host", "expected"), [("::", True), ("0.0.0.0", True), ("::1", False), ("fe80::1%lo", False)])
def test_wildcards(host: str, expected: bool) -> None:
    assert is_wildcard(host) == expected


@real
async def test_without_packet_information(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain mode of systems that have neither: the same interface, without local addresses."""
    monkeypatch.setattr(datagram, "_LINUX", False)
    monkeypatch.delattr(socket, "IPV6_RECVPKTINFO", raising=False)
    server, client = End("0.0.0.0"), End("127.0.0.1")
    client.socket.send(b"x", ("127.0.0.1", server.address[1]))
    data, source, local = await server.take()
    assert (data, local) == (b"x", None)
    server.socket.send(b"y", source, local)
    assert (await client.take())[0] == b"y"
    server.socket.close()
    client.socket.close()
