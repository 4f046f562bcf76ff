"""State in aiocoap's form: what its sequence.json says and is made to say, faults, and taking turns with aiocoap itself."""

import asyncio
import json
import logging
import os
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.errors import ContextInUse, StateError
from securecoap.oscore.window import ReplayWindow
from securecoap.state import basedir
from securecoap.state.basedir import parse_sequence, sequence_text
from securecoap.state.handle import FIRST_CHUNK
from securecoap.state.locks import FileLock
from securecoap.state.protocol import MAX_SEQUENCE_NUMBER, SavedWindow, StateRequest
from securecoap.state.sqlite import SqliteStateStore
from securecoap.state.table import PROCESS
from tests.interop.harness import aiocoap_module
from tests.state.test_handle import number

FP = bytes(range(32))


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    yield
    assert not PROCESS._entries


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


async def use_up(state, used):
    while True:
        used.append(await number(state))


def sequence(directory):
    return json.loads((directory / "sequence.json").read_bytes())


def use(tmp_path, work, **more):
    """Run ``work(state)`` on a context directory, and close in order."""

    async def main():
        store = SqliteStateStore(tmp_path / "state", **more)
        try:
            state = await store.open(FP, label=":a", basedir=tmp_path, wait=0)
            return await work(state)
        finally:
            await store.close()

    return asyncio.run(main())


def test_reservation_and_unknown_window_are_in_the_file_before_use(tmp_path):
    (tmp_path / "sequence.json").write_text('{"next-to-send": 70, "received": {"index": 5, "bitfield": 5}}')

    async def work(state):
        assert sequence(tmp_path) == {"next-to-send": 70 + FIRST_CHUNK, "received": "unknown"}
        assert state.take_window() == SavedWindow(7, 0b101, 3)
        used = []
        for _ in range(3000):
            used.append(await number(state))
            assert sequence(tmp_path)["next-to-send"] > used[-1]
            assert sequence(tmp_path)["received"] == "unknown"
        assert used == list(range(70, 3070))
        await state.close(SavedWindow(40, (1 << 31) | 1, 32))

    use(tmp_path, work)
    assert sequence(tmp_path) == {"next-to-send": 3070, "received": {"index": 9, "bitfield": (1 << 31) | 1}}
    assert not (tmp_path / "state").exists()
    assert names_in(tmp_path) == ["lock", "sequence.json"]


def test_missing_file_is_a_warning_or_with_strict_an_error(tmp_path, caplog):
    async def work(state):
        assert state.take_window() is None
        return state.next_number()

    with pytest.raises(StateError, match=":a"):
        use(tmp_path, work, strict=True)
    assert not (tmp_path / "sequence.json").exists()
    with caplog.at_level(logging.WARNING):
        assert use(tmp_path, work) == 0
        assert len(caplog.records) == 1
        assert ":a" in caplog.text
        caplog.clear()
        assert use(tmp_path, work, strict=True) == 1
        assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_only_the_owner_can_read(tmp_path):
    async def work(state):
        for name in ("sequence.json", "lock"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    before = os.umask(0)
    try:
        use(tmp_path, work)
    finally:
        os.umask(before)


def test_failing_fsync_hands_out_nothing_and_leaves_no_litter(tmp_path):
    fault = False

    def sync(descriptor):
        if fault:
            raise OSError(5, "Input/output error")
        os.fsync(descriptor)

    async def work(state):
        nonlocal fault
        fault = True
        used = []
        with pytest.raises(StateError, match="Input/output"):
            await use_up(state, used)
        fault = False
        await number(state)
        assert len(used) == FIRST_CHUNK
        assert names_in(tmp_path) == ["lock", "sequence.json"]

    use(tmp_path, work, sync=sync)


def test_failing_sync_of_the_directory_hands_out_nothing(tmp_path, monkeypatch):
    async def work(state):
        def broken(_directory):
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(basedir, "sync_directory", broken)
            while state.next_number() is not None:
                pass
            with pytest.raises(StateError):
                await state.reserve()

    use(tmp_path, work)


def test_file_that_vanishes_stops_the_numbers(tmp_path):
    async def work(state):
        (tmp_path / "sequence.json").unlink()
        with pytest.raises(StateError, match="deleted"):
            await use_up(state, [])

    use(tmp_path, work)


def test_lock_that_was_removed_and_made_anew_by_another_is_waited_for(tmp_path):
    lock = FileLock.acquire(tmp_path / "lock")
    assert FileLock.acquire(tmp_path / "lock") is None

    async def work(_state):
        raise AssertionError

    with pytest.raises(ContextInUse):
        use(tmp_path, work)
    lock.release()
    lock.release()
    FileLock.acquire(tmp_path / "lock").release()


def test_two_stores_share_a_directory_and_the_last_closes_it(tmp_path):
    async def main():
        first, second = SqliteStateStore(tmp_path / "state"), SqliteStateStore(tmp_path / "state")
        state = await first.open(FP, label=":a", basedir=tmp_path)
        assert await second.open(FP, label=":a", basedir=tmp_path / "." / "") is state
        await first.close()
        used = [await number(state) for _ in range(1000)]
        assert used == list(range(1000))
        await second.close()
        assert state.next_number() is None

    asyncio.run(main())


def test_open_many_mixes_places_and_gives_all_back_if_one_fails(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "sequence.json").write_text("[]")
    (tmp_path / "good").mkdir()

    async def main():
        store = SqliteStateStore(tmp_path / "state")
        inside = StateRequest(bytes(32), ":inside")
        good = StateRequest(FP, ":good", tmp_path / "good")
        with pytest.raises(StateError, match=":bad"):
            await store.open_many([good, inside, StateRequest(bytes([1]) * 32, ":bad", tmp_path / "bad")])
        states = await store.open_many([good, inside])
        assert [state.label for state in states] == [":good", ":inside"]
        assert [state.users for state in states] == [1, 1]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"next-to-send": 1}',
        b'{"received": "unknown"}',
        b'{"next-to-send": -1, "received": "unknown"}',
        b'{"next-to-send": true, "received": "unknown"}',
        b'{"next-to-send": 1.0, "received": "unknown"}',
        b'{"next-to-send": 1099511627777, "received": "unknown"}',
        b'{"next-to-send": 1, "received": "lost"}',
        b'{"next-to-send": 1, "received": null}',
        b'{"next-to-send": 1, "received": {"index": 0}}',
        b'{"next-to-send": 1, "received": {"index": -1, "bitfield": 1}}',
        b'{"next-to-send": 1, "received": {"index": 1099511627775, "bitfield": 3}}',
        b'{"next-to-send": 1, "received": {"index": 0, "bitfield": -1}}',
        b"[" * 60000,
        b"\xff",
        b" " * 70000,
        b'{"next-to-send": ' + b"9" * 5000 + b', "received": "unknown"}',
    ],
)
def test_file_that_cannot_be_understood_is_a_state_error(tmp_path, text):
    (tmp_path / "sequence.json").write_bytes(text)

    async def work(_state):
        raise AssertionError

    with pytest.raises(StateError, match=r"sequence\.json"):
        use(tmp_path, work)
    assert (tmp_path / "sequence.json").read_bytes() == text
    FileLock.acquire(tmp_path / "lock").release()


