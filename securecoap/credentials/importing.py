"""Credentials of other stacks, as entries of a credentials file: aiocoap, libcoap, Californium and Leshan.

Each format is a text, and a fault of it has the line, and no value. Where an OSCORE context comes from a stack that has
used it, its sequence numbers are not in these texts: the caller has to say so. Must not know the command line.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.loading import read_content
from securecoap.credentials.making import Json, MakingFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["FORMATS", "import_from"]

_PATHS: Final = ("basedir", "private-key-file", "certfile")
_MAXIMUM: Final = 256 * 1024 * 1024
_ESCAPE: Final = re.compile(r"\\(.)")


def import_from(format_name: str, source: Path, directory: Path, label: str | None = None) -> Json:
    """The entries that a source of another stack has.

    Args:
        format_name: of `FORMATS`.
        source: a file; for ``aiocoap`` also a directory with an OSCORE context.
        directory: of the file into which the entries go: paths are relative to it.
        label: for a source with a single peer; otherwise made of its names.

    Raises:
        MakingFault: with file and line.
        CredentialsFault: the source is to be JSON, and is none.
        OSError: it cannot be read.
    """
    return FORMATS[format_name](source, directory, label)


def _aiocoap(source: Path, directory: Path, label: str | None) -> Json:
    """A context directory, which stays where it is since its sequence numbers are there, or a JSON file."""
    if source.is_dir():
        return {label or f":{source.resolve().name}": {"oscore": {"basedir": _relative(source, directory)}}}
    if source.suffix == ".diag":
        raise MakingFault(f"{source}: .diag files are not read; write it as JSON")
    content = read_content(source)
    return {name: _moved(value, source.resolve().parent, directory) for name, value in content.items()}


def _relative(path: Path, directory: Path) -> str:
    return os.path.relpath(path.resolve(), directory.resolve())


def _moved(value: Any, source: Path, directory: Path) -> Any:
    """The same JSON, its relative paths seen from another directory."""
    if isinstance(value, list):
        return [_moved(one, source, directory) for one in value]
    if not isinstance(value, dict):
        return value
    moved = {}
    for name, one in value.items():
        is_path = isinstance(one, str) and (name in _PATHS or (name == "file" and len(value) == 1))
        moved[name] = _relative(source / one, directory) if is_path else _moved(one, source, directory)
    return moved


def _lines(source: Path) -> Iterator[tuple[str, str]]:
    """Where each line is that says something, for faults, and the line."""
    with source.open("rb") as stream:
        data = stream.read(_MAXIMUM)
    for number, line in enumerate(data.split(b"\n"), 1):
        where = f"{source}:{number}"
        try:
            text = line.decode().rstrip("\r")
        except UnicodeDecodeError:
            raise MakingFault(f"{where}: not UTF-8") from None
        if text.strip() and not text.startswith("#"):
            yield where, text


def _libcoap_psk(source: Path, _: Path, label: str | None) -> Json:
    """What ``coap-server -i`` reads: ``hint,identity,key`` in each line; the key is a text, commas included."""
    found = _Identities(label)
    for where, line in _lines(source):
        parts = line.split(",", 2)
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise MakingFault(f"{where}: hint_to_match,identity_to_match,use_key are expected")
        value = {"client-identity": _text(parts[1]), "psk": _text(parts[2])}
        found.add(where, parts[1], {**value, "identity-hint": _text(parts[0])} if parts[0] else value)
    return found.entries


def _californium(source: Path, _: Path, label: str | None) -> Json:
    """What Californium's ``MultiPskFileStore`` reads: ``identity = base64``, or ``identity = :0xhex``."""
    return _properties(source, label, _californium_key)


def _leshan(source: Path, _: Path, label: str | None) -> Json:
    """Properties with ``identity = hex``, as Leshan writes its keys."""
    return _properties(source, label, _hex)


def _properties(source: Path, label: str | None, parse: Callable[[str], bytes | None]) -> Json:
    found = _Identities(label)
    for where, line in _lines(source):
        name, separator, value = line.partition("=")
        identity = _ESCAPE.sub(r"\1", name.strip())
        key = parse(value.strip())
        if not separator or not identity or not key:
            raise MakingFault(f"{where}: identity = key is expected")
        found.add(where, identity, {"client-identity": _text(identity), "psk": {"hex": key.hex()}})
    return found.entries


