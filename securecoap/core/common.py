"""What all requests of one endpoint have in common: who sends them, time and bounds, and what they learn of peers.

It holds these things together, and does nothing with them but end them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.clock import clock_of
from securecoap.core.bodies import LARGEST_EXPONENT
from securecoap.core.cache import ResponseCache
from securecoap.core.extended_tokens import ExtendedTokens
from securecoap.core.kept_echoes import KeptEchoes
from securecoap.core.observers import Observers
from securecoap.core.patience import Patience
from securecoap.core.plain import PlainRequest
from securecoap.core.plumbing import RequestPipe, time_out
from securecoap.core.request_tags import RequestTags
from securecoap.core.silence import SilentRequests

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from securecoap.config import Limits, TransportParameters
    from securecoap.interfaces import Randomness, RequestInterface
    from securecoap.wire.message import Message

__all__ = ["Common"]


class Common:
    """See the module.

    Args:
        choose: sets a message's remote and returns who sends it.
        recognize: the same, where that takes no waiting; ``None`` where it does.
        loop: runs the work.
        parameters: default time limits: RFC 7252's span for a Confirmable request, ``non_timeout`` for another.
        limits: bounds; uses those of bodies, groups, the cache and silent requests.
        randomness: for when an observation registers again.
        has_cache: whether responses are used again.

    Attributes:
        tags: Request-Tags of uploads.
        silent: requests that nobody waits for.
        extended_tokens: which peers take long tokens.
        echoes: Echo values for the next request.
        cache: responses that may be used again, or ``None``.
        observers: observations under way.
        patience: how long a Confirmable request waits that costs no task.
        sends_plain: whether a request may go the short way: no cache, and blocks of the usual size.
        time: the loop's, for what is asked with each request.
    """

    __slots__ = (
        "cache", "choose", "echoes", "extended_tokens", "limits", "loop", "observers", "parameters", "patience",
        "randomness", "recognize", "sends_plain", "silent", "tags", "time",
    )  # fmt: skip

    def __init__(
        self,
        choose: Callable[[Message], Awaitable[RequestInterface]],
        loop: asyncio.AbstractEventLoop,
        parameters: TransportParameters,
        limits: Limits,
        randomness: Randomness,
        *,
        recognize: Callable[[Message], RequestInterface | None] = lambda _: None,
        has_cache: bool = False,
    ) -> None:
        self.choose = choose
        self.recognize = recognize
        self.observers = Observers()
        self.patience: Patience[RequestPipe | PlainRequest] = Patience(loop, parameters.max_transmit_wait, time_out)
        self.loop = loop
        self.time = clock_of(loop)
        self.parameters = parameters
        self.limits = limits
        self.randomness = randomness
        self.tags = RequestTags()
        self.silent = SilentRequests(loop, parameters.exchange_lifetime, limits)
        self.extended_tokens = ExtendedTokens(loop, limits)
        self.echoes = KeptEchoes(limits)
        self.cache = ResponseCache(loop, limits) if has_cache else None
        self.sends_plain = not has_cache and parameters.block_exponent == LARGEST_EXPONENT

    def cancel_plain(self) -> None:
        """End the requests that went the short way, for whoever waits, too; none goes it any more."""
        self.sends_plain = False
        for one in list(self.patience):
            if isinstance(one, PlainRequest):
                one.cancel()

    def close(self) -> None:
        """Let go of everything."""
        self.patience.close()
        self.silent.close()
        if self.cache is not None:
            self.cache.clear()
