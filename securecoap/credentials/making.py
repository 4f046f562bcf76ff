"""New keys, in the forms that a credentials file has: never weaker than 128 bits, never predictable.

All randomness is the system's. Must not know files, or what is in one already.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from securecoap.credentials.edhoc import METHOD, SUITE

__all__ = [
    "OWN_KID",
    "Json",
    "MakingFault",
    "claims_set",
    "context_pair",
    "identity_set",
    "key_pair",
    "new_entry",
    "new_psk",
    "octets",
]

Json = dict[str, Any]

_KEY: Final = 16
"""Bytes of symmetric keys: what the ciphers use, and the most that tinydtls takes."""
_SALT: Final = 8
OWN_KID: Final = b"\x01"
"""The server's sender id, the same for all devices: each of them has a secret of its own (RFC 8613 section 3.3)."""
_KCCS: Final = "14"  # COSE's header parameter for a CWT Claims Set (RFC 9528 section 10.6)


class MakingFault(ValueError):
    """What was asked for cannot be made; the text is for the person who asked."""


def octets(data: bytes) -> Json:
    """A byte value as it is written in a file."""
    return {"hex": data.hex()}


def new_psk(identity: str) -> Json:
    """The value of ``dtls`` with a new key.

    Raises:
        MakingFault: the identity is not ASCII.
    """
    if not identity.isascii():
        raise MakingFault(f"{identity}: an identity is made of it, so it has to be ASCII")
    return {"client-identity": {"ascii": identity}, "psk": octets(secrets.token_bytes(_KEY))}


def context_pair(kid: bytes) -> tuple[Json, Json]:
    """Two values of ``oscore`` with a new secret: the server's, and that of the device with this sender id."""
    common = {"secret": octets(secrets.token_bytes(_KEY)), "salt": octets(secrets.token_bytes(_SALT))}
    ours, theirs = octets(OWN_KID), octets(kid)
    return (
        {**common, "sender-id": ours, "recipient-id": theirs},
        {**common, "sender-id": theirs, "recipient-id": ours},
    )


def key_pair() -> tuple[Json, Json]:
    """A new key on P-256, private (PKCS #8) and public (SubjectPublicKeyInfo), as byte values."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"base64": base64.b64encode(secret).decode()}, {"base64": base64.b64encode(public).decode()}


def claims_set(subject: str, kid: bytes) -> tuple[Json, Json]:
    """A CWT Claims Set with a new key on P-256 for EDHOC, and its private COSE key (RFC 9528 section 3.5.2).

    Args:
        subject: whose it is, for people.
        kid: by which it is referred to.
    """
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    point = numbers.public_numbers
    scalar, x, y = (octets(number.to_bytes(32, "big")) for number in (numbers.private_value, point.x, point.y))
    public = {"1": 2, "2": octets(kid), "-1": 1, "-2": x, "-3": y}
    return {_KCCS: {"2": subject, "8": {"1": public}}}, {"1": 2, "-1": 1, "-4": scalar}


def identity_set(subject: str, kid: bytes) -> Json:
    """The value of ``edhoc-oscore`` that says who its owner is, and nothing of peers."""
    own, private = claims_set(subject, kid)
    return {"suite": SUITE, "method": METHOD, "own-cred": own, "own-cred-style": "by-key-id", "private-key": private}


def new_entry(kind: str, name: str) -> Json:
    """An entry with new keys, for a file that somebody writes by hand; its peer gets the other half by hand, too.

    Args:
        kind: ``dtls``, ``oscore``, ``edhoc-oscore`` or ``dtls-rpk``, where ``peer-keys`` are still to be added.
        name: identity or subject.

    Raises:
        MakingFault: the kind cannot be made alone.
    """
    if kind == "dtls":
        return {kind: new_psk(name)}
    if kind == "oscore":
        return {kind: context_pair(secrets.token_bytes(2))[0]}
    if kind == "edhoc-oscore":
        return {kind: identity_set(name, secrets.token_bytes(2))}
    if kind == "dtls-rpk":
        private, public = key_pair()
        return {kind: {"private-key": private, "public-key": public}}
    raise MakingFault(f"{kind} is not made alone: 'credentials pair {kind}' makes both sides")
