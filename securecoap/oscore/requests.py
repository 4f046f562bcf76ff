"""Requests that come in protected: from the OSCORE option to the request that is handed up (RFC 8613 section 8.2).

Replay windows are asked before and told after decryption, in one step; a void window is ended by an Echo challenge
(appendix B.1.2). The errors of section 8.2 go back without protection, payload or effect, and not too often. What is
authentic and no request is answered under protection. This module knows neither tokens nor what goes out otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag

from securecoap.errors import FormatError, OptionError
from securecoap.events import EDHOC_FAILED
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.agreement import AgreementRefused
from securecoap.oscore.exchanges import OscoreSlot, is_challenge_met, open_slot
from securecoap.oscore.option import encode_option, only_value, parse_option
from securecoap.oscore.protection import decode_inner_request
from securecoap.oscore.rate import RateLimiter
from securecoap.oscore.rederivation import LONGEST, decode_kid_context, encode_kid_context
from securecoap.wire import content_formats, numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.config import Limits
    from securecoap.interfaces import Randomness, Scheduler
    from securecoap.oscore.layer import ContextSource, OscoreLayer
    from securecoap.oscore.rederivation import Rederivation

__all__ = ["IncomingRequests"]

_ECHO_LENGTH: Final = 8
_ATTEMPTS: Final = 16  # of decryption, for one message: as many as may share a kid
_TEXTS: Final = {
    "malformed": "a request whose OSCORE option or payload is none",
    # Windows are asked before anything is decrypted (section 7.4), so that a wrong key can look like this, too.
    "replay": "a request whose Partial IV was received before, or that has another key",
    "not-decrypted": "a request that does not decrypt",
    "unknown-context": "a request whose kid and kid context no security context has",
    "too-many-derivations": "too many ask for a new context",
}
_RESPONSE_1: Final = bytes((Code.UNAUTHORIZED,))
_NOT_CACHED: Final = Options.received(((numbers.MAX_AGE, b""),))
_EDHOC_ERROR: Final = Options.received(
    ((numbers.CONTENT_FORMAT, bytes((content_formats.EDHOC_CBOR_SEQ,))), (numbers.MAX_AGE, b""))
)
_EMPTY: Final = Options.received(())
_EDHOC: Final = 1 << numbers.EDHOC


class IncomingRequests:
    """See the module.

    Args:
        layer: addresses come from it, and answers go out through it.
        contexts: finds security contexts.
        scheduler: time.
        randomness: for Echo values.
        limits: uses ``oscore_errors_per_second``, ``echo_challenges_per_second`` and ``oscore_derivations_per_second``.
    """

    __slots__ = ("_challenges", "_contexts", "_derivations", "_errors", "_layer", "_limits", "_random")

    def __init__(
        self, layer: OscoreLayer, contexts: ContextSource, scheduler: Scheduler, randomness: Randomness, limits: Limits
    ) -> None:
        self._layer = layer
        self._contexts = contexts
        self._random = randomness
        self._limits = limits
        self._errors = RateLimiter(limits.oscore_errors_per_second, scheduler.time)
        self._challenges = RateLimiter(limits.echo_challenges_per_second, scheduler.time)
        self._derivations = RateLimiter(limits.oscore_derivations_per_second, scheduler.time)

    def dispatch(self, message: Message) -> bool:
        """Section 8.2. The outer code and what is outside of Class U mean nothing."""
        if message.remote.is_multicast_locally:
            return False  # one context is for one pair; Group OSCORE, which would fit here, is not implemented
        pairs = message.options.pairs
        is_only = len(pairs) == 1
        value = pairs[0][1] if is_only else only_value(pairs)
        try:
            partial_iv, kid, kid_context = parse_option(value)
        except OptionError:
            return self._refuse(message, Code.BAD_OPTION, "malformed")
        payload = message.payload
        if partial_iv is None or kid is None or not payload:
            return self._refuse(message, Code.BAD_OPTION, "malformed")
        if not partial_iv[0] and len(partial_iv) > 1:
            return self._refuse(message, Code.BAD_REQUEST, "malformed")
        if not is_only and message.options.present & _EDHOC:
            if not self._complete(message, kid):
                return True
            payload = message.payload
        number = int.from_bytes(partial_iv, "big")
        contexts = self._contexts
        attempts = 0
        was_received = False
        slot = None
        for context in contexts.found.get((kid, kid_context)) or contexts.find(kid, kid_context):
            window = context.window
            # Above the window nothing was received: most requests are there, and are spared the call.
            is_new = (number > window.highest and not window.void) or window.accepts(number)
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
                if not window.mark(number):  # another process had it in the meantime
                    was_received = True
                    continue
                slot = open_slot(message.exchange, context, aad, nonce, window.proven)
                break
            slot = open_slot(message.exchange, context, aad, nonce, False)  # once per message
            if not self._is_fresh(message, slot, number, plaintext):
                return True
            break
        if slot is None:
            if was_received:
                return self._refuse(message, Code.UNAUTHORIZED, "replay")
            derived = self._derive_anew(message, kid, kid_context, partial_iv, attempts)
            if derived is None:
                return True
            slot, plaintext = derived
            context = slot.context
        layer = self._layer
        remote = message.remote
        # As `OscoreLayer.proved_address` begins: as a rule the address is known, and the call is spared.
        address = layer.addresses.get(context)
        if address is None or address.outer is not remote or address.generation != context.generation:
            address = layer.proved_address(context, remote)
        # The received message becomes the request in place: token, type and Message ID stay as they are.
        try:
            message.code, message.options, message.payload = decode_inner_request(plaintext, message.options)
        except FormatError as error:
            return self._refuse_inner(message, slot, address, error)
        message.remote = address
        message.exchange = slot
        return layer.above.dispatch_message(message)

    def _complete(self, message: Message, kid: bytes) -> bool:
        """RFC 9668 section 3.3.1: take message_3 off a combined request; whether it is to be gone on with."""
        options = [pair for pair in message.options.pairs if pair[0] != numbers.EDHOC]
        if len(options) != len(message.options.pairs) - 1:
            return not self._refuse(message, Code.BAD_OPTION, "malformed")
        try:
            message.payload = self._contexts.complete(kid, message.payload, message.remote)
        except AgreementRefused as error:
            code = Code.UNAUTHORIZED if error.answer is None else Code.BAD_REQUEST
            return not self._refuse(message, code, error)
        message.options = Options.received(tuple(options))
        return True

    def _derive_anew(
        self, message: Message, kid: bytes, kid_context: bytes | None, partial_iv: bytes, attempts: int
    ) -> tuple[OscoreSlot, bytes] | None:
        """Appendix B.2: a request under a context that we do not have; if it verifies, slot and plaintext.

        Request #2 makes it the one in use (step 4). Request #1, which can be old, is answered with an R2, and has no
        other effect (step 2).
        """
        bases: Sequence[Rederivation] = ()
        if kid_context is not None and attempts < _ATTEMPTS:
            bases = self._contexts.derivations(kid)[: _ATTEMPTS - attempts]
        id_context = decode_kid_context(kid_context) if kid_context is not None and bases else b""
        if not id_context or len(id_context) > LONGEST:
            if attempts:
                self._refuse(message, Code.BAD_REQUEST, "not-decrypted")
            else:
                self._refuse(message, Code.UNAUTHORIZED, "unknown-context")
            return None
        number = int.from_bytes(partial_iv, "big")
        payload = message.payload
        for base in bases:
            # Anybody can make us derive keys. Whoever has seen no R2 of ours cannot use up what is for request #2.
            is_invited = base.is_invited(id_context)
            if not self._derivations.allows(is_invited):
                self._limits.reached("oscore_derivations_per_second")
                self._refuse(message, Code.SERVICE_UNAVAILABLE, "too-many-derivations")
                return None
            context = base.derive(id_context)
            aad, nonce = context.incoming(partial_iv, number)
            try:
                plaintext = context.aead_recipient.decrypt(nonce, payload, aad)
            except (InvalidTag, ValueError):
                continue
            if is_invited:
                base.accept(context, first_number=1)
                context.window.mark(number)
                return open_slot(message.exchange, context, aad, nonce, True), plaintext
            if self._challenges.allows(base):
                self._invite(message, base, id_context, aad)
            else:
                self._limits.reached("echo_challenges_per_second")
                self._refuse(message, Code.SERVICE_UNAVAILABLE, "too-many-derivations")
            return None
        self._refuse(message, Code.BAD_REQUEST, "not-decrypted")
        return None

    def _invite(self, message: Message, base: Rederivation, id_context: bytes, aad: bytes) -> None:
        """Answer request #1 with an R2 (appendix B.2, step 2)."""
        nonce_2 = base.invite()
        second = base.derive(nonce_2 + id_context)
        ciphertext = second.aead_sender.encrypt(second.sender_nonce(0), _RESPONSE_1, aad)
        option = encode_option(b"\x00", None, encode_kid_context(nonce_2))
        outer = Options.received(((numbers.OSCORE, option),))
        answer = Message.inner(Code.CHANGED, outer, ciphertext, message.remote, message.token)
        answer.exchange = message.exchange
        self._layer.send_plain(answer)

    def _refuse_inner(self, message: Message, slot: OscoreSlot, address: OscoreAddress, error: FormatError) -> bool:
        """A verified message that is no request: the answer is protected (section 8.2, step 8)."""
        code = Code.BAD_OPTION if isinstance(error, OptionError) else Code.BAD_REQUEST
        self._layer.report(message.remote, "malformed", error)
        self._layer.respond(slot, address, code, _EMPTY, message.token)
        return True

    def _is_fresh(self, message: Message, slot: OscoreSlot, number: int, plaintext: bytes) -> bool:
        """Appendix B.1.2: while nobody knows what was received, only a request with our Echo value is fresh.

        Any other is challenged. The nonce of that one may have protected a response before the window was lost, so its
        slot does not use it (``nonce_usable`` is false); the fresh one's may be used.
        """
        context = slot.context
        window = context.window
        try:
            echo = decode_inner_request(plaintext, _EMPTY)[1].echo
        except FormatError:
            echo = None
        if is_challenge_met(window.challenge, echo):
            if not window.start(number):
                return not self._refuse(message, Code.UNAUTHORIZED, "replay")
            slot.nonce_usable = True
            return True
        if not self._challenges.allows(context):
            self._limits.reached("echo_challenges_per_second")
            message.exchange.no_response()
            return False
        challenge = window.challenge or window.offer(self._random.randbytes(_ECHO_LENGTH))
        if challenge is None:
            message.exchange.no_response()
            return False
        # A replayed request may come from anywhere: its source is not taken for an address of the peer.
        address = OscoreAddress(context, message.remote)
        options = Options.received(((numbers.ECHO, challenge),))
        self._layer.respond(slot, address, Code.UNAUTHORIZED, options, message.token)
        return False

    def _refuse(self, message: Message, code: int, cause: str | AgreementRefused) -> bool:
        """An error of section 8.2: unprotected, without payload, not to be cached, and not too often.

        Where EDHOC failed its error message is the payload (RFC 9668 section 3.3.1).
        """
        remote = message.remote
        edhoc = b""
        if isinstance(cause, str):
            self._layer.report(remote, cause, _TEXTS[cause])
        else:
            self._layer.events.report(EDHOC_FAILED, cause.cause, cause, lambda: remote.hostinfo)
            edhoc = cause.answer or b""
        if not self._errors.allows(remote):
            self._limits.reached("oscore_errors_per_second")
            message.exchange.no_response()
            return True
        answer = Message.inner(code, _EDHOC_ERROR if edhoc else _NOT_CACHED, edhoc, remote, message.token)
        answer.exchange = message.exchange
        self._layer.send_plain(answer)
        return True
