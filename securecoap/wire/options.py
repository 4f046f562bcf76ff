"""The options of one message: bytes until somebody asks (RFC 7252 section 3.1 and 5.4).

`Options` keeps sorted ``(number, value)`` pairs. Typed access goes through descriptors that apply the rules of section
5.4: a value whose length is out of range counts as absent, the first of a surplus wins. `Options.request_fault` and
`Options.response_fault` name the first option that its receiver may not ignore. Options of a received message are
frozen and may be shared by equal messages. This module knows nothing of headers, tokens, peers or time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import FormatError
from securecoap.wire import numbers
from securecoap.wire.option_bytes import encode_options
from securecoap.wire.option_types import (
    BlockOption,
    ContentFormatOption,
    FlagOption,
    OpaqueOption,
    OpaqueOptions,
    TextOption,
    TextOptions,
    UintOption,
    decode_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from securecoap.wire.operation import Blockwise

__all__ = ["Options", "decode_options"]

Pairs = tuple[tuple[int, bytes], ...]
_Rule = tuple[int, int, bool, bool]
"""Shortest and longest value, whether repeatable, whether text."""

_PRESENT_BITS: Final = 300

# A value of these must be UTF-8 to mean anything (RFC 7252 section 5.10.1, 5.10.2); all of them are critical.
_TEXT: Final = frozenset(
    {numbers.URI_HOST, numbers.URI_PATH, numbers.URI_QUERY, numbers.PROXY_URI, numbers.PROXY_SCHEME}
)
# What else would say where something was created, and is not understood yet (RFC 7252 section 5.10.7).
_LOCATION: Final = 1 << numbers.LOCATION_PATH | 1 << numbers.LOCATION_QUERY
_RESERVED_LOCATION: Final = sum(1 << number for number in numbers.RESERVED_LOCATION)
# Registered, and not implemented here: a receiver treats them as unrecognised.
_UNSUPPORTED: Final = frozenset({numbers.Q_BLOCK1, numbers.Q_BLOCK2, numbers.EDHOC})
_DOTS: Final = frozenset({b".", b".."})  # section 5.10.1: never sent


def _rules(*, request: bool) -> dict[int, _Rule]:
    """By number of each option that may be processed."""
    return {
        number: (definition.minimum, definition.maximum, definition.repeatable, number in _TEXT)
        for number, definition in numbers.OPTIONS.items()
        if number not in _UNSUPPORTED and (definition.in_request if request else definition.in_response)
    }


_IN_REQUEST: Final = _rules(request=True)
_IN_RESPONSE: Final = _rules(request=False)


class Options:
    """The options of one message, typed and generic.

    Every registered option is an attribute, ``None``, ``False`` or an empty tuple when absent; `get`, `add` and
    `replace` work on raw values of any number.

    Attributes:
        pairs: ``(number, value)`` in ascending order of numbers, as sent.
        present: an integer with bit *n* set for each option *n* below 300 that is there; a cheap test for layers.
        encoded: what `encode` gives, if it was asked already.
        is_sound_request, is_sound_response: whether `request_fault` or `response_fault` was asked already, and there is
            none; likewise.
        known_path: `uri_path`, if it was asked already; likewise.
        blockwise: what `securecoap.wire.operation` has found out about them, until they are changed.
    """

    __slots__ = (
        "_frozen", "blockwise", "encoded", "is_sound_request", "is_sound_response", "known_path", "pairs", "present",
    )  # fmt: skip

    blockwise: Blockwise | None

    if_match = OpaqueOptions(numbers.IF_MATCH)
    uri_host = TextOption(numbers.URI_HOST)
    etag = OpaqueOption(numbers.ETAG)
    etags = OpaqueOptions(numbers.ETAG)
    if_none_match = FlagOption(numbers.IF_NONE_MATCH)
    observe = UintOption(numbers.OBSERVE)
    uri_port = UintOption(numbers.URI_PORT)
    location_path = TextOptions(numbers.LOCATION_PATH)
    oscore = OpaqueOption(numbers.OSCORE)
    content_format = ContentFormatOption(numbers.CONTENT_FORMAT)
    max_age = UintOption(numbers.MAX_AGE)
    uri_query = TextOptions(numbers.URI_QUERY)
    hop_limit = UintOption(numbers.HOP_LIMIT)
    accept = ContentFormatOption(numbers.ACCEPT)
    location_query = TextOptions(numbers.LOCATION_QUERY)
    block2 = BlockOption(numbers.BLOCK2)
    block1 = BlockOption(numbers.BLOCK1)
    size2 = UintOption(numbers.SIZE2)
    proxy_uri = TextOption(numbers.PROXY_URI)
    proxy_scheme = TextOption(numbers.PROXY_SCHEME)
    size1 = UintOption(numbers.SIZE1)
    echo = OpaqueOption(numbers.ECHO)
    no_response = UintOption(numbers.NO_RESPONSE)
    request_tag = OpaqueOptions(numbers.REQUEST_TAG)

    def __init__(self, pairs: Iterable[tuple[int, bytes]] = ()) -> None:
        self._frozen = False
        if pairs:
            self._assign(tuple(sorted(pairs, key=_number)))
            return
        self.pairs: Pairs = ()
        self.present = 0
        self.encoded: bytes | None = b""
        self.known_path: tuple[str, ...] | None = ()
        self.is_sound_request = self.is_sound_response = True
        self.blockwise = None

    def _assign(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.encoded = self.known_path = self.blockwise = None
        self.is_sound_request = self.is_sound_response = False
        present = 0
        for number, _ in pairs:
            if number < _PRESENT_BITS:
                present |= 1 << number
        self.present = present

    @classmethod
    def received(cls, pairs: Pairs) -> Options:
        """The options of a message from the wire: frozen, so that equal messages may share them."""
        options = _new(cls)
        options._assign(pairs)
        options._frozen = True
        return options

    @classmethod
    def assembled(cls, pairs: Pairs, present: int, encoded: bytes | None = None) -> Options:
        """Frozen options of parts that agree with each other: sorted pairs, their bits, the wire form if known."""
        options = _new(cls)
        options.pairs = pairs
        options.present = present
        options.encoded = encoded
        options.known_path = options.blockwise = None
        options.is_sound_request = options.is_sound_response = False
        options._frozen = True
        return options

    # Typed access that layers need for every message is kept once found.

    @property
    def uri_path(self) -> tuple[str, ...]:
        """The path's segments, decoded; those that are not UTF-8 are left out (`request_fault` tells)."""
        path = self.known_path
        if path is None:
            path = tuple([value.decode(errors="ignore") for number, value in self.pairs if number == numbers.URI_PATH])
            self.known_path = path
        return path

    @uri_path.setter
    def uri_path(self, segments: Iterable[str]) -> None:
        values = [segment.encode() for segment in segments]
        if any(len(value) > 255 for value in values):
            raise ValueError("a path segment takes 255 bytes at most")
        if any(value in {b".", b".."} for value in values):
            raise ValueError("'.' and '..' are not path segments (RFC 7252 section 5.10.1)")
        self.replace(numbers.URI_PATH, values)

    @property
    def request_fault(self) -> int | None:
        """The first critical option that the receiver of a request must not process (section 5.4.1), if any."""
        if self.is_sound_request:
            return None
        fault = self._find_fault(_IN_REQUEST)
        self.is_sound_request = fault is None
        return fault

    @property
    def response_fault(self) -> int | None:
        """As `request_fault`, for the receiver of a response."""
        if self.is_sound_response:
            return None
        fault = self._find_fault(_IN_RESPONSE)
        self.is_sound_response = fault is None
        return fault

    def _find_fault(self, rules: Mapping[int, _Rule]) -> int | None:
        previous = -1
        for number, value in self.pairs:
            if number & 1:
                rule = rules.get(number)
                if (
                    rule is None
                    or not rule[0] <= len(value) <= rule[1]
                    or (number == previous and not rule[2])
                    or (rule[3] and not value.isascii() and decode_text(value) is None)
                    or (number == numbers.URI_PATH and value in _DOTS)
                ):
                    return number
            previous = number
        if self.present & _RESERVED_LOCATION and self.present & _LOCATION:
            return next(number for number, _ in self.pairs if number in numbers.RESERVED_LOCATION)
        return None

    # Generic access.

    def get(self, number: int) -> bytes | None:
        """The first raw value with this number."""
        for found, value in self.pairs:
            if found == number:
                return value
        return None

    def get_all(self, number: int) -> list[bytes]:
        """Every raw value with this number."""
        return [value for found, value in self.pairs if found == number]

    def add(self, number: int, value: bytes) -> None:
        """Append one more value with this number."""
        self._write(sorted((*self.pairs, (_checked(number), bytes(value))), key=_number))

    def replace(self, number: int, values: Iterable[bytes]) -> None:
        """Set all values with this number, in order; none removes the option."""
        kept = [pair for pair in self.pairs if pair[0] != number]
        kept.extend((_checked(number), value) for value in values)
        kept.sort(key=_number)
        self._write(kept)

    def remove(self, number: int) -> None:
        """Remove every value with this number."""
        if self.get(number) is not None:
            self.replace(number, ())

    def _write(self, pairs: list[tuple[int, bytes]]) -> None:
        if self._frozen:
            raise TypeError("the options of a received message cannot be changed; change a copy() of the message")
        self._assign(tuple(pairs))

    def copy(self) -> Options:
        """The same options, free to be changed."""
        options = _new(Options)
        options.pairs = self.pairs
        options.present = self.present
        options.encoded = self.encoded
        options.known_path = self.known_path
        options.blockwise = self.blockwise
        options.is_sound_request = self.is_sound_request
        options.is_sound_response = self.is_sound_response
        options._frozen = False
        return options

    def with_last(self, value: bytes) -> Options:
        """Frozen ones with another value, of as many bytes, of the last option, which is Block1 or Block2."""
        number = self.pairs[-1][0]
        options = Options.assembled((*self.pairs[:-1], (number, value)), self.present)
        options.known_path = self.known_path
        options.is_sound_response = self.is_sound_response
        options.is_sound_request = self.is_sound_request
        if self.blockwise is not None:
            options.blockwise = self.blockwise.with_block(number, value)
        return options

    def snapshot(self) -> Options:
        """The same options, which nobody changes any more."""
        if self._frozen:
            return self
        options = self.copy()
        options._frozen = True
        return options

    def encode(self) -> bytes:
        """As on the wire, kept for the next time."""
        encoded = self.encoded
        if encoded is None:
            encoded = self.encoded = encode_options(self.pairs) if self.pairs else b""
        return encoded

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, number: int) -> bool:
        return self.get(number) is not None

    def __eq__(self, other: object) -> bool:
        return self.pairs == other.pairs if isinstance(other, Options) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable: not a key

    def __repr__(self) -> str:
        names = (numbers.OPTIONS[n].name if n in numbers.OPTIONS else str(n) for n, _ in self.pairs)
        return f"<Options {', '.join(names)}>"


