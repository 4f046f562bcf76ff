"""OSCORE between the token layer and the message layer, the same for clients and servers (RFC 8613 section 8).

`OscoreLayer` is a `TokenInterface` above a `TokenInterface`: what goes to an `OscoreAddress` is protected, what comes
with an OSCORE option is verified, everything else passes. Replay windows are asked before and told after decryption, in
one step; a void window is ended by an Echo challenge (appendix B.1.2). The errors of section 8.2 go back without
protection, payload or effect. This module knows no credentials and no storage: contexts come from a `ContextSource`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakValueDictionary

from cryptography.exceptions import InvalidTag

from securecoap.config import Limits
from securecoap.errors import CoapError, CredentialsMissing, FormatError, OptionError, SessionEnded
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.exchanges import HeldResponse, OscoreRequest, OscoreSlot, is_challenge_met
from securecoap.oscore.option import parse_option
from securecoap.oscore.protection import decode_inner_request, protect_response
from securecoap.oscore.rate import RateLimiter
from securecoap.wire import numbers
from securecoap.wire.codes import CODES, Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.interfaces import (
        Cancel,
        EndpointAddress,
        Exchange,
        Randomness,
        Scheduler,
        TokenDispatcher,
        TokenInterface,
    )
    from securecoap.oscore.context import SecurityContext

__all__ = ["ContextSource", "OscoreLayer"]

_log = logging.getLogger(__name__)

_OSCORE: Final = 1 << numbers.OSCORE
_ECHO_LENGTH: Final = 8
_ATTEMPTS: Final = 8  # of decryption, for one message
_UNDECODABLE: Final = b"\xff"
_NOT_CACHED: Final = Options.received(((numbers.MAX_AGE, b""),))
_EMPTY: Final = Options.received(())


class ContextSource(Protocol):
    """Where security contexts come from; each of them is one object in a process, whoever asks."""

    def find(self, kid: bytes, kid_context: bytes | None) -> Sequence[SecurityContext]:
        """The contexts with which a request with these identifiers may have been protected; best first, few, at once.

        With a kid context only those with that ID Context (section 5.1). Their state is owned by this process.
        """

    async def for_request(self, message: Message) -> SecurityContext | None:
        """The context for a request of ours, ready to be used; ``None`` if OSCORE is not meant for it.

        Raises:
            CredentialsMissing: a credential is meant, and cannot be used.
            StateError: its state cannot be had.
        """


class OscoreLayer:
    """See the module.

    Args:
        below: carries the protected messages.
        contexts: finds security contexts.
        scheduler: time, and later calls.
        randomness: for Echo values.
        limits: uses ``oscore_errors_per_second`` and ``echo_challenges_per_second``.

    Attributes:
        above: the layer above; set once, before the first message.
    """

    above: TokenDispatcher

    def __init__(
        self,
        below: TokenInterface,
        contexts: ContextSource,
        scheduler: Scheduler,
        randomness: Randomness,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self.scheduler = scheduler
        self._below = below
        self._contexts = contexts
        self._random = randomness
        self._errors = RateLimiter(limits.oscore_errors_per_second, scheduler.time)
        self._logged = RateLimiter(limits.oscore_errors_per_second, scheduler.time)
        self._challenges = RateLimiter(limits.echo_challenges_per_second, scheduler.time)
        # Requests of ours, by token: as many as the layer above has under way.
        self._expected: dict[bytes, OscoreRequest] = {}
        # The last address from which each context was used: bounded by the number of contexts.
        self._addresses: dict[SecurityContext, OscoreAddress] = {}
        self._by_outer: dict[EndpointAddress, set[OscoreAddress]] = {}
        # Those from which it was used before, by identity, as long as something there is still under way.
        self._earlier: dict[SecurityContext, WeakValueDictionary[int, OscoreAddress]] = {}

    # What came in.

    def dispatch_message(self, message: Message) -> bool:
        """Verify what has an OSCORE option, and hand it up; see `TokenDispatcher.dispatch_message`."""
        code = message.code or 0
        if not message.options.present & _OSCORE:
            if code >= 64 and self._expected:
                expected = self._expected.get(message.token)
                if expected is not None and expected.address.outer == message.remote:
                    return expected.receive_unprotected(message)
            return self.above.dispatch_message(message)
        if code < 64:
            return self._dispatch_request(message)
        expected = self._expected.get(message.token)
        if expected is None or expected.address.outer != message.remote:
            return False  # a critical option that nobody here understands (RFC 7252 section 5.4.1)
        return expected.receive(message, _only_value(message.options.pairs))

    def _dispatch_request(self, message: Message) -> bool:
        """Section 8.2. The outer code and what is outside of Class U mean nothing."""
        remote = message.remote
        if remote.is_multicast_locally:
            return False  # one context is for one pair; Group OSCORE, which would fit here, is not implemented
        pairs = message.options.pairs
        value = pairs[0][1] if len(pairs) == 1 else _only_value(pairs)
        try:
            partial_iv, kid, kid_context = parse_option(value)
        except OptionError:
            return self._refuse(message, Code.BAD_OPTION, "its OSCORE option does not decode")
        payload = message.payload
        if partial_iv is None or kid is None or not payload:
            return self._refuse(message, Code.BAD_OPTION, "it lacks Partial IV, kid or payload")
        if not partial_iv[0] and len(partial_iv) > 1:
            return self._refuse(message, Code.BAD_REQUEST, "its Partial IV has leading zeros")
        number = int.from_bytes(partial_iv, "big")
        attempts = 0
        was_received = False
        # Appendix B.2: a kid context that no context has may ask for a derivation; it would be a candidate more.
        for context in self._contexts.find(kid, kid_context):
            window = context.window
            is_new = window.accepts(number)
            if context.retired:
                continue
            if not is_new and not window.void:
                was_received = True
                continue
            aad, nonce = context.incoming(partial_iv, number)
            try:
                plaintext = context.aead_recipient.decrypt(nonce, payload, aad)
            except (InvalidTag, ValueError):
                attempts += 1
                if attempts == _ATTEMPTS:
                    break
                continue
            if is_new:
                window.mark(number)
                slot = OscoreSlot(message.exchange, context, aad, nonce, window.proven)
            else:
                slot = OscoreSlot(message.exchange, context, aad, nonce, False)  # once per message
                if not self._is_fresh(message, slot, number, plaintext):
                    return True
            address = self._addresses.get(context)
            if address is None or address.outer is not remote or address.generation != context.generation:
                address = self.proved_address(context, remote)
            # The received message becomes the request in place: token, type and Message ID stay as they are.
            try:
                inner_code, message.options, message.payload = decode_inner_request(plaintext, message.options)
            except FormatError as error:
                return self._refuse_inner(message, slot, address, error)
            message.code = CODES[inner_code]
            message.remote = address
            message.exchange = slot
            return self.above.dispatch_message(message)
        if was_received:
            return self._refuse(message, Code.UNAUTHORIZED, "its Partial IV was received before")
        if attempts:
            return self._refuse(message, Code.BAD_REQUEST, "it does not decrypt")
        return self._refuse(message, Code.UNAUTHORIZED, "no security context has its kid and kid context")

    def _refuse_inner(self, message: Message, slot: OscoreSlot, address: OscoreAddress, error: FormatError) -> bool:
        """A verified message that is no request: the answer is protected (section 8.2, step 8)."""
        code = Code.BAD_OPTION if isinstance(error, OptionError) else Code.BAD_REQUEST
        self.log_failure(message.remote, error)
        self._respond(slot, address, code, _EMPTY, message.token)
        return True

    def _is_fresh(self, message: Message, slot: OscoreSlot, number: int, plaintext: bytes) -> bool:
        """Appendix B.1.2: while nobody knows what was received, only a request with our Echo value is fresh.

        Any other is challenged. The nonce of that one may have protected a response before the window was lost, so its
        slot does not use it (``nonce_usable`` is false); the fresh one's may be used.
        """
        context = slot.context
        try:
            echo = decode_inner_request(plaintext, _EMPTY)[1].echo
        except FormatError:
            echo = None
        if is_challenge_met(context.challenge, echo):
            context.challenge = None
            context.window.start(number)
            slot.nonce_usable = True
            return True
        if not self._challenges.allows(context):
            message.exchange.no_response()
            return False
        if context.challenge is None:
            context.challenge = self._random.randbytes(_ECHO_LENGTH)
        # A replayed request may come from anywhere: its source is not taken for an address of the peer.
        address = OscoreAddress(context, message.remote)
        options = Options.received(((numbers.ECHO, context.challenge),))
        self._respond(slot, address, Code.UNAUTHORIZED, options, message.token)
        return False

    def _respond(self, slot: OscoreSlot, address: OscoreAddress, code: int, options: Options, token: bytes) -> None:
        response = Message.inner(code, options, b"", address, token)
        response.exchange = slot
        self.send_message(response)

    def _refuse(self, message: Message, code: int, reason: str) -> bool:
        """An error of section 8.2: unprotected, without payload, not to be cached, and not too often."""
        remote = message.remote
        if not self._errors.allows(remote):
            message.exchange.no_response()
            return True
        _log.info("OSCORE request from %s refused: %s", remote.hostinfo, reason)
        answer = Message.inner(code, _NOT_CACHED, b"", remote, message.token)
        answer.exchange = message.exchange
        self._below.send_message(answer)
        return True

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """Everything with this peer has ended, and so has everything under its contexts there."""
        addresses = set(self._by_outer.get(remote, ()))
        addresses.update(one.address for one in self._expected.values() if one.address.outer == remote)
        if isinstance(error, SessionEnded):  # this outer address is never used again
            for address in self._by_outer.pop(remote, ()):
                del self._addresses[address.context]
        self.above.dispatch_error(error, remote)
        for address in addresses:
            self.above.dispatch_error(error, address)

    # What goes out.

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        """Set the address, with the context on it that the message's URI asks for; see `TokenInterface`.

        Raises:
            CredentialsMissing: a credential is meant for this request and cannot be used.
            SessionEnded: the remote that it has is of a context that was removed.
        """
        remote = message.remote
        if type(remote) is OscoreAddress:
            if remote.context.retired or remote.generation != remote.context.generation:
                raise SessionEnded("the OSCORE context of this address is not used any more")
            # Only over the interface that has the outer address: another one would send it outside of its DTLS session.
            message.remote = remote.outer
            try:
                return await self._below.fill_or_recognize_remote(message)
            finally:
                message.remote = remote
        context = await self._contexts.for_request(message)
        if not await self._below.fill_or_recognize_remote(message):
            return False
        if context is not None:
            if message.remote.is_multicast:
                raise CredentialsMissing(
                    "OSCORE credentials are meant for this request, and cannot protect a multicast"
                )
            message.remote = OscoreAddress(context, message.remote)
        return True

    def send_message(self, message: Message) -> Cancel | None:
        """Protect what goes to an `OscoreAddress`, and send it; see `TokenInterface.send_message`."""
        remote = message.remote
        if type(remote) is not OscoreAddress:
            return self._below.send_message(message)
        code = message.code or 0
        if code >= 64:
            slot: OscoreSlot = message.exchange
            context = slot.context
            if not slot.nonce_usable or context.retired:
                return self._send_numbered(message, slot)
            # Section 8.3: under the nonce of the request, which saves the bytes of a Partial IV.
            try:
                protect_response(context, message, slot, None)
            except CoapError as error:
                self.send_failure(message, error)
                return None
            message.remote = remote.outer
            message.exchange = slot.outer
            return self._below.send_message(message)
        if not code:  # a ping has nothing to protect
            return self.send_outer(Message.inner(0, _EMPTY, b"", None, b""), message, remote.outer, message.exchange)
        request = OscoreRequest(self, message, remote)
        sender = remote.context.sender
        if sender is None or remote.context.retired:
            self.scheduler.call_soon(request.failed, SessionEnded("the OSCORE context is not used any more"))
        else:
            sender.send(request)
        return request.cancel

    def _send_numbered(self, message: Message, slot: OscoreSlot) -> Cancel | None:
        """A response under a number of ours."""
        context = slot.context
        if context.retired or context.sender is None:
            slot.no_response()
            return None
        held = HeldResponse(self, message, slot)
        context.sender.send(held)
        return held.cancel

    def send_outer(
        self, outer: Message, message: Message, remote: EndpointAddress, exchange: Exchange
    ) -> Cancel | None:
        """Send what was made of ``message``."""
        outer.remote = remote
        outer.exchange = exchange
        outer.confirmable = message.confirmable
        return self._below.send_message(outer)

    def send_response(self, message: Message, slot: OscoreSlot) -> Cancel | None:
        """Send a response that was protected."""
        message.remote = message.remote.outer
        message.exchange = slot.outer
        return self._below.send_message(message)

    def send_failure(self, message: Message, error: CoapError) -> None:
        """A response that cannot be protected as it is becomes 5.00."""
        self.log_failure(message.remote, error)
        self._respond(message.exchange, message.remote, Code.INTERNAL_SERVER_ERROR, _EMPTY, message.token)

    # What contexts and exchanges ask of the layer.

    def proved_address(self, context: SecurityContext, outer: EndpointAddress) -> OscoreAddress:
        """The address of a peer of whom a message was just verified."""
        address = self._addresses.get(context)
        # By identity: an equal outer address may have come in on another address of ours, and is answered from there.
        if address is not None and address.outer is outer and address.generation == context.generation:
            return address
        if address is not None:
            self._forget_address(address)
            self._earlier.setdefault(context, WeakValueDictionary())[id(address)] = address
        outer.confirmed = True  # type: ignore[misc]  # each kind of address has a slot for it
        address = self._addresses[context] = OscoreAddress(context, outer, proved=True)
        self._by_outer.setdefault(outer, set()).add(address)
        return address

    def _forget_address(self, address: OscoreAddress) -> None:
        there = self._by_outer[address.outer]
        there.discard(address)
        if not there:
            del self._by_outer[address.outer]

    def expect(self, request: OscoreRequest) -> None:
        """Responses with its token are for this request from now on."""
        self._expected[request.token] = request

    def forget(self, request: OscoreRequest) -> None:
        """They are not, unless a later request took the token over."""
        if self._expected.get(request.token) is request:
            del self._expected[request.token]

    def release(self, context: SecurityContext, error: Exception | None = None) -> None:
        """End everything that is under way here under a context; others in this process may go on with it."""
        addresses = {one.address for one in self._expected.values() if one.address.context is context}
        addresses.update(self._earlier.pop(context, {}).values())
        address = self._addresses.pop(context, None)
        if address is not None:
            self._forget_address(address)
            addresses.add(address)
        for address in addresses:
            self.above.dispatch_error(error or SessionEnded("the OSCORE context was removed"), address)

    def log_failure(self, remote: EndpointAddress, error: Exception) -> None:
        """Say what was wrong with a message, and not too often."""
        if _log.isEnabledFor(logging.INFO) and self._logged.allows(remote):
            _log.info("OSCORE message with %s dropped: %s", remote.hostinfo, error)


def _only_value(pairs: tuple[tuple[int, bytes], ...]) -> bytes:
    """The value of the OSCORE option; one that does not decode if it is there twice, which section 2 forbids."""
    values = [value for number, value in pairs if number == numbers.OSCORE]
    return values[0] if len(values) == 1 else _UNDECODABLE
