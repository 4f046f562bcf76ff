"""A program on a terminal of its own: keys are typed, and what it shows is waited for.

The terminal answers where its cursor is when it is asked, and is no more than that.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

__all__ = ["PseudoTerminal"]

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")
_TAKE = 'exec "$@" <"$0" >"$0" 2>"$0"'  # a session leader that opens a terminal has it from then on
_PATIENCE = 30.0
_PACKAGE = (sys.executable, "-m", "securecoap")


class PseudoTerminal:
    """A command, of this package unless another program is named, with a terminal as stdin, stdout and stderr."""

    def __init__(
        self, *arguments: object, environment: dict[str, str] | None = None, program: tuple[str, ...] = _PACKAGE
    ) -> None:
        self._master, slave = pty.openpty()
        self._slave: int | None = slave  # open until the program has it: a terminal that nobody has is closed
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        command = [*program, *map(str, arguments)]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _TAKE, os.ttyname(slave), *command],
            env={**os.environ, "TERM": "xterm", **(environment or {})},
            start_new_session=True,
        )
        self._shown = ""
        self._seen = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)
        self._let_go()

    def _let_go(self) -> None:
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until something is shown, behind what was expected before, and return it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            match = re.compile(pattern).search(self.text, self._seen)
            if match:
                self._seen = match.end()
                return match
            if not self._read(deadline):
                raise AssertionError(f"no {pattern!r} in {self.text[self._seen :]!r}")

    @property
    def text(self) -> str:
        """All that was shown, without colours and movements."""
        return _SEQUENCE.sub("", self._shown).replace("\r", "")

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the last program has closed it
            return False
        self._let_go()
        for _ in range(piece.count(b"\x1b[6n")):
            os.write(self._master, b"\x1b[1;1R")
        self._shown += piece.decode(errors="replace")
        return bool(piece)

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        while self._read(time.monotonic() + _PATIENCE):
            pass
        return self._process.wait(_PATIENCE)
