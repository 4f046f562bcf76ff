"""What words of a command line may become: URIs, labels, content formats, files. Used by the shells' completion.

Whoever presses a key must not wait, be asked, or start anything: files are read, and nothing in them is carried out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from click.shell_completion import CompletionItem

from securecoap.wire.content_formats import CONTENT_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click

__all__ = ["a_file", "bodies", "content_formats", "files", "labels", "uris"]

_SCHEMES: Final = ("coap://", "coaps://")
_FILES: Final = ("file", "server", "credentials")
"""Parameters of commands that name files of credentials."""


def uris(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's signature
    """Schemes, and the servers that the credentials given before have entries for."""
    known = {_server(key) for key in _keys(ctx) if not key.startswith(":")}
    return _beginning([*_SCHEMES, *sorted(known - {""})], incomplete)


def _server(pattern: str) -> str:
    """``coaps://host:port/`` of a URI pattern, nothing where it is for many."""
    scheme, separator, rest = pattern.partition("://")
    authority = rest.partition("/")[0]
    return "" if not separator or "*" in scheme + authority else f"{scheme}://{authority}/"


def labels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's signature
    """The labels in the files given before; without their colon where none is written."""
    found = sorted({key for key in _keys(ctx) if key.startswith(":")})
    if incomplete and not incomplete.startswith(":"):
        found = [label[1:] for label in found]
    return _beginning(found, incomplete)


def _keys(ctx: click.Context) -> Iterator[str]:
    given: list[object] = []
    for name in _FILES:
        value = ctx.params.get(name)
        given += value if isinstance(value, tuple) else [value]
    # Behind an option that still waits for its value click takes no argument for what it is.
    given += [Path(text) for text in ctx.args if text.endswith(".json")]
    for path in given:
        if isinstance(path, Path):
            for file in sorted(path.glob("*.json")) if path.is_dir() else (path,):
                yield from _keys_of(file)


def _keys_of(file: Path) -> list[str]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [key for key in content if not key.startswith("$")] if isinstance(content, dict) else []


def content_formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's signature
    """The registered names."""
    return _beginning(sorted({str(entry) for entry in CONTENT_FORMATS.values()}), incomplete)


def bodies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's signature
    """``@FILE``."""
    return [CompletionItem(f"@{name}") for name in files(incomplete[1:])] if incomplete.startswith("@") else []


def a_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  # click's signature
    """Any file, as the shell itself completes them."""
    return [CompletionItem(incomplete, type="file")]


def files(begun: str) -> list[str]:
    """The files whose names begin so; directories have a slash at their end, and hidden ones have to be meant."""
    head = begun[: begun.rfind("/") + 1]
    name = begun[len(head) :]
    try:
        found = [path for path in Path(head or ".").iterdir() if path.name.startswith(name)]
    except OSError:
        return []
    shown = (path for path in found if name.startswith(".") or not path.name.startswith("."))
    return sorted(f"{head}{path.name}{'/' if path.is_dir() else ''}" for path in shown)


def _beginning(texts: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(text) for text in texts if text.startswith(incomplete)]
