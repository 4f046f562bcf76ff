"""What a request must prove before a handler sees it: the URI patterns of a server (RFC 7252 section 11.1 asks for it).

Fails closed, since the peer chooses scheme, authority and path:

- the patterns with the most specific path decide. If they are for other schemes or authorities only, the request is
  refused: nothing with a less specific path opens it;
- among those that fit, the most specific authority, then scheme, then the later entry decides, alone;
- what no pattern covers needs a claim, whichever, but not of a peer that may be anybody (unauthenticated EDHOC);
  ``/.well-known/core`` and ``/.well-known/edhoc`` need none, and the
  latter never does where there is a credential with which EDHOC is served;
- a pattern that refers to a label is satisfied by that label only, and labels cannot be had as claims of an entry.

The caller refuses foreign Uri-Hosts (`OwnNames`) and Proxy options before, and gives the segments that it routes on.
Runs for every request: a decision that was made before is one look-up in a dictionary. Must not know messages or
resources.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Final

from securecoap.credentials.models import (
    ALWAYS,
    Credential,
    EdhocOscore,
    Entry,
    Group,
    Node,
    Reference,
    Unprotected,
    Validity,
)
from securecoap.credentials.patterns import PatternIndex, Specificity, UriPattern, normal_host
from securecoap.credentials.resolution import leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAXIMUM_DECISIONS", "Basis", "Decision", "OwnNames", "Policy"]

MAXIMUM_DECISIONS: Final = 4096
"""Remembered decisions. Beyond it all are forgotten: a cleverer order would cost time at each decision."""

_OPEN_PATHS: Final = ((".well-known", "core"), (".well-known", "edhoc"))
_EDHOC: Final = _OPEN_PATHS[1]
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

Key = tuple[str, str, int, tuple[str, ...], int, tuple[str, ...]]


class Decision(IntEnum):
    """The response code of a refusal; 0, and so false, is no refusal."""

    ALLOWED = 0
    UNAUTHORIZED = 0x81
    """4.01: nothing was proved."""
    FORBIDDEN = 0x83
    """4.03: something was proved, and it is not what is needed."""


class Basis(Enum):
    """On what a decision stands."""

    PATTERN = auto()
    """The pattern that fits best."""
    OTHER_ORIGIN = auto()
    """The patterns that fit the path best are for other schemes or authorities."""
    OPEN = auto()
    """Discovery or key exchange: nothing is asked for."""
    UNCOVERED = auto()
    """No pattern covers it: any proof will do."""


class _Demand:
    """What has to be proved: one of some labels, or one (or all) of some further demands, in a span of time."""

    __slots__ = ("every", "further", "labels", "validity")

    def __init__(
        self,
        labels: frozenset[str] = frozenset(),
        further: tuple[_Demand, ...] = (),
        *,
        every: bool = False,
        validity: Validity = ALWAYS,
    ) -> None:
        self.labels = labels
        self.further = further
        self.every = every
        self.validity = validity

    @property
    def is_simple(self) -> bool:
        """Whether one of its labels is all that it asks for."""
        return self.validity == ALWAYS and not self.further and not self.every

    def met(self, claims: tuple[str, ...], now: float) -> bool:
        if not self.validity.covers(now):
            return False
        if self.every:
            return all(demand.met(claims, now) for demand in self.further)
        return not self.labels.isdisjoint(claims) or any(demand.met(claims, now) for demand in self.further)


class _AnyProof(_Demand):
    """Somebody has to be known, whoever it is."""

    __slots__ = ("_strangers",)

    def __init__(self, strangers: frozenset[str], validity: Validity = ALWAYS) -> None:
        super().__init__(validity=validity)
        self._strangers = strangers

    @property
    def is_simple(self) -> bool:
        return False

    def met(self, claims: tuple[str, ...], now: float) -> bool:
        return self.validity.covers(now) and not self._strangers.issuperset(claims)

    def during(self, validity: Validity) -> _AnyProof:
        """The same in a span of time."""
        return _AnyProof(self._strangers, validity)


class _Rule:
    __slots__ = ("demand", "methods", "pattern", "rank")

    def __init__(
        self, pattern: UriPattern, methods: frozenset[int] | None, rank: tuple[Specificity, int], demand: _Demand
    ) -> None:
        self.pattern = pattern
        self.methods = methods
        self.rank = rank
        self.demand = demand


class Policy:
    """The patterns of a map, ready to decide. Immutable but for what it remembers.

    Args:
        entries: checked entries with their claims (`resolution.with_claims`).
        others: those that are `resolution.notable`.
    """

    __slots__ = ("_any_proof", "_boundaries", "_decisions", "_from", "_index", "_serves_edhoc", "_until")

    def __init__(self, entries: dict[str, Entry], others: dict[str, Entry]) -> None:
        self._index: PatternIndex[_Rule] = PatternIndex()
        found = leaves(others)
        self._any_proof = _AnyProof(_strangers(entries, found))
        self._serves_edhoc = any(isinstance(one, EdhocOscore) and one.own is not None for _, one in found)
        compiler = _Compiler(entries, self._any_proof)
        for order, entry in enumerate(others.values()):
            if entry.pattern is not None:
                rank = (entry.pattern.specificity, order)
                self._index.add(entry.pattern, _Rule(entry.pattern, entry.methods, rank, compiler.demand(entry.node)))
        self._boundaries = tuple(sorted(compiler.boundaries - set(ALWAYS)))
        self._decisions: dict[Key, Decision] = {}
        self._from = self._until = float("nan")  # outside of every span: the first decision finds its own

    def decide(
        self,
        scheme: str,
        host: str,
        port: int,
        segments: tuple[str, ...],
        method: int,
        claims: tuple[str, ...],
        now: float,
    ) -> Decision:
        """Whether a request may go on.

        Args:
            scheme: that by which the request came (``coap`` also under OSCORE).
            host: Uri-Host, already known to be our own, or the address to which the request was sent.
            port: the port to which the request was sent; never Uri-Port, which the peer chooses.
            segments: the path, as the site routes on it.
            method: the code of the request.
            claims: what the peer has proved, empty for plain CoAP.
            now: seconds since 1970.

        Returns:
            `Decision`: false if the request may go on, otherwise the code of the response.
        """
        if not self._from <= now < self._until:
            self._enter(now)
        key = (scheme, host, port, segments, method, claims)
        decision = self._decisions.get(key)
        if decision is None:
            if len(self._decisions) >= MAXIMUM_DECISIONS:
                self._decisions.clear()
            decision = self._decisions[key] = self._decide(key, now)
        return decision

    @property
    def is_timeless(self) -> bool:
        """Whether no decision ever changes by the passing of time."""
        return not self._boundaries

    def basis(
        self, scheme: str, host: str, port: int, segments: tuple[str, ...], method: int
    ) -> tuple[Basis, str | None]:
        """What decides about such a request, and the text of the pattern if it is one; for messages to a person."""
        if self._is_key_exchange(segments):
            return Basis.OPEN, None
        rule, covered = self._rule(scheme, host, port, segments, method)
        if rule is not None:
            return Basis.PATTERN, rule.pattern.text
        if covered:
            return Basis.OTHER_ORIGIN, None
        return (Basis.OPEN if segments in _OPEN_PATHS else Basis.UNCOVERED), None

    def _is_key_exchange(self, segments: tuple[str, ...]) -> bool:
        return self._serves_edhoc and segments == _EDHOC

    def names_method(self, scheme: str, host: str, port: int, segments: tuple[str, ...], method: int) -> bool:
        """Whether the pattern that decides about such a request has ``methods``, and so this one among them."""
        rule, _ = self._rule(scheme, host, port, segments, method)
        return rule is not None and rule.methods is not None

    def _enter(self, now: float) -> None:
        """Forget everything: something has become valid or has ended, or the clock was set back."""
        self._decisions.clear()
        self._from = max((moment for moment in self._boundaries if moment <= now), default=float("-inf"))
        self._until = min((moment for moment in self._boundaries if moment > now), default=float("inf"))

    def _decide(self, key: Key, now: float) -> Decision:
        scheme, host, port, segments, method, claims = key
        if self._is_key_exchange(segments):
            return Decision.ALLOWED  # a pattern for every path does not mean those who come to prove something
        rule, covered = self._rule(scheme, host, port, segments, method)
        if rule is not None:
            allowed = rule.demand.met(claims, now)
        elif covered:
            allowed = False
        else:
            allowed = self._any_proof.met(claims, now) or segments in _OPEN_PATHS
        if allowed:
            return Decision.ALLOWED
        return Decision.FORBIDDEN if claims else Decision.UNAUTHORIZED

    def _rule(
        self, scheme: str, host: str, port: int, segments: tuple[str, ...], method: int
    ) -> tuple[_Rule | None, bool]:
        """The rule that decides, and whether there was any rule for the path."""
        fitting = [rule for rule in self._index.find(segments) if rule.methods is None or method in rule.methods]
        if not fitting:
            return None, False
        deepest = max(rule.rank[0][0] for rule in fitting)
        host = normal_host(host)
        own = [
            rule for rule in fitting if rule.rank[0][0] == deepest and rule.pattern.covers_origin(scheme, host, port)
        ]
        return max(own, key=lambda rule: rule.rank, default=None), True


class OwnNames:
    """Which hosts a server answers to; what a request names besides is refused before policy.

    Args:
        addresses: the addresses that are bound; those of any-address binds stand for nothing here.
        names: further names.
        loopback: whether one of the binds (an any-address one too) is reachable over loopback.
    """

    __slots__ = ("_hosts",)

    def __init__(self, addresses: Iterable[str] = (), names: Iterable[str] = (), *, loopback: bool = False) -> None:
        hosts = {normal_host(host) for host in (*addresses, *names)}
        if loopback or not hosts.isdisjoint(_LOOPBACK):
            hosts.add("localhost")
        self._hosts = frozenset(hosts - {"", "::", "0.0.0.0"})  # noqa: S104 - taken out, not bound

    def is_own(self, uri_host: str, local_address: str | None = None) -> bool:
        """Whether a Uri-Host may be answered.

        Args:
            uri_host: the option's value.
            local_address: where the datagram was sent to, if the bind is to any address.
        """
        host = normal_host(uri_host)
        return host in self._hosts or (local_address is not None and host == normal_host(local_address))

    def covers(self, pattern: UriPattern) -> bool:
        """Whether a pattern's authority, without regard to the port, may be one of ours."""
        host = pattern.host
        if host is None:
            return True
        if isinstance(host, str):
            return host in self._hosts
        return any(host.matches(own) for own in self._hosts)


