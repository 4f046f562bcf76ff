"""The store that is used unless another is asked for: SQLite in a state directory, and aiocoap's directories beside it.

Two stores on one directory in a process are one below: one file, one thread, one set of locks. This module joins the
parts; what is on the disk is `database`'s and `basedir`'s affair.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from securecoap.errors import StateError
from securecoap.state.basedir import BasedirHome
from securecoap.state.database import DATABASE, Database, connect
from securecoap.state.handle import begin_closing, wait_closed
from securecoap.state.location import default_state_directory
from securecoap.state.protocol import DEFAULT_WAIT, StateRequest
from securecoap.state.table import PROCESS, give_up
from securecoap.state.worker import Job, ThreadWorker

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from securecoap.state.handle import Backing, Claim, Handle, Return
    from securecoap.state.protocol import ContextState, SavedWindow

__all__ = ["SqliteStateStore"]

T = TypeVar("T")


class _Home:
    """A state directory in use by this process."""

    def __init__(self, directory: Path, connector: Callable[[Path], sqlite3.Connection]) -> None:
        self.database = Database(directory, connector)
        self.worker = ThreadWorker("securecoap-state", self.database.transaction)
        self.users = 0
        self.ready = False

    def claim(self, requests: Sequence[StateRequest]) -> list[Claim | None]:
        return self.database.claim(requests)

    def give_back(self, returns: Sequence[Return]) -> list[StateError | None]:
        return self.database.give_back(returns)

    def unlock(self, backings: Sequence[Backing]) -> None:
        self.database.unlock(backings)

    def finish(self) -> None:
        self.database.close()


_homes: dict[Path, _Home] = {}
_basedirs: dict[Path, BasedirHome] = {}
_mutex = threading.Lock()


class SqliteStateStore:
    """State in one directory, shared by any number of processes: see `securecoap.state.protocol.StateStore`.

    Nothing is touched before the first context is opened.

    Args:
        directory: made (0700) if it is missing; ``None`` for the user's state directory.
        strict: a store or ``sequence.json`` that is missing is a `StateError`, instead of a warning.
        connector: makes the database connection; for tests of a failing disk.
        sync: makes a descriptor of a context directory's file durable; for the same.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        strict: bool = False,
        connector: Callable[[Path], sqlite3.Connection] = connect,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        self._directory = (default_state_directory() if directory is None else Path(directory)).absolute()
        self._strict = strict
        self._connector = connector
        self._sync = sync
        self._home: _Home | None = None
        self._basedirs: dict[Path, BasedirHome] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._directory}>"

    @property
    def directory(self) -> Path:
        """The state directory."""
        return self._directory

    async def open(
        self, fingerprint: bytes, *, label: str, basedir: Path | None = None, wait: float = DEFAULT_WAIT
    ) -> Handle:
        """See `securecoap.state.protocol.StateStore.open`.

        Raises:
            ContextInUse: it did not become free in time.
            StateError: the store's fault.
        """
        return (await self.open_many([StateRequest(fingerprint, label, basedir)], wait=wait))[0]

    async def open_many(self, requests: Sequence[StateRequest], *, wait: float = DEFAULT_WAIT) -> list[Handle]:
        """See `securecoap.state.protocol.StateStore.open_many`.

        Raises:
            ContextInUse: not all became free in time.
            StateError: the store's fault.
        """
        if self._closed:
            raise StateError("the state store is closed")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        opened: dict[int, Handle] = {}
        inside = [request for request in requests if request.basedir is None]
        if len(inside) == len(requests):
            return await self._open_inside(inside, wait)
        try:
            places = [place for place, request in enumerate(requests) if request.basedir is None]
            opened.update(zip(places, await self._open_inside(inside, wait), strict=True))
            for place, request in enumerate(requests):
                if request.basedir is not None:
                    basedir = self._basedir(request.basedir)
                    left = max(0.0, deadline - loop.time())
                    (opened[place],) = await PROCESS.open(basedir, [request], left)
        except BaseException:
            give_up(opened.values())
            raise
        return [opened[place] for place in range(len(requests))]

    async def _open_inside(self, requests: list[StateRequest], wait: float) -> list[Handle]:
        """Those that have no directory of their own."""
        if not requests:
            return []
        home = await self._ready(requests)
        return await PROCESS.open(home, requests, wait)

    async def close_many(self, closings: Sequence[tuple[ContextState, SavedWindow | None]]) -> None:
        """See `securecoap.state.protocol.StateStore.close_many`."""
        await wait_closed(cast("Sequence[tuple[Handle, SavedWindow | None]]", closings))

    async def take_sessions(self, endpoint: str, forget_before: float) -> list[tuple[float, bytes]]:
        """Return the DTLS sessions that were saved for an endpoint, each with the time; durably deleted before.

        Args:
            endpoint: as `save_sessions` was told.
            forget_before: older ones are deleted and not returned; seconds since 1970.

        Raises:
            StateError: the store's fault: nothing may be used.
        """
        if not (self._directory / DATABASE).exists():
            return []
        home = await self._ready([])
        database = home.database
        return await _perform(home.worker, lambda: database.take_sessions(endpoint, forget_before), alone=False)

    async def save_sessions(self, endpoint: str, saved: float, sessions: Sequence[bytes]) -> None:
        """Keep DTLS sessions, which are in use no more and sealed, for the next start of an endpoint.

        Raises:
            StateError: they are not kept.
        """
        home = await self._ready([])
        database = home.database
        await _perform(home.worker, lambda: database.save_sessions(endpoint, saved, sessions), alone=False)

    async def save_sightings(self, seen: Mapping[str, int], forget_before: int) -> None:
        """Keep when labels were last seen; see `securecoap.state.sightings`.

        Args:
            seen: seconds since 1970, by label.
            forget_before: labels that were not seen since are forgotten.

        Raises:
            StateError: they are not kept.
        """
        home = await self._ready([])
        database = home.database
        await _perform(home.worker, lambda: database.save_sightings(seen, forget_before), alone=False)

    async def close(self) -> None:
        """Let go of the directory; the last store that does so closes the handles that are still open there."""
        if self._closed:
            return
        self._closed = True
        used: list[_Home | BasedirHome] = list(self._basedirs.values())
        if self._home is not None:
            used.append(self._home)
        for home in used:
            if _last_user(home):
                await _finish(home)

    async def _ready(self, requests: Sequence[StateRequest]) -> _Home:
        home = self._home
        if home is None:
            home = self._home = self._take_home()
        if not home.ready:
            database, labels = home.database, [request.label for request in requests]
            await _perform(home.worker, lambda: database.ensure(labels, strict=self._strict))
            home.ready = True
        return home

    def _take_home(self) -> _Home:
        path = Path(os.path.realpath(self._directory))
        with _mutex:
            home = _homes.get(path)
            if home is None:
                home = _homes[path] = _Home(path, self._connector)
            home.users += 1
            return home

    def _basedir(self, directory: Path) -> BasedirHome:
        path = Path(os.path.realpath(directory))
        home = self._basedirs.get(path)
        if home is None:
            with _mutex:
                home = _basedirs.get(path)
                if home is None:
                    home = _basedirs[path] = BasedirHome(path, self._sync)
                home.users += 1
                home.strict = home.strict or self._strict
            self._basedirs[path] = home
        return home


