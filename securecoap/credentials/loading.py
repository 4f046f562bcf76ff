"""Reading credential files into checked entries.

All documents are read, all faults are reported, and then all is used or nothing. With ``sources.py`` and
``saving.py`` the only module of the room that touches files.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.entries import parse_documents
from securecoap.credentials.exposure import EXPOSED, has_secrets, is_open_to_others
from securecoap.credentials.faults import Document, Place, Report
from securecoap.credentials.keys import end_of
from securecoap.credentials.members import read_members
from securecoap.credentials.models import DtlsX509, Entry
from securecoap.credentials.positions import TOKEN, scan
from securecoap.credentials.resolution import Role, check, leaves, notable, with_claims
from securecoap.credentials.sources import Sources
from securecoap.credentials.uniform import uniform_entry
from securecoap.credentials.values import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOG: Final = logging.getLogger(__name__)

__all__ = ["EXPIRY_DAYS", "MAXIMUM_FILE", "files_of", "load_entries", "octets_in", "read_content"]

EXPIRY_DAYS: Final = 14
"""How long before the end of a key there are warnings."""
MAXIMUM_FILE: Final = 256 * 1024 * 1024
"""Bytes of the largest file: far above 100,000 entries, far below a machine's memory."""

Source = str | os.PathLike[str] | Mapping[Any, Any]


def load_entries(
    sources: Sequence[Source],
    *,
    base: Path | None = None,
    role: Role | None = None,
    outside: Sources | None = None,
    columns: bool = False,
) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """Read, merge and check documents; later ones win.

    Args:
        sources: paths of JSON files, or of directories of them, or objects that were read from JSON.
        base: the directory to which the paths in objects are relative; the working directory by default. Paths in files
            are relative to their file.
        role: what the entries are for, where that makes a difference; the stricter reading if ``None``.
        outside: where ``file``, ``env`` and ``command`` values come from.
        columns: whether texts say the column, too.

    Returns:
        The entries with their claims, in order, and the warnings, which are logged too.

    Raises:
        CredentialsFault: with every fault of every document.
    """
    report = Report(columns=columns)
    reading = Reading(report, outside if outside is not None else Sources())
    documents: list[tuple[Document, Any]] = []
    for source in sources:
        if isinstance(source, Mapping):
            documents.append((Document("", base if base is not None else Path()), source))
        else:
            found = [_read(path, report, entries=True) for path in _expanded(source, report)]
            documents += [document for document in found if document is not None]
    try:
        entries = parse_documents(reading, documents)
        others = notable(entries)
        check(entries, others, report, role)
        _warn_before_expiry(others, report, time.time())
    except RecursionError:
        report.fault(Place(documents[0][0]), "nested too deeply")
    report.raise_faults()
    warnings = report.warnings()
    for document, _ in documents:
        document.text = None
    for warning in warnings:
        _LOG.warning("%s", warning)
    return with_claims(entries, others), warnings


