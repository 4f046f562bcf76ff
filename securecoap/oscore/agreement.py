"""Contexts whose keys two peers agree on: what the OSCORE layer asks of whoever runs the key exchange (RFC 9668).

The key exchange itself, EDHOC, is another room's. Here is only what both have to know: a context may have to be agreed
on before a request goes out, its first request may carry the last message of the exchange, and one that comes in may
complete it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from securecoap.errors import FormatError

if TYPE_CHECKING:
    from securecoap.errors import CoapError
    from securecoap.interfaces import RequestInterface
    from securecoap.oscore.context import SecurityContext
    from securecoap.wire.message import Message

__all__ = ["Agreement", "AgreementRefused", "KeyAgreement"]


class AgreementRefused(FormatError):
    """A combined request does not complete the exchange.

    Attributes:
        answer: the error message for the peer, or ``None`` if there is no exchange that it could belong to.
        cause: a word for logs and counters.
    """

    def __init__(self, text: str, answer: bytes | None = None, cause: str = "no-exchange") -> None:
        super().__init__(text)
        self.answer = answer
        self.cause = cause


class KeyAgreement(Protocol):
    """How a context comes about with the peer at a given address."""

    def agreed(self, message: Message) -> SecurityContext | None:
        """The context for a request, whose remote is known, if it may go out at once."""

    async def agree(self, message: Message, requests: RequestInterface) -> SecurityContext:
        """The context for a request, whose remote is the address that will carry it.

        Args:
            message: the request, not protected yet.
            requests: sends the messages of the exchange.

        Raises:
            RequestFailed: nothing was agreed on.
        """


class Agreement(Protocol):
    """One exchange, as a context knows it: ``SecurityContext.agreement``. The initiator's; a responder has none."""

    pending: bool
    """Whether it is not known yet that the peer has all messages of the exchange."""

    def message_for(self, request: object) -> bytes | None:
        """The message that this request has to carry; only one request at a time does."""

    def delivered(self) -> None:
        """The request that carried it was acknowledged."""

    def proved(self) -> None:
        """A message of the peer was verified under the context."""

    def abandoned(self) -> None:
        """The request that carried it has ended."""

    def refused(self, code: int, payload: bytes) -> CoapError | None:
        """A protected request was answered without protection: with what it fails, if this knows better."""
