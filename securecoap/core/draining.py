"""The end of a server that leaves nobody in the dark: what is under way is answered, observers are told.

New requests get 5.03 with a Max-Age: come back then (RFC 7252 section 5.9.3.4). Handlers that work have their time, and
after it their clients get that 5.03, too. Then it is the last notification of every observation: that is what a GET
would get now, and RFC 7641 section 4.2 wants observers to hear of it and to be forgotten. At last what waits for its
acknowledgement is waited for. It knows no sockets and no signals.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from securecoap.core.problems import error_message
from securecoap.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from securecoap.core.answering import IncomingRequest
    from securecoap.core.serving import Server

__all__ = ["RETRY_AFTER", "drain"]

RETRY_AFTER: Final = 5
"""Seconds after which clients may come back: a restart takes less."""
_BATCH: Final = 50
"""Observers that are told before the socket is read again: their acknowledgements would overflow its buffer."""
_LOOK_INTERVAL: Final = 0.05


class _Refusing:
    """A `ResourceTree` in which every path is unavailable for now."""

    def find(self, _path: Sequence[str]) -> NoReturn:
        raise ServiceUnavailable("the server is about to end", max_age=RETRY_AFTER)


async def drain(
    server: Server,
    incoming: Callable[[], Iterable[IncomingRequest]],
    is_settled: Callable[[], bool],
    seconds: float,
    patience: float,
) -> None:
    """Take nothing new, and bring to an end what there is.

    Args:
        server: takes no new request from now on.
        incoming: the requests of peers that are still answered, observations among them.
        is_settled: whether no message of ours waits for its acknowledgement.
        seconds: the longest that handlers may take.
        patience: the longest that acknowledgements may take after that.
    """
    server.use(_Refusing())
    working = server.working
    if working:
        await asyncio.wait(working, timeout=seconds)
    for number, request in enumerate(list(incoming()), 1):
        request.add_response(error_message(ServiceUnavailable(max_age=RETRY_AFTER), request.request))
        request.end_interest()
        if number % _BATCH == 0:
            await asyncio.sleep(0)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while not is_settled():  # noqa: ASYNC110  # an event for it would be work for each message
                await asyncio.sleep(_LOOK_INTERVAL)
