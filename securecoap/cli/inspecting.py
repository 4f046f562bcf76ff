"""``securecoap credentials list``, ``show``, ``explain``, ``schema``: what a file says, and may say.

For a person, and never a secret unasked. What a file means is said in `securecoap.credentials`; nothing is changed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from securecoap.cli import completing, logs, status
from securecoap.cli.provisioning import named
from securecoap.cli.text import printable, tell
from securecoap.credentials.exposure import INLINE, PUBLIC_MEMBERS
from securecoap.errors import CredentialsFault, StateError, UriError
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    from securecoap.credentials import Credential, CredentialsMap

__all__ = ["COMMANDS"]

_FILE: Final = click.argument("file", type=click.Path(path_type=Path, exists=True))
_WORDS: Final = {0: "allowed", 0x81: "4.01 Unauthorized", 0x83: "4.03 Forbidden"}
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH")


def _loaded(file: Path) -> CredentialsMap | None:
    """The map of a file; ``None`` after its faults were told."""
    from securecoap.credentials import CredentialsMap  # when it is used: it takes the library for keys

    logs.configure(logging.ERROR)
    try:
        return CredentialsMap.load(file, role="server")
    except CredentialsFault as fault:
        for text in fault.faults:
            tell(text)
        return None


@click.command(name="list")
@_FILE
@click.option(
    "--state", metavar="DIR", type=click.Path(path_type=Path, exists=True),
    help="A server's state directory: say when each was last seen, too.",
)  # fmt: skip
def list_(file: Path, state: Path | None) -> int:
    """Say who is in a credentials file: label, kind, claims, until when, and when last seen. No secrets."""
    from securecoap.credentials.explaining import date_text

    found = _loaded(file)
    if found is None:
        return status.USAGE
    seen = None
    if state is not None:
        from securecoap.state.sightings import read_sightings

        try:
            seen = read_sightings(state)
        except StateError as error:
            tell(str(error))
            return status.USAGE
    now = time.time()
    rows: list[tuple[str, ...]] = [("LABEL", "KIND", "CLAIMS", "VALID")]
    rows += [
        (credential.label, credential.kind, " ".join(credential.claims), _validity(credential, now))
        for credential in found.credentials()
    ]
    if seen is not None:
        rows = [
            (*row, "LAST SEEN" if index == 0 else date_text(seen[row[0]]) if row[0] in seen else "never")
            for index, row in enumerate(rows)
        ]
    _print_table([tuple(printable(cell, lines=False) for cell in row) for row in rows])
    return status.SUCCESS


def _validity(credential: Credential, now: float) -> str:
    from securecoap.credentials.endings import REVOKED_AT, end_of_credential
    from securecoap.credentials.explaining import date_text

    begin, end = credential.validity.not_before, end_of_credential(credential)
    if now < begin:
        return f"from {date_text(begin)}"
    if end == float("inf"):
        return "always"
    if end == REVOKED_AT:
        return "revoked"
    return f"{'ended' if now >= end else 'until'} {date_text(end)}"


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns for a person; behind a pipe, one tab between the cells."""
    if sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    else:
        lines = ["\t".join(row) for row in rows[1:]]
    click.echo("\n".join(lines))


@click.command
@_FILE
@click.argument("label", shell_complete=completing.labels)
@click.option("--reveal", is_flag=True, help="Show keys, too.")
def show(file: Path, label: str, reveal: bool) -> int:
    """Print the entry of a label or pattern as JSON, its keys hidden."""
    from securecoap.credentials.loading import files_of

    if _loaded(file) is None:
        return status.USAGE
    content: dict[str, Any] = {}
    for path in files_of(file):
        content.update(json.loads(path.read_text(encoding="utf-8")))
    entry = content.get(named(content, label))
    if entry is None:
        tell(f"{file}: there is no {label}")
        return status.USAGE
    click.echo(json.dumps(entry if reveal else hidden(entry), indent=2, ensure_ascii=False))
    return status.SUCCESS


def hidden(value: Any, *, is_public: bool = False) -> Any:
    """The same JSON with every byte value hidden that may be a secret; where it comes from is not hidden."""
    if isinstance(value, list):
        return [hidden(one, is_public=is_public) for one in value]
    if not isinstance(value, dict):
        return value
    form = next(iter(value), None) if len(value) == 1 else None
    if form in INLINE and not is_public:
        return {form: "(hidden)"}
    return {name: hidden(one, is_public=is_public or name in PUBLIC_MEMBERS) for name, one in value.items()}


@click.command
@_FILE
@click.argument("uri", shell_complete=completing.uris)
@click.option(
    "--as",
    "labels",
    metavar="LABEL",
    multiple=True,
    shell_complete=completing.labels,
    help="Who asks: a label of the file; a second one for OSCORE over DTLS.  [default: a stranger]",
)
@click.option("--method", type=click.Choice(_METHODS, case_sensitive=False), default="GET", show_default=True)
@click.option("--name", "names", metavar="HOST", multiple=True, help="A further name of the server, as for serve.")
def explain(file: Path, uri: str, labels: tuple[str, ...], method: str, names: tuple[str, ...]) -> int:
    """Say which rule of a server's file decides about a request, and why: exit status 0 if it is allowed, else 1.

    The host of the URI is taken for a name of the server.
    """
    from securecoap.credentials import OwnNames, explaining
    from securecoap.credentials.entries import METHODS

    found = _loaded(file)
    if found is None:
        return status.USAGE
    try:
        parsed = parse_uri(uri)
    except UriError as error:
        raise click.UsageError(str(error)) from None
    code = METHODS[next(name for name in METHODS if name.upper() == method.upper())]
    try:
        labels = tuple(named(found.entries, label) for label in labels)
        server = found.for_server(OwnNames((parsed.host,), names))
        answer = explaining.explain(server, parsed, code, labels, time.time())
    except explaining.NobodyThere as fault:
        tell(f"{file}: {fault}")
        return status.USAGE
    who = " with ".join(labels) or "a stranger"
    if answer.claims:
        who += f" ({', '.join(answer.claims)})"
    click.echo(f"{method.upper()} {uri} by {printable(who, lines=False)}: {_WORDS[answer.decision]}")
    for index, reason in enumerate(answer.reasons):
        click.echo(f"{'because' if index == 0 else 'and'} {printable(reason, lines=False)}")
    return status.FAILURE if answer.decision else status.SUCCESS


@click.command
def schema() -> int:
    """Print the format of credentials files as JSON Schema, for editors: name it in a file's "$schema"."""
    from securecoap.credentials.schema import schema_text

    click.echo(schema_text(), nl=False)
    return status.SUCCESS


COMMANDS: Final[tuple[click.Command, ...]] = (list_, show, explain, schema)
