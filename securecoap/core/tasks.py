"""Running a handler's coroutine at once, so that one that never waits costs no turn of the event loop.

From Python 3.12 a task may start eagerly; before, it is an ordinary task. Either way the coroutine sees a running task
(``asyncio.current_task()``, ``asyncio.timeout()`` work).
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from securecoap.interfaces import Scheduler

__all__ = ["start"]

T = TypeVar("T")

if sys.version_info >= (3, 12):

    def start(scheduler: Scheduler, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The coroutine as a task that has run up to its first wait, and may be done already."""
        if isinstance(scheduler, asyncio.AbstractEventLoop) and asyncio._get_running_loop() is scheduler:  # noqa: SLF001  # get_running_loop() would raise
            return asyncio.Task(coroutine, loop=scheduler, eager_start=True)
        return scheduler.create_task(coroutine)

else:

    def start(scheduler: Scheduler, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """The coroutine as a task."""
        return scheduler.create_task(coroutine)
