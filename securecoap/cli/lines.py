"""Lines of a program that is no terminal with an editor: from a pipe, a file, or a terminal as it is.

The event loop goes on while a line is awaited. Knows no command.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

__all__ = ["PlainLines"]

_PIECE: Final = 4096
_LONGEST: Final = 1 << 20


class PlainLines:
    """Lines of a file descriptor.

    Args:
        descriptor: from which is read.
        prompt_to: a descriptor to which a prompt is written before each line, ``None`` for no prompt.
    """

    def __init__(self, descriptor: int, *, prompt_to: int | None = None) -> None:
        self._descriptor = descriptor
        self._prompt_to = prompt_to
        self._waiting = bytearray()
        self._has_ended = False

    async def read(self, prompt: str) -> str | None:
        """The next line without its end, ``None`` after the last one."""
        if self._prompt_to is not None:
            os.write(self._prompt_to, prompt.encode())
        while (end := self._waiting.find(b"\n")) < 0 and not self._has_ended and len(self._waiting) < _LONGEST:
            await self._readable()
            piece = os.read(self._descriptor, _PIECE)
            self._waiting += piece
            self._has_ended = not piece
        if end < 0:
            end = len(self._waiting)
            if not end:
                if self._prompt_to is not None:
                    os.write(self._prompt_to, b"\n")  # what is written next begins a line
                return None
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 1]
        return line.removesuffix(b"\r").decode(errors="surrogateescape")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except PermissionError:
            return  # a file, which never keeps anybody waiting
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
