"""EDHOC's authentication credentials: CWT Claims Sets with a key on P-256 (RFC 9528 section 3.5.2), and private keys.

The bytes of a claims set are authenticated as they are, so what a file writes as JSON becomes deterministic CBOR (RFC
8949 section 4.2) once, here. Must not know entries or files; no error has a byte of a key in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from securecoap.credentials.keys import KeyFault

__all__ = ["MAXIMUM_CCS", "MAXIMUM_KID", "Ccs", "is_on_p256", "new_private_key", "private_scalar", "public_x"]

MAXIMUM_CCS: Final = 192
"""Bytes of the longest claims set that lakers takes."""
MAXIMUM_KID: Final = 16
"""Bytes of the longest key identifier that lakers takes."""

_CONFIRMATION, _COSE_KEY, _SUBJECT = 8, 1, 2  # RFC 8747 section 3, RFC 8392
_KTY, _KID, _CURVE, _X, _Y, _D = 1, 2, -1, -2, -3, -4  # RFC 9053 section 7.1
_EC2, _P256 = 2, 1
_LENGTH: Final = 32
_EDN_BYTES: Final = re.compile(r"h'([0-9A-Fa-f\s]*)'")
_EDN_MEMBER: Final = re.compile(r"\s*(-?\d+)\s*:\s*(-?\d+|h'[0-9A-Fa-f\s]*')\s*")


@dataclass(frozen=True, slots=True)
class Ccs:
    """A CWT Claims Set that says whose a public key is.

    Attributes:
        encoded: its bytes: CRED_I or CRED_R.
        kid: the identifier by which it is referred to.
        x: of its public key.
    """

    encoded: bytes = field(repr=False)
    kid: bytes
    x: bytes = field(repr=False)

    @classmethod
    def parse(cls, encoded: bytes) -> Ccs:
        """Take a claims set in CBOR, of a file or of a peer.

        Raises:
            KeyFault: it is none with a key on P-256 and a kid, or lakers would not take it.
        """
        if len(encoded) > MAXIMUM_CCS:
            raise KeyFault(f"a claims set of more than {MAXIMUM_CCS} bytes")
        claims = _load(encoded)
        if len(cbor2.dumps(claims, canonical=True)) != len(encoded):
            raise KeyFault("a claims set that is not in CBOR's shortest form, or with more behind it")
        return cls._checked(encoded, claims)

    @classmethod
    def _checked(cls, encoded: bytes, claims: Any) -> Ccs:
        confirmation = claims.get(_CONFIRMATION) if isinstance(claims, Mapping) else None
        if not isinstance(confirmation, Mapping) or len(confirmation) != 1:
            confirmation = {}
        key = confirmation.get(_COSE_KEY)
        if not isinstance(key, Mapping):
            raise KeyFault("no claims set with a COSE key: {2: subject, 8: {1: key}} is expected")
        if set(claims) - {_SUBJECT, _CONFIRMATION} or not isinstance(claims.get(_SUBJECT, ""), str):
            raise KeyFault("a claims set with other claims than 2, the subject, and 8, the key")
        if key.get(_KTY) != _EC2 or key.get(_CURVE) != _P256 or set(key) - {_KTY, _KID, _CURVE, _X, _Y}:
            raise KeyFault("a key that is not on P-256: {1: 2, 2: kid, -1: 1, -2: x, -3: y} is expected")
        kid, x, y = key.get(_KID), key.get(_X), key.get(_Y, True)
        if not isinstance(kid, bytes) or not 1 <= len(kid) <= MAXIMUM_KID:
            raise KeyFault(f"a key without kid of 1 to {MAXIMUM_KID} bytes")
        if not isinstance(x, bytes) or not is_on_p256(x, y if isinstance(y, bytes) else None):
            raise KeyFault("a key whose coordinates are no point of P-256")
        return cls(encoded, kid, x)

    @classmethod
    def compose(cls, content: Any) -> Ccs:
        """The claims set for values of a file.

        Raises:
            KeyFault: as `parse`.
        """
        try:
            encoded = cbor2.dumps(content, canonical=True)
        except (cbor2.CBOREncodeError, TypeError, ValueError):
            raise KeyFault("no claims set") from None
        if len(encoded) > MAXIMUM_CCS:
            raise KeyFault(f"a claims set of more than {MAXIMUM_CCS} bytes")
        return cls._checked(encoded, content)


def is_on_p256(x: bytes, y: bytes | None = None) -> bool:
    """Whether a point of P-256 has this x, and this y if it is given."""
    try:
        if y is None:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x02" + x)
        else:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        return False
    return len(x) == _LENGTH


def private_scalar(data: bytes | Mapping[Any, Any]) -> bytes:
    """The private key of a COSE key with kty, crv and d: in CBOR, in diagnostic notation, or as values of a file.

    Raises:
        KeyFault: it is no such key.
    """
    key = data if isinstance(data, Mapping) else _load_key(data)
    if key.get(_KTY) != _EC2 or key.get(_CURVE) != _P256 or set(key) - {_KTY, _CURVE, _D}:
        raise KeyFault("no private COSE key on P-256: {1: 2, -1: 1, -4: d} is expected")
    scalar = key.get(_D)
    if not isinstance(scalar, bytes) or len(scalar) != _LENGTH:
        raise KeyFault(f"a private key whose d is not a byte string of {_LENGTH} bytes")
    public_x(scalar)
    return scalar


def public_x(scalar: bytes) -> bytes:
    """The x coordinate of the public key that belongs to a private one.

    Raises:
        KeyFault: it is no private key of P-256.
    """
    try:
        private = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    except ValueError:
        raise KeyFault("a private key that is not in the range of P-256") from None
    return private.public_key().public_numbers().x.to_bytes(_LENGTH, "big")


def new_private_key() -> bytes:
    """A key for a party that stays unauthenticated."""
    private = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return private.to_bytes(_LENGTH, "big")


def _load(data: bytes) -> Any:
    """A map in CBOR."""
    try:
        found = cbor2.loads(data)
    except Exception:  # noqa: BLE001  # a decoder of third parties on a peer's bytes: whatever it raises, it is no item
        raise KeyFault("not CBOR") from None
    if not isinstance(found, Mapping):
        raise KeyFault("no map in CBOR")
    return found


def _load_key(data: bytes) -> Mapping[Any, Any]:
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text.startswith("{"):
        return _load(data)  # type: ignore[no-any-return]  # it is a map
    # Diagnostic notation (RFC 8949 section 8), as far as such a key needs it.
    if not text.endswith("}"):
        raise KeyFault("not a map in diagnostic notation")
    key: dict[int, int | bytes] = {}
    for member in text[1:-1].split(","):
        match = _EDN_MEMBER.fullmatch(member)
        if match is None:
            raise KeyFault("not a map of numbers and byte strings in diagnostic notation")
        octets = _EDN_BYTES.fullmatch(match[2])
        try:
            key[int(match[1])] = int(match[2]) if octets is None else bytes.fromhex(octets[1])
        except ValueError:
            raise KeyFault("a byte string with an odd number of digits") from None
    return key
