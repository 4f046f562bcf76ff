"""A replay window that several processes share: of two that receive one request, one accepts it (RFC 8613 section 7.4).

It does what `securecoap.oscore.window.ReplayWindow` does; what changes it asks once more, under the slot's lock, and
says whether it was granted. A slot that is all zero is void, and so becomes one whose change was never finished: the
next request is answered with an Echo (appendix B.1.2). The error that breaks security is to accept twice, so whatever
cannot be decided is refused. The slot has the Sender Sequence Numbers of the context, too; see `numbers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.workers.memory import BUSY

if TYPE_CHECKING:
    from securecoap.workers.memory import SharedMemory

__all__ = ["END", "GRANT", "HEADER", "NEXT", "SharedWindow", "mend", "slot_words"]

# The words of a slot.
_FLAGS: Final = BUSY + 1
_FOLLOWING: Final = 2
"""The highest number received, and one more."""
_CHALLENGE: Final = 3
NEXT: Final = 4
"""The next Sender Sequence Number."""
END: Final = 5
"""The first one that is not reserved."""
GRANT: Final = 6
"""How many were reserved the last time."""
HEADER: Final = 7
"""Behind it comes what was received, as bits."""

_KNOWN: Final = 1
_PROVEN: Final = 2
_CHALLENGED: Final = 4
_BITS: Final = 64
_MAXIMUM: Final = (1 << 40) - 1


def slot_words(size: int) -> int:
    """How many words the slot of a context has, whose window has ``size`` places."""
    return HEADER + (size + _BITS - 1) // _BITS


def mend(memory: SharedMemory, place: int) -> None:
    """Make what a process left half done harmless: the window is void, and what is left of the numbers is given up."""
    words = memory.words
    words[place + _FLAGS] = 0
    words[place + NEXT] = words[place + END]


class SharedWindow:
    """The window in a slot; see `securecoap.oscore.window.Window`.

    Attributes:
        size: places.
        proven: as it was when the latest number was marked.
    """

    __slots__ = ("_asked", "_mask", "_memory", "_place", "_seen", "proven", "size")

    def __init__(self, memory: SharedMemory, place: int, size: int) -> None:
        self.size = size
        self.proven = False
        self._mask = (1 << size) - 1
        self._memory = memory
        self._place = place
        start = (place + HEADER) * 8
        self._seen = memory.octets[start : start + (slot_words(size) - HEADER) * 8]
        self._asked: bytes | None = None

    @property
    def void(self) -> bool:
        """Whether nothing is known. A window that is being changed is looked at again before anything comes of it."""
        return not self._memory.words[self._place + _FLAGS] & _KNOWN

    @property
    def highest(self) -> int:
        """The highest number received; -1 before the first."""
        return self._memory.words[self._place + _FOLLOWING] - 1

    @property
    def seen(self) -> int:
        """Bit 0 stands for ``highest``, bit *i* for ``highest - i``."""
        return int.from_bytes(self._seen, "little")

    @property
    def is_whole(self) -> bool:
        """Whether nobody is amid a change of it; where nobody else is left, whether it can be believed."""
        return not self._memory.words[self._place + BUSY]

    def accepts(self, number: int) -> bool:
        """Whether this number was not received before. `mark` decides; this spares deciphering what it would refuse."""
        if self._accepts(number):
            return True
        if not self._lock():  # what was read may have been half of something
            return False
        accepts = self._accepts(number)
        self._unlock()
        return accepts

    def mark(self, number: int) -> bool:
        """Remember a number, if nobody had it before."""
        if not self._lock():
            return False
        granted = self._accepts(number)
        if granted:
            words, place = self._memory.words, self._place
            distance = number - words[place + _FOLLOWING] + 1
            seen = self.seen
            if distance > 0:
                seen = (seen << distance & self._mask | 1) if distance < self.size else 1
                words[place + _FOLLOWING] = number + 1
            else:
                seen |= 1 << -distance
            self._seen[:] = seen.to_bytes(len(self._seen), "little")
            self.proven = bool(words[place + _FLAGS] & _PROVEN)
        self._unlock()
        return granted

    @property
    def challenge(self) -> bytes | None:
        """The Echo value that ends the void, once one was offered."""
        words, place = self._memory.words, self._place
        self._asked = words[place + _CHALLENGE].to_bytes(8, "big") if words[place + _FLAGS] & _CHALLENGED else None
        return self._asked

    def offer(self, challenge: bytes) -> bytes | None:
        """Have it end the void, or the one that somebody else has offered; the one that does. ``None``: try again."""
        if not self._lock():
            return None
        words, place = self._memory.words, self._place
        if not words[place + _FLAGS] & (_CHALLENGED | _KNOWN):
            words[place + _CHALLENGE] = int.from_bytes(challenge, "big")
            words[place + _FLAGS] |= _CHALLENGED
        self._unlock()
        return self.challenge

    def start(self, number: int) -> bool:
        """End the void with a number that was proved fresh by the `challenge` that was read last, if it is the same."""
        asked = self._asked
        if asked is None or not self._lock():
            return False
        granted = not self._memory.words[self._place + _FLAGS] & _KNOWN and self.challenge == asked
        if granted:
            self._put(number, self._mask, _KNOWN | _PROVEN)
            self.proven = True
        self._unlock()
        return granted

    # What the parent puts in before anybody else has it.

    def start_unproven(self) -> None:
        """See `securecoap.oscore.window.ReplayWindow.start_unproven`."""
        self._put(-1, 0, _KNOWN)

    def restore(self, highest: int, seen: int, *, proven: bool = True) -> None:
        """See `securecoap.oscore.window.ReplayWindow.restore`.

        Raises:
            ValueError: not a state that a window can have.
        """
        if not -1 <= highest <= _MAXIMUM or seen < 0 or (highest == -1 and seen) or (highest >= 0 and not seen & 1):
            raise ValueError("not the state of a replay window")
        self._put(highest, seen & self._mask, _KNOWN | (_PROVEN if proven else 0))

    def _put(self, highest: int, seen: int, flags: int) -> None:
        words, place = self._memory.words, self._place
        words[place + _FLAGS] = 0
        words[place + _FOLLOWING] = highest + 1
        self._seen[:] = seen.to_bytes(len(self._seen), "little")
        words[place + _FLAGS] = flags

    def _accepts(self, number: int) -> bool:
        words, place = self._memory.words, self._place
        if not words[place + _FLAGS] & _KNOWN:
            return False
        distance = words[place + _FOLLOWING] - 1 - number
        return distance < 0 or (distance < self.size and not self.seen >> distance & 1)

    def _lock(self) -> bool:
        return self._memory.lock(self._place, self._mend)

    def _unlock(self) -> None:
        self._memory.unlock(self._place)

    def _mend(self) -> None:
        mend(self._memory, self._place)
