"""The saved window's change of size, the fingerprint, and that every store is one."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.oscore.window import ReplayWindow
from securecoap.state import MemoryStateStore, NullStateStore, SqliteStateStore
from securecoap.state.fingerprint import fingerprint, former_fingerprint
from securecoap.state.protocol import ContextState, SavedWindow, StateStore

_stores: list[type[StateStore]] = [MemoryStateStore, NullStateStore, SqliteStateStore]


def test_every_store_has_the_protocol():
    for store in _stores:
        for name in ("open", "open_many", "close"):
            assert callable(getattr(store, name))
    for name in ("next_number", "reserve", "take_window", "close", "exhausted", "label", "fingerprint"):
        assert hasattr(ContextState, name)


@given(
    received=st.lists(st.integers(0, 200), min_size=1, max_size=60),
    before=st.integers(1, 64),
    after=st.integers(1, 64),
)
def test_a_window_of_another_size_accepts_nothing_twice(received, before, after):
    window = ReplayWindow(before)
    accepted = []
    for number in received:
        if window.accepts(number):
            window.mark(number)
            accepted.append(number)
    fitted = SavedWindow(window.highest, window.seen, before).fit(after)
    restored = ReplayWindow(after)
    restored.restore(fitted.highest, fitted.seen)
    assert not any(restored.accepts(number) for number in accepted)
    assert restored.accepts(window.highest + 1)
    # What both windows know is kept: a number that was never received and is recent enough stays acceptable.
    for number in range(max(0, window.highest - min(before, after) + 1), window.highest):
        assert restored.accepts(number) is (number not in accepted)


def test_fit_of_an_empty_window():
    assert SavedWindow(-1, 0, 32).fit(64) == SavedWindow(-1, 0, 64)


def test_fingerprint_depends_on_everything_the_nonce_does_and_shows_nothing():
    extracted, sender = b"k" * 32, b"\x85\x41\x01"
    base = fingerprint(extracted, sender)
    assert len(base) == 32
    assert base == fingerprint(extracted, sender)
    others = {
        fingerprint(b"l" * 32, sender),
        fingerprint(extracted, b"\x85\x41\x02"),
        fingerprint(extracted[:-1], extracted[-1:] + sender),
        fingerprint(extracted + sender[:1], sender[1:]),
    }
    assert len(others) == 4
    assert base not in others
    assert extracted not in base


def test_a_fingerprint_is_what_it_was_for_every_store_that_exists():
    text = b"\x20" + bytes(range(32)) + b"info"
    expected = hashlib.blake2b(text, digest_size=32, person=b"securecoap ctx 2").digest()
    assert fingerprint(bytes(range(32)), b"info") == expected


@pytest.mark.parametrize("length", [16, 24, 32])
def test_a_former_fingerprint_is_what_it_was_for_every_store_that_exists(length):
    key, iv, sender = bytes(range(length)), bytes(range(50, 63)), b"\x01\x02"
    text = b"securecoap sender context 1|30|13|" + iv + b"|" + sender
    assert former_fingerprint(key, iv, sender, 30) == hmac.digest(key, text, "sha256")
