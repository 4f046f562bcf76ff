"""Tests over real sockets on loopback: what this machine has, and that nothing is left open behind a test."""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LINUX = sys.platform == "linux"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
needs_linux = pytest.mark.skipif(not LINUX, reason="packet information and the error queue are used on Linux only")


def real(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine function on a real loop; a task or socket that is left is a fault."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        async def run() -> None:
            await test(*args, **kwargs)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(run())
        gc.collect()  # a socket that was left open is a ResourceWarning, which is an error

    return wrapper
