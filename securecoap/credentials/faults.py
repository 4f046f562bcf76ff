"""Collecting every fault of a set of credential files, each with its file, line and place.

A fault text never has a value of the file in it, only names; and it is printable whatever the names are made of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from securecoap.credentials.positions import scan
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.credentials.positions import Path, Positions

__all__ = ["Document", "Place", "Report", "printable"]

_LONGEST_NAME = 200


@dataclass(slots=True, eq=False)
class Document:
    """One source of entries.

    Attributes:
        name: the file's name as it was given; empty for a dict.
        base: the directory to which its paths are relative.
        text: the JSON text while it is checked, ``None`` afterwards and for a dict: secrets stand in it.
    """

    name: str
    base: FilePath
    text: str | None = field(default=None, repr=False)


class Place:
    """Where something stands: a document, or a step from the place around it.

    One is made for each value of a file, and two are kept for each entry: no frozen dataclass, whose making takes three
    times as long, and no tuple of all the steps.
    """

    __slots__ = ("_around", "_step")

    def __init__(self, around: Document | Place, step: str | int = "") -> None:
        self._around = around
        self._step = step

    @property
    def document(self) -> Document:
        """Where it begins."""
        around = self._around
        return around.document if isinstance(around, Place) else around

    @property
    def path(self) -> Path:
        """The steps from the top of the document."""
        around = self._around
        return (*around.path, self._step) if isinstance(around, Place) else ()

    def __truediv__(self, step: str | int) -> Place:
        return Place(self, step)

    def __str__(self) -> str:
        """The dotted place, such as ``:a.oscore.secret`` or ``:g.any-of[0].dtls``."""
        parts: list[str] = []
        for step in self.path:
            if isinstance(step, int):
                parts.append(f"[{step}]")
            else:
                parts.append(printable(step) if not parts else f".{printable(step)}")
        return "".join(parts)


_Item = tuple[Place, str, int | None]


class Report:
    """Faults and warnings in the order of discovery; `raise_faults` puts them in the order of the files.

    Args:
        columns: whether texts say the column beside the line.
    """

    def __init__(self, *, columns: bool = False) -> None:
        self._has_columns = columns
        self._faults: list[_Item] = []
        self._warnings: list[_Item] = []
        self._documents: dict[int, int] = {}
        self._positions: dict[int, Positions] = {}

    def fault(self, place: Place, text: str, line: int | None = None) -> None:
        """Note what makes the file unusable; ``text`` must not have a value from the file in it.

        Args:
            place: where.
            text: what, and what is expected.
            line: where the place alone does not say it: the text is no JSON, or has a name twice.
        """
        self._documents.setdefault(id(place.document), len(self._documents))
        self._faults.append((place, text, line))

    def warning(self, place: Place, text: str) -> None:
        """Note what deserves a look and does not stop anything."""
        self._documents.setdefault(id(place.document), len(self._documents))
        self._warnings.append((place, text, None))

    def warnings(self) -> tuple[str, ...]:
        """All warnings as texts, in the order of the files."""
        return tuple(self._render(self._warnings))

    def raise_faults(self) -> None:
        """Raise what was noted, all at once.

        Raises:
            CredentialsFault: there was at least one fault.
        """
        if self._faults:
            raise CredentialsFault(self._render(self._faults))

    def _render(self, items: list[_Item]) -> list[str]:
        rendered = []
        self._find([place for place, _, line in items if line is None])
        for place, text, line in items:
            document = place.document
            if line is None:
                positions = self._positions.get(id(document))
                line = positions.line(place.path) if positions is not None else 0
                if self._has_columns and positions is not None:
                    text += f" (column {positions.column(place.path)})"
            where = str(place)
            head = document.name and (f"{document.name}:{line}: " if line else f"{document.name}: ")
            rendered.append((self._documents[id(document)], line, head + (f"{where}: " if where else "") + text))
        rendered.sort(key=lambda item: item[:2])
        return list(dict.fromkeys(text for _, _, text in rendered))

    def _find(self, places: Iterable[Place]) -> None:
        """Where these are in the texts: only the entries in which they are have to be looked at."""
        wanted: dict[int, tuple[Document, set[str | int]]] = {}
        for place in places:
            document = place.document
            wanted.setdefault(id(document), (document, set()))[1].update(place.path[:1])
        for key, (document, names) in wanted.items():
            text = _text(document)
            if text is not None:
                self._positions[key] = scan(text, names)


def _text(document: Document) -> str | None:
    """The JSON text of a document; of one that was checked long ago, what its file has now."""
    if document.text is not None or not document.name:
        return document.text
    try:
        text = FilePath(document.name).read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    return text


def printable(text: str) -> str:
    """``text`` without anything that could break a line, a terminal or an encoder, and not without end."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "..."
