"""Files of a directory as resources: GET with blocks and validation, PUT and DELETE where the policy names them.

RFC 7252 sections 5.6, 5.8, 5.10.6 and 5.10.8; RFC 7959 for blocks; RFC 6690 for what a directory answers. Disks are
waited for in threads (`securecoap.resources.directory` does what is done with them), never in the event loop. Who may
write is the server's word: it lets a PUT through only where a pattern of the policy has it among its ``methods``.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from securecoap.config import Limits
from securecoap.errors import (
    BadRequest,
    ErrorResponse,
    Forbidden,
    FormatError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    UnsupportedContentFormat,
)
from securecoap.resources.conditional import check_preconditions, etag_for, require_accept, validated
from securecoap.resources.directory import Directory, TooManyEntries, is_name
from securecoap.resources.file_types import FileTypes
from securecoap.resources.observable import ObservableResource
from securecoap.resources.read_ahead import PART, ReadAhead
from securecoap.wire.block import BERT_EXPONENT, Block
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import LINK_FORMAT
from securecoap.wire.link_format import Link, filter_links, write_links
from securecoap.wire.message import Message
from securecoap.wire.uri import compose_uri

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Mapping

    from securecoap.resources.directory import Entry, Part
    from securecoap.resources.resource import LinkAttributes

__all__ = ["Files"]

_logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_Path = tuple[str, ...]

_READERS: Final = 4
_LARGEST_EXPONENT: Final = 6
_NO_PARAMETERS: Final[Mapping[str, str]] = {}
_LOG_INTERVAL: Final = 60.0
"""Seconds between two records of a disk's trouble: clients may cause it as often as they like."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_READ_ONLY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Files:
    """The files of a directory and those below it, as resources; a `ResourceTree` for ``Site.add``.

    The path of a file is its name, that of a directory ends with a slash (``/firmware/``) and answers with its entries
    as links. Names that begin with a dot, symbolic links, and whatever is no regular file are not there, and neither is
    anything outside of the root. Content formats follow from the ends of names. PUT and DELETE of files are 4.05 unless
    the server has credentials, and the pattern that lets the request in has the method among its ``methods``.

    Args:
        root: the directory.
        limits: uses ``directory_entries``, ``free_disk_bytes``, ``file_ahead_bytes`` and (for bodies that wait to be
            written) ``assembly_bytes`` and ``assemblies``.
        content_formats: further ends of names, and those that mean something else: ``{".hex": "text"}``.

    Attributes:
        link_attributes: of the root, for ``/.well-known/core``.
        is_observable: whether it can be observed.
        announce: tells the other processes that serve the same files of a change; ``None`` where there are none.

    Raises:
        ConfigurationError: it is no directory, or may not be read.
        ValueError, TypeError: a content format that there is not.
    """

    link_attributes: LinkAttributes = {"ct": LINK_FORMAT}  # noqa: RUF012  # nobody changes it
    is_observable = True
    announce: Callable[[], None] | None = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        content_formats: Mapping[str, int | str] | None = None,
    ) -> None:
        limits = limits or Limits()
        self.types = FileTypes(content_formats)
        self.directory = Directory(root, most_entries=limits.directory_entries, least_free=limits.free_disk_bytes)
        self.ahead = ReadAhead(limits.file_ahead_bytes)
        self._most_waiting = limits.assembly_bytes
        self._most_writes = limits.assemblies
        self._waiting = self._writes = 0
        self._silent_until = 0.0
        self._observed: dict[tuple[_Path, bool], _Watched] = {}
        # A disk that hangs holds up these threads, and not those of the rest of the program. One writer: what is
        # checked is what is replaced.
        self._readers = ThreadPoolExecutor(_READERS, "securecoap-files")
        self._writer = ThreadPoolExecutor(1, "securecoap-files-writer")

    def find(self, path: tuple[str, ...]) -> tuple[ObservableResource, Mapping[str, str]] | None:
        """The resource of a path, whether there is such a file or not; ``None`` for what never is served."""
        is_directory = not path or not path[-1]
        names = path[:-1] if is_directory else path
        if not all(map(is_name, names)):
            return None
        return self._observed.get((names, is_directory)) or (_Folder if is_directory else _File)(
            self, names
        ), _NO_PARAMETERS

    def observe(self, resource: _Watched, count: int) -> None:
        """A resource has so many observers: as long as it has any, it is the one of its path."""
        if count:
            self._observed[resource.key] = resource
        else:
            self._observed.pop(resource.key, None)

    async def read(self, work: Callable[[], _Result]) -> _Result:
        """Do something in a thread.

        Raises:
            ErrorResponse: what became of it.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except OSError as error:
            raise self._refusal(error) from error

    async def write(self, names: _Path, size: int, work: Callable[[], bool]) -> bool:
        """Change a file in a thread, one after the other, and tell observers. It is done, whoever still waits for it.

        Raises:
            ErrorResponse: what became of it.
        """
        # What nobody waits for any more is counted, too: a client that uses its token again ends the request only.
        if self._waiting + size > self._most_waiting or self._writes >= self._most_writes:
            raise ServiceUnavailable("too much waits to be written", max_age=5)
        self._waiting += size
        self._writes += 1
        written = asyncio.get_running_loop().run_in_executor(self._writer, work)

        def done(future: asyncio.Future[bool]) -> None:
            self._waiting -= size
            self._writes -= 1
            if not future.cancelled() and future.exception() is None:
                self._changed(names)

        written.add_done_callback(done)
        try:
            return await asyncio.shield(written)
        except OSError as error:
            raise self._refusal(error, is_write=True) from error

    def _refusal(self, error: OSError, *, is_write: bool = False) -> ErrorResponse:
        """What a client is told of a disk's trouble. What it cannot mend is in the log, once in a while."""
        if isinstance(error, FileNotFoundError):
            return NotFound()
        if isinstance(error, IsADirectoryError):
            return MethodNotAllowed("a directory") if is_write else _with_slash()
        if isinstance(error, TooManyEntries):
            return Forbidden("the directory has too many entries")
        if isinstance(error, BlockingIOError):
            return ServiceUnavailable("the file is being written", max_age=1)
        if is_write and error.errno in _READ_ONLY:
            return Forbidden("not writable")
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            self._silent_until = now + _LOG_INTERVAL
            _logger.error("files: %s", error.strerror or error)
        return ServiceUnavailable("the disk is full" if error.errno in _FULL else "", max_age=60)

    def changed_elsewhere(self) -> None:
        """Another process has changed a file: tell all observers here, of whichever file."""
        for observed in list(self._observed.values()):
            observed.changed()

    def _changed(self, names: _Path) -> None:
        if self.announce is not None:
            self.announce()
        self.ahead.forget(names)
        for key in ((names, False), (names[:-1], True)):
            observed = self._observed.get(key)
            if observed is not None:
                observed.changed()


