"""Messages as they go by, for whoever wants to see them: wrappers between layers, there only while somebody does.

An endpoint without a tracer has none of these objects, so that tracing costs nothing when it is off. They change no
message; what a tracer makes of one is its business. They know no socket and no format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from securecoap.interfaces import Cancel, EndpointAddress, MessageDispatcher, TokenDispatcher, TokenInterface
    from securecoap.wire.message import Message

__all__ = ["TracedDispatcher", "TracedProtection", "TracedTokens", "Tracer"]


class Tracer(Protocol):
    """Is shown what goes by; keeps no message, and changes none. What it raises is a fault of its own."""

    def sent(self, message: Message, /) -> None:
        """A message as it goes to the transport; ``remote``, type and Message ID are set."""

    def received(self, message: Message, /) -> None:
        """A message as it came from the transport."""

    def protecting(self, message: Message, /) -> None:
        """A message before OSCORE protects it."""

    def opened(self, message: Message, /) -> None:
        """A message that OSCORE has verified."""

    def malformed(self, datagram: bytes, remote: EndpointAddress, /) -> None:
        """Bytes that are no message."""

    def failed(self, error: Exception | int, remote: EndpointAddress, /) -> None:
        """Everything with a peer has ended, or the network says that it is not there."""

    def handshake(self, datagram: bytes, peer: Any, /, *, is_sent: bool) -> None:
        """A datagram of DTLS that carries no message."""


class TracedDispatcher:
    """A `MessageDispatcher` in front of another one: what comes in."""

    def __init__(self, above: MessageDispatcher, tracer: Tracer) -> None:
        self._above = above
        self._tracer = tracer

    @property
    def client_credentials(self) -> Any:
        """See `MessageDispatcher`."""
        return self._above.client_credentials

    @client_credentials.setter
    def client_credentials(self, credentials: Any) -> None:
        self._above.client_credentials = credentials

    def dispatch_message(self, message: Message) -> bool:
        """See `MessageDispatcher`."""
        self._tracer.received(message)
        return self._above.dispatch_message(message)

    def dispatch_malformed(self, datagram: bytes, remote: EndpointAddress) -> None:
        """See `MessageDispatcher`."""
        self._tracer.malformed(datagram, remote)
        self._above.dispatch_malformed(datagram, remote)

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """See `MessageDispatcher`."""
        self._tracer.failed(error, remote)
        self._above.dispatch_error(error, remote)

    def dispatch_quoted_error(self, error: Exception, remote: EndpointAddress, datagram: bytes) -> None:
        """See `MessageDispatcher`."""
        self._tracer.failed(error, remote)
        self._above.dispatch_quoted_error(error, remote, datagram)


class TracedProtection:
    """A `TokenInterface` in front of the OSCORE layer: what it is given to protect."""

    def __init__(self, below: TokenInterface, tracer: Tracer) -> None:
        self._below = below
        self._tracer = tracer

    def send_message(self, message: Message) -> Cancel | None:
        """See `TokenInterface`."""
        if message.remote.security == "oscore":
            self._tracer.protecting(message)
        return self._below.send_message(message)

    def recognize_remote(self, message: Message) -> bool:
        """See `TokenInterface`."""
        return self._below.recognize_remote(message)

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        """See `TokenInterface`."""
        return await self._below.fill_or_recognize_remote(message)


class TracedTokens:
    """A `TokenDispatcher` in front of the token layer: what the OSCORE layer has verified."""

    def __init__(self, above: TokenDispatcher, tracer: Tracer) -> None:
        self._above = above
        self._tracer = tracer

    def dispatch_message(self, message: Message) -> bool:
        """See `TokenDispatcher`."""
        if message.remote.security == "oscore":
            self._tracer.opened(message)
        return self._above.dispatch_message(message)

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """See `TokenDispatcher`."""
        self._above.dispatch_error(error, remote)
