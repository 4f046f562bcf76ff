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

if TYPE_CHECKING:
    from pathlib import Path

    from securecoap.oscore.context import SecurityContext

SECRET = {"hex": "0102030405060708090a0b0c0d0e0f10"}


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


def contexts_of(loaded: CredentialsMap, state: Path) -> SecurityContexts:
    expiry = ExpiryWatch(Events(time.monotonic), time.time)
    contexts = SecurityContexts(
        loaded, [], state=state, strict=False, is_server=True, limits=Limits(), expiry=expiry, wait=0.0
    )
    contexts.attach(asyncio.get_running_loop())
    return contexts


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of what is derived."""
    labels: list[str] = []

    def noting(credential: OscoreContext) -> SecurityContext:
        labels.append(credential.label)
        return derive(credential)

    monkeypatch.setattr(companions, "derive", noting)
    return labels


def test_a_context_is_derived_with_the_first_message_for_it_and_never_again(tmp_path: Path, derived: list[str]) -> None:
    async def main() -> None:
        contexts = contexts_of(credentials(), tmp_path)
        await contexts.open_all()
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

    asyncio.run(main())


def test_endpoints_of_a_process_share_what_the_first_of_them_derives(tmp_path: Path, derived: list[str]) -> None:
    async def main() -> None:
        one, two = contexts_of(credentials(), tmp_path), contexts_of(credentials(), tmp_path)
        await one.open_all()
        await two.open_all()
        assert one.find(b"\xb0", None)[0] is two.find(b"\xb0", None)[0]
        await one.close()
        (context,) = two.find(b"\xb0", None)
        assert not context.retired
        assert two.find(b"\xb2", None)[0].sender is not None  # which only the one that stays uses
        await two.close()
        assert derived == [":c0", ":c2"]

    asyncio.run(main())


def test_a_reload_that_does_not_come_about_leaves_windows_as_they_were(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStateStore(tmp_path)
        window = SavedWindow(70, 0b1011, 32)
        name = name_of(first_of(credentials()))
        await (await store.open(name, label="before")).close(window)
        contexts = contexts_of(credentials(0), tmp_path)
        await contexts.open_all()
        await contexts.abandon(await contexts.prepare(credentials()))
        opened = await contexts.prepare(credentials(1))
        await contexts.let_go(contexts.use(credentials(1), opened))
        closings = contexts.use(credentials(0), [])  # it is given up unused; another endpoint takes it in that moment
        beside = contexts_of(credentials(1), tmp_path)
        await beside.open_all()
        await contexts.let_go(closings)
        (context,) = beside.find(b"\xb0", None)
        assert (context.window.highest, context.window.seen, context.window.void) == (70, 0b1011, False)
        await beside.close()
        await contexts.close()
        await store.close()

    asyncio.run(main())


def test_the_window_of_a_context_that_nobody_used_is_saved_as_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStateStore(tmp_path)
        window = SavedWindow(70, 0b1011, 32)
        name = name_of(first_of(credentials()))
        await (await store.open(name, label="before")).close(window)
        for _ in range(2):
            one, two = contexts_of(credentials(), tmp_path), contexts_of(credentials(), tmp_path)
            await one.open_all()
            await two.open_all()
            await one.close()
            await two.close()
        contexts = contexts_of(credentials(), tmp_path)
        await contexts.open_all()
        (context,) = contexts.find(b"\xb0", None)
        assert (context.window.highest, context.window.seen, context.window.void) == (70, 0b1011, False)
        await contexts.close()
        handle = await store.open(name, label="after")
        assert handle.take_window() == window
        assert handle.next_number() == 0
        await store.close()

    asyncio.run(main())


def test_a_reload_before_the_first_message_counts(tmp_path: Path) -> None:
    async def main() -> None:
        contexts = contexts_of(credentials(), tmp_path)
        await contexts.open_all()
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

    asyncio.run(main())


@pytest.mark.parametrize("change", [{"rederive": True}, {"claims": ["more"]}])
def test_other_rules_or_claims_are_refused_before_anything_is_derived(change: dict[str, Any]) -> None:
    async def main() -> None:
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

    asyncio.run(main())


def test_names_are_one_for_what_derives_one_key_and_others_for_others() -> None:
    def name(**change: Any) -> bytes:
        return name_of(first_of(credentials(1, **change)))

    base = name()
    same = [
        name(salt={"hex": ""}),
        name(salt={"hex": "00" * 32}),  # HMAC pads with zeros
        name(algorithm="AES-CCM-16-64-128"),
        name(**{"recipient-id": {"hex": "77"}}),  # the peer's key is not ours
        name(window=64, echo=False),
    ]
    assert set(same) == {base}
    others = [
        name(salt={"hex": "01"}),
        name(secret={"hex": "00" * 16}),
        name(**{"sender-id": {"hex": "77"}}),
        name(**{"id-context": {"hex": ""}}),
        name(**{"id-context": {"hex": "00"}}),
        name(**{"kdf-hashfun": "SHA-512"}),
        name(algorithm="A128GCM"),
        name(algorithm="AES-CCM-16-128-128"),
    ]
    assert len({base, *others}) == len(others) + 1


def test_the_former_name_is_that_of_the_derived_keys() -> None:
    from securecoap.oscore.context import derive_keys
    from securecoap.state.fingerprint import former_fingerprint

    credential = first_of(credentials(1, salt={"hex": "05"}))
    keys = derive_keys(bytes.fromhex(SECRET["hex"]), b"\x05", b"\xa0", b"\xb0")
    request = request_of(credential, b"name")
    assert request.former is not None
    assert request.former(request.source) == former_fingerprint(keys.sender_key, keys.common_iv, b"\xa0", 10)
    assert "0102" not in repr(request)
