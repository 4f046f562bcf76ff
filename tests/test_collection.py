"""The search for cycles pauses, and goes on."""

import gc

import pytest

from securecoap.collection import uncollected


@pytest.mark.parametrize("is_enabled", [True, False])
def test_it_is_afterwards_as_it_was_before(is_enabled: bool) -> None:
    was_enabled = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is is_enabled
        with pytest.raises(ValueError, match="any"), uncollected():
            raise ValueError("any")
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
