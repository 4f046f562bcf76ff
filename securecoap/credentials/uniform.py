"""The form that large files are full of: a label with one ``oscore`` entry whose bytes are in hexadecimal, and no more.

Only speed: one regular expression knows such an entry, whatever the order of its members, and it is read without what
is needed to say where a fault is. What is not of this form, or has anything of which a person is to be told, is not
taken, and goes the general way from the start. Both ways end in the same function of ``kinds.py``.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn

from securecoap.credentials.faults import Document, Place, Report
from securecoap.credentials.kinds import TABLES, oscore_context
from securecoap.credentials.models import ALWAYS, Entry, EntryDraft
from securecoap.credentials.sources import Sources
from securecoap.credentials.values import Reading

__all__ = ["uniform_entry"]

_PARSERS: Final = TABLES["oscore"][0]

# As in RFC 8259, but for what is rare: escapes in strings, fractions and exponents, numbers of more than six digits. No
# repetition gives back what it has taken ("*+"), as nothing that may follow it begins with the same.
_GAP: Final = r"[ \t\n\r]*+"
_COLON: Final = f"{_GAP}:{_GAP}"
_OCTETS: Final = rf'\{{{_GAP}"hex"{_COLON}"([0-9a-fA-F]*+)"{_GAP}\}}'
_SETTING: Final = r'("[^"\\\x00-\x1f]*+"|0|[1-9][0-9]{0,5}+|true|false)'
_KEYING: Final = ("secret", "salt", "sender-id", "recipient-id", "id-context")
_SETTINGS: Final = tuple(name for name in _PARSERS if name not in _KEYING)
# The first group is the label; a member whose group has something already is there twice, and not taken.
_MEMBER: Final = "|".join(
    f'{name}"(?({group})(?!)){_COLON}{_OCTETS if name in _KEYING else _SETTING}'
    for group, name in enumerate((*_KEYING, *_SETTINGS), 2)
)
_ENTRY: Final = re.compile(
    rf'{_GAP}"(:[^"\\\x00-\x1f]++)"{_COLON}\{{{_GAP}"oscore"{_COLON}\{{{_GAP}'
    rf'(?:"(?:{_MEMBER}){_GAP}(?:,{_GAP}(?=")|(?=\}})))++\}}{_GAP}\}}'
)

_octets: Final = bytes.fromhex
_shared: Final = lru_cache(maxsize=256)(bytes.fromhex)
"""For members that many entries have in common, and that are no secrets."""


class _Hesitation(Exception):
    """There is something to be said."""


class _Cautious(Report):
    """Takes nothing down."""

    def fault(self, *_: object) -> NoReturn:
        raise _Hesitation

    def warning(self, *_: object) -> NoReturn:
        raise _Hesitation


_CAUTIOUS: Final = Reading(_Cautious(), Sources({}))
_NOWHERE: Final = Place(Document("", Path()))


def uniform_entry(text: str, position: int, top: Place) -> tuple[str, Entry, int] | None:
    """The entry that the general way would make of what stands in a text, or ``None``: then it is to go that way.

    Args:
        text: of the document.
        position: where a name may begin.
        top: the place of the document.

    Returns:
        The name, the entry, and the position behind it.
    """
    match = _ENTRY.match(text, position)
    if match is None:
        return None
    name, secret, salt, sender_id, recipient_id, id_context, *rest = match.groups()
    if secret is None or sender_id is None or recipient_id is None or not name.isprintable() or name[-1] == " ":
        return None
    common = {"label": name, "claims": (name,), "own_claims": (), "validity": ALWAYS, "place": None}
    try:
        credential = oscore_context(
            _CAUTIOUS,
            top,
            common,
            secret=_octets(secret),
            salt=_shared(salt or ""),
            sender_id=_shared(sender_id),
            recipient_id=_octets(recipient_id),
            id_context=None if id_context is None else _shared(id_context),
            **_settings(*rest),
        )
    except (_Hesitation, ValueError):
        return None
    if credential is None:
        return None
    entry: Any = EntryDraft()  # to a type checker its fields are frozen already
    entry.name = name
    entry.node = credential
    entry.around = top
    entry.pattern = None
    entry.methods = None
    return name, entry.made(), match.end()


@lru_cache(maxsize=256)
def _settings(*written: str | None) -> dict[str, Any]:
    """What the members of `_SETTINGS`, as they are written, are for `oscore_context`; most entries have the same."""
    return {
        name.replace("-", "_"): _PARSERS[name](_CAUTIOUS, json.loads(value), _NOWHERE)
        for name, value in zip(_SETTINGS, written, strict=True)
        if value is not None
    }
