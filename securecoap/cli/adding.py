"""``securecoap credentials add``: one entry, as it is written on the command line, or many of a table.

What an entry means is said in `securecoap.credentials`.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from securecoap.cli import status
from securecoap.cli.provisioning import KINDS, content_of, fleet_of, guarded
from securecoap.cli.tables import read_rows
from securecoap.cli.text import tell
from securecoap.collection import uncollected
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from securecoap.credentials.pairing import Fleet

__all__ = ["add"]

_LARGEST_STDIN: Final = 1 << 20
_EXPORTED: Final = ("dtls", "oscore")
"""Kinds of which the device's half can be had from the server's."""
_CELLS: Final = ("hex", "ascii", "base64", "file", "env")
_LISTS: Final = ("ca", "peer-keys", "peer-names")
_VALUES: Final = """KIND is a kind, with VALUES as MEMBER=FORM:VALUE (psk=hex:00ff, psk=file:key, ca=file:ca.pem,
window=64; a VALUE of - is read from stdin); without VALUES there are new keys. Or it is any-of or all-of, with labels
as VALUES; or unprotected; or the label to which it refers. A table has a column for each member, with cells as
FORM:VALUE, or named MEMBER.FORM (psk.hex) with the values alone; without any there are new keys."""


@click.command(epilog=_VALUES)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("label")
@click.argument("kind", required=False)
@click.argument("values", nargs=-1)
@click.option(
    "--csv", "table", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Many entries of one KIND, which then stands in the place of LABEL: columns label, maybe claims, and members.",
)  # fmt: skip
@click.option("--claims", metavar="CLAIM", multiple=True, help="What the peer may claim beside its label.")
@click.option("--methods", metavar="METHOD", multiple=True, help="For a pattern: the methods that it is for.")
@click.option("--not-before", metavar="TIME", help="RFC 3339: when it begins.")
@click.option("--not-after", metavar="TIME", help="RFC 3339: when it ends.")
@guarded
def add(
    file: Path,
    label: str,
    kind: str | None,
    values: tuple[str, ...],
    table: Path | None,
    claims: tuple[str, ...],
    methods: tuple[str, ...],
    not_before: str | None,
    not_after: str | None,
) -> int:
    """Add an entry to a file: LABEL is a label or a URI pattern."""
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, locked, save_all

    if (table is not None) is (kind is not None):
        raise click.UsageError("LABEL and KIND are expected, or KIND with --csv FILE")
    beside = {"claims": list(claims), "methods": list(methods), "not-before": not_before, "not-after": not_after}
    given = {name: value for name, value in beside.items() if value}
    if table is not None:
        return _add_many(file, label, table, given)
    with locked(file):
        content = content_of(file)
        if label in content:
            raise MakingFault(f"{file}: {label} is there already")
        content[label] = _entry(label, str(kind), values)
        if given and isinstance(content[label], str):
            raise MakingFault(f"a reference has no {', '.join(given)}")
        if given:
            content[label].update(given)
        warnings = save_all([Change(file, content, "server")])
    for text in warnings:
        tell(f"warning: {text}")
    tell(f"{file}: {label} is there")
    return status.SUCCESS


def _add_many(file: Path, kind: str, table: Path, beside: dict[str, Any]) -> int:
    """An entry for each row, with the members that it has columns for, or else with new keys."""
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, locked, save_all

    rows = read_rows(table)
    with locked(file), uncollected():
        fleet, _ = fleet_of(file)
        for line, label, claims, cells in rows:
            try:
                _add_row(fleet, label, kind, cells)
            except MakingFault as fault:
                raise MakingFault(f"{table}:{line}: {fault}") from None
            every = (*beside.get("claims", ()), *claims)
            fleet.content[label].update({**beside, "claims": list(every)} if every else beside)
        lines = {label: line for line, label, *_ in rows}
        try:
            warnings = save_all([Change(file, fleet.content, "server")])
        except CredentialsFault as fault:
            faults = [_at_line(text.removeprefix(f"{file}: "), file, table, lines) for text in fault.faults]
            raise CredentialsFault(faults) from None
    for text in warnings:
        tell(f"warning: {_at_line(text, file, table, lines)}")
    tell(f"{file}: {len(rows)} more {'entry' if len(rows) == 1 else 'entries'}, by {kind}")
    return status.SUCCESS


def _at_line(text: str, file: Path, table: Path, lines: dict[str, int]) -> str:
    """A fault or warning about the file that comes about, with the line of the table if its entry comes from there."""
    place = text.partition(": ")[0]
    while place and place not in lines:  # ":a.b.dtls.psk": a label may have dots, too
        place = place.rpartition(".")[0]
    return f"{table}:{lines[place]}: {text}" if place else f"{file}: {text}"


def _add_row(fleet: Fleet, label: str, kind: str, cells: dict[str, str]) -> None:
    from securecoap.credentials.making import MakingFault

    if not cells and kind in _EXPORTED:
        fleet.pair(kind, label)
        return
    if fleet.has(label):
        raise MakingFault(f"{label} is there already")
    if not cells:
        raise MakingFault(f"no members, and with new keys there are only {', '.join(_EXPORTED)}")
    fleet.content[label] = {kind: dict(_member(name, cell) for name, cell in cells.items())}


def _member(column: str, cell: str) -> tuple[str, Any]:
    """A member of a column: ``psk.hex`` has the form of its values in its name, others have it in each cell."""
    name, separator, form = column.rpartition(".")
    return (name, {form: cell}) if separator and form in _CELLS else (column, _value(cell))


def _entry(label: str, kind: str, values: tuple[str, ...]) -> Any:
    from securecoap.credentials.making import new_entry

    if kind in ("any-of", "all-of"):
        return {kind: list(values)}
    if kind == "unprotected" and not values:
        return {kind: True}
    if kind.startswith(":") and not values:
        return kind
    if not values and kind in KINDS:
        return new_entry(kind, label.removeprefix(":"))
    members: dict[str, Any] = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"MEMBER=VALUE is expected, such as psk=hex:00ff…; not {name!r}")
        if name in _LISTS:
            members.setdefault(name, []).append(_value(value))
        else:
            members[name] = _value(value)
    return {kind: members}


def _value(text: str) -> Any:
    """A byte value where there is a form, otherwise a JSON value, otherwise a string."""
    from securecoap.credentials.values import FORMS

    form, separator, value = text.partition(":")
    if separator and form in FORMS:
        if value == "-":
            value = sys.stdin.read(_LARGEST_STDIN).strip()
        return {form: shlex.split(value) if form == "command" else value}
    try:
        return json.loads(text)
    except ValueError:
        return text
