"""OSCORE between the token layer and the message layer, the same for clients and servers (RFC 8613 section 8).

`OscoreLayer` is a `TokenInterface` above a `TokenInterface`: what goes to an `OscoreAddress` is protected, what comes
with an OSCORE option is verified, everything else passes. Requests that come in are verified in ``requests.py``. This
module knows no credentials and no storage: contexts come from a `ContextSource`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol
from weakref import WeakValueDictionary

from securecoap.config import Limits
from securecoap.errors import CoapError, CredentialsMissing, SessionEnded
from securecoap.events import OSCORE_DROPPED, Events
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.context import SecurityContext
from securecoap.oscore.exchanges import HeldResponse, OscoreRequest, OscoreSlot
from securecoap.oscore.option import only_value
from securecoap.oscore.protection import protect_response
from securecoap.oscore.requests import IncomingRequests
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from securecoap.interfaces import (
        Cancel,
        EndpointAddress,
        Exchange,
        Randomness,
        RequestInterface,
        Scheduler,
        TokenDispatcher,
        TokenInterface,
    )
    from securecoap.oscore.agreement import KeyAgreement
    from securecoap.oscore.rederivation import Rederivation

__all__ = ["ContextSource", "OscoreLayer"]

_OSCORE: Final = 1 << numbers.OSCORE
_TOKEN_LENGTH: Final = 8
_EMPTY: Final = Options.received(())


class ContextSource(Protocol):
    """Where security contexts come from; each of them is one object in a process, whoever asks."""

    @property
    def found(self) -> Mapping[tuple[bytes, bytes | None], Sequence[SecurityContext]]:
        """What `find` said, by its arguments, where it would say the same again; bounded by its owner.

        It spares the call for nearly every request.
        """

    def find(self, kid: bytes, kid_context: bytes | None) -> Sequence[SecurityContext]:
        """The contexts with which a request with these identifiers may have been protected; best first, few, at once.

        With a kid context only those with that ID Context (section 5.1). Their state is owned by this process.
        """

    def derivations(self, kid: bytes) -> Sequence[Rederivation]:
        """Where contexts with this kid can be derived anew (appendix B.2); few, at once."""

    def complete(self, kid: bytes, payload: bytes, remote: EndpointAddress) -> bytes:
        """Take what a combined request has before its ciphertext (RFC 9668 section 3.3.1); the ciphertext.

        Raises:
            AgreementRefused: it completes nothing.
        """

    def known(self, message: Message) -> SecurityContext | KeyAgreement | Literal[False] | None:
        """As `for_request`, where that takes no waiting; ``False`` where it does."""

    async def for_request(self, message: Message) -> SecurityContext | KeyAgreement | None:
        """The context for a request of ours, ready to be used; ``None`` if OSCORE is not meant for it.

        Or how it comes about with the peer at the address that will carry the request.

        One that is to be derived anew first (appendix B.2) is not the current one of its derivation.

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
        limits: uses those of `IncomingRequests`.
        events: hears of what is dropped, and why.

    Attributes:
        above: the layer above; set once, before the first message.
        requests: sends the messages of a key exchange (RFC 9528); set once, where contexts are agreed on.
        events: takes reports of what is dropped.
        dispatch_request: as `dispatch_message`, for requests with an OSCORE option.
        addresses: the last one from which each context was used; bounded by the number of contexts.
    """

    above: TokenDispatcher
    requests: RequestInterface

    def __init__(
        self,
        below: TokenInterface,
        contexts: ContextSource,
        scheduler: Scheduler,
        randomness: Randomness,
        limits: Limits | None = None,
        events: Events | None = None,
    ) -> None:
        limits = limits or Limits()
        self.scheduler = scheduler
        self._below = below
        self._contexts = contexts
        self._random = randomness
        self.events = events or Events(scheduler.time)
        # Requests of ours, by outer address and token: as many as the layer above has under way.
        self._expected: dict[EndpointAddress, dict[bytes, OscoreRequest]] = {}
        self.addresses: dict[SecurityContext, OscoreAddress] = {}
        self._by_outer: dict[EndpointAddress, set[OscoreAddress]] = {}
        # Those from which it was used before, by identity, as long as something there is still under way.
        self._earlier: dict[SecurityContext, WeakValueDictionary[int, OscoreAddress]] = {}
        self.dispatch_request = IncomingRequests(self, contexts, scheduler, randomness, limits).dispatch

    # What came in.

    def dispatch_message(self, message: Message) -> bool:
        """Verify what has an OSCORE option, and hand it up; see `TokenDispatcher.dispatch_message`."""
        code = message.code or 0
        if not message.options.present & _OSCORE:
            if self._expected and code >= 64 and (expected := self._expected_by(message)) is not None:
                return expected.receive_unprotected(message)
            return self.above.dispatch_message(message)
        if code < 64:
            return self.dispatch_request(message)
        expected = self._expected_by(message)
        if expected is None:
            return False  # a critical option that nobody here understands (RFC 7252 section 5.4.1)
        return expected.receive(message, only_value(message.options.pairs))

    def _expected_by(self, response: Message) -> OscoreRequest | None:
        there = self._expected.get(response.remote)
        return None if there is None else there.get(response.token)

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """Everything with this peer has ended, and so has everything under its contexts there."""
        addresses = set(self._by_outer.get(remote, ()))
        addresses.update(one.address for one in self._expected.get(remote, {}).values())
        if isinstance(error, SessionEnded):  # this outer address is never used again
            for address in self._by_outer.pop(remote, ()):
                del self.addresses[address.context]
        self.above.dispatch_error(error, remote)
        for address in addresses:
            self.above.dispatch_error(error, address)

    # What goes out.

    def recognize_remote(self, message: Message) -> bool:
        """See `TokenInterface.recognize_remote`."""
        context = self._contexts.known(message)
        if context is False or not self._below.recognize_remote(message):
            return False
        if context is None:
            return True
        if not isinstance(context, SecurityContext):
            agreed = context.agreed(message)
            if agreed is None:
                return False
            context = agreed
        if context.derivation is not None or message.remote.is_multicast:
            return False
        message.remote = OscoreAddress(context, message.remote)
        return True

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
            if not isinstance(context, SecurityContext):
                context = await context.agree(message, self.requests)
            elif context.derivation is not None and context is not context.derivation.current:
                context = context.derivation.current or await context.derivation.run(self, context, message.remote)
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
        self.report(message.remote, "not-protected", error)
        self.respond(message.exchange, message.remote, Code.INTERNAL_SERVER_ERROR, _EMPTY, message.token)

    def respond(self, slot: OscoreSlot, address: OscoreAddress, code: int, options: Options, token: bytes) -> None:
        """Answer a request with a response of the layer's own, under protection."""
        response = Message.inner(code, options, b"", address, token)
        response.exchange = slot
        self.send_message(response)

    def send_plain(self, message: Message) -> None:
        """Send an error without protection (section 8.2)."""
        self._below.send_message(message)

    # What contexts and exchanges ask of the layer.

    def proved_address(self, context: SecurityContext, outer: EndpointAddress) -> OscoreAddress:
        """The address of a peer of whom a message was just verified."""
        address = self.addresses.get(context)
        # By identity: an equal outer address may have come in on another address of ours, and is answered from there.
        if address is not None and address.outer is outer and address.generation == context.generation:
            return address
        if address is not None:
            self._forget_address(address)
            self._earlier.setdefault(context, WeakValueDictionary())[id(address)] = address
        if context.agreement is not None:
            context.agreement.proved()
        outer.confirmed = True  # type: ignore[misc]  # each kind of address has a slot for it
        address = self.addresses[context] = OscoreAddress(context, outer, proved=True)
        self._by_outer.setdefault(outer, set()).add(address)
        return address

    def _forget_address(self, address: OscoreAddress) -> None:
        there = self._by_outer[address.outer]
        there.discard(address)
        if not there:
            del self._by_outer[address.outer]

    def own_token(self) -> bytes:
        """A token for a request of this layer's own: as random as those of the layer above, and never handed up."""
        return self._random.randbytes(_TOKEN_LENGTH)

    def expect(self, request: OscoreRequest) -> None:
        """Responses with its token are for this request from now on."""
        self._expected.setdefault(request.address.outer, {})[request.token] = request

    def forget(self, request: OscoreRequest) -> None:
        """They are not, unless a later request took the token over."""
        there = self._expected.get(request.address.outer)
        if there is not None and there.get(request.token) is request:
            del there[request.token]
            if not there:
                del self._expected[request.address.outer]

    def release(self, context: SecurityContext, error: Exception | None = None) -> None:
        """End everything that is under way here under a context; others in this process may go on with it."""
        expected = (one.address for there in self._expected.values() for one in there.values())
        addresses = {address for address in expected if address.context is context}
        addresses.update(self._earlier.pop(context, {}).values())
        address = self.addresses.pop(context, None)
        if address is not None:
            self._forget_address(address)
            addresses.add(address)
        for address in addresses:
            self.above.dispatch_error(error or SessionEnded("the OSCORE context was removed"), address)

    def report(self, remote: EndpointAddress, cause: str, text: object) -> None:
        """Say what was wrong with a message with a peer; the cause is a word of ours."""
        self.events.report(OSCORE_DROPPED, cause, text, lambda: remote.hostinfo)
