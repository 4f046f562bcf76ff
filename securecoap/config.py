"""Numbers that may be tuned: the transmission parameters of RFC 7252 section 4.8, and the bounds of every table.

Both are frozen: an endpoint's timing and limits do not change under it. This module knows no message and no IO.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits", "TransportParameters"]

_BLOCK_SIZES = (16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class TransportParameters:
    """Timing of the message layer (RFC 7252 section 4.8); times in seconds.

    The defaults are the RFC's. Lowering ``ack_timeout`` or raising ``nstart`` needs a network whose congestion is
    controlled by other means (section 4.8.1).

    Raises:
        ValueError: ``ack_random_factor`` below 1, or a time or count that cannot work.
    """

    ack_timeout: float = 2.0
    ack_random_factor: float = 1.5
    max_retransmit: int = 4
    nstart: int = 1
    default_leisure: float = 5.0
    probing_rate: float = 1.0
    """Bytes per second, on average over ``exchange_lifetime``, of Non-confirmable requests to a peer that does not
    answer (section 4.7); beyond it a request fails."""
    max_latency: float = 100.0
    empty_ack_delay: float = 0.1
    """How long a handler may think before its request is acknowledged by an Empty message (section 5.2.2).

    Not an RFC value: far below ``ack_timeout``, so that the client does not retransmit."""
    non_timeout: float = 10.0
    """How long a non-confirmable request waits for its response, when the caller names no limit."""
    unacknowledged_notifications: int = 32
    """After so many Non-confirmable notifications, or a day, one is Confirmable (RFC 7641 section 4.5)."""
    observation_patience: float = 600.0
    """How long an observation of ours goes on, trying to register again, when nothing is heard of its server."""

    block_size: int = 1024
    """Bytes of the largest block that is sent or asked for: 16, 32, … 1024 (RFC 7959 section 2.2).

    Smaller ones suit networks that cut packets up, such as 6LoWPAN; a client then says so in each request."""

    def __post_init__(self) -> None:
        if self.ack_random_factor < 1.0:
            raise ValueError("ack_random_factor is below 1.0 (RFC 7252 section 4.8.1)")
        if self.ack_timeout <= 0 or self.max_latency <= 0 or self.default_leisure < 0 or self.empty_ack_delay < 0:
            raise ValueError("a time is not positive")
        if self.max_retransmit < 0 or self.nstart < 1:
            raise ValueError("max_retransmit is negative, or nstart below 1")
        if self.block_size not in _BLOCK_SIZES:
            raise ValueError("block_size is none of 16, 32, 64, 128, 256, 512, 1024 (RFC 7959 section 2.2)")

    @property
    def block_exponent(self) -> int:
        """``block_size`` as a Block option has it: 16 bytes are 0, 1024 are 6."""
        return self.block_size.bit_length() - 5

    @property
    def max_transmit_span(self) -> float:
        """From the first transmission of a Confirmable message to its last retransmission: 45 s."""
        return self.ack_timeout * (2.0**self.max_retransmit - 1) * self.ack_random_factor

    @property
    def max_transmit_wait(self) -> float:
        """From the first transmission to the moment when the sender gives up: 93 s."""
        return self.ack_timeout * (2.0 ** (self.max_retransmit + 1) - 1) * self.ack_random_factor

    @property
    def processing_delay(self) -> float:
        """From the receipt of a Confirmable message to its acknowledgement: 2 s."""
        return self.ack_timeout

    @property
    def max_rtt(self) -> float:
        """The longest round trip: 202 s."""
        return 2 * self.max_latency + self.processing_delay

    @property
    def exchange_lifetime(self) -> float:
        """How long a Message ID of a Confirmable message must not be used again: 247 s."""
        return self.max_transmit_span + 2 * self.max_latency + self.processing_delay

    @property
    def non_lifetime(self) -> float:
        """How long a Message ID of a Non-confirmable message must not be used again: 145 s."""
        return self.max_transmit_span + self.max_latency


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every table that a peer can make grow; each says what happens at the bound.

    A peer whose address is not confirmed (no DTLS session, OSCORE message or Echo came from there) never evicts a
    confirmed one.
    """

    peers: int = 100_000
    """Peers with message-layer state. At the bound the longest idle, unconfirmed one without an open exchange goes."""
    deduplication_bytes: int = 64 * 1024 * 1024
    """Stored answers of all peers. Answers to safe and to OSCORE requests leave first; then new unsafe requests of
    unconfirmed peers get 5.03, and at twice the bound those of all peers."""
    queued_per_peer: int = 1_000
    """Messages of ours that wait for NSTART or a Message ID to one peer. At the bound the request fails."""
    responses_to_strangers: int = 10_000
    """Confirmable responses to unconfirmed peers that wait for their acknowledgement. At the bound a response is sent
    once, Non-confirmable, and a notification ends its observation."""
    multicast_answers: int = 1_000
    """Answers to group requests that wait for their leisure. At the bound a request is not answered."""
    requests_under_way: int = 10_000
    """Incoming requests whose handler still works. At the bound a new one gets 5.03."""
    body_bytes: int = 1024 * 1024
    """The largest body put together from blocks, either direction. Larger: 4.13 or ``TransferFailed``."""
    assembly_bytes: int = 16 * 1024 * 1024
    """All unfinished bodies together. At the bound the longest idle unconfirmed one goes; if there is none, 5.03."""
    assemblies: int = 1_000
    """Unfinished and kept bodies. As ``assembly_bytes``."""
    unfragmented_bytes: int = 64 * 1024
    """The largest protected message put together from outer blocks (MAX_UNFRAGMENTED_SIZE, RFC 8613 section 4.1.3.4.2).
    A larger one is discarded."""
    outer_requests: int = 1_000
    """Protected requests of ours whose responses may come in outer blocks. At the bound the oldest is forgotten."""
    observations_per_peer: int = 100
    """Observations of one peer. At the bound a registration is answered as a plain GET (RFC 7641 section 4.1)."""
    observations_per_identity: int = 1_000
    """Observations of all peers that have proved the same claims. As ``observations_per_peer``."""
    observations: int = 100_000
    """Observations of all peers; unconfirmed ones take nine tenths at most. As ``observations_per_peer``."""
    silent_requests: int = 1_000
    """Requests of ours that nobody waits for, whose tokens are kept (RFC 7967). At the bound the oldest is released."""
    cache_entries: int = 1_000
    """Responses that a client keeps, if it is told to. At the bound the longest unused one goes."""
    cache_bytes: int = 4 * 1024 * 1024
    """Bytes of their bodies. As ``cache_entries``; a body above a quarter of it is not kept."""
    extended_token_peers: int = 1_000
    """Peers of whom a client remembers whether they take long tokens (RFC 8974). At the bound the oldest goes."""
    kept_echoes: int = 1_000
    """Servers whose Echo value a client keeps for its next request (RFC 9175). At the bound the oldest goes."""
    group_responses: int = 1_000
    """Members of a group whose responses to one request are taken. More are dropped."""
    token_length: int = 32
    """The longest token that is accepted (RFC 8974). A request with a longer one gets 5.03 (section 2.2.2)."""
    dtls_sessions: int = 10_000
    """Established DTLS sessions. At the bound the longest idle one is closed."""
    dtls_handshakes: int = 1_000
    """Handshakes past the cookie. At the bound the oldest goes."""
    dtls_resumptions: int = 10_000
    """Sessions that a server can resume by ID, or a client with its servers; at the bound the oldest go, one in 64
    at once. What is in a ticket takes no memory."""
    dtls_handshake_bytes: int = 32 * 1024
    """Bytes of one peer's handshake messages under reassembly. Beyond it the handshake fails."""
    oscore_errors_per_second: float = 10.0
    """Unprotected OSCORE error answers per peer and second; more are dropped in silence."""
    oscore_derivations_per_second: float = 1_000.0
    """Contexts derived in a second for requests under keys that are not there (RFC 8613 appendix B.2), whoever sends
    them; and as many for those with an R2 of ours. Beyond it 5.03."""
    edhoc_exchanges: int = 1_000
    """EDHOC exchanges that wait for message_3, 60 s at most. At the bound the oldest of an unconfirmed address goes;
    from half of it on a client has to answer an Echo first (RFC 9175)."""
    edhoc_exchanges_per_peer: int = 8
    """Those with one address. At the bound its oldest goes."""
    edhoc_sessions: int = 10_000
    """OSCORE contexts that EDHOC agreed on. At the bound the longest idle one ends."""
    edhoc_sessions_per_peer: int = 8
    """Those with one credential. At the bound its longest idle one ends. (Unauthenticated peers have a bound of
    ``edhoc_exchanges`` together.)"""
    edhoc_session_seconds: float = 86_400.0
    """How long such a context is used before new keys are agreed on."""
    echo_challenges_per_second: float = 10.0
    """B.1.2 challenges per security context and second (RFC 8613); more are dropped in silence."""
    amplification_factor: float = 3.0
    """Bytes that may go to a plain address for each one that came from there, until it has shown that it receives
    (RFC 9175 section 2.4). Beyond it a request gets 4.01 with Echo instead; ``inf`` turns that off."""
    amplification_allowance: int = 64
    """Bytes that such an address may have in any case, once."""
    directory_entries: int = 10_000
    """Entries of a directory that is listed, or to which a PUT adds a file. Beyond it 4.03."""
    free_disk_bytes: int = 64 * 1024 * 1024
    """What a PUT of a file leaves free on the disk. Beyond it 5.03."""
    file_ahead_bytes: int = 4 * 1024 * 1024
    """What was read of files that are being fetched, for their next blocks. At the bound the oldest part goes."""

    def reached(self, name: str) -> None:
        """Say that something was refused, dropped or evicted at a bound: for whoever watches (`Events.watch`).

        Args:
            name: of the field.
        """
