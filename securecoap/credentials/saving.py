"""Writing a credentials file: whole or not at all, for its owner's eyes, and only if it would load.

Must not know how entries are made.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from securecoap.credentials.loading import load_entries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from securecoap.credentials.sources import Sources

__all__ = ["save"]


def save(path: str | os.PathLike[str], data: Mapping[str, Any], *, sources: Sources | None = None) -> tuple[str, ...]:
    """Replace a credentials file durably: after a crash there is the old one or the new one.

    Args:
        path: the file; made with mode 0600, whatever the old one had, since it holds keys.
        data: the entries, as they would be read.
        sources: where ``file``, ``env`` and ``command`` values come from.

    Returns:
        The warnings that loading the file will give.

    Raises:
        CredentialsFault: the entries are faulty; the old file stays.
        OSError: the file cannot be written; the old file stays.
    """
    target = Path(path)
    _, warnings = load_entries([data], base=target.parent, outside=sources)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mkstemp gives mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return warnings
