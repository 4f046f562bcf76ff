"""A small certification authority of one's own: devices' and servers' certificates for DTLS (RFC 7252 section 9.1.3.3).

Keys are on P-256, names are SubjectAltNames, and the extensions are those that `dtls.certificates` asks for. Must not
know entries or files.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securecoap.credentials.making import MakingFault

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            _builder(subject, subject, key, now, days)
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
        key = ec.generate_private_key(ec.SECP256R1())
        ends = self._certificate.not_valid_after_utc
        if ends.timestamp() <= now:
            raise MakingFault(f"the authority's certificate ended on {ends:%Y-%m-%d}")
        builder = _builder(_name(names[0]), self._certificate.subject, key, now, days, ends)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(purposes, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM).decode("ascii"), _pem(key).decode("ascii")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: float,
    days: int,
    latest: datetime | None = None,
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(int(now), UTC)
    end = start + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _SKEW)
        .not_valid_after(end if latest is None else min(end, latest))
    )


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
    try:
        return x509.IPAddress(ip_address(name.strip("[]")))
    except ValueError:
        pass  # then it is a DNS name
    if not _DNS_NAME.fullmatch(name):
        raise MakingFault(f"{name}: cannot be a name in a certificate: letters, digits, '-', '_' and '.' are expected")
    return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
