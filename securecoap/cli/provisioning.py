"""``securecoap credentials new``, ``pair``, ``rotate``, ``revoke``: making keys, and changing files.

stdout has a secret only where it was asked for (``new``); everything that is said goes to stderr. What a key or a file
is made of is said in `securecoap.credentials`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import click

from securecoap.cli import completing, logs, status
from securecoap.cli.tables import Row, read_rows
from securecoap.cli.text import tell
from securecoap.collection import uncollected
from securecoap.errors import CredentialsFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from securecoap.credentials.authority import Authority
    from securecoap.credentials.pairing import Fleet

__all__ = ["COMMANDS", "KINDS", "colon_label", "content_of", "device_pattern", "fleet_of", "guarded", "named"]

Parameters = ParamSpec("Parameters")

KINDS: Final = ("dtls", "dtls-rpk", "dtls-x509", "oscore", "edhoc-oscore")
_KIND: Final = f"KIND is {', '.join(KINDS[:-1])} or {KINDS[-1]}."
_OLD: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FILE_NAME: Final = re.compile(r"[^/\0.][^/\0]{0,250}")


def guarded(command: Callable[Parameters, int]) -> Callable[Parameters, int]:
    """A command whose foreseeable failures are told, and end with the status for usage: nothing was changed."""

    @wraps(command)
    def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> int:
        from securecoap.credentials.making import MakingFault

        logs.configure(logging.ERROR)
        try:
            return command(*arguments, **options)
        except CredentialsFault as fault:
            for text in fault.faults:
                tell(text)
        except MakingFault as fault:
            tell(str(fault))
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            tell(f"{name}{error.strerror or error}")
        return status.USAGE

    return run


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    match = re.fullmatch(r"(\d{1,9})([smhdw]?)", value)
    if match is None:
        raise click.BadParameter("a number with a unit is expected: 14d, 12h, 30m, 45s")
    return int(match[1]) * _SECONDS[match[2] or "s"]


def colon_label(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A label; its colon may be left out."""
    return value if value is None or value.startswith(":") else f":{value}"


def named(content: Collection[str], name: str) -> str:
    """A name in a file: a label whose colon was left out is meant where there is no entry of that very name."""
    return name if name in content or f":{name}" not in content else f":{name}"


def content_of(path: Path) -> dict[str, Any]:
    """What a file has; nothing if it is not there yet."""
    from securecoap.credentials.loading import read_content

    return read_content(path) if path.exists() else {}


def _authority_path(server: Path) -> Path:
    return server.with_name(f"{server.stem}-ca.pem")


def _authority(server: Path) -> Authority | None:
    """The authority that is kept beside a server's file, if there is one."""
    from securecoap.credentials.authority import Authority
    from securecoap.credentials.making import MakingFault

    path = _authority_path(server)
    try:
        return Authority.parse(path.read_bytes()) if path.exists() else None
    except MakingFault as fault:
        raise MakingFault(f"{path}: {fault}") from None


def fleet_of(server: Path, kind: str = "", uri: str = "*", days: int | None = None) -> tuple[Fleet, Authority | None]:
    """The server's file, and the authority if one was made for it that has to be saved, too."""
    from securecoap.credentials.authority import Authority
    from securecoap.credentials.loading import octets_in
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.pairing import CERTIFICATE_DAYS, Fleet
    from securecoap.wire.uri import parse_uri

    now = time.time()
    authority = _authority(server)
    made = None
    if authority is None and kind == "dtls-x509":
        authority = made = Authority.create(f"{server.stem} devices", now)
    host = parse_uri(f"coaps://{_authority_of(uri)}").host if "*" not in uri else ""
    fleet = Fleet(
        content_of(server),
        octets_in(server.resolve().parent),
        authority=authority,
        names=(host,) if host else (),
        now=now,
        days=days or CERTIFICATE_DAYS,
    )
    if made is not None and fleet.is_certified:
        raise MakingFault(
            f"{_authority_path(server)}: not there, and devices must know whoever signed {server}'s certificate"
        )
    return fleet, made


