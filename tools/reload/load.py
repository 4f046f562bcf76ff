"""Other credentials for a server under load: a real process, real clients, and counts of what they noticed.

    tools/reload_under_load [--clients N] [--reloads N] [--how signal|rename|write|directory]

Half of the clients speak DTLS and half OSCORE, each as fast as it is answered; one of each observes. Meanwhile the
server's credentials change: with each change one device is there that was not, and the one before is not any more;
each fifth time the file is broken first. Then a key is rotated as an operator does it, old and new one side by side,
under the same load. What has to hold is checked, and `Counts` says how often:

- nobody whose credential stays fails once, makes a second handshake or loses an observation;
- a device that was added is answered at once; the one that was removed is refused, and its observation ends;
- a broken file changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from support.processes import Program

from securecoap import Code, Context
from securecoap.errors import CoapError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["HOW", "Counts", "run"]

HOW: Final = ("signal", "rename", "write", "directory")
"""How the server hears of a change: SIGHUP, or ``--reload`` and a file that was replaced, written in place, or added to
a directory of files."""
_PATIENCE: Final = 60.0


@dataclass
class Counts:
    """What happened.

    Attributes:
        requests: of steady clients, answered.
        notifications: to steady observers.
        failures: of steady clients; a text each.
        reloads, kept: changes that were taken, and broken ones that changed nothing.
        added, removed: devices that were answered at once, and that were refused at once.
        rotations: keys that were rotated with both halves working meanwhile.
        slowest_refusal: seconds from the server's word that it has read them until a removed one knows.
    """

    requests: int = 0
    notifications: int = 0
    failures: list[str] = field(default_factory=list)
    reloads: int = 0
    kept: int = 0
    added: int = 0
    removed: int = 0
    rotations: int = 0
    slowest_refusal: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.requests} requests and {self.notifications} notifications of steady clients, "
            f"{len(self.failures)} failures; {self.reloads} changes taken, {self.kept} broken ones not; "
            f"{self.added} devices added and answered at once, {self.removed} removed and refused, "
            f"after {self.slowest_refusal * 1000:.0f} ms at most; {self.rotations} keys rotated"
        )


def _credential(kind: str, number: int, *, server: bool) -> dict[str, Any]:
    key = {"hex": f"{number + 1:032x}"}
    if kind == "dtls":
        return {"dtls": {"client-identity": {"ascii": f"device-{number}"}, "psk": key}}
    ours, theirs = ("", f"{number:04x}") if server else (f"{number:04x}", "")
    return {
        "oscore": {"secret": key, "salt": {"hex": "5a"}, "sender-id": {"hex": ours}, "recipient-id": {"hex": theirs}}
    }


class _Removed:
    """A device that is going to be removed, and observes meanwhile."""

    def __init__(self, client: Context, uri: str) -> None:
        self.client = client
        self.uri = uri
        self.heard = self.heard_until_then = 0
        self.watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        with contextlib.suppress(CoapError):
            async for notification in self.client.observe(f"{self.uri}/time"):
                self.heard += notification.code == Code.CONTENT


class _Bench:
    """One server, its file and its clients."""

    def __init__(self, directory: Path, how: str) -> None:
        self.directory = directory
        self.how = how
        self.counts = Counts()
        self.steady: dict[str, Any] = {"coap*://*/store/*": {"any-of": [":device-0", ":device-1"]}}
        self.is_over = False
        self.gone: list[_Removed] = []
        self._filler = False
        self._serial = 0
        self._stack = contextlib.AsyncExitStack()
        self.source = directory / ("credentials.d" if how == "directory" else "server.json")

    def start(self) -> None:
        """Begin to serve."""
        command = [
            sys.executable, "-m", "securecoap", "serve", "--demo", "--bind", "coap://127.0.0.1:0", "coaps://127.0.0.1:0",
            "--credentials", str(self.source), "--state", str(self.directory / "state"), "--log-format", "json",
        ]  # fmt: skip
        if self.how != "signal":
            command.append("--reload")
        self.server = Program(command, directory=self.directory)
        self.uris = {
            "oscore": self.server.wait_for(r"listening (coap://[^\s\"]+)")[1],
            "dtls": self.server.wait_for(r"listening (coaps://[^\s\"]+)")[1],
        }

    def file(self) -> Path:
        """The file that changes."""
        return self.source / "50-changing.json" if self.how == "directory" else self.source

    def write(self, content: dict[str, Any] | str) -> None:
        """Have the file be this, in the way that is asked for."""
        if self.how == "directory":
            self.source.mkdir(exist_ok=True)
            steady = self.source / "10-steady.json"
            if not steady.exists():
                steady.write_text(json.dumps(self.steady))
            if not content and steady.exists() and self.file().exists():
                self.file().unlink()
                return
            text = content if isinstance(content, str) else json.dumps(content)
            beside = self.source / ".changing"
            beside.write_text(text)
            beside.replace(self.file())
            return
        text = content if isinstance(content, str) else json.dumps({**self.steady, **content})
        if self.how == "write":
            with self.file().open(
                "w"
            ) as stream:  # as an editor that does not replace: empty for a moment, then in parts
                for start in range(0, len(text), 4096):
                    stream.write(text[start : start + 4096])
                    stream.flush()
        else:
            beside = self.directory / "server.new"
            beside.write_text(text)
            beside.replace(self.file())

    async def change(self, content: dict[str, Any] | str) -> bool:
        """Write, have the server read, and wait until it says what came of it: whether it took it.

        A file that is written in parts may be read more than once. So that no late word about an earlier one is taken
        for this one's, each has another number of entries than the one before.
        """
        good, bad = self.said()
        if not isinstance(content, str):
            self._filler = not self._filler
            if self._filler:
                content = {**content, ":filler": _credential("dtls", 60_000, server=True)}
        self.write(content)
        if self.how == "signal":
            self.server.signal(signal.SIGHUP)
        async with asyncio.timeout(_PATIENCE):
            while True:
                now_good, now_bad = self.said()
                if isinstance(content, str):
                    if len(now_bad) > len(bad):
                        return False
                elif now_good[len(good) :] and now_good[-1] == len(self.steady) + len(content):
                    return True
                await asyncio.sleep(0.005)

    def said(self) -> tuple[list[int], list[str]]:
        """The numbers of entries that the server has said it read, and its refusals to read any."""
        text = self.server.output
        return [int(one) for one in re.findall(r'"event": "reload", "entries": (\d+)', text)], re.findall(
            r'"event": "reload-failed"', text
        )

    async def client(self, credentials: Any, name: str) -> Context:
        """One that is closed in the end."""
        return await self._stack.enter_async_context(Context.client(credentials, state=self.directory / name))

    async def device(self, kind: str) -> tuple[dict[str, Any], Context, str]:
        """A new one: its entry for the server, its client, its URI."""
        number = self._serial
        self._serial += 1
        scheme = "coaps" if kind == "dtls" else "coap"
        client = await self.client({f"{scheme}://*": _credential(kind, number, server=False)}, f"device-{number}")
        return {f":device-{number}": _credential(kind, number, server=True)}, client, self.uris[kind]

    async def work(self, client: Context, uri: str, number: int) -> None:
        """Be a steady client: reading and writing, always from the same session."""
        counts, remote = self.counts, None
        while not self.is_over:
            try:
                answer = await client.get(f"{uri}/whoami", timeout=30)
                if number < 2 and not counts.requests % 4:
                    answer = await client.put(f"{uri}/store/{number}", b"x" * 100, timeout=30)
            except CoapError as error:
                counts.failures.append(f"device-{number}: {error!r}")
                return
            if answer.code not in (Code.CONTENT, Code.CREATED, Code.CHANGED):
                counts.failures.append(f"device-{number}: {answer.code}")
            elif remote is not None and answer.remote != remote:
                counts.failures.append(f"device-{number}: another session")
            remote = answer.remote
            counts.requests += 1

    async def watch(self, client: Context, uri: str) -> None:
        """Be a steady observer."""
        try:
            async for notification in client.observe(f"{uri}/time"):
                if notification.code != Code.CONTENT:
                    self.counts.failures.append(f"an observer: {notification.code}")
                self.counts.notifications += 1
                if self.is_over:
                    return
        except CoapError as error:
            self.counts.failures.append(f"an observer: {error!r}")

    async def removed(self, gone: _Removed, began: float) -> None:
        """See that a device which is gone is told so."""
        try:
            answer = await gone.client.get(f"{gone.uri}/whoami", timeout=30)
        except CoapError:
            self.counts.removed += 1
        else:
            self.counts.failures.append(f"a device that was removed got {answer.code}")
        self.counts.slowest_refusal = max(self.counts.slowest_refusal, time.monotonic() - began)
        gone.heard_until_then = gone.heard
        self.gone.append(gone)

    async def close(self) -> None:
        """End all; the server has to end well, and have told nothing to those who were removed."""
        for gone in self.gone:
            gone.watching.cancel()
            await asyncio.wait([gone.watching])
            if gone.heard != gone.heard_until_then:
                self.counts.failures.append(f"a device that was removed got {gone.heard - gone.heard_until_then} more")
        await self._stack.aclose()
        self.server.signal(signal.SIGTERM)
        status = await asyncio.to_thread(self.server.wait_for_end)
        if status:
            self.counts.failures.append(f"the server ended with {status}")
        self.server.stop()


async def run(directory: Path, *, clients: int, reloads: int, how: str = "signal", rotates: bool = True) -> Counts:
    """Do it all; see the module.

    Args:
        directory: empty.
        clients: steady ones.
        reloads: changes of the credentials.
        how: one of `HOW`.
        rotates: whether a key of each kind is rotated at the end.
    """
    logging.getLogger("securecoap.state").setLevel(logging.ERROR)  # every client's state is new, and says so
    bench = _Bench(directory, how)
    kinds = ["dtls", "oscore"]
    rotates = rotates and how in ("signal", "rename")  # the command replaces the file, and there is one
    # The server's file is there before its ports are known, so the clients are made after it.
    for number in range(clients):
        bench.steady[f":device-{number}"] = _credential(kinds[number % 2], number, server=True)
    if rotates:
        _pair(directory, bench)
    bench.write({})
    bench.start()
    tasks: list[asyncio.Task[None]] = []
    try:
        for number in range(clients):
            _, client, uri = await bench.device(kinds[number % 2])
            tasks.append(asyncio.create_task(bench.work(client, uri, number)))
            if number < 2:
                tasks.append(asyncio.create_task(bench.watch(client, uri)))
        await _churn(bench, reloads)
        if rotates:
            for kind in kinds:
                await _rotate(bench, kind)
    finally:
        bench.is_over = True
        await asyncio.gather(*tasks)
        await bench.close()
    return bench.counts


async def _churn(bench: _Bench, reloads: int) -> None:
    counts = bench.counts
    before: _Removed | None = None
    for number in range(reloads):
        if number % 5 == 4:
            broken = '{":x": {"dtls": {}}, "coap://*": ":nobody"}' if number % 2 else "{"
            if await bench.change(broken):
                counts.failures.append("a broken file was taken")
            counts.kept += 1
        entry, client, uri = await bench.device(("dtls", "oscore")[number % 2])
        if not await bench.change(entry):
            counts.failures.append("a good file was not taken")
        taken = time.monotonic()
        counts.reloads += 1
        answer = await client.get(f"{uri}/whoami", timeout=30)
        counts.added += answer.code == Code.CONTENT
        if before is not None:
            await bench.removed(before, taken)
        before = _Removed(client, uri)
    if before is not None:
        await bench.change({})
        counts.reloads += 1
        await bench.removed(before, time.monotonic())


# Rotation, as an operator does it.


def _pair(directory: Path, bench: _Bench) -> None:
    """Two devices whose keys will be rotated, made by our own commands."""
    bench.file().write_text(json.dumps(bench.steady))
    for kind in ("dtls", "oscore"):
        _command(
            "pair", kind, f"rotated-{kind}", "--server", str(bench.file()), "--device", str(directory / f"{kind}.json")
        )
    bench.steady = json.loads(bench.file().read_text())


def _command(*arguments: str) -> None:
    with Program([sys.executable, "-m", "securecoap", "credentials", *arguments]) as program:
        if program.wait_for_end():
            raise SystemExit(f"securecoap credentials {arguments[0]}: {program.output}")


async def _rotate(bench: _Bench, kind: str) -> None:
    device, uri = bench.directory / f"{kind}.json", bench.uris[kind]
    old = await bench.client(_for_any_port(device), f"old-{kind}")
    await _expect(bench, old, uri, f"a device with its first key ({kind})")
    arguments = (f"rotated-{kind}", "--server", str(bench.file()), "--device", str(device))
    await _reread(bench, lambda: asyncio.to_thread(_command, "rotate", *arguments))
    new = await bench.client(_for_any_port(device), f"new-{kind}")
    await _expect(bench, new, uri, f"a device with its second key ({kind})")
    await _expect(bench, old, uri, f"a device with its first key beside the second ({kind})")
    await _reread(bench, lambda: asyncio.to_thread(_command, "rotate", *arguments, "--finish"))
    await _expect(bench, new, uri, f"a device with its second key alone ({kind})")
    with contextlib.suppress(CoapError):
        answer = await old.get(f"{uri}/whoami", timeout=30)
        bench.counts.failures.append(f"a key that was rotated away got {answer.code} ({kind})")
    bench.counts.rotations += 1


async def _reread(bench: _Bench, work: Callable[[], Awaitable[None]]) -> None:
    good = len(bench.said()[0])
    await work()
    if bench.how == "signal":
        bench.server.signal(signal.SIGHUP)
    async with asyncio.timeout(_PATIENCE):
        while len(bench.said()[0]) == good:  # noqa: ASYNC110  # another process says it
            await asyncio.sleep(0.005)
    bench.counts.reloads += 1


async def _expect(bench: _Bench, client: Context, uri: str, who: str) -> None:
    try:
        answer = await client.get(f"{uri}/whoami", timeout=30)
        if answer.code == Code.CONTENT:
            return
        bench.counts.failures.append(f"{who}: {answer.code}")
    except CoapError as error:
        bench.counts.failures.append(f"{who}: {error!r}")


def _for_any_port(device: Path) -> dict[str, Any]:
    """A device's file has the default port; the server under test has another one."""
    content = json.loads(device.read_text())
    return {
        (f"{name.partition(':')[0]}://*" if "://" in name else name): value
        for name, value in content.items()
        if name != "$schema"
    }
