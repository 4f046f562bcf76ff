"""State in a directory of aiocoap's form, so that aiocoap and we can take turns with one context.

``sequence.json`` has ``next-to-send``, the first number that nobody has reserved, and ``received``: ``"unknown"``, or
``{"index": i, "bitfield": b}``, where bit *n* says that *i + n* was received, all below *i* counts as received and
nothing above the highest bit. The file ``lock`` is locked as a whole while somebody uses the context. This module knows
neither keys nor settings.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from securecoap.errors import StateError
from securecoap.state.handle import FIRST_CHUNK, Chunk, Claim, next_chunk
from securecoap.state.location import sync_directory
from securecoap.state.locks import FileLock
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, SavedWindow
from securecoap.state.worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from securecoap.state.handle import Backing, Return
    from securecoap.state.protocol import StateRequest

__all__ = ["BasedirHome", "parse_sequence", "sequence_text"]

_SEQUENCE = "sequence.json"
_LOCK = "lock"
_LARGEST_FILE = 64 * 1024

_log = logging.getLogger(__name__)


class BasedirHome:
    """One context directory, with a thread of its own while it is in use.

    Attributes:
        directory: its path, resolved.
        strict: whether a missing ``sequence.json`` is an error.
        users: how many stores use it.
    """

    def __init__(self, directory: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self.directory = directory
        self.strict = False
        self.users = 0
        self.sync = sync
        self.worker = ThreadWorker("securecoap-basedir")

    def finish(self) -> None:
        """Nothing is open between two transactions."""

    def claim(self, requests: Sequence[StateRequest]) -> list[Claim | None]:
        """See `securecoap.state.handle.Home.claim`; a directory has one context."""
        return [self._claim(request.label) for request in requests]

    def give_back(self, returns: Sequence[Return]) -> list[StateError | None]:
        """See `securecoap.state.handle.Home.give_back`."""
        for backing, unused, end, window in returns:
            cast("_Directory", backing).give_back(unused, end, window)
        return [None] * len(returns)

    def unlock(self, backings: Sequence[Backing]) -> None:
        """See `securecoap.state.handle.Home.unlock`."""
        for backing in backings:
            backing.unlock()

    def _claim(self, label: str) -> Claim | None:
        try:
            lock = FileLock.acquire(self.directory / _LOCK)
        except OSError as error:
            raise StateError(f"{label}: {self.directory} cannot be locked: {error}") from error
        if lock is None:
            return None
        place = _Directory(self, label, lock)
        try:
            found = place.read()
            if found is None:
                self._begin_anew(label)
                found = (0, None)
            mark, window = found
            chunk = Chunk(mark, min(mark + FIRST_CHUNK, MAX_SEQUENCE_NUMBER + 1))
            place.write(chunk.end, None)
        except BaseException:
            place.unlock()
            raise
        return Claim(place, chunk, window)

    def _begin_anew(self, label: str) -> None:
        if self.strict:
            raise StateError(f"{label}: no {_SEQUENCE} in {self.directory}, and it was asked not to begin anew")
        _log.warning(
            "No %s in %s: it is made now, and this security context starts anew, with sequence number 0: %s. If it was "
            "used before, its peer refuses its messages at best, and nonces are used twice at worst: give it new keys.",
            _SEQUENCE,
            self.directory,
            label,
        )


def parse_sequence(text: bytes) -> tuple[int, SavedWindow | None]:
    """What a ``sequence.json`` says: the first number that may be used, and the window.

    Raises:
        ValueError: it is not one.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a value of a file, not of a caller
    mark = _natural(document.get("next-to-send"), "next-to-send", MAX_SEQUENCE_NUMBER + 1)
    received = document.get("received")
    # aiocoap writes nulls when it leaves before its window was recovered.
    if received == "unknown" or received == {"index": None, "bitfield": None}:
        return mark, None
    if not isinstance(received, dict):
        raise ValueError("received is neither a window nor unknown")  # noqa: TRY004 - as above
    index = _natural(received.get("index"), "received.index", MAX_SEQUENCE_NUMBER)
    bitfield = _natural(received.get("bitfield"), "received.bitfield", (1 << 8 * _LARGEST_FILE) - 1)
    highest = index + bitfield.bit_length() - 1
    if highest > MAX_SEQUENCE_NUMBER:
        raise ValueError("received has numbers above 2^40-1")
    if highest < index:  # nothing but what is older than the window
        return mark, SavedWindow(highest, int(highest >= 0), 1)
    size = highest - index + 1
    return mark, SavedWindow(highest, _mirrored(bitfield, size), size)


