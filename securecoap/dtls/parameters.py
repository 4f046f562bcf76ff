"""What an endpoint is told: timing, sizes, suites; and what a pre-shared key is (RFC 6347 section 4.2.4, RFC 4279).

Plain frozen values. Must not know records, states or sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from securecoap.config import Limits
from securecoap.dtls.groups import DEFAULT_GROUPS, Group
from securecoap.dtls.pending import Pending
from securecoap.dtls.suites import DEFAULT_SUITES, CipherSuite, KeyExchangeKind

__all__ = ["DtlsParameters", "KeyLog", "PskCredential", "PskLookup", "RandomSource"]

RandomSource = Callable[[int], bytes]
"""Returns that many unpredictable bytes."""

KeyLog = Callable[[str], None]
"""Takes one line in the NSS key log format, without its newline."""


@dataclass(frozen=True, slots=True)
class PskCredential:
    """A pre-shared key and what it proves.

    ``identity`` is any 0 to 65535 bytes, ``key`` any 1 to 65535; ``claims`` is what the peer may be called once its
    Finished has been verified, outermost label first.

    Raises:
        ValueError: a length that RFC 4279 section 2 cannot carry.
    """

    identity: bytes
    key: bytes = field(repr=False)
    claims: tuple[str, ...] = ()
    source: Any = field(default=None, repr=False, compare=False)
    """Whatever its owner made it from: handed back with the session."""
    server_name: str | None = None
    """What a client sends as server name indication (RFC 6066 section 3)."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= 0xFFFF:
            raise ValueError("a pre-shared key has 1 to 65535 bytes")
        if len(self.identity) > 0xFFFF:
            raise ValueError("a PSK identity has at most 65535 bytes")


PskLookup = Callable[[bytes], PskCredential | Pending | None]
"""A server's store of keys, by identity. ``None``: nobody has this identity (the peer will not learn that).

A store that answers later returns a `Pending`, and the handshake waits in a state of its own.
"""


@dataclass(frozen=True, slots=True)
class DtlsParameters:
    """Settings of one endpoint; times in seconds, sizes in bytes.

    Raises:
        ValueError: a value that cannot work.
    """

    handshake_time_limit: float = 10.0
    """From the first flight to the verified Finished; then ``HandshakeFailed``."""
    retransmission_interval: float = 1.0
    """Before the first retransmission of a flight; it doubles each time (RFC 6347 section 4.2.4.1)."""
    max_retransmission_interval: float = 60.0
    datagram_size: int = 1232
    """The largest datagram of a handshake: what IPv6 carries everywhere. Application records are not cut."""
    idle_timeout: float = 86_400.0
    """A session without an authentic record for so long is closed."""
    cookie_lifetime: float = 60.0
    """How often the cookie key changes; a cookie is good for up to twice as long."""
    final_flight_lifetime: float = 240.0
    """How long the last flight is kept for a peer that did not get it: twice the segment lifetime (section 4.2.4)."""
    suites: tuple[CipherSuite, ...] = DEFAULT_SUITES
    """In order of preference for a client; a server takes the first one of the client's that is among them."""
    groups: tuple[Group, ...] = DEFAULT_GROUPS
    """In order of preference, as ``suites``."""
    identity_hint: bytes | None = None
    """A server's hint; ``None`` sends no ServerKeyExchange, on which some clients break."""
    connection_ids: bool = True
    """Whether connection IDs are used (RFC 9146): a server gives one to each client that knows them, so that its
    address may change; a client says that it knows them."""
    asks_for_connection_id: bool = False
    """Whether a client wants one in what it gets, for a server whose address may change."""
    resumption: bool = True
    """Whether sessions are resumed, by ticket or ID (RFC 5077; RFC 5246 section 7.3)."""
    resumption_lifetime: float = 43_200.0
    """For how long after a full handshake; ticket keys change as often, and live in memory only."""
    shared_secret: bytes | None = field(default=None, repr=False)
    """Of the processes that share a port (at least 16 bytes): cookies and tickets of one are good with all of them."""
    worker: int = 0
    """The number of this process, 0 to 255, among those that share a port; the first byte of its connection IDs."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        times = (
            self.handshake_time_limit,
            self.retransmission_interval,
            self.max_retransmission_interval,
            self.idle_timeout,
            self.cookie_lifetime,
            self.final_flight_lifetime,
            self.resumption_lifetime,
        )
        if min(times) <= 0:
            raise ValueError("a time is not positive")
        if self.datagram_size < 128:
            raise ValueError("a handshake needs datagrams of at least 128 bytes")
        if self.shared_secret is not None and len(self.shared_secret) < 16:
            raise ValueError("a shared secret has at least 16 bytes")
        if not 0 <= self.worker <= 255:
            raise ValueError("a worker's number is 0 to 255")
        if not self.suites:
            raise ValueError("no cipher suite is allowed")
        if not self.groups:
            raise ValueError("no group is allowed")
        if self.identity_hint is not None and len(self.identity_hint) > 0xFFFF:
            raise ValueError("an identity hint has at most 65535 bytes")

    def suite(self, code: int, kind: KeyExchangeKind | None = None) -> CipherSuite | None:
        """Return the allowed suite with this code, and of this kind if one is named."""
        for suite in self.suites:
            if suite.code == code and (kind is None or suite.key_exchange is kind):
                return suite
        return None
