"""The members of a JSON object one after the other, so that the tree of a large file is never there as a whole.

Only what is usual: for everything else (no object, no JSON, a name twice, numbers that JSON does not have) there is
``None``, and whoever asked reads the text whole, and finds what is wrong. Must not know what the values mean.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Written", "plain", "read_members"]

Written: TypeAlias = Any
"""A JSON value, of which an object is a tuple of its members: pairs of name and value, with names that are repeated."""

_NAME: Final = r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*'
_FIRST: Final = re.compile(r"[ \t\n\r]*\{" + _NAME)
_NEXT: Final = re.compile(r"[ \t\n\r]*," + _NAME)
_END: Final = re.compile(r"[ \t\n\r]*\}[ \t\n\r]*")


class _Unusual(ValueError):
    """To be read whole."""


def _refuse(_constant: str) -> NoReturn:
    raise _Unusual


_DECODER: Final = JSONDecoder(object_pairs_hook=tuple, parse_constant=_refuse)


def read_members(text: str, take: Callable[[str, Written], object | None]) -> dict[str, Any] | None:
    """The members of the object that ``text`` is, by name; ``None`` for a text that has to be read whole.

    Args:
        text: JSON, perhaps.
        take: makes something of a member's name and value; for ``None`` the value stays as it is in JSON.
    """
    try:
        return _members(text, take)
    except (ValueError, RecursionError):
        return None


def _members(text: str, take: Callable[[str, Written], object | None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    position = count = 0
    name_at, value_at = _NEXT.match, _DECODER.raw_decode
    name = _FIRST.match(text)
    while name is not None:
        label = name[1]
        value, position = value_at(text, name.end())
        taken = take(label, value)
        found[label] = plain(value) if taken is None else taken
        count += 1
        name = name_at(text, position)
    if len(found) != count or not count or _END.fullmatch(text, position) is None:
        raise _Unusual
    return found


def plain(value: Written) -> Any:
    """The value as the standard library gives it, objects as dictionaries.

    Raises:
        ValueError: an object has a name twice.
    """
    if type(value) is tuple:
        made = {name: plain(member) for name, member in value}
        if len(made) != len(value):
            raise _Unusual("a name is given twice")
        return made
    if type(value) is list:
        return [plain(element) for element in value]
    return value
