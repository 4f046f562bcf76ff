"""The clock that is read with each message. Must not know what it is for."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import Scheduler

__all__ = ["clock_of"]


def clock_of(scheduler: Scheduler) -> Callable[[], float]:
    """What tells a scheduler's time, in one call where that is all that an asyncio loop's own method does."""
    method = scheduler.time
    return time.monotonic if getattr(method, "__func__", None) is asyncio.BaseEventLoop.time else method