def _authority_of(uri: str) -> str:
    return uri.rpartition("://")[2].partition("/")[0]


def device_pattern(kind: str, uri: str) -> str:
    """The pattern of a device's file: everything on a server, by the scheme of the kind."""
    return f"{'coaps' if kind.startswith('dtls') else 'coap'}://{_authority_of(uri)}/*"


@click.command(epilog=_KIND)
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.option("--name", default="device", show_default=True, help="Identity or subject.")
@guarded
def new(kind: str, name: str) -> int:
    """Print an entry with new keys as JSON: 128 bits at least, from the system's randomness."""
    from securecoap.credentials.making import new_entry

    click.echo(json.dumps(new_entry(kind, name.removeprefix(":")), ensure_ascii=False))
    if kind == "dtls-rpk":
        tell("peer-keys are still to be added: the public keys of the peers")
    return status.SUCCESS


@click.command(epilog=_KIND)
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.argument("label", callback=colon_label, required=False)
@click.option("--server", metavar="FILE", type=_FILE, required=True, help="The server's file; made if it is not there.")
@click.option("--device", metavar="FILE", type=_FILE, help="The device's file; made if it is not there.")
@click.option("--csv", "table", metavar="FILE", type=_OLD, help="Many devices: columns label and, maybe, claims.")
@click.option(
    "--device-dir", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Where their files go."
)
@click.option("--uri", default="*", help="The server's URI, for the device's file.  [default: any server]")
@click.option("--claims", metavar="CLAIM", multiple=True, help="What the device may claim beside its label.")
@click.option("--days", type=click.IntRange(1, 36500), help="How long a certificate is valid.  [default: 730]")
@guarded
def pair(
    kind: str,
    label: str | None,
    server: Path,
    device: Path | None,
    table: Path | None,
    device_dir: Path | None,
    uri: str,
    claims: tuple[str, ...],
    days: int | None,
) -> int:
    """Give a device and the server the two halves of a new credential; or many devices, from a table."""
    from securecoap.cli.bulk import orderly
    from securecoap.credentials.saving import locked

    if table is not None and device_dir is not None and label is None and device is None:
        device_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with orderly(), locked(server), uncollected():
            return _pair_many(kind, table, claims, server, device_dir, uri, days)
    if label is None or device is None or table is not None or device_dir is not None:
        raise click.UsageError("LABEL with --device FILE, or --csv FILE with --device-dir DIR, are expected")
    with locked(server, device):
        return _pair_one(kind, label, server, device, uri, claims, days)


def _pair_one(
    kind: str, label: str, server: Path, device: Path, uri: str, claims: tuple[str, ...], days: int | None
) -> int:
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, save_all

    fleet, authority = fleet_of(server, kind, uri, days)
    pattern, mine = device_pattern(kind, uri), content_of(device)
    if pattern in mine:
        raise MakingFault(f"{device}: has {pattern} already")
    mine[pattern] = fleet.pair(kind, label, claims)
    changes = [Change(device, mine, "client"), Change(server, fleet.content, "server")]
    if authority is not None:
        changes.insert(0, Change(_authority_path(server), authority.pem()))
    save_all(changes)
    tell(f"{server}: {label} is there, by {kind}")
    tell(f"{device}: has its half, for {pattern}")
    if authority is not None:
        tell(f"{_authority_path(server)}: the key of a new authority; whoever has it can make devices")
    return status.SUCCESS


def _rows(kind: str, table: Path, claims: tuple[str, ...]) -> list[Row]:
    """The devices of a table, each with a label that can name a file, too, and without keys: those are made.

    Further columns are somebody's own.
    """
    from securecoap.credentials.kinds import TABLES
    from securecoap.credentials.making import MakingFault

    rows = read_rows(table)
    for row in rows:
        if not _FILE_NAME.fullmatch(row.label[1:]):
            raise MakingFault(f"{table}:{row.line}: not a label that can name a file, too")
        for name in row.cells:
            if name.partition(".")[0] in TABLES[kind][0]:
                raise MakingFault(f"{table}:1: pair makes new keys, and takes none from {name}; 'credentials add' does")
    return [row._replace(claims=(*claims, *row.claims)) for row in rows] if claims else rows


