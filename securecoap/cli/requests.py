"""``securecoap get|post|put|delete|fetch|patch|ipatch``: one request, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

import click

from securecoap.cli import session
from securecoap.cli.options import (
    CONNECTION,
    EXCHANGE,
    PAYLOAD,
    RESULT,
    Connection,
    apply,
    destination,
    message_options,
    refused,
    uri_argument,
)
from securecoap.cli.transfers import BODILESS, Request, perform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securecoap.context import Context

__all__ = ["commands"]

_HELP: Final = {
    "get": "Fetch the representation of a resource.",
    "post": "Send a body for the resource to process.",
    "put": "Create or replace a resource.",
    "delete": "Delete a resource.",
    "fetch": "Ask for a part of a resource (RFC 8132).",
    "patch": "Change a part of a resource (RFC 8132).",
    "ipatch": "Change a part, idempotently (RFC 8132).",
}


def _no_payload(method: str) -> Sequence[Any]:
    reason = f"a {method.upper()} has no body (RFC 7252 section 5.5)"
    return refused("--payload", reason=reason), refused("--content-format", reason=reason)


def _command(method: str) -> click.Command:
    @click.command(method, help=_HELP[method])
    @uri_argument
    @apply(_no_payload(method) if method in BODILESS else PAYLOAD, RESULT, EXCHANGE, CONNECTION)
    def command(
        uri: str,
        output: str | None,
        accept: int | None,
        non: bool,
        block_size: int | None,
        proxy: str | None,
        payload: bytes | Path | None = None,
        content_format: int | None = None,
        **connection: Unpack[Connection],
    ) -> int:
        body = b"" if payload is None else payload
        where, via = destination(uri, proxy)
        options = message_options(block_size, body, accept=accept, content_format=content_format) | via
        request = Request(
            method=method,
            uri=where,
            body=body,
            output=output,
            arguments={"confirmable": not non, **options, **session.time_limit(connection)},
            quiet=connection["quiet"],
            verbose=connection["verbose"] > 0,
        )

        async def action(coap: Context) -> int:
            return await perform(coap, request)

        return session.run(connection, action)

    return command


commands: Final = {method: _command(method) for method in _HELP}
