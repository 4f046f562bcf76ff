"""Large bodies that are not held: files and iterators, over real sockets; and the sources and sinks by themselves."""

from __future__ import annotations

import asyncio
import io
import os
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Code, Context, Message, Resource, Site
from securecoap.errors import ConfigurationError, NotFound, RequestEntityTooLarge, TransferFailed
from securecoap.streaming import Handover, open_sink, open_source
from securecoap.wire.block import Block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path
    from typing import Self

BODY = bytes(number % 251 for number in range(200_000))


def running(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    def wrapper(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return wrapper


class Store(Resource):
    """Keeps a body; changes it when a test says so."""

    def __init__(self) -> None:
        self.body = BODY
        self.requests: list[Message] = []

    def render_get(self, request: Message) -> Message:
        if not self.body:
            raise NotFound("nothing here")
        return Message(payload=self.body, content_format=42)

    def render_put(self, request: Message) -> Message:
        self.requests.append(request)
        self.body = request.payload
        return Message()

    render_post = render_put


class Choosy(Resource):
    """Wants small blocks, and says so when it has seen others (RFC 7959 section 2.9.3)."""

    assembles_bodies = False

    def __init__(self, after: int) -> None:
        self.after = after
        self.body = b""

    def render_put(self, request: Message) -> Message:
        block = request.options.block1
        assert block is not None
        if block.size_exponent > 4 and block.number >= self.after:
            self.body = b""
            return Message(Code.REQUEST_ENTITY_TOO_LARGE, block1=Block(block.number, True, 4))
        self.body = self.body[: block.start] + request.payload
        return Message(Code.CONTINUE if block.more else Code.CHANGED, block1=block)


class Endpoints:
    """A server and a client on loopback."""

    def __init__(self, tmp_path: Path, **resources: Resource) -> None:
        self.store = Store()
        site = Site()
        for name, resource in {"store": self.store, **resources}.items():
            site.add(f"/{name}", resource)
        self.server = Context.server(site, ["coap://127.0.0.1:0"], state=tmp_path / "server")
        self.client = Context.client(state=tmp_path / "client")
        self.uri = ""

    async def __aenter__(self) -> Self:
        await self.server.start()
        await self.client.start()
        self.uri = f"{self.server.endpoints[0]}/store"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.shutdown()
        await self.server.shutdown()


@running
async def test_a_file_up_and_down(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(BODY[::-1])
    steps: list[tuple[int, int | None]] = []
    async with Endpoints(tmp_path) as ends:
        response = await ends.client.upload(
            ends.uri, source, progress=lambda *step: steps.append(step), content_format=42
        )
        assert response.code == Code.CHANGED
        assert ends.store.requests[0].payload == BODY[::-1]
        assert ends.store.requests[0].options.content_format == 42
        assert steps == [(min(1024 * (number + 1), 200_000), 200_000) for number in range(196)]
        steps.clear()
        response = await ends.client.download(ends.uri, target, progress=lambda *step: steps.append(step))
        assert (response.code, response.payload, response.options.content_format) == (Code.CONTENT, b"", 42)
        assert target.read_bytes() == BODY[::-1]
        assert steps == [(min(1024 * (number + 1), 200_000), 200_000) for number in range(196)]
        assert names(tmp_path) == ["source", "target"]
        assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 3072])
def test_sizes(tmp_path: Path, size: int) -> None:
    async def test() -> None:
        async with Endpoints(tmp_path) as ends:
            await ends.client.upload(ends.uri, io.BytesIO(BODY[:size]))
            assert ends.store.body == BODY[:size]
            ends.store.body = BODY[: size or 1]
            file = io.BytesIO()
            await ends.client.download(ends.uri, file)
            assert file.getvalue() == BODY[: size or 1]

    asyncio.run(test())


@running
async def test_iterators(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 777):
            await asyncio.sleep(0)
            yield BODY[start : start + 777]
            yield b""

    def more_pieces() -> Iterator[bytes]:
        yield from (BODY[start : start + 5000] for start in range(0, 10_000, 5000))

    steps: list[tuple[int, int | None]] = []
    async with Endpoints(tmp_path) as ends:
        await ends.client.upload(ends.uri, pieces(), method=Code.POST, progress=lambda *step: steps.append(step))
        assert ends.store.body == BODY
        assert steps[0] == (1024, None)
        assert steps[-1] == (200_000, 200_000)
        assert b"".join([part async for part in ends.client.stream(ends.uri)]) == BODY
        await ends.client.upload(ends.uri, more_pieces())
        assert ends.store.body == BODY[:10_000]
        await ends.client.upload(ends.uri, memoryview(b"short"))
        assert ends.store.body == b"short"
        assert [part async for part in ends.client.stream(ends.uri)] == [b"short"]


@running
async def test_an_iterator_gets_no_further_than_it_asks(tmp_path: Path) -> None:
    received: list[int] = []
    async with Endpoints(tmp_path) as ends:
        parts = ends.client.stream(ends.uri, progress=lambda done, _: received.append(done))
        for number in range(3):
            assert await anext(parts) == BODY[1024 * number : 1024 * (number + 1)]
            await asyncio.sleep(0.02)
            assert received == [1024 * (done + 1) for done in range(number)]
        await parts.aclose()
        await asyncio.sleep(0)
        assert all(request.is_done for request in ends.client._requests)


@running
async def test_errors_write_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"before")
    async with Endpoints(tmp_path) as ends:
        etag = (await ends.client.get(ends.uri)).options.etag
        assert (await ends.client.download(ends.uri, target, etag=etag)).code == Code.CONTENT
        assert target.read_bytes() == BODY
        target.write_bytes(b"before")
        ends.store.body = b""
        response = await ends.client.download(ends.uri, target)
        assert (response.code, response.payload) == (Code.NOT_FOUND, b"nothing here")
        with pytest.raises(TransferFailed, match=r"4\.04") as caught:
            async for _ in ends.client.stream(ends.uri):
                pass
        assert caught.value.response.payload == b"nothing here"
        ends.store.body = BODY

        def stop(done: int, _total: int | None) -> None:
            if done > 100_000:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            await ends.client.download(ends.uri, target, progress=stop)
        with pytest.raises(FileNotFoundError):
            await ends.client.download(ends.uri, tmp_path / "nowhere" / "target")
        with pytest.raises(FileNotFoundError):
            await ends.client.upload(ends.uri, tmp_path / "nowhere")
        for wrong in (5, None):
            with pytest.raises(ConfigurationError):
                await ends.client.upload(ends.uri, wrong)  # type: ignore[arg-type]  # that is the test
            with pytest.raises(ConfigurationError):
                await ends.client.download(ends.uri, wrong)  # type: ignore[arg-type]  # that is the test
        with pytest.raises(ConfigurationError, match="GET has no payload"):
            await ends.client.upload(ends.uri, b"", method=Code.GET)
    assert target.read_bytes() == b"before"
    assert names(tmp_path) == ["target"]