# Bound once, since each message has options: to look up what a class has inherited takes as long as a call.
_new: Final = Options.__new__


def decode_options(data: bytes, position: int = 0) -> tuple[Options, bytes]:
    """Options and payload from what follows a token (RFC 7252 section 3.1); the options are frozen.

    Raises:
        FormatError: a reserved nibble, a value past the end, a number above 65535, a marker without payload.
    """
    pairs: list[tuple[int, bytes]] = []
    number = present = 0
    end = len(data)
    payload = b""
    while position < end:
        byte = data[position]
        position += 1
        if byte == 0xFF:
            payload = data[position:]
            if not payload:
                raise FormatError("payload marker without payload")
            break
        delta = byte >> 4
        length = byte & 15
        if delta > 12:
            if delta == 13 and position < end:
                delta = data[position] + 13
                position += 1
            elif delta == 14 and position + 1 < end:
                delta = (data[position] << 8 | data[position + 1]) + 269
                position += 2
            else:
                raise FormatError("bad option delta")
        if length > 12:
            if length == 13 and position < end:
                length = data[position] + 13
                position += 1
            elif length == 14 and position + 1 < end:
                length = (data[position] << 8 | data[position + 1]) + 269
                position += 2
            else:
                raise FormatError("bad option length")
        number += delta
        following = position + length
        if following > end:
            raise FormatError("option value runs past the end")
        if number > 65535:
            raise FormatError("option number above 65535")
        if number < _PRESENT_BITS:
            present |= 1 << number
        pairs.append((number, data[position:following]))
        position = following
    options = _new(Options)
    options.pairs = tuple(pairs)
    options.present = present
    options.encoded = options.known_path = options.blockwise = None
    options.is_sound_request = options.is_sound_response = False
    options._frozen = True
    return options, payload


def _number(pair: tuple[int, bytes]) -> int:
    return pair[0]


def _checked(number: int) -> int:
    if not 0 <= number <= 65535:
        raise ValueError(f"option number {number} is not in 0 to 65535")
    return number
