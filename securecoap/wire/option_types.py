"""Typed access to registered options: one descriptor class for each form of value (RFC 7252 section 3.2).

A value whose length is outside its definition counts as absent, and the first of a surplus is the one (section 5.4.3
and 5.4.5). Setting checks what reading forgives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.content_formats import content_format_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.wire.content_formats import ContentFormat
    from securecoap.wire.options import Options

__all__ = [
    "BlockOption",
    "ContentFormatOption",
    "FlagOption",
    "OpaqueOption",
    "OpaqueOptions",
    "OptionAttribute",
    "TextOption",
    "TextOptions",
    "UintOption",
    "decode_text",
    "encode_uint",
]


def encode_uint(value: int) -> bytes:
    """The shortest form of an unsigned integer, nothing for 0 (RFC 7252 section 3.2)."""
    return value.to_bytes((value.bit_length() + 7) >> 3, "big")


class OptionAttribute:
    """One registered option as an attribute."""

    __slots__ = ("bit", "maximum", "minimum", "number")

    def __init__(self, number: int) -> None:
        definition = numbers.OPTIONS[number]
        self.number = number
        self.bit = 1 << number  # of `Options.present`; every registered number is below its 300
        self.minimum = definition.minimum
        self.maximum = definition.maximum

    def first(self, options: Options) -> bytes | None:
        """The first value of a length that the option may have, or ``None``."""
        if not options.present & self.bit:
            return None
        number = self.number
        for found, value in options.pairs:
            if found == number and self.minimum <= len(value) <= self.maximum:
                return value
            if found > number:
                break
        return None

    def every(self, options: Options) -> list[bytes]:
        """All values of a length that the option may have, in order."""
        number, minimum, maximum = self.number, self.minimum, self.maximum
        return [value for found, value in options.pairs if found == number and minimum <= len(value) <= maximum]

    def store(self, options: Options, values: list[bytes]) -> None:
        """Put these in the place of all values.

        Raises:
            ValueError: one has a length that the option may not have.
        """
        for value in values:
            if not self.minimum <= len(value) <= self.maximum:
                name = numbers.OPTIONS[self.number].name
                raise ValueError(f"{name} takes {self.minimum} to {self.maximum} bytes, not {len(value)}")
        options.replace(self.number, values)


class UintOption(OptionAttribute):
    """An unsigned integer, or ``None`` when absent."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> UintOption: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> int | None: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> UintOption | int | None:
        if instance is None:
            return self
        if not instance.present & self.bit:
            return None
        number = self.number
        for found, value in instance.pairs:  # as `first`, for what is asked of many messages
            if found == number and self.minimum <= len(value) <= self.maximum:
                return int.from_bytes(value, "big")
        return None

    def __set__(self, instance: Options, value: int | None) -> None:
        if value is not None and not isinstance(value, int):
            raise TypeError(f"this option is a number, not {value!r}")
        if value is not None and value < 0:
            raise ValueError("an option cannot be negative")
        self.store(instance, [] if value is None else [encode_uint(value)])


class ContentFormatOption(UintOption):
    """A content format's number, or ``None`` when absent; set by its number, its name or its registry entry."""

    __slots__ = ()

    def __set__(self, instance: Options, value: int | str | ContentFormat | None) -> None:
        super().__set__(instance, None if value is None else content_format_number(value))


class OpaqueOption(OptionAttribute):
    """Bytes, or ``None`` when absent."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> OpaqueOption: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> bytes | None: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> OpaqueOption | bytes | None:
        return self if instance is None else self.first(instance)

    def __set__(self, instance: Options, value: bytes | None) -> None:
        self.store(instance, [] if value is None else [bytes(value)])


class TextOption(OptionAttribute):
    """A string, or ``None`` when absent or not UTF-8."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> TextOption: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> str | None: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> TextOption | str | None:
        if instance is None:
            return self
        value = self.first(instance)
        return None if value is None else decode_text(value)

    def __set__(self, instance: Options, value: str | None) -> None:
        self.store(instance, [] if value is None else [value.encode()])


class FlagOption(OptionAttribute):
    """Present or not."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> FlagOption: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> bool: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> FlagOption | bool:
        return self if instance is None else self.first(instance) is not None

    def __set__(self, instance: Options, value: bool) -> None:
        self.store(instance, [b""] if value else [])


class OpaqueOptions(OptionAttribute):
    """Every value, in order."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> OpaqueOptions: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> tuple[bytes, ...]: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> OpaqueOptions | tuple[bytes, ...]:
        return self if instance is None else tuple(self.every(instance))

    def __set__(self, instance: Options, value: Iterable[bytes]) -> None:
        self.store(instance, [bytes(one) for one in value])


class TextOptions(OptionAttribute):
    """Every string, in order; those that are not UTF-8 are left out."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> TextOptions: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> tuple[str, ...]: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> TextOptions | tuple[str, ...]:
        if instance is None:
            return self
        texts = (decode_text(value) for value in self.every(instance))
        return tuple(text for text in texts if text is not None)

    def __set__(self, instance: Options, value: Iterable[str]) -> None:
        self.store(instance, [text.encode() for text in value])


class BlockOption(OptionAttribute):
    """A block of a body (RFC 7959 section 2.2), or ``None`` when absent."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Options]) -> BlockOption: ...
    @overload
    def __get__(self, instance: Options, owner: type[Options]) -> Block | None: ...
    def __get__(self, instance: Options | None, owner: type[Options]) -> BlockOption | Block | None:
        if instance is None:
            return self
        if instance.present & self.bit:
            number = self.number
            for found, value in instance.pairs:
                if found == number and len(value) <= 3:  # it has no shortest
                    return Block.decode(value)
        return None

    def __set__(self, instance: Options, value: Block | None) -> None:
        self.store(instance, [] if value is None else [value.encode()])


def decode_text(value: bytes) -> str | None:
    """The text, or ``None`` where the bytes are no UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
