"""The parent's side: workers are started, watched, told of other credentials, begun anew when they die, and ended.

A worker is a new program that gets everything over its `Channel`. One that says nothing for too long is ended; one
that ended is begun anew after a pause that grows as long as it does not live. One that cannot go on with other
credentials is ended, too, and begins anew with those: nobody serves with old ones. One that is about to begin gets them
as soon as it has begun: reloads in quick succession do not end it each time. What a worker does is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError
from securecoap.workers.channel import Channel, pack
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["PATIENCE", "Supervisor", "Worker"]

PATIENCE: Final = 30.0
"""Seconds after which a worker that has said nothing is ended."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_GOOD_LIFE: Final = 60.0
"""Seconds after which a worker's end is not counted among the earlier ones."""
_ANSWER: Final = 30.0
"""Seconds for a worker to go on with other credentials."""
_COUNTING: Final = 2.0
_LOOK: Final = 1.0

_log = logging.getLogger(__name__)


class Worker:
    """One of the workers, whichever process it is at the moment.

    Attributes:
        number: from 0.
        is_ready: whether it serves.
        settled: set while it serves, or is to begin anew; not while it begins or ends.
        endpoints: what it serves.
        ends: how often it ended by itself.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_ready = False
        self.settled = asyncio.Event()
        self.endpoints: tuple[str, ...] = ()
        self.ends = 0
        self.process: asyncio.subprocess.Process | None = None
        self.channel: Channel | None = None
        self.heard = 0.0
        self.faults: tuple[str, ...] = ()
        self.answer: asyncio.Future[Switched | Counted | None] | None = None

    def answered(self, answer: Switched | Counted | None) -> None:
        """Tell who waits for it."""
        waiting, self.answer = self.answer, None
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def kill(self) -> None:
        """End its process at once."""
        self.is_ready = False
        self.settled.clear()
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()


class Supervisor:
    """See the module.

    Args:
        count: how many workers.
        boot: what a worker is told, as it is now.
        descriptors: what a worker's process inherits.
        need: called when a context needs more numbers.
        begins: called before a worker is begun anew, with the seconds that nobody served in its place.
        changed: called when a worker is ready or has gone.
        module: has ``main(descriptor)``.
        patience: see `PATIENCE`.

    Attributes:
        workers: by their numbers.
        counted: the latest that each has counted, and those before it that have ended; see `count`.
    """

    def __init__(
        self,
        count: int,
        *,
        boot: Callable[[int], Boot],
        descriptors: Callable[[int], Sequence[int]],
        need: Callable[[bytes], None],
        begins: Callable[[int, float], None],
        changed: Callable[[], None],
        module: str,
        patience: float = PATIENCE,
    ) -> None:
        self.workers = [Worker(number) for number in range(count)]
        self._boot = boot
        self._descriptors = descriptors
        self._need = need
        self._begins = begins
        self._changed = changed
        self._module = module
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()
        self._turn = asyncio.Lock()
        self._started = asyncio.Event()
        self._has_started = False

    @property
    def ready(self) -> int:
        """How many workers serve."""
        return sum(worker.is_ready for worker in self.workers)

    @property
    def restarts(self) -> int:
        """How often workers ended by themselves."""
        return sum(worker.ends for worker in self.workers)

    async def start(self) -> tuple[str, ...]:
        """Start the workers; return what they serve when all of them do.

        Raises:
            ConfigurationError: one cannot; with its faults.
        """
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        self._tasks.append(asyncio.create_task(self._watch()))
        while self.ready < len(self.workers):
            await self._started.wait()
            self._started.clear()
            for worker in self.workers:
                if worker.faults or worker.ends:
                    faults = worker.faults or ("a worker ended before it served; its log says why",)
                    error = ConfigurationError("\n".join(faults))
                    error.faults = list(faults)  # type: ignore[attr-defined]  # as the faults of a file
                    raise error
        self._has_started = True
        return self.workers[0].endpoints

    def granted(self, fingerprint: bytes, fault: str | None) -> None:
        """Tell all workers that a context has more numbers, or why not."""
        self._tell_all(Granted(fingerprint, fault))

    async def switch(self, message: Switch) -> None:
        """Have all workers go on with other credentials; when this returns, nobody uses the ones before."""
        async with self._turn:
            packed = pack(message)
            await asyncio.gather(*(self._switch(worker, packed) for worker in self.workers))

    async def _switch(self, worker: Worker, packed: bytes) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER):
                while worker.channel is not None and not worker.is_ready:
                    await worker.settled.wait()
        if worker.channel is None:
            return  # what it will be told when it begins are the credentials that are in force by now
        answer = await self._ask(worker, packed, _ANSWER)
        if isinstance(answer, Switched) and not answer.faults:
            return
        faults = answer.faults if isinstance(answer, Switched) else ("it did not answer",)
        _log.error("worker %d cannot go on with the other credentials: %s", worker.number, "; ".join(faults))
        # It begins anew, with the credentials that are in force by now.
        process = worker.process
        if process is not None:
            worker.kill()
            await process.wait()

    async def count(self) -> list[tuple[int, Counted]]:
        """What each worker counts; without those that do not answer."""
        async with self._turn:
            packed = pack(Count())
            answers = await asyncio.gather(*(self._ask(worker, packed, _COUNTING) for worker in self.workers))
        return [
            (worker.number, answer)
            for worker, answer in zip(self.workers, answers, strict=True)
            if isinstance(answer, Counted)
        ]

    async def _ask(self, worker: Worker, packed: bytes, seconds: float) -> Switched | Counted | None:
        if not worker.is_ready or worker.channel is None:
            return None
        worker.answer = asyncio.get_running_loop().create_future()
        worker.channel.send_packed(packed)
        try:
            async with asyncio.timeout(seconds):
                return await worker.answer
        except TimeoutError:
            return None

    async def stop(self, seconds: float) -> None:
        """Have all workers answer what is under way and end; who has not ended after ``seconds`` (0: now) is ended."""
        self._ending.set()
        self._tell_all(Drain())
        processes = [worker.process for worker in self.workers if worker.process is not None]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(process.wait() for process in processes))
        except TimeoutError:
            if seconds:
                _log.error("a worker did not end in time, and is ended")
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tell_all(self, message: object) -> None:
        packed = pack(message)
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.send_packed(packed)

    # One worker.

    async def _keep(self, worker: Worker) -> None:
        """Keep it running."""
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            began = time.monotonic()
            await self._live(worker)
            if self._ending.is_set():
                return
            worker.ends += 1
            self._changed()
            self._started.set()
            pause = _FIRST_PAUSE if time.monotonic() - began > _GOOD_LIFE else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            self._begins(worker.number, pause)

    async def _live(self, worker: Worker) -> None:
        """Start its process, and listen to it until it has ended."""
        worker.faults = ()
        worker.settled.clear()
        ours, theirs = socket.socketpair()
        command = f"import sys; sys.path[:] = {sys.path!r}; from {self._module} import main; main({theirs.fileno()})"
        with theirs:
            worker.heard = time.monotonic()
            process = worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_interpreter_options(),
                "-c",
                command,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *self._descriptors(worker.number)),
                process_group=0,  # Ctrl-C is for the parent, which tells the others
            )
        channel = worker.channel = await Channel.open(ours)
        try:
            channel.send(self._boot(worker.number))
            while (message := await channel.receive()) is not None:
                worker.heard = time.monotonic()
                self._hear(worker, message)
            status = await process.wait()
            if not self._ending.is_set():
                how = signal.Signals(-status).name if status < 0 else f"status {status}"
                members = {"event": "worker-ended", "worker": worker.number, "how": how}
                _log.error("worker %d has ended: %s", worker.number, how, extra={"fields": members})
        finally:
            worker.kill()
            worker.answered(None)
            channel.close()
            await process.wait()  # before this nobody may take over what it has
            worker.channel = worker.process = None
            worker.settled.set()

    def _hear(self, worker: Worker, message: object) -> None:
        if isinstance(message, Beat):
            return  # it was heard
        if isinstance(message, Need):
            self._need(message.fingerprint)
        elif isinstance(message, Ready):
            worker.is_ready, worker.endpoints = True, message.endpoints
            worker.settled.set()
            self._changed()
            self._started.set()
        elif isinstance(message, Failed):
            worker.faults = message.faults
            for fault in message.faults if self._has_started else ():
                _log.error("worker %d: %s", worker.number, fault)
        elif isinstance(message, (Switched, Counted)):
            worker.answered(message)

    async def _watch(self) -> None:
        """End workers that say nothing: their event loop is stuck, or they were stopped."""
        while True:
            await asyncio.sleep(min(_LOOK, self._patience / 4))
            now = time.monotonic()
            for worker in self.workers:
                if worker.process is not None and now - worker.heard > self._patience:
                    _log.error("worker %d has said nothing for %g s, and is ended", worker.number, self._patience)
                    worker.heard = now
                    worker.kill()


def _interpreter_options() -> list[str]:
    """What this interpreter was told and a child does not find in its environment."""
    flags = sys.flags
    return ["-P", *(["-E"] if flags.ignore_environment else []), *(["-s"] if flags.no_user_site else [])]