class _Watched(ObservableResource):
    """A path of the tree, for as long as a request or an observation needs it."""

    same_for_all = True  # what a file has does not depend on who asks

    def __init__(self, files: Files, names: _Path, *, is_directory: bool) -> None:
        self.files = files
        self.names = names
        self.key = (names, is_directory)

    def update_observation_count(self, count: int) -> None:
        self.files.observe(self, count)


class _Folder(_Watched):
    """A directory: its entries as links."""

    def __init__(self, files: Files, names: _Path) -> None:
        super().__init__(files, names, is_directory=True)

    async def render_get(self, request: Message) -> Message:
        """The links that pass the filters of the query, as ``/.well-known/core`` answers."""
        require_accept(request, LINK_FORMAT)
        path = request.options.uri_path
        if path and path[-1]:
            raise _with_slash()
        try:
            payload = await self.files.read(partial(self._listing, path[:-1], request.options.uri_query))
        except FormatError as error:
            raise BadRequest(str(error)) from None
        etag = etag_for(payload)
        check_preconditions(request, etag)
        return validated(request, Message(payload=payload, content_format=LINK_FORMAT, etag=etag))

    def _listing(self, path: _Path, query: tuple[str, ...]) -> bytes:
        """In the thread, too: the links of a large directory take longer than the event loop may be held up."""
        links = [self._link(path, entry) for entry in self.files.directory.list(self.names)]
        return write_links(filter_links(links, query)).encode()

    def _link(self, path: _Path, entry: Entry) -> Link:
        if entry.size is None:
            return Link.create(_target((*path, entry.name, "")), {"ct": LINK_FORMAT})
        return Link.create(_target((*path, entry.name)), {"ct": self.files.types.of(entry.name), "sz": entry.size})


