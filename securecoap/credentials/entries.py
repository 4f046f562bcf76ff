"""From the JSON of one or more documents to entries: keys, kinds, what stands beside a kind, merging.

References are taken as they are; ``resolution.py`` looks where they lead. Must not know requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.faults import Document, Place, printable
from securecoap.credentials.kinds import KINDS
from securecoap.credentials.models import ALWAYS, DtlsRpk, Entry, Group, Node, Reference, Unprotected, Validity, digest
from securecoap.credentials.patterns import PatternError, UriPattern, parse_pattern
from securecoap.credentials.resolution import nodes, notable
from securecoap.credentials.values import Reading, parse_claims, parse_date
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BESIDE", "GROUPS", "METHODS", "parse_documents"]

METHODS: Final[dict[str, int]] = {
    "GET": Code.GET,
    "POST": Code.POST,
    "PUT": Code.PUT,
    "DELETE": Code.DELETE,
    "FETCH": Code.FETCH,
    "PATCH": Code.PATCH,
    "iPATCH": Code.IPATCH,
}
_METHODS_ANY_CASE: Final = {name.upper(): int(code) for name, code in METHODS.items()}

GROUPS: Final = ("any-of", "all-of")
"""Kinds that are made of other entries."""
_ALL_KINDS: Final = (*KINDS, *GROUPS, "unprotected")
BESIDE: Final = ("claims", "methods", "not-before", "not-after")
"""What may stand beside a kind."""
_ANYBODY: Final = {"unauthenticated": True}
_DEEPEST: Final = 32
"""How far groups may be nested in each other; people write two levels."""


def parse_documents(reading: Reading, documents: Iterable[tuple[Document, Any]]) -> dict[str, Entry]:
    """Parse and merge: a later document's entry replaces an earlier one, and goes to the end; ``null`` deletes it."""
    entries: dict[str, Entry] = {}
    for document, content in documents:
        top = Place(document)
        if not isinstance(content, Mapping):
            reading.fault(top, "a JSON object is expected")
            continue
        for name, value in content.items():
            if type(value) is Entry:  # read already: in the form that most have in a large file
                entries.pop(name, None)
                entries[name] = value
                continue
            if not isinstance(name, str):
                reading.fault(top, "the name of an entry is a string")
                continue
            place = top / name
            if name == "$schema":
                if not isinstance(value, str):
                    reading.fault(place, "a string is expected")
                continue
            pattern = _name(reading, name, place)
            if value is None:
                entries.pop(name, None)
                continue
            entry = _entry(reading, name, value, top, pattern)
            if entry is not None:
                entries.pop(name, None)
                entries[name] = entry
    _add_peers(reading, entries)
    return entries


def _add_peers(reading: Reading, entries: dict[str, Entry]) -> None:
    """Make an entry of each peer that a ``dtls-rpk`` entry gives a label, so that patterns can ask for it."""
    for node in [node for entry in notable(entries).values() for node in nodes(entry.node)]:
        if not isinstance(node, DtlsRpk) or node.place is None:
            continue
        for label, peer_key in node.peer_keys:
            if not label:
                continue
            around = node.place / "peer-keys"
            place = around / label
            if label in entries:
                reading.fault(place, f"there is another {printable(label)}")
                continue
            key = digest([node.key, label.encode("utf-8", "surrogatepass")])
            claims = (label, *node.own_claims)
            peer = replace(
                node, label=label, claims=claims, key=key, peer_keys=((label, peer_key),), place=place, is_peer=True
            )
            entries[label] = Entry(label, peer, around)


def _name(reading: Reading, name: str, place: Place) -> UriPattern | None:
    if name.startswith(":"):
        if len(name) == 1 or not name.isprintable() or name != name.strip():
            reading.fault(place, 'a label is ":" and a name of printable characters')
        return None
    try:
        return parse_pattern(name)
    except PatternError as error:
        reading.fault(place, str(error))
        return None


def _entry(reading: Reading, name: str, value: Any, top: Place, pattern: UriPattern | None) -> Entry | None:
    methods = None
    place = top / name
    if isinstance(value, (dict, Mapping)) and "methods" in value:
        if name.startswith(":"):
            reading.fault(place / "methods", "methods are for URI patterns only")
        else:
            methods = _methods(reading, value["methods"], place / "methods")
    node = _node(reading, value, place, name, ALWAYS, 0)
    if node is None or (pattern is None and not name.startswith(":")):
        return None
    return Entry(name, node, top, pattern, methods)


