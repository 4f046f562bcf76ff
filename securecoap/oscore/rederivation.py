"""Security contexts derived again and again from the same secrets (RFC 8613 appendix B.2), both sides.

Who has lost its context, or never had one, makes another with a random ID Context. Client: R1 (request #1), then
R2 || R3 (request #2). Server: answers request #1 with an R2 of its own, and takes R2 || R3 only if it gave that R2 out
and has taken none since. Nothing is kept for a request #1: R2 carries a MAC, whose key is forgotten as soon as a run
has ended (section B.2.1). A new context replaces the one before; its numbers and window live in memory only.

What comes in is verified by ``requests.py`` and ``exchanges.py``, which ask here; only request #1 is sent from here.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from securecoap.credentials.algorithms import MAXIMUM_ID_CONTEXT
from securecoap.errors import FormatError, SessionEnded
from securecoap.interfaces import Exchange
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.algorithms import DEFAULT_ALGORITHM, DEFAULT_HASH, Extracted
from securecoap.oscore.context import SecurityContext, expand_keys
from securecoap.oscore.option import MAXIMUM_SEQUENCE_NUMBER
from securecoap.oscore.sender import Sender
from securecoap.oscore.window import DEFAULT_WINDOW, ReplayWindow
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    from securecoap.config import Limits
    from securecoap.credentials.algorithms import AeadParameters
    from securecoap.interfaces import Cancel, EndpointAddress, Randomness, Scheduler, Timer
    from securecoap.oscore.layer import OscoreLayer

    Listener: TypeAlias = Callable[["SecurityContext | None"], None]

__all__ = ["Rederivation", "decode_kid_context", "encode_kid_context"]

_NONCE: Final = 8
"""Bytes of R1, S2 and R3 (appendix B.2: typically at least 8)."""
_MAC: Final = 8
_R2: Final = _NONCE + _MAC
_INVITATION: Final = 60.0
"""Seconds for which R2s are given out under one key; then another is made, and the last is good as long again."""
_RUN: Final = 93.0
"""Seconds for which a client waits for response #1: MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2)."""
LONGEST: Final = MAXIMUM_ID_CONTEXT - _R2 - 2
"""Bytes of the longest ID Context of a request #1 that is answered: with R2 and CBOR's head it has to fit."""


def encode_kid_context(id_context: bytes) -> bytes:
    """An ID Context as this appendix has it on the wire: a CBOR byte string, up to 255 bytes."""
    return (bytes((0x40 | len(id_context),)) if len(id_context) < 24 else bytes((0x58, len(id_context)))) + id_context


def decode_kid_context(value: bytes) -> bytes | None:
    """The ID Context in a received kid context; ``None`` if it is no CBOR byte string in its shortest form."""
    if value and 0x40 <= value[0] < 0x58 and len(value) == 1 + value[0] - 0x40:
        return value[1:]
    if len(value) > 25 and value[0] == 0x58 and len(value) == 2 + value[1]:
        return value[2:]
    return None


class _FreshNumbers:
    """Sequence numbers of a key that did not exist before; nothing has to survive."""

    __slots__ = ("_next",)

    def __init__(self, first: int) -> None:
        self._next = first

    def next_number(self) -> int | None:
        """The next; beyond 2^40-1 the sender refuses it."""
        number = self._next
        self._next = min(number, MAXIMUM_SEQUENCE_NUMBER) + 1
        return number

    async def reserve(self) -> None:
        """There are numbers at all times."""


