"""What may be written on the command line: the options that several commands share, and the types of their values.

An option that is part of the contract but has nothing behind it yet is refused with the reason, never ignored. Knows no
network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

import click

from securecoap.cli.completing import a_file, bodies, content_formats, uris
from securecoap.errors import UriError
from securecoap.wire.block import Block
from securecoap.wire.content_formats import parse_content_format
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "CONNECTION",
    "ENGINE",
    "EXCHANGE",
    "KEYLOG",
    "PAYLOAD",
    "RESULT",
    "STATE",
    "Connection",
    "apply",
    "block_size_of",
    "body_of",
    "content_format_option",
    "credentials_option",
    "destination",
    "message_options",
    "refused",
    "seconds_of",
    "uri_argument",
    "uri_argument_optional",
]

Function = TypeVar("Function", bound="Callable[..., Any]")

_BLOCK_SIZES: Final = ("16", "32", "64", "128", "256", "512", "1024")


class Connection(TypedDict):
    """The values of `CONNECTION`, as a command gets them."""

    credentials: tuple[Path, ...]
    state: Path | None
    timeout: float | None
    keylog: Path | None
    dtls_engine: str
    verbose: int
    quiet: bool


def apply(*groups: Sequence[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    """A decorator that gives a command these groups of options, in their order."""

    def decorate(function: Function) -> Function:
        for group in reversed(groups):
            for option in reversed(group):
                function = option(function)
        return function

    return decorate


def _content_format(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_content_format(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _uri(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parse_uri(value)
    except UriError as error:
        hint = "" if "://" in value else "; write coap://HOST/PATH or coaps://HOST/PATH"
        raise click.BadParameter(f"{error}{hint}") from None
    return value


def _proxy(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    uri = _uri(ctx, param, value)
    if uri is not None and ((parts := parse_uri(uri)).path not in {(), ("",)} or parts.query):
        raise click.BadParameter("a proxy's URI has no path and no query")
    return uri


def body_of(value: str) -> bytes | Path:
    """What ``--payload`` names: a text, or the path of a file, which is read when it is sent.

    Raises:
        click.BadParameter: the file cannot be read.
    """
    if not value.startswith("@"):
        return os.fsencode(value)
    path = Path(value[1:])
    if path.is_dir():
        raise click.BadParameter(f"{path}: is a directory")
    if not path.exists():
        raise click.BadParameter(
            f"{path}: there is no such file (a text that begins with @: write it to stdin, with -)"
        )
    if not os.access(path, os.R_OK):
        raise click.BadParameter(f"{path}: may not be read")
    return path


def _payload(ctx: click.Context, _: click.Parameter, value: str | None) -> bytes | Path | None:
    if value is None or ctx.resilient_parsing:  # what is completed must not read stdin
        return None
    if value != "-":
        return body_of(value)
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise click.BadParameter(f"stdin: {error.strerror or error}") from None


def _output(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A file that can be written; it is not made before there is something to write."""
    if value is None or value == "-":
        return None
    path = Path(value)
    if path.is_dir():
        raise click.BadParameter(f"{value}: is a directory")
    if not path.parent.is_dir():
        raise click.BadParameter(f"{value}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.BadParameter(f"{value}: may not be written")
    if path.is_file() and not os.access(path.resolve().parent, os.W_OK):  # it is replaced when the new one is whole
        raise click.BadParameter(f"{value}: the directory may not be written, where a new file takes its place")
    return value


def block_size_of(text: str) -> int:
    """Bytes of a block (RFC 7959 section 2.2).

    Raises:
        ValueError: no block has so many.
    """
    if text not in _BLOCK_SIZES:
        raise ValueError(f"one of {', '.join(_BLOCK_SIZES)}")
    return int(text)


def seconds_of(seconds: float) -> float:
    """A time limit.

    Raises:
        ValueError: it is none.
    """
    if not 0 < seconds < 1e9:
        raise ValueError("a time limit is a positive number of seconds")
    return seconds


def _block_size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return None if value is None else block_size_of(value)


def _seconds(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    try:
        return None if value is None else seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def message_options(size: int | None, body: bytes | Path, **options: int | None) -> dict[str, Any]:
    """Options of a request by name, those of its blocks among them (RFC 7959 section 2.4: asked for in advance).

    Args:
        size: of a block, or ``None``.
        body: the payload, or the file that has it; only what is larger than a block needs Block1.
        options: others; ``None`` for those that the user has not named.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if size is not None:
        block = Block(0, more=False, size_exponent=size.bit_length() - 5)
        given["block2"] = block
        if _size(body) > size:
            given["block1"] = block
    return given


def _size(body: bytes | Path) -> int:
    if isinstance(body, bytes):
        return len(body)
    return body.stat().st_size if body.is_file() else sys.maxsize  # of a device or a pipe nobody knows


def destination(uri: str, proxy: str | None) -> tuple[str, dict[str, Any]]:
    """Where a request for a URI goes, and the options that tell a forward-proxy the URI (RFC 7252 section 5.10.2).

    Proxy-Scheme and not Proxy-Uri: what the proxy need not know, path and query, is then protected by OSCORE as it is.

    Args:
        uri: what the request is for.
        proxy: the URI of the proxy, or ``None``.
    """
    if proxy is None:
        return uri, {}
    target = parse_uri(uri)
    return proxy, {
        "proxy_scheme": target.scheme, "uri_host": target.host, "uri_port": target.port, "uri_path": target.path,
        "uri_query": target.query,
    }  # fmt: skip


def refused(*names: str, reason: str, is_flag: bool = False) -> Callable[[Function], Function]:
    """An option that is known and cannot be used: a usage error that says why."""

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.DEFAULT and value is not None:
            raise click.UsageError(f"{names[-1]}: {reason}", ctx)

    return click.option(
        *names,
        f"refused_{names[-1].strip('-').replace('-', '_')}",
        is_flag=is_flag,
        default=None,
        hidden=True,
        expose_value=False,
        is_eager=True,
        callback=refuse,
    )


uri_argument: Final = click.argument("uri", callback=_uri, shell_complete=uris)
uri_argument_optional: Final = click.argument("uri", callback=_uri, required=False, shell_complete=uris)

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def credentials_option(text: str) -> Callable[[Function], Function]:
    """``--credentials FILE``, with its help."""
    return click.option(
        "--credentials",
        metavar="FILE",
        type=click.Path(path_type=Path, exists=True),
        multiple=True,
        help=f"{text} Of several files, later ones replace entries of earlier ones; a directory is all *.json in it.",
    )


STATE: Final = click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for what must survive a restart.  [default: the user's state directory]",
)
KEYLOG: Final = click.option(
    "--keylog", metavar="FILE", type=_FILE, help="Append the session keys to this file, for debugging with Wireshark."
)
ENGINE: Final = click.option(
    "--dtls-engine",
    metavar="NAME",
    type=click.Choice(["python", "tinydtls"]),
    default="python",
    show_default=True,
    help="What does DTLS: our own engine, or tinydtls (pre-shared keys of at most 16 bytes).",
)

CONNECTION: Final = (
    credentials_option("Keys and for which URIs they are meant (JSON)."),
    STATE,
    click.option(
        "--timeout",
        metavar="S",
        type=float,
        callback=_seconds,
        help="Wait so many seconds for the (first) answer.",
    ),
    KEYLOG,
    ENGINE,
    click.option("-v", "--verbose", count=True, help="Show the messages on stderr; -vv also what OSCORE protects."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bar and no advice on stderr."),
)
"""Options of every command that talks to a server."""

_PROXY: Final = click.option(
    "--proxy",
    metavar="URI",
    callback=_proxy,
    shell_complete=uris,
    help="Forward-proxy that passes the request on: its URI, without a path.",
)
EXCHANGE: Final = (
    click.option(
        "--accept",
        metavar="N|NAME",
        callback=_content_format,
        shell_complete=content_formats,
        help="Content format of the answer.",
    ),
    click.option("--non", is_flag=True, help="Send non-confirmable messages."),
    click.option(
        "--block-size",
        metavar="N",
        type=click.Choice(_BLOCK_SIZES),
        callback=_block_size,
        help="Bytes in a block of a large body: 16, 32, ... 1024.",
    ),
    _PROXY,
)
"""Options of every command that sends requests."""

RESULT: Final = (
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        callback=_output,
        shell_complete=a_file,
        help="Write the payload to this file.",
    ),
)
"""Where the payload of the answer goes."""

content_format_option: Final = click.option(
    "--content-format",
    metavar="N|NAME",
    callback=_content_format,
    shell_complete=content_formats,
    help="Content format of the body.",
)
PAYLOAD: Final = (
    click.option(
        "--payload",
        metavar="TEXT|@FILE|-",
        callback=_payload,
        shell_complete=bodies,
        help="Body: a text, a file's, or stdin's.",
    ),
    content_format_option,
)
"""Options of methods that have a body."""
