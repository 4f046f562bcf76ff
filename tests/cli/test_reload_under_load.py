"""Reload and rotation at a server in a process of its own, under load from real clients; see ``tools/reload/load.py``.

``tools/reload_under_load`` does the same for longer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from reload.load import HOW, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", HOW)
def test_nobody_notices_but_those_who_are_gone(tmp_path: Path, how: str) -> None:
    if how != "signal":
        pytest.importorskip("watchfiles")
    counts = asyncio.run(run(tmp_path, clients=4, reloads=5, how=how))
    print(counts)  # noqa: T201  # shown with -s, and where it fails
    assert counts.failures == []
    assert (counts.added, counts.removed, counts.kept) == (5, 5, 1)
    assert counts.requests > 20
    assert counts.notifications >= 2
    assert counts.rotations == (2 if how in ("signal", "rename") else 0)
