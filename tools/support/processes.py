"""Programs that run beside this one: started, waited for until they say that they are ready, and ended by their id.

Everything listens on loopback, on ports that the system had free.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Program", "ProgramFailed", "free_ports"]

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class ProgramFailed(Exception):
    """A program ended, or did not say in time that it is ready; has what it printed."""


def free_ports(count: int = 1) -> int:
    """The first of ``count`` consecutive UDP ports that are free on 127.0.0.1 and ::1 just now."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            first = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            for number in range(port, port + count):
                if number > port:
                    other = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    other.bind(("127.0.0.1", number))
                if socket.has_ipv6:
                    six = held.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                    six.bind(("::1", number))
            return port


class Program:
    """A child process whose whole output (stdout and stderr together) is kept in a file.

    Args:
        command: program and arguments.
        cores: the cores that it may run on; ``None`` for all.
        environment: variables beside those of this process.
        directory: where it runs.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cores: set[int] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self._log = tempfile.NamedTemporaryFile(prefix="securecoap-", suffix=".log")  # noqa: SIM115  closed in stop()
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,  # some servers end with their standard input
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            cwd=directory,
        )
        if cores is not None:
            os.sched_setaffinity(self._process.pid, cores)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit status, or ``None`` while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What it printed until now."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, *, seconds: float = 20.0) -> re.Match[str]:
        """Wait until its output has a match; return the first.

        Raises:
            ProgramFailed: it ended, or the time did.
        """
        for _ in _ticks(seconds):
            ended = self._process.poll() is not None
            if match := re.search(pattern, self.output, re.MULTILINE):
                return match
            if ended:
                break
        raise ProgramFailed(f"{' '.join(self.command)}: no {pattern!r} in what it printed:\n{self.output}")

    def wait_until_bound(self, port: int, *, seconds: float = 20.0) -> None:
        """Wait until some process has this UDP port, for programs that say nothing when they are ready.

        Raises:
            ProgramFailed: it ended, or the time did.
        """
        wanted = f":{port:04X} "
        for _ in _ticks(seconds):
            for table in ("/proc/net/udp", "/proc/net/udp6"):
                if any(wanted in line[:48] for line in Path(table).read_text().splitlines()[1:]):
                    return
            if self._process.poll() is not None:
                break
        raise ProgramFailed(f"{' '.join(self.command)}: did not listen on {port}:\n{self.output}")

    def wait_for_end(self, *, seconds: float = 30.0) -> int:
        """Wait until it ends by itself; return its exit status."""
        return self._process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, *, seconds: float = 10.0) -> int:
        """End it by its process id, kindly first; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(FileNotFoundError):
            self._log.close()
        return self._process.returncode

    def cpu_seconds(self) -> float:
        """The CPU time that it has used, user and system, of all its threads."""
        try:  # in nanoseconds, where the kernel counts them
            threads = Path(f"/proc/{self.pid}/task").iterdir()
            return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
        except FileNotFoundError:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


def _ticks(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() > end:
            return
        time.sleep(0.02)
