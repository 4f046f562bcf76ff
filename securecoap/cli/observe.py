"""``securecoap observe``: the first answer and each notification, one after the other (RFC 7641)."""

from __future__ import annotations

from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, BinaryIO, Final, Unpack

import click

from securecoap.cli import output as out
from securecoap.cli import session, status
from securecoap.cli.options import (
    CONNECTION,
    EXCHANGE,
    RESULT,
    Connection,
    apply,
    destination,
    message_options,
    refused,
    uri_argument,
)
from securecoap.cli.text import reader_left, tell

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["commands"]

_REASON: Final = "an observation is a GET, which has no body"


@click.command
@uri_argument
@apply(
    (refused("--payload", reason=_REASON), refused("--content-format", reason=_REASON)), RESULT, EXCHANGE, CONNECTION
)
def observe(
    uri: str,
    output: str | None,
    accept: int | None,
    non: bool,
    block_size: int | None,
    proxy: str | None,
    **connection: Unpack[Connection],
) -> int:
    """Print a resource, and again whenever it changes.

    Each payload is followed by a newline. Ctrl-C ends the observation, with exit status 0.
    """

    async def action(coap: Context) -> int:
        where, via = destination(uri, proxy)
        options = message_options(block_size, b"", accept=accept) | via
        with ExitStack() as files:
            file: BinaryIO | None = None
            if output is not None:
                file = files.enter_context(open(output, "wb"))  # noqa: ASYNC230, PTH123  # short writes, to what the user names
            answers = coap.observe(where, confirmable=not non, **options, **session.time_limit(connection))
            async with aclosing(answers):
                async for answer in answers:
                    if connection["verbose"]:
                        tell(out.describe(answer))
                    if status.of_code(answer.code) != status.SUCCESS:
                        out.report_error(answer, quiet=connection["quiet"])
                        return status.FAILURE
                    try:
                        out.write_notification(answer, file)
                    except BrokenPipeError:
                        reader_left()  # it has seen enough: as good as Ctrl-C
                        return status.SUCCESS
        tell("the server does not send notifications (any more)")
        return status.SUCCESS

    return session.run(connection, action, ends_by_signal=True)


commands: Final = {"observe": observe}
