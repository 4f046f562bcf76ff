"""The search for cycles pauses, and goes on."""

import gc

import pytest

from securecoap.collection import set_aside, uncollected


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


def test_what_is_set_aside_is_not_visited_and_what_comes_later_is() -> None:
    stays: list[object] = []
    try:
        set_aside()
        assert gc.get_freeze_count() > 0
        assert not any(one is stays for one in gc.get_objects())
        comes: list[object] = []
        assert any(one is comes for one in gc.get_objects())
    finally:
        gc.unfreeze()
