"""One of the processes that ``serve --workers N`` has: it serves the site on sockets that its parent has bound.

It gets everything over one socket, whose descriptor is all that its command line says. It ends when the parent tells it
to, and at once when the parent has gone: then nobody owns the state any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from securecoap.cli import logs, status
from securecoap.cli.serve import Place, prepare
from securecoap.collection import set_aside
from securecoap.errors import CoapError
from securecoap.workers.announcing import Announcing
from securecoap.workers.channel import Channel, load, pack, receive_first
from securecoap.workers.lanes import Lanes
from securecoap.workers.memory import SharedMemory
from securecoap.workers.messages import (
    Beat,
    Boot,
    Count,
    Counted,
    Drain,
    Failed,
    Granted,
    Need,
    Ready,
    Switch,
    Switched,
)
from securecoap.workers.numbers import SharedStore
from securecoap.workers.seat import Seat

if TYPE_CHECKING:
    from securecoap.cli.gathering import Samples

__all__ = ["main"]

_BEAT: Final = 1.0


def main(descriptor: int) -> None:
    """Be a worker.

    Args:
        descriptor: of the socket to the parent.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the parent
    sock = socket.socket(fileno=descriptor)
    boot = receive_first(sock)
    if not isinstance(boot, Boot):
        sys.exit(status.INTERNAL)
    logs.configure(logging.INFO, boot.settings["log_format"], worker=boot.number)
    try:
        worker = _Worker(boot)  # the application's modules are imported here, without a running event loop
        asyncio.run(worker.serve(sock))
    except (CoapError, OSError) as error:
        with suppress(OSError):  # the event loop has had it, and has told the parent
            sock.sendall(pack(failed(error)))
        sys.exit(status.USAGE)


def failed(error: Exception) -> Failed:
    """What the parent is told of an error."""
    return Failed(tuple(getattr(error, "faults", None) or [str(error) or type(error).__name__]))


class _Worker:
    """See the module."""

    def __init__(self, boot: Boot) -> None:
        self._channel: Channel | None = None
        credentials, slots = load(boot.parcel)
        self._store = SharedStore(SharedMemory(boot.memory), slots, lambda name: self._tell(Need(name)))
        own, *others = (socket.socket(fileno=one) for one in (boot.lane, *boot.lanes))
        self._lanes = Lanes(boot.number, own, others)
        place = Place(
            credentials,
            {uri: socket.socket(fileno=one) for uri, one in boot.sockets},
            Seat(boot.number, boot.secret, self._store, self._lanes),
        )
        settings: Any = boot.settings
        self._drain_time: int = settings["drain_time"]
        self._context, self._metrics, site = prepare(settings, place)
        self._announcing = Announcing(site, self._lanes.announce)

    def _tell(self, message: object) -> None:
        if self._channel is not None:
            self._channel.send(message)

    async def serve(self, sock: socket.socket) -> None:
        """Serve until the parent says that it is enough.

        Args:
            sock: leads to it.
        """
        loop = asyncio.get_running_loop()
        self._channel = channel = await Channel.open(sock)
        self._lanes.open(loop, self._announcing.announced)
        end = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, end.set)
        tasks = [loop.create_task(self._listen(channel, end)), loop.create_task(self._beat())]
        try:
            async with self._context as server:
                set_aside()
                self._tell(Ready(tuple(server.endpoints)))
                set_aside()
                await end.wait()
                await server.drain(self._drain_time)
        except (CoapError, OSError) as error:
            self._tell(failed(error))
            raise
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lanes.close()
        channel.close()

    async def _beat(self) -> None:
        while True:
            self._tell(Beat())
            await asyncio.sleep(_BEAT)

    async def _listen(self, channel: Channel, end: asyncio.Event) -> None:
        while (message := await channel.receive()) is not None:
            if isinstance(message, Granted):
                self._store.granted(message.fingerprint, message.fault)
            elif isinstance(message, Switch):
                self._tell(Switched(await self._switch(message)))
            elif isinstance(message, Count):
                self._tell(Counted(self._samples()))
            elif isinstance(message, Drain):
                end.set()
        # Whoever comes after our parent owns the state, and we must not go on with it.
        with suppress(Exception):
            logs.LOGGER.error("the parent of this worker has gone; so does the worker")
        os._exit(status.INTERNAL)

    def _samples(self) -> Samples:
        if self._metrics is None:
            return ()
        from securecoap.cli.gathering import samples_of  # an extra

        return samples_of(self._metrics.registry)

    async def _switch(self, message: Switch) -> tuple[str, ...]:
        credentials, slots = await asyncio.to_thread(load, message.parcel)
        self._store.replace(slots)
        try:
            await self._context.reload(credentials)
        except Exception as error:  # noqa: BLE001  # whatever it is: the parent begins this worker anew
            return failed(error).faults
        return ()
