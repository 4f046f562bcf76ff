"""Changing what a server's file says about one device: a second key, the end of the first, the end of both.

References to a label stay good, whatever is done to it. Must not know files or the command line.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials import making
from securecoap.credentials.endings import REVOKED
from securecoap.credentials.faults import Document, Place, Report
from securecoap.credentials.making import Json, MakingFault
from securecoap.credentials.pairing import PAIRED_KINDS, Fleet, Octets
from securecoap.credentials.sources import Sources
from securecoap.credentials.values import Reading, parse_date

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["counterpart", "finish", "kind_of", "revoke", "rotate"]

_BESIDE: Final = ("claims", "methods", "not-before", "not-after")
_SAME: Final = {
    "dtls": ("psk",),
    "oscore": ("secret", "salt"),
    "edhoc-oscore": (),
    "dtls-x509": (),
}
"""Kinds with a place for a second key under one label, and the byte values that both halves share."""


def kind_of(entry: Mapping[str, Any]) -> str:
    """The kind of an entry; empty if it has none."""
    return next((name for name in entry if name not in _BESIDE), "")


def rotate(fleet: Fleet, label: str, device: Mapping[str, Any], octets: Octets, *, until: float) -> Json:
    """Give a device a new key in the server's file, beside the old one, which is good for some time more.

    Args:
        fleet: the server's file. It is changed.
        label: of the device.
        device: content of the device's file.
        octets: how byte values of the device's file are read.
        until: when the old key ends, in seconds since 1970.

    Returns:
        The new content of the device's file.

    Raises:
        MakingFault: there is no such label, it has two keys already, or its kind has no room for a second one.
    """
    old = _entry(fleet, label)
    kind = kind_of(old)
    if kind == "any-of":
        raise MakingFault(f"{label} has two keys; end the rotation with --finish, or revoke it")
    if kind not in _SAME:
        raise MakingFault(f"{label}: {kind} has no second key under one label; pair a new label, and revoke this one")
    pattern, theirs = counterpart(device, kind, old[kind], octets, fleet)
    fresh, new_theirs = fleet.halves(kind, label[1:])
    if kind == "dtls-x509":
        # A certificate of the same name, by the same authority: the server's file stays, and the old one ends in time.
        return {**device, pattern: {**theirs, kind: {**theirs[kind], **new_theirs}}}
    beside = {name: value for name, value in old.items() if name != kind}
    ending = {**old, "not-after": _earlier(old.get("not-after"), until)}
    fleet.content[label] = {"any-of": [{kind: {**old[kind], **fresh}, **beside}, ending]}
    changed = {name: value for name, value in theirs[kind].items() if name != "private-key-file"}
    return {**device, pattern: {**theirs, kind: {**changed, **new_theirs}}}


def finish(fleet: Fleet, label: str) -> None:
    """Leave only the newer of a device's two keys.

    Args:
        fleet: the server's file. It is changed.
        label: of the device.

    Raises:
        MakingFault: the label is not being rotated.
    """
    members = _entry(fleet, label).get("any-of")
    if not isinstance(members, list) or len(members) != 2 or not all(_is_key(one) for one in members):
        raise MakingFault(f"{label} is not being rotated")
    fleet.content[label] = members[0]


def revoke(fleet: Fleet, label: str) -> None:
    """Leave a label that nothing satisfies any more: a credential that ended long ago, whose key nobody has.

    Args:
        fleet: the server's file. It is changed.
        label: of the device.

    Raises:
        MakingFault: there is no such label, or it is no device's.
    """
    content = fleet.content
    if label not in content and fleet.has(label):
        _drop_raw_key(content, label)
    else:
        entry = _entry(fleet, label)
        keys = entry["any-of"] if isinstance(entry.get("any-of"), list) else [entry]
        if not all(_is_key(one) for one in keys):
            raise MakingFault(f"{label} is a group or an alias, and no device's: revoke those that it names")
    tombstone = making.new_psk("")
    tombstone["client-identity"] = {"ascii": f"revoked-{secrets.token_hex(8)}"}
    content[label] = {"dtls": tombstone, "not-after": REVOKED}


def _drop_raw_key(content: Json, label: str) -> None:
    for entry in content.values():
        value = entry.get("dtls-rpk") if isinstance(entry, dict) else None
        peers = value.get("peer-keys") if isinstance(value, dict) else None
        if isinstance(peers, dict) and label in peers:
            del peers[label]
            if not peers:
                peers[f"{label}.revoked"] = making.key_pair()[1]  # nobody has its private key; none would be a fault
            return
    raise MakingFault(f"{label} is a key inside of a group: change it there")


def _entry(fleet: Fleet, label: str) -> Json:
    entry = fleet.content.get(label)
    if entry is None:
        if fleet.has(label):
            raise MakingFault(f"{label}: dtls-rpk has no second key under one label; pair a new one, and revoke this")
        raise MakingFault(f"there is no {label}")
    if not label.startswith(":"):
        raise MakingFault(f"{label} is a pattern, and no device's label")
    if not isinstance(entry, dict):
        raise MakingFault(f"{label} only refers to {entry}")
    return entry


def _is_key(member: Any) -> bool:
    return isinstance(member, dict) and kind_of(member) in PAIRED_KINDS


def _earlier(written: Any, until: float) -> str:
    """The end of an old key: the one that it has, if that is earlier."""
    ends = None
    if written is not None:
        ends = parse_date(Reading(Report(), Sources({})), written, Place(Document("", Path())))
    if ends is not None and ends <= until:
        return str(written)
    return datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counterpart(device: Mapping[str, Any], kind: str, ours: Json, octets: Octets, fleet: Fleet) -> tuple[str, Json]:
    """The name and the entry in the device's file that match a value in the server's.

    Raises:
        MakingFault: it has none, or several.
    """
    found = [
        (name, entry)
        for name, entry in device.items()
        if isinstance(entry, dict)
        and isinstance(entry.get(kind), dict)
        and _matches(kind, ours, entry[kind], octets, fleet)
    ]
    if len(found) != 1:
        number = "several entries" if found else "no entry"
        raise MakingFault(f"the device's file has {number} with the key of the label")
    return found[0]


def _matches(kind: str, ours: Json, theirs: Json, octets: Octets, fleet: Fleet) -> bool:
    if kind == "edhoc-oscore":
        return bool(theirs.get("own-cred") == ours.get("peer-cred"))
    if kind == "dtls-x509":
        return "certificate" in theirs
    return all(fleet.octets(ours.get(name)) == octets(theirs.get(name)) for name in _SAME[kind])
