"""The search for cycles pauses, and goes on."""

import gc
import weakref

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


class Circle:
    """What only the search for cycles can find."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_made_meanwhile_is_old_and_still_searched() -> None:
    assert gc.isenabled()
    with uncollected():
        made: list[object] = []
        gone = weakref.ref(Circle())
    assert not any(one is made for one in gc.get_objects(generation=0))
    assert any(one is made for one in gc.get_objects())
    gc.collect()
    assert gone() is None


def test_what_was_set_aside_before_stays_aside() -> None:
    stays: list[object] = []
    try:
        set_aside()
        with uncollected():
            made: list[object] = []
        assert not any(one is stays for one in gc.get_objects())
        assert any(one is made for one in gc.get_objects())
    finally:
        gc.unfreeze()


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
