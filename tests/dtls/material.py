"""Keys and certificates made for one test run, and the stores that know them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securecoap.dtls.alerts import Alert
from securecoap.dtls.certificates import CLIENT, SERVER, TrustStore
from securecoap.dtls.identities import CertificateType, KeyCredential, OwnKey, Proof, Refusal
from securecoap.dtls.signatures import CERTIFICATE_SCHEMES, RAW_KEY_SCHEMES, schemes_of

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@cache
def private_key(kind: str, name: str = "") -> Any:
    """A key of a kind; each name has its own."""
    del name
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind])


def spki(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def alternative(name: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def certificate(
    subject: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    names: tuple[str | x509.GeneralName, ...] = (),
    is_authority: bool = False,
    constraints: x509.NameConstraints | None = None,
    days: tuple[int, int] = (-30, 30),
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
    usage: bool | None = True,
    certifies: bool | None = None,
) -> bytes:
    """A certificate in DER; its key usage is left out if ``usage`` is ``None``."""
    certifies = is_authority if certifies is None else certifies
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if usage is not None:
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
        signs = dict.fromkeys((*others, "decipher_only"), False)
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=usage, key_cert_sign=certifies, crl_sign=is_authority, **signs),
            critical=True,
        )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative(one) for one in names]), critical=False
        )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Authority:
    """A root, with or without an intermediate authority below it."""

    name: str = "root"
    kind: str = "p256"
    days: tuple[int, int] = (-30, 30)
    key: Any = field(init=False)
    root: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.key = private_key(self.kind, self.name)
        self.root = certificate(self.name, self.key, self.name, self.key, is_authority=True, days=self.days)

    def issue(self, key: Any, *names: str | x509.GeneralName, **options: Any) -> bytes:
        return certificate(options.pop("subject", "peer"), key, self.name, self.key, names=names, **options)


def raw_own(key: Any) -> OwnKey:
    return OwnKey(key, CertificateType.RAW_PUBLIC_KEY, (spki(key),), schemes_of(key, RAW_KEY_SCHEMES))


def certificate_own(key: Any, *chain: bytes) -> OwnKey:
    return OwnKey(key, CertificateType.X509, chain, schemes_of(key, CERTIFICATE_SCHEMES))


def judge_raw(peers: dict[bytes, str]) -> Any:
    def judge(chain: tuple[bytes, ...]) -> Proof | Refusal:
        label = peers.get(chain[0])
        return Refusal(Alert.BAD_CERTIFICATE, "its key is not known here") if label is None else Proof(b"raw", (label,))

    return judge


def judge_chain(
    authority: Authority, purpose: x509.ObjectIdentifier, name: str | None = None, clock: Any = NOW.timestamp
) -> Any:
    store = TrustStore([authority.root], purpose)

    def judge(chain: tuple[bytes, ...]) -> Proof | Refusal:
        found = store.verify(chain, clock())
        if isinstance(found, Refusal):
            return found
        if name is not None and name not in found.names:
            return Refusal(Alert.BAD_CERTIFICATE, f"its certificate is not for {name}")
        return Proof(b"certified", tuple(f"san:{one}" for one in found.names))

    return judge


@dataclass
class Keys:
    """A server's keys: `ServerKeys`."""

    own: list[OwnKey]
    raw: Any = None
    certified: Any = None
    psk: bool = True
    names: list[str | None] = field(default_factory=list)

    def own_keys(self, server_name: str | None) -> list[OwnKey]:
        self.names.append(server_name)
        return self.own

    def has_psk(self) -> bool:
        return self.psk

    def accepts(self, certificate_type: CertificateType) -> bool:
        return (self.raw if certificate_type is CertificateType.RAW_PUBLIC_KEY else self.certified) is not None

    def authorities(self) -> bytes:
        return b""

    def judge(self, certificate_type: CertificateType, chain: tuple[bytes, ...]) -> Any:
        return (self.raw if certificate_type is CertificateType.RAW_PUBLIC_KEY else self.certified)(chain)


AUTHORITY = Authority()
SERVER_NAME = "gateway.example"


def raw_pair(server: str = "p256", client: str = "p256") -> tuple[KeyCredential, Keys]:
    """A client with a raw public key, and a server that knows it."""
    mine, theirs = private_key(client, "client"), private_key(server, "server")
    credential = KeyCredential(
        CertificateType.RAW_PUBLIC_KEY, raw_own(mine), judge_raw({spki(theirs): ":gateway"}), "gateway.example"
    )
    return credential, Keys([raw_own(theirs)], raw=judge_raw({spki(mine): ":sensor-19"}))


def certificate_pair(
    server: str = "p256", client: str | None = "p256", authority: Authority = AUTHORITY, name: str = SERVER_NAME
) -> tuple[KeyCredential, Keys]:
    """A client with a certificate (or without), and a server that trusts its authority."""
    theirs = private_key(server, "server")
    own = None
    if client is not None:
        mine = private_key(client, "client")
        own = certificate_own(
            mine, authority.issue(mine, "sensor-19.example", purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        )
    credential = KeyCredential(CertificateType.X509, own, judge_chain(authority, SERVER, name), name)
    keys = Keys([certificate_own(theirs, authority.issue(theirs, SERVER_NAME, "192.0.2.2"))])
    if client is not None:
        keys.certified = judge_chain(authority, CLIENT)
    return credential, keys
