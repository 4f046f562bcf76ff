"""A process that uses a state store, driven by a test: ``program.py MODE DIRECTORY ...``. Not a test itself.

``number DIRECTORY LOG COUNT``: numbers COUNT contexts for ever; writes "context number" to LOG before it is used, a dot to stdout after.
``hold DIRECTORY KIND``: owns the context, says "owned", and closes it orderly when stdin ends.
``limited DIRECTORY``: uses numbers while files may not grow any more; says what came of it.
``sync DIRECTORY SWITCH``: the same while fsync fails as long as the file SWITCH exists.
"""

import asyncio
import os
import sys
from pathlib import Path

from securecoap.errors import StateError
from securecoap.state.protocol import SavedWindow, StateRequest
from securecoap.state.sqlite import SqliteStateStore


def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def key(index):
    return bytes([index]) * 32


async def _next(state):
    while (value := state.next_number()) is None:
        await state.reserve()
    return value


async def number(directory, log, count):
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    store = SqliteStateStore(directory)
    states = await store.open_many([StateRequest(key(i), f":{i}") for i in range(int(count))])
    for state in states:
        window = state.take_window()
        assert window is None, window

    async def work(index, state):
        while True:
            value = await _next(state)
            os.write(descriptor, b"%d %d\n" % (index, value))
            os.write(1, b".")
            await asyncio.sleep(0)

    await asyncio.gather(*(work(index, state) for index, state in enumerate(states)))


async def hold(directory, kind):
    store = SqliteStateStore(Path(directory) / "state")
    basedir = Path(directory) / "context" if kind == "basedir" else None
    state = await store.open(key(1), label=":held", basedir=basedir)
    say("owned", await _next(state))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await state.close(SavedWindow(5, 0b11, 32))
    await store.close()
    say("closed")


async def limited(directory):
    import resource

    store = SqliteStateStore(directory)
    state = await store.open(key(1), label=":full")
    size = (Path(directory) / "state.sqlite3-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    numbers = []
    try:
        while True:
            numbers.append(await _next(state))
    except StateError:
        say("failed after", numbers[-1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    say("went on with", await _next(state))


async def sync(directory, switch):
    store = SqliteStateStore(directory)
    state = await store.open(key(1), label=":sync")
    os.close(os.open(switch, os.O_CREAT | os.O_RDWR))
    numbers = []
    try:
        while True:
            numbers.append(await _next(state))
    except StateError:
        say("failed after", numbers[-1])
    os.remove(switch)  # noqa: PTH107 - blocking is what is wanted here
    say("went on with", await _next(state))


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
