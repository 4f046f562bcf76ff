"""Parsing the plain values of an entry: members of objects, bytes, numbers, names, dates.

Each function gives the value, or notes a fault with its place and gives ``None``; so one pass finds every fault. Must
not know the kinds of credentials. No value of the file is ever put into a fault.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.exposure import PUBLIC_MEMBERS, is_published
from securecoap.credentials.faults import Place, Report, printable
from securecoap.credentials.sources import SourceError, Sources

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMS", "ListOf", "Octets", "Parser", "Reading", "Whole", "parse_path", "parse_text"]

FORMS: Final = ("hex", "ascii", "base64", "file", "env", "command")
"""The ways to write a byte value: an object with one of these."""
_HEX_FILLING: Final = re.compile(r"[\s:-]+")
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)

Parser = Callable[["Reading", Any, Place], Any]
"""Takes where to report, the value and its place; gives the parsed value, or ``None`` after a fault."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What all parsing functions share: where faults go, and where outside values come from."""

    report: Report
    sources: Sources

    def fault(self, place: Place, text: str) -> None:
        """Note a fault."""
        self.report.fault(place, text)

    def members(
        self, value: Any, place: Place, parsers: Mapping[str, Parser], required: tuple[str, ...] = ()
    ) -> dict[str, Any] | None:
        """Parse an object by a table of its members; ``None`` if anything in it is at fault."""
        if not isinstance(value, (dict, Mapping)):
            self.fault(place, "an object is expected")
            return None
        parsed: dict[str, Any] = {}
        sound = True
        for name, member in value.items():
            if not isinstance(name, str) or (parser := parsers.get(name)) is None:
                what = f"unknown member {printable(name)}" if isinstance(name, str) else "a member's name is no string"
                self.fault(place / name if isinstance(name, str) else place, f"{what}; known: {', '.join(parsers)}")
                sound = False
                continue
            result = parser(self, member, place / name)
            if result is None:
                sound = False
            parsed[name] = result
        for name in required:
            if name not in value:
                self.fault(place, f"{name} is missing")
                sound = False
        return parsed if sound else None

    def octets(self, value: Any, place: Place) -> bytes | None:
        """Parse a byte value: an object with one of `FORMS`, or ``bytes`` in a dict that is no file."""
        if type(value) is dict and len(value) == 1 and type(digits := value.get("hex")) is str:
            try:
                return bytes.fromhex(digits)
            except ValueError:
                pass  # perhaps something fills it; the longer way says what is wrong
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if not isinstance(value, (dict, Mapping)) or len(value) != 1 or (form := next(iter(value))) not in FORMS:
            # Neither the value nor the name is repeated here: either may be the secret, put in the wrong spot.
            self.fault(place, f"a byte value is expected: an object with exactly one of {', '.join(FORMS)}")
            return None
        content = value[form]
        if form == "command":
            return self._command(content, place)
        if not isinstance(content, str):
            self.fault(place, "a string is expected")
            return None
        try:
            return _octets(form, content) if form in _INLINE else self._outside(form, content, place)
        except (ValueError, SourceError) as error:
            self.fault(place, str(error))
            return None

    def _outside(self, form: str, content: str, place: Place) -> bytes:
        if form == "env":
            if not content or "=" in content or "\0" in content:
                raise SourceError("not a name of an environment variable")
            return self.sources.environment(content)
        path = resolve(place, content)
        data = self.sources.file(path)
        self.warn_of_exposure(path, data, place)
        return data

    def warn_of_exposure(self, path: Path, data: bytes, place: Place) -> None:
        """Note that others get at a file that may have a key in it; what the place is for says whether it has."""
        if PUBLIC_MEMBERS.isdisjoint(place.path) and not is_published(data):
            fault = self.sources.permissions.fault_of_key(path)
            if fault is not None:
                self.report.warning(place, fault)

    def _command(self, content: Any, place: Place) -> bytes | None:
        if (
            not isinstance(content, list)
            or not content
            or not all(isinstance(part, str) and part for part in content[:1])
        ):
            self.fault(place, "a list of strings is expected: the program and its arguments")
            return None
        if not all(isinstance(part, str) for part in content):
            self.fault(place, "a list of strings is expected: the program and its arguments")
            return None
        try:
            return self.sources.command(content, place.document.base)
        except SourceError as error:
            self.fault(place, str(error))
            return None


