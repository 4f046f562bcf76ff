"""What a client's credential makes it offer: suites and extensions of its ClientHello (RFC 5246 section 7.4.1.2).

Must not know states or secrets. Connection IDs and tickets, which change from one handshake to the next, are not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.dtls.extensions import OFFERABLE, POINT_FORMATS, Extension, encode_numbers, encode_server_name
from securecoap.dtls.identities import CertificateType, ClientCredential, KeyCredential
from securecoap.dtls.negotiation import schemes_for
from securecoap.dtls.parameters import PskCredential

if TYPE_CHECKING:
    from securecoap.dtls.parameters import DtlsParameters
    from securecoap.dtls.suites import CipherSuite

__all__ = ["offered_extensions", "offered_suites"]


def offered_suites(credential: ClientCredential, parameters: DtlsParameters) -> tuple[CipherSuite, ...]:
    """Return the allowed suites that go with this kind of credential."""
    has_psk = isinstance(credential, PskCredential)
    return tuple(suite for suite in parameters.suites if suite.key_exchange.uses_psk is has_psk)


def offered_extensions(
    credential: ClientCredential, suites: tuple[CipherSuite, ...], parameters: DtlsParameters
) -> dict[int, bytes]:
    """Return the extensions with their contents."""
    offered = {int(Extension.EXTENDED_MASTER_SECRET): OFFERABLE[Extension.EXTENDED_MASTER_SECRET]}
    if credential.server_name is not None and (name := encode_server_name(credential.server_name)) is not None:
        offered[Extension.SERVER_NAME] = name
    if any(suite.key_exchange.uses_groups for suite in suites):
        offered[Extension.SUPPORTED_GROUPS] = encode_numbers(group.code for group in parameters.groups)
        offered[Extension.EC_POINT_FORMATS] = POINT_FORMATS
    if isinstance(credential, KeyCredential):
        offered[Extension.SIGNATURE_ALGORITHMS] = encode_numbers(schemes_for(credential.certificate_type))
        if credential.certificate_type is CertificateType.RAW_PUBLIC_KEY:
            raw = bytes((1, CertificateType.RAW_PUBLIC_KEY))
            offered[Extension.SERVER_CERTIFICATE_TYPE] = offered[Extension.CLIENT_CERTIFICATE_TYPE] = raw
    return offered
