"""Whoever is cancelled sends nothing any more, wherever it waits; a context closes in bounded time, whatever hangs.

Virtual time, with real sockets on loopback where the wait is in a transport: what would be sent after a minute is sent
here, or it never is.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Context, Message, ObservableResource, Resource, Site, TransportParameters
from securecoap.errors import ConfigurationError, RequestFailed, RequestTimeout, StateError
from securecoap.oscore.sender import Sender
from securecoap.wire.codes import Code
from tests.core.helpers import ACK, RST, Plain, Slow, kinds, site_of
from tests.oscore import vectors
from tests.oscore.fakes import Contexts
from tests.simulation.clock import VirtualLoop, settle, virtual
from tests.simulation.endpoints import Pair
from tests.transports.test_udp import usable_group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

LONG = 1000.0
PSK = {"dtls": {"psk": {"hex": "0102030405060708"}, "client-identity": {"ascii": "me"}}}


async def cancelled(call: Awaitable[Any]) -> None:
    """Begin, come to where it waits, cancel."""
    task = asyncio.ensure_future(call)
    await settle()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class SilentPeer:
    """A socket that takes datagrams and says nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.authority = f"127.0.0.1:{sock.getsockname()[1]}"

    def received(self) -> int:
        count = 0
        while True:
            try:
                self.sock.recv(2048)
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def silent_peer() -> Iterator[SilentPeer]:
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)  # literals only: nothing to wait for

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]  # a thread takes real time
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        yield SilentPeer(sock)


# Where a request may wait.


@virtual
async def test_in_a_handshake() -> None:
    with silent_peer() as peer:
        uri = f"coaps://{peer.authority}/x"
        async with Context.client({f"coaps://{peer.authority}/*": PSK}) as client:
            await cancelled(client.get(uri))
            assert peer.received() == 1  # the ClientHello
            await asyncio.sleep(LONG)
            assert peer.received() == 0
            with pytest.raises(RequestTimeout):
                await client.get(uri, timeout=0.5)
            assert peer.received() == 1
            await asyncio.sleep(LONG)
            assert peer.received() == 0


@virtual
async def test_one_of_two_in_a_handshake() -> None:
    """Who goes on waiting does not suffer from who gave up."""
    with silent_peer() as peer:
        uri = f"coaps://{peer.authority}/x"
        async with Context.client({f"coaps://{peer.authority}/*": PSK}) as client:
            other = asyncio.ensure_future(client.get(uri))
            await cancelled(client.get(uri))
            await asyncio.sleep(1.5)
            assert peer.received() >= 2
            await cancelled(other)
            await asyncio.sleep(LONG)
            assert peer.received() == 0


@virtual
async def test_in_name_resolution() -> None:
    with silent_peer() as peer:
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            return await asyncio.shield(found)

        asyncio.get_running_loop().getaddrinfo = getaddrinfo  # type: ignore[method-assign]  # as above
        async with Context.client() as client:
            await cancelled(client.get(f"coap://{peer.authority}/x"))
            with pytest.raises(RequestTimeout, match=r"0\.5 s"):
                await client.ping(f"coap://{peer.authority}", timeout=0.5)
            with pytest.raises(RequestTimeout, match="no address"):
                await client.get(f"coap://{peer.authority}/x")  # the default limit
            found.set_result(socket.getaddrinfo("127.0.0.1", peer.sock.getsockname()[1], type=socket.SOCK_DGRAM))
            await asyncio.sleep(LONG)
            assert peer.received() == 0


