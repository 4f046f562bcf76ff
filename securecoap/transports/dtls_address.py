"""The address of a peer in a DTLS session (the design, section 5). It has no key material and makes no session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.session import Role
from securecoap.interfaces import EndpointAddress
from securecoap.transports.resolver import host_text, hostinfo
from securecoap.transports.udp import packed_host

if TYPE_CHECKING:
    from securecoap.dtls.engine import DtlsSession
    from securecoap.transports.datagram import SocketAddress
    from securecoap.transports.dtls import DtlsInterface
    from securecoap.transports.dtls_routes import UnprovenRoute

__all__ = ["DEFAULT_PORT", "DtlsAddress", "address_of"]

DEFAULT_PORT: Final = 5684


class DtlsAddress(EndpointAddress):
    """One session and epoch with one peer, whose Finished was verified: one object for each (`address_of`).

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

    peer: SocketAddress
    local: bytes | None

    def __init__(self, interface: DtlsInterface, session: DtlsSession) -> None:
        self.interface = interface
        self.session = session
        self.is_server = session.role is Role.CLIENT
        self.follow(session.peer)
        self.authenticated_claims = session.claims
        self.confirmed = True
        self.local_host = host_text(interface.address) if self.local is None else packed_host(self.local)
        self.local_port = interface.address[1]
        self.grants = None
        self.silent_since = 0.0
        self.unproven: UnprovenRoute | None = None
        self.watched = False

    def follow(self, route: Any) -> None:
        """Take the way to the peer from the engine: its socket address, or a pair with packet information."""
        self.peer, self.local = route if type(route[0]) is tuple else (route, None)

    @property
    def hostinfo(self) -> str:
        """``host`` or ``host:port``."""
        return hostinfo(self.peer, DEFAULT_PORT)

    def __repr__(self) -> str:
        return f"<DtlsAddress {self.hostinfo} epoch {self.session.epoch}{'' if self.session.alive else ' ended'}>"


def address_of(session: DtlsSession, interface: DtlsInterface) -> DtlsAddress:
    """The address of a live session, made when it is first needed.

    Nobody above knows a session before its first message, and need not hear that it has ended.
    """
    address: DtlsAddress | None = session.owner
    if address is None:
        session.owner = address = DtlsAddress(interface, session)
    return address
