"""Running a command against a client `Context`: its options, signals, and how it ended.

What is done is the command's business; knows no format and no method.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from securecoap.cli import logs, status
from securecoap.cli.advice import about_error
from securecoap.cli.text import reader_left, tell
from securecoap.errors import CoapError, HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from securecoap.cli.options import Connection
    from securecoap.context import Context
    from securecoap.credentials import CredentialsMap

__all__ = ["TimeLimit", "credentials", "interruptible", "report", "report_os_error", "run", "time_limit"]

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TimeLimit(TypedDict, total=False):
    """The keyword of a request that limits its time, if the user has named a limit."""

    timeout: float


def time_limit(connection: Connection) -> TimeLimit:
    """The user's limit, or nothing: then it is the library's."""
    seconds = connection["timeout"]
    return {} if seconds is None else {"timeout": seconds}


def run(connection: Connection, action: Callable[[Context], Awaitable[int]], *, ends_by_signal: bool = False) -> int:
    """Open a client, act, close it.

    Args:
        connection: the options of `CONNECTION`.
        action: what to do; returns the exit status. A signal cancels it.
        ends_by_signal: whether SIGINT and SIGTERM are its regular end.

    Returns:
        The exit status; what went wrong has been said on stderr.
    """
    logs.configure(_LEVELS[min(connection["verbose"], 2)])
    try:
        stopped, result = asyncio.run(interruptible(_act(connection, action)))
    except CoapError as error:
        report(error, quiet=connection["quiet"])
        return status.of_error(error)
    except BrokenPipeError:
        return reader_left()
    except OSError as error:
        report_os_error(error)
        return status.FAILURE
    if stopped is not None:
        return status.SUCCESS if ends_by_signal else 128 + stopped
    return result if result is not None else status.INTERNAL


async def _act(connection: Connection, action: Callable[[Context], Awaitable[int]]) -> int:
    # When it is used, not when the command line is parsed: it is all of the library.
    from securecoap.context import Context

    async with Context.client(**_client_arguments(connection)) as coap:
        return await action(coap)


def _client_arguments(connection: Connection) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "credentials": credentials(connection["credentials"], "client"),
        "state": connection["state"],
        "engine": connection["dtls_engine"],
        "keylog": connection["keylog"],
    }
    if connection["verbose"]:
        # When it is asked for: it knows the insides of all layers.
        from securecoap.cli.trace import Trace

        arguments["tracer"] = Trace(deep=connection["verbose"] > 1)
    if connection["timeout"] is not None:
        # The wait for a security context that another process has ends first, so that it is the reason that is named.
        arguments["state_wait"] = max(connection["timeout"] - 1, connection["timeout"] / 2)
    return arguments


def credentials(files: tuple[Path, ...], role: Literal["client", "server"]) -> CredentialsMap | None:
    """What the files say, ``None`` if there are none.

    Args:
        files: of ``--credentials``.
        role: what they are for.

    Raises:
        CredentialsFault: with all faults of all files.
    """
    if not files:
        return None
    # When it is used: most of start-up time.
    from securecoap.credentials import CredentialsMap

    return CredentialsMap.load(*files, role=role)


async def interruptible(work: Awaitable[int]) -> tuple[int | None, int | None]:
    """Do the work; SIGINT and SIGTERM cancel it, and are waited for until it has cleaned up.

    Returns:
        The signal or ``None``, and the result or ``None``.
    """
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    with _handlers(stop):
        try:
            result = await task
        except asyncio.CancelledError:
            if not received:
                raise
            return received[0], None
    return (received[0] if received else None), result


@contextmanager
def _handlers(stop: Callable[[int], None]) -> Iterator[None]:
    """Call ``stop`` with the first signal; a second one ends the process as if nothing had been arranged."""
    loop = asyncio.get_running_loop()

    def first(number: int) -> None:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def report(error: CoapError, *, quiet: bool = False) -> None:
    """Say on stderr why there is no response, or why nothing was sent; and what to do next, unless ``quiet``."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror  # without its number
    elif isinstance(error, HandshakeFailed) and error.alert is not None and error.alert not in text:
        text = f"{text} (alert: {error.alert})"
    advice = None if quiet else about_error(error)
    tell("\n".join([text or type(error).__name__, *notes(error), *([advice] if advice else [])]))
    if logs.LOGGER.isEnabledFor(logging.DEBUG):
        tell("".join(traceback.format_exception(error)).rstrip())


def report_os_error(error: OSError) -> None:
    """Say on stderr which file could not be read or written, and why."""
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    tell("\n".join([text, *notes(error)]))


def notes(error: BaseException) -> list[str]:
    """What was added to an error on its way."""
    return getattr(error, "__notes__", [])