def read_content(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object of a file as it stands there, in its order, to be changed and saved.

    Raises:
        CredentialsFault: it cannot be read, is no JSON object, or has a name twice. What is in it is not checked.
    """
    report = Report()
    found = _read(path, report)
    if found is not None and not isinstance(found[1], dict):
        report.fault(Place(found[0]), "a JSON object is expected")
    report.raise_faults()
    return found[1] if found is not None else {}


def octets_in(directory: Path, outside: Sources | None = None) -> Callable[[Any], bytes | None]:
    """A reader of byte values as they are in files of a directory; it gives ``None`` for what is none, or not there."""
    reading = Reading(Report(), outside if outside is not None else Sources())
    place = Place(Document("", directory))
    return lambda value: reading.octets(value, place)


def files_of(source: str | os.PathLike[str]) -> list[Path]:
    """The files that a path stands for: itself, or of a directory all ``*.json`` by name, hidden ones left out."""
    path = Path(source)
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.glob("*.json") if not one.name.startswith("."))


def _expanded(source: str | os.PathLike[str], report: Report) -> list[str] | list[Path]:
    try:
        if not Path(source).is_dir():
            return [os.fspath(source)]
        found = files_of(source)
    except (OSError, ValueError):  # it cannot be looked at: reading it says why
        return [os.fspath(source)]
    if not found:
        report.fault(Place(Document(os.fspath(source), Path(source))), "there is no *.json in this directory")
    return found


def _warn_before_expiry(others: dict[str, Entry], report: Report, now: float) -> None:
    """Warn of labels whose last key ends soon; what has ended is over, and no surprise any more.

    ``others`` are the entries that are `notable`.
    """
    ends: dict[str, tuple[float, Place]] = {}
    for entry, credential in leaves(others):
        end = credential.validity.not_after
        if isinstance(credential, DtlsX509) and credential.certificates:
            end = min(end, end_of(credential.certificates[0]))
        place = entry.place_of(credential)
        if place is not None and end >= ends.get(credential.label, (float("-inf"),))[0]:
            ends[credential.label] = (end, place)
    for end, place in ends.values():
        if now < end < now + EXPIRY_DAYS * 86400:
            report.warning(place, f"it ends in less than {EXPIRY_DAYS} days")


def _read(source: str | os.PathLike[str], report: Report, *, entries: bool = False) -> tuple[Document, Any] | None:
    """The JSON of a file, or ``None`` after a fault; with ``entries``, those of the uniform form are ones already."""
    name = os.fspath(source)
    path = Path(name)
    nowhere = Place(Document(name, path.parent))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAXIMUM_FILE + 1)
            mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        report.fault(nowhere, f"cannot read the file ({reason})")
        return None
    if len(data) > MAXIMUM_FILE:
        report.fault(nowhere, f"larger than {MAXIMUM_FILE} bytes")
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        report.fault(nowhere, "not UTF-8", line)
        return None
    del data
    document = Document(name, path.parent, text)
    top = Place(document)
    is_open, exposed = is_open_to_others(mode), False
    take = partial(uniform_entry, top=top)

    def look(text: str, position: int) -> tuple[str, Entry, int] | None:
        nonlocal exposed
        found = take(text, position)
        if found is not None and not exposed:
            exposed = has_secrets(json.loads(f"{{{text[position : found[2]]}}}"))
        return found

    content: Any = read_members(text, look if is_open else take) if entries else None
    if content is None:
        found = _parse(document, text, nowhere, report)
        if found is None:
            return None
        content = found[1]
    if exposed or (is_open and has_secrets(_as_written(content))):
        report.warning(top, EXPOSED)
    return document, content


def _as_written(content: Any) -> Any:
    """Without what is an entry already."""
    if isinstance(content, dict):
        return {name: value for name, value in content.items() if type(value) is not Entry}
    return content


def _parse(document: Document, text: str, nowhere: Place, report: Report) -> tuple[Document, Any] | None:
    oddities: list[str] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) != len(members):
            oddities.append("repeated")
        return found

    def constant(name: str) -> float:
        oddities.append(name)
        return 0.0

    try:
        content = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        report.fault(nowhere, f"not JSON: {error.msg} (column {error.colno})", error.lineno)
        return None
    except (ValueError, RecursionError) as error:
        # Beyond what the parser does: numbers of thousands of digits, nesting of thousands of levels.
        report.fault(nowhere, "nested too deeply" if isinstance(error, RecursionError) else "a number is too long")
        return None
    if oddities:
        for path, line in scan(text).repeated:
            report.fault(_at(document, path), "this name is given twice", line)
        for match in TOKEN.finditer(text):
            if match[1] in ("NaN", "Infinity", "-Infinity"):
                line = text.count("\n", 0, match.start(1)) + 1
                report.fault(Place(document), "not JSON: no such number", line)
    return document, content


def _at(document: Document, path: Iterable[str | int]) -> Place:
    place = Place(document)
    for step in path:
        place /= step
    return place
