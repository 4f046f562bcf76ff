"""Signature schemes of DTLS 1.2 (RFC 5246 section 7.4.1.4.1, RFC 8422 section 5.1.3, RFC 8446 section 4.2.3 for PSS).

What is signed with which key: ECDSA on P-256 and P-384, Ed25519 (raw public keys only), and RSA for certificates. In
TLS 1.2 an ECDSA scheme names a hash and not a curve. SHA-1 and PKCS #1 with MD5 are not here. Must not know messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from securecoap.dtls.alerts import Alert, HandshakeFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CERTIFICATE_SCHEMES",
    "RAW_KEY_SCHEMES",
    "SERVER_SCHEMES",
    "PrivateKey",
    "PublicKey",
    "common_scheme",
    "curve_code",
    "parse_public_key",
    "schemes_of",
    "sign",
    "usable_public_key",
    "verify",
]

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_CURVES: Final = {"secp256r1": 23, "secp384r1": 24}
_MINIMUM_RSA: Final = 2048
_MAXIMUM_RSA: Final = 8192
"""Bits. Beyond them one verification costs a peer nothing and us milliseconds."""


@dataclass(frozen=True, slots=True)
class _Scheme:
    """How one scheme signs: the kind of its key, and the arguments of ``sign`` and ``verify`` behind the data."""

    private: type
    public: type
    arguments: tuple[Any, ...]


def _ecdsa(algorithm: hashes.HashAlgorithm) -> _Scheme:
    return _Scheme(ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey, (ec.ECDSA(algorithm),))


def _rsa(scheme_padding: Any, algorithm: hashes.HashAlgorithm) -> _Scheme:
    return _Scheme(rsa.RSAPrivateKey, rsa.RSAPublicKey, (scheme_padding, algorithm))


def _pss(algorithm: hashes.HashAlgorithm) -> _Scheme:
    return _rsa(padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH), algorithm)


_SCHEMES: Final[dict[int, _Scheme]] = {
    0x0403: _ecdsa(hashes.SHA256()),
    0x0503: _ecdsa(hashes.SHA384()),
    0x0807: _Scheme(ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey, ()),
    0x0804: _pss(hashes.SHA256()),
    0x0805: _pss(hashes.SHA384()),
    0x0401: _rsa(padding.PKCS1v15(), hashes.SHA256()),
    0x0501: _rsa(padding.PKCS1v15(), hashes.SHA384()),
}

RAW_KEY_SCHEMES: Final = (0x0403, 0x0503, 0x0807)
"""What a raw public key signs with, in order of preference."""
CERTIFICATE_SCHEMES: Final = (0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501)
"""What the key of a certificate signs with, in order of preference."""
SERVER_SCHEMES: Final = RAW_KEY_SCHEMES
"""What can sign in a handshake of ECDHE_ECDSA; RSA authenticates clients only, since no ECDHE_RSA suite is used."""


def curve_code(key: PrivateKey) -> int | None:
    """Return the number of an ECDSA key's group, which the peer has to support (RFC 8422 section 5.1)."""
    return _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePrivateKey) else None


def usable_public_key(key: object, *, in_certificate: bool) -> bool:
    """Say whether a public key is of a kind and size that is used: Ed25519 raw only, RSA in certificates only."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    if isinstance(key, rsa.RSAPublicKey):
        return in_certificate and _MINIMUM_RSA <= key.key_size <= _MAXIMUM_RSA
    return not in_certificate and isinstance(key, ed25519.Ed25519PublicKey)


def parse_public_key(subject_public_key_info: bytes) -> PublicKey:
    """Return the key of a SubjectPublicKeyInfo in DER; raise ``HandshakeFault`` where it is none that is used."""
    try:
        key = load_der_public_key(subject_public_key_info)
    except (ValueError, UnsupportedAlgorithm):
        raise HandshakeFault(Alert.BAD_CERTIFICATE, "a raw public key does not parse") from None
    if not usable_public_key(key, in_certificate=False):
        raise HandshakeFault(Alert.UNSUPPORTED_CERTIFICATE, "a raw public key is of a kind that is not used")
    return key  # type: ignore[return-value]  # usable_public_key has looked at its type


def schemes_of(key: PrivateKey, allowed: Sequence[int]) -> tuple[int, ...]:
    """Return those of the allowed schemes that this key can sign with; its own curve's hash first."""
    found = [code for code in allowed if isinstance(key, _SCHEMES[code].private)]
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp384r1":
        found.reverse()
    return tuple(found)


def common_scheme(own: Iterable[int], offered: Sequence[int]) -> int | None:
    """Return the first of our schemes that the peer accepts."""
    return next((code for code in own if code in offered), None)


def sign(key: PrivateKey, scheme: int, data: bytes) -> bytes:
    """Return the signature over ``data``; the key is one of the scheme's (``schemes_of``)."""
    signature: bytes = key.sign(data, *_SCHEMES[scheme].arguments)
    return signature


def verify(key: PublicKey, scheme: int, signature: bytes, data: bytes, allowed: Sequence[int]) -> None:
    """Check a peer's signature.

    Raises:
        HandshakeFault: the scheme was not offered or is not the key's, or the signature is wrong.
    """
    row = _SCHEMES.get(scheme)
    if row is None or scheme not in allowed or not isinstance(key, row.public):
        raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a signature is of a scheme that was not offered for its key")
    try:
        key.verify(signature, data, *row.arguments)
    except InvalidSignature:
        raise HandshakeFault(Alert.DECRYPT_ERROR, "a signature is wrong: the peer does not have the key") from None
