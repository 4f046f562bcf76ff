"""``securecoap credentials import`` and ``export``: from other stacks, and to a device, also as a QR code.

stdout has the exported secret and nothing else. What formats mean is said in `securecoap.credentials.importing`.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from securecoap.cli import completing, status
from securecoap.cli.provisioning import colon_label, content_of, device_pattern, guarded, named
from securecoap.cli.text import tell

if TYPE_CHECKING:
    from securecoap.credentials.making import Json

__all__ = ["COMMANDS"]

_FORMATS: Final = ("aiocoap", "libcoap-psk", "libcoap-oscore", "californium", "leshan")


@click.command(name="import")
@click.argument("format_name", metavar="FORMAT", type=click.Choice(_FORMATS))
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="The credentials file to which the entries are added; made if it is not there.",
)  # fmt: skip
@click.option("--label", callback=colon_label, help="For a single peer.  [default: made of the source's names]")
@click.option("--uri", metavar="PATTERN", help="For a single peer, a client's: the URI pattern under which it goes.")
@guarded
def import_(format_name: str, source: Path, output: Path, label: str | None, uri: str | None) -> int:
    """Add the credentials of another stack: aiocoap, libcoap-psk, libcoap-oscore, californium, leshan."""
    from securecoap.credentials.importing import import_from
    from securecoap.credentials.making import MakingFault
    from securecoap.credentials.saving import Change, locked, save_all

    with locked(output):
        content = content_of(output)
        found = import_from(format_name, source, output.resolve().parent, uri or label)
        schema = found.pop("$schema", None)
        if uri is not None and list(found) != [uri]:
            raise MakingFault(f"{source}: --uri is for a single peer, and here are {len(found)} entries")
        for name in found:
            if name in content:
                raise MakingFault(f"{output}: {name} is there already")
        if schema is not None and not content:
            content["$schema"] = schema
        warnings = save_all([Change(output, {**content, **found}, None if uri else "server")])
    for text in warnings:
        tell(f"warning: {text}")
    if format_name == "libcoap-oscore":
        tell(
            "warning: there are no sequence numbers in it: if the context was ever used, nonces would be used twice, "
            "and a new one has to be paired"
        )
    tell(f"{output}: {len(found)} more {'entry' if len(found) == 1 else 'entries'}")
    return status.SUCCESS


@click.command
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("label", shell_complete=completing.labels)
@click.option("--uri", default="*", help="The server's URI, for a label.  [default: any server]")
@click.option("--qr", is_flag=True, help="Draw a QR code for the terminal.")
@guarded
def export(file: Path, label: str, uri: str, qr: bool) -> int:
    """Print the file of one device, keys included: its half for a label of a server's file, or a pattern's entry."""
    from securecoap.credentials import CredentialsMap
    from securecoap.credentials.exporting import device_half, standalone
    from securecoap.credentials.loading import octets_in, read_content
    from securecoap.credentials.making import MakingFault

    content = read_content(file)
    read = octets_in(file.resolve().parent)
    name = named(content, label)
    if name not in content:
        raise MakingFault(f"{file}: there is no {label}")
    if name.startswith(":"):
        half = device_half(name, content[name], read)
        exported = {device_pattern(next(iter(half)), uri): half}
    else:
        exported = {name: standalone(_resolved(content, content[name]), read)}
    CredentialsMap.from_dict(exported, role="client")
    text = json.dumps(exported, ensure_ascii=False, separators=(",", ":") if qr else None)
    click.echo(_drawn(text) if qr else text)
    return status.SUCCESS


def _resolved(content: Json, entry: Any) -> Any:
    """What a reference stands for."""
    seen = set()
    while isinstance(entry, str) and entry in content and entry not in seen:
        seen.add(entry)
        entry = content[entry]
    return entry


def _drawn(text: str) -> str:
    from securecoap.credentials.making import MakingFault

    try:
        import segno  # the extra qr; nothing else needs it
    except ImportError:
        raise MakingFault("--qr takes the package segno: pip install 'securecoap[qr]'") from None
    try:
        code = segno.make(text, error="l", micro=False)
    except segno.DataOverflowError:
        raise MakingFault(f"{len(text.encode())} bytes are more than a QR code holds") from None
    drawing = io.StringIO()
    code.terminal(drawing, compact=True)
    return drawing.getvalue().rstrip("\n")


COMMANDS: Final[tuple[click.Command, ...]] = (import_, export)
