"""From a credential to its context, and from a saved window to one in use and back (RFC 8613 appendix B.1)."""

from __future__ import annotations

from typing import Any

import pytest

from securecoap.credentials import CredentialsMap, OscoreContext
from securecoap.derivation import adopt_window, derive, name_of, request_of, restore_window, saved_window
from securecoap.oscore.context import derive_keys
from securecoap.oscore.window import ReplayWindow
from securecoap.state import SavedWindow
from securecoap.state.fingerprint import former_fingerprint
from tests.oscore import vectors

PLAIN: dict[str, Any] = {
    "secret": {"hex": vectors.SECRET.hex()},
    "salt": {"hex": vectors.SALT.hex()},
    "sender-id": {"hex": ""},
    "recipient-id": {"hex": "01"},
}


def credential(label: str = ":a", **changes: Any) -> OscoreContext:
    members = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    (found,) = CredentialsMap.from_dict({label: {"oscore": members}}).credentials()
    assert isinstance(found, OscoreContext)
    return found


class State:
    """What a store hands out of a context's state."""

    def __init__(self, saved: SavedWindow | None = None, shared: Any = None) -> None:
        self.saved = saved
        self.shared_window = shared
        self.taken = 0

    def take_window(self) -> SavedWindow | None:
        self.taken += 1
        saved, self.saved = self.saved, None
        return saved


def test_the_context_is_that_of_the_rfc() -> None:
    """RFC 8613 appendix C.1.1."""
    context = derive(credential())
    expected = vectors.context("C.1.1")
    for aead in ("aead_sender", "aead_recipient"):
        ours, theirs = getattr(context, aead), getattr(expected, aead)
        assert ours.encrypt(bytes(13), b"text", b"") == theirs.encrypt(bytes(13), b"text", b"")
    assert context.sender_nonce(20) == expected.sender_nonce(20)
    for name in ("sender_id", "recipient_id", "id_context"):
        assert getattr(context, name) == getattr(expected, name)
    assert (context.label, context.claims) == (":a", (":a",))
    assert context.window.void  # nobody knows what was received, until somebody says so


def test_state_goes_by_what_makes_a_nonce_and_not_by_names() -> None:
    base = name_of(credential())
    same: list[dict[str, Any]] = [
        {"label": ":b"},
        {"window": 64, "echo": False},
        {"recipient-id": {"hex": "77"}},  # the peer's key is not ours
        {"algorithm": "AES-CCM-16-64-128"},
        {"salt": {"hex": vectors.SALT.hex() + "00" * 24}},  # HMAC pads with zeros
    ]
    assert {name_of(credential(**change)) for change in same} == {base}
    assert name_of(credential(salt=None)) == name_of(credential(salt={"hex": "00" * 32}))
    others: list[dict[str, Any]] = [
        {"salt": {"hex": "01"}},
        {"salt": None},
        {"secret": {"hex": "00" * 16}},
        {"sender-id": {"hex": "77"}},
        {"id-context": {"hex": ""}},
        {"id-context": {"hex": "00"}},
        {"kdf-hashfun": "SHA-512"},
        {"algorithm": "A128GCM"},
        {"algorithm": "AES-CCM-16-128-128"},
    ]
    assert len({base, *(name_of(credential(**change)) for change in others)}) == len(others) + 1


def test_a_store_is_told_how_earlier_versions_called_it() -> None:
    """They hashed the derived keys themselves."""
    one = credential()
    request = request_of(one, name_of(one))
    assert (request.fingerprint, request.label, request.basedir) == (name_of(one), ":a", None)
    keys = derive_keys(vectors.SECRET, vectors.SALT, b"", b"\x01")
    assert request.former is not None
    assert request.former(request.source) == former_fingerprint(keys.sender_key, keys.common_iv, b"", 10)
    assert vectors.SECRET.hex() not in repr(request)


@pytest.mark.parametrize("accept_first", [False, True])
def test_a_saved_window_goes_on(accept_first: bool) -> None:
    context = derive(credential())
    restore_window(context, SavedWindow(70, 0b1011, 32), accept_first=accept_first)
    window = context.window
    assert (window.highest, window.void, window.proven) == (70, False, True)
    assert [number for number in range(60, 75) if window.accepts(number)] == [
        *range(60, 67), 68, *range(71, 75),
    ]  # fmt: skip
    assert saved_window(context) == SavedWindow(70, 0b1011, 32)


def test_without_a_window_an_echo_decides_or_the_entry() -> None:
    context = derive(credential())
    restore_window(context, None, accept_first=False)
    assert context.window.void
    assert saved_window(context) is None
    restore_window(context, None, accept_first=True)
    assert not context.window.void
    assert not context.window.proven
    assert saved_window(context) == SavedWindow(-1, 0, 32, proven=False)


def test_what_was_taken_without_proof_stays_so() -> None:
    context = derive(credential())
    restore_window(context, SavedWindow(5, 1, 32, proven=False), accept_first=False)
    assert not context.window.proven
    assert saved_window(context) == SavedWindow(5, 1, 32, proven=False)


def test_a_larger_window_takes_nothing_that_the_smaller_one_may_have_had() -> None:
    context = derive(credential(window=64))
    restore_window(context, SavedWindow(100, 1, 32), accept_first=False)
    assert context.window.accepts(69)
    assert not any(context.window.accepts(number) for number in range(69))


@pytest.mark.parametrize("saved", [SavedWindow(-1, 1, 32), SavedWindow(-2, 0, 32), SavedWindow(1 << 41, 1, 32)])
def test_what_cannot_be_a_window_tells_nothing(saved: SavedWindow) -> None:
    """Fail closed: it is as if nothing were known, whatever the entry says of the first request."""
    context = derive(credential())
    restore_window(context, saved, accept_first=True)
    assert context.window.void


def test_a_shared_window_goes_before_what_was_saved() -> None:
    """Another process may have taken what a window of our own would take once more."""
    shared = ReplayWindow(32)
    context = derive(credential())
    state = State(SavedWindow(70, 1, 32), shared)
    adopt_window(context, state, accept_first=True)  # type: ignore[arg-type]  # stands for one
    assert context.window is shared
    assert state.taken == 0
    alone = State(SavedWindow(70, 1, 32))
    context = derive(credential())
    adopt_window(context, alone, accept_first=False)  # type: ignore[arg-type]  # likewise
    assert (context.window.highest, alone.taken) == (70, 1)
