"""What is sent to those who observe: notifications, and their order (RFC 7641 section 4.2 to 4.4).

A notification is made once for all who get the same; nothing here knows who they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from securecoap.core.response_body import cut, first_block
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options, Pairs
from securecoap.wire.template import OptionTemplate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SEQUENCE_RATE", "UNKNOWN", "Notification", "SequenceNumbers", "as_confirmable", "make", "without_observe"]

SEQUENCE_RATE: Final = 16384
"""Sequence numbers per second. By the clock they grow half as fast as section 4.4 allows, and after a restart they go
on where a client expects them."""
UNKNOWN: Final = -1
"""Content format of what has none."""
_SEQUENCE_MASK: Final = 0xFFFFFF
_CONTENT: Final = Code.CONTENT
_ETAG: Final = 1 << numbers.ETAG
_BLOCK2: Final = 1 << numbers.BLOCK2
_ASKS_FOR_LESS: Final = _ETAG | _BLOCK2
# What a 2.03 tells anew of a representation that the client has (RFC 7252 section 5.9.1.3).
_REFRESHED: Final = frozenset({numbers.ETAG, numbers.MAX_AGE})


class Notification(Message):
    """What each observation of an audience is sent: a response that is ready but for Message ID and token.

    With the Observe option, unless it is an error.

    Attributes:
        number: its sequence number, as it grows (section 4.4 sends the lower 24 bits).
        content_format: what section 4.2 compares; -1 where it does not matter.
        is_last: whether it is an error, which ends observations.
    """

    __slots__ = ("content_format", "is_last", "number")

    content_format: int | None
    is_last: bool
    number: int


_make_message: Final = Notification.inner  # bound once: to look up a class method takes as long as to call it


def make(request: Message, response: Message, number: int, exponent: int) -> Notification:
    """What observations with such a request are sent when the resource is rendered as ``response``.

    A representation that the client said it has becomes 2.03 (section 4.2); of a large one only the first block is
    sent, and the client fetches the rest (RFC 7959 section 2.6).

    Args:
        request: the registration.
        response: what the resource was rendered as.
        number: of `SequenceNumbers`.
        exponent: of the largest block that is sent (6: 1024 bytes).
    """
    code = response.code or _CONTENT
    found = response.options
    pairs, payload = found.pairs, response.payload
    content_format: int | None = UNKNOWN
    is_last = not 64 <= code < 96
    if is_last:
        options = found
    else:
        if request.options.present & _ASKS_FOR_LESS or found.present & _BLOCK2 or len(payload) > 16 << exponent:
            code, pairs, payload = _adapted(request, response, exponent)
        template, content_format = _form(code, pairs)
        value = (number & _SEQUENCE_MASK).to_bytes(3, "big")
        options = template.options(value if value[0] else value.lstrip(b"\0"))
    notification = _make_message(code, options, payload, None, b"")
    notification.confirmable = response.confirmable
    notification.number = number
    notification.content_format = content_format
    notification.is_last = is_last
    return notification


def _adapted(request: Message, response: Message, exponent: int) -> tuple[int, Pairs, bytes]:
    """Code, options and payload of a representation that the client has already, or that is more than one block."""
    code = response.code or _CONTENT
    options, found, payload = request.options, response.options, response.payload
    if options.present & found.present & _ETAG and code == _CONTENT and found.etag in options.etags:
        return Code.VALID, tuple([pair for pair in found.pairs if pair[0] in _REFRESHED]), b""
    if found.present & _BLOCK2:
        part = cut(response, exponent)
    else:
        block2 = options.block2
        exponent = exponent if block2 is None else min(block2.size_exponent, exponent)
        if len(payload) <= 16 << exponent:
            return code, found.pairs, payload
        part = first_block(response, exponent)
    return code, part.options.pairs, part.payload


@lru_cache(maxsize=64)
def _form(code: int, pairs: Pairs) -> tuple[OptionTemplate, int | None]:
    """What a resource answers, again and again, with the same options: how they are sent, and its content format."""
    content_format = Options.received(pairs).content_format if code == _CONTENT else UNKNOWN
    return OptionTemplate(pairs, numbers.OBSERVE), content_format


def as_confirmable(message: Message) -> Message:
    """The same as a Confirmable message."""
    again = Message.inner(message.code or 0, message.options, message.payload, None, b"")
    again.confirmable = True
    return again


def without_observe(message: Message) -> Message:
    """The same as the last word of an observation."""
    last = message.copy(observe=None)
    last.confirmable = message.confirmable
    return last


class SequenceNumbers:
    """One sequence for all observations, so that it goes on over a new registration.

    Args:
        first: where it begins.
        time: the clock that it follows.
    """

    __slots__ = ("_last", "_offset", "_time")

    def __init__(self, first: int, time: Callable[[], float]) -> None:
        self._time = time
        self._last = first
        self._offset = first - int(time() * SEQUENCE_RATE)

    def next(self) -> int:
        """The next number; its lower 24 bits are what is sent."""
        number = self._offset + int(self._time() * SEQUENCE_RATE)
        if number <= self._last:
            number = self._last + 1
        self._last = number
        return number
