"""Key exchange strategies: what goes into ServerKeyExchange and ClientKeyExchange, and the premaster secret they yield.

Plain PSK (RFC 4279 section 2) is here; (EC)DHE_PSK, ECDHE_ECDSA and raw keys are further classes of the same two
protocols, chosen by ``CipherSuite.key_exchange``. Must not know states, records or the transcript.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from securecoap.dtls.key_schedule import psk_premaster_secret
from securecoap.dtls.messages import parse_psk_client_key_exchange, parse_psk_server_key_exchange
from securecoap.dtls.reader import vector

if TYPE_CHECKING:
    from securecoap.dtls.parameters import PskCredential, PskLookup, RandomSource

__all__ = ["ClientKeyExchange", "PskClientKeyExchange", "PskServerKeyExchange", "ServerKeyExchange"]

_STAND_IN_KEY_LENGTH: Final = 16


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

    def read_client(self, body: bytes) -> None:
        """Take the ClientKeyExchange; raise ``HandshakeFault`` where it cannot be."""

    def premaster_secret(self) -> bytes:
        """Return the premaster secret."""


class PskClientKeyExchange:
    """The client's identity goes out, whatever hint came in (RFC 4279 section 5.2: the application chose it before)."""

    __slots__ = ("_credential",)

    def __init__(self, credential: PskCredential) -> None:
        self._credential = credential

    def read_server(self, body: bytes) -> None:
        """Check that there is a hint and nothing else; it does not change the choice."""
        parse_psk_server_key_exchange(body)

    def client_message(self) -> bytes:
        """Return the identity."""
        return vector(self._credential.identity, 2)

    def premaster_secret(self) -> bytes:
        """Return RFC 4279's premaster secret."""
        return psk_premaster_secret(self._credential.key)


class PskServerKeyExchange:
    """Looks up the identity.

    An unknown one gets a random key and goes on: its Finished fails as that of a wrong key does, with the same alert
    after the same work, so that nobody can ask which identities exist (RFC 4279 section 5.3 and 7.1).
    """

    __slots__ = ("_hint", "_key", "_lookup", "_random", "credential", "identity")

    def __init__(self, lookup: PskLookup, hint: bytes | None, random: RandomSource) -> None:
        self._lookup = lookup
        self._hint = hint
        self._random = random
        self._key = b""
        self.identity = b""
        self.credential: PskCredential | None = None

    def server_message(self) -> bytes | None:
        """Return the configured identity hint."""
        return None if self._hint is None else vector(self._hint, 2)

    def read_client(self, body: bytes) -> None:
        """Take the identity and find its key."""
        self.identity = parse_psk_client_key_exchange(body)
        # Drawn for known identities too: both ways cost the same.
        stand_in = self._random(_STAND_IN_KEY_LENGTH)
        self.credential = self._lookup(self.identity)
        self._key = stand_in if self.credential is None else self.credential.key

    def premaster_secret(self) -> bytes:
        """Return RFC 4279's premaster secret."""
        return psk_premaster_secret(self._key)
