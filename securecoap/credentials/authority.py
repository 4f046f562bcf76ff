"""A small certification authority of one's own: devices' and servers' certificates for DTLS (RFC 7252 section 9.1.3.3).

Keys are on P-256, names are SubjectAltNames, and the extensions are those that `dtls.certificates` asks for. Must not
know entries or files.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securecoap.credentials.making import MakingFault
from securecoap.credentials.names import is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["AUTHORITY_DAYS", "Authority"]

AUTHORITY_DAYS: Final = 3650
_SKEW: Final = timedelta(hours=1)
"""Certificates begin earlier by this: a device's clock may be behind."""
_DNS_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_LONGEST_COMMON_NAME: Final = 64


class Authority:
    """A certificate that signs others, and its key.

    Attributes:
        certificate_pem: its certificate.
    """

    __slots__ = ("_certificate", "_key", "certificate_pem")

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.certificate_pem = certificate.public_bytes(Encoding.PEM).decode("ascii")

    @classmethod
    def create(cls, name: str, now: float, days: int = AUTHORITY_DAYS) -> Authority:
        """A new authority.

        Args:
            name: for people.
            now: seconds since 1970.
            days: how long it is valid.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            _lasting(x509.CertificateBuilder(), now, days)
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def parse(cls, pem: bytes) -> Authority:
        """What `pem` gave.

        Raises:
            MakingFault: it has no certificate of an authority, or not its key.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise MakingFault("not an authority: certificate and private key in PEM are expected") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise MakingFault("not an authority: the private key is not that of the certificate")
        return cls(certificate, key)

    def pem(self) -> bytes:
        """Certificate and private key: to be kept secret."""
        return self.certificate_pem.encode() + _pem(self._key)

    def issue(self, names: Sequence[str], now: float, days: int) -> tuple[str, str]:
        """A certificate for client and server in PEM, and its new private key.

        Args:
            names: of the owner: DNS names or addresses; at least one.
            now: seconds since 1970.
            days: how long it is valid; never longer than the authority.

        Raises:
            MakingFault: a name that cannot be in a certificate, or the authority has ended.
        """
        template = _template(self._certificate, now, days)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            template.subject_name(_name(names[0]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode("ascii"), _pem(key).decode("ascii")

    def __reduce__(self) -> tuple[Callable[[bytes], Authority], tuple[bytes]]:
        """For the processes among which the making of very many certificates is divided: they get it through a pipe."""
        return Authority.parse, (self.pem(),)


@lru_cache(maxsize=1)
def _template(issuer: x509.Certificate, now: float, days: int) -> x509.CertificateBuilder:
    """What all certificates that are issued in one go have in common.

    Raises:
        MakingFault: the authority has ended.
    """
    ends = issuer.not_valid_after_utc
    if ends.timestamp() <= now:
        raise MakingFault(f"the authority's certificate ended on {ends:%Y-%m-%d}")
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    signer = issuer.public_key()
    if not isinstance(signer, ec.EllipticCurvePublicKey):
        raise MakingFault("not an authority: its key is not on a curve")
    return (
        _lasting(x509.CertificateBuilder(), now, days, ends)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _lasting(
    builder: x509.CertificateBuilder, now: float, days: int, latest: datetime | None = None
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(int(now), UTC)
    end = start + timedelta(days=days)
    return builder.not_valid_before(start - _SKEW).not_valid_after(end if latest is None else min(end, latest))


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_LONGEST_COMMON_NAME])])


def _general(name: str) -> x509.GeneralName:
    if is_address(name):
        return x509.IPAddress(ip_address(name.strip("[]")))
    if not _DNS_NAME.fullmatch(name):
        raise MakingFault(f"{name}: cannot be a name in a certificate: letters, digits, '-', '_' and '.' are expected")
    return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
