"""Locks within one process; what they do among processes is in test_processes."""

import sys

import pytest

from securecoap.state import locks
from securecoap.state.locks import FileLock, RangeLocks


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    flock = locks.fcntl.flock

    def late(descriptor, how):
        path.unlink()  # as aiocoap does when it lets go
        flock(descriptor, how)

    with monkeypatch.context() as patch:
        patch.setattr(locks.fcntl, "flock", late)
        assert FileLock.acquire(path) is None
    FileLock.acquire(path).release()


def test_lock_through_a_link_is_refused(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        FileLock.acquire(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_range_locks_are_one_object_for_a_file_until_the_last_close(tmp_path):
    first, second = RangeLocks.shared(tmp_path / "lock"), RangeLocks.shared(tmp_path / "." / "lock")
    assert first is second
    assert first.acquire(1)
    first.close()
    assert second.in_place()
    second.release(1)
    second.close()
    assert not RangeLocks._of_process
