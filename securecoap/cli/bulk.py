"""Very many devices at once: keys are made, and files written, in as many processes as are worth their start.

All that depends on other devices is settled before and after, in the one process that has the server's file. Secrets
go through pipes of which only these processes have an end; a device's file is written by whoever made its keys.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from types import NoneType
from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.collection import uncollected
from securecoap.credentials.making import MakingFault
from securecoap.credentials.saving import remove, settle, write_new

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from securecoap.credentials.halves import Maker, Order
    from securecoap.credentials.making import Json

__all__ = ["Batch", "Job", "devices_made", "orderly", "uninterrupted"]

_PART: Final = 500
"""Devices that a process makes in one go: whoever interrupts waits for one of them, for some tenths of a second."""
_WORTH_A_PROCESS: Final = 2500
"""Devices whose making takes about as long as starting a process."""
_MOST_PROCESSES: Final = 8
"""More of them would wait for the one that enters what they made."""
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Job(NamedTuple):
    """A device that is to be made.

    Attributes:
        place: in the table, for messages.
        order: what is made.
        path: the device's file.
    """

    place: str
    order: Order
    path: str


class Batch:
    """Devices that are made, and whose files are there.

    Attributes:
        halves: those of the server, in the order of the jobs.
        is_kept: whether the files stay; to be set when the server has its halves.
        durable: done when the files are on the disk, which they are to be before the server has its halves.
    """

    __slots__ = ("durable", "halves", "is_kept")

    def __init__(self) -> None:
        self.halves: list[Json] = []
        self.is_kept = False
        self.durable: Future[None] = Future()


@contextmanager
def devices_made(maker: Maker, pattern: str, jobs: Sequence[Job], directory: Path) -> Iterator[Batch]:
    """Make keys, and write the files of their devices; if the body does not keep them, they are taken back.

    Args:
        maker: who makes them.
        pattern: of the server, under which they stand in each file.
        jobs: the devices.
        directory: of the files.

    Raises:
        MakingFault: with the place: a file is there already, or a device cannot be made. Nothing is left.
        OSError: a file cannot be written. Nothing is left.
    """
    there = {entry.path for entry in os.scandir(directory)}
    for job in jobs:
        if job.path in there:
            raise MakingFault(f"{job.place}: {job.path} is there already")
    parts = [jobs[start : start + _PART] for start in range(0, len(jobs), _PART)]
    batch = Batch()
    written: list[Sequence[Job]] = []
    try:
        task = partial(_make, maker, pattern)
        count = min(_processors(), len(jobs) // _WORTH_A_PROCESS, _MOST_PROCESSES)
        batch.halves = _here(task, parts, written) if count < 2 else _elsewhere(task, parts, written, count)
        with ThreadPoolExecutor(1) as beside:  # the disk is busy meanwhile, and the processor need not wait for it
            batch.durable = beside.submit(settle)
            yield batch
    finally:
        if not batch.is_kept:
            with uninterrupted():
                remove([job.path for part in written for job in part])


@contextmanager
def orderly() -> Iterator[None]:
    """Let the signals that end a process end the body by an exception, so that what it began is taken back."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    caught = [one for one in (signal.SIGTERM, signal.SIGHUP) if is_main and signal.getsignal(one) is signal.SIG_DFL]
    for one in caught:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in caught:
            signal.signal(one, signal.SIG_DFL)


def _make(maker: Maker, pattern: str, jobs: Sequence[Job]) -> list[Json]:
    """Make devices and write their files, all or none; what it gives are the server's halves."""
    ours, files = [], []
    with uncollected():
        for place, order, path in jobs:
            try:
                mine, theirs = maker.halves(order)
            except MakingFault as fault:
                raise MakingFault(f"{place}: {fault}") from None
            ours.append(mine)
            files.append((path, {pattern: {maker.kind: theirs}}))
        write_new(files)
    return ours


def _here(
    task: Callable[[Sequence[Job]], list[Json]], parts: list[Sequence[Job]], written: list[Sequence[Job]]
) -> list[Json]:
    found = []
    for part in parts:
        with uninterrupted():
            found += task(part)
            written.append(part)
    return found


def _elsewhere(
    task: Callable[[Sequence[Job]], list[Json]],
    parts: list[Sequence[Job]],
    written: list[Sequence[Job]],
    count: int,
) -> list[Json]:
    found: list[Json] = []
    futures: list[Future[list[Json]]] = []
    # New programs: a fork would copy what this process has, locks that are held included.
    executor = ProcessPoolExecutor(count, get_context("spawn"), _follow)
    try:
        with uninterrupted():  # this is inherited: what ends the command is for this process, which ends the others
            futures += [executor.submit(task, part) for part in parts]
        for future in futures:
            found += future.result()
    except BrokenProcessPool:
        raise MakingFault("a process that made keys was killed") from None
    finally:
        with uninterrupted():  # the noting, too: who interrupts again must not leave files behind
            executor.shutdown(cancel_futures=True)
            for future, part in zip(futures, parts, strict=False):  # maybe not all could be asked for
                # Of one that was killed nobody knows what it has written; before, none of its files was there.
                if not future.cancelled() and isinstance(future.exception(), (NoneType, BrokenProcessPool)):
                    written.append(part)
    return found


def _follow() -> None:
    """In a process that makes: end when the one that asked is no more, even if that was killed."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Interrupts wait until the body is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processors() -> int:
    """How many CPUs there are for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