def _strangers(entries: dict[str, Entry], others: Iterable[tuple[Entry, Credential]]) -> frozenset[str]:
    """The claims that anybody may have."""
    of_anyone = {claim for _, one in others if _is_of_anyone(one) for claim in one.claims}
    if not of_anyone:
        return frozenset()
    return frozenset(
        of_anyone - {claim for _, one in leaves(entries) if not _is_of_anyone(one) for claim in one.claims}
    )


def _is_of_anyone(credential: Credential) -> bool:
    return isinstance(credential, EdhocOscore) and credential.peer_anyone


class _Compiler:
    """Entries to demands; what several patterns refer to is compiled once."""

    def __init__(self, entries: dict[str, Entry], any_proof: _AnyProof) -> None:
        self._entries = entries
        self._any_proof = any_proof
        self._labels: dict[str, _Demand] = {}
        self.boundaries: set[float] = set()

    def demand(self, node: Node) -> _Demand:
        if isinstance(node, Reference):
            found = self._labels.get(node.label)
            if found is None:
                found = self._labels[node.label] = self._reference(node.label)
            return found
        self.boundaries.update(node.validity)
        if isinstance(node, Unprotected):
            return _Demand(every=True, validity=node.validity)  # all of nothing
        if isinstance(node, EdhocOscore) and node.is_identity:
            return self._any_proof.during(node.validity)  # it says who we are, and so nothing of who may come
        if isinstance(node, Credential):
            return _Demand(frozenset((node.label,)), validity=node.validity)
        parts = [self.demand(member) for member in node.members]
        if node.kind == "all-of":
            return _Demand(further=tuple(parts), every=True, validity=node.validity)
        simple = [part for part in parts if part.is_simple]
        labels = frozenset().union(*(part.labels for part in simple))
        further = tuple(part for part in parts if not part.is_simple)
        return _Demand(labels, further, validity=node.validity)

    def _reference(self, label: str) -> _Demand:
        node: Node = self._entries[label].node
        while isinstance(node, Reference):
            node = self._entries[node.label].node
        below = self.demand(node)
        if isinstance(below, _AnyProof):
            return below
        # It is this label that has to be proved; labels of groups are never claims, so a group stands for its members.
        # One with several keys is proved by each of them, whose own time is a matter of the session.
        is_proved = isinstance(node, Credential) or (isinstance(node, Group) and bool(node.label))
        return _Demand(frozenset((label,)), validity=below.validity) if is_proved else below
