"""Session tickets: state of a server that its clients keep, sealed under keys that change (RFC 5077 section 4 and 5).

Must not know what a ticket says. Two keys at a time, the current one and its predecessor; both live in memory only, so
a ticket is worth nothing after a restart, nor to who finds it after two lifetimes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TicketKeys"]

_NAME_LENGTH: Final = 16
_NONCE_LENGTH: Final = 12
_KEY_LENGTH: Final = 32


class TicketKeys:
    """Seals and opens tickets. One is good for one to two ``lifetime``s (seconds)."""

    __slots__ = ("_current", "_lifetime", "_made_at", "_previous", "_random")

    def __init__(self, random: Callable[[int], bytes], lifetime: float, now: float) -> None:
        self._random = random
        self._lifetime = lifetime
        self._made_at = now
        self._current = self._new_key()
        self._previous: tuple[bytes, AESGCM] | None = None

    def seal(self, state: bytes, now: float) -> bytes:
        """Return the ticket that has this state: key name, nonce, ciphertext and tag."""
        self._rotate(now)
        name, key = self._current
        nonce = self._random(_NONCE_LENGTH)
        return name + nonce + key.encrypt(nonce, state, name)

    def open(self, ticket: bytes, now: float) -> bytes | None:
        """Return the state, ``None`` for a ticket that is not ours, too old or changed."""
        self._rotate(now)
        name = ticket[:_NAME_LENGTH]
        for key in (self._current, self._previous):
            if key is not None and key[0] == name:
                body = ticket[_NAME_LENGTH + _NONCE_LENGTH :]
                try:
                    return key[1].decrypt(ticket[_NAME_LENGTH : _NAME_LENGTH + _NONCE_LENGTH], body, name)
                except (InvalidTag, ValueError):  # ValueError: it ends inside its nonce
                    return None
        return None

    def _new_key(self) -> tuple[bytes, AESGCM]:
        return self._random(_NAME_LENGTH), AESGCM(self._random(_KEY_LENGTH))

    def _rotate(self, now: float) -> None:
        age = now - self._made_at
        if age >= self._lifetime:
            # After a long pause the old key is older than any ticket may be.
            is_recent = age < 2 * self._lifetime
            self._previous = self._current if is_recent else None
            self._current = self._new_key()
            self._made_at = self._made_at + self._lifetime if is_recent else now
