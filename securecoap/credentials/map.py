"""`CredentialsMap`: all credentials of an endpoint, with one look-up for each role.

A map is immutable; a reload makes a new one. One file serves both roles, and each role reads it in its own way:

- **Client.** The patterns are the map: the most specific one for a request's URI decides what protects it
  (``client.py``). A label is used only where a pattern leads to it.
- **Server, keys.** Peers are found by what they present, PSK identity or OSCORE kid, through indexes over every
  credential in the map: those under a label, those inside of lists, and those that stand directly under a pattern,
  whose label is the pattern. The last are also the client's own; `for_server` keeps those for foreign authorities out
  of the server's indexes, so that a server does not let in whoever it talks to as a client.
- **Server, policy.** The patterns say what a request has to prove (``policy.py``); a pattern never makes a label a
  peer, nor keeps one from being one.

Must not know sessions, sockets or messages.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from copy import copy
from itertools import count, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from securecoap.collection import uncollected
from securecoap.credentials.client import USABLE_KINDS, ClientCredentials, Selection
from securecoap.credentials.dtls_peers import DtlsPeers
from securecoap.credentials.edhoc_peers import EdhocPeers
from securecoap.credentials.endings import endings_of
from securecoap.credentials.loading import load_entries
from securecoap.credentials.models import Credential, DtlsPsk, DtlsRpk, DtlsX509, EdhocOscore, Entry, OscoreContext
from securecoap.credentials.policy import OwnNames, Policy
from securecoap.credentials.resolution import MAXIMUM_CANDIDATES, Role, leaves, notable

if TYPE_CHECKING:
    from securecoap.credentials.sources import Sources

__all__ = ["CredentialsMap", "as_credentials_map"]

_GENERATIONS = count(1)
Key = TypeVar("Key")


class CredentialsMap:
    """Checked credentials; made by `load`, `from_dict` or `as_credentials_map`.

    Attributes:
        entries: read-only, by name, in order.
        warnings: what deserves a look, one text each, with file, line and place.
        policy: what requests have to prove, for a server.
        uses_edhoc: whether it has any credential for EDHOC.
        generation: another number for each map that is made in a process.
    """

    __slots__ = (
        "_by_key",
        "_client",
        "_contexts",
        "_dtls_peers",
        "_edhoc",
        "_endings",
        "_exact",
        "_identities",
        "_notable",
        "entries",
        "generation",
        "policy",
        "uses_edhoc",
        "warnings",
    )

    def __init__(
        self,
        entries: Mapping[str, Entry],
        warnings: tuple[str, ...] = (),
        own: OwnNames | None = None,
        patterns: tuple[Policy, ClientCredentials] | None = None,
    ) -> None:
        checked = dict(entries)
        self.entries: Mapping[str, Entry] = MappingProxyType(checked)
        self.warnings = warnings
        self.generation = next(_GENERATIONS)
        self._notable = others = notable(checked)
        self.policy, self._client = patterns or (Policy(checked, others), ClientCredentials(checked, others))
        self._endings: tuple[tuple[float, str], ...] | None = None
        self._by_key: dict[bytes, Credential] | None = None
        self._identities: dict[bytes, DtlsPsk] = {}
        # Most have an identifier of their own: a list only where there are several.
        contexts: dict[bytes, OscoreContext | list[OscoreContext]] = {}
        self._contexts = contexts
        self._exact: dict[tuple[bytes, bytes], OscoreContext | list[OscoreContext]] = {}
        agreed: list[EdhocOscore] = []
        keyed: list[Credential] = []
        for entry, credential in leaves(checked):
            if own is not None and entry.pattern is not None and not own.covers(entry.pattern):
                continue
            if isinstance(credential, OscoreContext):
                if contexts.setdefault(credential.recipient_id, credential) is not credential:
                    _add(contexts, credential.recipient_id, credential)
                if credential.id_context is not None:
                    _add(self._exact, (credential.recipient_id, credential.id_context), credential)
            elif isinstance(credential, DtlsPsk):
                self._identities[credential.identity] = credential
            elif isinstance(credential, EdhocOscore):
                agreed.append(credential)
            elif isinstance(credential, DtlsX509) or (isinstance(credential, DtlsRpk) and not credential.is_peer):
                keyed.append(credential)
        self.uses_edhoc = any(isinstance(one, EdhocOscore) for _, one in leaves(others))
        self._edhoc = EdhocPeers(agreed)
        self._dtls_peers = DtlsPeers(keyed, self.entries, has_psk=bool(self._identities))

    @classmethod
    def load(
        cls, *paths: str | os.PathLike[str], role: Role | None = None, sources: Sources | None = None
    ) -> CredentialsMap:
        """Read JSON files; entries of later ones replace those of earlier ones, ``null`` deletes.

        Args:
            paths: the files.
            role: ``"client"`` or ``"server"``; without it what is a fault for either is a fault.
            sources: where ``file``, ``env`` and ``command`` values come from.

        Raises:
            CredentialsFault: with all faults of all files.
        """
        with uncollected():
            return cls(*load_entries(paths, role=role, outside=sources))

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        base: str | os.PathLike[str] | None = None,
        role: Role | None = None,
        sources: Sources | None = None,
    ) -> CredentialsMap:
        """Take what `json.load` would give for a file; byte values may be ``bytes``.

        Args:
            data: the entries.
            base: the directory to which paths are relative; the working directory by default.
            role: as for `load`.
            sources: as for `load`.

        Raises:
            CredentialsFault: with all faults.
        """
        return cls(*load_entries([data], base=None if base is None else Path(base), role=role, outside=sources))

    def __repr__(self) -> str:
        return f"<CredentialsMap of {len(self.entries)} entries, generation {self.generation}>"

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
        """Decide what protects a client's request; see `ClientCredentials.select`.

        Raises:
            CredentialsMissing: a credential is meant for the request and cannot be used; nothing may be sent.
        """
        return self._client.select(
            scheme, host, port, segments, method, now=now, multicast=multicast, proxied=proxied, usable=usable
        )

    def pattern_for(self, scheme: str, host: str, port: int, segments: tuple[str, ...], method: int) -> str | None:
        """The pattern that decides about a client's request, for messages to a person."""
        return self._client.pattern_for(scheme, host, port, segments, method)

    def find_psk(self, identity: bytes, now: float | None) -> DtlsPsk | None:
        """The credential of the peer that presents a PSK identity, if it is valid then; it has proved nothing yet.

        With ``None`` for the time whether it is valid or not.
        """
        found = self._identities.get(identity)
        return found if found is not None and (now is None or found.validity.covers(now)) else None

    def find_oscore(self, kid: bytes, kid_context: bytes | None, now: float | None) -> tuple[OscoreContext, ...]:
        """The contexts, valid now, that a received kid may mean, 16 at most, to be tried in turn (RFC 8613).

        Args:
            kid: the sender's id, our recipient id.
            kid_context: the id context, or ``None`` if the message has none: then every context with this recipient id.
            now: seconds since 1970; ``None`` for those that are not valid, too.
        """
        found = self._contexts.get(kid) if kid_context is None else self._exact.get((kid, kid_context))
        if found is None:
            return ()
        several = found if isinstance(found, list) else (found,)
        fitting = (one for one in several if now is None or one.validity.covers(now))
        return tuple(islice(fitting, MAXIMUM_CANDIDATES))

    @property
    def endings(self) -> tuple[tuple[float, str], ...]:
        """When labels end (seconds since 1970) and which, the first one first; see `endings_of`."""
        if self._endings is None:
            self._endings = endings_of(credential for _, credential in leaves(self._notable))
        return self._endings

    @property
    def edhoc(self) -> EdhocPeers:
        """The peers of an EDHOC responder, and who it is to them."""
        return self._edhoc

    def has_oscore_kid(self, kid: bytes) -> bool:
        """Whether any context, valid now or not, has this recipient id."""
        return kid in self._contexts

    def current(self, credential: Credential) -> Credential | None:
        """What this map has for a credential of an earlier map: the same label, kind and key material.

        ``None`` if it is gone. The claims and the validity are those of this map.
        """
        return self.with_key(credential.key)

    def with_key(self, key: bytes) -> Credential | None:
        """The credential with this `Credential.key`; see `current`."""
        if self._by_key is None:  # nobody asks before a second map is there
            self._by_key = {credential.key: credential for _, credential in leaves(self.entries)}
        return self._by_key.get(key)

    def for_server(self, own: OwnNames) -> CredentialsMap:
        """The map of a server that answers to ``own``: peers are not found by credentials for other authorities."""
        if all(entry.pattern is None or own.covers(entry.pattern) for entry in self._notable.values()):
            same = copy(self)
            same.generation = next(_GENERATIONS)
            return same
        with uncollected():
            return CredentialsMap(self.entries, self.warnings, own, (self.policy, self._client))

    @property
    def dtls_peers(self) -> DtlsPeers:
        """The raw public keys and certificates of a DTLS server, and its peers that have some."""
        return self._dtls_peers

    @property
    def serves_dtls(self) -> bool:
        """Whether a DTLS server has a key to show, or a peer to be found by a PSK identity."""
        return bool(self._identities) or bool(self._dtls_peers)

    @property
    def identity_hint(self) -> bytes | None:
        """The hint that a DTLS server sends (RFC 4279 section 2), if the entries agree on one."""
        hints = {found.identity_hint for found in self._identities.values() if found.identity_hint is not None}
        return hints.pop() if len(hints) == 1 else None

    def credentials(self) -> tuple[Credential, ...]:
        """Every credential, in the order of the file."""
        return tuple(credential for _, credential in leaves(self.entries))


def _add(index: dict[Key, OscoreContext | list[OscoreContext]], key: Key, context: OscoreContext) -> None:
    found = index.setdefault(key, context)
    if isinstance(found, list):
        found.append(context)
    elif found is not context:
        index[key] = [found, context]


def as_credentials_map(
    source: str | os.PathLike[str] | Mapping[str, Any] | CredentialsMap | Iterable[str | os.PathLike[str]] | None,
    *,
    role: Role | None = None,
) -> CredentialsMap:
    """What an API takes as ``credentials``: a path, several paths, a dict, a map, or ``None`` for no credentials.

    Raises:
        CredentialsFault: with all faults.
    """
    if isinstance(source, CredentialsMap):
        return source
    if source is None:
        return CredentialsMap({})
    if isinstance(source, Mapping):
        return CredentialsMap.from_dict(source, role=role)
    if isinstance(source, (str, os.PathLike)):
        return CredentialsMap.load(source, role=role)
    return CredentialsMap.load(*source, role=role)
