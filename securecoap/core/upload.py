"""One request body on its way in Block1, a block at a time, with its Request-Tag (RFC 7959 section 2.5, RFC 9175 3).

It follows the server to smaller blocks, and begins again where the server asks for it. What carries messages is not
known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.core.bodies import ECHO_TRIES, block_at
from securecoap.errors import TransferFailed
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.operation import blockwise
from securecoap.wire.template import OptionTemplate

if TYPE_CHECKING:
    from securecoap.core.bodies import Ask, BodySource, Progress
    from securecoap.core.request_tags import Operation, RequestTags
    from securecoap.wire.block import Block

__all__ = ["HeldBody", "Upload"]

_CONTINUE: Final = int(Code.CONTINUE)
_RESTARTS: Final = 3
"""How often a body is sent again because the server lost its blocks."""


class HeldBody:
    """A body that is held as a whole, as a source."""

    __slots__ = ("_body", "_position", "size")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0
        self.size: int | None = len(body)

    def take(self, size: int) -> tuple[bytes, bool]:
        """As `read`, at once."""
        start = self._position
        self._position = end = start + size
        return self._body[start:end], end < len(self._body)

    async def read(self, size: int) -> tuple[bytes, bool]:
        """See `BodySource`."""
        return self.take(size)

    async def rewind(self) -> bool:
        """See `BodySource`."""
        self._position = 0
        return True


class Upload:
    """One body on its way in Block1."""

    __slots__ = ("_ask", "_challenges", "_message", "_progress", "_restarts", "_source", "_tags", "_template")

    def __init__(
        self, message: Message, ask: Ask, source: BodySource, tags: RequestTags, progress: Progress | None
    ) -> None:
        self._message = message
        self._ask = ask
        self._source = source
        self._tags = tags
        self._progress = progress
        self._challenges = self._restarts = 0
        self._template: OptionTemplate | None = None

    async def run(self, exponent: int, read: tuple[bytes, bool] | None = None) -> tuple[Message, Message]:
        """Send all blocks, the first of which may have been read already.

        Returns:
            The response to the last one, and the request as it was sent in the end, with its whole payload.
        """
        operation = self._choose_tag()
        position = 0
        source = self._source
        held = source if type(source) is HeldBody else None
        while True:
            if read is not None:
                part, more = read
                read = None
            else:
                part, more = await source.read(16 << exponent) if held is None else held.take(16 << exponent)
            block = block_at(position, exponent, more=more)
            response = await self._ask(self._part(block, part))
            options = response.options
            answer = (options.blockwise or blockwise(options)).block1
            code = response.code or 0
            if more and code == _CONTINUE and answer == block:  # as a rule
                position += len(part)
                if self._progress is not None:
                    self._progress(position, source.size)
                continue
            if code == Code.UNAUTHORIZED and response.options.echo is not None and self._challenges < ECHO_TRIES:
                # The server may have put the body together before it asked: the whole body again, with the value.
                self._message = self._message.copy(echo=response.options.echo)
                self._challenges += 1
            elif code == Code.REQUEST_ENTITY_TOO_LARGE and answer is not None and answer.size_exponent < exponent:
                exponent = answer.size_exponent  # section 2.9.3: the whole body again in smaller blocks
            elif code == Code.REQUEST_ENTITY_INCOMPLETE and position and self._restarts < _RESTARTS:
                # Section 2.9.2: the server has lost what it had, in a restart for example. Whatever it still gets of
                # this attempt is not to be mixed with the next one.
                self._restarts += 1
                self._message = self._message.copy(request_tag=(self._tags.fresh(),))
            elif not more or code >= 96:
                if self._progress is not None and code < 96:
                    self._progress(position + len(part), position + len(part))
                # Every block was answered, or it would have raised: the operation has concluded.
                if operation is not None:
                    self._tags.release(operation)
                return response, self._message
            else:
                if answer is None or (answer.number != block.number and answer.start != block.start):
                    raise TransferFailed("the server acknowledged another block than the one that was sent")
                position += len(part)
                if self._progress is not None:
                    self._progress(position, source.size)
                exponent = min(exponent, answer.size_exponent)
                continue
            position = 0
            self._template = None
            if not await source.rewind():
                raise TransferFailed("the server wants the body again, and its source cannot be read twice")

    def _choose_tag(self) -> Operation | None:
        """The Request-Tag, unless the application has chosen one; what is to be released in the end."""
        message = self._message
        if message.options.request_tag:
            return None
        operation, tag = self._tags.take(message)
        if tag is not None:
            self._message = message.copy(request_tag=(tag,))
        return operation

    def _part(self, block: Block, payload: bytes) -> Message:
        """The request with one block."""
        message = self._message
        number, more, exponent = block
        if not number:
            part = message.copy(block1=block)
            part.payload = payload
            part.options.block2 = None
            part.options.no_response = None  # it is about the response to the body (RFC 7967)
            if self._source.size is not None:
                part.options.size1 = self._source.size
            return part
        if not more:
            part = message.copy(block1=block)  # with a wish for the size of the response's blocks (section 2.7)
            part.payload = payload
            part.options.if_none_match = False
            return part
        template = self._template
        if template is None:
            # Section 2.10: If-None-Match belongs to the first block.
            without = (numbers.IF_NONE_MATCH, numbers.BLOCK2, numbers.SIZE1, numbers.NO_RESPONSE)
            pairs = [pair for pair in message.options.pairs if pair[0] not in without]
            template = self._template = OptionTemplate(pairs, numbers.BLOCK1)
        value = number << 4 | 8 | exponent
        options = template.options(value.to_bytes(value.bit_length() + 7 >> 3, "big"))
        part = Message.inner(message.code or 0, options, payload, message.remote, b"")
        part.confirmable = message.confirmable
        return part
