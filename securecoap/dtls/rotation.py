"""Keys that change by the clock, two at a time: the current one, and its predecessor for what was made lately.

Drawn at random, and then known to nobody else; or derived from a secret that several processes share, and then the same
for all that have the same clock. Must not know what the keys are for.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RotatingKeys"]

KEY_LENGTH: Final = 32

K = TypeVar("K")


class RotatingKeys(Generic[K]):
    """What is made with a key is good for one to two ``lifetime``s (seconds).

    Args:
        make: makes a key of 32 bytes.
        random: where randomness comes from.
        lifetime: after which the current key becomes the predecessor.
        now: the time.
        shared: a secret of several processes, or ``None``.
        label: tells uses of one secret apart.

    Attributes:
        current: the key to make things with.
        previous: the one that also checks them; ``None`` for none.
        next_at: when ``rotate`` has something to do.
    """

    __slots__ = ("_label", "_lifetime", "_made_at", "_make", "_random", "_shared", "current", "next_at", "previous")

    def __init__(
        self,
        make: Callable[[bytes], K],
        random: Callable[[int], bytes],
        lifetime: float,
        now: float,
        *,
        shared: bytes | None = None,
        label: bytes = b"",
    ) -> None:
        self._make = make
        self._random = random
        self._lifetime = lifetime
        self._shared = shared
        self._label = label
        # Processes that share a secret change their keys at the same moments.
        self._made_at = now if shared is None else now // lifetime * lifetime
        self.next_at = self._made_at + lifetime
        self.current = self._key(self._made_at)
        self.previous: K | None = None if shared is None else self._key(self._made_at - lifetime)

    def rotate(self, now: float) -> None:
        """Change keys if it is time."""
        if now < self.next_at:
            return
        age = now - self._made_at
        # After a long pause the old key is older than anything may be: it must not become the predecessor.
        periods = max(age // self._lifetime, 1)  # rounding may have it that not all of one is over
        is_recent = periods == 1
        self._made_at += periods * self._lifetime
        self.next_at = self._made_at + self._lifetime
        if is_recent:
            self.previous = self.current
        else:
            self.previous = None if self._shared is None else self._key(self._made_at - self._lifetime)
        self.current = self._key(self._made_at)

    def _key(self, made_at: float) -> K:
        if self._shared is None:
            return self._make(self._random(KEY_LENGTH))
        period = round(made_at / self._lifetime).to_bytes(8, "big", signed=True)
        return self._make(hmac.digest(self._shared, self._label + period, "sha256"))
