"""The members of a JSON object one after the other, so that the tree of a large file is never there as a whole.

Only what is usual: for everything else (no object, no JSON, a name twice, numbers that JSON does not have) there is
``None``, and whoever asked reads the text whole, and finds what is wrong. Must not know what the values mean.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_members"]

_GAP: Final = r"[ \t\n\r]*+"
_BEGIN: Final = re.compile(rf"{_GAP}\{{")
_NAME: Final = re.compile(rf'{_GAP}"([^"\\\x00-\x1f]*+)"{_GAP}:{_GAP}')
_NEXT: Final = re.compile(rf"{_GAP},")
_END: Final = re.compile(rf"{_GAP}\}}{_GAP}")


class _Unusual(ValueError):
    """To be read whole."""


def _refuse(_constant: str) -> NoReturn:
    raise _Unusual


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise _Unusual
    return found


_DECODER: Final = JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)


def read_members(text: str, take: Callable[[str, int], tuple[str, Any, int] | None]) -> dict[str, Any] | None:
    """The members of the object that ``text`` is, by name; ``None`` for a text that has to be read whole.

    Args:
        text: JSON, perhaps.
        take: asked with the text and the position of each member; gives its name, what is made of its value, and the
            position behind it; for ``None`` the value is that of JSON.
    """
    try:
        return _members(text, take)
    except (ValueError, RecursionError):
        return None


def _members(text: str, take: Callable[[str, int], tuple[str, Any, int] | None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    count = 0
    next_at = _NEXT.match
    place = _BEGIN.match(text)
    position = 0
    while place is not None:
        name, value, position = take(text, place.end()) or _member(text, place.end())
        found[name] = value
        count += 1
        place = next_at(text, position)
    if len(found) != count or not count or _END.fullmatch(text, position) is None:
        raise _Unusual
    return found


def _member(text: str, position: int) -> tuple[str, Any, int]:
    name = _NAME.match(text, position)
    if name is None:
        raise _Unusual
    value, end = _DECODER.raw_decode(text, name.end())
    return name[1], value, end
