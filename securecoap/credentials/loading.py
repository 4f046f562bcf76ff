"""Reading credential files into checked entries.

All documents are read, all faults are reported, and then all is used or nothing. With ``sources.py`` and
``saving.py`` the only module of the room that touches files.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.entries import parse_documents
from securecoap.credentials.faults import Document, Place, Report
from securecoap.credentials.positions import TOKEN, scan
from securecoap.credentials.resolution import Role, check, with_claims
from securecoap.credentials.sources import Sources
from securecoap.credentials.values import Reading

if TYPE_CHECKING:
    from securecoap.credentials.models import Entry

_LOG: Final = logging.getLogger(__name__)

__all__ = ["MAXIMUM_FILE", "load_entries", "octets_in", "read_content"]

MAXIMUM_FILE: Final = 256 * 1024 * 1024
"""Bytes of the largest file: far above 100,000 entries, far below a machine's memory."""

Source = str | os.PathLike[str] | Mapping[Any, Any]


def load_entries(
    sources: Sequence[Source], *, base: Path | None = None, role: Role | None = None, outside: Sources | None = None
) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """Read, merge and check documents; later ones win.

    Args:
        sources: paths of JSON files, or objects that were read from JSON.
        base: the directory to which the paths in objects are relative; the working directory by default. Paths in files
            are relative to their file.
        role: what the entries are for, where that makes a difference; the stricter reading if ``None``.
        outside: where ``file``, ``env`` and ``command`` values come from.

    Returns:
        The entries with their claims, in order, and the warnings, which are logged too.

    Raises:
        CredentialsFault: with every fault of every document.
    """
    report = Report()
    reading = Reading(report, outside if outside is not None else Sources())
    documents: list[tuple[Document, Any]] = []
    for source in sources:
        if isinstance(source, Mapping):
            documents.append((Document("", base if base is not None else Path()), source))
        elif (document := _read(source, report)) is not None:
            documents.append(document)
    try:
        entries = parse_documents(reading, documents)
        check(entries, report, role)
    except RecursionError:
        report.fault(Place(documents[0][0], ()), "nested too deeply")
    report.raise_faults()
    warnings = report.warnings()
    for warning in warnings:
        _LOG.warning("%s", warning)
    return with_claims(entries), warnings


def read_content(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object of a file as it stands there, in its order, to be changed and saved.

    Raises:
        CredentialsFault: it cannot be read, is no JSON object, or has a name twice. What is in it is not checked.
    """
    report = Report()
    found = _read(path, report)
    if found is not None and not isinstance(found[1], dict):
        report.fault(Place(found[0], ()), "a JSON object is expected")
    report.raise_faults()
    return found[1] if found is not None else {}


def octets_in(directory: Path, outside: Sources | None = None) -> Callable[[Any], bytes | None]:
    """A reader of byte values as they are in files of a directory; it gives ``None`` for what is none, or not there."""
    reading = Reading(Report(), outside if outside is not None else Sources())
    place = Place(Document("", directory), ())
    return lambda value: reading.octets(value, place)


def _read(source: str | os.PathLike[str], report: Report) -> tuple[Document, Any] | None:
    name = os.fspath(source)
    path = Path(name)
    nowhere = Place(Document(name, path.parent), ())
    try:
        with path.open("rb") as stream:
            data = stream.read(MAXIMUM_FILE + 1)
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
    return _parse(Document(name, path.parent, text), text, nowhere, report)


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
            report.fault(Place(document, path), "this name is given twice", line)
        for match in TOKEN.finditer(text):
            if match[1] in ("NaN", "Infinity", "-Infinity"):
                line = text.count("\n", 0, match.start(1)) + 1
                report.fault(Place(document, ()), "not JSON: no such number", line)
    return document, content
