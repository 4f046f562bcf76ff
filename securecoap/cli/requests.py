"""``securecoap get|post|put|delete|fetch|patch|ipatch``: one request, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack, cast

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
from securecoap.cli.output import write_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.context import Context
    from securecoap.wire.message import Message

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
_NO_BODY: Final = ("get", "delete")


def _no_payload(method: str) -> Sequence[Any]:
    reason = f"a {method.upper()} has no body (RFC 7252 section 5.5)"
    return refused("--payload", reason=reason), refused("--content-format", reason=reason)


def _command(method: str) -> click.Command:
    @click.command(method, help=_HELP[method])
    @uri_argument
    @apply(_no_payload(method) if method in _NO_BODY else PAYLOAD, RESULT, EXCHANGE, CONNECTION)
    def command(
        uri: str,
        output: str | None,
        accept: int | None,
        non: bool,
        block_size: int | None,
        proxy: str | None,
        payload: bytes | None = None,
        content_format: int | None = None,
        **connection: Unpack[Connection],
    ) -> int:
        body = payload or b""
        where, via = destination(uri, proxy)
        options = message_options(block_size, body, accept=accept, content_format=content_format) | via
        if method not in _NO_BODY:
            options["payload"] = body

        async def action(coap: Context) -> int:
            answer = await getattr(coap, method)(
                where, confirmable=not non, **options, **session.time_limit(connection)
            )
            return write_answer(cast("Message", answer), output, verbose=connection["verbose"] > 0)

        return session.run(connection, action)

    return command


commands: Final = {method: _command(method) for method in _HELP}
