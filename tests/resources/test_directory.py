"""What a directory gives and takes, and that nothing leads out of it: names, links, devices, races, quotas."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.errors import ConfigurationError, PreconditionFailed
from securecoap.resources import directory as module
from securecoap.resources.directory import Directory, Entry, TooManyEntries, is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LET_TICK_PASS = module._let_tick_pass
SECRET = b"what stands outside of the root"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_let_tick_pass", lambda _: None)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A root with some files, and something beside it."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha")
    (root / "sub" / "b.bin").write_bytes(bytes(range(256)) * 16)
    (root / ".hidden").write_bytes(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(SECRET)
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    return root


def serve(root: Path, *, most: int = 1000, free: int = 0) -> Directory:
    return Directory(root, most_entries=most, least_free=free)


def anything(_: bytes | None) -> None:
    """A check that lets everything through."""


def test_reading(base: Path) -> None:
    directory = serve(base)
    part = directory.read(("a.txt",), 0, 100)
    assert (part.payload, part.size, part.start, len(part.etag)) == (b"alpha", 5, 0, 8)
    part = directory.read(("sub", "b.bin"), 1024, 16)
    assert (part.payload, part.size, part.start) == (bytes(range(16)), 4096, 1024)
    assert directory.read(("a.txt",), 100, 100).payload == b""


def test_listing(base: Path) -> None:
    (base / "link").symlink_to(base / "a.txt")
    os.mkfifo(base / "fifo")
    os.close(os.open(os.fsencode(base) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (base / "größe").write_bytes(b"")
    directory = serve(base)
    assert directory.list(()) == [Entry("a.txt", 5), Entry("größe", 0), Entry("sub", None)]
    assert directory.list(("sub",)) == [Entry("b.bin", 4096), Entry("deep", None)]
    assert directory.list(("sub", "deep")) == []
    for names in (("nothing",), ("a.txt",), ("a.txt", "x"), ("link",), ("fifo",)):
        with pytest.raises(FileNotFoundError):
            directory.list(names)


# Names.


@pytest.mark.parametrize(
    "segment",
    ["", ".", "..", "...", ".hidden", ".well-known", "a/b", "/", "/etc/passwd", "../secret", "a/../../secret", "a\0",
     "\0", "a\0.txt", "x" * 256, "ä" * 128],
)  # fmt: skip
def test_what_is_no_name(segment: str) -> None:
    assert not is_name(segment)


@pytest.mark.parametrize(
    "segment", ["a", "a.txt", "x" * 255, "%2e%2e", "C:", "CON", "a\\b", "~", " ", "a b", "größe", "-rf", "*"]
)  # fmt: skip
def test_what_is_a_name(segment: str) -> None:
    """What is special elsewhere is a name like any other here: nothing is decoded, expanded or split."""
    assert is_name(segment)


def test_a_percent_sign_is_a_percent_sign(base: Path) -> None:
    directory = serve(base)
    for names in (
        ("%2e%2e", "secret"),
        ("sub%2fb.bin",),
        ("a%2etxt",),
        ("sub\\b.bin",),
        ("~",),
        ("A.TXT",),
        ("a.txt.",),
    ):
        with pytest.raises(FileNotFoundError):
            directory.read(names, 0, 1)
    (base / "%41").write_bytes(b"as it is")
    assert directory.read(("%41",), 0, 100).payload == b"as it is"


def test_names_that_are_too_long_lead_nowhere(base: Path) -> None:
    directory = serve(base)
    for names in (("x" * 300,), ("sub",) * 3000, ("x" * 255,) * 300):
        with pytest.raises(FileNotFoundError):
            directory.read(names, 0, 1)
        with pytest.raises(FileNotFoundError):
            directory.list(names)


# What is no file.


def special(root: Path) -> Iterator[str]:
    """Names in the root of what must not be served."""
    (root / "to-file").symlink_to(root.parent / "secret")
    (root / "to-directory").symlink_to(root.parent / "outside")
    (root / "inside").symlink_to("a.txt")
    (root / "dangling").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    os.mkfifo(root / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    try:
        here = os.getcwd()  # noqa: PTH109  # a socket's path is short
        os.chdir(root)
        listener.bind("socket")
        os.chdir(here)
    finally:
        listener.close()
    yield from ("to-file", "inside", "dangling", "self", "fifo", "socket")
    if os.geteuid() == 0:
        try:
            os.mknod(root / "device", 0o666 | 0o020000, os.makedev(1, 5))  # a zero device never ends
        except PermissionError:  # pragma: no cover  # a container may forbid it
            return
        yield "device"


def test_links_devices_and_pipes(base: Path) -> None:
    directory = serve(base)
    for name in special(base):
        several: list[tuple[str, ...]] = [(name,), (name, "secret")]
        for names in several:
            with pytest.raises(FileNotFoundError):
                directory.read(names, 0, 100)
            with pytest.raises(FileNotFoundError):
                directory.list(names)
        with pytest.raises(PermissionError):
            directory.write((name,), b"new", anything)
        with pytest.raises(PermissionError):
            directory.delete((name,), anything)
        with pytest.raises(FileNotFoundError):
            directory.write((name, "new"), b"new", anything)
        assert os.path.lexists(base / name)
    for names in (("to-directory", "secret"), ("to-directory", "deep", "x")):
        with pytest.raises(FileNotFoundError):
            directory.read(names, 0, 100)
        with pytest.raises(FileNotFoundError):
            directory.write(names, b"new", anything)
        assert not directory.delete(names, anything)
    with pytest.raises(FileNotFoundError):
        directory.list(("to-directory",))
    assert (base.parent / "secret").read_bytes() == SECRET
    assert sorted(os.listdir(base.parent / "outside")) == ["secret"]  # noqa: PTH208  # names only


def test_a_link_that_comes_between_look_and_open(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that a race has to hit: what was looked at is another thing when it is opened."""
    directory = serve(base)
    looked = os.stat

    def swap(path: Any, **options: Any) -> os.stat_result:
        found = looked(path, **options)
        if path == b"a.txt":
            (base / "a.txt").unlink()
            (base / "a.txt").symlink_to(base.parent / "secret")
        elif path == b"sub":
            (base / "sub").rename(base / "moved")
            (base / "sub").symlink_to(base.parent / "outside")
        return found

    monkeypatch.setattr(os, "stat", swap)
    for names in (("a.txt",), ("sub", "secret")):
        with pytest.raises(FileNotFoundError):
            directory.read(names, 0, 100)


