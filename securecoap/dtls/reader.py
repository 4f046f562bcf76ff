"""A cursor over the bytes of one handshake message (RFC 5246 section 4).

Every read is checked; what does not fit is a ``HandshakeFault`` with decode_error. Must not know any message.
"""

from __future__ import annotations

from securecoap.dtls.alerts import Alert, HandshakeFault

__all__ = ["Reader", "vector"]


class Reader:
    """Reads fixed fields and vectors of ``data``, from ``position`` on."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes."""
        start = self.position
        end = start + length
        if end > len(self._data):
            raise HandshakeFault(Alert.DECODE_ERROR, "a message ends inside a field")
        self.position = end
        return self._data[start:end]

    def integer(self, length: int) -> int:
        """Return the next ``length`` bytes as an unsigned number."""
        return int.from_bytes(self.take(length), "big")

    def vector(self, length_bytes: int, minimum: int = 0) -> bytes:
        """Return the content of a vector whose length stands before it in ``length_bytes`` bytes."""
        data = self._data
        start = self.position + length_bytes
        length = int.from_bytes(data[self.position : start], "big")
        end = start + length
        if end > len(data):
            raise HandshakeFault(Alert.DECODE_ERROR, "a message ends inside a field")
        if length < minimum:
            raise HandshakeFault(Alert.DECODE_ERROR, "a vector is shorter than its floor")
        self.position = end
        return data[start:end]

    def at_end(self) -> bool:
        """Say whether everything has been read."""
        return self.position == len(self._data)

    def finish(self) -> None:
        """Insist on having read everything."""
        if self.position != len(self._data):
            raise HandshakeFault(Alert.DECODE_ERROR, "a message has bytes behind its end")


def vector(content: bytes, length_bytes: int) -> bytes:
    """Return a vector: the content behind its length."""
    return len(content).to_bytes(length_bytes, "big") + content
