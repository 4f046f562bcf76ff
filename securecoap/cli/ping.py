"""``securecoap ping``: whether an endpoint answers at all (RFC 7252 section 4.3). Prints nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

import click

from securecoap.cli import session, status
from securecoap.cli.options import CONNECTION, Connection, apply, refused, uri_argument

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["commands"]


@click.command
@uri_argument
@apply((refused("--proxy", reason="a ping goes to the next endpoint, and no further"),), CONNECTION)
def ping(uri: str, **connection: Unpack[Connection]) -> int:
    """Ask whether an endpoint is there.

    Prints nothing: the exit status is 0 if it answers, and 3 if not.
    """

    async def action(coap: Context) -> int:
        await coap.ping(uri, **session.time_limit(connection))
        return status.SUCCESS

    return session.run(connection, action)


commands: Final = {"ping": ping}
