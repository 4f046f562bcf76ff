"""Echo values that came with a response nobody asked to repeat, for the next request to their server (RFC 9175, 2.3).

A server gives one ahead, so that a request that needs freshness later costs no second round trip. A value goes back to
the very address that it came from, security association included, and once. A 4.01 is another thing: there the request
is repeated at once (`securecoap.core.bodies`). What a server makes of values is the business of `securecoap.core.echo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from securecoap.config import Limits
    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message

__all__ = ["KeptEchoes"]


class KeptEchoes(dict["EndpointAddress", bytes]):
    """The newest value of each server; at the bound (``Limits.kept_echoes``) the oldest goes.

    It is empty at nearly all times, so whoever sends asks for its truth first.
    """

    __slots__ = ("_limits", "_most")

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._most = limits.kept_echoes

    def keep(self, response: Message) -> None:
        """Remember what a response has that is the last one of its request."""
        echo = response.options.echo
        if echo is None or response.code == Code.UNAUTHORIZED or self._most <= 0:
            return
        self.pop(response.remote, None)
        if len(self) >= self._most:
            self._limits.reached("kept_echoes")
            del self[next(iter(self))]
        self[response.remote] = echo

    def take(self, request: Message) -> Message:
        """The request, with what its remote gave, unless the application has a value of its own."""
        if request.options.echo is not None:
            return request
        echo = self.pop(request.remote, None)
        if echo is None:
            return request
        return request.copy(echo=echo)
