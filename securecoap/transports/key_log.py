"""A file with the secrets of DTLS handshakes, for debugging with tshark (NSS key log format)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securecoap.dtls.parameters import KeyLog

__all__ = ["key_log_file"]

_log = logging.getLogger(__name__)


def key_log_file(path: str | os.PathLike[str]) -> KeyLog:
    """A key log that appends to a file which only its owner may read.

    The log has a warning that there is one. Lines that cannot be written (a full disk) are lost, and the handshakes go
    on; the log says so once.

    Raises:
        OSError: the file cannot be opened.
    """
    was_told = False
    descriptor = _opened(path)
    try:
        is_open_to_others = bool(os.fstat(descriptor).st_mode & 0o077)
    finally:
        os.close(descriptor)
    _log.warning(
        "%s: the secrets of DTLS sessions are written here, and who reads them can decrypt everything%s",
        path,
        "; others than its owner may read it" if is_open_to_others else "",
        extra={"fields": {"event": "keylog", "file": os.fspath(path)}},
    )

    def append(line: str) -> None:
        nonlocal was_told
        try:
            with os.fdopen(_opened(path), "a", encoding="ascii") as file:
                file.write(f"{line}\n")
        except OSError as error:
            if not was_told:
                _log.warning("%s: secrets of handshakes cannot be written: %s", path, error.strerror)
            was_told = True

    return append


def _opened(path: str | os.PathLike[str]) -> int:
    """Each time for its owner only: who takes the file away must not get one that is open to others in its place."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
