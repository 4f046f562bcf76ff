"""The wire between the parent and one worker: values, one after the other, over a pair of sockets that nobody else has.

Credentials travel here and nowhere else: not on a command line, in the environment or in a file. `Secret` refuses to be
pickled, so that no key leaves a process by accident; this is the one place that has a way for it.
"""

from __future__ import annotations

import asyncio
import copyreg
import io
import pickle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from securecoap.credentials import CredentialsMap
from securecoap.credentials.secret import Secret

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

__all__ = ["Channel", "dump", "load", "pack", "receive_first"]

_HEAD: Final = 4


class _Packer(pickle.Pickler):
    """What a worker is told has secrets in it, and views of dictionaries."""

    dispatch_table: ClassVar[Mapping[type, Callable[[Any], Any]]] = {  # type: ignore[misc]  # as pickle's page has it
        **copyreg.dispatch_table,
        Secret: lambda secret: (Secret, (secret.reveal(),)),
        MappingProxyType: lambda view: (MappingProxyType, (dict(view),)),
        CredentialsMap: lambda loaded: (CredentialsMap, (dict(loaded.entries), loaded.warnings)),
    }


def dump(value: object) -> bytes:
    """The bytes of a value; with 100,000 credentials it takes seconds, so what goes to several is made once."""
    content = io.BytesIO()
    _Packer(content, pickle.HIGHEST_PROTOCOL).dump(value)
    return content.getvalue()


def pack(message: object) -> bytes:
    """A value as it goes over the channel: its length, and what `dump` gives."""
    content = dump(message)
    return len(content).to_bytes(_HEAD, "big") + content


def load(content: bytes) -> Any:
    """The value of which `dump` made this."""
    return pickle.loads(content)  # noqa: S301  # from our own parent or child, over a socket that only the two have


def receive_first(sock: socket.socket) -> Any:
    """The first value that comes, for a process that has no event loop yet; ``None`` if the other end has gone."""
    with sock.makefile("rb", buffering=0) as file:
        content = _read_exactly(file, int.from_bytes(_read_exactly(file, _HEAD), "big"))
    return load(content) if content else None


def _read_exactly(file: io.RawIOBase, length: int) -> bytes:
    parts = []
    while length and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return b"" if length else b"".join(parts)


class Channel:
    """One end.

    Args:
        reader, writer: of `open`.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Over one end of a pair of stream sockets, which it owns from now on."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, message: object) -> None:
        """Send a value, soon; to somebody who has gone it is lost."""
        self.send_packed(pack(message))

    def send_packed(self, packed: bytes) -> None:
        """Send what `pack` gave."""
        if not self._writer.is_closing():
            self._writer.write(packed)

    async def receive(self) -> Any:
        """The next value; ``None`` when the other end has gone."""
        try:
            head = await self._reader.readexactly(_HEAD)
            content = await self._reader.readexactly(int.from_bytes(head, "big"))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return load(content)

    async def flush(self) -> None:
        """Return when what was sent is on its way; somebody who has gone is no error."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        """Close it."""
        self._writer.close()
