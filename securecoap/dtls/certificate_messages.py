"""The messages of authentication by key: Certificate, CertificateRequest, CertificateVerify, and ECDHE parameters.

RFC 5246 section 7.4.2, 7.4.4 and 7.4.8; RFC 7250 section 3 for a raw public key; RFC 8422 section 5.4 and 5.7, RFC 5489
section 2 for ECDHE. Must not know states, or what a key is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.extensions import encode_numbers
from securecoap.dtls.identities import CertificateType
from securecoap.dtls.reader import Reader, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ECDSA_SIGN",
    "RSA_SIGN",
    "CertificateRequest",
    "Signed",
    "encode_certificate",
    "encode_parameters",
    "encode_signed",
    "parse_certificate",
    "parse_signed",
    "read_parameters",
    "read_signed",
]

RSA_SIGN: Final = 1
ECDSA_SIGN: Final = 64
"""Client certificate types; the second one is for EdDSA too (RFC 8422 section 5.5)."""
_NAMED_CURVE: Final = 3
_MAX_CHAIN: Final = 10
"""Certificates of one peer. Real chains have two or three."""


def encode_certificate(certificate_type: CertificateType, chain: Sequence[bytes]) -> bytes:
    """Return the body of a Certificate; an empty chain is a client's that has nothing to show."""
    if certificate_type is CertificateType.RAW_PUBLIC_KEY:
        return vector(chain[0] if chain else b"", 3)
    return vector(b"".join(vector(one, 3) for one in chain), 3)


def parse_certificate(body: bytes, certificate_type: CertificateType) -> tuple[bytes, ...]:
    """Return the certificates, or the one raw public key, in DER and not yet looked at; empty if there is none."""
    reader = Reader(body)
    content = reader.vector(3)
    reader.finish()
    if not content:
        return ()
    if certificate_type is CertificateType.RAW_PUBLIC_KEY:
        return (content,)
    chain: list[bytes] = []
    certificates = Reader(content)
    while not certificates.at_end():
        if len(chain) == _MAX_CHAIN:
            raise HandshakeFault(Alert.BAD_CERTIFICATE, f"there are more than {_MAX_CHAIN} certificates")
        chain.append(certificates.vector(3, 1))
    return tuple(chain)


class CertificateRequest(NamedTuple):
    """What a server asks of a client (RFC 5246 section 7.4.4); the names of authorities are not looked at."""

    certificate_types: bytes
    schemes: tuple[int, ...]

    @classmethod
    def parse(cls, body: bytes) -> CertificateRequest:
        """Parse the body of a whole message."""
        reader = Reader(body)
        types = reader.vector(1, 1)
        numbers = reader.vector(2, 2)
        reader.vector(2)
        reader.finish()
        if len(numbers) % 2:
            raise HandshakeFault(Alert.DECODE_ERROR, "a list of numbers ends inside one")
        return cls(types, tuple((numbers[i] << 8) | numbers[i + 1] for i in range(0, len(numbers), 2)))

    def encode(self, authorities: bytes) -> bytes:
        """Return the body."""
        return vector(self.certificate_types, 1) + encode_numbers(self.schemes) + vector(authorities, 2)


class Signed(NamedTuple):
    """A scheme and a signature: digitally-signed of RFC 5246 section 4.7."""

    scheme: int
    signature: bytes


def encode_signed(scheme: int, signature: bytes) -> bytes:
    """Return scheme and signature, as CertificateVerify and the end of a ServerKeyExchange have them."""
    return scheme.to_bytes(2, "big") + vector(signature, 2)


def parse_signed(body: bytes) -> Signed:
    """Read a CertificateVerify."""
    return read_signed(Reader(body))


def read_signed(reader: Reader) -> Signed:
    """Read a signature that ends a message."""
    signed = Signed(reader.integer(2), reader.vector(2))
    reader.finish()
    return signed


def encode_parameters(group: int, point: bytes) -> bytes:
    """Return the ServerECDHParams (RFC 8422 section 5.4)."""
    return bytes((_NAMED_CURVE,)) + group.to_bytes(2, "big") + vector(point, 1)


def read_parameters(reader: Reader) -> tuple[int, bytes]:
    """Read ServerECDHParams: (group, point). Explicit curves are refused."""
    if reader.integer(1) != _NAMED_CURVE:
        raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server describes a curve instead of naming one")
    return reader.integer(2), reader.vector(1, 1)