def sequence_text(mark: int, window: SavedWindow | None) -> bytes:
    """A ``sequence.json``; a window whose freshness was never proved is unknown to aiocoap."""
    received: Any = "unknown"
    if window is not None and window.proven:
        if window.highest < 0:
            received = {"index": 0, "bitfield": 0}
        else:
            size = min(window.size, window.highest + 1)
            seen = window.seen & ((1 << size) - 1)
            received = {"index": window.highest - size + 1, "bitfield": _mirrored(seen, size)}
    return json.dumps({"next-to-send": mark, "received": received}).encode()


def _mirrored(bits: int, size: int) -> int:
    return int(f"{bits:0{size}b}"[::-1], 2)


def _natural(value: Any, name: str, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"{name} is not a number from 0 to {largest if largest < 1 << 64 else 'its bound'}")
    return value


class _Directory:
    """A locked context directory: see `securecoap.state.handle.Backing`."""

    __slots__ = ("_home", "_label", "_lock", "held")

    def __init__(self, home: BasedirHome, label: str, lock: FileLock) -> None:
        self._home = home
        self._label = label
        self._lock = lock
        self.held = True

    def read(self) -> tuple[int, SavedWindow | None] | None:
        """What the file says; ``None`` if there is none.

        Raises:
            StateError: it cannot be read, or is not a ``sequence.json``.
        """
        if not self.held:
            raise StateError(f"{self._label}: no longer owned by this process")
        path = self._home.directory / _SEQUENCE
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST_FILE + 1)
            if len(text) > _LARGEST_FILE:
                raise ValueError("too large")  # noqa: TRY301 - one place says which file
            return parse_sequence(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(f"{self._label}: {path} cannot be read: {error}") from error

    def write(self, mark: int, window: SavedWindow | None) -> None:
        """Replace the file, durably.

        Raises:
            StateError: it is not durable.
        """
        directory = self._home.directory
        try:
            descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".sequence-", suffix=".json")
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
                    file.write(sequence_text(mark, window))
                    file.flush()
                    self._home.sync(file.fileno())
                Path(temporary).replace(directory / _SEQUENCE)
            except BaseException:
                with suppress(FileNotFoundError):
                    Path(temporary).unlink()
                raise
            sync_directory(directory)
        except OSError as error:
            raise StateError(f"{self._label}: {directory / _SEQUENCE} cannot be written: {error}") from error

    def extend(self, start: int, count: int) -> Chunk:
        chunk = next_chunk(max(start, self._mark()), count, self._label)
        self.write(chunk.end, None)
        return chunk

    def give_back(self, unused: int, end: int, window: SavedWindow | None) -> None:
        mark = self._mark()
        if mark == end or window is not None:
            self.write(unused if mark == end else mark, window)

    def unlock(self) -> None:
        if self.held:
            self.held = False
            with suppress(OSError):
                self._lock.release()

    def forget(self) -> None:
        self.held = False
        with suppress(OSError):
            self._lock.forget()

    def _mark(self) -> int:
        found = self.read()
        if found is None:
            raise StateError(f"{self._label}: {self._home.directory / _SEQUENCE} was deleted while in use")
        return found[0]
