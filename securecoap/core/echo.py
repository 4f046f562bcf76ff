"""Echo values of a server (RFC 9175 section 2): proofs that a request is fresh, and that its sender receives.

A value is the time it was made and a MAC over that and the address it was made for (appendix A, item 2), so that none
is stored; it tells a client nothing but the age of this process. When somebody is to be asked is not decided here.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from securecoap.wire.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import EndpointAddress, Randomness

__all__ = ["EchoValues"]

_TIME_LENGTH: Final = 5
_MAC_LENGTH: Final = 8
"""64 bits (section 5)."""
_TICKS: Final = 1024
"""A second has so many: the time then takes 34 years to come round."""
_REACHABLE_FOR: Final = 300.0
"""Seconds in which a client comes back with a value: more than EXCHANGE_LIFETIME."""
_ECHO_BIT: Final = 1 << numbers.ECHO


class EchoValues:
    """Makes and checks Echo values.

    The key lives as long as the object: after a restart every earlier value is a stranger's (section 5).

    Args:
        randomness: for the key.
        time: a clock that never goes back, in seconds.
    """

    def __init__(self, randomness: Randomness, time: Callable[[], float]) -> None:
        self._key = randomness.randbytes(32)
        self._time = time
        self._start = time()

    def make(self, remote: EndpointAddress) -> bytes:
        """A value for one address: 13 bytes."""
        made = self._now().to_bytes(_TIME_LENGTH, "big")
        return made + self._mac(made, remote)

    def age(self, remote: EndpointAddress, value: bytes | None) -> float | None:
        """Seconds since this value was made for this address; ``None`` if it never was."""
        if value is None or len(value) != _TIME_LENGTH + _MAC_LENGTH:
            return None
        made = value[:_TIME_LENGTH]
        if not hmac.compare_digest(self._mac(made, remote), value[_TIME_LENGTH:]):
            return None
        return (self._now() - int.from_bytes(made, "big")) / _TICKS

    def confirms(self, request: Message) -> bool:
        """Whether a request shows that its sender receives; its address is confirmed then (section 2.4)."""
        remote: EndpointAddress = request.remote
        if not remote.confirmed and request.options.present & _ECHO_BIT:
            age = self.age(remote, request.options.echo)
            if age is not None and age <= _REACHABLE_FOR:
                remote.confirmed = True  # type: ignore[misc]  # an address that can be forged has a slot for it
        return remote.confirmed

    def challenge(self, request: Message) -> Message:
        """The response that asks for this proof: 4.01, piggybacked or Non-confirmable, never a CON (section 2.4)."""
        options = Options.received(((numbers.ECHO, self.make(request.remote)),))
        answer = Message.inner(Code.UNAUTHORIZED, options, b"", request.remote, request.token)
        answer.exchange = request.exchange
        answer.confirmable = False
        return answer

    def _now(self) -> int:
        return int((self._time() - self._start) * _TICKS)

    def _mac(self, made: bytes, remote: EndpointAddress) -> bytes:
        # The hash stands on what makes addresses equal: socket address, DTLS session or OSCORE context.
        address = hash(remote).to_bytes(8, "big", signed=True)
        return hmac.digest(self._key, made + address, "sha256")[:_MAC_LENGTH]
