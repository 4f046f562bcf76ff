"""Long tokens at the client (RFC 8974): who takes them, found out by the first request that has one (section 2.2.2).

A peer that does not know the extension takes a long token for a format error: a Confirmable request is answered with a
Reset, which says so for sure. Then the request goes out again with a token of the usual length, and so do the next ones
for a while. What a server does with long tokens is the business of `securecoap.core.tokens`; what is in one, its
sender's (section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import ResetReceived
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress, Scheduler
    from securecoap.wire.message import Message

    Ask: TypeAlias = Callable[[Message], Awaitable[Message]]

__all__ = ["USUAL_LENGTH", "ExtendedTokens"]

USUAL_LENGTH: Final = 8
"""Bytes that every token may have (RFC 7252 section 3)."""
_KNOWN_FOR: Final = {True: 86_400.0, False: 1_800.0}
"""Seconds for which a finding holds: the RFC's longest for support, its shortest for none (section 2.2.2)."""
_REFUSALS: Final = frozenset({Code.BAD_REQUEST, Code.SERVICE_UNAVAILABLE})
"""Too long for ever, or for now; nothing was carried out."""


class ExtendedTokens:
    """What is known of peers and long tokens; at the bound (``Limits.extended_token_peers``) the oldest finding goes.

    Args:
        scheduler: time.
        limits: uses ``extended_token_peers``.
    """

    def __init__(self, scheduler: Scheduler, limits: Limits) -> None:
        self._time = scheduler.time
        self._limits = limits
        self._most = limits.extended_token_peers
        self._found: dict[EndpointAddress, tuple[bool, float]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._found)

    def supports(self, remote: EndpointAddress) -> bool | None:
        """Whether a peer takes long tokens; ``None`` where nobody knows (any more)."""
        found = self._found.get(remote)
        if found is None or self._time() >= found[1]:
            return None
        return found[0]

    async def perform(self, message: Message, token: bytes, ask: Ask) -> Message:
        """The response to a request that is to have this token if its peer takes it, and a usual one if not.

        Args:
            message: with its remote, not sent yet.
            token: of any length.
            ask: sends a message, with the token that it has or one of its own, and returns the response.

        Raises:
            RequestFailed: as ``ask``.
        """
        remote = message.remote
        known = self.supports(remote)
        if len(token) > USUAL_LENGTH and (known is False or (known is None and message.confirmable is False)):
            return await ask(message)  # a Non-confirmable request finds nothing out: it may be lost without a word
        plain = message.copy()
        message.token = token
        if len(token) <= USUAL_LENGTH or known:
            return await ask(message)
        try:
            response = await ask(message)
        except ResetReceived:
            self._learn(remote, False)
            return await ask(plain)
        if response.code in _REFUSALS:
            # The length, or the request? The same without the long token tells.
            second = await ask(plain)
            self._learn(remote, second.code == response.code)
            return second
        self._learn(remote, True)
        return response

    def _learn(self, remote: EndpointAddress, supports: bool) -> None:
        self._found.pop(remote, None)
        if len(self._found) >= self._most:
            self._limits.reached("extended_token_peers")
            self._found.pop(next(iter(self._found)), None)
        self._found[remote] = (supports, self._time() + _KNOWN_FOR[supports])
