"""The address of a peer in a DTLS session (the design, section 5). It has no key material and makes no session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.dtls.session import Role
from securecoap.interfaces import EndpointAddress
from securecoap.transports.resolver import host_text, hostinfo
from securecoap.transports.udp import packed_host

if TYPE_CHECKING:
    from securecoap.dtls.engine import DtlsSession
    from securecoap.transports.datagram import SocketAddress
    from securecoap.transports.dtls import DtlsInterface
    from securecoap.transports.dtls_routes import UnprovenRoute

__all__ = ["DEFAULT_PORT", "DtlsAddress"]

DEFAULT_PORT: Final = 5684


class DtlsAddress(EndpointAddress):
    """One session and epoch with one peer; made when Finished was verified, one object for each.

    Equality is identity: two of them are equal exactly when bound endpoint, session and epoch are the same. The socket
    address is only the way there.

    Attributes:
        interface: the bound endpoint.
        session: the engine's.
        is_server: whether the peer is the server of the session.
        peer: the peer's socket address.
        local: packed packet information with our address that was asked, or ``None``.
        silent_since: when a message went out that expects an answer, with nothing heard since; 0 for none.
        unproven: there while the peer's address has changed and it was not shown to receive there.
        watched: whether somebody looks after ``silent_since`` later.
    """

    __slots__ = (
        "authenticated_claims", "confirmed", "grants", "interface", "is_server", "local", "local_host", "local_port",
        "peer", "session", "silent_since", "unproven", "watched",
    )  # fmt: skip

    scheme = "coaps"
    security = "dtls"

    def __init__(
        self, interface: DtlsInterface, session: DtlsSession, peer: SocketAddress, local: bytes | None
    ) -> None:
        self.interface = interface
        self.session = session
        self.is_server = session.role is Role.CLIENT
        self.peer = peer
        self.local = local
        self.authenticated_claims = session.claims
        self.confirmed = True
        self.local_host = host_text(interface.address) if local is None else packed_host(local)
        self.local_port = interface.address[1]
        self.grants = None
        self.silent_since = 0.0
        self.unproven: UnprovenRoute | None = None
        self.watched = False

    @property
    def hostinfo(self) -> str:
        """``host`` or ``host:port``."""
        return hostinfo(self.peer, DEFAULT_PORT)

    def __repr__(self) -> str:
        return f"<DtlsAddress {self.hostinfo} epoch {self.session.epoch}{'' if self.session.alive else ' ended'}>"
