"""Lines that a person edits on a terminal: completion, and a history that outlives the shell (prompt_toolkit).

Imported only where there is such a terminal, since prompt_toolkit is an extra. What can be completed is asked of
whoever makes a `Terminal`; commands are not known here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.history import History

from securecoap.state.location import make_private_directory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from pathlib import Path

    from prompt_toolkit.document import Document

__all__ = ["PrivateHistory", "Terminal"]

_KEPT: Final = 1000
"""Lines of the history that are read; twice as many may be in the file."""


class PrivateHistory(History):
    """The lines of earlier shells, in a file that only its owner may read.

    Args:
        path: the file.
        may_be_kept: whether a line is written to it; others are remembered as long as the shell lives.
    """

    def __init__(self, path: Path, may_be_kept: Callable[[str], bool]) -> None:
        super().__init__()
        self._path = path
        self._may_be_kept = may_be_kept

    def load_history_strings(self) -> Iterable[str]:
        """The lines, newest first; none if they cannot be read."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        if len(lines) > 2 * _KEPT:
            with suppress(OSError):
                self._write(lines[-_KEPT:], os.O_TRUNC)
        return lines[: -_KEPT - 1 : -1]

    def store_string(self, string: str) -> None:
        """Write a line, unless it is to be forgotten. A history that cannot be written is none."""
        if "\n" not in string and self._may_be_kept(string):
            with suppress(OSError):
                make_private_directory(self._path.parent)
                self._write([string], os.O_APPEND)

    def _write(self, lines: list[str], flags: int) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(line + "\n" for line in lines)


class _Completer(Completer):
    def __init__(self, complete: Callable[[str], Awaitable[list[tuple[str, int, str]]]]) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        raise NotImplementedError  # the asynchronous one is used

    async def get_completions_async(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002  # prompt_toolkit's signature
    ) -> AsyncGenerator[Completion, None]:
        for text, length, note in await self._complete(document.text_before_cursor):
            yield Completion(text, start_position=-length, display_meta=note)


class Terminal:
    """Reads lines from the terminal.

    Args:
        complete: for the text before the cursor, what may stand in place of its last characters: the text, their
            number, and a note.
        history: where lines are kept.
    """

    def __init__(
        self, complete: Callable[[str], Awaitable[list[tuple[str, int, str]]]], history: PrivateHistory
    ) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=history, completer=_Completer(complete), complete_while_typing=False
        )

    async def read(self, prompt: str) -> str | None:
        """The next line, empty if Ctrl-C threw it away; ``None`` for Ctrl-D."""
        try:
            return await self._session.prompt_async(prompt, handle_sigint=False)
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None
