"""Ownership among processes: locks of the operating system, which end with their process however it ends.

`RangeLocks` locks single bytes of one file, so that a server owns 100,000 contexts with one descriptor (neighbouring
bytes become one lock in the kernel). `FileLock` locks a whole file in the manner of aiocoap's context directories.
This module knows no context and no store, and never waits.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileLock", "RangeLocks"]

_TAKEN = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NOINHERIT", 0)


class RangeLocks:
    """Locks on the bytes of one file, held by the process; made by `shared`."""

    _of_process: ClassVar[dict[Path, RangeLocks]] = {}
    _mutex: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = 0
        self._descriptor = os.open(path, _FLAGS, 0o600)

    @classmethod
    def shared(cls, path: Path) -> RangeLocks:
        """The one object of this process for that file, to be closed as often as it was asked for.

        One, since POSIX gives up all locks of a process on a file when it closes any descriptor of it.

        Raises:
            OSError: the file cannot be opened or made.
        """
        path = path.resolve()
        with cls._mutex:
            locks = cls._of_process.get(path)
            if locks is None:
                locks = cls._of_process[path] = cls(path)
            locks._users += 1
            return locks

    @classmethod
    def forked(cls) -> None:
        """This is a child: nothing is locked for it."""
        cls._mutex = threading.Lock()
        cls._of_process.clear()

    def acquire(self, place: int, count: int = 1) -> bool:
        """Lock the byte at ``place``; false if another process has it. A byte that is ours already is locked once.

        With a ``count`` as many bytes from there on, all or none of them, by one call of the system; false also where
        the system cannot do that. Each is released by itself.

        Raises:
            OSError: this file system has no locks.
        """
        try:
            if sys.platform == "win32":
                if count > 1:  # what is locked there together can only be unlocked together
                    return False
                os.lseek(self._descriptor, place, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, place)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True

    def release(self, place: int, count: int = 1) -> None:
        """Unlock the byte at ``place``, and with a ``count`` as many from there on.

        Raises:
            OSError: one was not locked.
        """
        if sys.platform == "win32":
            for one in range(place, place + count):
                os.lseek(self._descriptor, one, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, count, place)

    def in_place(self) -> bool:
        """Whether the path still leads to the locked file: otherwise others would lock another one."""
        return _leads_to(self._path, self._descriptor)

    def close(self) -> None:
        """Give up every lock, if nobody else in the process has the object."""
        with self._mutex:
            self._users -= 1
            if self._users == 0:
                if self._of_process.get(self._path) is self:
                    del self._of_process[self._path]
                os.close(self._descriptor)


class FileLock:
    """A lock on a whole file, as the `filelock` package sets it; aiocoap holds one in each context directory."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path) -> FileLock | None:
        """Lock the file, which is made if it is missing; ``None`` if somebody else has it.

        Raises:
            OSError: the file cannot be opened, or its file system has no locks.
        """
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                return None
            raise
        if not _leads_to(path, descriptor):
            # aiocoap removes the file when it lets go: this lock is on a file that nobody will find any more.
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Unlock. The file stays: to remove it would split those who wait for it."""
        if self._descriptor is None:
            return
        if sys.platform == "win32":
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close the descriptor without unlocking: for a forked child, whose parent keeps the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RangeLocks.forked)
