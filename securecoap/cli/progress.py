"""How far a transfer of a body came: counted for what is said when it fails, and shown to a person who waits for it.

The bar is on stderr, only if that is a terminal, and only for what takes longer than a moment. Knows no message.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

__all__ = ["Meter"]

_MOMENT: Final = 0.4
"""Seconds after which somebody wants to know how long it will take."""
_INTERVAL: Final = 0.1
"""Seconds between two pictures."""


class Meter:
    """Counts the bytes of one transfer; a context manager that takes its bar away at the end.

    Args:
        label: what is transferred, in a word or two.
        quiet: whether there is no bar.
        clock: seconds that never go back.

    Attributes:
        done: bytes that have arrived, here or at the server.
        total: how many there will be, ``None`` as long as nobody says.
    """

    def __init__(self, label: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self.total: int | None = None
        self._label = label
        self._clock = clock
        self._next = clock() + _MOMENT
        self._is_shown = not quiet and sys.stderr.isatty()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int | None) -> None:
        """See ``progress`` of `Context.download`."""
        self.done, self.total = done, total
        if self._is_shown and self._clock() >= self._next:
            self._next = self._clock() + _INTERVAL
            self._show()

    def _show(self) -> None:
        if self._bar is None or self._task is None:
            # Loaded where it is used: most transfers are over before there is anything to see.
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), Speed()
            self._bar = Progress(
                *columns,
                TimeRemainingColumn(),
                console=Console(file=sys.stderr, emoji=False),
                transient=True,
                auto_refresh=False,  # a thread for the picture is more than it is worth
                get_time=self._clock,
                redirect_stdout=False,
                redirect_stderr=True,  # what is said meanwhile stands above it
            )
            self._task = self._bar.add_task(self._label, total=self.total, completed=self.done)
            self._bar.start()
        self._bar.update(self._task, completed=self.done, total=self.total, refresh=True)

    @property
    def reached(self) -> str:
        """``12288 of 65536 bytes``."""
        return f"{self.done} bytes" if self.total is None else f"{self.done} of {self.total} bytes"
