"""Collecting every fault of a set of credential files, each with its file, line and place.

A fault text never has a value of the file in it, only names; and it is printable whatever the names are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from securecoap.credentials.positions import Positions, scan
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from securecoap.credentials.positions import Path

__all__ = ["Document", "Place", "Report", "printable"]

_LONGEST_NAME = 200
_MOST_FAULTS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One source of entries.

    Attributes:
        name: the file's name as it was given; empty for a dict.
        base: the directory to which its paths are relative.
        text: the JSON text, ``None`` for a dict.
    """

    name: str
    base: FilePath
    text: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where something stands: the document, and the path in it."""

    document: Document
    path: Path

    def __truediv__(self, step: str | int) -> Place:
        return Place(self.document, (*self.path, step))

    def __str__(self) -> str:
        """The dotted place, such as ``:a.oscore.secret`` or ``:g.any-of[0].dtls``."""
        parts: list[str] = []
        for step in self.path:
            if isinstance(step, int):
                parts.append(f"[{step}]")
            else:
                parts.append(printable(step) if not parts else f".{printable(step)}")
        return "".join(parts)


class Report:
    """Faults and warnings in the order of discovery; `raise_faults` puts them in the order of the files."""

    def __init__(self) -> None:
        self._faults: list[tuple[Place, str]] = []
        self._warnings: list[tuple[Place, str]] = []
        self._documents: dict[int, tuple[int, Positions | None]] = {}

    def fault(self, place: Place, text: str) -> None:
        """Note what makes the file unusable; ``text`` must not have a value from the file in it."""
        self._faults.append((place, text))

    def warning(self, place: Place, text: str) -> None:
        """Note what deserves a look and does not stop anything."""
        self._warnings.append((place, text))

    @property
    def faulty(self) -> bool:
        """Whether a fault was noted."""
        return bool(self._faults)

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

    def _render(self, items: list[tuple[Place, str]]) -> list[str]:
        rendered = []
        for place, text in items:
            order, line = self._position(place)
            document = place.document
            where = str(place)
            head = f"{document.name}:{line}: " if document.text is not None else ""
            if not head and document.name:
                head = f"{document.name}: "
            rendered.append((order, line, head + (f"{where}: " if where else "") + text))
        rendered.sort(key=lambda item: item[:2])
        texts = list(dict.fromkeys(text for _, _, text in rendered))
        if len(texts) > _MOST_FAULTS:
            texts[_MOST_FAULTS:] = [f"... and {len(texts) - _MOST_FAULTS} more"]
        return texts

    def _position(self, place: Place) -> tuple[int, int]:
        document = place.document
        known = self._documents.get(id(document))
        if known is None:
            positions = scan(document.text) if document.text is not None else None
            known = self._documents[id(document)] = (len(self._documents), positions)
        order, positions = known
        return order, positions.line(place.path) if positions is not None else 0


def printable(text: str) -> str:
    """``text`` without anything that could break a line, a terminal or an encoder, and not without end."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return shown if len(shown) <= _LONGEST_NAME else shown[:_LONGEST_NAME] + "..."
