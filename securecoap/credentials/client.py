"""Which credentials a request is sent with: the client's look-up.

It never answers "plain" where a credential was meant. The most specific pattern for the request decides alone. Where
it cannot be satisfied the request fails; no less specific pattern, no other scheme, no plain text takes its place.
Must not know sessions: what came of a handshake has no influence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

from securecoap.credentials.edhoc import METHOD, SUITE
from securecoap.credentials.models import (
    ALWAYS,
    Credential,
    DtlsPsk,
    DtlsRpk,
    DtlsX509,
    EdhocOscore,
    Entry,
    Group,
    Node,
    OscoreContext,
    Reference,
    Unprotected,
    Validity,
)
from securecoap.credentials.patterns import PatternIndex, Specificity, UriPattern, normal_host
from securecoap.errors import CredentialsMissing
from securecoap.wire.uri import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DTLS_KINDS", "PLAIN", "USABLE_KINDS", "ClientCredentials", "Selection"]

DTLS_KINDS: Final = frozenset(kind.kind for kind in (DtlsPsk, DtlsRpk, DtlsX509))
"""Kinds with which a DTLS session is made."""

USABLE_KINDS: Final = DTLS_KINDS | {OscoreContext.kind, EdhocOscore.kind}
"""Kinds that can be used by this version."""

_SECURE: Final = frozenset(("coaps", "coaps+tcp", "coaps+ws"))
_MAXIMUM_REMEMBERED: Final = 4096
_NO_ALTERNATIVE: Final = "unprotected beside credentials is for servers"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a request is to be protected with: DTLS, OSCORE, both (OSCORE over DTLS), or nothing.

    The keys of OSCORE are there already, or EDHOC agrees on them.
    The credentials' ``claims`` are those of the way on which they were found.
    """

    dtls: DtlsPsk | DtlsRpk | DtlsX509 | None = None
    oscore: OscoreContext | EdhocOscore | None = None

    @property
    def plain(self) -> bool:
        """Whether no security is to be used."""
        return self.dtls is None and self.oscore is None

    @property
    def claims(self) -> tuple[str, ...]:
        """What the peer may claim once it has proved all of this: the inner protection's claims first."""
        inner = self.oscore.claims if self.oscore is not None else ()
        outer = self.dtls.claims if self.dtls is not None else ()
        return inner + outer


PLAIN: Final = Selection()


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    entry: Entry
    pattern: UriPattern
    rank: tuple[Specificity, int]


