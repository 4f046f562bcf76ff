"""One request and its answer, whatever their size: bodies from files and for files are never held as a whole.

A file that is written appears when its body is whole, and is left as it was otherwise. Knows no option of the command
line and no terminal.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from securecoap.cli import output as out
from securecoap.cli import status
from securecoap.cli.group import ask_all, is_group
from securecoap.cli.progress import Meter
from securecoap.cli.text import tell
from securecoap.errors import CoapError
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securecoap.context import Context
    from securecoap.wire.message import Message

__all__ = ["BODILESS", "METHODS", "Request", "perform"]

METHODS: Final = ("get", "post", "put", "delete", "fetch", "patch", "ipatch")
BODILESS: Final = ("get", "delete")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be done.

    Attributes:
        method: one of `METHODS`.
        uri: where it goes.
        body: the payload, or the path of a file that has it.
        output: the file for the payload of a 2.xx response; ``None`` for stdout.
        arguments: of the method of a `Context`: options by name, ``timeout``, ``confirmable``.
        quiet: whether there is no progress bar.
        verbose: whether the response is described on stderr.
        end: what follows a payload on stdout, if there is one and that is no terminal.
    """

    method: str
    uri: str
    body: bytes | Path = b""
    output: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False
    verbose: bool = False
    end: bytes = b""


async def perform(coap: Context, request: Request) -> int:
    """Send it, and write the payload of its answer; of a group, those of all its members.

    Returns:
        The exit status for the answer's code.

    Raises:
        CoapError: there is none; a note says how far a transfer came.
        OSError: a file cannot be read or written.
    """
    if is_group(request.uri):
        code = Code[request.method.upper()]
        return await ask_all(
            coap, request.uri, request.arguments, request.output, method=code, body=request.body, quiet=request.quiet
        )
    path = None if request.output is None else _real(request.output)
    with Meter(request.method.upper(), quiet=request.quiet) as meter, _telling_how_far(meter, path):
        answer, size = await _ask(coap, request, path, meter)
    if request.verbose:
        tell(out.describe(answer, size))
    if path is None or status.of_code(answer.code) != status.SUCCESS:
        return out.write_answer(answer, request.end if answer.payload else b"", quiet=request.quiet)
    return status.SUCCESS


async def _ask(coap: Context, request: Request, path: Path | None, meter: Meter) -> tuple[Message, int]:
    """The answer, and how many bytes its body has; those for a file are there."""
    uri, arguments = request.uri, request.arguments
    if request.method == "get" and path is not None:
        answer = await coap.download(uri, path, progress=meter, **arguments)
        return answer, meter.done or len(answer.payload)
    if request.method in BODILESS:
        answer = await getattr(coap, request.method)(uri, **arguments)
        if path is not None and status.of_code(answer.code) == status.SUCCESS:
            await out.write_file(path, answer.payload)
        return answer, len(answer.payload)
    if isinstance(request.body, bytes) and path is None:
        answer = await getattr(coap, request.method)(uri, payload=request.body, **arguments)
        return answer, len(answer.payload)
    answer = await coap.upload(
        uri, request.body, method=Code[request.method.upper()], to=path, progress=meter, **arguments
    )
    has_written = path is not None and status.of_code(answer.code) == status.SUCCESS
    return answer, _size(path) if path is not None and has_written else len(answer.payload)


def _size(path: Path) -> int:
    return path.stat().st_size


def _real(output: str) -> Path:
    """The file itself: a symbolic link stays one when what it leads to is replaced."""
    path = Path(output)
    return path.resolve() if path.is_file() else path


@contextmanager
def _telling_how_far(meter: Meter, path: Path | None) -> Iterator[None]:
    kept = "" if path is None else f"; {path} is as it was"
    try:
        yield
    except (CoapError, OSError) as error:
        if meter.done:
            error.add_note(f"it came as far as {meter.reached}{kept}")
        raise
    except asyncio.CancelledError:
        if meter.done:
            tell(f"stopped at {meter.reached}{kept}")
        raise
