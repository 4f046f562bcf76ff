"""``securecoap credentials add``: one entry, as it is written on the command line.

What an entry means is said in `securecoap.credentials`.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, Final

import click

from securecoap.cli import status
from securecoap.cli.provisioning import KINDS, content_of, guarded
from securecoap.cli.text import tell

__all__ = ["add"]

_LARGEST_STDIN: Final = 1 << 20
_LISTS: Final = ("ca", "peer-keys", "peer-names")
_VALUES: Final = """KIND is a kind, with VALUES as MEMBER=FORM:VALUE (psk=hex:00ff, psk=file:key, ca=file:ca.pem,
window=64; a VALUE of - is read from stdin); without VALUES there are new keys. Or it is any-of or all-of, with labels
as VALUES; or unprotected; or the label to which it refers."""


@click.command(epilog=_VALUES)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("label")
@click.argument("kind")
@click.argument("values", nargs=-1)
@click.option("--claims", metavar="CLAIM", multiple=True, help="What the peer may claim beside its label.")
@click.option("--methods", metavar="METHOD", multiple=True, help="For a pattern: the methods that it is for.")
@click.option("--not-before", metavar="TIME", help="RFC 3339: when it begins.")
@click.option("--not-after", metavar="TIME", help="RFC 3339: when it ends.")
@guarded
def add(
    file: Path,
    label: str,
    kind: str,
    values: tuple[str, ...],
    claims: tuple[str, ...],
    methods: tuple[str, ...],
    not_before: str | None,
    not_after: str | None,
) -> int:
    """Add an entry to a file: LABEL is a label or a URI pattern."""
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, locked, save_all

    with locked(file):
        content = content_of(file)
        if label in content:
            raise MakingFault(f"{file}: {label} is there already")
        content[label] = _entry(label, kind, values)
        beside = {"claims": list(claims), "methods": list(methods), "not-before": not_before, "not-after": not_after}
        given = {name: value for name, value in beside.items() if value}
        if given and isinstance(content[label], str):
            raise MakingFault(f"a reference has no {', '.join(given)}")
        if given:
            content[label].update(given)
        warnings = save_all([Change(file, content, "server")])
    for text in warnings:
        tell(f"warning: {text}")
    tell(f"{file}: {label} is there")
    return status.SUCCESS


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
