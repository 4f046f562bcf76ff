"""The replay window of a Recipient Context (RFC 8613 section 7.4, as RFC 6347 section 4.1.2.6).

One integer: bit *i* says that the Partial IV ``highest - i`` was received. A window may be *void*: after a restart, or
before the first use, nobody knows what was received, and nothing may be accepted until an Echo has shown that a request
is fresh (Appendix B.1.2). The error that breaks security here is to accept twice; refusing too much is only a nuisance.
This module knows no message, no key and no storage.
"""

from __future__ import annotations

from typing import Final, Protocol

from securecoap.credentials.algorithms import DEFAULT_WINDOW, MAXIMUM_WINDOW

__all__ = ["DEFAULT_WINDOW", "ReplayWindow", "Window"]


class Window(Protocol):
    """What a layer asks of a replay window, whoever else has it; `ReplayWindow` documents it."""

    size: int
    proven: bool

    @property
    def highest(self) -> int:
        """The highest Partial IV received; -1 before the first."""

    @property
    def seen(self) -> int:
        """Bit 0 stands for ``highest``, bit *i* for ``highest - i``."""

    @property
    def void(self) -> bool:
        """Whether nothing is known."""

    @property
    def challenge(self) -> bytes | None:
        """The Echo value that ends the void, once one was offered."""

    def accepts(self, number: int) -> bool:
        """Whether this Partial IV was not received before, as far as can be known."""

    def mark(self, number: int) -> bool:
        """Remember it; false if another process did so first."""

    def offer(self, challenge: bytes) -> bytes | None:
        """Have an Echo value end the void; the one that does."""

    def start(self, number: int) -> bool:
        """End the void; false if another process did so first."""

    def start_unproven(self) -> None:
        """End the void without proof."""

    def restore(self, highest: int, seen: int, *, proven: bool = True) -> None:
        """Take over a window that was saved."""


class _Masks(dict[int, int]):
    """By size, so that windows share them."""

    def __missing__(self, size: int) -> int:
        mask = self[size] = (1 << size) - 1
        return mask


_MASKS: Final = _Masks()


class ReplayWindow:
    """Which Partial IVs were received.

    Attributes:
        size: how many Partial IVs below the highest can still be accepted.
        highest: the highest Partial IV received; -1 before the first.
        seen: bit 0 stands for ``highest``, bit *i* for ``highest - i``.
        void: nothing is known; `accepts` is always false.
        challenge: the Echo value that ends the void (Appendix B.1.2), once one was offered.
        proven: no earlier request can be accepted again. False only where a request was taken without proof of its
            freshness: its response must then not use the request's nonce, which an earlier response may have used.

    Raises:
        ValueError: ``size`` is not in 1 to 4096.
    """

    __slots__ = ("_mask", "challenge", "highest", "proven", "seen", "size", "void")

    def __init__(self, size: int = DEFAULT_WINDOW, *, void: bool = False) -> None:
        if not 1 <= size <= MAXIMUM_WINDOW:
            raise ValueError(f"a replay window has 1 to {MAXIMUM_WINDOW} places")
        self.size = size
        self._mask = _MASKS[size]
        self.highest = -1
        self.seen = 0
        self.void = void
        self.proven = not void
        self.challenge: bytes | None = None

    def accepts(self, number: int) -> bool:
        """Whether this Partial IV was not received before, as far as can be known. Changes nothing."""
        distance = self.highest - number
        if distance < 0:
            return not self.void
        return distance < self.size and not self.seen >> distance & 1 and not self.void

    def mark(self, number: int) -> bool:
        """Remember an accepted Partial IV; to be called only after its message was verified (section 8.2 step 6).

        False where another process, with which the window is shared, was faster: then it is a replay.
        """
        distance = number - self.highest
        if distance > 0:
            # The shift is clamped: the number is the peer's, and up to 2^40.
            self.seen = (self.seen << distance & self._mask | 1) if distance < self.size else 1
            self.highest = number
        elif -distance < self.size:
            self.seen |= 1 << -distance
        return True

    def offer(self, challenge: bytes) -> bytes | None:
        """Have an Echo value end the void; return the one that does, ``None`` for none."""
        self.challenge = challenge
        return challenge

    def start(self, number: int) -> bool:
        """End the void: ``number``, received now and proved fresh, becomes the lower limit (Appendix B.1.2).

        False as for `mark`.
        """
        self.challenge = None
        self.highest = number
        self.seen = self._mask
        self.void = False
        self.proven = True
        return True

    def start_unproven(self) -> None:
        """End the void without proof: each number is accepted once from now on, even if it was before the void."""
        self.highest = -1
        self.seen = 0
        self.void = False
        self.proven = False

    def restore(self, highest: int, seen: int, *, proven: bool = True) -> None:
        """Take over a window that was saved at an orderly shutdown, and voided in the store before use.

        Raises:
            ValueError: not a state that a window can have.
        """
        if (
            highest < -1
            or highest >= 1 << 40
            or seen < 0
            or (highest == -1 and seen)
            or (highest >= 0 and not seen & 1)
        ):
            raise ValueError("not the state of a replay window")
        self.highest = highest
        self.seen = seen & self._mask
        self.void = False
        self.proven = proven