def test_a_pipe_that_comes_between_look_and_open(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = serve(base)
    looked = os.stat

    def swap(path: Any, **options: Any) -> os.stat_result:
        found = looked(path, **options)
        if path == b"a.txt":
            (base / "a.txt").unlink()
            os.mkfifo(base / "a.txt")
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(FileNotFoundError):
        directory.read(("a.txt",), 0, 100)


def test_a_link_that_comes_and_goes(base: Path) -> None:
    """A race in earnest: thousands of requests while a directory and a link out of the root change places."""
    directory = serve(base)
    (base / "door").mkdir()
    (base / "door" / "secret").write_bytes(b"inside")
    (base / "link").symlink_to(base.parent / "outside")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for one, other in (("door", "x"), ("link", "door"), ("door", "link"), ("x", "door")):
                os.rename(base / one, base / other)  # noqa: PTH104  # the faster one

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        seen = set()
        for number in range(1_000_000):
            if number >= 3000 and b"inside" in seen:
                break
            try:
                seen.add(directory.read(("door", "secret"), 0, 100).payload)
                if number % 10 == 0:
                    directory.write(("door", "new"), b"new", anything)
            except (FileNotFoundError, BlockingIOError):
                seen.add(b"")
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"inside", b""}
    assert b"inside" in seen
    assert (base.parent / "outside" / "secret").read_bytes() == SECRET
    assert sorted(os.listdir(base.parent / "outside")) == ["secret"]  # noqa: PTH208  # names only


