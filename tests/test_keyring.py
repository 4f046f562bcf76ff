"""What credentials become: one context object, its window over a restart, and what the keyring remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.derivation import restore_window
from securecoap.errors import ConfigurationError, CredentialsMissing, SessionEnded
from securecoap.keyring import Keyring
from securecoap.oscore.context import SecurityContext
from securecoap.state import SavedWindow
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

OSCORE = {
    "secret": {"hex": "0102030405060708090a0b0c0d0e0f10"},
    "sender-id": {"hex": "01"},
    "recipient-id": {"hex": "12"},
}
SERVER = {":sensor": {"oscore": OSCORE}}
CLIENT = {"coap://gateway.example/*": {"oscore": OSCORE}}


def keyring(
    directory: Path, credentials: dict[str, Any] | str | None = None, bound: tuple[str, ...] = ("::1",)
) -> Keyring:
    made = Keyring(
        SERVER if credentials is None else credentials,
        state=directory, strict_state=False, names=(), bound=bound, limits=Limits(), wait=1.0,
    )  # fmt: skip
    made.attach(asyncio.get_running_loop())
    return made


def test_a_window_that_was_saved_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        ring = keyring(tmp_path)
        assert ring.find(b"\x12", None) == []
        await ring.open_all()
        (context,) = ring.find(b"\x12", None)
        assert context.window.void
        assert ring.found == {(b"\x12", None): [context]}
        context.window.start(7)
        context.window.mark(9)
        await ring.close()
        assert context.retired
        assert ring.find(b"\x12", None) == []
        assert ring.found == {}
        again = keyring(tmp_path)
        await again.open_all()
        (context,) = again.find(b"\x12", None)
        assert [context.window.accepts(number) for number in (6, 7, 8, 9, 10)] == [False, False, True, False, True]
        await again.close()

    asyncio.run(test())


@pytest.mark.parametrize("saved", [SavedWindow(-2, 0, 32), SavedWindow(4, 0b10, 32), SavedWindow(1 << 40, 1, 32)])
def test_what_cannot_be_a_window_leaves_the_void(saved: SavedWindow) -> None:
    context = SecurityContext.derive(bytes(16), b"", b"\x01", b"\x12")
    restore_window(context, saved, accept_first=True)
    assert context.window.void


def test_a_first_request_is_taken_without_echo_only_where_the_entry_says_so() -> None:
    for accept_first in (True, False):
        context = SecurityContext.derive(bytes(16), b"", b"\x01", b"\x12")
        restore_window(context, None, accept_first=accept_first)
        assert context.window.void is not accept_first
        assert not context.window.proven


def test_two_endpoints_of_a_process_have_one_context(tmp_path: Path) -> None:
    async def test() -> None:
        server, client = keyring(tmp_path), keyring(tmp_path, CLIENT, bound=())
        await server.open_all()
        (context,) = server.find(b"\x12", None)
        assert await client.for_request(Message(Code.GET, uri="coap://gateway.example/x")) is context
        await server.close()
        assert not context.retired
        await client.close()
        assert context.retired

    asyncio.run(test())


def test_many_requests_open_a_context_once(tmp_path: Path) -> None:
    async def test() -> None:
        ring = keyring(tmp_path, CLIENT, bound=())
        asked = [ring.for_request(Message(Code.GET, uri="coap://gateway.example/x")) for _ in range(5)]
        assert len({id(context) for context in await asyncio.gather(*asked)}) == 1
        await ring.close()

    asyncio.run(test())


def test_what_needs_a_credential_and_has_none(tmp_path: Path) -> None:
    async def test() -> None:
        bare = Keyring(None, state=tmp_path, strict_state=False, names=(), bound=(), limits=Limits(), wait=1.0)
        assert bare.select(Message(Code.GET, uri="coap://gateway.example/")) is None
        with pytest.raises(CredentialsMissing):
            bare.select(Message(Code.GET, uri="coaps://gateway.example/"))
        await bare.close()

    asyncio.run(test())
    assert list(tmp_path.iterdir()) == []


def test_a_credential_that_expires_ends_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = 1_893_456_000.0  # 2030-01-01
    now = [ends - 0.01]
    monkeypatch.setattr("securecoap.security_contexts.time", SimpleNamespace(time=lambda: now[0]))

    async def test() -> None:
        ring = keyring(tmp_path, {":sensor": {"oscore": OSCORE, "not-after": "2030-01-01T00:00:00Z"}})
        released: asyncio.Queue[tuple[object, Exception]] = asyncio.Queue()
        ring.add_layer(SimpleNamespace(release=lambda *said: released.put_nowait(said)))  # type: ignore[arg-type]  # a stand-in
        await ring.open_all()
        (context,) = ring.find(b"\x12", None)
        with pytest.raises(TimeoutError):  # the timer has run, and the clock says that it is not yet time
            await asyncio.wait_for(released.get(), 0.05)
        now[0] = ends
        ended, error = await asyncio.wait_for(released.get(), 10)
        assert ended is context
        assert isinstance(error, SessionEnded)
        assert ring.find(b"\x12", None) == []
        await ring.close()

    asyncio.run(test())


def test_one_context_under_two_names_in_a_process(tmp_path: Path) -> None:
    """A peer must not be known by the claims of another endpoint's file: the second server does not start."""

    async def test() -> None:
        first, second = keyring(tmp_path), keyring(tmp_path, {":guest": {"oscore": OSCORE}})
        await first.open_all()
        with pytest.raises(ConfigurationError, match=":guest"):
            await second.open_all()
        await second.close()
        (context,) = first.find(b"\x12", None)
        assert not context.retired
        assert context.claims == (":sensor",)
        await first.close()

    asyncio.run(test())


def test_a_session_of_edhoc_does_not_hide_a_configured_context_that_a_reload_brought(tmp_path: Path) -> None:
    """Its identifier was free when it was chosen: one of 48, and devices have numbers like these."""

    async def test() -> None:
        ring = keyring(tmp_path)
        await ring.open_all()
        (configured,) = ring.find(b"\x12", None)
        agreed = SimpleNamespace(find=lambda kid: agreed if kid in (b"\x12", b"\x13") else None)
        ring._edhoc = agreed  # type: ignore[assignment]  # as far as it is asked
        assert ring.find(b"\x12", None) == (agreed, configured)
        assert ring.find(b"\x13", None) == (agreed,)
        ring._edhoc = None
        await ring.close()

    asyncio.run(test())


def test_nothing_counts_as_found_where_sessions_of_edhoc_come_first(tmp_path: Path) -> None:
    async def test() -> None:
        sample = str(Path(__file__).parents[1] / "credentials" / "server-edhoc.json")
        ring = keyring(tmp_path, sample)
        await ring.open_all()
        assert ring._contexts is not None
        ring._contexts.found[b"\x12", None] = []
        assert ring.found == {}
        await ring.close()
        without = keyring(tmp_path)
        assert without._contexts is not None
        assert without.found is without._contexts.found
        await without.close()

    asyncio.run(test())
