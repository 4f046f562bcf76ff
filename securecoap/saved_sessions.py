"""Where a server's DTLS sessions are between its end and its next start: the state directory, by what was bound.

Only for a server that was told a state directory and whose port does not change; with others nothing could go on. It
is written at an orderly shutdown only, and deleted durably before anything of it is used. Beside them it keeps, on any
port, when peers were last seen (`securecoap.sightings`). Must not know what is in a session.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from securecoap.errors import StateError
from securecoap.sightings import Sightings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.access import Access
    from securecoap.settings import Settings
    from securecoap.state import SqliteStateStore
    from securecoap.wire.uri import ParsedUri

__all__ = ["SavedSessions"]

_LIFETIME: Final = 30 * 86_400.0
"""Seconds after which what nobody has taken is deleted."""

_log = logging.getLogger(__name__)


class SavedSessions:
    """The saved sessions of one context.

    Args:
        settings: say where the state is, if it is to be kept, and the number of this process among those that share its
            ports: each has the sessions of those peers whose datagrams come to it.
        access: the server's policy, which knows who was there.
    """

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        self._settings = settings
        self._sightings = None if access is None or settings.state is None else Sightings(access, self._open)
        seat = getattr(settings, "seat", None)
        self._worker = 0 if seat is None else seat.number
        self._store: SqliteStateStore | None = None
        self._taken: list[tuple[float, bytes]] = []
        self._name_of_taken = ""

    async def take(self, bind: ParsedUri) -> None:
        """Take what was saved for a bind, durably deleted; before its first datagram.

        Raises:
            StateError: the state cannot be read or written.
        """
        if self._sightings is not None:
            self._sightings.begin()
        if self._is_kept(bind):
            self._name_of_taken = self._name(bind)
            self._taken = await self._open().take_sessions(self._name_of_taken, time.time() - _LIFETIME)

    async def restore(self, interface: Any) -> None:
        """Have the bind's `DtlsInterface` go on with what `take` took, once."""
        saved, self._taken = self._taken, []
        if saved:
            await interface.restore(saved)

    async def keep(self, opened: Iterable[tuple[ParsedUri, Any]]) -> None:
        """Save what can go on of each bind's `DtlsInterface`, which is shut down after this.

        What was taken for a bind that then could not be opened was not used, and goes back as it was. A fault is
        logged: then the peers have to shake hands again.
        """
        for written in {written for written, _ in self._taken}:
            back = [session for when, session in self._taken if when == written]
            await self._write(self._name_of_taken, written, back)
        for bind, interface in opened:
            saved = interface.save() if self._is_kept(bind) else []
            if saved:
                await self._write(self._name(bind), time.time(), saved)
        if self._sightings is not None:
            await self._sightings.end()
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _write(self, name: str, written: float, sessions: list[bytes]) -> None:
        try:
            await self._open().save_sessions(name, written, sessions)
        except StateError as error:
            _log.warning("%d DTLS sessions are lost: %s", len(sessions), error)

    def _is_kept(self, bind: ParsedUri) -> bool:
        return bind.scheme == "coaps" and bind.port != 0 and self._settings.state is not None

    def _name(self, bind: ParsedUri) -> str:
        return f"{bind.scheme}://{bind.host} {bind.port} {self._worker}"

    def _open(self) -> SqliteStateStore:
        if self._store is None:
            from securecoap.state import SqliteStateStore  # noqa: PLC0415  # only where there is something to keep

            self._store = SqliteStateStore(self._settings.state, strict=self._settings.strict_state)
        return self._store
