"""A directory whose files others may read and write, and nothing else of the machine.

Every path is walked segment by segment from the root, each opened relative to the one before (``openat``) and without
following a symbolic link, so that nothing which is exchanged meanwhile leads out of the root. All of it may wait for a
disk and belongs in a thread. Messages, and who may do what, are not known here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Directory", "Entry", "Part", "TooManyEntries", "is_name"]

_LONGEST_NAME: Final = 255  # bytes: of a file system's names, and of a Uri-Path segment (RFC 7252 section 5.10)
_ETAG_LENGTH: Final = 8
_TRIES: Final = 3
_TICK: Final = 0.02
"""Seconds in which the clock of a file system surely moves on: kernels stamp files with a clock of 1 to 10 ms."""
_PERMISSIONS: Final = 0o777
_NEW: Final = 0o666  # less the umask

_CAN_WALK: Final = {os.open, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW
# To walk through a directory takes the permission to search it, not to list it.
_WALK: Final = _FLAGS | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
_LIST: Final = _FLAGS | os.O_DIRECTORY | os.O_RDONLY
# A FIFO or terminal that takes the place of a file meanwhile must not stop the thread.
_READ: Final = _FLAGS | os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_CREATE: Final = _FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL

_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EACCES, errno.EPERM}
)
"""What may not be read is not there, and neither is what stands behind a symbolic link."""


class TooManyEntries(OSError):
    """A directory has more entries than may be listed, or than one may be added to."""


class Part(NamedTuple):
    """Some bytes of a file, and of which state of it."""

    etag: bytes
    size: int
    """Of the whole file."""
    start: int
    payload: bytes


class Entry(NamedTuple):
    """What a directory has under a name: a file with its size, or (``None``) a directory."""

    name: str
    size: int | None


def is_name(segment: str) -> bool:
    """Whether a segment of a path can be the name of what is served.

    Hidden names never are: ``.`` and ``..`` are among them, and so is what is being written.
    """
    return (
        segment[:1] not in {"", "."}
        and "/" not in segment
        and "\0" not in segment
        and len(segment.encode(errors="replace")) <= _LONGEST_NAME
    )


class Directory:
    """The files below a root.

    Paths are sequences of names of which each `is_name`. What is no regular file or directory, stands behind a symbolic
    link, or may not be read, is not there: `FileNotFoundError`. Any other `OSError` is the machine's trouble.

    Args:
        root: its path; that may lead over symbolic links, also over one that is turned to another directory later.
        most_entries: of a directory that is listed, or to which a file is added.
        least_free: bytes that a write leaves free on the disk.

    Raises:
        ConfigurationError: it is no directory, may not be read, or the system cannot open relative to a directory.
    """

    def __init__(self, root: str | os.PathLike[str], *, most_entries: int, least_free: int) -> None:
        self._root = os.path.abspath(root)  # noqa: PTH100  # the working directory may change; links in it may, too
        self._most_entries = most_entries
        self._least_free = least_free
        if not _CAN_WALK:
            raise ConfigurationError("this system cannot open files relative to a directory; files are not served here")
        try:
            os.close(os.open(self._root, _LIST & ~os.O_NOFOLLOW))
        except OSError as error:
            raise ConfigurationError(f"{os.fspath(root)}: {error.strerror or error}") from None

    # What is there.

    def read(self, names: Sequence[str], start: int, size: int) -> Part:
        """Some bytes of a file.

        Raises:
            IsADirectoryError: it is a directory.
            FileNotFoundError: there is no such file.
            BlockingIOError: it changes faster than it can be read.
        """
        with _absent(), self._opened(names[:-1]) as directory:
            file = _open_file(directory, names[-1].encode())
            try:
                for _ in range(_TRIES):
                    before = os.fstat(file)
                    _let_tick_pass(before)
                    payload = os.pread(file, size, start)
                    etag = _etag(before)
                    if _etag(os.fstat(file)) == etag:
                        return Part(etag, before.st_size, start, payload)
            finally:
                os.close(file)
        raise BlockingIOError(errno.EAGAIN, "the file changes all the time")

    def list(self, names: Sequence[str]) -> list[Entry]:
        """What a directory has, by name.

        Raises:
            FileNotFoundError: there is no such directory.
            TooManyEntries: it is too large.
        """
        found = []
        with _absent(), self._opened(names, _LIST) as directory, os.scandir(directory) as entries:
            for count, entry in enumerate(entries):
                if count >= self._most_entries:
                    raise TooManyEntries(errno.EFBIG, "the directory has too many entries to be listed")
                try:
                    name = os.fsencode(entry.name).decode()
                    state = entry.stat(follow_symlinks=False)
                except (UnicodeDecodeError, FileNotFoundError):  # no path can name it; or it has gone
                    continue
                if is_name(name) and (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
                    found.append(Entry(name, None if stat.S_ISDIR(state.st_mode) else state.st_size))
        return sorted(found)

    # What changes.

    def write(self, names: Sequence[str], body: bytes, check: Callable[[bytes | None], None]) -> bool:
        """Put a file in its place, whole and in one step; its permissions stay as they were.

        Args:
            names: of the file; its directory has to be there.
            body: the content.
            check: called with the present entity-tag (``None``: there is no such file) before anything is changed. No
                other writer is at work in this directory from then until the end.

        Returns:
            Whether it was not there before.

        Raises:
            FileNotFoundError: there is no such directory.
            IsADirectoryError: a directory has the name.
            PermissionError: what has the name is no regular file, or the system does not allow it.
            TooManyEntries: the directory takes no further file.
            OSError: ``ENOSPC``, where the disk would get too full, and whatever else the system says.
        """
        name = names[-1].encode()
        with self._locked(names[:-1]) as directory:
            before = _replaceable(directory, name)
            check(None if before is None else _etag(before))
            disk = os.fstatvfs(directory)
            if disk.f_bavail * disk.f_frsize < len(body) + self._least_free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if before is None and len(_listed(directory)) >= self._most_entries:
                raise TooManyEntries(errno.EDQUOT, "the directory has too many entries")
            mode = None if before is None else stat.S_IMODE(before.st_mode) & _PERMISSIONS
            _replace(directory, name, body, mode)
        return before is None

    def delete(self, names: Sequence[str], check: Callable[[bytes | None], None]) -> bool:
        """Remove a file; see `write`.

        Returns:
            Whether it was there.

        Raises:
            IsADirectoryError, PermissionError: as `write`.
        """
        name = names[-1].encode()
        try:
            with self._locked(names[:-1]) as directory:
                before = _replaceable(directory, name)
                check(None if before is None else _etag(before))
                if before is not None:
                    os.unlink(name, dir_fd=directory)
                    os.fsync(directory)
        except FileNotFoundError:
            check(None)
            return False
        return before is not None

    # The way there.

    @contextmanager
    def _opened(self, names: Sequence[str], flags: int = _WALK) -> Iterator[int]:
        """The descriptor of a directory below the root."""
        directory = os.open(self._root, (_WALK if names else flags) & ~os.O_NOFOLLOW)
        try:
            for position, name in enumerate(names, 1):
                encoded = name.encode()
                _require_exact(directory, encoded, os.stat(encoded, dir_fd=directory, follow_symlinks=False))
                below = os.open(encoded, flags if position == len(names) else _WALK, dir_fd=directory)
                os.close(directory)
                directory = below
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _locked(self, names: Sequence[str]) -> Iterator[int]:
        """As `_opened`, for one writer at a time, whichever process it is in."""
        with _absent(errno.EACCES, errno.EPERM), self._opened(names, _LIST) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)  # until it is closed
            yield directory


@contextmanager
def _absent(*but: int) -> Iterator[None]:
    """What leads nowhere is not there, whichever way it does."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError)) or error.errno not in _ABSENT.difference(but):
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def _open_file(directory: int, name: bytes) -> int:
    """Open a regular file for reading. Anything else is not opened: with a device even that may have an effect."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _require_regular(found)
    _require_exact(directory, name, found)
    file = os.open(name, _READ, dir_fd=directory)
    try:
        _require_regular(os.fstat(file))  # it may be another one by now
    except BaseException:
        os.close(file)
        raise
    return file


def _require_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _require_exact(directory: int, name: bytes, found: os.stat_result) -> None:
    """Refuse a name that is not written as the directory has it.

    Where a file system takes other spellings for the same file (other case, short names, dots at the end), a policy for
    one of them would not hold for the others.
    """
    other = name.decode().swapcase().encode()
    if other == name:
        other = name + b"."
    try:
        twin = os.stat(other, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return  # no other spelling leads there, as almost everywhere
    if os.path.samestat(found, twin):
        readable = os.open(b".", _LIST, dir_fd=directory)
        try:
            if name not in _listed(readable):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        finally:
            os.close(readable)


def _listed(directory: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(directory)]  # by descriptor, not by path


def _etag(state: os.stat_result) -> bytes:
    """Changes with every change of a file: also where size and time of modification were made to look the same."""
    facts = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return blake2b(repr(facts).encode(), digest_size=_ETAG_LENGTH).digest()


def _let_tick_pass(state: os.stat_result) -> None:
    """Wait until a further change would have another time: until then two states could have one entity-tag."""
    age = time.time() - state.st_ctime_ns / 1e9
    if 0 <= age < _TICK:
        time.sleep(_TICK - age)


def _replaceable(directory: int, name: bytes) -> os.stat_result | None:
    """What has a name now, if that may be replaced; ``None`` for nothing."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise PermissionError(errno.EPERM, "no regular file")
    _require_exact(directory, name, found)
    return found


def _replace(directory: int, name: bytes, body: bytes, mode: int | None) -> None:
    """Write beside, make it durable, and rename: there is never half a file, nor one that a crash leaves empty."""
    partial = f".{secrets.token_hex(8)}.part".encode()
    file = os.open(partial, _CREATE, _NEW if mode is None else mode, dir_fd=directory)
    try:
        try:
            rest = memoryview(body)
            while rest:
                rest = rest[os.write(file, rest) :]
            if mode is not None:
                os.fchmod(file, mode)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial, dir_fd=directory)
        raise
    os.fsync(directory)
