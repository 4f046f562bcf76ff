"""``securecoap discover``: what a server has (RFC 6690 section 4: ``/.well-known/core``)."""

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
    uri_argument,
)
from securecoap.cli.output import write_answer
from securecoap.wire.uri import compose_uri, parse_uri

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["commands"]

_PATH: Final = (".well-known", "core")


@click.command
@uri_argument
@apply(RESULT, EXCHANGE, CONNECTION)
def discover(
    uri: str,
    output: str | None,
    accept: int | None,
    non: bool,
    block_size: int | None,
    proxy: str | None,
    **connection: Unpack[Connection],
) -> int:
    """List the resources of a server, in link format.

    The query of the URI is a filter: coap://HOST?rt=temperature, coap://HOST?href=/store*.
    """
    parts = parse_uri(uri)
    if parts.path not in {(), ("",), _PATH}:
        raise click.UsageError("discover asks a whole server: a URI without a path; its query is the filter")
    target = compose_uri(parts.scheme, parts.host, parts.port, _PATH, parts.query)
    where, via = destination(target, proxy)
    options = message_options(block_size, b"", accept=accept) | via

    async def action(coap: Context) -> int:
        answer = await coap.get(where, confirmable=not non, **options, **session.time_limit(connection))
        return write_answer(answer, output, verbose=connection["verbose"] > 0)

    return session.run(connection, action)


commands: Final = {"discover": discover}