def _last_user(home: _Home | BasedirHome) -> bool:
    with _mutex:
        home.users -= 1
        if home.users > 0:
            return False
        # A new store on the directory begins with a home of its own: files and locks bear that.
        table: dict[Path, Any] = _homes if isinstance(home, _Home) else _basedirs
        for path in [path for path, known in table.items() if known is home]:
            del table[path]
        return True


async def _finish(home: _Home | BasedirHome) -> None:
    loop = asyncio.get_running_loop()
    ours = []
    for handle in PROCESS.of_home(home):
        if handle.loop is loop:
            ours.append((handle, None))
        else:
            PROCESS.evict(handle)
    for closed in begin_closing(ours):
        await asyncio.shield(closed)
    await _perform(home.worker, home.finish)
    home.worker.close()


async def _perform(worker: ThreadWorker, run: Callable[[], T], *, alone: bool = True) -> T:
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def done(result: Any) -> None:
        if outcome.cancelled():
            return
        if isinstance(result, StateError):
            outcome.set_exception(result)
        else:
            outcome.set_result(result)

    worker.submit(Job(run, done, loop, alone=alone))
    return await outcome


def _forked() -> None:
    global _mutex  # noqa: PLW0603 - the parent may have held it
    _mutex = threading.Lock()
    # Kept for ever: to close the parent's database from here would meddle with its files.
    _left_to_the_parent.extend(_homes.values())
    _homes.clear()
    _basedirs.clear()


_left_to_the_parent: list[_Home] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