def test_another_spelling_of_a_name(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system takes several spellings for a file, only the directory's own is served.

    A policy for ``/a.txt`` would not hold for ``/A.TXT``.
    """
    looked, opened = os.stat, os.open

    def real(path: Any) -> Any:
        return path.lower().rstrip(b".") or path if isinstance(path, bytes) else path

    monkeypatch.setattr(os, "stat", lambda path, **options: looked(real(path), **options))
    monkeypatch.setattr(os, "open", lambda path, *more, **options: opened(real(path), *more, **options))
    (base / "123").write_bytes(b"digits")
    directory = serve(base)
    assert directory.read(("a.txt",), 0, 100).payload == b"alpha"
    assert directory.read(("123",), 0, 100).payload == b"digits"
    for names in (("A.TXT",), ("a.TXT",), ("a.txt.",), ("SUB", "b.bin"), ("123.",)):
        with pytest.raises(FileNotFoundError):
            directory.read(names, 0, 100)
        with pytest.raises(FileNotFoundError):
            directory.write(names, b"", anything)
        directory.delete(names, anything)
    with pytest.raises(FileNotFoundError):
        directory.list(("Sub",))
    assert directory.read(("sub", "b.bin"), 0, 1).size == 4096


def test_hard_links_that_differ_in_case_are_names(base: Path) -> None:
    (base / "A.TXT").hardlink_to(base / "a.txt")
    assert serve(base).read(("A.TXT",), 0, 100).payload == b"alpha"


# States.


def test_the_entity_tag_changes_with_the_file(base: Path) -> None:
    directory = serve(base)
    path = base / "a.txt"
    before = os.stat(path)  # noqa: PTH116  # the times in it
    tags = [directory.read(("a.txt",), 0, 1).etag]
    assert directory.read(("a.txt",), 3, 1).etag == tags[0]
    _later(base)
    path.write_bytes(b"omega")  # of the same length
    tags.append(directory.read(("a.txt",), 0, 1).etag)
    _later(base)
    path.write_bytes(b"gamma")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # and made to look as old
    tags.append(directory.read(("a.txt",), 0, 1).etag)
    _later(base)
    directory.write(("a.txt",), b"delta", anything)
    tags.append(directory.read(("a.txt",), 0, 1).etag)
    assert len(set(tags)) == len(tags)


def _later(base: Path) -> None:
    """Go on when the clock of the file system has."""
    probe = base / ".probe"
    probe.write_bytes(b"")
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        probe.write_bytes(b"")


def test_a_file_of_this_very_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    """Two changes within one tick of the clock have the same times: no entity-tag is given before the tick is over."""
    monkeypatch.undo()
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    changed = (base / "a.txt").stat().st_ctime_ns / 1e9
    for now, expected in ((changed + 0.005, True), (changed, True), (changed + 0.5, False), (changed - 100, False)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        waited.clear()
        serve(base).read(("a.txt",), 0, 1)
        assert bool(waited) is expected
        assert all(0 < one <= 0.02 for one in waited)


def test_a_file_that_changes_while_it_is_read(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = serve(base)
    path = base / "a.txt"
    read = os.pread
    changes = iter(range(2))

    def changing(*arguments: Any) -> bytes:
        payload = read(*arguments)
        if next(changes, None) is not None:
            _later(base)
            path.write_bytes(b"omega")
        return payload

    monkeypatch.setattr(os, "pread", changing)
    assert directory.read(("a.txt",), 0, 100).payload == b"omega"
    changes = iter(range(100))
    with pytest.raises(BlockingIOError):
        directory.read(("a.txt",), 0, 100)


# Writing.


def test_writing_and_deleting(base: Path) -> None:
    directory = serve(base)
    assert directory.write(("new.txt",), b"one", anything)
    assert not directory.write(("new.txt",), b"two", anything)
    assert (base / "new.txt").read_bytes() == b"two"
    assert directory.write(("sub", "deep", "x"), bytes(300_000), anything)
    assert directory.read(("sub", "deep", "x"), 0, 1).size == 300_000
    assert directory.delete(("new.txt",), anything)
    assert not directory.delete(("new.txt",), anything)
    assert not directory.delete(("nowhere", "new.txt"), anything)
    for names in (("sub",), ("sub", "deep")):
        with pytest.raises(IsADirectoryError):
            directory.write(names, b"", anything)
        with pytest.raises(IsADirectoryError):
            directory.delete(names, anything)
        with pytest.raises(IsADirectoryError):
            directory.read(names, 0, 1)
    for names in (("nowhere", "x"), ("a.txt", "x")):
        with pytest.raises(FileNotFoundError):
            directory.write(names, b"", anything)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_permissions_stay(base: Path, mode: int) -> None:
    path = base / "a.txt"
    path.chmod(mode)
    serve(base).write(("a.txt",), b"new", anything)
    assert path.stat().st_mode & 0o7777 == mode


def test_a_new_file_has_the_umask_and_nothing_special(base: Path) -> None:
    before = os.umask(0o027)
    try:
        serve(base).write(("new",), b"", anything)
    finally:
        os.umask(before)
    assert (base / "new").stat().st_mode & 0o7777 == 0o640
    (base / "new").chmod(0o4755)
    serve(base).write(("new",), b"", anything)
    assert (base / "new").stat().st_mode & 0o7777 == 0o755


def test_a_hard_link_is_not_written_through(base: Path) -> None:
    (base / "hard").hardlink_to(base.parent / "secret")
    serve(base).write(("hard",), b"new", anything)
    assert (base.parent / "secret").read_bytes() == SECRET


def test_the_check_sees_the_present_state_and_stops_everything(base: Path) -> None:
    directory = serve(base)
    seen: list[bytes | None] = []

    def refuse(etag: bytes | None) -> None:
        seen.append(etag)
        raise PreconditionFailed

    for names in (("a.txt",), ("new",)):
        with pytest.raises(PreconditionFailed):
            directory.write(names, b"new", refuse)
        with pytest.raises(PreconditionFailed):
            directory.delete(names, refuse)
    with pytest.raises(PreconditionFailed):
        directory.delete(("nowhere", "new"), refuse)
    etag = directory.read(("a.txt",), 0, 1).etag
    assert seen == [etag, etag, None, None, None]
    assert (base / "a.txt").read_bytes() == b"alpha"
    assert not (base / "new").exists()


@pytest.mark.parametrize("fails", ["write", "fsync", "rename", "fchmod"])
def test_what_fails_leaves_everything_as_it_was(base: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    before = sorted(os.listdir(base))  # noqa: PTH208  # hidden ones, too
    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="broken"):
        serve(base).write(("a.txt",), b"new", anything)
    monkeypatch.undo()
    assert sorted(os.listdir(base)) == before  # noqa: PTH208  # as above
    assert (base / "a.txt").read_bytes() == b"alpha"


def test_it_is_durable_before_it_is_seen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("fsync", "rename"):
        real: Callable[..., Any] = getattr(os, name)

        def noted(*args: Any, _real: Any = real, _name: str = name, **more: Any) -> Any:
            done.append(_name)
            return _real(*args, **more)

        monkeypatch.setattr(os, name, noted)
    serve(base).write(("a.txt",), b"new", anything)
    assert done == ["fsync", "rename", "fsync"]


def test_bounds(base: Path) -> None:
    directory = serve(base, most=5)  # hidden ones count: they take room, too
    directory.write(("new",), b"", anything)
    with pytest.raises(TooManyEntries):
        directory.write(("newer",), b"", anything)
    directory.write(("a.txt",), b"no new one", anything)
    for number in range(5):
        (base / f"other{number}").write_bytes(b"")
    with pytest.raises(TooManyEntries):
        directory.list(())
    assert directory.read(("other1",), 0, 1).size == 0
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        serve(base, free=1 << 60).write(("a.txt",), b"new", anything)
    assert caught.value.errno == errno.ENOSPC
    assert (base / "a.txt").read_bytes() == b"no new one"


def test_writers_of_several_processes_take_turns(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each adds to what it has checked: with two writers at once something would be lost."""
    monkeypatch.setattr(module, "_let_tick_pass", LET_TICK_PASS)
    writers = [serve(base), serve(base)]
    (base / "count").write_bytes(b"0")

    def add(directory: Directory) -> None:
        done = 0
        while done < 20:
            part = directory.read(("count",), 0, 10)
            with suppress(PreconditionFailed):
                directory.write(("count",), b"%d" % (int(part.payload) + 1), partial(require, part.etag))
                done += 1

    with ThreadPoolExecutor(2) as pool:
        for result in [pool.submit(add, one) for one in writers]:
            result.result()
    assert (base / "count").read_bytes() == b"40"


def require(known: bytes, etag: bytes | None) -> None:
    if etag != known:
        raise PreconditionFailed


def test_descriptors_are_given_back(base: Path) -> None:
    directory = serve(base)
    for name in special(base):
        assert name
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names only
    for names in (("a.txt",), ("sub", "b.bin"), ("sub",), ("fifo",), ("to-file",), ("sub", "nothing"), ("a.txt", "x")):
        for what in (
            lambda names=names: directory.read(names, 0, 1),
            lambda names=names: directory.list(names),
            lambda names=names: directory.write(names, b"", anything),
            lambda names=names: directory.delete(names, anything),
        ):
            try:
                what()
            except OSError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # as above


# The root.


def test_a_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match=root.name):
            serve(root)


def test_the_root_may_be_a_link_that_is_turned(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version").write_text(name)
    link = tmp_path / "current"
    link.symlink_to("one")
    directory = serve(link)
    assert directory.read(("version",), 0, 10).payload == b"one"
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    assert directory.read(("version",), 0, 10).payload == b"two"
    assert [entry.name for entry in directory.list(())] == ["version"]


def test_a_relative_root_does_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    directory = Directory("root", most_entries=10, least_free=0)
    monkeypatch.chdir("/")
    assert directory.read(("x",), 0, 1).payload == b"x"


def test_what_may_not_be_read_is_not_there(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def deny(path: Any, *more: Any, **options: Any) -> int:
        if path == b"a.txt":
            raise PermissionError(errno.EACCES, "no")
        return opened(path, *more, **options)

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(FileNotFoundError):
        serve(base).read(("a.txt",), 0, 1)
