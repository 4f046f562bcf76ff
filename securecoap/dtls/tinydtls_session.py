"""What a session and a handshake of tinydtls are, and which credentials it can have.

Must not know records or tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.records import SequenceExhausted
from securecoap.dtls.tinydtls_association import LONGEST_IDENTITY, LONGEST_KEY, LONGEST_WRITE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.dtls.parameters import PskCredential
    from securecoap.dtls.pending import Pending
    from securecoap.dtls.session import Role
    from securecoap.dtls.tinydtls_association import Association

__all__ = ["EPOCH", "TinydtlsHandshake", "TinydtlsSession", "why_not_tinydtls"]

EPOCH: Final = 1
"""Of every session: tinydtls does not tell, and refuses renegotiation."""


def why_not_tinydtls(identity: bytes, key: bytes | None) -> str | None:
    """Say why tinydtls cannot have a credential, or return ``None`` if it can.

    Args:
        identity: the PSK identity.
        key: the pre-shared key; ``None`` for a credential that is none (a raw public key, a certificate).
    """
    if key is None:
        return "it does pre-shared keys only: a peer's raw public key can make it loop for ever, before authentication"
    if len(key) > LONGEST_KEY:
        return f"the key has {len(key)} bytes, and it holds {LONGEST_KEY}"
    if len(identity) > LONGEST_IDENTITY:
        return f"the identity has {len(identity)} bytes, and it holds {LONGEST_IDENTITY}"
    return "the identity has a NUL byte, at which it would end" if b"\0" in identity else None


class TinydtlsSession:
    """One session; see ``DtlsSession``. ``established_at``, ``client_random`` and ``serial`` are the endpoint's."""

    __slots__ = (
        "__weakref__", "alive", "association", "claims", "client_random", "connection_id", "epoch", "established_at",
        "identity", "last_seen", "owner", "peer", "role", "serial", "source",
    )  # fmt: skip

    def __init__(
        self,
        peer: Hashable,
        role: Role,
        association: Association,
        credential: PskCredential,
        client_random: bytes,
        now: float,
    ) -> None:
        self.peer = peer
        self.role = role
        self.association = association
        self.epoch = EPOCH
        self.identity = credential.identity
        self.claims = credential.claims
        self.source: Any = credential.source
        self.client_random = client_random
        self.connection_id = b""
        self.established_at = now
        self.last_seen = now
        self.alive = True
        self.owner: Any = None
        self.serial = 0

    def __repr__(self) -> str:
        return f"<TinydtlsSession {self.role.value} {self.peer!r} {'alive' if self.alive else 'ended'}>"

    def seal_application(self, data: bytes) -> bytes:
        """Return the record that carries ``data``.

        Raises:
            SequenceExhausted: tinydtls has ended the session.
            ValueError: it is longer than tinydtls can send (1371 bytes).
        """
        if len(data) > LONGEST_WRITE:
            raise ValueError("tinydtls sends at most 1371 bytes in a record")
        record = self.association.seal(data)
        if record is None:
            raise SequenceExhausted
        return record


@dataclass(slots=True, eq=False)
class TinydtlsHandshake:
    """One attempt. A client's credential is known from the start, a server's when the identity has come.

    Attributes:
        keys: the association's: a server's is filled in when the identity has come.
        answered: whether the server's hello is out (or, for a client, all of its flight has come).
        changed_cipher: whether the client's ChangeCipherSpec has come, after its identity.
        pending: the question for the key; ``held`` has what came meanwhile.
    """

    peer: Hashable
    role: Role
    association: Association
    keys: dict[bytes, bytes] = field(repr=False)
    expires_at: float
    serial: int = 0
    client_random: bytes = b""
    credential: PskCredential | None = None
    identity: bytes = b""
    answered: bool = False
    changed_cipher: bool = False
    pending: Pending | None = None
    held: list[bytes] = field(default_factory=list, repr=False)

    def free(self) -> None:
        """Let go of the context."""
        self.association.free()
