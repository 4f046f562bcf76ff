"""Stateless cookies of the HelloVerifyRequest (RFC 6347 section 4.2.1).

A cookie is an HMAC over the peer's address and what its ClientHello says, so that the server keeps nothing until the
peer has shown that it receives at that address. Must not know sockets: the address is any value whose ``repr`` tells
addresses apart. Two keys at a time: the current one and its predecessor.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from securecoap.dtls.key_schedule import KeyedHash

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["COOKIE_LENGTH", "CookieJar"]

COOKIE_LENGTH: Final = 16
"""Half a SHA-256: unguessable, and small enough for devices that keep the cookie in 16 bytes."""
_KEY_LENGTH: Final = 32


class CookieJar:
    """Makes and checks cookies. A cookie is good for one to two ``lifetime``s (seconds)."""

    __slots__ = ("_key", "_lifetime", "_made_at", "_previous", "_random")

    def __init__(self, random: Callable[[int], bytes], lifetime: float, now: float) -> None:
        self._random = random
        self._lifetime = lifetime
        self._key = self._draw()
        self._previous = self._draw()
        self._made_at = now

    def make(self, peer: Hashable, parameters: bytes, now: float) -> bytes:
        """Return the cookie for this peer and these ClientHello parameters."""
        self._rotate(now)
        return self._mac(self._key, peer, parameters)

    def check(self, cookie: bytes, peer: Hashable, parameters: bytes, now: float) -> bool:
        """Say whether the cookie was made here, lately, for this peer and these parameters."""
        if len(cookie) != COOKIE_LENGTH:
            return False
        self._rotate(now)
        current = compare_digest(cookie, self._mac(self._key, peer, parameters))
        return current or compare_digest(cookie, self._mac(self._previous, peer, parameters))

    def _rotate(self, now: float) -> None:
        age = now - self._made_at
        if age < self._lifetime:
            return
        # After a long pause the old key is older than any cookie may be: it must not become the predecessor.
        is_recent = age < 2 * self._lifetime
        self._previous = self._key if is_recent else self._draw()
        self._key = self._draw()
        self._made_at = self._made_at + self._lifetime if is_recent else now

    def _draw(self) -> KeyedHash:
        return KeyedHash(self._random(_KEY_LENGTH), "sha256")

    @staticmethod
    def _mac(key: KeyedHash, peer: Hashable, parameters: bytes) -> bytes:
        address = repr(peer).encode()
        return key.digest(len(address).to_bytes(2, "big") + address + parameters)[:COOKIE_LENGTH]
