"""The kind ``edhoc-oscore``: from parsed JSON in aiocoap's form to an `EdhocOscore`.

COSE and CWT have numbers as names, and JSON has not: ``"14"`` stands for 14, and a byte string is written as everywhere
in a credentials file. Must not know labels, references or requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials.ccs import Ccs, private_scalar, public_x
from securecoap.credentials.keys import KeyFault
from securecoap.credentials.models import EdhocIdentity, EdhocOscore, digest
from securecoap.credentials.secret import Secret
from securecoap.credentials.sources import SourceError
from securecoap.credentials.values import FORMS, Parser, Reading, Whole, parse_bool, parse_path

if TYPE_CHECKING:
    from securecoap.credentials.faults import Place

__all__ = ["EDHOC_MEMBERS", "EDHOC_REQUIRED", "METHOD", "STYLES", "SUITE", "parse_edhoc"]

SUITE: Final = 2
"""The cipher suite that lakers has: AES-CCM-16-64-128, SHA-256, P-256 (RFC 9528 section 3.6)."""
METHOD: Final = 3
"""The authentication method that lakers has: static Diffie-Hellman keys on both sides (section 3.2)."""

_KCCS: Final = 14  # COSE's header parameter for a CWT Claims Set by value (section 10.6)
_ANYBODY: Final = {"unauthenticated": True}
_NUMBER: Final = re.compile(r"-?\d{1,4}", re.ASCII)
STYLES: Final = ("by-key-id", "by-value")
_DEEPEST: Final = 8


def parse_edhoc(reading: Reading, value: Any, place: Place, common: dict[str, Any]) -> EdhocOscore | None:
    """The credential, or ``None`` after faults."""
    got = reading.members(value, place, EDHOC_MEMBERS, EDHOC_REQUIRED)
    if got is None:
        return None
    if "private-key" in got and "private-key-file" in got:
        reading.fault(place / "private-key", "private-key and private-key-file exclude each other")
        return None
    own, peer, style = got.get("own-cred"), got.get("peer-cred"), got.get("own-cred-style")
    private: bytes | None = got.get("private-key", got.get("private-key-file"))
    if own is _ANYBODY:
        if private is not None or style == "by-key-id":
            reading.fault(place / "own-cred", "unauthenticated goes without a key, and only by-value")
            return None
    elif len({own is None, style is None, private is None}) > 1:
        reading.fault(place, "own-cred, own-cred-style and a private key belong together")
        return None
    if own is None and peer is None:
        reading.fault(place, "own-cred with its private key, or peer-cred, or all of them, are expected")
        return None
    identity = None
    if isinstance(own, Ccs) and private is not None:
        if public_x(private) != own.x:
            reading.fault(place / "own-cred", "the private key does not belong to it")
            return None
        identity = EdhocIdentity(own, Secret(private), style == "by-value")
    if identity is not None and isinstance(peer, Ccs) and peer.x == identity.ccs.x:
        reading.fault(place / "peer-cred", "the same key as own-cred: nobody talks with himself")
        return None
    if (got["suite"], got["method"]) != (SUITE, METHOD):
        reading.report.warning(place, f"nothing can be sent or served with it: only suite {SUITE} with method {METHOD}")
    if peer is _ANYBODY:
        if common["own_claims"]:
            reading.fault(place, "claims stand beside a peer that proves nothing")
            return None
        reading.report.warning(place / "peer-cred", "the peer is not authenticated: it may be anybody")
    parts = [part.encoded if isinstance(part, Ccs) else b"*" if part else b"" for part in (own, peer)]
    label = str(common["label"]).encode("utf-8", "surrogatepass")
    return EdhocOscore(
        **common,
        key=digest([b"edhoc", label, private or b"", *parts]),
        suite=got["suite"],
        method=got["method"],
        own=identity,
        own_anonymous=own is _ANYBODY,
        peer=peer if isinstance(peer, Ccs) else None,
        peer_anyone=peer is _ANYBODY,
        combined=got.get("use-combined-edhoc", True),
    )


def parse_party(reading: Reading, value: Any, place: Place) -> Ccs | dict[str, bool] | None:
    """A credential, or that there is none."""
    if value == _ANYBODY:
        return _ANYBODY
    content = _item(reading, value, place)
    if content is None:
        return None
    if not isinstance(content, Mapping) or set(content) != {_KCCS}:
        reading.fault(place, f"a CWT claims set is expected, by the name of {_KCCS}; other credentials are not usable")
        return None
    try:
        return Ccs.compose(content[_KCCS])
    except KeyFault as error:
        reading.fault(place, str(error))
        return None


def _item(reading: Reading, value: Any, place: Place, depth: int = 0) -> Any:
    """What JSON's values stand for in CBOR; ``None`` after a fault."""
    if isinstance(value, (str, int)):
        return value
    is_object = isinstance(value, (dict, Mapping))
    if isinstance(value, bytes) or (is_object and len(value) == 1 and next(iter(value)) in FORMS):
        return reading.octets(value, place)
    if not is_object or depth > _DEEPEST:
        reading.fault(place, "an object, a string, a whole number or a byte value is expected")
        return None
    content: dict[Any, Any] = {}
    for name, member in value.items():
        is_number = isinstance(name, str) and _NUMBER.fullmatch(name)
        number = int(name) if is_number else name
        # A name that is no number may be anything, and is not repeated: it may be the secret, put in the wrong spot.
        inner = _item(reading, member, place / name if is_number else place, depth + 1)
        if inner is None:
            return None
        content[number] = inner
    return content


def parse_style(reading: Reading, value: Any, place: Place) -> str | None:
    """How a credential is sent."""
    if value in STYLES:
        return str(value)
    reading.fault(place, "by-key-id or by-value is expected")
    return None


def _private(reading: Reading, data: bytes | Mapping[Any, Any], place: Place) -> bytes | None:
    try:
        return private_scalar(data)
    except KeyFault as error:
        reading.fault(place, str(error))
        return None


def parse_private_file(reading: Reading, value: Any, place: Place) -> bytes | None:
    """The scalar of the private COSE key in a file."""
    path = parse_path(reading, value, place)
    if path is None:
        return None
    try:
        data = reading.sources.file(path)
    except SourceError as error:
        reading.fault(place, str(error))
        return None
    reading.warn_of_exposure(path, data, place)
    return _private(reading, data, place)


def parse_private(reading: Reading, value: Any, place: Place) -> bytes | None:
    """The scalar of a private COSE key."""
    content = _item(reading, value, place)
    if content is None:
        return None
    if not isinstance(content, Mapping):
        reading.fault(place, "a COSE key as an object is expected")
        return None
    return _private(reading, content, place)


EDHOC_MEMBERS: Final[dict[str, Parser]] = {
    "suite": Whole(-65536, 65535),
    "method": Whole(0, 3),
    "own-cred": parse_party,
    "own-cred-style": parse_style,
    "peer-cred": parse_party,
    "private-key": parse_private,
    "private-key-file": parse_private_file,
    "use-combined-edhoc": parse_bool,
}
EDHOC_REQUIRED: Final = ("suite", "method")
