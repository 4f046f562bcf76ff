"""The end of a server that leaves nobody in the dark: what is under way is answered, observers are told.

New requests get 5.03 with a Max-Age: come back then (RFC 7252 section 5.9.3.4). Handlers that work have their time, and
so have bodies that come or go in blocks (RFC 7959), each of which is a request; after it their clients get that 5.03,
too. Then it is the last notification of every observation: that is what a GET would get now, and RFC 7641 section 4.2
wants observers to hear of it and to be forgotten. At last what waits for its acknowledgement is waited for. It knows no
sockets and no signals.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from securecoap.core.problems import error_message
from securecoap.errors import ServiceUnavailable
from securecoap.wire import numbers
from securecoap.wire.codes import SAFE_METHODS
from securecoap.wire.operation import blockwise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from securecoap.core.answering import IncomingRequest
    from securecoap.core.serving import Server
    from securecoap.wire.message import Message

__all__ = ["RETRY_AFTER", "drain"]

RETRY_AFTER: Final = 5
"""Seconds after which clients may come back: a restart takes less."""
_BATCH: Final = 50
"""Observers that are told before the socket is read again: their acknowledgements would overflow its buffer."""
_LULL: Final = 5.0
"""Seconds without a block after which nobody seems to want the next one: a lost one is repeated within three."""
_LOOK_INTERVAL: Final = 0.05
_BLOCKS: Final = 1 << numbers.BLOCK1 | 1 << numbers.BLOCK2


class _OnlyLaterBlocks:
    """Refuses requests, but for those that go on with a body that was begun.

    Attributes:
        is_over: whether these are refused, too.
        taken: how many were not.
    """

    def __init__(self, server: Server) -> None:
        self.is_over = False
        self.taken = 0
        self._server = server

    def __call__(self, request: Message) -> None:
        if self.is_over or not self._goes_on(request):
            raise ServiceUnavailable("the server is about to end", max_age=RETRY_AFTER)
        self.taken += 1

    def _goes_on(self, request: Message) -> bool:
        options = request.options
        if not options.present & _BLOCKS:
            return False
        asked = blockwise(options)
        block = asked.block1 or asked.block2
        if block is None or not block.number:
            return False
        if self._server.assemblies.holds(request):
            return True
        if asked.block1 is None:
            # Nothing is held of a body that its resource cuts itself, such as a file. Who asks for a later block of it
            # has the first; and where nothing is to be carried out twice, nothing is begun by the answer.
            return request.code in SAFE_METHODS
        found = self._server.find(options.uri_path)
        return found is not None and getattr(found[0], "assembles_bodies", None) is not True


async def drain(
    server: Server,
    incoming: Callable[[], Iterable[IncomingRequest]],
    is_settled: Callable[[], bool],
    used_at: Callable[[], float],
    seconds: float,
    patience: float,
) -> None:
    """Take nothing new, and bring to an end what there is.

    Args:
        server: takes no new request from now on.
        incoming: the requests of peers that are still answered, observations among them.
        is_settled: whether no message of ours waits for its acknowledgement.
        used_at: when a body in blocks was last used that the server does not know of.
        seconds: the longest that handlers and bodies may take.
        patience: the longest that acknowledgements may take after that.
    """
    refuse = _OnlyLaterBlocks(server)
    server.refuse_new(refuse)
    await _finish(server, refuse, used_at, seconds)
    refuse.is_over = True
    for number, request in enumerate(list(incoming()), 1):
        request.add_response(error_message(ServiceUnavailable(max_age=RETRY_AFTER), request.request))
        request.end_interest()
        if number % _BATCH == 0:
            await asyncio.sleep(0)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while not is_settled():  # noqa: ASYNC110  # an event for it would be work for each message
                await asyncio.sleep(_LOOK_INTERVAL)


async def _finish(server: Server, refuse: _OnlyLaterBlocks, used_at: Callable[[], float], seconds: float) -> None:
    """Wait for handlers that work, and for bodies of which blocks come or go, but no longer than that many seconds."""
    time = asyncio.get_running_loop().time
    deadline = time() + seconds
    while True:
        taken = refuse.taken
        working = server.working
        if working:
            await asyncio.wait(working, timeout=deadline - time())
        now = time()
        if now >= deadline:
            return
        if refuse.taken == taken:  # or there may be handlers again
            if now >= max(server.assemblies.used_at, used_at()) + _LULL:
                return
            await asyncio.sleep(min(_LOOK_INTERVAL, deadline - now))
