"""The program ``securecoap``: finds a command, runs it, and turns how it ended into an exit status.

Knows the commands' names and modules only, so that a command loads nothing that another needs.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from securecoap import __version__
from securecoap.cli import status
from securecoap.cli.help_texts import unbroken
from securecoap.cli.text import reader_left

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["program", "run"]

_MODULES: Final = {
    "get": "requests",
    "post": "requests",
    "put": "requests",
    "delete": "requests",
    "fetch": "requests",
    "patch": "requests",
    "ipatch": "requests",
    "observe": "observe",
    "discover": "discover",
    "ping": "ping",
    "shell": "shell",
    "serve": "serve",
    "credentials": "credentials",
    "completion": "completion",
}


class _Program(click.Group):
    """A group that imports the module of a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        commands: dict[str, click.Command] = import_module(f"securecoap.cli.{module}").commands
        return unbroken(commands[cmd_name])


_COMPLETION: Final = "_SECURECOAP_COMPLETE"
_HELP: Final = """Secure CoAP: requests, observation and servers over DTLS and OSCORE.

\b
Exit status of requests:
  0  the response has a code 2.xx
  1  the response has another code; or a file could not be read or written
  2  usage, credentials or state: nothing was sent
  3  no response that can be trusted
"""


@click.group(
    cls=_Program, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="securecoap")
def program() -> None:
    """The group of all commands."""


unbroken(program)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: what follows its name; ``None`` for those of this process.

    Returns:
        The exit status.
    """
    if _COMPLETION in os.environ:  # a shell asks how a line may go on
        import_module("securecoap.cli.completion")
    try:
        outcome = program.main(arguments, prog_name="securecoap", complete_var=_COMPLETION, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return status.USAGE
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001  # a fault of this program must not look like an answer of a server
        traceback.print_exc()
        return status.INTERNAL
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return reader_left()
    return outcome if isinstance(outcome, int) else status.SUCCESS
