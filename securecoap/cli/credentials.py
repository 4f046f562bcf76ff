"""``securecoap credentials``: working with credential files. What a file means is said in `securecoap.credentials`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from securecoap.cli import exchanging, logs, provisioning, status
from securecoap.cli.adding import add
from securecoap.cli.inspecting import COMMANDS
from securecoap.cli.text import tell
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.credentials import CredentialsMap

__all__ = ["commands"]


@click.group
def credentials() -> None:
    """Check and manage credential files."""


@credentials.command
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def check(file: Path) -> int:
    """Say everything that is wrong with a credentials file: exit status 0 if nothing is, otherwise 2."""
    # When it is used: reading credentials takes the library for keys and certificates.
    from securecoap.credentials import CredentialsMap
    from securecoap.credentials.loading import load_entries

    logs.configure(logging.ERROR)  # the warnings are told below
    try:
        found = CredentialsMap.load(file)
    except CredentialsFault:
        try:
            load_entries([file], columns=True)  # once more, since looking for columns takes time
        except CredentialsFault as precise:
            fault = precise
        return _refused(file, fault.faults)
    exposed = _exposed(file, found.warnings)
    for text in found.warnings:
        if text not in exposed:
            tell(f"warning: {text}")
    if exposed:
        return _refused(file, exposed)
    tell(f"{file}: {summary(found)}")
    return status.SUCCESS


def _exposed(file: Path, warnings: Sequence[str]) -> list[str]:
    """What makes keys the business of others: a directory on the way that is closed to them protects what is in it."""
    from securecoap.credentials.exposure import EXPOSED
    from securecoap.credentials.loading import files_of
    from securecoap.credentials.permissions import READABLE, REPLACEABLE, Permissions

    permissions = Permissions()
    exposed = [text for text in warnings if text.endswith(EXPOSED)] if permissions.is_reached(file) else []
    exposed += [text for text in warnings if text.endswith((READABLE, REPLACEABLE))]
    return exposed + [f"{path}: {REPLACEABLE}" for path in files_of(file) if permissions.is_replaceable(path)]


def _refused(file: Path, faults: Sequence[str]) -> int:
    for text in faults:
        tell(text)
    tell(f"{file}: {_count(len(faults), 'fault')}")
    return status.USAGE


def summary(found: CredentialsMap) -> str:
    """What a map has, in a few words: ``2 devices, 3 patterns, 1 warning``."""
    from securecoap.credentials.models import Credential

    entries = found.entries.values()
    patterns = sum(entry.pattern is not None for entry in entries)
    devices = sum(entry.pattern is None and isinstance(entry.node, Credential) for entry in entries)
    parts = [_count(devices, "device"), _count(patterns, "pattern")]
    if others := len(entries) - patterns - devices:
        parts.append(_count(others, "group"))
    if found.warnings:
        parts.append(_count(len(found.warnings), "warning"))
    return ", ".join(parts)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


for _command in (*COMMANDS, *provisioning.COMMANDS, add, *exchanging.COMMANDS):
    credentials.add_command(_command)

commands: Final = {"credentials": credentials}
