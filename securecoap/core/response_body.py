"""A response body of which each message carries a block (RFC 7959 section 2.4).

How long one is kept, and for whom, is the business of `securecoap.core.blockwise`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Final

from securecoap.errors import BadRequest
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.template import OptionTemplate

__all__ = ["ResponseBody", "body_etag", "cut", "first_block"]

_DEFAULT_MAX_AGE: Final = 60
_REMEMBERED: Final = 4
_LARGEST_REMEMBERED: Final = 1 << 20
_make_message: Final = Message.inner  # bound once: to look up a class method takes as long as to call it


def body_etag(payload: bytes) -> bytes:
    """An entity tag for a body whose handler gave none, so that a client cannot mix versions (RFC 7959 section 2.4).

    The last four bodies of up to 1 MiB are remembered with theirs: a fleet fetches the same one over and over, and to
    find it again costs nothing if it is the same object, and less than a digest if it is equal.
    """
    if len(payload) <= _LARGEST_REMEMBERED and type(payload) is bytes:  # a handler may have set a bytearray
        return _remembered_etag(payload)
    return _digest(payload)


def _digest(payload: bytes) -> bytes:
    return sha256(payload).digest()[:8]


_remembered_etag: Final = lru_cache(maxsize=_REMEMBERED)(_digest)


def first_block(response: Message, exponent: int) -> Message:
    """The response with only its first block, and what a client needs to fetch the rest."""
    return ResponseBody(response).block(Block(0, more=False, size_exponent=exponent))


def cut(part: Message, exponent: int) -> Message:
    """The beginning of a block that a handler cut itself, as a smaller block of the same body (RFC 7959 section 2.4).

    Such a handler answers every block that it is asked for, whatever its size.

    Args:
        part: a response; one without Block2, or with small enough a block, is returned as it is.
        exponent: of the largest block.
    """
    block = part.options.block2
    size = 16 << exponent
    if block is None or block.size_exponent <= exponent:
        return part
    more = block.more or len(part.payload) > size
    smaller = part.copy(block2=Block(block.number << block.size_exponent - exponent, more, exponent))
    smaller.payload = part.payload[:size]
    return smaller


class ResponseBody:
    """Its blocks, all with its entity tag (RFC 9175 section 3.8).

    Attributes:
        size: bytes of the body.
        furthest: where the last block that was asked for begins.
        fresh_until, expires_at: until when it is used; whoever keeps it sets them.
    """

    __slots__ = ("code", "confirmable", "expires_at", "fresh_until", "furthest", "payload", "size", "template")

    def __init__(self, response: Message) -> None:
        options = response.options
        self.code = response.code
        self.confirmable = response.confirmable
        self.payload = response.payload
        self.size = len(response.payload)
        pairs = options.pairs
        if options.etag is None and 64 <= (response.code or Code.CONTENT) < 96:
            pairs = (*pairs, (numbers.ETAG, body_etag(response.payload)))
        self.template = OptionTemplate(pairs, numbers.BLOCK2)
        max_age = options.max_age
        self.fresh_until = float(_DEFAULT_MAX_AGE if max_age is None else max_age)
        self.expires_at = 0.0
        self.furthest = 0

    def block(self, wanted: Block) -> Message:
        """The part of the response that a Block2 option asks for, as a new message.

        Raises:
            BadRequest: the block begins beyond the body.
        """
        number, _, exponent = wanted
        start = number << exponent + 4
        end = start + (16 << exponent)
        size = self.size
        if start >= size and number:
            raise BadRequest("the block is beyond the end of the body")
        value = number << 4 | (8 if end < size else 0) | exponent
        options = self.template.options(value.to_bytes(value.bit_length() + 7 >> 3, "big"))
        if not number:
            options = options.copy()
            options.size2 = self.size
        code = self.code
        part = _make_message(code or 0, options, self.payload[start:end], None, b"")
        if code is None:
            part.code = None  # the method's
        part.confirmable = self.confirmable
        return part
