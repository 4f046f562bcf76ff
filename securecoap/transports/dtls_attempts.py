"""A client's handshakes as those see them who wait for one: which credential it is for, and what became of it.

Must not know the engine or sockets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from securecoap.transports.dtls_credentials import authority_of

if TYPE_CHECKING:
    import asyncio

    from securecoap.credentials.models import DtlsCredential
    from securecoap.transports.dtls_address import DtlsAddress
    from securecoap.wire.message import Message

__all__ = ["AddressedCredentials", "Attempt"]

_MAX_AUTHORITIES: Final = 1024


class Attempt:
    """A handshake of ours, and how many wait for it.

    Attributes:
        credential: what it is made with.
        future: the address in the end, or why there is none.
        waiting: how many wait.
    """

    __slots__ = ("credential", "future", "waiting")

    def __init__(self, credential: DtlsCredential, future: asyncio.Future[DtlsAddress]) -> None:
        self.credential = credential
        self.future = future
        self.waiting = 0

    def succeed(self, address: DtlsAddress) -> None:
        """Tell those who wait."""
        if not self.future.done():
            self.future.set_result(address)

    def fail(self, error: Exception) -> None:
        """Tell those who wait; perhaps nobody waits any more."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


class AddressedCredentials:
    """Credentials, each for the authority to which a request goes: one object for each, since each request asks.

    At 1,024 all are forgotten, and made again when they are asked for.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[tuple[DtlsCredential, str], DtlsCredential] = {}

    def find(self, credential: DtlsCredential, message: Message) -> DtlsCredential:
        """Return the credential for the authority of this request."""
        place = (credential, authority_of(message))
        found = self._made.get(place)
        if found is None:
            if len(self._made) >= _MAX_AUTHORITIES:
                self._made.clear()
            found = self._made[place] = replace(credential, authority=place[1])
        return found
