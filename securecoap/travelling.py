"""What travels with each message through all layers: the address of its peer, and its exchange (the design, section 3).

Base classes without behaviour of their own; the seams between the layers are in `securecoap.interfaces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from securecoap.wire.message import Message

    Cancel: TypeAlias = Callable[[], None]

__all__ = ["EndpointAddress", "Exchange", "ResponseSlot"]


class EndpointAddress:
    """One end of exchanged messages, as the transport (or the OSCORE layer) knows it; nobody else makes one.

    Hashable, and equal exactly when messages are eligible for the same request/response, blockwise and observation
    state; a new DTLS session or epoch and a new OSCORE context are different addresses (RFC 7252 section 9.1.2).
    Neither an address nor its repr has key material.
    """

    __slots__ = ()  # those that can be confirmed have the slot themselves

    maximum_block_size_exp: ClassVar[int] = 6
    """The largest block size exponent the transport takes (RFC 7959 section 2.2): 6 is 1024 bytes."""
    maximum_payload_size: ClassVar[int] = 1024
    """The largest payload in bytes; relevant at exponent 7, then a multiple of 1024."""
    scheme: str = "coap"
    """The URI scheme of the transport."""
    security: str = "none"
    """The innermost protection of messages from there: ``none``, ``dtls`` or ``oscore``."""
    is_multicast: bool = False
    """Whether messages to this address go to many."""
    is_multicast_locally: bool = False
    """Whether the message came in on a multicast address of ours (RFC 7252 section 8.1)."""
    authenticated_claims: tuple[str, ...] = ()
    """What the peer has proved: labels and claims of its credential, outermost first."""
    local_host: str | None = None
    """The literal of our own address that the peer used, if known."""
    local_port: int | None = None
    """Our own port that the peer used, if known."""
    dedup_offset: int = 0
    """Added to Message IDs for deduplication: peers count them for each of our addresses (a multiple of 65536)."""
    confirmed: bool = False
    """Whether the peer was shown to receive at this address (DTLS, OSCORE or Echo did); such a one is never evicted
    for one that was not. Whoever shows it sets it."""
    budget: float = float("inf")
    """Bytes that may still go there before its requests are challenged; only a transport whose senders can be forged
    counts them (RFC 9175 section 2.4). No matter once the address is ``confirmed``."""
    grants: dict[Any, object] | None = None
    """For whoever decides about access, to remember decisions that hold for this address."""
    outer: EndpointAddress | None = None
    """Under OSCORE, the address that carries the protected message."""

    def received(self) -> None:
        """The peer acknowledged a Confirmable message: weak evidence (16 bits) that what goes there arrives."""

    @property
    def hostinfo(self) -> str:
        """``host`` or ``host:port`` as in a URI, without a default port."""
        raise NotImplementedError

    @property
    def uri(self) -> str:
        """``scheme://hostinfo``."""
        return f"{self.scheme}://{self.hostinfo}"


class Exchange:
    """What the layers below tell about the fate of one message; it travels with the message as ``message.exchange``.

    A request that is sent carries its sender's object. A request that came in carries a `ResponseSlot`, and so does
    every response to it.
    """

    __slots__ = ()

    def acknowledged(self) -> None:
        """An acknowledgement (Empty or piggybacked) came for a Confirmable message."""

    def answered(self, response: Message) -> bool:  # noqa: ARG002  # this is for those who asked for one
        """As `acknowledged`, and a response came with it, or before it. Returns whether that means something.

        With one that came before it, whoever takes it ends the message; one that is rejected is no acknowledgement.
        """
        self.acknowledged()
        return False

    def failed(self, error: Exception) -> None:
        """No acknowledgement in time, a Reset, or an error of the network that quotes this message."""

    def no_response(self) -> None:
        """The request will not be answered; a Confirmable one still gets its Empty acknowledgement (RFC 7967)."""

    def delayed(self, until: float) -> None:
        """All Message IDs are in use for this peer until that time of the scheduler (RFC 7252 section 4.4).

        A Confirmable message waits for one, and so does a request whose response is waited for; a Non-confirmable
        response has been dropped.
        """

    def superseding(self) -> Cancel | None:
        """What sends something newer in place of a message that is due to be sent (again), if there is anything.

        Asked when a Confirmable message was not acknowledged in time, and when one has waited for its turn (RFC 7641
        section 4.5.2). If it is called, nothing more becomes of that message.
        """
        return None


class ResponseSlot(Exchange):
    """The exchange of a request that came in: where its responses belong, by identity and never by token.

    Every response (and notification) has its request's slot as ``message.exchange``. A layer that changes messages
    (OSCORE) hands up a slot of its own around the one from below, and unwraps it on the way down.
    """

    __slots__ = ("fate",)

    fate: Exchange | None

    def piggyback(self, code: int, response: Message, token: bytes, remote: EndpointAddress) -> bool:  # noqa: ARG002  # as above
        """Send what a message says as a response that goes with the acknowledgement, if that is still due.

        The message is not changed. Returns whether it was sent; otherwise, and from a slot that is around another one,
        it has to go as a message of its own.
        """
        return False

    def tell(self, fate: Exchange) -> None:
        """From now on ``fate`` hears what becomes of the responses.

        A slot around another one tells that, too, and not before: of most requests nobody has to hear what became.
        """
        self.fate = fate

    def acknowledged(self) -> None:
        """A response that was sent as a Confirmable message has arrived."""
        if self.fate is not None:
            self.fate.acknowledged()

    def failed(self, error: Exception) -> None:
        """A response was rejected with a Reset, or never acknowledged."""
        if self.fate is not None:
            self.fate.failed(error)

    def delayed(self, until: float) -> None:
        if self.fate is not None:
            self.fate.delayed(until)

    def superseding(self) -> Cancel | None:
        return None if self.fate is None else self.fate.superseding()
