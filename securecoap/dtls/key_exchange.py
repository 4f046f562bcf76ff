"""Key exchange strategies: what goes into ServerKeyExchange and ClientKeyExchange, and the premaster secret they yield.

PSK (RFC 4279 section 2), ECDHE_PSK (RFC 5489 section 2) and ECDHE_ECDSA (RFC 8422 section 5.4 and 5.7), one class for
each and side, chosen by ``CipherSuite.key_exchange``. Must not know states, records or the transcript, nor how an
identity's key is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.certificate_messages import encode_parameters, encode_signed, read_parameters, read_signed
from securecoap.dtls.key_schedule import psk_premaster_secret
from securecoap.dtls.messages import parse_psk_key_exchange
from securecoap.dtls.reader import Reader, vector
from securecoap.dtls.signatures import sign, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.dtls.groups import Group, KeyShare
    from securecoap.dtls.identities import OwnKey
    from securecoap.dtls.signatures import PublicKey

__all__ = [
    "ClientKeyExchange",
    "EcdheEcdsaClient",
    "EcdheEcdsaServer",
    "EcdhePskClient",
    "EcdhePskServer",
    "PskClient",
    "PskServer",
    "ServerKeyExchange",
]


class ClientKeyExchange(Protocol):
    """A client's side of one exchange."""

    def read_server(self, body: bytes) -> None:
        """Take the ServerKeyExchange; raise ``HandshakeFault`` where it cannot be."""

    def client_message(self) -> bytes:
        """Return the body of the ClientKeyExchange."""

    def premaster_secret(self) -> bytes:
        """Return the premaster secret."""


class ServerKeyExchange(Protocol):
    """A server's side of one exchange."""

    def server_message(self) -> bytes | None:
        """Return the body of the ServerKeyExchange, ``None`` for no such message."""

    def read_client(self, body: bytes) -> bytes | None:
        """Take the ClientKeyExchange; return the identity whose key is needed, ``None`` where none is."""

    def premaster_secret(self, psk: bytes) -> bytes:
        """Return the premaster secret; ``psk`` is the identity's key, empty where there is no identity."""


class PskClient:
    """The client's identity goes out, whatever hint came in (RFC 4279 section 5.2: the application chose it before)."""

    __slots__ = ("_identity", "_key")

    def __init__(self, identity: bytes, key: bytes) -> None:
        self._identity = identity
        self._key = key

    def read_server(self, body: bytes) -> None:
        """Check that there is a hint and nothing else; it does not change the choice."""
        parse_psk_key_exchange(body)

    def client_message(self) -> bytes:
        """Return the identity."""
        return vector(self._identity, 2)

    def premaster_secret(self) -> bytes:
        """Return RFC 4279's premaster secret."""
        return psk_premaster_secret(self._key)


class PskServer:
    """Says whose key is needed."""

    __slots__ = ("_hint",)

    def __init__(self, hint: bytes | None) -> None:
        self._hint = hint

    def server_message(self) -> bytes | None:
        """Return the configured identity hint."""
        return None if self._hint is None else vector(self._hint, 2)

    read_client = staticmethod(parse_psk_key_exchange)
    premaster_secret = staticmethod(psk_premaster_secret)


class _ClientShare:
    """What the client does with the server's parameters."""

    __slots__ = ("_groups", "_share", "_shared")

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._share: KeyShare | None = None
        self._shared = b""

    def _agree(self, code: int, point: bytes) -> None:
        group = next((group for group in self._groups if group.code == code), None)
        if group is None:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "the server chose a group that was not offered")
        self._share = group.draw()
        self._shared = self._share.shared_secret(point)

    def _point(self) -> bytes:
        if self._share is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "there was no ServerKeyExchange")
        return vector(self._share.public, 1)


