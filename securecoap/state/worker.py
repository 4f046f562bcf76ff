"""The thread that waits for the disk, so that the event loop never does, and the group commit.

Whatever is asked for while a transaction is under way goes into the next one together: a thousand contexts that run out
of numbers at once cost two fsyncs, not a thousand. This module knows no format and no context.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from securecoap.errors import StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Job", "ManualWorker", "ThreadWorker", "Worker"]

T = TypeVar("T")


@dataclass(slots=True)
class Job(Generic[T]):
    """One piece of work at the disk.

    Attributes:
        run: does it, in the worker's thread, inside the transaction; a `StateError` raised before its first write fails
            this job alone, any other exception the whole batch.
        done: told the result or the error, in the event loop.
        loop: that event loop.
        settle: called in the worker's thread after the transaction, told whether its work is durable.
        lost: called in the worker's thread instead of ``done`` if the event loop is closed.
        alone: runs by itself, outside of the transaction.
    """

    run: Callable[[], T]
    done: Callable[[T | StateError], None]
    loop: asyncio.AbstractEventLoop
    settle: Callable[[bool], None] = lambda _committed: None
    lost: Callable[[], None] = lambda: None
    alone: bool = False


class Worker(Protocol):
    """Where jobs go."""

    def submit(self, job: Job[Any]) -> None:
        """Have it run after the jobs before it. Never waits."""


class ThreadWorker:
    """One thread, begun with the first job.

    Args:
        name: of the thread.
        transaction: wraps each batch; leaving it without an exception means that all is durable.
    """

    def __init__(self, name: str, transaction: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._transaction = transaction
        self._mutex = threading.Lock()
        self._waiting: list[Job[Any]] = []
        self._thread = ThreadPoolExecutor(1, name)
        self._process = os.getpid()

    def submit(self, job: Job[Any]) -> None:
        """Have it run after the jobs before it. Never waits."""
        if os.getpid() != self._process:
            _refuse(job, "the state store belongs to the parent of this process")
            return
        with self._mutex:
            self._waiting.append(job)
            if len(self._waiting) > 1:
                return
        try:
            self._thread.submit(self._drain)
        except RuntimeError:  # shut down, or the interpreter is about to end
            for refused in self._take():
                _refuse(refused, "the state store is closed")

    def close(self) -> None:
        """End the thread; to be called when no job is left."""
        self._thread.shutdown()

    def _take(self) -> list[Job[Any]]:
        with self._mutex:
            jobs, self._waiting = self._waiting, []
        return jobs

    def _drain(self) -> None:
        group: list[Job[Any]] = []
        for job in self._take():
            if job.alone:
                _perform(group, self._transaction)
                _perform([job], nullcontext)
                group = []
            else:
                group.append(job)
        _perform(group, self._transaction)


class ManualWorker:
    """Runs jobs at once in the caller's thread or, when held, at `run_all`: for stores in memory and for tests."""

    def __init__(self) -> None:
        self.held = False
        self.fault: Exception | None = None
        self._waiting: list[Job[Any]] = []

    def submit(self, job: Job[Any]) -> None:
        """Run it, or keep it when held."""
        if self.held:
            self._waiting.append(job)
        else:
            self._run(job)

    def run_all(self) -> None:
        """Run what was kept."""
        jobs, self._waiting = self._waiting, []
        for job in jobs:
            self._run(job)

    def _run(self, job: Job[Any]) -> None:
        outcome: Any
        if self.fault is not None:
            outcome = _state_error(self.fault)
        else:
            try:
                outcome = job.run()
            except StateError as error:
                outcome = error
        job.settle(not isinstance(outcome, StateError))
        job.done(outcome)


def _perform(jobs: list[Job[Any]], transaction: Callable[[], AbstractContextManager[object]]) -> None:
    if not jobs:
        return
    outcomes: list[Any] = []
    try:
        with transaction():
            for job in jobs:
                try:
                    outcomes.append(job.run())
                except StateError as error:
                    outcomes.append(error)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody gets a number and nobody waits for ever
        outcomes = [_state_error(error) for _ in jobs]
    _settle(list(zip(jobs, outcomes, strict=True)))


def _settle(settled: list[tuple[Job[Any], Any]]) -> None:
    """Tell the outcomes: each event loop is woken once for all that concern it."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Job[Any], Any]]] = {}
    for job, outcome in settled:
        job.settle(not isinstance(outcome, StateError))
        loops.setdefault(job.loop, []).append((job, outcome))
    for loop, pairs in loops.items():
        try:
            loop.call_soon_threadsafe(_deliver, pairs)
        except RuntimeError:  # the loop is closed
            for job, _ in pairs:
                job.lost()


def _deliver(pairs: list[tuple[Job[Any], Any]]) -> None:
    for job, outcome in pairs:
        job.done(outcome)


def _refuse(job: Job[Any], text: str) -> None:
    _settle([(job, StateError(text))])


def _state_error(error: Exception) -> StateError:
    if isinstance(error, StateError):
        return error
    fault = StateError(f"the state store failed: {error}")
    fault.__cause__ = error
    return fault
