"""An established session: the keys of one epoch, and what its Finished has proved (RFC 6347 section 4.1).

Made by a handshake that is complete, or of what such a session has left (``saved``), and only then. Must not know
sockets, other sessions or the layers above: ``owner`` is theirs to fill.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.alerts import ALERT_WARNING, Alert, encode_alert
from securecoap.dtls.evidence import Evidence
from securecoap.dtls.flights import FlightMessage, pack
from securecoap.dtls.messages import DTLS_1_2, HandshakeType, parse_fragments
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.records import ContentType, ReadProtection, Record, WriteProtection

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from securecoap.dtls.identities import Proof
    from securecoap.dtls.parameters import DtlsParameters
    from securecoap.dtls.suites import CipherSuite

__all__ = ["Role", "Session", "why_dropped"]

_REPEAT_INTERVAL: Final = 0.5
"""Seconds between two answers to a retransmitted Finished."""
_NO_RENEGOTIATION: Final = encode_alert(ALERT_WARNING, Alert.NO_RENEGOTIATION)


class Role(Enum):
    """Which side of the handshake this end was."""

    CLIENT = "client"
    SERVER = "server"


@cache
def _application_head(epoch: int) -> bytes:
    """One object for all sessions: that is less memory, and less to do."""
    return bytes((ContentType.APPLICATION_DATA,)) + DTLS_1_2.to_bytes(2, "big") + epoch.to_bytes(2, "big")


class Session:
    """One DTLS session and epoch with one peer.

    Attributes:
        peer: its address: that from which the session was made, or where a connection ID led since.
        epoch: of both directions; 1 after a handshake.
        identity: the PSK identity that was used.
        claims: what the peer has proved to be.
        source: of the credential that was used (``PskCredential.source``).
        connection_id: what the peer puts into its records, empty for none; only with one can its address change.
        client_random: of its handshake: tells a delayed ClientHello from a new one.
        session_id: under which it may be resumed, empty for none.
        final_flight: kept for a peer that may not have got it, until application data shows that it has.
        established_at: when Finished was verified.
        last_seen: when the latest authentic record came.
        application_head: the first five bytes of each application record that can be meant for it, if those tell.
        alive: whether the endpoint still has it.
        owner: anything the layer above wants to find again.
        read: opens records.
        write: seals them.
        seal_application: returns a record for application data.
    """

    __slots__ = (
        "__weakref__",
        "_has_identity",
        "_repeated_at",
        "_shown",
        "alive",
        "application_head",
        "claims",
        "client_random",
        "connection_id",
        "epoch",
        "established_at",
        "final_flight",
        "identity",
        "last_seen",
        "owner",
        "peer",
        "read",
        "role",
        "seal_application",
        "serial",
        "session_id",
        "source",
        "suite",
        "write",
    )

    def __init__(
        self,
        *,
        peer: Hashable,
        role: Role,
        suite: CipherSuite,
        read: ReadProtection,
        write: WriteProtection,
        credential: PskCredential | Proof,
        client_random: bytes,
        now: float,
        final_flight: Sequence[FlightMessage] = (),
        evidence: Evidence | None = None,
        session_id: bytes = b"",
    ) -> None:
        self.peer = peer
        self.role = role
        self.suite = suite
        self.epoch = read.epoch
        self.identity = credential.identity
        self.claims = credential.claims
        self.source: Any = credential.source
        # An identity is here already: a session that is idle should be small.
        self._has_identity = isinstance(credential, PskCredential)
        self._shown = None if self._has_identity else evidence
        self.session_id = session_id
        self.client_random = client_random
        self.established_at = now
        self.last_seen = now
        self.connection_id = read.connection_id
        self.application_head = b"with a connection ID" if read.connection_id else _application_head(read.epoch)
        self.alive = True
        self.owner: Any = None
        self.serial = 0
        self.read = read
        self.write = write
        self.seal_application = write.seal_application
        self.final_flight: Sequence[FlightMessage] = final_flight
        self._repeated_at = now

    def __repr__(self) -> str:
        state = "alive" if self.alive else "ended"
        return f"<Session {self.role.value} {self.peer!r} epoch {self.epoch} {self.suite.name} {state}>"

    @property
    def evidence(self) -> Evidence | None:
        """What a client has shown, at a server's end."""
        return Evidence.of_identity(self.identity) if self._has_identity else self._shown

    def answer_handshake(self, plaintext: bytes, parameters: DtlsParameters, now: float) -> list[bytes]:
        """Return the datagrams that answer a handshake record of this epoch."""
        for fragment in parse_fragments(plaintext):
            if fragment.message_type == HandshakeType.FINISHED:
                return self._repeat_final_flight(parameters, now)
            if fragment.message_type in (HandshakeType.HELLO_REQUEST, HandshakeType.CLIENT_HELLO):
                # Renegotiation is refused for good (RFC 5746 section 4.5); a fresh handshake begins in epoch 0.
                return [self.write.seal(ContentType.ALERT, _NO_RENEGOTIATION)]
        return []

    def _repeat_final_flight(self, parameters: DtlsParameters, now: float) -> list[bytes]:
        """Answer a retransmitted Finished: ours was lost (RFC 6347 section 4.2.4)."""
        if now - self.established_at > parameters.final_flight_lifetime:
            self.final_flight = ()
        if now - self._repeated_at < _REPEAT_INTERVAL or not self.final_flight:
            return []
        self._repeated_at = now
        return pack(self.final_flight, parameters.datagram_size)


def why_dropped(session: Session | None, record: Record) -> str:
    """Say for the log what is wrong with a protected record that was not opened; see `DtlsEvents.record_dropped`."""
    if session is None or record.epoch != session.epoch:
        return "no-session"
    return "replay" if session.read.has_seen(record) else "not-decrypted"