_INLINE: Final = ("hex", "ascii", "base64")


def _octets(form: str, content: str) -> bytes:
    """Decode an inline form. The texts of its errors are our own: the library's quote the input."""
    if form == "hex":
        try:
            return bytes.fromhex(_HEX_FILLING.sub("", content))
        except ValueError:
            raise ValueError("not an even number of hexadecimal digits") from None
    if form == "ascii":
        try:
            return content.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError("not ASCII") from None
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64 (RFC 4648 section 4)") from None


def resolve(place: Place, text: str) -> Path:
    """A path of the file, relative to the file's directory.

    Raises:
        ValueError: the text cannot be a path.
    """
    if not text or "\0" in text:
        raise ValueError("not a path")
    return place.document.base / text


def parse_path(reading: Reading, value: Any, place: Place) -> Path | None:
    """A path, relative to the file."""
    text = parse_text(reading, value, place)
    if text is None:
        return None
    try:
        return resolve(place, text)
    except ValueError as error:
        reading.fault(place, str(error))
        return None


def parse_octets(reading: Reading, value: Any, place: Place) -> bytes | None:
    """A byte value of any length."""
    return reading.octets(value, place)


def parse_text(reading: Reading, value: Any, place: Place) -> str | None:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        reading.fault(place, "a string is expected, not empty")
        return None
    return value


def parse_bool(reading: Reading, value: Any, place: Place) -> bool | None:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        reading.fault(place, "true or false is expected")
        return None
    return value


@dataclass(frozen=True, slots=True)
class Whole:
    """A parser of whole numbers in a range.

    Attributes:
        lowest, highest: the range, both included.
    """

    lowest: int
    highest: int

    def __call__(self, reading: Reading, value: Any, place: Place) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int) or not self.lowest <= value <= self.highest:
            reading.fault(place, f"a whole number from {self.lowest} to {self.highest} is expected")
            return None
        return value


@dataclass(frozen=True, slots=True)
class ListOf:
    """A parser of lists, not empty, into tuples.

    Attributes:
        item: the parser of each element.
    """

    item: Parser

    def __call__(self, reading: Reading, value: Any, place: Place) -> tuple[Any, ...] | None:
        if not isinstance(value, (list, tuple)) or not value:
            reading.fault(place, "a list is expected, not empty")
            return None
        items = [self.item(reading, element, place / index) for index, element in enumerate(value)]
        return None if any(element is None for element in items) else tuple(items)


@dataclass(frozen=True, slots=True)
class Octets:
    """A parser of byte values that have a form of their own, such as a key in PEM or DER.

    Attributes:
        take: makes something of the bytes.
        fault: what it raises, with a text that has nothing of them.
    """

    take: Callable[[bytes], Any]
    fault: type[Exception]

    def __call__(self, reading: Reading, value: Any, place: Place) -> Any:
        data = reading.octets(value, place)
        if data is None:
            return None
        try:
            return self.take(data)
        except self.fault as error:
            reading.fault(place, str(error))
            return None


def parse_claims(reading: Reading, value: Any, place: Place) -> tuple[str, ...] | None:
    """A list of claims. A leading colon is for labels, which are proved and not given."""
    if not isinstance(value, (list, tuple)):
        reading.fault(place, "a list of strings is expected")
        return None
    sound = True
    for index, claim in enumerate(value):
        if not isinstance(claim, str) or not claim or not claim.isprintable():
            reading.fault(place / index, "a claim is a string of printable characters, not empty")
            sound = False
        elif claim.startswith(":"):
            reading.fault(place / index, 'a claim does not begin with ":": that is for labels')
            sound = False
    return tuple(value) if sound else None


def parse_date(reading: Reading, value: Any, place: Place) -> float | None:
    """A time of RFC 3339 with its zone, in seconds since 1970."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
        try:
            # A leap second is written as 60 (section 5.6) and counted as the second after 59.
            time = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
            moved = timedelta(hours=int(match[10] or 0), minutes=int(match[11] or 0))
            if second <= 60 and int(match[10] or 0) < 24 and int(match[11] or 0) < 60:
                sign = -1 if match[9] == "+" else 1
                extra = (second == 60) + float(match[7] or 0)
                return time.timestamp() + sign * moved.total_seconds() + extra
        except ValueError:
            pass
    reading.fault(place, "a time is expected as in RFC 3339: 2030-12-31T23:59:59Z")
    return None
