"""A server's file to which devices are added, and what each device gets.

Nothing that is in the file already is taken again: labels, identities, kids. What is there is indexed once, so that
100,000 devices are added in a time that grows with their number. Adding one has three steps: settling its names
(`Fleet.order`), making its keys, which takes nearly all of the time and may be done elsewhere (`Fleet.maker`), and
entering what was made (`Fleet.enter`). Must not know files or the command line.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials import keys, making
from securecoap.credentials.halves import PAIRED_KINDS, Maker, Order, certified
from securecoap.credentials.making import Json, MakingFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.credentials.authority import Authority

__all__ = ["CERTIFICATE_DAYS", "PAIRED_KINDS", "Fleet", "members"]

CERTIFICATE_DAYS: Final = 730
_SHORTEST_KID: Final = 2
"""Bytes of kids: each message to the server has one."""
_OPEN_TO_MORE: Final = {"dtls-rpk", "claims"}
"""What an entry of raw public keys may have: one that begins or ends holds for those that are in it."""

Octets = Callable[[Any], bytes | None]
"""Gives the bytes of a byte value as it is in a file; ``None`` if they cannot be had."""


def members(content: Mapping[str, Any]) -> Iterator[Json]:
    """Every object of a file that may have a kind, those in groups too."""
    pending: list[Any] = list(content.values())[::-1]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            yield one
            for group in ("any-of", "all-of"):
                inner = one.get(group)
                pending += inner[::-1] if isinstance(inner, list) else []


class Fleet:
    """A server's file with room for more devices.

    Args:
        content: of the file. It is changed.
        octets: how byte values of the file are read.
        authority: signs certificates, for ``dtls-x509``.
        names: of the server, for its certificate.
        now: seconds since 1970, for certificates.
        days: how long certificates are valid.

    Attributes:
        content: of the file, as it is by now.
        octets: as given.
        is_certified: whether the server has a certificate.
    """

    def __init__(
        self,
        content: Json,
        octets: Octets,
        *,
        authority: Authority | None = None,
        names: Sequence[str] = (),
        now: float = 0.0,
        days: int = CERTIFICATE_DAYS,
    ) -> None:
        self.content = content
        self.octets = octets
        self._authority = authority
        self._names = tuple(names)
        self._now = now
        self._days = days
        self._identities: set[bytes] = set()
        self._kids: set[bytes] = {making.OWN_KID}
        self._peers: set[str] = set()
        self._ordered: set[str] = set()
        self._own_raw: Json | None = None
        self._raw_peers: dict[tuple[str, ...], Json] = {}
        self.is_certified = False
        self._own_set: Any = None
        for one in members(content):
            self._take(one)
        for name, entry in content.items():
            if name.startswith(":"):
                self._take_raw_peers(entry)

    def _take(self, entry: Json) -> None:
        """Note what an entry has taken."""
        for kind, taken, names in (
            ("dtls", self._identities, ("client-identity",)),
            ("oscore", self._kids, ("recipient-id",)),
        ):
            value = entry.get(kind)
            if isinstance(value, dict):
                found = [self.octets(value[name]) for name in names if name in value]
                taken.update(one for one in found if one is not None)
        value = entry.get("dtls-x509")
        self.is_certified = self.is_certified or (isinstance(value, dict) and "private-key" in value)
        value = entry.get("dtls-rpk")
        if isinstance(value, dict):
            self._own_raw = value if self._own_raw is None else self._own_raw
            self._peers.update(value["peer-keys"] if isinstance(value.get("peer-keys"), dict) else ())
        value = entry.get("edhoc-oscore")
        if isinstance(value, dict):
            if self._own_set is None and _edhoc_kid(value.get("own-cred")) is not None:
                self._own_set = value["own-cred"]
            for party in ("own-cred", "peer-cred"):
                kid = _edhoc_kid(value.get(party))
                if kid is not None and (data := self.octets(kid)) is not None:
                    self._kids.add(data)

    def _take_raw_peers(self, entry: Any) -> None:
        """Note where further raw public keys may stand, by the claims that they have there."""
        value = entry.get("dtls-rpk") if isinstance(entry, dict) else None
        if isinstance(value, dict) and isinstance(value.get("peer-keys"), dict) and not entry.keys() - _OPEN_TO_MORE:
            claims = entry.get("claims", [])
            if isinstance(claims, list) and all(isinstance(one, str) for one in claims):
                self._raw_peers.setdefault(tuple(claims), value["peer-keys"])

    def has(self, label: str) -> bool:
        """Whether a label is there, as an entry or among ``peer-keys``, or is settled for a device."""
        return label in self.content or label in self._peers or label in self._ordered

    def pair(self, kind: str, label: str, claims: Sequence[str] = ()) -> Json:
        """Add a device, and return the value that its own file has for the server.

        Args:
            kind: of `PAIRED_KINDS`.
            label: of the device, with its colon.
            claims: of the device, beside its label.

        Raises:
            MakingFault: the label is taken, or the kind cannot be made.
        """
        maker = self.maker(kind)
        ours, theirs = maker.halves(self.order(kind, label))
        self.enter(kind, label, ours, claims)
        return {kind: theirs}

    def maker(self, kind: str) -> Maker:
        """Who makes keys of a kind; the server gets what it needs itself, if it has not got it yet.

        Raises:
            MakingFault: the kind cannot be made.
        """
        if kind not in PAIRED_KINDS:
            raise MakingFault(f"{kind} cannot be made; known: {', '.join(PAIRED_KINDS)}")
        if kind == "dtls-rpk":
            return Maker(kind, self._own_key())
        if kind == "edhoc-oscore":
            return Maker(kind, self._own_claims_set())
        if kind == "dtls-x509":
            return Maker(kind, None, self._certified_authority(), self._now, self._days)
        return Maker(kind)

    def order(self, kind: str, label: str) -> Order:
        """Settle a device's names, so that nobody else gets them; its credential is entered when it is made.

        Args:
            kind, label: see `pair`.

        Raises:
            MakingFault: the label is taken, or cannot be one of this kind.
        """
        if self.has(label):
            raise MakingFault(f"{label} is there already; 'credentials rotate' gives it a new key")
        if not label.startswith(":") or not label[1:].strip() or not label.isprintable():
            raise MakingFault(f'{label}: a label is ":" and a name of printable characters')
        self._ordered.add(label)
        return self._order(kind, label[1:])

    def _order(self, kind: str, name: str) -> Order:
        if kind == "dtls":
            return Order(name, identity=self._identity(name))
        if kind in ("oscore", "edhoc-oscore"):
            return Order(name, kid=self._kid())
        return Order(name)

    def enter(self, kind: str, label: str, ours: Json, claims: Sequence[str] = ()) -> None:
        """Add a device whose names were settled, and whose server's half is made."""
        if kind != "dtls-rpk":
            self.content[label] = {kind: ours, "claims": list(claims)} if claims else {kind: ours}
        else:
            self._raw_peers_with(tuple(claims))[label] = ours

    def _raw_peers_with(self, claims: tuple[str, ...]) -> Json:
        """The ``peer-keys`` of devices with these claims, which are those of their entry: nobody gets another's."""
        peers = self._raw_peers.get(claims)
        if peers is None:
            owner = self._own_raw or {}
            own = {name: owner[name] for name in ("private-key", "public-key") if name in owner}
            peers = self._raw_peers[claims] = {}
            entry: Json = {"dtls-rpk": {**own, "peer-keys": peers}}
            self.content[self._free(":raw-public-keys")] = {**entry, "claims": list(claims)} if claims else entry
        return peers

    def halves(self, kind: str, name: str) -> tuple[Json, Json]:
        """The value for a label in the server's file, and the value for its device's, with new keys; not entered.

        Args:
            kind: of `PAIRED_KINDS`.
            name: of the device; for ``dtls`` its identity, or what that begins with if that is taken.

        Raises:
            MakingFault: the kind cannot be made.
        """
        return self.maker(kind).halves(self._order(kind, name))

    def _identity(self, name: str) -> str:
        identity, number = name, 1
        while identity.encode() in self._identities:
            number += 1
            identity = f"{name}.{number}"
        self._identities.add(identity.encode())
        return identity

    def _kid(self) -> bytes:
        """A kid that nobody has; a longer one as soon as half of the short ones are taken."""
        length = _SHORTEST_KID
        while 2 * len(self._kids) > 1 << 8 * length:
            length += 1
        while (kid := secrets.token_bytes(length)) in self._kids:
            pass
        self._kids.add(kid)
        return kid

    def _own_key(self) -> Json:
        """The server's raw public key, as its devices have it."""
        owner = self._own_raw
        if owner is None:
            private, public = making.key_pair()
            owner = self._own_raw = {"private-key": private, "public-key": public}
        if "public-key" not in owner:
            owner["public-key"] = self._public_key(owner.get("private-key"))
        shown = self.octets(owner["public-key"])
        if shown is None:
            raise MakingFault("dtls-rpk: the server's public-key cannot be read")
        own: Json = owner["public-key"]
        return own if "base64" in own else _base64(shown)

    def _public_key(self, private: Any) -> Json:
        data = self.octets(private)
        try:
            if data is not None:
                return _base64(keys.matching_public_key(keys.private_key(data)))
        except keys.KeyFault:
            pass  # said below
        raise MakingFault("dtls-rpk: the server's private-key cannot be read")

    def _certified_authority(self) -> Authority:
        """Whoever signs, after the server has a certificate of theirs itself."""
        authority = self._authority
        if authority is None:
            raise MakingFault("dtls-x509 takes a certification authority")
        if not self.is_certified:
            if not self._names:
                raise MakingFault("dtls-x509: the server gets a certificate, so its name is needed: --uri coaps://NAME")
            # Without ca: only devices that have a label are believed, and none that was revoked.
            value = certified(authority, self._names, self._now, self._days)
            self.content[self._free(":certificates")] = {"dtls-x509": value}
            self.is_certified = True
        return authority

    def _own_claims_set(self) -> Any:
        """The server's claims set, as its devices have it."""
        if self._own_set is None:
            identity = making.identity_set("server", self._kid())
            self._own_set = identity["own-cred"]
            self.content[self._free(":edhoc-server")] = {"edhoc-oscore": identity}
        return self._own_set

    def _free(self, label: str) -> str:
        """This label, or one like it that is not taken."""
        number, name = 1, label
        while self.has(name):
            number += 1
            name = f"{label}-{number}"
        return name


def _base64(data: bytes) -> Json:
    return {"base64": base64.b64encode(data).decode()}


def _edhoc_kid(credential: Any) -> Any:
    """The kid of a claims set as it is in a file; ``None`` if it is none."""
    try:
        return credential["14"]["8"]["1"]["2"]
    except (KeyError, TypeError):
        return None
