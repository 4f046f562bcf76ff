"""``securecoap shell``: commands line by line over one endpoint, whose sessions and contexts last from line to line.

On a terminal lines are edited and completed, and Ctrl-C ends what is under way; from a pipe they are carried out one
after the other. What the commands are is said in `shell_commands`, what they do in `shell_session`.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, Protocol, Unpack

import click

from securecoap.cli import logs, session, status
from securecoap.cli.help_texts import unbroken
from securecoap.cli.options import (
    CONNECTION,
    EXCHANGE,
    Connection,
    apply,
    content_format_option,
    refused,
    uri_argument_optional,
)
from securecoap.cli.place import Place
from securecoap.cli.text import tell
from securecoap.errors import CoapError
from securecoap.wire.content_formats import content_format_text

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from securecoap.cli.shell_session import Session
    from securecoap.context import Context

__all__ = ["commands", "may_be_kept"]

_EACH: Final = "is given with each command of the shell"
_WITH_BODY: Final = frozenset({"post", "put", "fetch", "patch", "ipatch"})


class _Lines(Protocol):
    """Where lines come from: `PlainLines` or `Terminal`."""

    async def read(self, prompt: str) -> str | None: ...


@click.command
@uri_argument_optional
@apply(
    (
        refused("--payload", reason=_EACH),
        refused("-o", "--output", reason=_EACH),
        content_format_option,
    ),
    EXCHANGE,
    CONNECTION,
)
def shell(
    uri: str | None,
    proxy: str | None,
    accept: int | None,
    content_format: int | None,
    block_size: int | None,
    non: bool,
    **connection: Unpack[Connection],
) -> int:
    """Work with servers line by line; 'help' lists the commands.

    URI is where to begin: a server, or a path on it. Sessions last from line to line. Options of requests hold for all
    of them, until 'set' says otherwise. Lines may come from a pipe: then the exit status is that of the first command
    that failed.
    """
    settings: dict[str, tuple[str, Any]] = {
        name: (content_format_text(value), value)
        for name, value in (("accept", accept), ("content-format", content_format))
        if value is not None
    }
    if block_size is not None:
        settings["block-size"] = str(block_size), block_size
    if non:
        settings["non"] = "on", True

    async def action(coap: Context) -> int:
        # When there is a shell: its commands.
        from securecoap.cli.shell_session import Session

        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        one = Session(coap, Place(uri), connection, proxy, interactive=is_terminal)
        one.settings.update(settings)
        return await _Shell(one, quiet=connection["quiet"], is_terminal=is_terminal).run()

    return session.run(connection, action)


class _Shell:
    """Reads lines and carries them out.

    Args:
        session: what they work on.
        quiet: whether there is no advice.
        is_terminal: whether a person sits there.
    """

    def __init__(self, session: Session, *, quiet: bool, is_terminal: bool) -> None:
        self._session = session
        self._quiet = quiet
        self._is_terminal = is_terminal
        self._work: asyncio.Task[int] | None = None
        self._was_interrupted = False

    async def run(self) -> int:
        """Until Ctrl-D, the end of the lines, or ``exit``.

        Returns:
            The exit status: of the first command of a pipe that failed.
        """
        if self._is_terminal:
            # In place of the one that ends the program; from a pipe Ctrl-C does end it.
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        result = status.SUCCESS
        lines = self._lines()
        while not self._session.has_ended:
            line = await lines.read(f"{self._session.place.uri or 'securecoap'}> ")
            if line is None:
                break
            result = await self._carry_out(line) if result == status.SUCCESS else await self._after(line, result)
        return status.SUCCESS if self._is_terminal else result

    async def _after(self, line: str, result: int) -> int:
        await self._carry_out(line)
        return result

    def _lines(self) -> _Lines:
        # Loaded where a shell is: a pipe needs no terminal, and prompt_toolkit is an extra.
        from securecoap.cli.lines import PlainLines

        if not self._is_terminal:
            return PlainLines(sys.stdin.fileno())
        try:
            from securecoap.cli.terminal import PrivateHistory, Terminal
        except ImportError:
            if not self._quiet:
                tell("for completion and a history: pip install 'securecoap[shell]'")
            return PlainLines(sys.stdin.fileno(), prompt_to=sys.stdout.fileno())
        from securecoap.cli.shell_completion import Completing
        from securecoap.state.location import default_state_directory

        history = PrivateHistory(default_state_directory() / "shell-history", may_be_kept)
        return Terminal(Completing(self._session).complete, history)

    def _interrupt(self) -> None:
        """Ctrl-C: ends what is under way, and not the shell."""
        if self._work is not None:
            self._was_interrupted = True
            self._work.cancel()

    async def _carry_out(self, line: str) -> int:
        """One line; what goes wrong is said, and is never a traceback."""
        self._was_interrupted = False
        try:
            outcome = self._parsed(line)
            if isinstance(outcome, int):
                return outcome
            self._work = asyncio.ensure_future(outcome)
            try:
                return await self._work
            finally:
                self._work.cancel()
                self._work = None
        except asyncio.CancelledError:
            if not self._was_interrupted:
                raise
            return 128 + signal.SIGINT
        except click.ClickException as error:
            tell(error.format_message())
            return status.USAGE
        except CoapError as error:
            session.report(error, quiet=self._quiet)
            return status.of_error(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            session.report_os_error(error)
            return status.FAILURE
        except Exception as error:  # noqa: BLE001  # a fault of one command must not end the session
            tell(f"a fault of this program: {type(error).__name__}: {error}")
            if logs.LOGGER.isEnabledFor(logging.DEBUG):
                tell(traceback.format_exc().rstrip())
            return status.INTERNAL

    def _parsed(self, line: str) -> int | Coroutine[Any, Any, int]:
        """The outcome of a line, or the work that gives it."""
        # Loaded when the first line is there.
        from securecoap.cli.shell_commands import commands as group

        if not line.strip() or line.lstrip().startswith("#"):
            return status.SUCCESS
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise click.UsageError(f"{str(error).lower()}: a quotation mark has no second one") from None
        if words[0] not in group.commands:
            raise click.UsageError(f"there is no command {words[0]!r}; 'help' lists all")
        try:
            with unbroken(group.commands[words[0]]).make_context(words[0], words[1:], obj=self._session) as ctx:
                outcome: int | Coroutine[Any, Any, int] = ctx.command.invoke(ctx)
        except click.exceptions.Exit:  # --help
            return status.SUCCESS
        except click.UsageError as error:
            advice = "" if self._quiet else f"\n'help {words[0]}' says what it takes"
            raise click.UsageError(error.format_message() + advice) from None
        return outcome


def may_be_kept(line: str) -> bool:
    """Whether a line may be written to the history: not if it has a body, or begins with a blank."""
    if not line.strip() or line[0].isspace():
        return False
    if line.split(maxsplit=1)[0] not in _WITH_BODY:
        return True
    try:
        words = shlex.split(line)
    except ValueError:
        return False
    return len(words) < 3 or (len(words) == 3 and words[2].startswith("@"))


commands: Final = {"shell": shell}
