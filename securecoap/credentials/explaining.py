"""What a server with a map would say to a request, and why: for people, before it happens (the design, section 6).

A label stands for the peer that has its keys. Whether that one gets in is asked of the look-ups of a server, and what
it may do of its policy. Must not know the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from securecoap.credentials.client import DTLS_KINDS
from securecoap.credentials.endings import REVOKED_AT
from securecoap.credentials.models import (
    Credential,
    DtlsPsk,
    DtlsRpk,
    DtlsX509,
    EdhocOscore,
    Group,
    Node,
    OscoreContext,
    Reference,
    Unprotected,
)
from securecoap.credentials.policy import Basis, Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.credentials.map import CredentialsMap
    from securecoap.wire.uri import ParsedUri

__all__ = ["Explanation", "NobodyThere", "date_text", "explain"]

_OPEN_TO_ALL: Final = "it is open to everybody, for discovery and key exchange"


class NobodyThere(LookupError):
    """A name by which no peer can come; the text says why."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer, and what it stands on.

    Attributes:
        decision: false if the request is allowed, otherwise the code of the refusal. A peer that does not even get a
            session or security context is refused by 4.01.
        claims: what the peer has proved, as a handler would see it.
        reasons: why, as parts of a sentence; the first is what decides.
    """

    decision: Decision
    claims: tuple[str, ...]
    reasons: tuple[str, ...]


def explain(server: CredentialsMap, uri: ParsedUri, method: int, labels: Sequence[str], now: float) -> Explanation:
    """What a server would say to a request that is for one of its own names.

    Args:
        server: its map, as `CredentialsMap.for_server` gives it.
        uri: of the request.
        method: its code.
        labels: who asks: labels, or patterns with a credential of their own; none for a stranger. Two are for OSCORE
            over DTLS.
        now: seconds since 1970.

    Raises:
        NobodyThere: a label that no peer has, or two for the same layer.
    """
    shown = [_shown(server, label, now) for label in labels]
    by_dtls = [one for one in shown if one.kind in DTLS_KINDS]
    by_oscore = [one for one in shown if one.kind not in DTLS_KINDS]
    if max(len(by_dtls), len(by_oscore)) > 1:
        raise NobodyThere("one label for DTLS and one for OSCORE, at most")
    reasons = []
    if uri.scheme != "coaps":
        reasons += [f"{one.label} proves nothing by {uri.scheme}: its {one.kind} is for coaps" for one in by_dtls]
        by_dtls = []
    elif by_oscore and not by_dtls:
        reasons.append("what the DTLS session proves was not said: a second --as says it")
    for one in (*by_oscore, *by_dtls):
        if not _lets_in(server, one, now):
            return Explanation(Decision.UNAUTHORIZED, (), (_outside(one, now), *reasons))
    claims = tuple(claim for one in (*by_oscore, *by_dtls) for claim in one.claims)  # inner ones first
    question = (uri.scheme, uri.host, uri.port, uri.path, method)
    decision = server.policy.decide(*question, claims, now)
    return Explanation(decision, claims, (_reason(server, question, decision, claims, now), *reasons))


def _shown(server: CredentialsMap, label: str, now: float) -> Credential:
    """The credential by which a peer of this name comes: of several keys rather one that lets it in."""
    every = server.credentials()
    named = [one for one in every if one.label == label] + [
        one for one in every if one.label != label and label in one.labels
    ]
    if not named:
        raise NobodyThere(f"there is no credential {label}")
    return next((one for one in named if _lets_in(server, one, now)), named[0])


def _lets_in(server: CredentialsMap, one: Credential, now: float) -> bool:
    """Whether the server finds this credential by what a peer presents that has it."""
    if isinstance(one, DtlsPsk):
        return server.find_psk(one.identity, now) is one
    if isinstance(one, DtlsRpk):
        return any(server.dtls_peers.find_raw_key(key, now) is one for _, key in one.peer_keys)
    if isinstance(one, DtlsX509):
        names = one.peer_names or ()
        return any(server.dtls_peers.find_certified(der, names, now) is one for der in one.authorities)
    if isinstance(one, OscoreContext):
        return one in server.find_oscore(one.recipient_id, one.id_context, now)
    if isinstance(one, EdhocOscore) and server.edhoc.identity(now) is not None:
        if one.peer is None:
            return server.edhoc.anyone(now) is one
        return server.edhoc.by_value(one.peer.encoded, now) is one
    return False


def _outside(one: Credential, now: float) -> str:
    if one.validity.covers(now):
        return f"nobody gets in by {one.label}: its {one.kind} is not for peers of a server that has this name"
    return f"nobody gets in by {one.label} now{_when(one, now)}"


def _reason(
    server: CredentialsMap,
    question: tuple[str, str, int, tuple[str, ...], int],
    decision: Decision,
    claims: tuple[str, ...],
    now: float,
) -> str:
    basis, pattern = server.policy.basis(*question)
    if pattern is not None:
        node = server.entries[pattern].node
        asks = _demand(node, now)
        return f"{pattern} decides, and asks for {asks}" + _missing(decision, claims)
    if basis is Basis.OTHER_ORIGIN:
        return "patterns with this path are for other schemes or authorities, and nothing less specific opens it"
    if basis is Basis.OPEN:
        return _OPEN_TO_ALL
    text = "no pattern covers it, so any proof is enough"
    if decision:
        text += ", and there is none" if not claims else ", and this one may be anybody's"
    return text


def _missing(decision: Decision, claims: tuple[str, ...]) -> str:
    if not decision:
        return ""
    return "; " + (f"there is only {', '.join(claims)}" if claims else "nothing was proved")


def _demand(node: Node, now: float) -> str:
    if isinstance(node, Reference):
        return node.label
    ends = _when(node, now)
    if isinstance(node, Unprotected):
        return f"nothing{ends}"
    if isinstance(node, Group) and not node.label:
        parts = [_demand(member, now) for member in node.members]
        word = " or " if node.kind == "any-of" else " and "
        inner = [
            f"({part})" if isinstance(member, Group) and len(parts) > 1 else part
            for part, member in zip(parts, node.members, strict=True)
        ]
        return word.join(inner) + ends
    if isinstance(node, EdhocOscore) and node.is_identity:
        return f"any proof{ends}"
    return f"{node.label}{ends}"


def _when(node: Credential | Group | Unprotected, now: float) -> str:
    span = node.validity
    if span.covers(now):
        return ""
    if now < span.not_before:
        return f" (from {date_text(span.not_before)})"
    return " (revoked)" if span.not_after == REVOKED_AT else f" (ended {date_text(span.not_after)})"


def date_text(seconds: float) -> str:
    """A time for a person, as it is written in a file."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