class Rederivation:
    """What all contexts of one credential have in common, and the one that is in use.

    Args:
        secret, salt, sender_id, recipient_id, algorithm, hash_name: see `securecoap.oscore.context.derive_keys`.
        scheduler: time, and what senders need.
        randomness: a good source of it: everything here stands on that.
        window: places of the replay windows.
        limits: uses ``queued_per_peer``: messages that each context holds.
        label: what messages to people call it.
        claims: what a peer has proved once it used a context.

    Attributes:
        current: the context in use, or ``None``.
        listeners: told of the context that was replaced, when `current` is the new one already.
    """

    __slots__ = (
        "_algorithm", "_extracted", "_keys", "_limits", "_randomness", "_recipient_id", "_renewed_at", "_run",
        "_scheduler", "_sender_id", "_window", "claims", "current", "generation", "label", "listeners",
    )  # fmt: skip

    def __init__(
        self,
        secret: bytes,
        salt: bytes,
        sender_id: bytes,
        recipient_id: bytes,
        *,
        scheduler: Scheduler,
        randomness: Randomness,
        algorithm: AeadParameters = DEFAULT_ALGORITHM,
        hash_name: str = DEFAULT_HASH,
        window: int = DEFAULT_WINDOW,
        limits: Limits | None = None,
        label: str = "",
        claims: tuple[str, ...] = (),
    ) -> None:
        self._extracted = Extracted(secret, salt, hash_name)
        self._sender_id = sender_id
        self._recipient_id = recipient_id
        self._algorithm = algorithm
        self._scheduler = scheduler
        self._randomness = randomness
        self._window = window
        self._limits = limits
        self._keys: tuple[bytes, ...] = ()  # of the MACs of R2s: the newest one, and the one before
        self._renewed_at = 0.0
        self._run: _Run | None = None
        self.label = label
        self.claims = claims
        self.current: SecurityContext | None = None
        self.generation = 0
        self.listeners: list[Listener] = []

    def __repr__(self) -> str:
        return f"<Rederivation {self._sender_id.hex() or '-'} to {self._recipient_id.hex() or '-'}>"

    def derive(self, id_context: bytes) -> SecurityContext:
        """The context of an ID Context; it is not in use, accepts nothing and numbers nothing."""
        keys = expand_keys(
            self._extracted, self._sender_id, self._recipient_id, id_context=id_context, algorithm=self._algorithm
        )
        context = SecurityContext(
            keys,
            self._sender_id,
            self._recipient_id,
            id_context=id_context,
            kid_context=encode_kid_context(id_context),
            algorithm=self._algorithm,
            label=self.label,
            claims=self.claims,
        )
        context.derivation = self
        return context

    def accept(self, context: SecurityContext, first_number: int = 0) -> None:
        """Use it from now on, instead of the one before (steps 4 and 5): what was under way there ends.

        A server's numbers begin at 1: a client whose R3 is its R1 once more makes the context of response #1, which was
        sealed under number 0.
        """
        self._activate(context, first_number)
        self._keys = ()  # every R2 that was given out is void
        old, self.current = self.current, context
        self.generation += 1
        context.generation = self.generation
        if old is not None:
            old.retire(SessionEnded("the OSCORE context was derived anew (RFC 8613 appendix B.2)"))
        for listener in tuple(self.listeners):
            listener(old)

    def _activate(self, context: SecurityContext, first_number: int = 0) -> None:
        """Its key depends on randomness of our own: nothing under these numbers was ever sealed with it, or came."""
        context.window = ReplayWindow(self._window)
        context.sender = Sender(_FreshNumbers(first_number), self._scheduler, limits=self._limits)

    def retire(self) -> None:
        """The credential is not used any more."""
        context, self.current = self.current, None
        self._keys = ()
        if context is not None:
            context.retire()
        if self._run is not None:
            self._run.failed(SessionEnded("the OSCORE credential is not used any more"))

    def abandon(self, layers: Collection[OscoreLayer]) -> None:
        """End a run that one of these layers carries: it is closed, and nothing would come in any more."""
        if self._run is not None and self._run.layer in layers:
            self._run.failed(SessionEnded("the endpoint that derived an OSCORE context was closed"))

    # The server's side.

    def invite(self) -> bytes:
        """An R2 for a response #1: random, and with a MAC by which it is known again (section B.2.1)."""
        now = self._scheduler.time()
        self._expire(now)
        if not self._keys or now >= self._renewed_at + _INVITATION:
            self._keys = (self._randomness.randbytes(32), *self._keys[:1])
            self._renewed_at = now
        random = self._randomness.randbytes(_NONCE)
        return random + self._mac(self._keys[0], random)

    def is_invited(self, id_context: bytes) -> bool:
        """Whether it begins with an R2 that was given out and is still good (step 4); the R3 behind it is at choice."""
        self._expire(self._scheduler.time())
        if len(id_context) <= _R2:
            return False
        random, mac = id_context[:_NONCE], id_context[_NONCE:_R2]
        return any(hmac.compare_digest(mac, self._mac(key, random)) for key in self._keys)

    def _expire(self, now: float) -> None:
        age = now - self._renewed_at
        if age >= 2 * _INVITATION:
            self._keys = ()
        elif age >= _INVITATION:
            self._keys = self._keys[:1]

    @staticmethod
    def _mac(key: bytes, random: bytes) -> bytes:
        return hmac.digest(key, random, "sha256")[:_MAC]

    # The client's side.

    def for_request(self) -> SecurityContext:
        """The context in use; if there is none the first context of a run (step 1), for request #1 only."""
        if self.current is not None:
            return self.current
        first = self.derive(self._randomness.randbytes(_NONCE))
        self._activate(first)
        return first

    def second(self, first: SecurityContext, value: bytes) -> tuple[bytes, SecurityContext]:
        """R2, and the context with which a response #1 to a request under ``first`` is verified (step 3).

        Raises:
            FormatError: ``value``, the kid context of the response, has no R2, or one that is too long.
        """
        nonce = decode_kid_context(value)
        known = first.id_context or b""
        if not nonce or len(nonce) + max(len(known), _NONCE) > MAXIMUM_ID_CONTEXT:
            raise FormatError("the kid context of the response is no R2 (RFC 8613 appendix B.2)")
        return nonce, self.derive(nonce + known)

    def third(self, nonce: bytes) -> SecurityContext:
        """The context of request #2, with an R3 of our own (step 3)."""
        return self.derive(nonce + self._randomness.randbytes(_NONCE))

    async def run(self, layer: OscoreLayer, first: SecurityContext, outer: EndpointAddress) -> SecurityContext:
        """Send request #1, and return the context of request #2. Who asks meanwhile waits for the same run.

        Raises:
            RequestFailed: there was no response #1.
        """
        if self._run is None:
            self._run = _Run(layer, self, OscoreAddress(first, outer))
        await self._run.wait()
        if self.current is None:
            raise SessionEnded("the OSCORE credential is not used any more")
        return self.current

    def run_ended(self) -> None:
        """Its run is over."""
        self._run = None


