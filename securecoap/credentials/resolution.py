"""Where references lead: the checks over all entries, and the claims of each credential.

Faults found here concern several entries: references that lead nowhere or in a circle, one identity or one sender
context used twice, groups that make no sense. Must not know requests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from securecoap.credentials.faults import printable
from securecoap.credentials.models import (
    ALWAYS,
    Credential,
    DtlsPsk,
    DtlsRpk,
    DtlsX509,
    Entry,
    Group,
    Node,
    OscoreContext,
    Reference,
    Unprotected,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from securecoap.credentials.faults import Place, Report

__all__ = ["MAXIMUM_ALTERNATIVES", "Role", "check", "leaves", "notable", "with_claims"]

Role = Literal["client", "server"]
Leaves: TypeAlias = "list[tuple[Entry, Credential]]"

_SHARED_KEYS: Final = (OscoreContext, DtlsPsk)
MAXIMUM_DEPTH: Final = 64
"""How many references may follow each other; people write two."""
MAXIMUM_ALTERNATIVES: Final = 1_000_000
"""Ways to satisfy one entry: any-of adds them up, all-of multiplies them."""
MAXIMUM_CANDIDATES: Final = 16
"""OSCORE contexts with one recipient id and id context: a received message is tried with each."""


def nodes(node: Node) -> Iterator[Node]:
    """``node`` and everything that stands inside of it, not behind references."""
    yield node
    if isinstance(node, Group):
        for member in node.members:
            yield from nodes(member)


def leaves(entries: Mapping[str, Entry]) -> Leaves:
    """Every credential, with the entry in which it stands, in the order of the file."""
    found: Leaves = []
    for entry in entries.values():
        if isinstance(entry.node, Credential):
            found.append((entry, entry.node))
        else:
            found += [(entry, node) for node in nodes(entry.node) if isinstance(node, Credential)]
    return found


def notable(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries of which there is more to say than that a label shares one key with us, always and without claims.

    Of a large file next to none: whoever looks for references, patterns, dates or claims looks at these.
    """
    return {
        name: entry
        for name, entry in entries.items()
        if not isinstance(node := entry.node, _SHARED_KEYS)
        or entry.pattern is not None
        or node.validity is not ALWAYS
        or node.own_claims
    }


def check(entries: dict[str, Entry], others: dict[str, Entry], report: Report, role: Role | None) -> None:
    """Note every fault that concerns more than one entry; ``others`` are those that are `notable`."""
    sound = _check_references(entries, others, report)
    if sound:
        _check_groups(entries, others, report, role)
    found = leaves(others)
    _check_identities(_doubtful(leaves(entries), found), report)
    _check_claims(entries, others, found, report)
    for entry, credential in found:
        if not credential.usable and (place := entry.place_of(credential)) is not None:
            report.warning(place, f"{credential.kind} is not usable yet: nothing can be sent or served with it")
        if (
            role == "server"
            and isinstance(credential, DtlsX509)
            and credential.has_rsa
            and (place := entry.place_of(credential)) is not None
        ):
            report.warning(
                place / "certificate",
                "its key is RSA, which no DTLS suite of RFC 7252 lets a server show: it is good for a client only",
            )


def _check_references(entries: dict[str, Entry], others: dict[str, Entry], report: Report) -> bool:
    sound = True
    references = {
        name: found
        for name, entry in others.items()
        if (found := [node for node in nodes(entry.node) if isinstance(node, Reference)])
    }
    for found in references.values():
        for reference in found:
            if reference.label not in entries:
                report.fault(reference.place, f"there is no {printable(reference.label)}")
                sound = False
    finished: set[str] = set()
    for start, first in references.items():
        if start in finished:
            continue
        path = [start]
        on_path = {start: 0}
        pending = [iter(first)]
        while pending:
            following = next(pending[-1], None)
            if following is None:
                pending.pop()
                name = path.pop()
                del on_path[name]
                finished.add(name)
                continue
            reference = following
            if reference.label in on_path:
                circle = " -> ".join(printable(name) for name in [*path[on_path[reference.label] :], reference.label])
                report.fault(reference.place, f"leads in a circle: {circle}")
                sound = False
            elif reference.label in references and reference.label not in finished:
                path.append(reference.label)
                on_path[reference.label] = len(path) - 1
                pending.append(iter(references[reference.label]))
    return sound and _check_depth(entries, references, report)


