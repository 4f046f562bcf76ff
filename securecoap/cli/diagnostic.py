"""CBOR as diagnostic notation (RFC 8949 section 8), item by item, exactly as it is encoded.

Bytes that are not well-formed CBOR raise `ValueError` and nothing else. Knows no message and no terminal.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["diagnostic"]

_DEEPEST: Final = 100
_WIDEST_MARGIN: Final = 64
"""A peer must not make a screenful of blanks of each of its bytes."""
_WIDTH: Final = 80
_SIMPLE: Final = {20: "false", 21: "true", 22: "null", 23: "undefined"}
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF


class _Group(NamedTuple):
    """Something in brackets, not yet laid out: in one line if that fits."""

    opening: str
    members: list[_Node]
    closing: str


_Node = str | _Group


def diagnostic(data: bytes, *, sequence: bool = False) -> str:
    """Diagnostic notation of one data item, or of a CBOR sequence (RFC 8742), one item after the other.

    Raises:
        ValueError: not well-formed, nested too deeply, or bytes follow the item.
    """
    reader = _Reader(data)
    items: list[str] = []
    while reader.position < len(data) or (not items and not sequence):
        items.append(_lay_out(reader.item(0), 0))
        if not sequence and reader.position < len(data):
            raise ValueError(f"{len(data) - reader.position} bytes follow the data item")
    return ",\n".join(items)


class _Reader:
    """The items of a byte string, one after the other (RFC 8949 section 3)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def item(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        if info == _INDEFINITE:
            return self._indefinite(major, depth)
        argument = self._argument(info)
        if major == 0:
            return str(argument)
        if major == 1:
            return str(-1 - argument)
        if major == 2:
            return _bytes(self._take(argument))
        if major == 3:
            return _text(self._take(argument))
        if major == 6:
            return _Group(f"{argument}(", [self.item(depth + 1)], ")")
        # Each member takes a byte at least: a count beyond the rest of the data is a fault before it is a loop.
        if argument * (major - 3) > len(self._data) - self.position:
            raise ValueError("ends within an array or map")
        if major == 4:
            return _Group("[", [self.item(depth + 1) for _ in range(argument)], "]")
        return _Group("{", [self._pair(depth + 1) for _ in range(argument)], "}")

    def _pair(self, depth: int) -> _Node:
        key = _one_line(self.item(depth))
        value = self.item(depth)
        if isinstance(value, str):
            return f"{key}: {value}"
        return _Group(f"{key}: {value.opening}", value.members, value.closing)

    def _indefinite(self, major: int, depth: int) -> _Node:
        if major in {2, 3}:
            return _Group("(_ ", self._until_break(lambda: self._chunk(major)), ")")
        if major == 4:
            return _Group("[_ ", self._until_break(lambda: self.item(depth + 1)), "]")
        if major == 5:
            return _Group("{_ ", self._until_break(lambda: self._pair(depth + 1)), "}")
        raise ValueError("an integer or tag has no indefinite length")

    def _until_break(self, read: Callable[[], _Node]) -> list[_Node]:
        members = []
        while self._peek() != _BREAK:
            members.append(read())
        self.position += 1
        return members

    def _chunk(self, major: int) -> _Node:
        first = self._take(1)[0]
        if first >> 5 != major or first & 31 == _INDEFINITE:
            raise ValueError("a chunk of a string is not a definite string of its kind")
        content = self._take(self._argument(first & 31))
        return _bytes(content) if major == 2 else _text(content)

    def _simple(self, info: int) -> str:
        if info in _FLOATS:
            layout = _FLOATS[info]
            return _float(layout.unpack(self._take(layout.size))[0])
        if info == 24:
            value = self._take(1)[0]
            if value < 32:
                raise ValueError("a simple value below 32 in two bytes")
            return f"simple({value})"
        if info > 24:
            raise ValueError("a break outside of anything" if info == _INDEFINITE else "a reserved simple value")
        return _SIMPLE.get(info, f"simple({info})")

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError("a reserved length")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _peek(self) -> int:
        if self.position >= len(self._data):
            raise ValueError("ends within an item")
        return self._data[self.position]

    def _take(self, length: int) -> bytes:
        taken = self._data[self.position : self.position + length]
        if len(taken) != length:
            raise ValueError("ends within an item")
        self.position += length
        return taken


def _bytes(content: bytes) -> str:
    return f"h'{content.hex()}'"


def _text(content: bytes) -> str:
    try:
        return json.dumps(content.decode(), ensure_ascii=False)
    except UnicodeDecodeError:
        raise ValueError("a text string that is not UTF-8") from None


def _float(value: float) -> str:
    if value != value:  # noqa: PLR0124  # NaN
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _one_line(node: _Node) -> str:
    if isinstance(node, str):
        return node
    return node.opening + ", ".join(_one_line(member) for member in node.members) + node.closing


def _room_left(node: _Node, room: int) -> int:
    """What a node leaves of so many characters in a line, below nothing if it does not fit; no more is looked at."""
    if isinstance(node, str):
        return room - len(node)
    room -= len(node.opening) + len(node.closing) + 2 * max(len(node.members) - 1, 0)
    for member in node.members:
        if room < 0:
            break
        room = _room_left(member, room)
    return room


def _lay_out(node: _Node, indentation: int) -> str:
    if isinstance(node, str) or not node.members or _room_left(node, _WIDTH - indentation) >= 0:
        return _one_line(node)
    inner = min(indentation + 2, _WIDEST_MARGIN)
    members = ",\n".join(" " * inner + _lay_out(member, inner) for member in node.members)
    return f"{node.opening.rstrip()}\n{members}\n{' ' * indentation}{node.closing}"