class Reserving:
    """Sequence numbers that are there when the disk says so."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.next = 0

    def next_number(self) -> int | None:
        if not self.ready.is_set():
            return None
        self.next += 1
        return self.next

    async def reserve(self) -> None:
        await self.ready.wait()


def protected(numbers: Any) -> tuple[dict[str, Any], Contexts]:
    context = vectors.context("C.1.1")
    context.sender = Sender(numbers, asyncio.get_running_loop())
    contexts = Contexts(context)
    contexts.client = context
    return {"client_options": {"contexts": contexts}}, contexts


@virtual
async def test_for_oscore_sequence_numbers() -> None:
    numbers = Reserving()
    options, _ = protected(numbers)
    async with Pair(site_of(x=Plain()), **options) as pair:
        for confirmable in (True, False):
            await cancelled(pair.client.get("x", confirmable=confirmable))
        numbers.ready.set()
        await asyncio.sleep(LONG)
        assert pair.requests == []


@virtual
async def test_for_an_oscore_context() -> None:
    """Another process owns it, say: whoever gave up meanwhile sends nothing when it is free."""
    options, contexts = protected(Reserving())
    free = asyncio.Event()
    found = contexts.client

    async def for_request(_: Message) -> Any:
        await free.wait()
        return found

    contexts.for_request = for_request  # type: ignore[method-assign]  # waits
    contexts.known = lambda _: False  # type: ignore[method-assign]
    async with Pair(site_of(x=Plain()), **options) as pair:
        await cancelled(pair.client.get("x"))
        free.set()
        await asyncio.sleep(LONG)
        assert pair.requests == []


@virtual
async def test_in_the_queue_of_nstart() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.drop = lambda _: True
        first = pair.client.ask(Code.GET, "x")
        await settle()
        for confirmable in (True, False):
            await cancelled(pair.client.get("x", confirmable=confirmable))
        assert len(pair.requests) == 1
        first.cancel()
        await asyncio.sleep(LONG)
        assert len(pair.requests) == 1


@virtual
async def test_between_retransmissions() -> None:
    async with Pair(site_of(x=Plain())) as pair:
        pair.network.drop = lambda _: True
        request = pair.client.ask(Code.GET, "x")
        await asyncio.sleep(10)
        sent = len(pair.requests)
        assert sent == 3
        request.cancel()
        await asyncio.sleep(LONG)
        assert len(pair.requests) == sent


@virtual
async def test_for_a_separate_response() -> None:
    """Nothing but the Reset that says, of the response that comes, that nobody waits for it."""
    async with Pair(site_of(x=Slow(30.0))) as pair:
        request = pair.client.ask(Code.GET, "x")
        await asyncio.sleep(10)
        assert kinds(pair.answers) == [(ACK, 0)]
        request.cancel()
        await asyncio.sleep(LONG)
        assert kinds(pair.requests[1:]) == [(RST, 0)]


@pytest.mark.parametrize("blocks", [1, 2, 5])
@virtual
async def test_amid_a_body(blocks: int) -> None:
    """Up or down: the block that is on its way is the last."""

    class Large(Resource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=bytes(20_000))

        def render_put(self, request: Message) -> Message:
            return Message()

    async with Pair(site_of(x=Large()), delay=(1.0, 1.0)) as pair:
        for code, payload in ((Code.GET, b""), (Code.PUT, bytes(20_000))):
            before = len(pair.requests)
            request = pair.client.ask(code, "x", payload)
            await asyncio.sleep(2.0 * blocks - 1.5)
            assert len(pair.requests) - before == blocks
            request.cancel()
            await asyncio.sleep(LONG)
            assert len(pair.requests) - before == blocks
            assert request.is_done


@virtual
async def test_amid_an_observation() -> None:
    """A Deregistration, once it was registered, and nothing more; before that none, but a Reset for what comes."""

    class Door(ObservableResource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=b"open")

    door = Door()
    async with Pair(site_of(x=door), delay=(0.1, 0.1)) as pair:
        early = pair.client.ask(Code.GET, "x", observe=0)
        await settle()
        early.cancel()
        await asyncio.sleep(LONG)
        observes = [sent.message.options.observe for sent in pair.requests if sent.code]
        assert observes == [0]
        request = pair.client.ask(Code.GET, "x", observe=0)
        await request.response
        request.cancel()
        await asyncio.sleep(1)
        sent = len(pair.requests)
        assert [one.message.options.observe for one in pair.requests if one.code] == [0, 0, 1]
        assert door.observation_count == 1  # the early one's: its request had arrived
        door.changed()
        await asyncio.sleep(LONG)
        assert kinds(pair.requests[sent:]) == [(RST, 0)]
        assert door.observation_count == 0


@virtual
async def test_every_call_has_a_time_limit_of_its_own() -> None:
    """Nobody named one, and the peer is silent: what RFC 7252 says, or ten seconds."""
    with silent_peer() as peer:
        uri, secure = f"coap://{peer.authority}/x", f"coaps://{peer.authority}/x"
        parameters = TransportParameters(nstart=100)
        async with Context.client({f"coaps://{peer.authority}/*": PSK, uri: {"unprotected": True}},
                                  parameters=parameters) as client:  # fmt: skip
            loop = asyncio.get_running_loop()
            for call, limit in (
                (client.get(uri), 93),
                (client.put(uri, b"x", confirmable=False), 10),
                (client.put(uri, bytes(5000)), 93),
                (anext(client.observe(uri)), 93),
                (client.ping(f"coap://{peer.authority}"), 93),
                (client.get(secure), 10),
            ):
                before = loop.time()
                with pytest.raises(RequestFailed):
                    await call
                assert loop.time() - before <= limit + 1
            for limited in (
                client.get(uri, timeout=3),
                client.ping(uri, timeout=3),
                anext(client.observe(uri, timeout=3)),
            ):
                before = loop.time()
                with pytest.raises(RequestTimeout):
                    await limited
                assert loop.time() - before == pytest.approx(3, abs=0.01)


# Closing.


class Stubborn(Resource):
    """Does not care for being cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ends = asyncio.Event()

    async def render_get(self, request: Message) -> Message:
        self.started.set()
        while not self.ends.is_set():
            try:
                await self.ends.wait()
            except asyncio.CancelledError:
                continue
        return Message(payload=b"too late")


def nothing_is_left(loop: asyncio.AbstractEventLoop) -> None:
    assert isinstance(loop, VirtualLoop)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert loop.timers() == []


