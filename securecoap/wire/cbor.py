"""Just enough CBOR (RFC 8949) for documents that peers send without being asked, such as problem details.

Nothing is interpreted: a tag stays a `Tagged`, so that no byte of a peer makes a regular expression, a date or a
reference. Any bytes give a value or `FormatError`. What is large or trusted is the business of a library.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final, NamedTuple

from securecoap.errors import FormatError

__all__ = ["Simple", "Tagged", "decode_cbor", "encode_cbor"]

_DEEPEST: Final = 32
_INDEFINITE: Final = 31
_BREAK: Final = object()
_SIMPLE: Final[dict[int, object]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = 2, 3, 4, 5, 6, 7


class Tagged(NamedTuple):
    """A data item with a tag (section 3.4)."""

    tag: int
    value: Any


class Simple(NamedTuple):
    """A simple value that has no meaning here (section 3.3)."""

    number: int


def decode_cbor(data: bytes) -> Any:
    """The one data item that these bytes are.

    Returns:
        ``int``, ``float``, ``bool``, ``None`` (also for undefined), ``bytes``, ``str``, ``list``, ``dict`` (an array as
        key is a tuple), `Tagged` or `Simple`.

    Raises:
        FormatError: not well-formed or not valid, nested too deeply, or bytes follow the item.
    """
    reader = _Reader(data)
    item = reader.item(0)
    if item is _BREAK:
        raise FormatError("a break outside of anything")
    if reader.position != len(data):
        raise FormatError("bytes follow the data item")
    return item


class _Reader:
    """Data items of a byte string, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def item(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise FormatError("nested too deeply")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == _OTHER:
            return self._other(info)
        if info == _INDEFINITE:
            return self._indefinite(major, depth)
        argument = self._argument(info)
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return _text(self._take(argument))
        if major == _TAG:
            return Tagged(argument, self._inner(depth))
        if argument > len(self._data) - self.position:  # each item takes a byte at least
            raise FormatError("ends within an array or map")
        if major == _ARRAY:
            return [self._inner(depth) for _ in range(argument)]
        return _map([(self._inner(depth), self._inner(depth)) for _ in range(argument)])

    def _inner(self, depth: int) -> Any:
        item = self.item(depth + 1)
        if item is _BREAK:
            raise FormatError("a break in the place of an item")
        return item

    def _indefinite(self, major: int, depth: int) -> Any:
        if major == _ARRAY:
            items = []
            while (item := self.item(depth + 1)) is not _BREAK:
                items.append(item)
            return items
        if major == _MAP:
            pairs = []
            while (key := self.item(depth + 1)) is not _BREAK:
                pairs.append((key, self._inner(depth)))
            return _map(pairs)
        if major not in {_BYTES, _TEXT}:
            raise FormatError("an integer or tag has no indefinite length")
        chunks = []
        while (first := self._take(1)[0]) != 0xFF:
            if first >> 5 != major or first & 31 == _INDEFINITE:
                raise FormatError("a chunk of a string is not a definite string of its kind")
            chunk = self._take(self._argument(first & 31))
            chunks.append(chunk if major == _BYTES else _text(chunk))
        return b"".join(chunks) if major == _BYTES else "".join(chunks)  # type: ignore[arg-type]  # all of one kind

    def _other(self, info: int) -> Any:
        if info in _FLOATS:
            layout = _FLOATS[info]
            return layout.unpack(self._take(layout.size))[0]
        if info == _INDEFINITE:
            return _BREAK
        if info == 24:
            info = self._take(1)[0]
            if info < 32:
                raise FormatError("a simple value below 32 in two bytes")
        elif info > 24:
            raise FormatError("a reserved simple value")
        return _SIMPLE[info] if info in _SIMPLE else Simple(info)

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise FormatError("a reserved length")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _take(self, length: int) -> bytes:
        taken = self._data[self.position : self.position + length]
        if len(taken) != length:
            raise FormatError("ends within an item")
        self.position += length
        return taken


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise FormatError("a text string that is not UTF-8") from None


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = {}
    for key, value in pairs:
        name = _key(key)
        # What is equal in Python need not be so in CBOR: 1, 1.0 and true are three keys, and nobody means all of them.
        if name in found:
            raise FormatError("a map has a key twice")
        found[name] = value
    return found


def _key(item: Any) -> Any:
    if isinstance(item, list):
        return tuple(_key(one) for one in item)
    if isinstance(item, Tagged):
        return Tagged(item.tag, _key(item.value))
    if isinstance(item, dict):
        raise FormatError("a map as the key of a map")
    return item


def encode_cbor(item: Any) -> bytes:
    """A data item in its preferred form, maps in the order that they have.

    Args:
        item: what `decode_cbor` may return; a tuple is an array, a float takes eight bytes.

    Raises:
        TypeError: it is something else.
        ValueError: an integer takes more than eight bytes.
    """
    if isinstance(item, Tagged):
        return _head(_TAG, item.tag) + encode_cbor(item.value)
    if isinstance(item, Simple):
        return bytes((0xE0 | item.number,)) if item.number < 24 else bytes((0xF8, item.number))
    if item is None or isinstance(item, bool):
        return b"\xf6" if item is None else (b"\xf5" if item else b"\xf4")
    if isinstance(item, int):
        return _head(0, item) if item >= 0 else _head(1, -1 - item)
    if isinstance(item, float):
        return b"\xfb" + _FLOATS[27].pack(item)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return _head(_BYTES, len(item)) + bytes(item)
    if isinstance(item, str):
        content = item.encode()
        return _head(_TEXT, len(content)) + content
    if isinstance(item, (list, tuple)):
        return _head(_ARRAY, len(item)) + b"".join(map(encode_cbor, item))
    if isinstance(item, dict):
        members = (encode_cbor(key) + encode_cbor(value) for key, value in item.items())
        return _head(_MAP, len(item)) + b"".join(members)
    raise TypeError(f"{type(item).__name__} has no form in CBOR here")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * length:
            return bytes((major << 5 | info,)) + argument.to_bytes(length, "big")
    raise ValueError("an integer of more than eight bytes")
