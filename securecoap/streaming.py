"""Bodies that are never held as a whole: files and iterators as the source of an upload or the sink of a download.

The other ends of `BodySource` and `BodySink`. Files are read and written in pieces of 64 KiB by a thread, so that a
slow disk does not stop the event loop. Nothing here knows blocks.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, cast

from securecoap.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from securecoap.core.bodies import BodySink, BodySource

__all__ = ["Handover", "Sink", "Source", "open_sink", "open_source"]

_PIECE: Final = 64 * 1024

Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]"
    " | BodySource"
)
"""What an upload reads: a file by its path, bytes, a binary file, an iterable or async iterable of bytes."""
Sink: TypeAlias = "str | os.PathLike[str] | BinaryIO | BodySink"
"""What a download writes: a file by its path, a binary file, or whatever has the methods of `BodySink`."""


def _has_coroutines(thing: object, *names: str) -> bool:
    """Whether it is a `BodySource` or `BodySink` (a file has methods of the same names, which are plain)."""
    return all(inspect.iscoroutinefunction(getattr(thing, name, None)) for name in names)


def _position(file: BinaryIO) -> int | None:
    """Where a file stands, ``None`` if one cannot go back there."""
    with suppress(OSError, AttributeError, ValueError):
        if file.seekable():
            return file.tell()
    return None


# Sources.


class _OpenSource:
    """A `BodySource` over pieces of any length; an async context manager that lets go of what it opened.

    It can begin again as long as only one part was read, whatever the pieces come from.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self._waiting = bytearray()
        self._first: bytes | None = None
        self._reads = 0
        self._has_ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def _next_piece(self) -> bytes | None:
        """The next bytes, ``None`` at the end."""
        raise NotImplementedError

    async def _start_over(self) -> bool:
        """Go back to the first piece, where that is possible."""
        return False

    async def read(self, size: int) -> tuple[bytes, bool]:
        """See `BodySource`."""
        waiting = self._waiting
        while len(waiting) <= size and not self._has_ended:
            piece = await self._next_piece()
            if piece is None:
                self._has_ended = True
            else:
                waiting += piece
        part = bytes(waiting[:size])
        del waiting[:size]
        self._first = None if self._reads else part
        self._reads += 1
        return part, bool(waiting)

    async def rewind(self) -> bool:
        """See `BodySource`."""
        if not self._reads:
            return True
        if self._first is not None:
            self._waiting[:0] = self._first
        elif await self._start_over():
            self._waiting.clear()
            self._has_ended = False
        else:
            return False
        self._first = None
        self._reads = 0
        return True


class _BytesSource(_OpenSource):
    """Bytes that are there already."""

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        super().__init__(len(body))
        self._body: bytes | None = bytes(body)
        self._again = self._body

    async def _next_piece(self) -> bytes | None:
        body, self._body = self._body, None
        return body

    async def _start_over(self) -> bool:
        self._body = self._again
        return True


