"""A request to a group: the answers of all its members, as they come (RFC 7252 section 8).

Knows no option of the command line.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securecoap.cli import status
from securecoap.cli.output import describe, report_error, write_answer, write_file
from securecoap.cli.text import tell
from securecoap.wire.codes import Code
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["ask_all", "is_group"]


def is_group(uri: str) -> bool:
    """Whether the host of a URI is a multicast address."""
    try:
        return ip_address(parse_uri(uri).host.partition("%")[0]).is_multicast
    except ValueError:
        return False


async def ask_all(
    coap: Context,
    uri: str,
    arguments: dict[str, Any],
    output: str | None = None,
    *,
    method: Code = Code.GET,
    body: bytes | Path = b"",
    quiet: bool = False,
) -> int:
    """Write the payload of each answer, with a newline; stderr says whose the next one is.

    Args:
        coap: the endpoint.
        uri: of the group.
        arguments: of `Context.ask_group`; ``confirmable`` has no meaning, what goes to a group never is.
        output: the file for all payloads, ``None`` for stdout.
        method: of the request.
        body: its payload, or the file that has it.
        quiet: whether there is no advice.

    Returns:
        The exit status: success if one of the members has answered with 2.xx.

    Raises:
        CoapError: it cannot be sent.
        OSError: a file cannot be read or written.
    """
    result = status.NO_RESPONSE
    kept: list[bytes] = []
    payload = await asyncio.to_thread(body.read_bytes) if isinstance(body, Path) else body
    options = {name: value for name, value in arguments.items() if name != "confirmable"}
    async for answer in coap.ask_group(uri, payload, method=method, **options):
        tell(f"{answer.remote.uri}: {describe(answer)}")
        if status.of_code(answer.code) != status.SUCCESS:
            report_error(answer, quiet=quiet)
            result = status.FAILURE if result != status.SUCCESS else result
            continue
        result = status.SUCCESS
        if output is None:
            write_answer(answer, b"\n" if answer.payload else b"")
        else:
            kept.append(answer.payload + b"\n")
    if result == status.NO_RESPONSE:
        tell("nobody in the group answered")
        if not quiet:
            tell("is there a member on this network? a zone names the network: coap://[ff02::fd%25eth0]")
    elif output is not None:
        await write_file(Path(output), b"".join(kept))
    return result
