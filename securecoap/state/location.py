"""Where a user's state is kept when nobody says where, and how private directories come to be. Knows no format."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["default_state_directory", "make_private_directory", "sync_directory"]


def default_state_directory() -> Path:
    """The state directory of this user: ``$XDG_STATE_HOME/securecoap``, or what takes its place on this system."""
    # The XDG specification: a relative path in the variable is invalid and to be ignored.
    chosen = os.environ.get("XDG_STATE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen) / "securecoap"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        base = Path(local) if Path(local).is_absolute() else Path.home() / "AppData" / "Local"
        return base / "securecoap" / "state"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "securecoap"
    return Path.home() / ".local" / "state" / "securecoap"


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: they are not.
    """
    if sys.platform == "win32":
        return  # NTFS keeps its names in a journal, and has no such call.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(directory: Path) -> None:
    """Make a directory that only its owner may enter (0700), and durably so; one that exists is left as it is.

    Raises:
        OSError: it cannot be made.
    """
    missing = []
    ancestor = directory
    while not ancestor.is_dir():
        missing.append(ancestor)
        ancestor = ancestor.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            new.mkdir(mode=0o700)
        sync_directory(new.parent)
