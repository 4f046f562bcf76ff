"""What the OSCORE layer remembers of one message: requests of ours, requests of the peer, responses that wait.

A response is bound to its request by kid and Partial IV (RFC 8613 section 7.1). For a request that came in these travel
with it, in the slot that it hands up; for one that went out they are kept under its token until interest in it ends.
This module does no look-up of contexts and decides nothing about windows of requests.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from securecoap.errors import CoapError, FormatError, SessionEnded, UnprotectedResponse
from securecoap.interfaces import Exchange, ResponseSlot
from securecoap.oscore.option import parse_option
from securecoap.oscore.protection import (
    DecryptionFailed,
    decode_inner_response,
    decrypt,
    protect_request,
    protect_response,
)
from securecoap.oscore.sender import Held
from securecoap.wire import numbers
from securecoap.wire.codes import Code, dotted
from securecoap.wire.message import NON, Message
from securecoap.wire.option_types import encode_uint
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from securecoap.interfaces import Cancel
    from securecoap.oscore.address import OscoreAddress
    from securecoap.oscore.context import RequestIdentifiers, SecurityContext
    from securecoap.oscore.layer import OscoreLayer
    from securecoap.oscore.rederivation import Rederivation

__all__ = ["HeldResponse", "OscoreRequest", "OscoreSlot", "open_slot"]

_OBSERVE: Final = 1 << numbers.OBSERVE
_UNAUTHORIZED: Final = bytes((Code.UNAUTHORIZED,))
_OLD_RESPONSE: Final = "a response that came before, or is older than one that did"


class OscoreSlot(ResponseSlot):
    """The slot of a request that came in protected: each response to it is protected with these identifiers.

    It is the `Binding` of its responses.

    Attributes:
        outer: the slot of the message that carried the request.
        context: it was verified with; its responses are protected with the same, whatever came since.
        aad: of the request, and of all its responses.
        nonce: of the request.
        nonce_usable: whether a response may be protected under ``nonce``.
    """

    __slots__ = ("aad", "context", "nonce", "nonce_usable", "outer")

    outer: ResponseSlot
    context: SecurityContext
    aad: bytes
    nonce: bytes
    nonce_usable: bool

    def tell(self, fate: Exchange) -> None:
        self.fate = fate
        self.outer.tell(self)

    def no_response(self) -> None:
        self.outer.no_response()


def open_slot(
    outer: ResponseSlot, context: SecurityContext, aad: bytes, nonce: bytes, nonce_usable: bool
) -> OscoreSlot:
    """Make the slot of a request; as a function it takes half the time of a constructor, and each request has one."""
    slot = OscoreSlot()
    slot.outer = outer
    slot.context = context
    slot.aad = aad
    slot.nonce = nonce
    slot.nonce_usable = nonce_usable
    slot.fate = None
    return slot


class HeldResponse(Held):
    """A response under a Partial IV of its own (section 8.3)."""

    __slots__ = ("_below_cancel", "_cancelled", "_layer", "_message", "_slot")

    def __init__(self, layer: OscoreLayer, message: Message, slot: OscoreSlot) -> None:
        self.number = None
        self._layer = layer
        self._message = message
        self._slot = slot
        self._cancelled = False
        self._below_cancel: Cancel | None = None

    def transmit(self, number: int) -> None:
        if self._cancelled:
            return
        message = self._message
        slot = self._slot
        try:
            protect_response(slot.context, message, slot, number)
        except CoapError as error:
            self._layer.send_failure(message, error)
            return
        self._below_cancel = self._layer.send_response(message, slot)

    def failed(self, error: CoapError) -> None:
        self._layer.report(self._message.remote, "not-protected", error)
        self._slot.no_response()
        self._slot.failed(error)

    def cancel(self) -> None:
        """Interest in the response has ended."""
        self._cancelled = True
        if self._below_cancel is not None:
            self._below_cancel()
        sender = self._slot.context.sender
        if sender is not None:
            sender.withdraw(self)


class OscoreRequest(Held, Exchange):
    """A request of ours, from `TokenInterface.send_message` until interest in it ends.

    It is the exchange of the outer message, and passes on what becomes of it.

    Attributes:
        address: the secured address that it goes to.
        token: under which its responses come.
    """

    __slots__ = (
        "_below_cancel", "_cancelled", "_carries", "_delivering", "_echoed", "_established", "_highest", "_identifiers",
        "_is_observation", "_layer", "_message", "_notifications", "_sent", "address", "token",
    )  # fmt: skip

    is_request = True

    def __init__(self, layer: OscoreLayer, message: Message, address: OscoreAddress) -> None:
        self.number = None
        self.address = address
        self.token = message.token
        self._layer = layer
        self._message = message
        self._is_observation = message.options.observe == 0
        self._identifiers: RequestIdentifiers | None = None
        self._below_cancel: Cancel | None = None
        self._sent = -1
        self._highest = -1  # the Notification Number (section 7.4.1)
        self._notifications = 0
        self._established = False
        self._delivering = False
        self._cancelled = False
        self._carries = False
        self._echoed: bytes | None = None

    # On the way down.

    def transmit(self, number: int) -> None:
        if self._cancelled:
            return
        message = self._message
        context = self.address.context
        try:
            outer, self._identifiers = protect_request(context, message, number)
        except CoapError as error:
            self._layer.scheduler.call_soon(self.failed, error)
            return
        if self._echoed is not None:
            outer.options = Options((*outer.options.pairs, (numbers.ECHO, self._echoed)))
        agreement = context.agreement
        if agreement is not None and agreement.pending and (last := agreement.message_for(self)) is not None:
            # RFC 9668 section 3.2.1: the last message of the key exchange goes before the ciphertext.
            self._carries = True
            outer.options = Options((*outer.options.pairs, (numbers.EDHOC, b"")))
            outer.payload = last + outer.payload
        self._sent = number
        self._layer.expect(self)
        if message.confirmable is not False and message.mtype != NON and context.sender is not None:
            context.sender.unanswered(number)
        self._below_cancel = self._layer.send_outer(outer, message, self.address.outer, self)

    def cancel(self) -> None:
        """What `TokenInterface.send_message` returns.

        Called while a notification is handed up, it says that the request itself is not to be retransmitted any more;
        the observation goes on. At any other time interest in the request has ended.
        """
        if self._delivering:
            self._delivering = False
            self._stop_sending()
        else:
            self.end()

    def end(self) -> None:
        """No response is expected any more."""
        if not self._cancelled:
            self._cancelled = True
            self._layer.forget(self)
            self._stop_sending()
            if self._carries and self.address.context.agreement is not None:
                self.address.context.agreement.abandoned()
            if self._sent < 0 and self.address.context.sender is not None:
                self.address.context.sender.withdraw(self)

    def _stop_sending(self) -> None:
        self._answered()
        cancel, self._below_cancel = self._below_cancel, None
        if cancel is not None:
            cancel()

    def _answered(self) -> None:
        sender = self.address.context.sender
        if sender is not None:
            sender.answered(self._sent)

    # What the layers below tell.

    def acknowledged(self) -> None:
        self._answered()
        if self._carries:
            self._layer.scheduler.call_soon(self._carried, self._sent)  # after the response, if that came with it
        if self._message.exchange is not None and self._echoed is None:  # it was told before if we repeated the request
            self._message.exchange.acknowledged()

    def _carried(self, number: int) -> None:
        agreement = self.address.context.agreement
        if agreement is not None and not self._cancelled and self._sent == number:
            agreement.delivered()

    def failed(self, error: Exception) -> None:
        self._answered()
        if self._message.exchange is not None and not self._cancelled:
            self._message.exchange.failed(error)

    def delayed(self, until: float) -> None:
        if self._message.exchange is not None:
            self._message.exchange.delayed(until)

    def no_response(self) -> None:
        if self._message.exchange is not None:
            self._message.exchange.no_response()

    # Responses.

    def receive(self, message: Message, value: bytes) -> bool:
        """Verify a response, and hand it up (section 8.4). If it does not verify it is dropped, no more."""
        try:
            inner = self._unprotect(message, value)
        except FormatError as error:
            cause = "not-decrypted" if isinstance(error, DecryptionFailed) else "malformed"
            self._layer.report(message.remote, cause, error)
            return True
        if inner is None:
            return True
        self._answered()
        inner.mtype = message.mtype
        inner.mid = message.mid
        inner.exchange = message.exchange
        self._established = True
        is_last = not (self._is_observation and inner.options.present & _OBSERVE and (inner.code or 0) < 0x60)
        self._delivering = not is_last
        meant = self._layer.above.dispatch_message(inner)
        self._delivering = False
        if is_last or not meant:  # not meant: nobody above knows the token, the observation was given up without a word
            self.end()
        return meant

    def _unprotect(self, message: Message, value: bytes) -> Message | None:
        """The response; ``None`` if it is a replay.

        Raises:
            FormatError: it does not decode or verify.
        """
        partial_iv, _, kid_context = parse_option(value)
        identifiers = self._identifiers
        context = self.address.context
        if identifiers is None or context.retired:
            return None
        if kid_context is not None and context.derivation is not None and kid_context != context.kid_context:
            self._derive_anew(context.derivation, message.payload, identifiers.aad, partial_iv, kid_context)
            return None
        number = -1
        if partial_iv is None:
            # At most one response is accepted under the request's nonce, and as a notification it is the oldest.
            if not identifiers.nonce_usable or self._highest >= 0:
                self._layer.report(message.remote, "replay", _OLD_RESPONSE)
                return None
            nonce = identifiers.nonce
        else:
            if len(partial_iv) > 1 and not partial_iv[0]:
                raise FormatError("leading zeros in a Partial IV (RFC 8613 section 5)")
            number = int.from_bytes(partial_iv, "big")
            if self._is_observation and number <= self._highest:
                self._layer.report(message.remote, "replay", _OLD_RESPONSE)
                return None
            nonce = context.recipient_nonce(number)
        plaintext = decrypt(context, nonce, message.payload, identifiers.aad)
        # Notifications go up in the order of their Partial IVs: their count is an order that the request layer knows.
        observe = encode_uint(self._notifications & 0xFFFFFF) if self._is_observation else None
        address = self._layer.proved_address(context, message.remote)
        inner = decode_inner_response(plaintext, address, message.token, observe)
        if inner.options.present & _OBSERVE:
            if not self._is_observation:
                raise FormatError("a notification that nobody asked for (RFC 8613 section 4.1.3.5.2)")
            self._notifications += 1
        if partial_iv is None:
            identifiers.nonce_usable = False
        else:
            self._highest = number
        return inner

    def _derive_anew(
        self, derivation: Rederivation, payload: bytes, aad: bytes, partial_iv: bytes | None, kid_context: bytes
    ) -> None:
        """Appendix B.2 step 3: the server has no context for this request, did nothing with it, and sends an R2.

        Raises:
            FormatError: it does not verify as such.
        """
        nonce, second = derivation.second(self.address.context, kid_context)
        if partial_iv is None:
            plaintext = decrypt(second, second.sender_nonce(self._sent), payload, aad)
        else:
            plaintext = decrypt(second, second.recipient_nonce(int.from_bytes(partial_iv, "big")), payload, aad)
        if plaintext[:1] != _UNAUTHORIZED:
            raise FormatError("a response #1 is not 4.01 (RFC 8613 appendix B.2)")
        ended = SessionEnded("the OSCORE context was derived anew (RFC 8613 appendix B.2)")
        ended.unprocessed = True
        self.failed(ended)  # before everything else under the old context, of which this is not known
        self.end()
        derivation.accept(derivation.third(nonce))

    def receive_unprotected(self, message: Message) -> bool:
        """A response without protection to a request that had it is never delivered (section 8.4).

        It ends a request, which waits for nothing else then, and never an observation.
        """
        if self._established:
            return True
        echo = message.options.echo
        if message.code == Code.UNAUTHORIZED and echo is not None and self._echoed is None:
            # RFC 9175 section 2.3: somebody on the way wants to see that we are where we say; once. Under the same
            # number: anybody can ask, and if the server has carried it out already, it has to see a replay.
            self._stop_sending()
            self._echoed = echo
            self.transmit(self._sent)
            if self.address.context.sender is not None:
                self.address.context.sender.repeated()
            return True
        code = message.code or 0
        agreement = self.address.context.agreement
        if agreement is not None and (known := agreement.refused(code, message.payload)) is not None:
            self.failed(known)
            return True
        # Section 8.2: so a peer answers that lacks the context or has other keys, or somebody who wants us to think so.
        hint = " (perhaps the peer lacks this security context, or has other keys)" if 128 <= code < 160 else ""
        self.failed(UnprotectedResponse(f"the answer {dotted(code)} came without protection{hint}", code))
        return True


def is_challenge_met(expected: bytes | None, echo: bytes | None) -> bool:
    """Whether a request carries the Echo value of our challenge, compared in constant time."""
    return expected is not None and echo is not None and hmac.compare_digest(expected, echo)
