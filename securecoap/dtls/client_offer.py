"""What a client offers: its ClientHello, with the suites and extensions of its credential (RFC 5246 section 7.4.1.2).

Must not know states or secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.dtls.connection_id import encode_connection_id
from securecoap.dtls.extensions import (
    OFFERABLE,
    POINT_FORMATS,
    RENEGOTIATION_SCSV,
    Extension,
    encode_numbers,
    encode_server_name,
)
from securecoap.dtls.identities import CertificateType, ClientCredential, KeyCredential
from securecoap.dtls.messages import DTLS_1_2, ClientHello
from securecoap.dtls.negotiation import schemes_for
from securecoap.dtls.parameters import PskCredential
from securecoap.dtls.resumption import HELLO_ROOM, Offer

if TYPE_CHECKING:
    from securecoap.dtls.parameters import DtlsParameters
    from securecoap.dtls.suites import CipherSuite

__all__ = ["first_hello", "offered_extensions", "offered_suites"]


def first_hello(
    credential: ClientCredential,
    parameters: DtlsParameters,
    client_random: bytes,
    connection_id: bytes,
    offer: Offer | None,
) -> ClientHello:
    """Return the ClientHello without a cookie; ``offer`` is an earlier session to go on with."""
    suites = offered_suites(credential, parameters)
    extensions = offered_extensions(credential, suites, parameters)
    if parameters.connection_ids:
        extensions[Extension.CONNECTION_ID] = encode_connection_id(connection_id)
    if parameters.resumption and parameters.datagram_size >= HELLO_ROOM:
        extensions[Extension.SESSION_TICKET] = b"" if offer is None else offer.ticket
    return ClientHello(
        DTLS_1_2,
        client_random,
        b"" if offer is None else offer.session_id,
        cipher_suites=(*(suite.code for suite in suites), RENEGOTIATION_SCSV),
        extensions=extensions,
    )


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
