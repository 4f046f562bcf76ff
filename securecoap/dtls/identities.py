"""What proves who a peer is: raw public keys and certificates beside pre-shared keys (RFC 7252 § 9.1.3).

Plain values that an endpoint is given, and the questions that a handshake asks: each may be answered later (`Pending`).
Nothing here says what is believed: that is for whoever answers. Must not know messages, states or files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from securecoap.dtls.parameters import PskCredential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from securecoap.dtls.alerts import Alert
    from securecoap.dtls.pending import Pending
    from securecoap.dtls.signatures import PrivateKey

__all__ = [
    "CertificateType",
    "ClientCredential",
    "KeyCredential",
    "OwnKey",
    "Proof",
    "Refusal",
    "ServerKeys",
    "Verdict",
    "is_same",
]


class CertificateType(IntEnum):
    """What a Certificate message has in it (RFC 7250 section 3)."""

    X509 = 0
    RAW_PUBLIC_KEY = 2


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A private key, and what is shown for it.

    Attributes:
        private: the key.
        certificate_type: what ``chain`` has.
        chain: DER: the certificates, our own first; or the one SubjectPublicKeyInfo.
        schemes: numbers of the signature schemes that it can use, preferred ones first.
    """

    private: PrivateKey = field(repr=False)
    certificate_type: CertificateType
    chain: tuple[bytes, ...] = field(repr=False)
    schemes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a peer has proved to be; ``identity`` is for logs, ``source`` whatever its owner made it from."""

    identity: bytes
    claims: tuple[str, ...] = ()
    source: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key or a chain of certificates proves nothing: the alert for the peer, and the text for the log."""

    alert: Alert
    text: str
    identity: bytes = b""


Verdict = Proof | Refusal


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """A client's raw public key or certificate, and how it knows its server.

    Attributes:
        certificate_type: of the server, and of our own key.
        own: our key; ``None`` for a client that stays anonymous.
        judge: what the server's chain (or its one raw key) proves; asked when the server has shown that it has the key.
        server_name: sent as server name indication (RFC 6066 section 3), ``None`` for none.
        source: handed back with the session.
    """

    certificate_type: CertificateType
    own: OwnKey | None
    judge: Callable[[tuple[bytes, ...]], Verdict]
    server_name: str | None = None
    source: Any = field(default=None, repr=False, compare=False)


class ServerKeys(Protocol):
    """A server's raw public keys and certificates, and its stores of the peers that have some."""

    def own_keys(self, server_name: str | None) -> Sequence[OwnKey]:
        """Return our keys for a client that asks for this name, the preferred ones first."""

    def has_psk(self) -> bool:
        """Say whether there is any pre-shared key."""

    def accepts(self, certificate_type: CertificateType) -> bool:
        """Say whether clients are asked for what is of this type; then they must show it."""

    def authorities(self) -> bytes:
        """Return the distinguished names of a CertificateRequest, encoded as its last vector's content."""

    def judge(self, certificate_type: CertificateType, chain: tuple[bytes, ...]) -> Verdict | Pending:
        """Say what a client has proved that has the private key of ``chain[0]``."""


ClientCredential = PskCredential | KeyCredential
"""What a client can offer; it says which cipher suites."""


def is_same(one: ClientCredential, other: ClientCredential) -> bool:
    """Say whether both come from the very same credential, with the same content where that can change."""
    same = one.source is other.source
    if one.source is None or isinstance(one, PskCredential):
        return same and one == other
    return same
