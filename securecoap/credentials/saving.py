"""Writing credentials files: whole or not at all, only if they would load, and one command after the other.

One line for each entry, so that a difference shows whom it concerns. Must not know how entries are made.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from securecoap.collection import uncollected
from securecoap.credentials.loading import load_entries
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from securecoap.credentials.resolution import Role
    from securecoap.credentials.sources import Sources

__all__ = ["LOCK_SECONDS", "Change", "Staged", "locked", "remove", "save", "save_all", "settle", "staged", "write_new"]

LOCK_SECONDS: Final = 10.0
"""How long a command waits for another one that changes the same file."""
_POLL_SECONDS: Final = 0.05
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode  # made once: there are 200,000 values


@dataclass(frozen=True, slots=True)
class Change:
    """The new content of a file.

    Attributes:
        path: the file. One that exists keeps its mode and owner; a new one is for its owner only (0600).
        content: the entries, as they would be read; or bytes that are no entries, such as an authority's PEM.
        role: for what the entries are checked; the stricter reading if ``None``.
    """

    path: Path
    content: Mapping[str, Any] | bytes = field(repr=False)
    role: Role | None = None


@contextmanager
def locked(*paths: str | os.PathLike[str], seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep other commands from changing these files, from before they are read until they are written.

    The lock is on a file beside each (``.NAME.lock``), since the file itself is replaced; it is there for as long as it
    is held.

    Raises:
        TimeoutError: another command holds one of them for too long.
        OSError: the directory cannot be written.
    """
    files = sorted({Path(path).resolve() for path in paths})  # all in one order: nobody waits in a circle
    with ExitStack() as stack:
        for path in files:
            name = path.with_name(f".{path.name}.lock")
            stack.callback(os.close, _lock(name, path, time.monotonic() + seconds))
            stack.callback(name.unlink, missing_ok=True)  # before it is closed: only its holder deletes it
        yield


def _lock(name: Path, path: Path, deadline: float) -> int:
    """Hold a lock file that is still there: its last holder may have deleted it while we waited."""
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, name):
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise TimeoutError(f"{path}: another command is changing it") from None
            time.sleep(_POLL_SECONDS)
        os.close(descriptor)


def _is(descriptor: int, name: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), name.stat())
    except FileNotFoundError:
        return False


def save(path: str | os.PathLike[str], data: Mapping[str, Any], *, sources: Sources | None = None) -> tuple[str, ...]:
    """Replace a credentials file durably: after a crash there is the old one or the new one.

    Args:
        path: as for `Change`.
        data: the entries, as they would be read.
        sources: where ``file``, ``env`` and ``command`` values come from.

    Returns:
        The warnings that loading the file will give.

    Raises:
        CredentialsFault: the entries are faulty; the old file stays.
        OSError: the file cannot be written; the old file stays.
    """
    return save_all([Change(Path(path), data)], sources=sources)


def save_all(changes: Sequence[Change], *, sources: Sources | None = None) -> tuple[str, ...]:
    """Replace files: all are checked and written beside the old ones before the first is replaced, in this order.

    Returns:
        The warnings that loading the files will give.

    Raises:
        CredentialsFault: entries of one are faulty; all old files stay.
        OSError: one cannot be written; all old files stay, if it was not in the very last step.
    """
    with staged(changes, sources=sources) as ready:
        ready.replace()
    return ready.warnings


class Staged:
    """New content that is checked, and written beside the files that it is for.

    Attributes:
        warnings: those that loading the files will give.
    """

    __slots__ = ("_files", "warnings")

    def __init__(self) -> None:
        self.warnings: tuple[str, ...] = ()
        self._files: list[tuple[Path, Path]] = []

    def add(self, change: Change, sources: Sources | None) -> None:
        """Check and write one; see `save_all`."""
        target = change.path.resolve()
        if not isinstance(change.content, bytes):
            self.warnings += _checked(change, target.parent, sources)
        self._files.append((Path(_stage(target, change.content)), target))

    def replace(self) -> None:
        """Let the new content take the place of the old: the one step by which anything changes."""
        for temporary, target in self._files:
            temporary.replace(target)
        for directory in {target.parent for _, target in self._files}:
            _sync_directory(directory)

    def drop(self) -> None:
        """Leave the files as they are."""
        for temporary, _ in self._files:
            temporary.unlink(missing_ok=True)


@contextmanager
def staged(changes: Sequence[Change], *, sources: Sources | None = None) -> Iterator[Staged]:
    """All of `save_all` but its last step, which is for the body: whatever that does not replace is dropped.

    Raises:
        CredentialsFault, OSError: see `save_all`; all old files stay.
    """
    ready = Staged()
    try:
        with uncollected():
            for change in changes:
                ready.add(change, sources)
        yield ready
    finally:
        ready.drop()


def _checked(change: Change, base: Path, sources: Sources | None) -> tuple[str, ...]:
    try:
        content = cast("Mapping[str, Any]", change.content)
        return load_entries([content], base=base, role=change.role, outside=sources)[1]
    except CredentialsFault as fault:
        raise CredentialsFault([f"{change.path}: {text}" for text in fault.faults]) from None


def write_new(files: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write very many files that are not there yet, for their owner only: all of them or none; see `settle`.

    They are not checked: it is for halves of entries that are checked in a server's file.

    Raises:
        OSError: one is there already, or cannot be written; those that were written are deleted.
    """
    written: list[str] = []
    try:
        for name, content in files:
            text = _text(content)
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            written.append(name)
            try:
                if os.write(descriptor, text) != len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            finally:
                os.close(descriptor)
    except BaseException:
        remove(written)
        raise


def settle() -> None:
    """Have everything that was written on the disk: one fsync for each of very many files would take far longer."""
    os.sync()


def remove(names: Sequence[str]) -> None:
    """Take back what `write_new` wrote."""
    for name in names:
        Path(name).unlink(missing_ok=True)


def _text(content: Mapping[str, Any] | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    lines = [f"  {_encode(name)}: {_encode(value)}" for name, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _stage(target: Path, content: Mapping[str, Any] | bytes) -> str:
    """Write a file beside its target, with the target's mode and owner, and give its name."""
    text = _text(content)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mkstemp gives mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            if target.exists():
                old, new = target.stat(), os.fstat(descriptor)
                if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, old.st_mode & 0o777)
            os.fsync(descriptor)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return temporary


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