class ClientCredentials:
    """The patterns of a map, as a client reads them.

    Args:
        entries: checked entries.
        others: those that are `resolution.notable`.
    """

    __slots__ = ("_by_host", "_dated", "_entries", "_index", "_remembered", "_wild")

    def __init__(self, entries: dict[str, Entry], others: dict[str, Entry]) -> None:
        self._entries = entries
        self._index: PatternIndex[_Rule] = PatternIndex()
        self._by_host: dict[str, list[UriPattern]] = {}
        self._wild: list[UriPattern] = []
        self._dated = any(_dated(entry.node) for entry in others.values())
        self._remembered: dict[tuple[object, ...], Selection] = {}
        for order, entry in enumerate(others.values()):
            pattern = entry.pattern
            if pattern is None:
                continue
            self._index.add(pattern, _Rule(entry, pattern, (pattern.specificity, order)))
            if isinstance(pattern.host, str):
                self._by_host.setdefault(pattern.host, []).append(pattern)
            else:
                self._wild.append(pattern)

    def select(
        self,
        scheme: str,
        host: str,
        port: int | None,
        segments: tuple[str, ...],
        method: int,
        *,
        now: float,
        multicast: bool = False,
        proxied: bool = False,
        usable: frozenset[str] = USABLE_KINDS,
    ) -> Selection:
        """Decide what protects a request to a URI.

        Args:
            scheme: of the request's URI.
            host: as it is written in the URI; an IPv6 address with or without brackets.
            port: ``None`` for the scheme's default.
            segments: the decoded path segments.
            method: the code of the request.
            now: seconds since 1970.
            multicast: whether the request goes to a group.
            proxied: whether a proxy forwards the request: then only OSCORE can protect it; what protects the hop is
                asked for with the proxy's URI, in a call of its own.
            usable: kinds of credentials that the endpoint is configured to use.

        Raises:
            CredentialsMissing: a credential is meant for the request and cannot be used, or the scheme needs one.
        """
        key = (scheme, host, port, segments, method, multicast, proxied, usable)
        found = self._remembered.get(key)
        if found is None:
            if scheme not in DEFAULT_PORTS:
                raise CredentialsMissing(f"{scheme} is no scheme of CoAP")
            port = DEFAULT_PORTS[scheme] if port is None else port
            request = _Request(scheme, normal_host(host), port, segments, method, multicast, proxied, usable)
            found = self._select(request, now)
            if not self._dated:
                if len(self._remembered) >= _MAXIMUM_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = found
        return found

    def pattern_for(self, scheme: str, host: str, port: int, segments: tuple[str, ...], method: int) -> str | None:
        """The pattern that decides about such a request, for messages to a person."""
        rule = self._rule(_Request(scheme, normal_host(host), port, segments, method))
        return None if rule is None else rule.pattern.text

    def _rule(self, request: _Request) -> _Rule | None:
        fitting = (
            rule
            for rule in self._index.find(request.segments)
            if (rule.entry.methods is None or request.method in rule.entry.methods)
            and rule.pattern.covers_origin(request.scheme, request.host, request.port)
        )
        return max(fitting, key=lambda rule: rule.rank, default=None)

    def _select(self, request: _Request, now: float) -> Selection:
        rule = self._rule(request)
        if rule is None:
            return self._without_entry(request)
        where = f"the entry {rule.pattern.text}"
        node = rule.entry.node
        while isinstance(node, Reference):
            node = self._entries[node.label].node
        if isinstance(node, Unprotected):
            if not node.validity.covers(now):
                raise CredentialsMissing(f"{where} is not valid at this time")
            if request.scheme in _SECURE:
                raise CredentialsMissing(f"{where} has no credential, and {request.scheme} needs one")
            return PLAIN
        if request.multicast:
            raise CredentialsMissing(f"{where} has a credential, and a multicast request cannot be protected")
        reasons: dict[str, None] = {}
        for credentials, validity in self._alternatives(rule.entry.node, ()):
            outcome = _fit(credentials, request)
            if isinstance(outcome, Selection):
                if validity.covers(now):
                    return outcome
                outcome = "a credential is not valid at this time"
            reasons[outcome] = None
        raise CredentialsMissing(f"{where} cannot be used: {'; '.join(reasons) or _NO_ALTERNATIVE}")

    def _without_entry(self, request: _Request) -> Selection:
        hosts = dict.fromkeys((request.host, request.host.partition("%")[0]))
        patterns = [*(one for host in hosts for one in self._by_host.get(host, ())), *self._wild]
        named = [p.text for p in patterns if p.covers_authority(request.scheme, request.host, request.port)]
        if named:
            meant = request.scheme == "coap" and named[0].startswith("coaps:")
            raise CredentialsMissing(
                f"no entry is for this request, and {named[0]} names its authority: plain text to it is not meant "
                f"({'it is for coaps; ' if meant else ''}an entry with unprotected would allow it)"
            )
        if request.scheme in _SECURE:
            raise CredentialsMissing(f"no entry is for this request, and {request.scheme} needs a credential")
        return PLAIN

    def _alternatives(self, node: Node, labels: tuple[str, ...]) -> Iterator[tuple[tuple[Credential, ...], Validity]]:
        """Each set of credentials that satisfies ``node``, in the order of the file; ``labels`` led there."""
        if isinstance(node, Reference):
            yield from self._alternatives(self._entries[node.label].node, (*labels, node.label))
        elif isinstance(node, Credential):
            claims = (*(labels or (node.label,)), *node.own_claims)
            yield (replace(node, claims=claims),), node.validity
        elif isinstance(node, Group):
            if node.kind == "any-of":
                for member in node.members:
                    for credentials, validity in self._alternatives(member, ()):
                        yield credentials, validity.meet(node.validity)
                return
            for combination in product(*(tuple(self._alternatives(member, ())) for member in node.members)):
                validity = node.validity
                joined: dict[bytes, Credential] = {}
                for credentials, inner in combination:
                    validity = validity.meet(inner)
                    joined.update((credential.key, credential) for credential in credentials)
                yield tuple(joined.values()), validity


@dataclass(frozen=True, slots=True)
class _Request:
    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    method: int
    multicast: bool = False
    proxied: bool = False
    usable: frozenset[str] = USABLE_KINDS


def _fit(credentials: tuple[Credential, ...], request: _Request) -> Selection | str:
    """The selection that these credentials are for this request, or why they are none."""
    for credential in credentials:
        if not credential.usable:
            return f"{credential.kind} is not usable yet"
        if credential.kind not in request.usable:
            return f"{credential.kind} is not configured here"
    dtls = [credential for credential in credentials if isinstance(credential, (DtlsPsk, DtlsRpk, DtlsX509))]
    oscore = [credential for credential in credentials if isinstance(credential, (OscoreContext, EdhocOscore))]
    if len(dtls) > 1 or len(oscore) > 1:
        return "all-of has more than one credential of a kind"
    if dtls and request.proxied:
        return "DTLS does not reach through a proxy"
    if request.scheme == "coaps" and not dtls and not request.proxied:
        return "coaps needs a dtls credential"
    if dtls and isinstance(dtls[0], DtlsX509) and not dtls[0].authorities:
        return "dtls-x509 has no ca: the server could be anybody"
    if request.scheme != "coaps" and dtls:
        return f"a dtls credential is for coaps, not {request.scheme}"
    if request.scheme in ("coaps+tcp", "coaps+ws") and not request.proxied:
        return f"{request.scheme} is not usable yet"
    if oscore and isinstance(oscore[0], EdhocOscore) and (unfit := _unfit_edhoc(oscore[0])):
        return unfit
    return Selection(dtls[0] if dtls else None, oscore[0] if oscore else None)


def _unfit_edhoc(credential: EdhocOscore) -> str | None:
    if (credential.suite, credential.method) != (SUITE, METHOD):
        return f"edhoc-oscore is usable with suite {SUITE} and method {METHOD} only"
    if credential.own is None and not credential.own_anonymous:
        return "edhoc-oscore has no own-cred"
    if credential.peer is None and not credential.peer_anyone:
        return "edhoc-oscore has no peer-cred: the server could be anybody"
    return None


def _dated(node: Node) -> bool:
    if isinstance(node, Reference):
        return False
    return node.validity != ALWAYS or (isinstance(node, Group) and any(_dated(member) for member in node.members))
