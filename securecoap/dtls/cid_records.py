"""Protection of records with a connection ID (RFC 9146 sections 4 and 5): siblings of those in ``records``.

Record: type tls12_cid(1) version(2) epoch(2) sequence(6) cid length(2) explicit nonce(8) ciphertext tag. The real type
stands behind the content, inside, with any zeros after it (DTLSInnerPlaintext); ours have none. The additional data
begin with eight bytes that no sequence number has, so that neither form of record can be taken for the other.

Must not know whose a connection ID is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag

from securecoap.dtls.messages import DTLS_1_2
from securecoap.dtls.records import (
    MAX_PLAINTEXT,
    RECORD_HEADER_LENGTH,
    ContentType,
    ReadProtection,
    Record,
    SequenceExhausted,
    WriteProtection,
)

if TYPE_CHECKING:
    from securecoap.dtls.suites import CipherSuite

__all__ = ["CONNECTION_ID_START", "CidReadProtection", "CidWriteProtection", "protections"]

CONNECTION_ID_START: Final = 11
"""Where in a record its connection ID begins."""
_HEAD: Final = bytes((ContentType.TLS12_CID,)) + DTLS_1_2.to_bytes(2, "big")
_TYPES: Final = tuple(bytes((content_type,)) for content_type in range(256))
_TABLE: Final = 2048
_LENGTHS: Final = tuple(length.to_bytes(2, "big") for length in range(_TABLE))
_pack_end: Final = struct.Struct("!HQ").pack  # length, explicit nonce


def _additional_start(connection_id: bytes) -> bytes:
    """The additional data up to the record's number (section 5.3)."""
    return b"\xff" * 8 + bytes((ContentType.TLS12_CID, len(connection_id))) + _HEAD


class CidWriteProtection(WriteProtection):
    """Seals the records of one epoch for a peer that wants ``connection_id`` in them (1 to 255 bytes)."""

    __slots__ = ("_additional",)

    def __init__(self, suite: CipherSuite, key: bytes, implicit_iv: bytes, epoch: int, connection_id: bytes) -> None:
        super().__init__(suite, key, implicit_iv, epoch)
        self.connection_id = connection_id
        self.overhead += len(connection_id) + 1
        self._additional = _additional_start(connection_id)

    def seal_application(self, plaintext: bytes) -> bytes:
        """Return the next application data record; raises as ``WriteProtection.seal_application`` does."""
        return self.seal(ContentType.APPLICATION_DATA, plaintext)

    def seal(self, content_type: int, plaintext: bytes) -> bytes:
        """Return the next record of any type; raises as ``seal_application`` does."""
        inner = plaintext + _TYPES[content_type]
        length = len(inner)
        if length > MAX_PLAINTEXT:
            raise ValueError("a record with a connection ID has at most 16383 bytes of plaintext")
        number = self.next_number
        if number >= self._end:
            raise SequenceExhausted
        self.next_number = number + 1
        number8 = number.to_bytes(8, "big")
        named = number8 + self.connection_id
        length2 = _LENGTHS[length] if length < _TABLE else length.to_bytes(2, "big")
        sealed = self._encrypt(self._salt + number8, inner, self._additional + named + length2)
        return _HEAD + named + _pack_end(length + self._tag_and_nonce, number) + sealed


class CidReadProtection(ReadProtection):
    """Opens the records of one epoch in which the peer has to put ``connection_id``; no other record is one of them."""

    __slots__ = ("_additional", "_body", "_head")

    def __init__(self, suite: CipherSuite, key: bytes, implicit_iv: bytes, epoch: int, connection_id: bytes) -> None:
        super().__init__(suite, key, implicit_iv, epoch)
        self.connection_id = connection_id
        self._additional = _additional_start(connection_id)
        self._body = RECORD_HEADER_LENGTH + len(connection_id)
        self._head = _HEAD + epoch.to_bytes(2, "big")

    def open_application(self, datagram: bytes) -> bytes | None:  # noqa: ARG002  # no datagram has this form here
        """Refuse: a record without the connection ID is invalid (section 3)."""
        return None

    def fits(self, record: Record, datagram: bytes) -> bool:
        """Say whether a record has this connection ID."""
        start = record.start + CONNECTION_ID_START
        named = datagram[start : start + len(self.connection_id)]
        return record.content_type == ContentType.TLS12_CID and named == self.connection_id

    def unwrap(self, record: Record, datagram: bytes) -> tuple[int, bytes] | None:
        """Return the real content type and the plaintext, without padding; ``None`` as ``ReadProtection.unwrap``."""
        return self.open_at(datagram, record.start, record.end) if self.fits(record, datagram) else None

    def open_alone(self, datagram: bytes) -> tuple[int, bytes] | None:
        """As ``unwrap``, for a datagram that is one record. The caller has found this by its connection ID."""
        body = self._body
        length = len(datagram) - body - self._minimum
        if not 0 < length < _TABLE or datagram[:5] != self._head:
            return None
        if datagram[body - 2 : body] != (length + self._minimum).to_bytes(2, "big"):
            return None
        named = datagram[3 : body - 2]
        number = int.from_bytes(named[:8], "big")
        ahead = number - self.highest
        if ahead <= 0 and self._seen(ahead):
            return None
        try:
            inner = self._decrypt(
                self._salt + datagram[body : body + 8],
                datagram[body + 8 :],
                self._additional + named + _LENGTHS[length],
            )
        except InvalidTag:
            return None
        self._note(number, ahead)
        return (inner[-1], inner[:-1]) if inner[-1] else self._without_padding(inner)

    @staticmethod
    def _without_padding(inner: bytes) -> tuple[int, bytes] | None:
        inner = inner.rstrip(b"\0")
        return (inner[-1], inner[:-1]) if inner else None

    def open_at(self, datagram: bytes, start: int, end: int) -> tuple[int, bytes] | None:
        """As ``unwrap``. The caller has checked type, version, epoch, connection ID and length."""
        body = start + self._body
        length = end - body - self._minimum
        if length < 0:
            return None
        named = datagram[start + 3 : body - 2]
        number = int.from_bytes(named[:8], "big")
        ahead = number - self.highest
        if self._seen(ahead):
            return None
        try:
            inner = self._decrypt(
                self._salt + datagram[body : body + 8],
                datagram[body + 8 : end],
                self._additional + named + length.to_bytes(2, "big"),
            )
        except InvalidTag:
            return None
        if length > MAX_PLAINTEXT:
            return None
        self._note(number, ahead)
        return self._without_padding(inner)


def protections(
    suite: CipherSuite, read: tuple[bytes, bytes], write: tuple[bytes, bytes], epoch: int, ours: bytes, theirs: bytes
) -> tuple[ReadProtection, WriteProtection]:
    """Return both directions of one epoch.

    Args:
        suite: the cipher suite.
        read, write: (key, implicit nonce part) of each.
        epoch: of both.
        ours, theirs: the connection IDs in the records that come and that go, empty for none.
    """
    reader = CidReadProtection(suite, *read, epoch, ours) if ours else ReadProtection(suite, *read, epoch)
    writer = CidWriteProtection(suite, *write, epoch, theirs) if theirs else WriteProtection(suite, *write, epoch)
    return reader, writer