def _check_depth(entries: dict[str, Entry], references: dict[str, list[Reference]], report: Report) -> bool:
    depths: dict[str, int] = {}
    for start in references:
        pending = [start]
        while pending:
            name = pending[-1]
            below = [reference.label for reference in references.get(name, ())]
            missing = [label for label in below if label not in depths]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            depths[name] = 1 + max((depths[label] for label in below), default=0)
    for name, depth in depths.items():
        if depth > MAXIMUM_DEPTH:
            report.fault(entries[name].place, f"more than {MAXIMUM_DEPTH} references follow each other")
            return False
    return True


def _check_groups(entries: dict[str, Entry], others: dict[str, Entry], report: Report, role: Role | None) -> None:
    counts: dict[str, int] = {}
    open_labels: dict[str, bool] = {}

    def count(node: Node) -> int:
        if isinstance(node, Reference):
            if node.label not in counts:
                counts[node.label] = count(entries[node.label].node)
            return counts[node.label]
        if isinstance(node, Group):
            total = 0 if node.kind == "any-of" else 1
            for member in node.members:
                total = total + count(member) if node.kind == "any-of" else total * count(member)
                if total > MAXIMUM_ALTERNATIVES:
                    return MAXIMUM_ALTERNATIVES + 1
            return total
        return 1

    def is_open(node: Node) -> bool:
        if isinstance(node, Reference):
            if node.label not in open_labels:
                open_labels[node.label] = is_open(entries[node.label].node)
            return open_labels[node.label]
        return isinstance(node, Unprotected)

    for entry in others.values():
        if count(entry.node) > MAXIMUM_ALTERNATIVES:
            report.fault(entry.place, f"more than {MAXIMUM_ALTERNATIVES} combinations of credentials")
        for node in nodes(entry.node):
            if not isinstance(node, Group) or (node.kind == "any-of" and role == "server"):
                continue
            for member in node.members:
                if is_open(member) and not isinstance(member, Credential):
                    why = (
                        "unprotected in an any-of: a client would send plain text where a credential was meant"
                        if node.kind == "any-of"
                        else "unprotected in an all-of asks for nothing"
                    )
                    report.fault(member.place, why)


def _doubtful(found: Leaves, others: Leaves) -> Leaves:
    """The credentials among which two may be one to somebody: all, unless each shared key has an identifier of its own.

    ``others`` are those of entries that are `notable`.
    """
    contexts = [one for _, one in found if isinstance(one, OscoreContext)]
    keys = [one.identity for _, one in found if isinstance(one, DtlsPsk)]
    if (
        len({one.secret.reveal() for one in contexts}) == len(contexts)
        and len({one.recipient_id for one in contexts}) == len(contexts)
        and len(set(keys)) == len(keys)
    ):
        return others
    return found


def _check_identities(found: Leaves, report: Report) -> None:
    identities: dict[bytes, Place] = {}
    # By the secret itself, as nobody else asks this table, and it is gone in a moment.
    senders: dict[tuple[bytes, bytes, bytes, bytes | None], tuple[Entry, Credential]] = {}
    recipients: dict[tuple[bytes, bytes | None], int] = {}
    peers: dict[tuple[bytes, str], Place] = {}
    for one in found:
        entry, credential = one
        if isinstance(credential, OscoreContext):  # of which there may be very many: places are made for faults only
            context = credential.id_context
            first_one = senders.setdefault(
                (credential.secret.reveal(), credential.salt, credential.sender_id, context), one
            )
            shared = (credential.recipient_id, context)
            count = recipients[shared] = recipients.get(shared, 0) + 1
            if (first_one is one and count != MAXIMUM_CANDIDATES + 1) or (place := entry.place_of(credential)) is None:
                continue
            if first_one is not one:
                before = first_one[0].place_of(first_one[1])
                report.fault(place, f"the same sender context as in {before}: nonces would be used twice")
            if count == MAXIMUM_CANDIDATES + 1:
                report.fault(
                    place,
                    f"more than {MAXIMUM_CANDIDATES} contexts share one recipient-id and id-context: "
                    "a received message would have to be tried with each",
                )
            continue
        place = entry.place_of(credential)
        if place is None:  # only what is made by hand has none
            continue
        if isinstance(credential, DtlsPsk):
            first = identities.setdefault(credential.identity, place)
            if first is not place:
                report.fault(place / "client-identity", f"the same identity as in {first}; refer to one entry instead")
        elif isinstance(credential, (DtlsRpk, DtlsX509)) and entry.pattern is None:
            # Under a pattern they are a client's own, who may know one server by several.
            _check_peers(credential, place, peers, report)