@virtual
async def test_closing_with_a_handler_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    hung = Stubborn()
    site = Site()
    site.add("/x", hung)
    with silent_peer():
        server = Context.server(site, bind=["coap://127.0.0.1:0"], close_timeout=3)
        async with Context.client() as client:
            await server.start()
            waiting = asyncio.ensure_future(client.get(server.endpoints[0] + "/x"))
            await hung.started.wait()
            before = loop.time()
            await server.shutdown()
            assert loop.time() - before == pytest.approx(3)
            assert "Stubborn.render_get" in caplog.text
            hung.ends.set()  # its answer finds no socket, and that is no fault
            await settle()
            await cancelled(waiting)
    nothing_is_left(loop)


@virtual
async def test_closing_with_observations_and_requests_outstanding() -> None:
    loop = asyncio.get_running_loop()

    class Door(ObservableResource):
        def render_get(self, request: Message) -> Message:
            return Message(payload=b"open")

        async def render_put(self, request: Message) -> Message:
            await asyncio.Event().wait()
            raise AssertionError

    door = Door()
    site = Site()
    site.add("/x", door)
    with silent_peer() as peer:
        server = Context.server(site, bind=["coap://127.0.0.1:0"])
        client = Context.client(cache=True)
        await server.start()
        await client.start()
        uri = server.endpoints[0] + "/x"
        observing = [client.observe(uri) for _ in range(3)]
        for one in observing:
            assert (await anext(one)).payload == b"open"
        waiting = [asyncio.ensure_future(client.put(uri, b"")) for _ in range(3)]
        waiting += [asyncio.ensure_future(client.get(f"coap://{peer.authority}/x")) for _ in range(3)]
        await client.post(f"coap://{peer.authority}/x", no_response=26, confirmable=False)
        await settle()
        before = loop.time()
        await client.shutdown()
        await server.shutdown()
        assert loop.time() - before < 0.1
        for future in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(future, asyncio.CancelledError)
        for one in observing:
            with pytest.raises(StopAsyncIteration):
                await anext(one)
        assert door.observation_count == 0
        sent = peer.received()
        await asyncio.sleep(LONG)
        assert peer.received() == 0 < sent
    nothing_is_left(loop)


@virtual
async def test_closing_amid_a_handshake() -> None:
    loop = asyncio.get_running_loop()
    with silent_peer() as peer:
        client = Context.client({f"coaps://{peer.authority}/*": PSK})
        await client.start()
        waiting = asyncio.ensure_future(client.get(f"coaps://{peer.authority}/x"))
        await settle()
        before = loop.time()
        await client.shutdown()
        assert loop.time() - before < 0.1
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert peer.received() == 1
        await asyncio.sleep(LONG)
        assert peer.received() == 0
    nothing_is_left(loop)


@virtual
async def test_closing_amid_a_group_request() -> None:
    loop = asyncio.get_running_loop()
    group = usable_group(4)
    with silent_peer():
        client = Context.client()
        await client.start()
        members = client.ask_group(f"coap://{group}:9/x")
        waiting = asyncio.ensure_future(anext(members))
        await settle()
        assert not waiting.done()
        before = loop.time()
        await client.shutdown()
        assert loop.time() - before < 0.1
        with pytest.raises(StopAsyncIteration):
            await waiting
        with pytest.raises(ConfigurationError):
            await anext(client.ask_group(f"coap://{group}:9/x"))
    nothing_is_left(loop)


@virtual
async def test_closing_with_a_disk_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was not saved is void: that fails closed."""

    async def close(_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("securecoap.keyring.Keyring.close", close)
    with silent_peer():
        client = Context.client()
        await client.start()
        before = asyncio.get_running_loop().time()
        await client.shutdown()
        assert asyncio.get_running_loop().time() - before == pytest.approx(30)
        assert "begin with Echo" in caplog.text


@virtual
async def test_closing_twice_and_at_the_same_time() -> None:
    with silent_peer():
        context = Context.client()
        await context.shutdown()  # it was never started
        context = Context.client()
        await context.start()
        await asyncio.gather(context.shutdown(), context.shutdown())
        await context.shutdown()


@virtual
async def test_closing_with_a_source_that_hangs() -> None:
    """What reads a body is somebody else's code."""
    loop = asyncio.get_running_loop()

    class Source:
        size = None
        ends = asyncio.Event()

        async def read(self, size: int) -> tuple[bytes, bool]:
            while not self.ends.is_set():
                try:
                    await self.ends.wait()
                except asyncio.CancelledError:
                    continue
            raise StateError("it was to end")

        async def rewind(self) -> bool:
            return True

    with silent_peer() as peer:
        client = Context.client(close_timeout=2)
        await client.start()
        source = Source()
        request = client.request(Message(Code.PUT, uri=f"coap://{peer.authority}/x"), source=source)
        await settle()
        before = loop.time()
        await client.shutdown()
        assert loop.time() - before == pytest.approx(2)
        source.ends.set()
        await settle()
        assert request.is_done
        assert peer.received() == 0
