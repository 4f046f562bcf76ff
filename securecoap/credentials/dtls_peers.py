"""A DTLS server's view of raw public keys and certificates: its own, and its peers through indexes (RFC 7252 § 9.1.3).

A peer is found by its raw public key, or by the authority that its chain leads to and a name in its certificate; in
constant time, whatever the number of entries. Must not know handshakes, nor how a chain is checked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from securecoap.credentials.models import Credential, DtlsRpk, DtlsX509

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from securecoap.credentials.models import Entry

__all__ = ["DtlsPeers"]


class DtlsPeers:
    """The indexes. Immutable.

    Args:
        credentials: those of the server's own; each stands in the file, none was made of another's ``peer-keys``.
        entries: where the labels of ``peer-keys`` are found.
        has_psk: whether there are pre-shared keys beside them.

    Attributes:
        raw_keys: the entries whose raw public keys the server shows, in the order of the file.
        certificates: the entries whose certificates it shows.
        authorities: certificates of everybody who may certify a peer, in DER.
    """

    __slots__ = ("_by_authority", "_by_raw_key", "authorities", "certificates", "has_psk", "raw_keys")

    def __init__(self, credentials: Iterable[Credential], entries: Mapping[str, Entry], *, has_psk: bool) -> None:
        self.has_psk = has_psk
        raw: list[DtlsRpk] = []
        certified: list[DtlsX509] = []
        self._by_raw_key: dict[bytes, DtlsRpk] = {}
        self._by_authority: dict[tuple[bytes, str | None], DtlsX509] = {}
        for credential in credentials:
            if isinstance(credential, DtlsRpk):
                raw.append(credential)
                for label, key in credential.peer_keys:
                    self._by_raw_key.setdefault(key, _peer(credential, label, entries))
            elif isinstance(credential, DtlsX509):
                certified.append(credential)
                for authority in credential.authorities:
                    for name in credential.peer_names or (None,):
                        self._by_authority.setdefault((authority, name), credential)
        self.raw_keys = tuple(raw)
        self.certificates = tuple(one for one in certified if one.private_key is not None and not one.has_rsa)
        self.authorities = tuple(dict.fromkeys(der for one in certified for der in one.authorities))

    def __bool__(self) -> bool:
        return bool(self.raw_keys or self.certificates)

    def find_raw_key(self, public_key: bytes, now: float | None) -> DtlsRpk | None:
        """The entry of the peer that has this SubjectPublicKeyInfo, if it is valid then (seconds since 1970).

        With ``None`` for the time whether it is valid or not.
        """
        found = self._by_raw_key.get(public_key)
        return found if found is not None and (now is None or found.validity.covers(now)) else None

    def find_certified(self, authority: bytes, names: tuple[str, ...], now: float | None) -> DtlsX509 | None:
        """The entry of a peer whose chain leads to this authority: rather one that has a name of it in ``peer-names``.

        Args:
            authority: its certificate in DER.
            names: those in the peer's certificate, as ``peer-names`` are kept.
            now: seconds since 1970; ``None`` for one that is not valid, too.
        """
        for name in (*names, None):
            found = self._by_authority.get((authority, name))
            if found is not None and (now is None or found.validity.covers(now)):
                return found
        return None


def _peer(credential: DtlsRpk, label: str, entries: Mapping[str, Entry]) -> DtlsRpk:
    """What a key in ``peer-keys`` makes of its owner: the peer's own label's entry, if it has one."""
    entry = entries.get(label)
    if entry is not None and isinstance(entry.node, DtlsRpk):
        return entry.node
    return credential if not label else replace(credential, claims=(*credential.labels, label, *credential.own_claims))
