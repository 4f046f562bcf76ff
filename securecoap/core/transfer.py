"""What one request of a client has to do with bodies (RFC 7959): it sends its own, takes that of the response.

A `Transfer` begins again where the RFC allows it, a bounded number of times. It gets ``ask``, which sends one message
and returns its response; what carries messages, and where bodies come from and go to, is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.bodies import LARGEST_EXPONENT, BodyChanged, answer_echo
from securecoap.core.download import download_rest, fetch_part
from securecoap.core.upload import HeldBody, Upload
from securecoap.errors import TransferFailed
from securecoap.wire.block import Block
from securecoap.wire.codes import SAFE_METHODS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from securecoap.core.bodies import Ask, BodySink, BodySource, Progress
    from securecoap.core.request_tags import RequestTags
    from securecoap.wire.message import Message

__all__ = ["Transfer"]

_RESTARTS: Final = 3
"""How often a safe request is made again because the body changed while it was fetched."""


class Transfer:
    """The bodies of one request.

    Args:
        limit: the most bytes of a response body that are held.
        tags: of all uploads of this client.
        exponent: of the largest block that is sent, or asked for (6: 1024 bytes).
        source: the request's body, in place of its payload.
        sink: takes the body of a successful response, in place of its payload.
        progress: told of what the server has acknowledged of the source; without one, of what was received.
        part: bytes ``(start, stop)`` of the response that are wanted; ``stop`` may be ``None`` for the end.
    """

    __slots__ = ("_begun", "_exponent", "_limit", "_part", "_progress", "_sink", "_source", "_tags")

    def __init__(
        self,
        limit: int,
        tags: RequestTags,
        *,
        exponent: int = LARGEST_EXPONENT,
        source: BodySource | None = None,
        sink: BodySink | None = None,
        progress: Progress | None = None,
        part: tuple[int, int | None] | None = None,
    ) -> None:
        self._limit = limit
        self._tags = tags
        self._exponent = exponent
        self._source = source
        self._sink = sink
        self._progress = progress
        self._part = part
        self._begun = False

    @property
    def holds_bodies(self) -> bool:
        """Whether request and response are whole messages for the application."""
        return self._source is None and self._sink is None and self._part is None

    def is_plain(self, message: Message) -> bool:
        """Whether a request is a message, and asks for a response of any size."""
        largest = self._exponent == LARGEST_EXPONENT
        return largest and len(message.payload) <= 16 << LARGEST_EXPONENT and self.holds_bodies

    async def perform(self, message: Message, ask: Ask) -> Message:
        """Send the request and its body; the response, with its body unless that went to the sink.

        Raises:
            TransferFailed: the server contradicts itself about blocks, the body changed each time it was fetched (once,
                if the method is not safe), it is too large, or source or sink cannot begin again.
        """
        if self._begun:  # the request is repeated, because its session was lost (the design, section 5)
            await self._begin_again()
        self._begun = True
        if self._exponent < LARGEST_EXPONENT and message.options.block2 is None:
            message = message.copy(block2=Block(0, more=False, size_exponent=self._exponent))
        progress = self._progress if self._source is None else None  # that of the larger body
        if progress is not None and message.options.size2 is None:
            message = message.copy(size2=0)  # RFC 7959 section 4: asks how large it will be
        restarts = 0
        while True:
            try:
                if self._part is not None:
                    return await fetch_part(message, ask, *self._part, self._limit)
                first, message_sent = await self._uploaded(message, ask)
                return await download_rest(message_sent, first, ask, self._limit, sink=self._sink, progress=progress)
            except BodyChanged:
                if message.code not in SAFE_METHODS or restarts == _RESTARTS:
                    raise
                restarts += 1
                await self._begin_again()

    async def _begin_again(self) -> None:
        if self._source is not None and not await self._source.rewind():
            raise TransferFailed("the body has to be sent again, and its source cannot be read twice")
        if self._sink is not None and not await self._sink.restart():
            raise TransferFailed("the body changed while it was fetched, and a part of it has been handed on already")

    def _largest(self, message: Message) -> int:
        """The exponent of the blocks to begin with."""
        wish = message.options.block1
        return self._exponent if wish is None else min(wish.size_exponent, self._exponent)

    def _uploaded(self, message: Message, ask: Ask) -> Awaitable[tuple[Message, Message]]:
        """Send a request whose payload may need several blocks (RFC 7959 section 2.5).

        Returns:
            The response to the last one, and the request as the blocks of its response are to be asked for.
        """
        exponent = self._largest(message)
        if self._source is not None:
            return self._upload(message, ask, self._source, exponent)
        if len(message.payload) <= 16 << exponent:
            return _asked(message, ask)
        return Upload(message, ask, HeldBody(message.payload), self._tags, self._progress).run(exponent)

    async def _upload(self, message: Message, ask: Ask, source: BodySource, exponent: int) -> tuple[Message, Message]:
        part, more = await source.read(16 << exponent)
        if more:
            return await Upload(message, ask, source, self._tags, self._progress).run(exponent, (part, more))
        message = message.copy()
        message.payload = part
        response = await answer_echo(message, ask)
        if self._progress is not None:
            self._progress(len(part), len(part))
        return response, message


async def _asked(message: Message, ask: Ask) -> tuple[Message, Message]:
    return await answer_echo(message, ask), message
