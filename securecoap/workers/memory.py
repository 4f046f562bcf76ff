"""Memory that processes share, in slots of 64-bit words, each with a lock of its own that ends with its process.

A slot's first word says that somebody is amid a change. Whoever locks a slot and finds it so knows that a process ended
there: then nothing in the slot can be believed, and its owner's rule says what that means. Locks are taken for a few
microseconds, and never waited for without a bound: who does not get one in time has to refuse.

This module knows slots and words, not what is in them.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BUSY", "CAPACITY", "SharedMemory"]

BUSY: Final = 0
"""The word of a slot that is not zero amid a change."""
CAPACITY: Final = 64 * 1024 * 1024
"""Bytes; only those that are used take memory."""
_WORD: Final = 8
_PATIENCE: Final = 0.25
"""Seconds after which a lock is not waited for any more: its holder was stopped."""
_TAKEN: Final = frozenset({errno.EACCES, errno.EAGAIN})
_FLOCK: Final = struct.Struct("@hhqqi4x")
"""``struct flock``: type, whence, start, length, process (0, as locks of open files ask for)."""


class SharedMemory:
    """Words of memory behind a file descriptor.

    Args:
        descriptor: of `create`; it stays open.

    Attributes:
        words: all of them, of 64 bits; each is read and written at once.
        octets: the same memory as bytes.

    Raises:
        ConfigurationError: the system has no such memory.
    """

    __slots__ = ("_descriptor", "_next", "_spare", "octets", "words")

    def __init__(self, descriptor: int) -> None:
        try:
            # A description of its own: locks belong to it, and not to the processes that inherited the descriptor.
            self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigurationError(f"several workers need /proc: {error.strerror}") from None
        mapped = mmap.mmap(self._descriptor, CAPACITY)
        self.octets = memoryview(mapped)
        self.words = self.octets.cast("Q")
        self._next = 0
        self._spare: dict[int, list[int]] = {}

    @staticmethod
    def create() -> int:
        """Return a descriptor of new memory, all zero; children inherit it only where they are told to.

        Raises:
            ConfigurationError: the system has none.
        """
        if not sys.platform.startswith("linux"):
            raise ConfigurationError("several workers need Linux: its memory files, locks and groups of sockets")
        descriptor = os.memfd_create("securecoap-workers")
        os.ftruncate(descriptor, CAPACITY)
        return descriptor

    # Slots: the parent gives them out.

    def allocate(self, count: int) -> int:
        """Return the place of a slot with so many words, all zero.

        Raises:
            StateError: none are left.
        """
        spare = self._spare.get(count)
        if spare:
            return spare.pop()
        place = self._next
        if (place + count) * _WORD > CAPACITY:
            raise StateError("there is no room for more security contexts while the workers run; start again")
        self._next += count
        return place

    def free(self, place: int, count: int) -> None:
        """Take a slot back that no worker uses any more."""
        for index in range(place, place + count):
            self.words[index] = 0
        self._spare.setdefault(count, []).append(place)

    # Locks.

    def lock(self, place: int, mend: Callable[[], None]) -> bool:
        """Lock a slot, and begin a change of it; false if its lock cannot be had.

        Args:
            place: of the slot.
            mend: called first if somebody's change was never finished.
        """
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        deadline = 0.0
        while True:
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)
                break
            except OSError as error:
                if error.errno not in _TAKEN:
                    return False
            now = time.monotonic()
            deadline = deadline or now + _PATIENCE
            if now > deadline:
                return False
            os.sched_yield()
        words = self.words
        if words[place + BUSY]:
            mend()
        words[place + BUSY] = 1
        return True

    def unlock(self, place: int) -> None:
        """The change is finished."""
        self.words[place + BUSY] = 0
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, place, 1, 0))

    def close(self) -> None:
        """Close it; memory and locks go with the last reference to the memory."""
        os.close(self._descriptor)
