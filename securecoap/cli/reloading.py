"""A server that reads its credentials again: at SIGHUP, and with ``--reload`` when the files change.

What a reload does is `Context.reload`'s affair. Here is when, and what is said of it.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from securecoap.cli import logs
from securecoap.errors import CoapError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from securecoap.cli.fleet import Fleet
    from securecoap.cli.systemd import Notifier
    from securecoap.context import Context

    Signature = tuple[tuple[int, int, int] | None, ...]

__all__ = ["reloading", "require_watching"]


_FAILED: Final = "the credentials were not read again, those before stay"


def require_watching() -> None:
    """Refuse ``--reload`` where nothing can watch files.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    try:
        import watchfiles  # noqa: F401  # only where it is asked for
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles: pip install 'securecoap[reload]'") from None


@asynccontextmanager
async def reloading(
    server: Context | Fleet, files: Sequence[Path], notifier: Notifier, told: Callable[[bool], None], *, watches: bool
) -> AsyncIterator[None]:
    """Reload at SIGHUP while the body runs; afterwards SIGHUP is ignored.

    Args:
        server: a running server.
        files: of ``--credentials``.
        notifier: told of each reload.
        told: called after each, with whether it succeeded.
        watches: whether to reload when the files change, too.
    """
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_reload_when(wanted, server, files, notifier, told))]
    if watches and files:
        # As they are now: what changes before the task has its first turn is not missed.
        tasks.append(loop.create_task(_watch(files, _signature(files), wanted)))
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it must not end what is being drained
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reload_when(
    wanted: asyncio.Event,
    server: Context | Fleet,
    files: Sequence[Path],
    notifier: Notifier,
    told: Callable[[bool], None],
) -> None:
    while True:
        await wanted.wait()
        wanted.clear()
        notifier.reloading()
        has_succeeded = await _reload(server, files)
        told(has_succeeded)
        notifier.ready("serving" if has_succeeded else "serving; the credentials could not be read again")


async def _reload(server: Context | Fleet, files: Sequence[Path]) -> bool:
    if not files:
        logs.event(logs.WARNING, "reload-failed", "there are no --credentials to be read again; nothing was changed")
        return False
    try:
        await server.reload(files)
    except (CoapError, OSError) as error:
        faults = getattr(error, "faults", None) or [str(error) or type(error).__name__]
        logs.event(logs.ERROR, "reload-failed", _FAILED, faults=list(faults))
        return False
    except Exception as error:  # noqa: BLE001  # whatever it is, the server goes on, and so does the next reload
        logs.event(logs.ERROR, "reload-failed", _FAILED, trace=error)
        return False
    credentials = server.credentials
    if credentials is not None:
        logs.event(logs.INFO, "reload", "the credentials were read again", entries=len(credentials.entries))
    return True


async def _watch(files: Sequence[Path], before: Signature, wanted: asyncio.Event) -> None:
    """Ask for a reload when one of the files is another one; directories are watched, because editors replace files."""
    from watchfiles import awatch

    # It returns now and then when nothing has changed, too: what came before it began to watch is not missed.
    async for _ in awatch(*_directories(files), recursive=False, yield_on_timeout=True):
        now = _signature(files)
        if now != before:
            before = now
            wanted.set()


def _directories(files: Sequence[Path]) -> set[Path]:
    """What is watched: where the files are; one that is a directory of files is that itself."""
    return {file.absolute() if file.is_dir() else file.absolute().parent for file in files}


def _signature(files: Sequence[Path]) -> Signature:
    from securecoap.credentials.loading import files_of

    return tuple(_stat(one) for file in files for one in files_of(file))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
