"""One device's credentials as an object of their own: the half that belongs to a label of a server's file, or an entry.

The object needs no other file: byte values from elsewhere are put into it. Must not know files or the command line.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.making import Json, MakingFault, octets

if TYPE_CHECKING:
    from securecoap.credentials.pairing import Octets

__all__ = ["device_half", "standalone"]

_OUTSIDE: Final = ("file", "env", "command")
_REVERSED: Final = {"sender-id": "recipient-id", "recipient-id": "sender-id"}


def device_half(label: str, entry: Any, read: Octets) -> Json:
    """What the device's file has for a label of its server's file: of several keys the newest.

    Args:
        label: of the device.
        entry: its JSON.
        read: gives the bytes of a byte value.

    Raises:
        MakingFault: the server's file does not have what the device needs.
    """
    if isinstance(entry, dict) and isinstance(entry.get("any-of"), list):
        entry = entry["any-of"][0]
    if isinstance(entry, dict) and isinstance(entry.get("dtls"), dict):
        return {"dtls": standalone(entry["dtls"], read)}
    value = entry.get("oscore") if isinstance(entry, dict) else None
    if isinstance(value, dict) and "basedir" not in value:
        value = standalone(value, read)
        return {"oscore": {_REVERSED.get(name, name): one for name, one in value.items()}}
    raise MakingFault(f"{label}: the device's private key is in no server's file; export its entry from its own file")


def standalone(value: Any, read: Octets) -> Any:
    """The same JSON with every byte value in it, wherever it came from.

    Raises:
        MakingFault: one cannot be read, or is in a form that stays outside.
    """
    if isinstance(value, list):
        return [standalone(one, read) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in _OUTSIDE:
        data = read(value)
        if data is None:
            raise MakingFault(f"a {next(iter(value))} cannot be read")
        return octets(data) if len(data) <= 64 else {"base64": base64.b64encode(data).decode()}
    for name in ("basedir", "private-key-file", "certfile"):
        if name in value:
            raise MakingFault(f"{name} cannot be exported: what it names stays where it is")
    return {name: standalone(one, read) for name, one in value.items()}
