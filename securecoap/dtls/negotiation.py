"""What a server chooses from a ClientHello: an earlier session; or suite, group, its key, and what the client shows.

RFC 5246 section 7.4.1.3, RFC 8422 section 5.1 and 5.2, RFC 7250 section 4.2, RFC 6066 section 3. The client's order of
suites decides: the weaker device knows what its hardware does well. A raw public key goes before a certificate, since a
client that offers both may have no authority to check a certificate with. Must not know states, records or secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.certificate_messages import ECDSA_SIGN, RSA_SIGN, CertificateRequest
from securecoap.dtls.extensions import POINT_FORMATS, Extension, parse_bytes, parse_numbers, parse_server_name
from securecoap.dtls.identities import CertificateType
from securecoap.dtls.signatures import CERTIFICATE_SCHEMES, RAW_KEY_SCHEMES, SERVER_SCHEMES, common_scheme, curve_code

if TYPE_CHECKING:
    from securecoap.dtls.groups import Group
    from securecoap.dtls.identities import OwnKey, ServerKeys
    from securecoap.dtls.messages import ClientHello
    from securecoap.dtls.parameters import DtlsParameters
    from securecoap.dtls.resumption import Resumable, ServerResumption
    from securecoap.dtls.suites import CipherSuite, KeyExchangeKind

__all__ = ["Choice", "answers_for", "certificate_request", "choose", "choose_resumption", "schemes_for"]

_UNCOMPRESSED: Final = 0
_ONLY_X509: Final = bytes((CertificateType.X509,))
_DEFAULT_GROUPS: Final = (23,)


class Choice(NamedTuple):
    """What the server's flight will be made of.

    Attributes:
        suite: the cipher suite.
        group: for ECDHE, otherwise ``None``.
        own: our key that is shown, ``None`` for PSK.
        scheme: with which it signs.
        client_type: what the client is asked to show, ``None`` to ask for nothing.
    """

    suite: CipherSuite
    group: Group | None = None
    own: OwnKey | None = None
    scheme: int = 0
    client_type: CertificateType | None = None


def schemes_for(certificate_type: CertificateType) -> tuple[int, ...]:
    """Return the signature schemes that are accepted with such a key."""
    return RAW_KEY_SCHEMES if certificate_type is CertificateType.RAW_PUBLIC_KEY else CERTIFICATE_SCHEMES


def choose(hello: ClientHello, parameters: DtlsParameters, keys: ServerKeys | None, *, has_psk: bool) -> Choice:
    """Return the first choice in the client's order that works for both sides.

    Raises:
        HandshakeFault: there is none; its text says what is missing, for each key exchange that the client offers.
    """
    missing: dict[KeyExchangeKind, HandshakeFault] = {}
    for code in hello.cipher_suites:
        suite = parameters.suite(code)
        if suite is None or suite.key_exchange in missing:
            continue
        exchange = suite.key_exchange
        if exchange.uses_psk and not has_psk:
            missing[exchange] = HandshakeFault(Alert.HANDSHAKE_FAILURE, "there is no pre-shared key here")
            continue
        try:
            if exchange.uses_psk:
                return Choice(suite, _choose_group(hello, parameters) if exchange.uses_groups else None)
            return _choose_key(hello, suite, _choose_group(hello, parameters), keys)
        except HandshakeFault as fault:
            if fault.alert is Alert.DECODE_ERROR:
                raise
            missing[exchange] = fault
    if not missing:
        raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "no cipher suite in common")
    alerts = {fault.alert for fault in missing.values()}
    reasons = "; ".join(f"{exchange.value}: {fault}" for exchange, fault in missing.items())
    alert = alerts.pop() if len(alerts) == 1 else Alert.HANDSHAKE_FAILURE
    raise HandshakeFault(alert, f"nothing that the client offers can be used ({reasons})")


def choose_resumption(
    hello: ClientHello, parameters: DtlsParameters, resumption: ServerResumption, now: float
) -> Resumable | None:
    """Return the earlier session that a client with a session ID wants to go on with, and may (RFC 7627 section 5.3).

    Raises:
        HandshakeFault: it would lose its Extended Master Secret.
    """
    found = resumption.find(hello.session_id, hello.extensions.get(Extension.SESSION_TICKET, b""), now)
    if found is None or found.suite not in hello.cipher_suites:
        return None
    if Extension.EXTENDED_MASTER_SECRET not in hello.extensions:
        raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "a session may not lose its Extended Master Secret")
    same_name = found.server_name == hello.extensions.get(Extension.SERVER_NAME, b"")
    return found if same_name and parameters.suite(found.suite) is not None else None


def answers_for(hello: ClientHello, choice: Choice) -> dict[int, bytes]:
    """Return the extensions that a ServerHello has because of an ECDHE suite and what is shown for it.

    An extension is answered where it was offered (RFC 8422 section 5.2, RFC 7250 section 4.2, RFC 6066 section 3).
    """
    offered = hello.extensions
    answers = {}
    if Extension.EC_POINT_FORMATS in offered:
        answers[Extension.EC_POINT_FORMATS] = POINT_FORMATS
    if choice.own is not None:
        if Extension.SERVER_NAME in offered and choice.own.certificate_type is CertificateType.X509:
            answers[Extension.SERVER_NAME] = b""
        if Extension.SERVER_CERTIFICATE_TYPE in offered:
            answers[Extension.SERVER_CERTIFICATE_TYPE] = bytes((choice.own.certificate_type,))
        if Extension.CLIENT_CERTIFICATE_TYPE in offered and choice.client_type is not None:
            answers[Extension.CLIENT_CERTIFICATE_TYPE] = bytes((choice.client_type,))
    return answers


def certificate_request(client_type: CertificateType, keys: ServerKeys | None) -> bytes:
    """Return the body of the CertificateRequest that asks for what is of this type."""
    if client_type is CertificateType.RAW_PUBLIC_KEY:
        return CertificateRequest(bytes((ECDSA_SIGN,)), schemes_for(client_type)).encode(b"")
    names = b"" if keys is None else keys.authorities()
    return CertificateRequest(bytes((ECDSA_SIGN, RSA_SIGN)), schemes_for(client_type)).encode(names)


def _choose_group(hello: ClientHello, parameters: DtlsParameters) -> Group:
    formats = hello.extensions.get(Extension.EC_POINT_FORMATS)
    if formats is not None and _UNCOMPRESSED not in parse_bytes(formats):
        raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the client takes no uncompressed points")
    offered = _offered_groups(hello)
    for group in parameters.groups:
        if group.code in offered:
            return group
    raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "no group in common")


def _offered_groups(hello: ClientHello) -> tuple[int, ...]:
    """The client's groups; one that names none takes any (RFC 8422 section 4), and has that of RFC 7252 for sure."""
    content = hello.extensions.get(Extension.SUPPORTED_GROUPS)
    return _DEFAULT_GROUPS if content is None else parse_numbers(content)


