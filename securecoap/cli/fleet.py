"""``serve --workers N``: the parent of several processes that serve the same ports.

It binds the sockets, owns the state, reads the credentials, speaks with the service manager and with Prometheus, and
serves nobody itself: none of the application's code runs here. What its workers do is in `securecoap.cli.worker`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, Final, Self

from securecoap.binds import default_binds, parse_bind
from securecoap.cli import logs, session
from securecoap.context import Context
from securecoap.errors import ConfigurationError
from securecoap.resources import Site
from securecoap.workers.channel import dump
from securecoap.workers.ledger import Ledger
from securecoap.workers.memory import SharedMemory
from securecoap.workers.messages import Boot, Switch
from securecoap.workers.ports import bind_group, discard_waiting
from securecoap.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from securecoap.cli.serve import Settings
    from securecoap.credentials import CredentialsMap
    from securecoap.workers.messages import Counted

__all__ = ["Fleet", "checked", "require_shareable"]

_STATE_WAIT: Final = 10.0
_CLOSING: Final = 40.0
"""Seconds for a worker to end beside those in which it drains."""
_STALE: Final = 1.0
"""Seconds without a worker after which what waited for it is not obeyed any more."""
_MODULE: Final = "securecoap.cli.worker"


def require_shareable(settings: Settings, sockets: Collection[object]) -> None:
    """Refuse what one process only can serve.

    Raises:
        ConfigurationError: with the reason.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigurationError("--workers needs Linux: its groups of sockets, memory files and locks")
    if settings["demo"]:
        raise ConfigurationError("--workers: the demo site keeps its state in one process, and is served by one only")
    if sockets:
        raise ConfigurationError(
            "--workers: a socket of the service manager cannot be shared, as its datagrams would go to any worker; "
            "leave the socket unit out, and say --bind"
        )


def checked(settings: Settings, credentials: CredentialsMap | None) -> CredentialsMap | None:
    """Credentials with which each worker will be able to serve: those of an endpoint that is never started.

    Raises:
        CoapError: it cannot work.
    """
    return Context.server(
        Site(),
        bind=settings["bind"] or None,
        credentials=credentials,
        names=settings["name"],
        engine=settings["dtls_engine"],
        insecure=settings["insecure"],
        keylog=settings["keylog"],
    ).credentials


