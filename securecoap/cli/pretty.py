"""Payloads in a form for a person: JSON, CBOR (diagnostic notation), link format, SenML, text, and bytes.

A payload that is not what its content format says is shown as the bytes it is. Knows no message and no network.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Final, NoReturn

from securecoap.cli.diagnostic import diagnostic
from securecoap.cli.senml import SENML_CBOR, SENML_JSON, Measurement, measurements
from securecoap.cli.text import printable
from securecoap.errors import FormatError
from securecoap.wire.content_formats import structure
from securecoap.wire.link_format import Link, parse_links

__all__ = ["render", "show"]

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_COLUMN: Final = 16
_MOST_BYTES: Final = 4096
_DEEPEST: Final = 32
"""Levels of JSON that are indented: a peer must not make a screenful of blanks of each of its bytes."""


def show(payload: bytes, content_format: int | None) -> None:
    """Write a payload to the terminal that is stdout, with colours where it has them."""
    # Loaded where it is used: most answers go to a file or another program.
    from rich.console import Console
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    text = Text(render(payload, content_format))
    if content_format is not None and structure(content_format) in {"json", "cbor", "cbor-seq"}:
        JSONHighlighter().highlight(text)
    elif content_format is not None and structure(content_format) == "link-format":
        text.highlight_regex(r"(?m)^<[^>]*>", "bold cyan")
    if text:
        Console(file=sys.stdout, highlight=False, emoji=False, markup=False).print(text, soft_wrap=True)
    sys.stdout.flush()


def render(payload: bytes, content_format: int | None) -> str:
    """The payload as printable text, without a newline at the end.

    Args:
        payload: from anywhere.
        content_format: its number; ``None`` if nobody said.
    """
    kind = "text" if content_format is None else structure(content_format)
    try:
        if content_format in {SENML_JSON, SENML_CBOR}:
            return printable(_table(measurements(payload, content_format)))
        if kind == "json":
            return printable(_json(payload.decode()))
        if kind in {"cbor", "cbor-seq"}:
            return printable(diagnostic(payload, sequence=kind == "cbor-seq"))
        if kind == "link-format":
            return printable("\n".join(map(_link, parse_links(payload))))
        if kind in {"text", "xml"}:
            return _text(payload.decode(), certain=content_format is not None)
    except (ValueError, FormatError):
        if kind not in {"text", "xml"} and content_format in {SENML_JSON, SENML_CBOR}:
            return render(payload, 50 if content_format == SENML_JSON else 60)
    return _bytes(payload)


def _text(text: str, *, certain: bool) -> str:
    """Text as it is; where nobody said that it is text, it has to look like it."""
    if not certain and any(ord(character) < 32 and character not in "\t\n\r" for character in text):
        raise ValueError("not a text")
    return printable(text.replace("\r\n", "\n")).removesuffix("\n")


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259 section 6)")


def _json(text: str) -> str:
    """The very tokens of a JSON text, indented: no number is rounded, no member of a repeated name is lost."""
    try:
        json.loads(text, parse_constant=_constant, parse_int=str, parse_float=str)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    tokens = _TOKEN.findall(text)
    written: list[str] = []
    depth = 0
    for index, part in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        if part in {"]", "}"}:
            depth -= 1
            if written[-1] not in {"[", "{"}:
                written.append(_new_line(depth))
            written.append(part)
        elif part in {"[", "{"}:
            depth += 1
            written.append(part)
            if following not in {"]", "}"}:
                written.append(_new_line(depth))
        elif part == ",":
            written.append("," + _new_line(depth))
        else:
            written.append(": " if part == ":" else part)
    return "".join(written)


def _new_line(depth: int) -> str:
    return "\n" + "  " * min(depth, _DEEPEST)


def _link(link: Link) -> str:
    attributes = (name if value is None else f"{name}={value}" for name, value in link.attributes)
    return "  ".join([f"<{link.target}>", *attributes])


def _table(rows: list[Measurement]) -> str:
    """Columns as wide as their content: time, name, value, unit."""
    cells = [(row.time, row.name, row.value, row.unit) for row in rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip() for row in cells
    )


def _bytes(payload: bytes) -> str:
    """A dump of the first 4096 bytes: offset, hexadecimal, characters."""
    lines = []
    for offset in range(0, min(len(payload), _MOST_BYTES), _COLUMN):
        part = payload[offset : offset + _COLUMN]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{offset:08x}  {part.hex(' '):<{_COLUMN * 3 - 1}}  {characters}")
    if len(payload) > _MOST_BYTES:
        lines.append(f"... {len(payload) - _MOST_BYTES} more bytes; use -o FILE for all")
    return "\n".join(lines)
