"""Python's search for cycles, which visits the very many objects that stay again and again: how it is spared.

With 100,000 credentials it takes as long as everything else that makes them. Nothing here knows what is made.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["set_aside", "uncollected"]

_SET_ASIDE: Final = 1000
"""Fewer objects are what an interpreter itself sets aside at its start (Python 3.12); a program has many times more."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles while the body runs; it goes on afterwards, if it was on before.

    What was made meanwhile is then among what is old, or else the next small search would visit all of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_freeze_count() < _SET_ASIDE:  # otherwise that would come back with it
                gc.freeze()
                gc.unfreeze()  # to the oldest
            gc.enable()


def set_aside() -> None:
    """Take what is here now for what stays: the search for cycles does not visit it any more.

    For a program that has started. Otherwise a full search, of which a server with sessions that come and go makes one
    every few thousand, visits modules and credentials: 50 ms in which nobody is served.
    """
    gc.collect()
    gc.freeze()
