"""What a client has shown to be believed, so that it can be asked again: at a resumption, and after a restart.

An identity, or a raw public key or chain of certificates; never a secret. A session that goes on under earlier secrets
is as good as the credential is now, not as it was then. Must not know messages or sessions.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.identities import CertificateType, Proof, Refusal
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.reader import Reader

if TYPE_CHECKING:
    from securecoap.dtls.identities import ServerKeys
    from securecoap.dtls.parameters import PskLookup
    from securecoap.dtls.pending import Pending

__all__ = ["Evidence", "EvidenceKind", "ask_again", "believed"]


class EvidenceKind(IntEnum):
    """What was shown."""

    IDENTITY = 0
    CERTIFICATES = 1
    RAW_PUBLIC_KEY = 2


_TYPES = {
    EvidenceKind.CERTIFICATES: CertificateType.X509,
    EvidenceKind.RAW_PUBLIC_KEY: CertificateType.RAW_PUBLIC_KEY,
}
_IDENTITY = EvidenceKind.IDENTITY
_new = tuple.__new__  # a NamedTuple without the call of its constructor: each handshake with a pre-shared key makes one
_KINDS = {certificate_type: kind for kind, certificate_type in _TYPES.items()}


class Evidence(NamedTuple):
    """The identity of a pre-shared key alone, or what a Certificate message had."""

    kind: EvidenceKind
    shown: tuple[bytes, ...]

    @classmethod
    def of_identity(cls, identity: bytes) -> Evidence:
        """Return that of a pre-shared key."""
        return _new(cls, (_IDENTITY, (identity,)))

    @classmethod
    def of_chain(cls, certificate_type: CertificateType, chain: tuple[bytes, ...]) -> Evidence:
        """Return that of a key or certificate."""
        return cls(_KINDS[certificate_type], chain)

    def encode(self) -> bytes:
        """Return bytes from which ``decode`` makes the same."""
        encoded = bytes((self.kind,))
        for one in self.shown:
            encoded += len(one).to_bytes(3, "big") + one
        return encoded

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        """Return what ``encode`` was given.

        Raises:
            ValueError: these bytes are something else.
        """
        reader = Reader(data)
        shown = []
        try:
            kind = EvidenceKind(reader.integer(1))
            while not reader.at_end():
                shown.append(reader.vector(3))
        except HandshakeFault as fault:
            raise ValueError(str(fault)) from fault
        if not shown:
            raise ValueError("no evidence")
        return cls(kind, tuple(shown))


def ask_again(
    evidence: Evidence, lookup: PskLookup | None, keys: ServerKeys | None
) -> PskCredential | Proof | Refusal | Pending | None:
    """Ask a server's stores what this evidence proves now; ``None`` and a ``Refusal`` mean nothing."""
    if evidence.kind is EvidenceKind.IDENTITY:
        return None if lookup is None else lookup(evidence.shown[0])
    return None if keys is None else keys.judge(_TYPES[evidence.kind], evidence.shown)


def believed(answer: object) -> PskCredential | Proof | None:
    """Return what was proved, ``None`` for any other answer."""
    return answer if isinstance(answer, PskCredential | Proof) else None