class Fleet:
    """The parent's side of a server; an async context manager like a `Context`.

    Args:
        settings: what the command line says.
        credentials: of the files, or ``None``.

    Attributes:
        credentials: in force.
        supervisor: knows how the workers are.
        is_ending: whether the end has begun.
    """

    def __init__(self, settings: Settings, credentials: CredentialsMap | None) -> None:
        self.credentials = checked(settings, credentials)
        self.is_ending = False
        self._endpoints: list[str] = []
        self._settings = settings
        self._count: int = settings["workers"]
        self._secret = os.urandom(32)
        self._binds = [
            parse_bind(one) for one in settings["bind"] or default_binds(with_credentials=credentials is not None)
        ]
        self._groups: list[tuple[str, list[socket.socket]]] = []
        self._lanes: list[tuple[socket.socket, socket.socket]] = []
        self._descriptor = -1
        self._memory: SharedMemory | None = None
        self._parcel = b""
        self._closed = asyncio.Event()
        self.supervisor = Supervisor(
            self._count,
            boot=self._boot,
            descriptors=self._descriptors,
            need=self._need,
            begins=self._begins,
            changed=self._changed,
            module=_MODULE,
        )
        self._ledger: Ledger | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end(0.0)
            raise
        return self

    async def _start(self) -> None:
        for bind in self._binds:
            group = bind_group(bind, self._count)
            port = group[0].getsockname()[1]
            host = f"[{bind.host}]" if ":" in bind.host else bind.host
            self._groups.append((f"{bind.scheme}://{host}:{port}", group))
        for _ in range(self._count):
            self._lanes.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._descriptor = SharedMemory.create()
        self._memory = SharedMemory(self._descriptor)
        self._ledger = Ledger(
            self._memory,
            self.supervisor.granted,
            state=self._settings["state"],
            strict=self._settings["strict_state"],
            wait=_STATE_WAIT,
        )
        if self.credentials is not None:
            await self._ledger.open(self.credentials)
        self._parcel = dump((self.credentials, self._ledger.slots))
        self._endpoints = list(await self.supervisor.start())

    async def __aexit__(self, *_: object) -> None:
        await self._end(_CLOSING)

    async def _end(self, seconds: float) -> None:
        self.is_ending = True
        await self.supervisor.stop(seconds)
        if self._ledger is not None:
            await self._ledger.close()
        for sock in (
            *(one for _, group in self._groups for one in group),
            *(one for two in self._lanes for one in two),
        ):
            sock.close()
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()
            os.close(self._descriptor)
        self._closed.set()

    @property
    def endpoints(self) -> list[str]:
        """URIs of what is served; none while a worker is missing."""
        return self._endpoints if self.supervisor.ready == self._count else []

    async def drain(self, seconds: float) -> None:
        """Have the workers answer what is under way, and end."""
        self.is_ending = True
        await self.supervisor.stop(seconds + _CLOSING)

    async def serve_forever(self) -> None:
        """Wait until it is ended (or the waiting is cancelled)."""
        await self._closed.wait()

    async def reload(self, files: Sequence[Path]) -> None:
        """Go on with other credentials, in all workers, or in none.

        They are read and checked here, and the state of new contexts is owned, before any worker hears of them. One
        that then cannot go on with them is begun anew; when this returns, no process has the ones before.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named. As with the others, nothing was changed.
            ConfigurationError: the server has no credentials, is about to end, or cannot have these.
            StateError, ContextInUse: the state of a security context cannot be had.
        """
        ledger, before = self._ledger, self.credentials
        if ledger is None or self.is_ending:
            raise ConfigurationError("the server is about to end; its credentials stay as they are")
        if before is None:
            raise ConfigurationError("an endpoint that has no credentials gets none while it runs")
        loaded = await asyncio.to_thread(self._read, files)
        try:
            await ledger.open(loaded)
            parcel = await asyncio.to_thread(dump, (loaded, ledger.slots))
        except BaseException:
            await ledger.release(before)
            raise
        self.credentials, self._parcel = loaded, parcel
        await self.supervisor.switch(Switch(parcel))
        await ledger.release(loaded)

    def _read(self, files: Sequence[Path]) -> CredentialsMap:
        loaded = checked(self._settings, session.credentials(tuple(files), "server"))
        if loaded is None:
            raise ConfigurationError("there are no credentials to be read")
        return loaded

    async def count(self) -> list[tuple[int, Counted]]:
        """What the workers count."""
        return await self.supervisor.count()

    # What the supervisor asks.

    def _boot(self, number: int) -> Boot:
        return Boot(
            number=number,
            secret=self._secret,
            memory=self._descriptor,
            parcel=self._parcel,
            lanes=tuple(sender.fileno() for _, sender in self._lanes),
            lane=self._lanes[number][0].fileno(),
            sockets=tuple((uri, group[number].fileno()) for uri, group in self._groups),
            settings={**self._settings, "bind": (), "credentials": ()},
        )

    def _descriptors(self, number: int) -> tuple[int, ...]:
        own = (group[number].fileno() for _, group in self._groups)
        senders = (sender.fileno() for _, sender in self._lanes)
        return (self._descriptor, self._lanes[number][0].fileno(), *senders, *own)

    def _need(self, fingerprint: bytes) -> None:
        if self._ledger is not None:
            self._ledger.replenish(fingerprint)

    def _begins(self, number: int, pause: float) -> None:
        if pause >= _STALE:
            discard_waiting([group[number] for _, group in self._groups])

    def _changed(self) -> None:
        ready = self.supervisor.ready
        if self._endpoints and not self.is_ending:
            level = logs.INFO if ready == self._count else logs.WARNING
            logs.event(level, "workers", f"{ready} of {self._count} workers serve", ready=ready, workers=self._count)
