"""One observation on the command line: prints the first answer and each notification until it ends (RFC 7641).

What ends it from outside (a signal, Ctrl-C in a shell) is the business of whoever calls.
"""

from __future__ import annotations

from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any, BinaryIO

from securecoap.cli import output as out
from securecoap.cli import status
from securecoap.cli.text import reader_left, tell

if TYPE_CHECKING:
    from securecoap.context import Context

__all__ = ["watch"]


async def watch(
    coap: Context, uri: str, arguments: dict[str, Any], output: str | None, *, verbose: bool, quiet: bool
) -> int:
    """Observe until the server ends it or whoever reads has seen enough; then deregister.

    Args:
        coap: the endpoint.
        uri: what to observe.
        arguments: of `Context.observe`.
        output: a file for the payloads, ``None`` for stdout.
        verbose: whether each answer is described on stderr.
        quiet: whether there is no advice.

    Returns:
        The exit status.
    """
    with ExitStack() as files:
        file: BinaryIO | None = None
        if output is not None:
            file = files.enter_context(open(output, "wb"))  # noqa: ASYNC230, PTH123  # short writes, to what the user names
        answers = coap.observe(uri, **arguments)
        async with aclosing(answers):
            async for answer in answers:
                if verbose:
                    tell(out.describe(answer))
                if status.of_code(answer.code) != status.SUCCESS:
                    out.report_error(answer, quiet=quiet)
                    return status.FAILURE
                try:
                    out.write_notification(answer, file)
                except BrokenPipeError:
                    reader_left()  # it has seen enough: as good as Ctrl-C
                    return status.SUCCESS
    tell("the server does not send notifications (any more)")
    return status.SUCCESS
