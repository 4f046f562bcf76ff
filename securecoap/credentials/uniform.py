"""The form that large files are full of: a label with one ``oscore`` entry whose bytes are in hexadecimal, and no more.

Only speed: such an entry is read without what is needed to say where a fault is. What is not of this form, or has
anything of which a person is to be told, is not taken, and goes the general way from the start. Both ways end in the
same function of ``kinds.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from securecoap.credentials.faults import Place, Report
from securecoap.credentials.kinds import TABLES, oscore_context
from securecoap.credentials.models import ALWAYS, Entry, EntryDraft
from securecoap.credentials.sources import Sources
from securecoap.credentials.values import Reading, parse_octets

if TYPE_CHECKING:
    from securecoap.credentials.members import Written

__all__ = ["uniform_entry"]

_PARSERS: Final = TABLES["oscore"][0]
_shared = lru_cache(maxsize=256)(bytes.fromhex)
"""For members that many entries have in common, and that are no secrets."""
_READERS: Final = {
    name: _shared if name in ("salt", "sender-id", "id-context") else bytes.fromhex
    for name, parser in _PARSERS.items()
    if parser is parse_octets
}


class _Hesitation(Exception):
    """There is something to be said."""


class _Cautious(Report):
    """Takes nothing down."""

    def fault(self, *_: object) -> NoReturn:
        raise _Hesitation

    def warning(self, *_: object) -> NoReturn:
        raise _Hesitation


_CAUTIOUS: Final = Reading(_Cautious(), Sources({}))


def uniform_entry(name: str, value: Written, top: Place) -> Entry | None:
    """The entry that the general way would make, or ``None``: then it is to go that way.

    Args:
        name: its name.
        value: see `securecoap.credentials.members`.
        top: the place of the document.
    """
    if type(value) is not tuple or len(value) != 1 or value[0][0] != "oscore":
        return None
    members = value[0][1]
    if type(members) is not tuple or name[:1] != ":" or len(name) < 2 or not name.isprintable() or name[-1] == " ":
        return None
    got: dict[str, Any] = {}
    try:
        for member, written in members:
            if type(written) is tuple:
                ((form, digits),) = written
                if form != "hex" or type(digits) is not str:
                    return None
                got[member] = _READERS[member](digits)
            else:
                got[member] = _PARSERS[member](_CAUTIOUS, written, top)
        if len(got) != len(members):
            return None
        common = {"label": name, "claims": (name,), "own_claims": (), "validity": ALWAYS, "place": None}
        credential = oscore_context(_CAUTIOUS, got, top, common, None, None)  # what is not there is a LookupError
    except (_Hesitation, LookupError, ValueError):
        return None
    if credential is None:
        return None
    entry: Any = EntryDraft()  # to a type checker its fields are frozen already
    entry.name = name
    entry.node = credential
    entry.around = top
    entry.pattern = None
    entry.methods = None
    made: Entry = entry.made()
    return made