def _node(reading: Reading, value: Any, place: Place, label: str, outer: Validity, depth: int) -> Node | None:
    """Parse an entry's value; one inside a list is labelled by its place, and valid no longer than what it is in."""
    if isinstance(value, str):
        if len(value) < 2 or not value.startswith(":"):
            reading.fault(place, 'a string names a label, and begins with ":"')
            return None
        return Reference(value, place)
    if not isinstance(value, (dict, Mapping)):
        reading.fault(place, "a label, null, or an object with one kind is expected")
        return None
    if depth > _DEEPEST:
        reading.fault(place, f"nested more than {_DEEPEST} levels deep")
        return None
    beside = _beside(reading, value, place, outer, depth)
    kinds = [name for name in value if name in _ALL_KINDS]
    for name in value:
        if name not in _ALL_KINDS and name not in BESIDE:
            shown = printable(name) if isinstance(name, str) else "that is no string"
            known = ", ".join((*_ALL_KINDS, *BESIDE))
            reading.fault(place / str(name), f"unknown kind or member {shown}; known: {known}")
    if len(kinds) != 1:
        text = (
            f"several kinds in one entry: {', '.join(kinds)}" if kinds else f"no kind; one of {', '.join(_ALL_KINDS)}"
        )
        reading.fault(place, text)
    made = [_kind(reading, kind, value[kind], place / kind, label, beside, depth) for kind in kinds]
    if len(made) != 1 or made[0] is None or beside is None:
        return None
    if kinds[0] not in KINDS and beside[1]:
        reading.report.warning(place / "claims", f"claims beside {kinds[0]} have no effect: nothing is proved by it")
    return made[0]


def _kind(
    reading: Reading,
    kind: str,
    value: Any,
    place: Place,
    label: str,
    beside: tuple[Validity, tuple[str, ...]] | None,
    depth: int,
) -> Node | None:
    validity, claims = beside if beside is not None else (ALWAYS, ())
    if kind == "unprotected":
        if value is not True:
            reading.fault(place, "true is expected")
            return None
        return Unprotected(place, validity)
    if kind in GROUPS:
        if not isinstance(value, (list, tuple)) or not value:
            reading.fault(place, "a list of labels or entries is expected, not empty")
            return None
        members = []
        own = label if depth == 0 and kind == "any-of" and _are_keys_of_one(label, value) else ""
        for index, member in enumerate(value):
            inner = place / index
            node = _node(reading, member, inner, own or f"{label}.{kind}[{index}]", validity, depth + 1)
            if isinstance(member, Mapping) and "methods" in member:
                reading.fault(inner / "methods", "methods are for URI patterns only")
            if node is not None:
                members.append(node)
        if len(members) != len(value):
            return None
        return Group("any-of" if kind == "any-of" else "all-of", tuple(members), place, validity, own)
    # What most will have once it is known who refers to them (`resolution.with_claims`).
    common = {"label": label, "claims": (label, *claims), "own_claims": claims, "validity": validity, "place": place}
    return KINDS[kind](reading, value, place, common)


def _are_keys_of_one(label: str, members: list[Any] | tuple[Any, ...]) -> bool:
    """Whether the members of an ``any-of`` are keys that one peer has: written in it, none by reference.

    A key for EDHOC is one only with the peer's credential: what anybody may have must not have a name that is proved.
    """
    return label.startswith(":") and all(
        isinstance(member, Mapping) and not KINDS.keys().isdisjoint(member) and not _is_open(member)
        for member in members
    )


def _is_open(member: Mapping[Any, Any]) -> bool:
    value = member.get("edhoc-oscore")
    return isinstance(value, Mapping) and value.get("peer-cred", _ANYBODY) == _ANYBODY


def _beside(
    reading: Reading, value: Mapping[Any, Any], place: Place, outer: Validity, depth: int
) -> tuple[Validity, tuple[str, ...]] | None:
    """Parse what stands beside the kind: validity (inside of ``outer``) and claims; ``None`` after a fault."""
    if len(value) == 1:  # a kind alone
        return (outer if depth else ALWAYS), ()
    claims: tuple[str, ...] | None = ()
    if "claims" in value:
        claims = parse_claims(reading, value["claims"], place / "claims")
    bounds: list[float | None] = list(ALWAYS)
    for index, name in enumerate(("not-before", "not-after")):
        if name in value:
            bounds[index] = parse_date(reading, value[name], place / name)
    not_before, not_after = bounds
    if claims is None or not_before is None or not_after is None:
        return None
    own = Validity(not_before, not_after)
    if own.not_before >= own.not_after:
        reading.fault(place / "not-after", "not later than not-before")
        return None
    return (own.meet(outer) if depth else own), claims


def _methods(reading: Reading, value: Any, place: Place) -> frozenset[int] | None:
    if not isinstance(value, (list, tuple)) or not value:
        reading.fault(place, "a list of method names is expected, not empty")
        return None
    codes = []
    for index, name in enumerate(value):
        code = _METHODS_ANY_CASE.get(name.upper()) if isinstance(name, str) else None
        if code is None:
            reading.fault(place / index, f"unknown method; known: {', '.join(METHODS)}")
        else:
            codes.append(code)
    return frozenset(codes)
