"""One tinydtls context with one peer, through dtlssocket, within the bounds in which it was seen to work.

What it is kept from, each of which broke it: a second peer in a context, a second ``connect``, ``resetPeer``, alerts in
the clear, calls from within its callbacks, bytes that are somebody else's (it decrypts in place), keys and identities
beyond its arrays, and strings that Python has collected (it keeps pointers to them). So callbacks here only note, and
whoever calls looks at what was noted when the call is over. Must not know other peers, time or policy.
"""

from __future__ import annotations

from typing import Any, Final

from securecoap.dtls.messages import HandshakeType
from securecoap.dtls.records import ContentType
from securecoap.errors import ConfigurationError

__all__ = ["LONGEST_IDENTITY", "LONGEST_KEY", "LONGEST_WRITE", "Association", "load_tinydtls"]

LONGEST_KEY: Final = 16
LONGEST_IDENTITY: Final = 32
LONGEST_WRITE: Final = 1371
_SOMEWHERE: Final = ("::1", 1)
"""tinydtls wants an address; where datagrams really go is known elsewhere."""
_CONNECTED: Final = 0x01DE


def load_tinydtls() -> Any:
    """Return dtlssocket's module.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        # An optional dependency, and C code that is loaded only where it is asked for.
        from DTLSSocket import dtls  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types
    except ImportError:
        raise ConfigurationError(
            "the DTLS engine 'tinydtls' needs dtlssocket: pip install 'securecoap[tinydtls]'"
        ) from None
    dtls.setLogLevel(dtls.DTLS_LOG_EMERG)
    return dtls


class Association:
    """One peer.

    Args:
        tinydtls: from `load_tinydtls`.
        own: a client's identity, at most 32 bytes without NUL; empty for a server.
        keys: keys by identity; a server's may be filled in later. At most 16 bytes each.

    Attributes:
        sent: datagrams that it wants to be sent; the caller empties it.
        received: application data; the caller empties it.
        connected: whether Finished has been verified.
        ended: (level, code) of the alert with which it ended.
    """

    __slots__ = ("_context", "_keys", "_own", "_session", "connected", "ended", "received", "sent")

    def __init__(self, tinydtls: Any, own: bytes, keys: dict[bytes, bytes]) -> None:
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.connected = False
        self.ended: tuple[int, int] | None = None
        self._own = own
        self._keys = keys
        self._context: Any = tinydtls.DTLS(
            read=self._read, write=self._write, event=self._event, pskId=own, pskStore=keys
        )
        self._session: Any = tinydtls.Session(*_SOMEWHERE)

    def connect(self) -> None:
        """Begin a handshake, once."""
        self._session = self._context.connect(*_SOMEWHERE)

    def feed(self, record: bytes) -> None:
        """Take one record."""
        self._context.handleMessage(self._session, bytes(bytearray(record)))  # a copy of its own

    def retransmit(self) -> None:
        """Send again what is due by tinydtls's clock."""
        self._context.checkRetransmit()

    def seal(self, data: bytes) -> bytes | None:
        """Return the record for application data of at most 1371 bytes; ``None`` if there is no session any more."""
        if self._context is None:
            return None
        self._context.write(self._session, data)
        sealed, self.sent = self.sent, []
        return sealed[0] if len(sealed) == 1 else None

    def says_hello(self) -> bool:
        """Say whether a ServerHello is in ``sent``."""
        return any(one[0] == ContentType.HANDSHAKE and one[13] == HandshakeType.SERVER_HELLO for one in self.sent)

    def say_goodbye(self) -> None:
        """Have a close_notify in ``sent``."""
        self._context.close(self._session)

    def free(self) -> None:
        """Let go of the context, which calls back into this object: a cycle that would wait for the collector."""
        self._context = self._session = None

    def _read(self, _session: Any, data: bytes) -> int:
        self.received.append(bytes(data))
        return len(data)

    def _write(self, _session: Any, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def _event(self, level: int, code: int) -> None:
        if level:
            self.ended = (level, code)
        elif code == _CONNECTED:
            self.connected = True