class _File(_Watched):
    """A file. Its blocks are read one by one, so its size has no bound."""

    takes_named_methods_only = True

    def __init__(self, files: Files, names: _Path) -> None:
        super().__init__(files, names, is_directory=False)

    def render_get(self, request: Message) -> Message | Coroutine[Any, Any, Message]:
        """The file, or a block of it; at once where that block was read ahead."""
        block = _wanted(request)
        if block.number:
            part = self.files.ahead.find(self.names, block.start, asyncio.get_running_loop().time())
            if part is not None:
                return self._response(request, block, part)
        return self._read(request, block)

    async def _read(self, request: Message, block: Block) -> Message:
        start = block.start - block.start % PART
        part = await self.files.read(partial(self.files.directory.read, self.names, start, PART))
        if block.start + block.size < part.size:
            self.files.ahead.keep(self.names, part, asyncio.get_running_loop().time())
        return self._response(request, block, part)

    def _response(self, request: Message, block: Block, part: Part) -> Message:
        content_format = self.files.types.of(self.names[-1])
        require_accept(request, content_format)
        check_preconditions(request, part.etag)
        start, end = block.start, block.start + block.size
        if start >= part.size and block.number:
            raise BadRequest("the block is beyond the end of the body")
        payload = part.payload[start - part.start : end - part.start]
        response = Message(Code.CONTENT, payload, content_format=content_format, etag=part.etag)
        if end < part.size or request.options.block2 is not None:
            response.options.block2 = block._replace(more=end < part.size)
            if not block.number:
                response.options.size2 = part.size
        return response if block.number else validated(request, response)

    async def render_put(self, request: Message) -> Message:
        """Create or replace the file (RFC 7252 section 5.8.3)."""
        given = request.options.content_format
        if given is not None and given != self.files.types.of(self.names[-1]):
            raise UnsupportedContentFormat("the name says another content format")
        work = partial(self.files.directory.write, self.names, request.payload, partial(check_preconditions, request))
        is_new = await self.files.write(self.names, len(request.payload), work)
        return Message(Code.CREATED if is_new else Code.CHANGED)

    async def render_delete(self, request: Message) -> Message:
        """Remove the file; also where there was none (section 5.8.4)."""
        work = partial(self.files.directory.delete, self.names, partial(check_preconditions, request))
        await self.files.write(self.names, 0, work)
        return Message(Code.DELETED)


def _wanted(request: Message) -> Block:
    """The block that a request asks for, in a size that one message can carry."""
    block = request.options.block2
    if block is None:
        return Block(0, more=False, size_exponent=_LARGEST_EXPONENT)
    exponent = _LARGEST_EXPONENT if block.size_exponent == BERT_EXPONENT else block.size_exponent
    return Block(block.number, more=False, size_exponent=exponent)


def _target(path: _Path) -> str:
    return compose_uri("coap", "x", path=list(path)).removeprefix("coap://x")


def _with_slash() -> ErrorResponse:
    return NotFound("the path of a directory ends with a slash")
