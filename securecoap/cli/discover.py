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
from securecoap.cli.transfers import Request, perform
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

    The query of the URI is a filter: coap://HOST?rt=temperature, coap://HOST?href=/store*. Of a group (a multicast
    address: coap://[ff02::fd%25eth0]) every member is asked; --timeout is how long answers are taken.
    """
    parts = parse_uri(uri)
    if parts.path not in {(), ("",), _PATH}:
        raise click.UsageError("discover asks a whole server: a URI without a path; its query is the filter")
    target = compose_uri(parts.scheme, parts.host, parts.port, _PATH, parts.query)
    where, via = destination(target, proxy)
    options = message_options(block_size, b"", accept=accept) | via

    request = Request(
        method="get",
        uri=where,
        output=output,
        arguments={"confirmable": not non, **options, **session.time_limit(connection)},
        quiet=connection["quiet"],
        verbose=connection["verbose"] > 0,
    )

    async def action(coap: Context) -> int:
        return await perform(coap, request)

    return session.run(connection, action)


commands: Final = {"discover": discover}
