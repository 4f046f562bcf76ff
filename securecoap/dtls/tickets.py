"""Session tickets: state of a server that its clients keep, sealed under keys that change (RFC 5077 section 4 and 5).

Must not know what a ticket says. The keys live in memory only (unless several processes share a secret), so a ticket is
worth nothing after a restart, nor to who finds it after two lifetimes.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from securecoap.dtls.rotation import RotatingKeys

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TicketKeys"]

_NAME_LENGTH: Final = 16
_NONCE_LENGTH: Final = 12


class TicketKeys:
    """Seals and opens tickets. One is good for one to two ``lifetime``s (seconds); see `RotatingKeys`."""

    __slots__ = ("_keys", "_random")

    def __init__(
        self, random: Callable[[int], bytes], lifetime: float, now: float, shared: bytes | None = None
    ) -> None:
        self._random = random
        self._keys = RotatingKeys(_named_key, random, lifetime, now, shared=shared, label=b"ticket")

    def seal(self, state: bytes, now: float) -> bytes:
        """Return the ticket that has this state: key name, nonce, ciphertext and tag."""
        self._keys.rotate(now)
        name, key = self._keys.current
        nonce = self._random(_NONCE_LENGTH)
        return name + nonce + key.encrypt(nonce, state, name)

    def open(self, ticket: bytes, now: float) -> bytes | None:
        """Return the state, ``None`` for a ticket that is not ours, too old or changed."""
        self._keys.rotate(now)
        name = ticket[:_NAME_LENGTH]
        for key in (self._keys.current, self._keys.previous):
            if key is not None and key[0] == name:
                body = ticket[_NAME_LENGTH + _NONCE_LENGTH :]
                try:
                    return key[1].decrypt(ticket[_NAME_LENGTH : _NAME_LENGTH + _NONCE_LENGTH], body, name)
                except (InvalidTag, ValueError):  # ValueError: it ends inside its nonce
                    return None
        return None


def _named_key(key: bytes) -> tuple[bytes, AESGCM]:
    """A key and the name that tickets have of it (RFC 5077 section 4), which tells nothing about it."""
    return hmac.digest(key, b"name", "sha256")[:_NAME_LENGTH], AESGCM(hmac.digest(key, b"key", "sha256"))
