"""Connection IDs: the hello extension, and those that this end gives out (RFC 9146 section 3).

Ours have one length, so that they can be cut out of a record's header, and begin with the number of the worker process
that has the session: any process that reads the port can hand a foreign record on. The rest is random, for nothing
else than to be different: a connection ID is no secret and proves nothing. Must not know records or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.dtls.reader import Reader, vector

if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["CONNECTION_ID_LENGTH", "ConnectionIds", "decode_connection_id", "encode_connection_id", "worker_of"]

CONNECTION_ID_LENGTH: Final = 6
_TLS12_CID: Final = 25
_START: Final = 11
_ATTEMPTS: Final = 64


def encode_connection_id(connection_id: bytes) -> bytes:
    """Return the extension's content. Empty: this end sends connection IDs, and wants none itself."""
    return vector(connection_id, 1)


def decode_connection_id(content: bytes) -> bytes:
    """Return the connection ID that the peer wants in its records, empty for none.

    Raises:
        HandshakeFault: the extension's content is something else.
    """
    reader = Reader(content)
    connection_id = reader.vector(1)
    reader.finish()
    return connection_id


class ConnectionIds:
    """Makes connection IDs.

    Args:
        random: where randomness comes from.
        worker: the number of this process among those that share a port, 0 to 255.
        taken: the connection IDs that are in use.
    """

    __slots__ = ("_first", "_random", "_taken")

    def __init__(self, random: Callable[[int], bytes], worker: int, taken: Container[bytes]) -> None:
        self._random = random
        self._first = bytes((worker,))
        self._taken = taken

    def make(self) -> bytes:
        """Return one that is not in use; empty (none for this session) should all that were drawn be in use."""
        for _ in range(_ATTEMPTS):
            connection_id = self._first + self._random(CONNECTION_ID_LENGTH - 1)
            if connection_id not in self._taken:
                return connection_id
        return b""


def worker_of(datagram: bytes) -> int | None:
    """Return the number of the worker whose a datagram is, ``None`` where it does not say."""
    return datagram[_START] if len(datagram) > _START and datagram[0] == _TLS12_CID else None
