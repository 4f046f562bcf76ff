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
from securecoap.wire.options import Options
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
    if not 64 <= code < 96:
        error = Notification.inner(code, found, response.payload, None, b"")
        error.confirmable = response.confirmable
        error.number = number
        error.content_format = UNKNOWN
        error.is_last = True
        return error
    options = request.options
    pairs, payload = found.pairs, response.payload
    if options.present & found.present & _ETAG and code == _CONTENT and found.etag in options.etags:
        code, payload = Code.VALID, b""
        pairs = tuple([pair for pair in pairs if pair[0] in _REFRESHED])
    elif not found.present & _BLOCK2 and (len(payload) > 16 << exponent or options.present & _BLOCK2):
        block2 = options.block2
        exponent = exponent if block2 is None else min(block2.size_exponent, exponent)
        if len(payload) > 16 << exponent:
            part = first_block(response, exponent)
            pairs, payload = part.options.pairs, part.payload
    elif found.present & _BLOCK2:
        part = cut(response, exponent)
        pairs, payload = part.options.pairs, part.payload
    with_observe, content_format = _form(code, pairs)
    value = (number & _SEQUENCE_MASK).to_bytes(3, "big")
    if not value[0]:
        value = value.lstrip(b"\0")
    notification = Notification.inner(code, with_observe.options(value), payload, None, b"")
    notification.confirmable = response.confirmable
    notification.number = number
    notification.content_format = content_format
    notification.is_last = False
    return notification


@lru_cache(maxsize=64)
def _form(code: int, pairs: tuple[tuple[int, bytes], ...]) -> tuple[OptionTemplate, int | None]:
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
