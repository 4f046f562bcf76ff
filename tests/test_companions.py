"""What loading makes of credentials, and what their first message makes: one derivation, whoever sends it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import companions
from securecoap.companions import accompany, activate
from securecoap.config import Limits
from securecoap.credentials import CredentialsMap, OscoreContext
from securecoap.derivation import derive, name_of, request_of
from securecoap.errors import ConfigurationError
from securecoap.events import Events
from securecoap.expiry import ExpiryWatch
from securecoap.security_contexts import SecurityContexts
from securecoap.state import MemoryStateStore, SavedWindow, SqliteStateStore
from tests.loopback import real

if TYPE_CHECKING:
    from pathlib import Path

    from securecoap.oscore.context import SecurityContext

SECRET = {"hex": "0102030405060708090a0b0c0d0e0f10"}
WINDOW = SavedWindow(70, 0b1011, 32)


def credentials(count: int = 3, **change: Any) -> CredentialsMap:
    return CredentialsMap.from_dict(
        {
            f":c{number}": {
                "oscore": {"secret": SECRET, "sender-id": {"hex": f"a{number}"}, "recipient-id": {"hex": f"b{number}"}}
                | change
            }
            for number in range(count)
        }
    )


def first_of(loaded: CredentialsMap) -> OscoreContext:
    credential = loaded.credentials()[0]
    assert isinstance(credential, OscoreContext)
    return credential


async def opened(loaded: CredentialsMap, state: Path) -> SecurityContexts:
    """The contexts of a server that has just begun."""
    expiry = ExpiryWatch(Events(time.monotonic), time.time)
    contexts = SecurityContexts(
        loaded, [], state=state, strict=False, is_server=True, limits=Limits(), expiry=expiry, wait=0.0
    )
    contexts.attach(asyncio.get_running_loop())
    await contexts.open_all()
    return contexts


async def saved_before(state: Path) -> SqliteStateStore:
    """A store with a window of the first of `credentials`."""
    store = SqliteStateStore(state)
    await (await store.open(name_of(first_of(credentials())), label="before")).close(WINDOW)
    return store


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of what is derived."""
    labels: list[str] = []

    def noting(credential: OscoreContext) -> SecurityContext:
        labels.append(credential.label)
        return derive(credential)

    monkeypatch.setattr(companions, "derive", noting)
    return labels


@real
async def test_a_context_is_derived_with_the_first_message_for_it_and_never_again(
    tmp_path: Path, derived: list[str]
) -> None:
    contexts = await opened(credentials(), tmp_path)
    assert derived == []
    for _ in range(3):  # a stranger, say, who knows an identifier
        (context,) = contexts.find(b"\xb1", None)
        assert contexts.find(b"\xb9", None) == []
        assert context.label == ":c1"
        assert context.claims == (":c1",)
        assert context.window.void
        assert context.sender is not None
    assert derived == [":c1"]
    await contexts.close()
    assert context.retired


@real
async def test_endpoints_of_a_process_share_what_the_first_of_them_derives(tmp_path: Path, derived: list[str]) -> None:
    one, two = await opened(credentials(), tmp_path), await opened(credentials(), tmp_path)
    assert one.find(b"\xb0", None)[0] is two.find(b"\xb0", None)[0]
    await one.close()
    (context,) = two.find(b"\xb0", None)
    assert not context.retired
    assert two.find(b"\xb2", None)[0].sender is not None  # which only the one that stays uses
    await two.close()
    assert derived == [":c0", ":c2"]


@real
async def test_a_reload_that_does_not_come_about_leaves_windows_as_they_were(tmp_path: Path) -> None:
    store = await saved_before(tmp_path)
    contexts = await opened(credentials(0), tmp_path)
    await contexts.abandon(await contexts.prepare(credentials()))
    await contexts.let_go(contexts.use(credentials(1), await contexts.prepare(credentials(1))))
    closings = contexts.use(credentials(0), [])  # it is given up unused; another endpoint takes it in that moment
    beside = await opened(credentials(1), tmp_path)
    await contexts.let_go(closings)
    (context,) = beside.find(b"\xb0", None)
    assert (context.window.highest, context.window.seen, context.window.void) == (70, 0b1011, False)
    await beside.close()
    await contexts.close()
    await store.close()


@real
async def test_the_window_of_a_context_that_nobody_used_is_saved_as_it_was(tmp_path: Path) -> None:
    store = await saved_before(tmp_path)
    for _ in range(2):
        one, two = await opened(credentials(), tmp_path), await opened(credentials(), tmp_path)
        await one.close()
        await two.close()
    contexts = await opened(credentials(), tmp_path)
    (context,) = contexts.find(b"\xb0", None)
    assert (context.window.highest, context.window.seen, context.window.void) == (70, 0b1011, False)
    await contexts.close()
    handle = await store.open(name_of(first_of(credentials())), label="after")
    assert handle.take_window() == WINDOW
    assert handle.next_number() == 0
    await store.close()


@real
async def test_a_reload_before_the_first_message_counts(tmp_path: Path) -> None:
    contexts = await opened(credentials(), tmp_path)
    renamed = CredentialsMap.from_dict(
        {
            ":other": {
                "oscore": {"secret": SECRET, "sender-id": {"hex": "a0"}, "recipient-id": {"hex": "b0"}},
                "claims": ["reader"],
            }
        }
    )
    await contexts.let_go(contexts.use(renamed, await contexts.prepare(renamed)))
    (context,) = contexts.find(b"\xb0", None)
    assert (context.label, context.claims) == (":other", (":other", "reader"))
    assert contexts.find(b"\xb1", None) == []
    await contexts.close()


@pytest.mark.parametrize("change", [{"rederive": True}, {"claims": ["more"]}])
@real
async def test_other_rules_or_claims_are_refused_before_anything_is_derived(change: dict[str, Any]) -> None:
    store, loop = MemoryStateStore(), asyncio.get_running_loop()
    credential = first_of(credentials())
    entry = {"secret": SECRET, "sender-id": {"hex": "a0"}, "recipient-id": {"hex": "b0"}}
    claims = {"claims": change["claims"]} if "claims" in change else {}
    if not claims:
        entry |= change
    other = first_of(CredentialsMap.from_dict({":c0": {"oscore": entry, **claims}}))
    (handle,) = await store.open_many([request_of(credential, name_of(credential))])
    assert accompany(credential, handle, loop, Limits(), is_server=True) is credential
    with pytest.raises(ConfigurationError, match=":c0: another endpoint of this process"):
        accompany(other, handle, loop, Limits(), is_server=True)
    context = activate(handle, loop, Limits())
    assert handle.companion is context is activate(handle, loop, Limits())
    with pytest.raises(ConfigurationError, match=":c0: another endpoint of this process"):
        accompany(other, handle, loop, Limits(), is_server=True)
    await store.close()