def test_what_aiocoap_writes():
    assert parse_sequence(b'{"next-to-send": 7, "received": "unknown"}') == (7, None)
    assert parse_sequence(b'{"next-to-send": 7, "received": {"index": null, "bitfield": null}}') == (7, None)
    assert parse_sequence(b'{"next-to-send": 0, "received": {"index": 0, "bitfield": 0}}') == (0, SavedWindow(-1, 0, 1))
    assert parse_sequence(b'{"next-to-send": 0, "received": {"index": 9, "bitfield": 0}}') == (0, SavedWindow(8, 1, 1))
    assert parse_sequence(b'{"next-to-send": 1099511627776, "received": "unknown"}')[0] == MAX_SEQUENCE_NUMBER + 1


def test_window_that_was_not_proven_is_unknown_to_aiocoap():
    assert json.loads(sequence_text(3, SavedWindow(5, 1, 32, proven=False)))["received"] == "unknown"


@given(received=st.lists(st.integers(0, 150), max_size=60), size=st.integers(1, 64))
def test_window_means_the_same_in_both_forms(received, size):
    window = ReplayWindow(size)
    for value in received:
        if window.accepts(value):
            window.mark(value)
    text = sequence_text(1, SavedWindow(window.highest, window.seen, size))
    stored = json.loads(text)["received"]
    _, parsed = parse_sequence(text)
    fitted = parsed.fit(size)
    again = ReplayWindow(size)
    again.restore(fitted.highest, fitted.seen)
    for value in range(200):
        # aiocoap's rule: below the index refused, inside by the bit, above the window's end accepted.
        theirs = value >= stored["index"] and (
            value >= stored["index"] + size or not stored["bitfield"] >> (value - stored["index"]) & 1
        )
        assert again.accepts(value) is window.accepts(value) is theirs


@pytest.mark.interop
def test_taking_turns_with_aiocoap(tmp_path):
    oscore = aiocoap_module("aiocoap.oscore")
    (tmp_path / "settings.json").write_text('{"sender-id_hex": "01", "recipient-id_hex": "02"}')
    (tmp_path / "secret.json").write_text('{"secret_hex": "0102030405060708090a0b0c0d0e0f10"}')

    def theirs():
        """One number of theirs, and their window after they have received number 3 (if they can tell)."""
        context = oscore.FilesystemSecurityContext(str(tmp_path))
        with pytest.raises(StateError):
            use(tmp_path, ours)
        taken = context.new_sequence_number()
        if context.recipient_replay_window.is_initialized() and context.recipient_replay_window.is_valid(3):
            context.recipient_replay_window.strike_out(3)
        context._destroy()
        context.lockfile = None
        return taken

    async def ours(state):
        # While we have it, they cannot.
        with pytest.raises(Exception, match="lock"):
            oscore.FilesystemSecurityContext(str(tmp_path))
        window = state.take_window()
        taken = await number(state)
        if window is not None:
            await state.close(window.fit(32))
        return taken, window

    numbers = [theirs()]
    for _ in range(3):
        taken, window = use(tmp_path, ours)
        assert window.fit(32).seen >> (window.highest - 3) & 1
        numbers.append(taken)
        numbers.append(theirs())
    assert numbers == list(range(7))
