"""Reading the fixed part of an OSCORE context directory in aiocoap's form: ``settings.json`` and ``secret.json``.

Either file is enough; a datum must not be in both. Byte values are members whose names end in ``_hex`` or ``_ascii``.
``sequence.json`` and ``lock`` belong to ``state/``: they are not touched here.
"""

from __future__ import annotations

import json
import os.path
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.faults import Place, printable
from securecoap.credentials.sources import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from securecoap.credentials.values import Reading

__all__ = ["read_basedir"]

_FILES: Final = ("settings.json", "secret.json")
_BYTES: Final = ("secret", "salt", "sender-id", "recipient-id", "id-context")
_OTHERS: Final = ("algorithm", "kdf-hashfun", "window")


def read_basedir(reading: Reading, directory: Path, place: Place) -> dict[str, Any] | None:
    """The members as they would stand in an ``oscore`` entry; ``None`` after a fault."""
    data: dict[str, Any] = {}
    found = False
    sound = True
    for name in _FILES:
        path = directory / name
        if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file it raises for no path whatever
            continue
        found = True
        try:
            text = reading.sources.file(path)
            content = json.loads(text)
        except SourceError as error:
            reading.fault(place, f"{name}: {error}")
            sound = False
            continue
        except (ValueError, RecursionError):
            reading.fault(place, f"{name}: not JSON")
            sound = False
            continue
        if not isinstance(content, dict):
            reading.fault(place, f"{name}: an object is expected")
            sound = False
            continue
        if any(member.startswith("secret_") for member in content):
            reading.warn_of_exposure(path, text, place)
        for member, value in content.items():
            key, parsed = _member(reading, member, value, place, name)
            if key is None:
                continue
            if parsed is None:
                sound = False
            if key in data:
                reading.fault(place, f"{name}: {key} is given twice")
                sound = False
            data[key] = parsed
    if not found:
        reading.fault(place, "no context directory: neither settings.json nor secret.json is there")
        return None
    for required in ("secret", "sender-id", "recipient-id"):
        if required not in data:
            reading.fault(place, f"{required} is in neither settings.json nor secret.json")
            sound = False
    return data if sound else None


def _member(reading: Reading, member: str, value: Any, place: Place, file: str) -> tuple[str | None, Any]:
    for suffix, form in (("_hex", "hex"), ("_ascii", "ascii")):
        key = member.removesuffix(suffix)
        if key != member and key in _BYTES:
            # Only inline forms reach this: a context directory cannot name other files or commands.
            return key, reading.octets({form: value} if isinstance(value, str) else value, place)
    if member in _OTHERS:
        return member, value
    if member in _BYTES:
        reading.fault(place, f"{file}: {member} is written as {member}_hex or {member}_ascii")
        return member, None
    reading.report.warning(place, f"{file}: unknown member {printable(member)} is ignored")
    return None, None
