"""Real processes: SIGKILL at random points, two owners of one context, a full disk, an fsync that fails."""

import asyncio
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from securecoap.errors import ContextInUse
from securecoap.state.protocol import SavedWindow
from securecoap.state.sqlite import SqliteStateStore
from tests.state.program import key

PROGRAM = Path(__file__).with_name("program.py")
LIMIT = 60
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def start(*arguments, **more):
    environment = dict(os.environ, PYTHONPATH=str(PROGRAM.parents[2]), **more)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.state.program", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=PROGRAM.parents[2],
    )


def test_no_number_twice_over_kills(tmp_path):
    kills = int(os.environ.get("SECURECOAP_TEST_KILLS", "20"))
    seed = int(os.environ.get("SECURECOAP_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    chance = random.Random(seed)
    sys.stdout.write(f"seed {seed} kills {kills}\n")
    log = tmp_path / "log"
    contexts = 3
    for _ in range(kills):
        wanted = chance.choice((1, 2, 63, 64, 65, 200, chance.randrange(1, 5000)))
        with start("number", tmp_path / "state", log, contexts) as process:
            got = 0
            while got < wanted:
                part = os.read(process.stdout.fileno(), min(wanted - got, 4096))
                assert part, "the process ended by itself"
                got += len(part)
            process.send_signal(signal.SIGKILL)
            process.wait(LIMIT)
    used = defaultdict(list)
    lines = log.read_text().splitlines()
    for line in lines:
        index, number = map(int, line.split())
        used[index].append(number)
    assert len(used) == contexts
    for numbers in used.values():
        assert numbers == sorted(set(numbers))
    sys.stdout.write(f"numbers {len(lines)}\n")


@pytest.mark.parametrize("kind", ["sqlite", "basedir"])
def test_one_process_owns_a_context_until_it_is_killed(tmp_path, kind):
    basedir = tmp_path / "context" if kind == "basedir" else None
    (tmp_path / "context").mkdir()

    async def main(process):
        store = SqliteStateStore(tmp_path / "state")
        with pytest.raises(ContextInUse, match=":mine"):
            await store.open(key(1), label=":mine", basedir=basedir, wait=0)
        other = await store.open(key(2), label=":other", wait=0)
        waiting = asyncio.create_task(store.open(key(1), label=":mine", basedir=basedir, wait=LIMIT))
        await asyncio.sleep(0)
        process.send_signal(signal.SIGKILL)
        state = await waiting
        assert state.next_number() > 0
        assert state.take_window() is None
        assert other.next_number() == 0
        await store.close()

    with start("hold", tmp_path, kind) as process:
        assert process.stdout.readline() == b"owned 0\n"
        asyncio.run(main(process))


@pytest.mark.parametrize("kind", ["sqlite", "basedir"])
def test_orderly_end_hands_the_context_over(tmp_path, kind):
    basedir = tmp_path / "context" if kind == "basedir" else None
    (tmp_path / "context").mkdir()

    async def main(process):
        store = SqliteStateStore(tmp_path / "state")
        waiting = asyncio.create_task(store.open(key(1), label=":mine", basedir=basedir, wait=LIMIT))
        await asyncio.sleep(0)
        process.stdin.close()
        state = await waiting
        assert state.next_number() == 1
        window = state.take_window()
        assert window.fit(32).highest == 5
        assert window.fit(32).seen & 0b111111 == SavedWindow(5, 0b11, 32).seen
        await store.close()

    with start("hold", tmp_path, kind) as process:
        assert process.stdout.readline() == b"owned 0\n"
        asyncio.run(main(process))
        assert process.stdout.readline() == b"closed\n"


def test_a_waiter_that_is_cancelled_never_owns(tmp_path):
    async def main(process):
        store = SqliteStateStore(tmp_path / "state")
        waiting = asyncio.create_task(store.open(key(1), label=":mine", wait=LIMIT))
        await store.open(key(2), label=":other", wait=0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        process.stdin.close()
        process.wait(LIMIT)
        state = await store.open(key(1), label=":mine", wait=LIMIT)  # the last attempt may still be at the disk
        assert state.users == 1
        await store.close()

    with start("hold", tmp_path, "sqlite") as process:
        process.stdout.readline()
        asyncio.run(main(process))


def check_went_on(output):
    failed, went_on = output.splitlines()
    assert failed.startswith(b"failed after ")
    assert went_on.startswith(b"went on with ")
    assert int(went_on.split()[-1]) > int(failed.split()[-1])


def test_full_disk_stops_the_numbers_and_room_brings_them_back(tmp_path):
    with start("limited", tmp_path / "state") as process:
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    check_went_on(output)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD")
def test_failing_fsync_stops_the_numbers(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "faulty_sync.so"
    source = PROGRAM.with_name("faulty_sync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=LIMIT)
    switch = tmp_path / "switch"
    with start("sync", tmp_path / "state", switch, LD_PRELOAD=str(library), FAULTY_SYNC=str(switch)) as process:
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    check_went_on(output)


def test_many_processes_make_one_store(tmp_path):
    processes = [start("hold", tmp_path, "sqlite") for _ in range(3)]
    owned = []
    while processes:
        # One owns it; when it is killed, the next one does.
        ready, _, _ = select.select([process.stdout for process in processes], [], [], LIMIT)
        (process,) = [process for process in processes if process.stdout in ready]
        owned.append(int(process.stdout.readline().split()[1]))
        process.kill()
        process.wait(LIMIT)
        process.stdin.close()
        process.stdout.close()
        processes.remove(process)
    assert len(owned) == 3
    assert owned == sorted(set(owned))
