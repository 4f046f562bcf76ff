"""The parent's books: which contexts it owns, what it grants of them, and what it saves."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.errors import ConfigurationError, ContextInUse, StateError
from securecoap.state import SqliteStateStore
from securecoap.workers import ledger as ledger_module
from securecoap.workers.ledger import Ledger
from securecoap.workers.memory import SharedMemory
from securecoap.workers.numbers import SharedStore
from securecoap.workers.window import END, NEXT, SharedWindow
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def credentials(*numbers: int, **change: Any) -> CredentialsMap:
    """One context for each number."""
    entries = {}
    for number in numbers:
        entry = {
            "secret": {"hex": "00" * 15 + f"{number:02x}"},
            "sender-id": {"hex": "01"},
            "recipient-id": {"hex": f"a{number:x}"},
        }
        entries[f":{number}"] = {"oscore": entry | change}
    return CredentialsMap.from_dict(entries, role="server")


class Books:
    """A ledger, and a worker's store over the same memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.descriptor = SharedMemory.create()
        self.memory = SharedMemory(self.descriptor)
        self.granted: list[tuple[bytes, str | None]] = []
        self.ledger = self.ledger_here()

    def ledger_here(self) -> Ledger:
        return Ledger(
            self.memory, lambda *told: self.granted.append(told), state=self.directory, strict=False, wait=0.1
        )

    def store(self) -> SharedStore:
        return SharedStore(SharedMemory(self.descriptor), self.ledger.slots, self.ledger.replenish)

    def window(self, name: bytes) -> SharedWindow:
        return SharedWindow(self.memory, *self.ledger.slots[name])


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = Books(tmp_path)
    yield made
    made.memory.close()
    os.close(made.descriptor)


@real
async def test_windows_are_saved_and_numbers_only_rise(books: Books) -> None:
    loaded = credentials(1)
    await books.ledger.open(loaded)
    (name,) = books.ledger.slots
    window = books.window(name)
    assert window.void
    window.offer(bytes(8))
    assert window.challenge is not None
    assert window.start(40)
    state = await books.store().open(name, label=":1")
    numbers = [state.next_number() for _ in range(20)]
    await books.ledger.close()
    books.ledger = books.ledger_here()
    await books.ledger.open(loaded)
    again = books.window(name)
    assert (again.highest, again.void, again.proven) == (40, False, False)
    assert not again.mark(39)
    assert again.mark(41)
    state = await books.store().open(name, label=":1")
    number = state.next_number()
    assert number is not None
    assert number > max(one for one in numbers if one is not None)
    await books.ledger.close()


@real
async def test_a_window_that_was_half_changed_is_not_saved(books: Books, caplog: pytest.LogCaptureFixture) -> None:
    loaded = credentials(1)
    await books.ledger.open(loaded)
    (name,) = books.ledger.slots
    books.window(name).restore(40, 1)
    books.memory.words[books.ledger.slots[name].place] = 1
    await books.ledger.close()
    assert "is void" in caplog.text
    books.ledger = books.ledger_here()
    await books.ledger.open(loaded)
    assert books.window(name).void
    await books.ledger.close()


@real
async def test_numbers_are_granted_again_and_again(books: Books) -> None:
    await books.ledger.open(credentials(1))
    (name,) = books.ledger.slots
    store = books.store()
    state = await store.open(name, label=":1")
    taken: list[int] = []
    while len(taken) < 2_000:
        number = state.next_number()
        if number is None:
            waiting = asyncio.ensure_future(state.reserve())
            while not waiting.done():
                while books.granted:
                    store.granted(*books.granted.pop())
                await asyncio.sleep(0.001)
            await waiting
        else:
            taken.append(number)
    assert taken == sorted(set(taken))
    await books.ledger.close()


@real
async def test_a_disk_that_fails_is_told(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    await books.ledger.open(credentials(1))
    (name,) = books.ledger.slots
    account = books.ledger._accounts[name]

    async def fail() -> None:
        raise StateError("the disk is full")

    account.handle.take_chunk()
    monkeypatch.setattr(type(account.handle), "take_chunk", ledger_chunk)
    monkeypatch.setattr(type(account.handle), "reserve", lambda _: fail())
    books.ledger.replenish(name)
    async with asyncio.timeout(30):
        while not books.granted:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.001)
    assert books.granted == [(name, "the disk is full")]
    monkeypatch.undo()
    await books.ledger.close()


def ledger_chunk(_: Any) -> Any:
    """Nothing is reserved."""
    return type("Chunk", (), {"first": 0, "end": 0})()


@real
async def test_who_holds_a_lock_for_too_long_gets_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_ATTEMPTS", 1)
    await books.ledger.open(credentials(1))
    (name,) = books.ledger.slots
    stopped = SharedMemory(books.descriptor)
    assert stopped.lock(books.ledger.slots[name].place, lambda: None)
    books.ledger.replenish(name)
    async with asyncio.timeout(30):
        while not books.granted:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.001)
    ((_, fault),) = books.granted
    assert fault is not None
    assert "was stopped" in fault
    stopped.unlock(books.ledger.slots[name].place)
    await books.ledger.close()


@real
async def test_contexts_come_and_go(books: Books) -> None:
    await books.ledger.open(credentials(1, 2))
    before = books.ledger.slots
    await books.ledger.open(credentials(2, 3))
    assert len(books.ledger.slots) == 3
    await books.ledger.release(credentials(2, 3))
    after = books.ledger.slots
    assert len(after) == 2
    (kept,) = set(before) & set(after)
    assert before[kept] == after[kept]
    (gone,) = set(before) - set(after)
    books.ledger.replenish(gone)
    assert books.granted == [(gone, "the security context is not used any more")]
    await books.ledger.open(credentials(1, 2, 3))
    assert books.ledger.slots[gone] == before[gone]  # its place was free again
    await books.ledger.close()


@real
async def test_another_programs_context_is_not_had_and_nothing_is_kept(books: Books, tmp_path: Path) -> None:
    from securecoap.derivation import name_of

    both = credentials(1, 2)
    name, *_ = [name_of(one) for one in both.credentials()]  # type: ignore[arg-type]  # they are OSCORE contexts
    other = SqliteStateStore(tmp_path / "elsewhere")
    handle = await other.open(name, label="another's")
    with pytest.raises(ContextInUse):
        await books.ledger.open(both)
    assert not books.ledger.slots
    await handle.close()
    await other.close()
    await books.ledger.open(both)
    assert len(books.ledger.slots) == 2
    await books.ledger.close()


@real
async def test_an_entry_that_accepts_the_first_request(books: Books) -> None:
    await books.ledger.open(credentials(1, echo=False))
    (name,) = books.ledger.slots
    window = books.window(name)
    assert window.mark(3)
    assert not window.proven
    words, place = books.memory.words, books.ledger.slots[name].place
    assert (words[place + NEXT], words[place + END]) == (0, 64)
    await books.ledger.close()


@real
async def test_rules_that_take_effect_with_the_next_start_only(books: Books) -> None:
    await books.ledger.open(credentials(1))
    with pytest.raises(ConfigurationError, match="next start"):
        await books.ledger.open(credentials(1, 2, rederive=True))
    assert len(books.ledger.slots) == 1
    await books.ledger.close()
