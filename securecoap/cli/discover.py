"""``securecoap discover``: what a server has (RFC 6690 section 4: ``/.well-known/core``)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import click

from securecoap.cli import session, status
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
from securecoap.cli.output import describe, report_error, write_answer, write_file
from securecoap.cli.text import tell
from securecoap.cli.transfers import Request, perform
from securecoap.wire.uri import compose_uri, parse_uri

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["ask_all", "commands", "is_group"]

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

    arguments = {**options, **session.time_limit(connection)}
    quiet, verbose = connection["quiet"], connection["verbose"] > 0

    async def action(coap: Context) -> int:
        if proxy is None and is_group(parts.host):
            return await ask_all(coap, where, arguments, output, quiet=quiet)
        arguments["confirmable"] = not non
        request = Request(method="get", uri=where, output=output, arguments=arguments, quiet=quiet, verbose=verbose)
        return await perform(coap, request)

    return session.run(connection, action)


async def ask_all(coap: Context, uri: str, arguments: dict[str, Any], output: str | None, *, quiet: bool) -> int:
    """The answers of all members of a group, each with a newline; stderr says whose the next one is."""
    result = status.NO_RESPONSE
    kept: list[bytes] = []
    async for answer in coap.ask_group(uri, **arguments):
        tell(f"{answer.remote.uri}: {describe(answer)}")
        if status.of_code(answer.code) != status.SUCCESS:
            report_error(answer, quiet=quiet)
            result = status.FAILURE if result != status.SUCCESS else result
            continue
        result = status.SUCCESS
        if output is None:
            write_answer(answer, b"\n")
        else:
            kept.append(answer.payload + b"\n")
    if result == status.NO_RESPONSE:
        tell("nobody in the group answered")
        if not quiet:
            tell("is there a member on this network? a zone names the network: coap://[ff02::fd%25eth0]")
    elif output is not None:
        await write_file(Path(output), b"".join(kept))
    return result


def is_group(host: str) -> bool:
    """Whether a host is a multicast address (RFC 7252 section 8)."""
    try:
        return ip_address(host.partition("%")[0]).is_multicast
    except ValueError:
        return False


commands: Final = {"discover": discover}
