"""tools/fuzz_oscore, shortened: whatever a peer sends, OSCORE gives a value or its one documented error."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from fuzz.oscore import run

if TYPE_CHECKING:
    from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_nothing_undocumented_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    assert asyncio.run(run(5_000, seed)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"seed {seed}: 5000 inputs" in last
    for outcome in ("handed up", "errors", "answers under protection", "options parsed", "no messages"):
        assert outcome in last  # every kind of input was something
