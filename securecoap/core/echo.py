"""Echo values of a server (RFC 9175 section 2): proofs that a request is fresh, and that its sender receives.

A value is the time it was made and a MAC over that and the address it was made for (appendix A, item 2), so that none
is stored; it tells a client nothing but the age of this process. It knows no message and decides nothing.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.interfaces import EndpointAddress, Randomness

__all__ = ["EchoValues"]

_TIME_LENGTH: Final = 5
_MAC_LENGTH: Final = 8
"""64 bits (section 5); a value is 13 bytes, so that the shortest challenge has no extended length."""
_TICKS: Final = 1024
"""A second has so many: the time then takes 34 years to come round."""


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

    def _now(self) -> int:
        return int((self._time() - self._start) * _TICKS)

    def _mac(self, made: bytes, remote: EndpointAddress) -> bytes:
        # The hash stands on what makes addresses equal: socket address, DTLS session or OSCORE context.
        address = hash(remote).to_bytes(8, "big", signed=True)
        return hmac.digest(self._key, made + address, "sha256")[:_MAC_LENGTH]
