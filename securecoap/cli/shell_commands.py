"""The commands of ``securecoap shell``: what may be written in a line, and what is then done with its `Session`.

Each is a click command whose callback gives the exit status, or a coroutine that does. Reads no lines and handles no
signals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from securecoap.cli import status
from securecoap.cli.completing import bodies
from securecoap.cli.help_texts import unbroken
from securecoap.cli.options import EXCHANGE, RESULT, apply, block_size_of, body_of, content_format_option, seconds_of
from securecoap.cli.shell_session import Session
from securecoap.cli.text import printable
from securecoap.cli.transfers import BODILESS, METHODS
from securecoap.errors import UriError
from securecoap.wire.content_formats import parse_content_format

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    _Parameter = click.ParamType[Any]
else:
    _Parameter = click.ParamType  # of which click 8.1 has no kinds

__all__ = ["commands"]

_HELP: Final = {
    "get": "Fetch a resource.",
    "post": "Send a body for a resource to process.",
    "put": "Create or replace a resource.",
    "delete": "Delete a resource.",
    "fetch": "Ask for a part of a resource.",
    "patch": "Change a part of a resource.",
    "ipatch": "Change a part, idempotently.",
}
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]*)?")
_BODY: Final = "BODY is a text, in quotes if it has blanks, or @FILE."


class _Reference(_Parameter):
    """A path, relative to where the shell is, or a URI."""

    name = "path"

    def __init__(self, *, places_only: bool = False) -> None:
        self._places_only = places_only

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        assert ctx is not None
        session: Session = ctx.obj
        try:
            session.place.resolve(value)
        except UriError as error:
            self.fail(str(error), param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        session: Session = ctx.obj
        found = session.place.candidates(incomplete, places_only=self._places_only)
        # A server that names a resource "-oFILE" must not get an option, and so a file, out of a Tab.
        return [
            CompletionItem(f"./{text}" if text.startswith("-") else text, help=printable(title, lines=False) or None)
            for text, title in found
        ]


class _Body(_Parameter):
    name = "body"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes | Path:  # noqa: ARG002  # click's signature
        return body_of(value) if isinstance(value, str) else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return bodies(ctx, param, incomplete)


class _Name(_Parameter):
    """The name of a command."""

    name = "command"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in commands.commands:
            self.fail(f"there is no command {value!r}; 'help' lists all", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  # click's signature
        return [CompletionItem(name) for name in sorted(commands.commands) if name.startswith(incomplete)]


@click.group(add_help_option=False)
def commands() -> None:
    """Commands. 'help COMMAND' says more; quotes keep blanks together."""


_EXCHANGE: Final = EXCHANGE[:3]  # the proxy is the shell's
_path: Final = click.argument("path", type=_Reference(), default="")


def _request(method: str) -> None:
    @apply([_path], [] if method in BODILESS else _body_parameters(), RESULT, _EXCHANGE)
    @click.pass_obj
    def callback(session: Session, /, path: str, **given: Any) -> Coroutine[Any, Any, int]:
        return session.request(method, path, **given)

    text = _HELP[method] if method in BODILESS else f"{_HELP[method]}\n\n{_BODY}"
    commands.command(method, help=text)(callback)


def _body_parameters() -> list[Callable[[Any], Any]]:
    return [
        click.argument("body", type=_Body(), default=b""),
        content_format_option,
    ]


for _method in METHODS:
    _request(_method)


@commands.command
@apply([_path], RESULT, _EXCHANGE)
@click.pass_obj
def observe(session: Session, /, path: str, **given: Any) -> Coroutine[Any, Any, int]:
    """Print a resource, and again whenever it changes. Ctrl-C ends it."""
    return session.observe(path, **given)


@commands.command
@click.argument("path", type=_Reference(), default="")
@click.pass_obj
def ping(session: Session, /, path: str) -> Coroutine[Any, Any, int]:
    """Ask whether the server is there."""
    return session.ping(path)


@commands.command
@click.argument("path", type=_Reference(), default="")
@click.pass_obj
def discover(session: Session, /, path: str) -> Coroutine[Any, Any, int]:
    """Ask the server what it has, and list it. A query is a filter (discover ?rt=temperature)."""
    return session.discover(path)


@commands.command
@click.argument("path", type=_Reference(), default="")
@click.pass_obj
def ls(session: Session, /, path: str) -> Coroutine[Any, Any, int]:
    """List what is known at and below a path; the server is asked if it was not before."""
    return session.list_resources(path)


@commands.command
@click.argument("path", type=_Reference(places_only=True), default="/")
@click.pass_obj
def cd(session: Session, /, path: str) -> int:
    """Go to a path, or with a URI to another server. Paths in other commands are relative to it."""
    try:
        session.place.go(path)
    except UriError as error:
        raise click.UsageError(str(error)) from None
    return status.SUCCESS


@commands.command
@click.pass_obj
def pwd(session: Session, /) -> int:
    """Print where the shell is."""
    if session.place.uri is None:
        raise click.UsageError("there is no server yet: 'cd coap://HOST' goes to one")
    session.print(session.place.uri)
    return status.SUCCESS


def _setting(name: str, text: str) -> Any:
    """The value of a setting.

    Raises:
        ValueError, click.BadParameter: it has none like this.
    """
    if name in {"accept", "content-format"}:
        return parse_content_format(text)
    if name == "block-size":
        return block_size_of(text)
    if name == "timeout":
        return seconds_of(float(text) if _NUMBER.fullmatch(text) else 0)
    if text not in {"on", "off"}:
        raise ValueError("on, or off")
    return text == "on"


@commands.command("set")
@click.argument("name", required=False, type=click.Choice(Session.SETTINGS))
@click.argument("value", required=False)
@click.pass_obj
def set_(session: Session, /, name: str | None, value: str | None) -> int:
    """Say what holds for all requests from now on: set accept json. Without a value it is taken back."""
    if name is None:
        for each, (text, _) in sorted(session.settings.items()):
            session.print(f"{each} {text}")
    elif value is None:
        session.settings.pop(name, None)
    else:
        try:
            session.settings[name] = (value, _setting(name, value))
        except ValueError as error:
            raise click.UsageError(f"{name}: {error}") from None
    return status.SUCCESS


@commands.command("help")
@click.argument("command", required=False, type=_Name())
@click.pass_context
def help_(ctx: click.Context, command: str | None) -> int:
    """Say what the commands are, or what one of them takes."""
    session: Session = ctx.obj
    if command is None:
        width = max(map(len, commands.commands))
        for name, one in sorted(commands.commands.items()):
            session.print(f"{name:<{width}}  {one.get_short_help_str(90)}")
        return status.SUCCESS
    one = unbroken(commands.commands[command])
    with one.context_class(one, info_name=command, obj=session) as own:
        session.print(own.get_help())
    return status.SUCCESS


@commands.command("exit")
@click.pass_obj
def exit_(session: Session, /) -> int:
    """Leave the shell; so does Ctrl-D."""
    session.has_ended = True
    return status.SUCCESS
