"""Certificates: the path to an authority, its time and purpose, the names in it (RFC 5280, RFC 7252 section 9.1.3.3).

The path is found and checked by ``cryptography.x509.verification``; here stands which extensions a device's certificate
must and may have. A name is a SubjectAltName: DNS, IP address or URI. No wildcard stands for anything, and the common
name says nothing. Must not know handshakes or credentials.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from warnings import catch_warnings, simplefilter

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from securecoap.credentials.names import is_address, normal_name
from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.identities import Refusal
from securecoap.dtls.reader import vector
from securecoap.dtls.signatures import usable_public_key
from securecoap.errors import UriError
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from securecoap.dtls.signatures import PublicKey

__all__ = ["CLIENT", "SERVER", "TrustStore", "Verified", "leaf_key", "names_of", "shown_name"]

CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
"""What a certificate is used for."""

_MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""What ``cryptography`` raises for bytes that are no sound certificate; most fields are parsed when they are read."""
_MAX_NAMES: Final = 64
_MAX_INTERMEDIATES: Final = 8
_LONGEST_TEXT: Final = 300
_ANY: Final = verification.Criticality.AGNOSTIC
_DER: Final = Encoding.DER


def _check_purpose(
    purpose: x509.ObjectIdentifier,
    _policy: verification.Policy,
    _certificate: x509.Certificate,
    extension: x509.ExtendedKeyUsage | None,
) -> None:
    """A certificate that names purposes is good for those (RFC 5280 section 4.2.1.12)."""
    if (
        extension is not None
        and purpose not in extension
        and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extension
    ):
        raise ValueError("it is not meant for this use (extended key usage)")


def _check_usage(_policy: verification.Policy, _certificate: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    """A key that signs in handshakes is for signatures (RFC 7252 section 9.1.3.3, RFC 5280 section 4.2.1.3)."""
    if extension is not None and not extension.digital_signature:
        raise ValueError("its key is not meant for signatures (key usage)")


def _check_authority_usage(
    _policy: verification.Policy, _certificate: x509.Certificate, extension: x509.KeyUsage | None
) -> None:
    """An authority that names usages certifies only if that is one of them (RFC 5280 section 6.1.4 (n))."""
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("an authority's key is not meant for certificates (key usage)")


def _check_not_authority(
    _policy: verification.Policy, _certificate: x509.Certificate, extension: x509.BasicConstraints | None
) -> None:
    if extension is not None and extension.ca:
        raise ValueError("it is an authority's, not a peer's (basic constraints)")


def _peer_policy(purpose: x509.ObjectIdentifier) -> verification.ExtensionPolicy:
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, _ANY, None)
        .may_be_present(x509.BasicConstraints, _ANY, _check_not_authority)
        .may_be_present(x509.KeyUsage, _ANY, _check_usage)
        .may_be_present(x509.ExtendedKeyUsage, _ANY, partial(_check_purpose, purpose))
    )


# As the Web's authorities, but for key identifiers and the key usage, which small private authorities leave out:
# `openssl req -x509` writes none.
_AUTHORITY_POLICY: Final = (
    verification.ExtensionPolicy.webpki_defaults_ca()
    .may_be_present(x509.AuthorityKeyIdentifier, _ANY, None)
    .may_be_present(x509.SubjectKeyIdentifier, _ANY, None)
    .may_be_present(x509.KeyUsage, _ANY, _check_authority_usage)
)


class Verified(NamedTuple):
    """A chain that ends at an authority.

    Attributes:
        names: of the peer, as `names_of` gives them.
        anchor: the authority's certificate, in DER.
        not_after: when the first certificate of the chain ends, in seconds since 1970.
    """

    names: tuple[str, ...]
    anchor: bytes
    not_after: float


