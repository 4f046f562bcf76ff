"""Reading keys and certificates in PEM or DER (RFC 7468, RFC 5280, RFC 5958): parsed, so that what is kept is sound.

Gives DER throughout. Must not know entries; no error has a byte of a key in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

__all__ = [
    "KeyFault",
    "authorities",
    "certificates",
    "end_of",
    "kind_of",
    "matching_public_key",
    "private_key",
    "public_key",
    "public_key_of",
]

_PEM: Final = b"-----BEGIN "
_PRIVATE: Final = b"PRIVATE KEY"
_ERRORS: Final = (ValueError, TypeError, UnsupportedAlgorithm)
_MINIMUM_RSA: Final = 2048
_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""How a SubjectPublicKeyInfo on P-256 begins: nearly all of them are, and need not be parsed again to know it."""


class KeyFault(ValueError):
    """Bytes that are not the key or certificate expected; the text is for the person who wrote the file."""


def private_key(data: bytes) -> bytes:
    """A private key without passphrase, as PKCS #8.

    Raises:
        KeyFault: it is none, or of a kind or length that is not used.
    """
    try:
        key = load_pem_private_key(data, None) if _PEM in data else load_der_private_key(data, None)
    except _ERRORS:
        raise KeyFault("not a private key in PEM or DER without passphrase") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)):
        raise KeyFault("a private key of a kind that is not used: ECDSA, Ed25519 or RSA is expected")
    _check_rsa(key)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_key(data: bytes) -> bytes:
    """A public key, as SubjectPublicKeyInfo.

    Raises:
        KeyFault: it is none, or of a kind or length that is not used.
    """
    try:
        key = load_pem_public_key(data) if _PEM in data else load_der_public_key(data)
    except _ERRORS:
        raise KeyFault("not a public key in PEM or DER") from None
    if not isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, rsa.RSAPublicKey)):
        raise KeyFault("a public key of a kind that is not used: ECDSA, Ed25519 or RSA is expected")
    _check_rsa(key)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def matching_public_key(private: bytes) -> bytes:
    """The public key of a private key that `private_key` gave."""
    key = load_der_private_key(private, None)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM file, in its order, or one in DER.

    Raises:
        KeyFault: there is none, or one that does not parse.
    """
    try:
        found = x509.load_pem_x509_certificates(data) if _PEM in data else [x509.load_der_x509_certificate(data)]
        for certificate in found:
            _ = certificate.extensions  # parsed when it is read: rather now than in a handshake
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)
    except (*_ERRORS, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise KeyFault("not a certificate in PEM or DER") from None


def authorities(data: bytes) -> tuple[bytes, ...]:
    """As `certificates`, for those that very many entries name: each is parsed and kept once.

    Raises:
        KeyFault: there is none, or one that does not parse.
    """
    return certificates(data) if _PRIVATE in data else _shared(data)  # no key is kept beyond its credential


_shared: Final = lru_cache(maxsize=64)(certificates)


def kind_of(public: bytes) -> str:
    """The kind of a public key that `public_key` gave: the name of a curve, ``ed25519`` or ``rsa``."""
    if public.startswith(_P256):
        return "secp256r1"
    key = load_der_public_key(public)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name
    return "rsa" if isinstance(key, rsa.RSAPublicKey) else "ed25519"


def public_key_of(certificate: bytes) -> bytes:
    """The public key of a certificate that `certificates` gave.

    Raises:
        KeyFault: the key is of a kind that is not used.
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _ERRORS:
        raise KeyFault("a certificate with a key of a kind that is not used") from None


def end_of(certificate: bytes) -> float:
    """When a certificate that `certificates` gave ends, in seconds since 1970."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _check_rsa(key: object) -> None:
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)) and key.key_size < _MINIMUM_RSA:
        raise KeyFault(f"an RSA key has {_MINIMUM_RSA} bits at least")
