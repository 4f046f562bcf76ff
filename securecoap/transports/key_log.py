"""A file with the secrets of DTLS handshakes, for debugging with tshark (NSS key log format)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securecoap.dtls.parameters import KeyLog

__all__ = ["key_log_file"]


def key_log_file(path: str | os.PathLike[str]) -> KeyLog:
    """A key log that appends to a file which only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.close(descriptor)

    def append(line: str) -> None:
        with Path(path).open("a", encoding="ascii") as file:
            file.write(f"{line}\n")

    return append