def _choose_key(hello: ClientHello, suite: CipherSuite, group: Group, keys: ServerKeys | None) -> Choice:
    if keys is None:
        raise HandshakeFault(Alert.HANDSHAKE_FAILURE, "there is neither a raw public key nor a certificate here")
    extensions = hello.extensions
    name = extensions.get(Extension.SERVER_NAME)
    schemes = extensions.get(Extension.SIGNATURE_ALGORITHMS)
    # Without the extension a client would mean SHA-1 (RFC 5246 section 7.4.1.4.1), which is not used.
    offered = () if schemes is None else parse_numbers(schemes)
    own_types = _types(hello, Extension.SERVER_CERTIFICATE_TYPE)
    client_types = _types(hello, Extension.CLIENT_CERTIFICATE_TYPE)
    curves = _offered_groups(hello)
    fault = HandshakeFault(Alert.UNSUPPORTED_CERTIFICATE, "none of our keys is of a type that the client takes")
    for own in keys.own_keys(None if name is None else parse_server_name(name)):
        if own.certificate_type not in own_types:
            continue
        curve = curve_code(own.private)
        scheme = common_scheme(own.schemes, offered)
        if scheme is None or scheme not in SERVER_SCHEMES or (curve is not None and curve not in curves):
            fault = HandshakeFault(Alert.HANDSHAKE_FAILURE, "the client cannot verify the signatures of our key")
            continue
        try:
            return Choice(suite, group, own, scheme, _client_type(own.certificate_type, client_types, keys))
        except HandshakeFault as refusal:
            fault = refusal
    raise fault


def _types(hello: ClientHello, extension: int) -> bytes:
    content = hello.extensions.get(extension)
    return _ONLY_X509 if content is None else parse_bytes(content)


def _client_type(own: CertificateType, offered: bytes, keys: ServerKeys) -> CertificateType | None:
    """What the client is asked to show: rather the same type as ours.

    A client need not show anything only where nothing of our own type can be checked here.
    """
    types: tuple[CertificateType, ...] = (own, *CertificateType)
    for one in types:
        if one in offered and keys.accepts(one):
            return one
    if keys.accepts(own):
        raise HandshakeFault(Alert.UNSUPPORTED_CERTIFICATE, "the client offers no type of key that is taken here")
    return None