class _FileSource(_OpenSource):
    """A binary file, from where it stands."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._take(file)

    def _take(self, file: BinaryIO) -> None:
        self._file = file
        self._start = _position(file)
        if self._start is not None:
            self.size = max(0, file.seek(0, os.SEEK_END) - self._start)
            file.seek(self._start)

    async def _next_piece(self) -> bytes | None:
        return await asyncio.to_thread(self._file.read, _PIECE) or None

    async def _start_over(self) -> bool:
        if self._start is None:
            return False
        self._file.seek(self._start)
        return True


class _PathSource(_FileSource):
    """A file by its path; closed at the end."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        _OpenSource.__init__(self)
        self._path = Path(path)

    async def __aenter__(self) -> Self:
        self._take(await asyncio.to_thread(self._path.open, "rb"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._file.close()


class _IteratorSource(_OpenSource):
    """Whatever yields bytes; a generator is closed at the end."""

    def __init__(self, pieces: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        super().__init__()
        self._pieces: Iterator[bytes] | AsyncIterator[bytes]
        self._pieces = pieces.__aiter__() if isinstance(pieces, AsyncIterable) else iter(pieces)

    async def _next_piece(self) -> bytes | None:
        if isinstance(self._pieces, AsyncIterator):
            return await anext(self._pieces, None)
        return next(self._pieces, None)

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


@asynccontextmanager
async def _theirs(source: BodySource) -> AsyncIterator[BodySource]:
    yield source  # the application closes it


def open_source(source: Source) -> AbstractAsyncContextManager[BodySource]:
    """What an upload reads, as an async context manager that lets go of what it opened.

    Raises:
        OSError: the file cannot be opened.
        ConfigurationError: nothing can be read from such an object.
    """
    if isinstance(source, (str, os.PathLike)):
        return _PathSource(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _BytesSource(source)
    if _has_coroutines(source, "read", "rewind"):
        return _theirs(cast("BodySource", source))
    if hasattr(source, "read"):
        return _FileSource(cast("BinaryIO", source))
    if isinstance(source, (AsyncIterable, Iterable)):
        return _IteratorSource(cast("Iterable[bytes] | AsyncIterable[bytes]", source))
    raise ConfigurationError(f"a body cannot be read from {type(source).__name__}")


# Sinks.


class _OpenSink:
    """A `BodySink`; an async context manager. What was written counts only after `finish`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def write(self, part: bytes) -> None:
        """See `BodySink`."""
        raise NotImplementedError

    async def restart(self) -> bool:
        """See `BodySink`."""
        raise NotImplementedError

    async def finish(self) -> None:
        """The body is whole."""


class _FileSink(_OpenSink):
    """A binary file, from where it stands."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self._waiting = bytearray()
        self._was_written = False
        self._start = None if file is None else _position(file)

    async def write(self, part: bytes) -> None:
        self._waiting += part
        if len(self._waiting) >= _PIECE:
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        piece = bytes(self._waiting)
        self._waiting.clear()
        self._was_written = True
        assert self._file is not None
        await asyncio.to_thread(self._file.write, piece)

    async def restart(self) -> bool:
        self._waiting.clear()
        if self._was_written:
            if self._start is None or self._file is None:
                return False
            self._file.seek(self._start)
            self._file.truncate()
        return True

    async def finish(self) -> None:
        if self._waiting:
            await self._write_waiting()


class _PathSink(_FileSink):
    """A file by its path: written beside it, and put in its place when it is whole. There is never half a file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(None)
        self._path = Path(path)
        self._partial: Path | None = None

    async def write(self, part: bytes) -> None:
        if self._file is None:
            await asyncio.to_thread(self._open)
        await super().write(part)

    def _open(self) -> None:
        path = self._path
        if path.exists() and not path.is_file():  # a device or a pipe: what was written cannot be taken back
            self._file = path.open("wb", buffering=0)
            return
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._file = self._partial.open("xb")
        if path.exists():
            self._partial.chmod(path.stat().st_mode & 0o7777)  # before there is anything in it that others may not read
        self._start = 0

    async def finish(self) -> None:
        await super().finish()
        file, self._file = self._file, None
        if file is None:
            return
        partial, self._partial = self._partial, None
        await asyncio.to_thread(_put_in_place, file, partial, self._path)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)


def _put_in_place(file: BinaryIO, partial: Path | None, path: Path) -> None:
    with file as opened:
        if partial is not None:
            opened.flush()
            os.fsync(opened.fileno())
    if partial is not None:
        partial.replace(path)


class _ForeignSink(_OpenSink):
    """A `BodySink` of the application, which knows itself when it has ended."""

    def __init__(self, sink: BodySink) -> None:
        self._sink = sink

    async def write(self, part: bytes) -> None:
        await self._sink.write(part)

    async def restart(self) -> bool:
        return await self._sink.restart()


def open_sink(sink: Sink) -> _OpenSink:
    """What a download writes, as an async context manager that yields a `BodySink`; call its ``finish`` at the end.

    Raises:
        ConfigurationError: nothing can be written to such an object.
    """
    if isinstance(sink, (str, os.PathLike)):
        return _PathSink(sink)
    if _has_coroutines(sink, "write", "restart"):
        return _ForeignSink(cast("BodySink", sink))
    if hasattr(sink, "write"):
        return _FileSink(cast("BinaryIO", sink))
    raise ConfigurationError(f"a body cannot be written to {type(sink).__name__}")


class Handover:
    """A `BodySink` from which an iterator takes: a part at a time, and the next is written when it asks for it."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()  # one at most
        self._was_written = False
        self._has_ended = False
        self._something = asyncio.Event()
        self._wanted = asyncio.Event()

    async def write(self, part: bytes) -> None:
        """See `BodySink`; returns when the next part is wanted."""
        if part:
            self._was_written = True
            self._wanted.clear()
            self._parts.append(part)
            self._something.set()
            await self._wanted.wait()

    async def restart(self) -> bool:
        """See `BodySink`: what was handed over cannot be taken back."""
        return not self._was_written

    def end(self) -> None:
        """No more will come."""
        self._has_ended = True
        self._something.set()

    async def take(self) -> bytes | None:
        """The next part, ``None`` at the end."""
        self._wanted.set()
        while not self._parts:
            if self._has_ended:
                return None
            self._something.clear()
            await self._something.wait()
        return self._parts.popleft()