def _check_peers(
    credential: DtlsRpk | DtlsX509, place: Place, peers: dict[tuple[bytes, str], Place], report: Report
) -> None:
    if isinstance(credential, DtlsX509):
        names = credential.peer_names or ("",)
        shown, what = [(der, name) for der in credential.authorities for name in names], "ca"
    elif credential.is_peer:
        return
    else:
        shown, what = [(key, "") for _, key in credential.peer_keys], "peer-keys"
    for one in shown:
        first = peers.setdefault(one, place)
        if first is not place:
            report.fault(place / what, f"the same peers as in {first}; refer to one entry instead")
            return


def _check_claims(entries: dict[str, Entry], others: dict[str, Entry], found: Leaves, report: Report) -> None:
    patterns = {entry.name for entry in others.values() if entry.pattern is not None}
    places = dict.fromkeys(credential.label for entry, credential in found if credential.label != entry.name)
    for name in places:
        if name in entries:  # or whoever proves the one inside of the list would have the claims of the other
            report.fault(entries[name].place, "the name is that of an entry inside of a list")
    for entry, credential in found:
        for claim in credential.own_claims:
            if (claim in patterns or claim in places) and (place := entry.place_of(credential)) is not None:
                report.fault(place, "a claim is the name of a pattern: that is for who proves its credential")


def with_claims(entries: dict[str, Entry], others: dict[str, Entry]) -> dict[str, Entry]:
    """Give every credential the claims of a peer that proves it: all labels that lead to it, outermost first.

    The order is by the number of references to the credential, then that of the file; labels of groups are no claims,
    but for a label with several keys of its own, which each of them proves.
    A peer with a label of its own in ``peer-keys`` has the labels of that entry before it. ``entries`` must have passed
    `check`, and ``others`` are those that are `notable`.
    """
    aliases: dict[str, list[tuple[int, str]]] = {}
    for entry in others.values():
        if entry.pattern is not None or not isinstance(entry.node, Reference):
            continue
        distance, node = 0, entry.node
        target: Node = node
        while isinstance(target, Reference):
            distance += 1
            node = target
            target = entries[node.label].node
        aliases.setdefault(node.label, []).append((distance, entry.name))
    claimed = dict(entries)
    for name in dict.fromkeys((*others, *aliases)):  # to all else its label alone leads
        entry = entries[name]
        proved = _claimed(entry.node, aliases.get(name, ()), direct=True)
        claimed[name] = entry if proved is entry.node else replace(entry, node=proved)
    for _, owner in leaves({name: claimed[name] for name in others}):
        if isinstance(owner, DtlsRpk) and not owner.is_peer:
            for label, _ in owner.peer_keys:
                peer = claimed.get(label)
                if peer is not None and isinstance(peer.node, DtlsRpk) and peer.node.is_peer:
                    claims = (*owner.labels, *peer.node.claims)
                    claimed[label] = replace(peer, node=replace(peer.node, claims=claims))
    return claimed


def _claimed(node: Node, aliases: list[tuple[int, str]] | tuple[()], *, direct: bool) -> Node:
    if isinstance(node, Credential):
        labels = [alias for _, alias in sorted(aliases, key=lambda found: -found[0])] if direct and aliases else []
        claims = (*labels, node.label, *node.own_claims)
        return node if claims == node.claims else replace(node, claims=claims)
    if isinstance(node, Group):
        outer = aliases if node.label else ()
        return replace(node, members=tuple(_claimed(one, outer, direct=bool(node.label)) for one in node.members))
    return node
