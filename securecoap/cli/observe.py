"""``securecoap observe``: the first answer and each notification, one after the other (RFC 7641)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

import click

from securecoap.cli import session
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
from securecoap.cli.watching import watch

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
    where, via = destination(uri, proxy)
    options = message_options(block_size, b"", accept=accept) | via
    arguments = {"confirmable": not non, **options, **session.time_limit(connection)}

    async def action(coap: Context) -> int:
        return await watch(coap, where, arguments, output, verbose=connection["verbose"] > 0, quiet=connection["quiet"])

    return session.run(connection, action, ends_by_signal=True)


commands: Final = {"observe": observe}
