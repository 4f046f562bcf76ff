"""Where byte values may come from besides the JSON text: files, the environment, the output of a command.

One of the few modules of the room that touch the system. Everything is bounded in
size, and commands in time. Must not know what the bytes are for, and never puts any into an error.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from securecoap.credentials.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["COMMAND_SECONDS", "MAXIMUM_BYTES", "SourceError", "Sources"]

MAXIMUM_BYTES: Final = 1 << 20
"""The most that one value may have: a certificate chain is far below."""

COMMAND_SECONDS: Final = 10.0
"""How long a command may take: it may have to ask a key store over a network, and a start must not hang."""


class SourceError(Exception):
    """A value cannot be had; its text says why, without the value."""


class Sources:
    """Reads outside values. A subclass can be handed to the loader, to replace the system in tests.

    Args:
        environment: for ``env`` values; the process's own by default.
        command_seconds: time limit of each command.

    Attributes:
        permissions: says what others may do to files.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, command_seconds: float = COMMAND_SECONDS
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._seconds = command_seconds
        self.permissions = Permissions()

    def file(self, path: Path) -> bytes:
        """The whole content of a file, as it is.

        Raises:
            SourceError: it cannot be read, or is too large.
        """
        try:
            with path.open("rb") as stream:
                data = stream.read(MAXIMUM_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
            raise SourceError(f"cannot read the file ({reason})") from None
        return _bounded(data)

    def environment(self, name: str) -> bytes:
        """The value of an environment variable, as it is.

        Raises:
            SourceError: it is not set.
        """
        value = self._environment.get(name)
        if value is None:
            raise SourceError("the environment variable is not set")
        return _bounded(os.fsencode(value))

    def command(self, arguments: Sequence[str], directory: Path) -> bytes:
        """What a command writes to its standard output, as it is. There is no shell, no input, and a time limit.

        Raises:
            SourceError: it cannot be started, fails, or takes too long.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the file's owner names the command, and no shell reads it
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=directory,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"the command took longer than {self._seconds:g} s") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable command"
            raise SourceError(f"cannot run the command ({reason})") from None
        if done.returncode != 0:
            raise SourceError(f"the command failed with status {done.returncode}")
        return _bounded(done.stdout)


def _bounded(data: bytes) -> bytes:
    if len(data) > MAXIMUM_BYTES:
        raise SourceError(f"more than {MAXIMUM_BYTES} bytes")
    return data