def _californium_key(text: str) -> bytes | None:
    if text.startswith((":0x", "0x")):
        return _hex(text)
    try:
        return base64.b64decode(_ESCAPE.sub(r"\1", text), validate=True)
    except (binascii.Error, ValueError):
        return None


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text.removeprefix(":").removeprefix("0x"))
    except ValueError:
        return None


class _Identities:
    """Entries for PSK identities, each under a label that is made of it."""

    def __init__(self, label: str | None) -> None:
        self.entries: Json = {}
        self._label = label
        self._seen: set[str] = set()

    def add(self, where: str, identity: str, value: Json) -> None:
        if identity in self._seen:
            raise MakingFault(f"{where}: this identity is there already")
        self._seen.add(identity)
        if self._label is not None and self.entries:
            raise MakingFault(f"{where}: a second peer, and one label for all was given")
        name = "".join(one if one.isprintable() else "_" for one in identity).strip() or "_"
        label, number = self._label or f":{name}", 1
        while label in self.entries:
            number += 1
            label = f":{name}.{number}"
        self.entries[label] = {"dtls": value}


def _text(text: str) -> Json:
    return {"ascii": text} if text.isascii() else {"hex": text.encode().hex()}


_OCTETS: Final = {
    "master_secret": "secret",
    "master_salt": "salt",
    "sender_id": "sender-id",
    "recipient_id": "recipient-id",
    "id_context": "id-context",
}
_FLAGS: Final = {"rfc8613_b_1_2": "echo", "rfc8613_b_2": "rederive"}
_HASHES: Final = {
    "-10": "SHA-256", "-11": "SHA-512", "direct+HKDF-SHA-256": "SHA-256", "direct+HKDF-SHA-512": "SHA-512",
    "direct+hkdf-sha-256": "SHA-256", "direct+hkdf-sha-512": "SHA-512",
}  # fmt: skip
_IGNORED: Final = ("ssn_freq", "break_sender_key", "break_recipient_key")


def _libcoap_oscore(source: Path, _: Path, label: str | None) -> Json:
    """What ``coap-client`` and ``coap-server -E`` read (coap-oscore-conf(5)): ``keyword,encoding,value`` in each line.

    Ids stay as they are: from the view of whoever had the file.
    """
    found: Json = {}
    for where, line in _lines(source):
        parts = line.strip().split(",", 2)
        if len(parts) != 3:
            raise MakingFault(f"{where}: keyword,encoding,value are expected")
        keyword, encoding, text = parts
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if keyword in _IGNORED:
            continue
        member, value = _oscore_member(where, keyword, encoding, text)
        if member in found:
            why = ": peers would share our nonces; each takes a secret of its own" if member == "recipient-id" else ""
            raise MakingFault(f"{where}: {keyword} is given twice{why}")
        found[member] = value
    for keyword in ("master_secret", "sender_id", "recipient_id"):
        if _OCTETS[keyword] not in found:
            raise MakingFault(f"{source}: {keyword} is missing")
    return {label or f":{source.stem}": {"oscore": found}}


def _oscore_member(where: str, keyword: str, encoding: str, text: str) -> tuple[str, Any]:
    if keyword in _OCTETS and encoding in ("hex", "ascii"):
        data = _hex(text) if encoding == "hex" else text.encode()
        if data is None:
            raise MakingFault(f"{where}: {keyword}: not an even number of hexadecimal digits")
        return _OCTETS[keyword], {"hex": data.hex()}
    if keyword in _FLAGS and encoding == "bool" and text in ("true", "false"):
        return _FLAGS[keyword], text == "true"
    if keyword == "replay_window" and encoding == "integer" and text.isdecimal():
        return "window", int(text)
    if keyword == "aead_alg" and encoding in ("integer", "text"):
        return "algorithm", int(text) if text.isdecimal() else text
    if keyword == "hkdf_alg" and encoding in ("integer", "text") and text in _HASHES:
        return "kdf-hashfun", _HASHES[text]
    raise MakingFault(f"{where}: not known here: {json.dumps(keyword)} with {json.dumps(encoding)}, or its value")


FORMATS: Final[dict[str, Callable[[Path, Path, str | None], Json]]] = {
    "aiocoap": _aiocoap,
    "libcoap-psk": _libcoap_psk,
    "libcoap-oscore": _libcoap_oscore,
    "californium": _californium,
    "leshan": _leshan,
}
"""Formats that can be read, by name."""
