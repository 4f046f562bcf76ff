"""When each peer of a server was last there: collected without work for each message, written now and then.

The policy is asked about a peer when it comes, and again when what it was granted has been renewed; so a peer is known
to have been there in the last ten minutes, or at the time of an orderly shutdown. Kept only for a server that was told
a state directory. For people: nothing is decided by it, and what a crash loses is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from securecoap.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.access import Access
    from securecoap.state import SqliteStateStore

__all__ = ["INTERVAL", "Sightings"]

INTERVAL: Final = 600.0
"""Seconds between two writings, which is how exact the times are."""
_MEMORY: Final = 2 * 366 * 86_400
"""Seconds after which a label is forgotten that was not seen."""

_log = logging.getLogger(__name__)


class Sightings:
    """See the module.

    Args:
        access: knows who was there.
        store: opens the store, or gives the one that is open.
    """

    def __init__(self, access: Access, store: Callable[[], SqliteStateStore]) -> None:
        self._access = access
        self._store = store
        self._unwritten: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Write now and then from now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._due)

    def _due(self) -> None:
        self._timer = None
        self.begin()
        self._access.renew()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def end(self) -> None:
        """Write for the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        await self._write()

    async def _write(self) -> None:
        for name, when in self._access.take_seen().items():
            if name.startswith(":") or "://" in name or name == "*":  # a label or a pattern
                self._unwritten[name] = int(when)
        if not self._unwritten:
            return
        try:
            await self._store().save_sightings(self._unwritten, int(time.time()) - _MEMORY)
        except StateError as error:  # they are kept for the next time: as many as the file has labels
            _log.warning("when peers were last seen could not be written: %s", error)
        else:
            self._unwritten = {}
