"""Answers that come later: how a handshake asks a store that has to ask somebody itself, without waiting for it.

Must not know what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pending"]


class Pending:
    """An answer of a store that comes later. The handshake waits, for its own time limit at most.

    Whoever asked sets ``taker``; whoever knows calls ``answer`` once, not from within the question.
    """

    __slots__ = ("taker",)

    def __init__(self) -> None:
        self.taker: Callable[[Any, float], None] | None = None

    def answer(self, value: Any, now: float) -> None:
        """Give the answer: what the question would have returned. Too late, or twice, is without effect."""
        taker, self.taker = self.taker, None
        if taker is not None:
            taker(value, now)