@running
async def test_cancelling_leaves_no_file(tmp_path: Path) -> None:
    async with Endpoints(tmp_path) as ends:
        started = asyncio.Event()
        work = asyncio.create_task(
            ends.client.download(ends.uri, tmp_path / "target", progress=lambda *_: started.set())
        )
        await started.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert names(tmp_path) == []


class Changing(Resource):
    """Has another body for each block, as often as it is told."""

    assembles_bodies = False

    def __init__(self, changes: int) -> None:
        self.changes = changes

    def render_get(self, request: Message) -> Message:
        asked = request.options.block2
        number = 0 if asked is None else asked.number
        if number == 100 and self.changes:
            self.changes -= 1
        body = bytes([self.changes]) * 150_000
        end = 1024 * (number + 1)
        return Message(
            payload=body[1024 * number : end], block2=Block(number, end < len(body), 6), etag=bytes([self.changes])
        )


@running
async def test_a_file_is_written_anew_when_the_body_changes(tmp_path: Path) -> None:
    async with Endpoints(tmp_path, often=Changing(2), always=Changing(99), once=Changing(1)) as ends:
        often, always, once = (ends.uri.replace("store", name) for name in ("often", "always", "once"))
        await ends.client.download(often, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == bytes(150_000)
        with pytest.raises(TransferFailed, match="changed"):
            await ends.client.download(always, tmp_path / "other")
        assert not (tmp_path / "other").exists()
        file = io.BytesIO(b"kept ")
        file.seek(5)
        await ends.client.download(once, file)
        assert file.getvalue() == b"kept " + bytes(150_000)
        with pytest.raises(TransferFailed, match="handed on"):
            async for _ in ends.client.stream(always):
                pass
        read, write = os.pipe()
        os.close(read)
        os.close(write)


@running
async def test_a_body_again_in_smaller_blocks(tmp_path: Path) -> None:
    """R089: what can be read twice is; an iterator of which only the first block was taken, too."""
    early, late = Choosy(0), Choosy(3)
    async with Endpoints(tmp_path, early=early, late=late) as ends:
        for resource, name in ((early, "early"), (late, "late")):
            await ends.client.upload(ends.uri.replace("store", name), io.BytesIO(BODY[:10_000]))
            assert resource.body == BODY[:10_000]
        await ends.client.upload(ends.uri.replace("store", "early"), iter([BODY[:4000], BODY[4000:9000]]))
        assert early.body == BODY[:9000]
        with pytest.raises(TransferFailed, match="cannot be read twice"):
            await ends.client.upload(ends.uri.replace("store", "late"), iter([BODY[:10_000]]))


@running
async def test_more_than_a_server_takes(tmp_path: Path) -> None:
    """4.13 with Size1 is an answer like any other; a large one is given without sending it all."""

    class Small(Store):
        def render_put(self, request: Message) -> Message:
            raise RequestEntityTooLarge(size1=10)

    async with Endpoints(tmp_path, small=Small()) as ends:
        steps: list[int] = []
        response = await ends.client.upload(ends.uri, bytes(2_000_000), progress=lambda done, _: steps.append(done))
        assert (response.code, response.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 1 << 20)
        assert steps == []


@running
async def test_parts(tmp_path: Path) -> None:
    async with Endpoints(tmp_path) as ends:
        assert (await ends.client.get_range(ends.uri, 70_000, 70_010)).payload == BODY[70_000:70_010]
        assert (await ends.client.get_range(ends.uri, 199_000)).payload == BODY[199_000:]
        assert (await ends.client.get_range(ends.uri, 300_000)).code == Code.BAD_REQUEST
        for start, stop in ((-1, None), (5, 4)):
            with pytest.raises(ConfigurationError):
                await ends.client.get_range(ends.uri, start, stop)


# Sources and sinks by themselves.


def test_a_source_of_the_application() -> None:
    class Zeros:
        size = 5000

        async def read(self, size: int) -> tuple[bytes, bool]:
            return bytes(size), True

        async def rewind(self) -> bool:
            return True

    class Nothing:
        async def write(self, part: bytes) -> None: ...
        async def restart(self) -> bool:
            return True

    async def test() -> None:
        zeros = Zeros()
        async with open_source(zeros) as source:
            assert source is zeros
        async with open_sink(Nothing()) as sink:
            await sink.write(b"")
            assert await sink.restart()
            await sink.finish()

    asyncio.run(test())


def test_what_is_not_seekable_is_not_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    async def test() -> None:
        writer = asyncio.create_task(asyncio.to_thread((tmp_path / "fifo").write_bytes, BODY[:5000]))
        async with open_source(tmp_path / "fifo") as source:
            assert source.size is None
            assert await source.read(1024) == (BODY[:1024], True)
            assert await source.rewind()
            assert await source.read(16) == (BODY[:16], True)
            assert await source.read(16) == (BODY[16:32], True)
            assert not await source.rewind()
            assert await source.read(5000) == (BODY[32:5000], False)
        await writer
        reader = asyncio.create_task(asyncio.to_thread((tmp_path / "fifo").read_bytes))
        async with open_sink(tmp_path / "fifo") as sink:
            await sink.write(BODY[:100_000])
            await sink.write(b"end")
            assert not await sink.restart()
            await sink.write(b"end")
            await sink.finish()
        assert await reader == BODY[:100_000] + b"end"

    asyncio.run(test())


def test_a_handover_ends() -> None:
    async def test() -> None:
        handover = Handover()
        assert await handover.restart()
        writing = asyncio.create_task(handover.write(b"part"))
        assert await handover.take() == b"part"
        assert not writing.done()
        handover.end()
        assert await handover.take() is None
        await writing
        assert not await handover.restart()

    asyncio.run(test())