def _pair_many(
    kind: str,
    table: Path,
    claims: tuple[str, ...],
    server: Path,
    directory: Path,
    uri: str,
    days: int | None,
) -> int:
    from securecoap.cli.bulk import Job, devices_made, uninterrupted
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, staged

    rows = _rows(kind, table, claims)
    fleet, authority = fleet_of(server, kind, uri, days)
    maker = fleet.maker(kind)
    jobs = []
    for line, label, *_ in rows:
        try:
            order = fleet.order(kind, label)
        except MakingFault as fault:
            raise MakingFault(f"{table}:{line}: {fault}") from None
        jobs.append(Job(f"{table}:{line}", order, f"{directory}/{order.name}.json"))
    with devices_made(maker, device_pattern(kind, uri), jobs, directory) as batch:
        for row, ours in zip(rows, batch.halves, strict=True):
            fleet.enter(kind, row.label, ours, row.claims)
        changes = [Change(server, fleet.content, "server")]
        if authority is not None:
            changes.insert(0, Change(_authority_path(server), authority.pem()))
        with staged(changes) as ready:
            batch.durable.result()
            with uninterrupted():
                ready.replace()
                batch.is_kept = True
    tell(f"{server}: {len(rows)} more device{'s'[: len(rows) != 1]}, by {kind}; their files are in {directory}")
    return status.SUCCESS


@click.command
@click.argument("label", callback=colon_label, shell_complete=completing.labels)
@click.option("--server", metavar="FILE", type=_OLD, required=True, help="The server's file.")
@click.option("--device", metavar="FILE", type=_OLD, help="The device's file; not needed with --finish.")
@click.option("--finish", is_flag=True, help="The device has its new key: end the old one now.")
@click.option(
    "--overlap", default="14d", show_default=True, callback=_duration, help="How long the old key is good, too."
)
@guarded
def rotate(label: str, server: Path, device: Path | None, finish: bool, overlap: float) -> int:
    """Give a device a new key beside the old one; with --finish only the new one stays."""
    from securecoap.credentials import editing
    from securecoap.credentials.loading import octets_in, read_content
    from securecoap.credentials.saving import Change, locked, save_all

    if finish:
        with locked(server):
            fleet, _ = fleet_of(server)
            editing.finish(fleet, label)
            save_all([Change(server, fleet.content, "server")])
        tell(f"{server}: {label} has its new key only")
        return status.SUCCESS
    if device is None:
        raise click.UsageError("Missing option '--device'.")
    with locked(server, device):
        fleet, _ = fleet_of(server)
        until = time.time() + overlap
        octets = octets_in(device.resolve().parent)
        mine = editing.rotate(fleet, label, read_content(device), octets, until=until)
        # The server first: it knows both keys, so a device that has either gets in, whatever happens in between.
        save_all([Change(server, fleet.content, "server"), Change(device, mine, "client")])
    if "any-of" in fleet.content[label]:
        ends = fleet.content[label]["any-of"][1]["not-after"]
        tell(f"{server}: {label} has a new key; the old one is good until {ends}, or until 'rotate --finish'")
    else:
        tell(f"{server}: {label} stays as it is; the old certificate is good until it ends")
    tell(f"{device}: has the new key")
    return status.SUCCESS


@click.command
@click.argument("file", type=_OLD)
@click.argument("label", callback=colon_label, shell_complete=completing.labels)
@guarded
def revoke(file: Path, label: str) -> int:
    """Delete a device's keys; its label stays, satisfied by nothing, so that what refers to it stays good."""
    from securecoap.credentials import editing
    from securecoap.credentials.saving import Change, locked, save_all

    with locked(file):
        fleet, _ = fleet_of(file)
        editing.revoke(fleet, label)
        save_all([Change(file, fleet.content, "server")])
    tell(f"{file}: {label} is revoked; a server that runs learns of it by SIGHUP or --reload")
    return status.SUCCESS


COMMANDS: Final[tuple[click.Command, ...]] = (new, pair, rotate, revoke)
