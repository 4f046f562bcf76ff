"""What an entry is once it has been parsed: credentials, and the references and groups that lead to them.

All values are frozen and complete: whoever holds one need not check it again. Credentials are compared by identity;
across a reload they are compared by `Credential.key`. Must not know files, JSON or requests.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from marshal import dumps
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securecoap.credentials.algorithms import AeadParameters
    from securecoap.credentials.ccs import Ccs
    from securecoap.credentials.faults import Place
    from securecoap.credentials.patterns import UriPattern
    from securecoap.credentials.secret import Secret

__all__ = [
    "ALWAYS",
    "Credential",
    "DtlsCredential",
    "DtlsPsk",
    "DtlsRpk",
    "DtlsX509",
    "EdhocIdentity",
    "EdhocOscore",
    "Entry",
    "EntryDraft",
    "Group",
    "GroupOscore",
    "Node",
    "OscoreContext",
    "OscoreDraft",
    "Reference",
    "TlsCertificate",
    "Unprotected",
    "Validity",
    "digest",
]

_KEYED = blake2b(digest_size=16, key=secrets.token_bytes(32))
_KEYED.update(b"\0")  # the key is a block of its own, which is worked off here, and so once


def digest(parts: Sequence[bytes]) -> bytes:
    """A name for ``parts`` that tells equal from different and nothing else, within this process: 16 bytes."""
    # Each part with its length before it; version 2 has no references, whose use depends on more than the values.
    hashed = _KEYED.copy()
    hashed.update(dumps(tuple(parts), 2))
    return hashed.digest()


class Validity(NamedTuple):
    """A span of time in seconds since 1970; from ``not_before`` on, up to and without ``not_after``."""

    not_before: float = float("-inf")
    not_after: float = float("inf")

    def covers(self, now: float) -> bool:
        """Whether ``now`` lies in the span."""
        return self.not_before <= now < self.not_after

    def meet(self, other: Validity) -> Validity:
        """The time that lies in both."""
        return Validity(max(self.not_before, other.not_before), min(self.not_after, other.not_after))


ALWAYS = Validity()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Credential:
    """What all kinds have.

    Attributes:
        label: the label or pattern under which it stands, also for one of several keys of a label; for another one
            inside a list its place (``coap://*/x.any-of[0]``).
        claims: what a peer that proves it may claim: labels, outermost first, then the entry's own claims.
        own_claims: the entry's own.
        validity: when it may be used.
        key: equal for the same label, kind and material, also across reloads; means nothing in another process.
        place: where it stands, for messages; ``None`` where the entry says it (`Entry.place_of`).
    """

    kind: ClassVar[str] = ""
    usable: ClassVar[bool] = False
    """Whether this version can do anything with the kind."""

    label: str
    claims: tuple[str, ...] = ()
    own_claims: tuple[str, ...] = ()
    validity: Validity = ALWAYS
    key: bytes = field(default=b"", repr=False)
    place: Place | None = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels among the claims."""
        return self.claims[: len(self.claims) - len(self.own_claims)]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DtlsCredential(Credential):
    """What the kinds for DTLS have in common.

    Attributes:
        authority: host, and maybe port, of the URI to which a client's session goes; empty for a server.
    """

    authority: str = ""

    @property
    def session_key(self) -> tuple[bytes, str]:
        """Equal for credentials that may share a session: the key, and what beside it the peer was checked against."""
        return self.key, ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DtlsPsk(DtlsCredential):
    """A pre-shared key for DTLS (RFC 4279)."""

    kind: ClassVar[str] = "dtls"
    usable: ClassVar[bool] = True

    identity: bytes
    psk: Secret
    identity_hint: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DtlsRpk(DtlsCredential):
    """A raw public key for DTLS (RFC 7250). Keys are SubjectPublicKeyInfo and PKCS #8, in DER.

    Attributes:
        peer_keys: label of each peer, or an empty one where the file gives a list, and its public key.
        is_peer: whether it is the entry that a label in ``peer-keys`` makes.
    """

    kind: ClassVar[str] = "dtls-rpk"
    usable: ClassVar[bool] = True

    private_key: Secret
    public_key: bytes
    peer_keys: tuple[tuple[str, bytes], ...]
    is_peer: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DtlsX509(DtlsCredential):
    """Certificates for DTLS (RFC 7252 section 9.1.3.3), in DER; own certificate first.

    Attributes:
        peer_names: names of which the peer's certificate must have one, as `normal_name` writes them; ``None`` where
            the file has none: then a client expects the authority of the URI, and a server any name.
        has_rsa: whether our own key is RSA, which clients may have and servers not.
    """

    kind: ClassVar[str] = "dtls-x509"
    usable: ClassVar[bool] = True

    certificates: tuple[bytes, ...]
    private_key: Secret | None
    authorities: tuple[bytes, ...]
    peer_names: tuple[str, ...] | None
    has_rsa: bool = False

    @property
    def session_key(self) -> tuple[bytes, str]:
        """See `DtlsCredential.session_key`: a certificate proves a name."""
        return self.key, self.authority


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OscoreContext(Credential):
    """The input of an OSCORE security context (RFC 8613 section 3.2); ids from the view of the file's owner.

    Attributes:
        hash_name: COSE's name of the hash function of HKDF.
        window: size of the replay window.
        echo: whether the first request after a start is challenged (appendix B.1.2).
        basedir: the directory in aiocoap's form that has the context and its sequence numbers, or ``None``.
        rederive: whether contexts are derived again and again with random ID Contexts (appendix B.2).
    """

    kind: ClassVar[str] = "oscore"
    usable: ClassVar[bool] = True

    secret: Secret
    salt: bytes = field(repr=False)
    sender_id: bytes
    recipient_id: bytes
    id_context: bytes | None
    algorithm: AeadParameters
    hash_name: str
    window: int
    echo: bool
    basedir: Path | None = None
    rederive: bool = False


class OscoreDraft(OscoreContext):
    """One whose fields can be set yet; ``made`` of it is an `OscoreContext`, in a tenth of the time of making that.

    A server has 100,000 of them, and a frozen dataclass sets each field by a call.
    """

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(self) -> None:
        """Nothing is set; every field has to be."""

    def made(self) -> OscoreContext:
        """Itself, frozen."""
        self.__class__ = OscoreContext  # type: ignore[assignment]  # the class that it has beneath, with the same slots
        return self


@dataclass(frozen=True, slots=True)
class EdhocIdentity:
    """Our side of an EDHOC session: what we are known by, and its key.

    Attributes:
        ccs: the authentication credential.
        private_key: its private key, 32 bytes.
        by_value: whether it is sent as it is; otherwise by its kid.
    """

    ccs: Ccs
    private_key: Secret
    by_value: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EdhocOscore(Credential):
    """An EDHOC credential set (RFC 9528) whose keys OSCORE uses, in aiocoap's form.

    Attributes:
        suite: the cipher suite.
        method: the authentication method.
        own: our side; ``None`` if the set has none, or stays unauthenticated.
        own_anonymous: whether we stay unauthenticated: a key of its own for each session, sent by value.
        peer: the peer's credential; ``None`` if the set has none, or it may be anybody's.
        peer_anyone: whether the peer may be anybody, who then has proved nothing.
        combined: whether message_3 goes with the first request (RFC 9668).
    """

    kind: ClassVar[str] = "edhoc-oscore"
    usable: ClassVar[bool] = True

    suite: int
    method: int
    own: EdhocIdentity | None
    own_anonymous: bool
    peer: Ccs | None
    peer_anyone: bool
    combined: bool

    @property
    def is_identity(self) -> bool:
        """Whether it only says who we are: a server presents it to peers that other sets have."""
        return self.own is not None and self.peer is None and not self.peer_anyone


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GroupOscore(Credential):
    """What a member of a group has (Group OSCORE). Its place is kept: nothing uses it yet.

    Attributes:
        group_id: the ID Context that all members share.
        hash_name: COSE's name of the hash function of HKDF.
    """

    kind: ClassVar[str] = "group-oscore"

    secret: Secret
    salt: bytes = field(repr=False)
    group_id: bytes
    sender_id: bytes
    algorithm: AeadParameters
    hash_name: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TlsCertificate(Credential):
    """The certificates that a client trusts for ``coaps+tcp`` and ``coaps+ws`` (RFC 8323)."""

    kind: ClassVar[str] = "tlscert"

    file: Path
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A label that stands for what it names."""

    label: str
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """``any-of`` or ``all-of``.

    Attributes:
        label: where it is what one peer has, several keys of one label (``any-of``, every member with a key written in
            it), that label; each member has it, too. Otherwise empty.
    """

    kind: Literal["any-of", "all-of"]
    members: tuple[Node, ...]
    place: Place
    validity: Validity = ALWAYS
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Unprotected:
    """No security is asked for."""

    place: Place
    validity: Validity = ALWAYS


Node = Credential | Reference | Group | Unprotected


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One member of the file.

    Attributes:
        name: the key: a label or a pattern.
        around: the place in which it stands.
        pattern: the parsed pattern, ``None`` for a label.
        methods: codes of the methods to which a pattern applies, ``None`` for all.
    """

    name: str
    node: Node
    around: Place
    pattern: UriPattern | None = None
    methods: frozenset[int] | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.around / self.name

    def place_of(self, credential: Credential) -> Place | None:
        """Where a credential of this entry stands; the one that is all of the entry is not asked to know it."""
        if credential.place is None and credential is self.node:
            return self.place / credential.kind
        return credential.place


class EntryDraft(Entry):
    """As `OscoreDraft`."""

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(self) -> None:
        """Nothing is set; every field has to be."""

    def made(self) -> Entry:
        """Itself, frozen."""
        self.__class__ = Entry  # type: ignore[assignment]  # the class that it has beneath, with the same slots
        return self