class TrustStore:
    """Authorities, given as certificates in DER, and the check of chains against them.

    Args:
        authorities: whose signature is believed; at least one.
        purpose: ``CLIENT`` or ``SERVER``: what the peers are.

    Raises:
        ValueError: a certificate that does not parse.
    """

    __slots__ = ("_builder", "_subjects", "encoded_names")

    def __init__(self, authorities: Iterable[bytes], purpose: x509.ObjectIdentifier) -> None:
        certificates = [x509.load_der_x509_certificate(one) for one in dict.fromkeys(authorities)]
        self._subjects = {one.subject.public_bytes() for one in certificates}
        self.encoded_names = b"".join(vector(name, 2) for name in sorted(self._subjects))
        """The authorities' names as a CertificateRequest has them (RFC 5246 section 7.4.4)."""
        # A verifier for clients, for servers too: that for servers would match the name, by the rules of the Web.
        self._builder = (
            verification.PolicyBuilder()
            .store(verification.Store(certificates))
            .extension_policies(ca_policy=_AUTHORITY_POLICY, ee_policy=_peer_policy(purpose))
            .max_chain_depth(_MAX_INTERMEDIATES)
        )

    def verify(self, chain: tuple[bytes, ...], at: float) -> Verified | Refusal:
        """Say where a chain leads, as a peer sent it: its own certificate first, the rest in any order.

        Args:
            chain: certificates in DER, at least one.
            at: the time, in seconds since 1970.
        """
        with _strictly():
            return self._verify(chain, at)

    def _verify(self, chain: tuple[bytes, ...], at: float) -> Verified | Refusal:
        name = b""
        try:
            leaf, *rest = [x509.load_der_x509_certificate(one) for one in chain]
            name = shown_name(leaf)
            when = datetime.fromtimestamp(at, UTC)
            if not leaf.not_valid_before_utc <= when <= leaf.not_valid_after_utc:
                span = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
                return Refusal(Alert.CERTIFICATE_EXPIRED, f"its certificate is valid from {span} only", name)
            verifier = self._builder.time(when).build_client_verifier()
            try:
                path = verifier.verify(leaf, rest).chain
            except verification.VerificationError as error:
                return self._refusal([leaf, *rest], error, name)
            not_after = min(one.not_valid_after_utc for one in path)
            anchor = path[-1].public_bytes(_DER)
            names = tuple(name for name in names_of(leaf) if all(_may_certify(issuer, name) for issuer in path[1:]))
            return Verified(names, anchor, not_after.timestamp())
        except _MALFORMED:
            return Refusal(Alert.BAD_CERTIFICATE, "its certificate does not parse", name)

    def _refusal(self, chain: list[x509.Certificate], error: Exception, name: bytes) -> Refusal:
        if not any(one.issuer.public_bytes() in self._subjects for one in chain):
            return Refusal(Alert.UNKNOWN_CA, "its certificate is from an authority that is not trusted here", name)
        # The text quotes what the peer wrote into its certificate: it goes into logs.
        why = "".join(character if character.isprintable() else "?" for character in str(error)[:_LONGEST_TEXT])
        return Refusal(Alert.BAD_CERTIFICATE, f"its chain of certificates is not valid: {why}", name)


@contextmanager
def _strictly() -> Iterator[None]:
    """What ``cryptography`` takes for now, with a warning (serial numbers below 1 and the like), is not taken here.

    Strangers would otherwise decide what stands on our standard error.
    """
    with catch_warnings():
        simplefilter("error", CryptographyDeprecationWarning)
        yield


def leaf_key(certificate: bytes) -> PublicKey:
    """Return the public key of a certificate in DER.

    Raises:
        HandshakeFault: it does not parse, or its key is of a kind that is not used (Ed25519 is for raw keys only).
    """
    try:
        with _strictly():
            key = x509.load_der_x509_certificate(certificate).public_key()
    except _MALFORMED:
        raise HandshakeFault(Alert.BAD_CERTIFICATE, "a certificate does not parse") from None
    if not usable_public_key(key, in_certificate=True):
        raise HandshakeFault(Alert.UNSUPPORTED_CERTIFICATE, "a certificate has a key of a kind that is not used")
    return key  # type: ignore[return-value]  # usable_public_key has looked at its type


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names, IP addresses and URIs of a certificate; not those with a wildcard, and 64 at most."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names: dict[str, None] = {}
    for name in found:
        if isinstance(name, (x509.DNSName, x509.UniformResourceIdentifier, x509.IPAddress)):
            text = str(name.value)
            if _is_sound(name, text) and len(names) < _MAX_NAMES:
                names[normal_name(text)] = None
    return tuple(names)


def _is_sound(name: x509.GeneralName, text: str) -> bool:
    """Whether a name is of the kind that it says; "peer.example" in a URI is no DNS name.

    Each kind has name constraints of its own (RFC 5280 section 4.2.1.10): an authority that may certify DNS names of
    one domain only would else certify any, as URIs, and addresses as either.
    """
    if isinstance(name, x509.IPAddress):
        return "/" not in text  # a network stands in constraints only
    is_uri = isinstance(name, x509.UniformResourceIdentifier)
    return "*" not in text and text.isprintable() and is_uri == (":" in text) and not is_address(text)


def _may_certify(authority: x509.Certificate, name: str) -> bool:
    """Whether an authority's name constraints let it certify a URI with the host that it has.

    They stand for DNS names and addresses apart from URIs (RFC 5280 section 4.2.1.10), where the verifier has applied
    them. Here a URI names a server as its host does, so what holds for the one has to hold for the other. A URI whose
    host is not understood is not taken from an authority with constraints.
    """
    if "://" not in name:
        return True
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    try:
        host = normal_name(parse_uri(name).host)
    except UriError:
        return False
    kind = x509.IPAddress if is_address(host) else x509.DNSName
    permitted = [subtree for subtree in constraints.permitted_subtrees or () if isinstance(subtree, kind)]
    excluded = [subtree for subtree in constraints.excluded_subtrees or () if isinstance(subtree, kind)]
    if any(_is_within(host, subtree) for subtree in excluded):
        return False
    return not permitted or any(_is_within(host, subtree) for subtree in permitted)


def _is_within(host: str, subtree: x509.DNSName | x509.IPAddress) -> bool:
    if isinstance(subtree, x509.IPAddress):
        return ip_address(host) in subtree.value  # type: ignore[operator]  # a constraint's value is a network
    domain = subtree.value.strip(".").lower()
    return not domain or host == domain or host.endswith("." + domain)


def shown_name(certificate: x509.Certificate) -> bytes:
    """Return what a log calls the owner of a certificate, before anything is proved."""
    return certificate.subject.rfc4514_string().encode()