class _Run(Exchange):
    """Request #1 on its way: a GET that the server answers by 4.01 and R2, whatever it asks for."""

    def __init__(self, layer: OscoreLayer, derivation: Rederivation, address: OscoreAddress) -> None:
        self._derivation = derivation
        self.layer = layer
        self._waiting: list[asyncio.Future[None]] = []
        self._error: Exception | None = None
        self._ended = False
        self._cancel: Cancel | None = None
        scheduler = layer.scheduler
        failure = SessionEnded("the peer did not derive an OSCORE context with us (RFC 8613 appendix B.2)")
        self._timer: Timer = scheduler.call_at(scheduler.time() + _RUN, self.failed, failure)
        request = Message.inner(Code.GET, Options.received(()), b"", address, layer.own_token())
        request.exchange = self
        self._cancel = layer.send_message(request)

    async def wait(self) -> None:
        """Return when there is a context.

        Raises:
            RequestFailed: there will be none.
        """
        if not self._ended:
            future = self.layer.scheduler.create_future()
            self._waiting.append(future)
            await future
        if self._error is not None:
            raise self._error

    def failed(self, error: Exception) -> None:
        """Also the good end: then the request has ended because there is another context."""
        if self._ended:
            return
        self._ended = True
        self._timer.cancel()
        if not (isinstance(error, SessionEnded) and error.unprocessed):
            self._error = error
        if self._cancel is not None:
            self._cancel()
        self._derivation.run_ended()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
