"""Stateless cookies of the HelloVerifyRequest (RFC 6347 section 4.2.1).

A cookie is an HMAC over the peer's address and what its ClientHello says, so that the server keeps nothing until the
peer has shown that it receives at that address. Must not know sockets: an address is a plain value, or a tuple of some,
that ``marshal`` turns into bytes. (In version 2 of its format equal values become equal bytes; nothing reads them.)
"""

from __future__ import annotations

from hmac import compare_digest
from marshal import dumps
from typing import TYPE_CHECKING, Any, Final

from securecoap.dtls.key_schedule import KeyedHash
from securecoap.dtls.rotation import RotatingKeys

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COOKIE_LENGTH", "CookieJar"]

COOKIE_LENGTH: Final = 16
"""Half a SHA-256: unguessable, and small enough for devices that keep the cookie in 16 bytes."""


class CookieJar:
    """Makes and checks cookies. A cookie is good for one to two ``lifetime``s (seconds); see `RotatingKeys`."""

    __slots__ = ("_keys",)

    def __init__(
        self, random: Callable[[int], bytes], lifetime: float, now: float, shared: bytes | None = None
    ) -> None:
        self._keys = RotatingKeys(_make_key, random, lifetime, now, shared=shared, label=b"cookie")

    def demand(self, cookie: bytes, peer: Any, parameters: bytes, now: float) -> bytes | None:
        """Return the cookie that this peer has to send with these ClientHello parameters; ``None`` if it did.

        One is good that was made here, lately, for this peer and these parameters.
        """
        keys = self._keys
        if now >= keys.next_at:
            keys.rotate(now)
        bound = dumps(peer, 2) + parameters  # what was dumped says itself where it ends
        wanted = keys.current.digest(bound)[:COOKIE_LENGTH]
        if len(cookie) == COOKIE_LENGTH:
            if compare_digest(cookie, wanted):
                return None
            previous = keys.previous
            if previous is not None and compare_digest(cookie, previous.digest(bound)[:COOKIE_LENGTH]):
                return None
        return wanted


def _make_key(key: bytes) -> KeyedHash:
    return KeyedHash(key, "sha256")