class EcdhePskClient(_ClientShare):
    """RFC 5489: a key share beside the identity; what was recorded stays secret when the key is lost."""

    __slots__ = ("_identity", "_key")

    def __init__(self, identity: bytes, key: bytes, groups: Sequence[Group]) -> None:
        super().__init__(groups)
        self._identity = identity
        self._key = key

    def read_server(self, body: bytes) -> None:
        """Take hint and parameters; nothing signs them: Finished proves that both know the key."""
        reader = Reader(body)
        reader.vector(2)
        code, point = read_parameters(reader)
        reader.finish()
        self._agree(code, point)

    def client_message(self) -> bytes:
        """Return identity and point."""
        return vector(self._identity, 2) + self._point()

    def premaster_secret(self) -> bytes:
        """Return the premaster secret of RFC 5489 section 2."""
        return psk_premaster_secret(self._key, self._shared)


class EcdheEcdsaClient(_ClientShare):
    """RFC 8422: parameters that the server signs. ``server_key`` has to be set before ``read_server``."""

    __slots__ = ("_randoms", "_schemes", "server_key")

    def __init__(self, groups: Sequence[Group], schemes: Sequence[int], randoms: bytes) -> None:
        super().__init__(groups)
        self._schemes = schemes
        self._randoms = randoms
        self.server_key: PublicKey | None = None

    def read_server(self, body: bytes) -> None:
        """Take the parameters if the server's key signed them, together with both randoms."""
        reader = Reader(body)
        code, point = read_parameters(reader)
        parameters = body[: reader.position]
        signed = read_signed(reader)
        if self.server_key is None:
            raise HandshakeFault(Alert.UNEXPECTED_MESSAGE, "there was no Certificate")
        verify(self.server_key, signed.scheme, signed.signature, self._randoms + parameters, self._schemes)
        self._agree(code, point)

    def client_message(self) -> bytes:
        """Return the point."""
        return self._point()

    def premaster_secret(self) -> bytes:
        """Return the shared secret itself (RFC 8422 section 5.10)."""
        return self._shared


class _ServerShare:
    """What the server does with the client's point."""

    __slots__ = ("_group", "_share", "_shared")

    def __init__(self, group: Group) -> None:
        self._group = group
        self._share = group.draw()
        self._shared = b""

    def _parameters(self) -> bytes:
        return encode_parameters(self._group.code, self._share.public)

    def _read_point(self, reader: Reader) -> None:
        point = reader.vector(1, 1)
        reader.finish()
        self._shared = self._share.shared_secret(point)


class EcdhePskServer(_ServerShare):
    """The server's side of RFC 5489."""

    __slots__ = ("_hint",)

    def __init__(self, group: Group, hint: bytes | None) -> None:
        super().__init__(group)
        self._hint = hint

    def server_message(self) -> bytes:
        """Return the hint, which here may be empty and not absent, and the parameters."""
        return vector(self._hint or b"", 2) + self._parameters()

    def read_client(self, body: bytes) -> bytes:
        """Take the point; return the identity."""
        reader = Reader(body)
        identity = reader.vector(2)
        self._read_point(reader)
        return identity

    def premaster_secret(self, psk: bytes) -> bytes:
        """Return the premaster secret of RFC 5489 section 2."""
        return psk_premaster_secret(psk, self._shared)


class EcdheEcdsaServer(_ServerShare):
    """The server's side of RFC 8422."""

    __slots__ = ("_own", "_randoms", "_scheme")

    def __init__(self, group: Group, own: OwnKey, scheme: int, randoms: bytes) -> None:
        super().__init__(group)
        self._own = own
        self._scheme = scheme
        self._randoms = randoms

    def server_message(self) -> bytes:
        """Return the parameters and our signature over them and both randoms."""
        parameters = self._parameters()
        return parameters + encode_signed(
            self._scheme, sign(self._own.private, self._scheme, self._randoms + parameters)
        )

    def read_client(self, body: bytes) -> None:
        """Take the point."""
        self._read_point(Reader(body))

    def premaster_secret(self, psk: bytes) -> bytes:  # noqa: ARG002  # the protocol's argument: no key is shared here
        """Return the shared secret itself."""
        return self._shared
