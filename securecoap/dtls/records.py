"""The record layer: headers, AEAD protection, replay window (RFC 6347 section 4.1; RFC 5288, RFC 6655).

Per application record this is one method call down and one up, so nonces and additional data are put together from
precomputed parts, and no object is made but bytes. Must not know handshakes or peers: what fails here is dropped
without a word (section 4.1.2.7), which for a caller is ``None`` or an empty list.

Record: type(1) version(2) epoch(2) sequence(6) length(2); protected ones go on with explicit nonce(8) ciphertext tag.
Those with a connection ID (RFC 9146) are found by ``parse_records`` and opened by ``cid_records``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag

from securecoap.dtls.messages import DTLS_1_0, DTLS_1_2

if TYPE_CHECKING:
    from securecoap.dtls.suites import Aead, CipherSuite

__all__ = [
    "MAX_PLAINTEXT",
    "RECORD_HEADER_LENGTH",
    "ContentType",
    "PlaintextWriter",
    "ReadProtection",
    "Record",
    "SequenceExhausted",
    "WriteProtection",
    "parse_records",
    "plaintext_record",
]

RECORD_HEADER_LENGTH: Final = 13
MAX_PLAINTEXT: Final = 2**14
_MAX_CIPHERTEXT: Final = MAX_PLAINTEXT + 2048
_EXPLICIT_NONCE_LENGTH: Final = 8
_BODY: Final = RECORD_HEADER_LENGTH + _EXPLICIT_NONCE_LENGTH
_WINDOW: Final = 64
_WINDOW_MASK: Final = (1 << _WINDOW) - 1
_ALL_EARLIER: Final = _WINDOW_MASK - 1
_MAX_SEQUENCE: Final = (1 << 48) - 1
_VERSION: Final = DTLS_1_2.to_bytes(2, "big")


class ContentType:
    """Record content types (RFC 5246 section 6.2.1; the last one RFC 9146 section 4); no enum, as `HandshakeType`."""

    CHANGE_CIPHER_SPEC: Final = 20
    ALERT: Final = 21
    HANDSHAKE: Final = 22
    APPLICATION_DATA: Final = 23
    TLS12_CID: Final = 25


_TLS12_CID: Final = ContentType.TLS12_CID
_PLAINTEXT_TYPES: Final = frozenset(
    {ContentType.CHANGE_CIPHER_SPEC, ContentType.ALERT, ContentType.HANDSHAKE, ContentType.APPLICATION_DATA}
)
_PROTECTED_TYPES: Final = _PLAINTEXT_TYPES | {_TLS12_CID}
_HEADS: Final = {content_type: bytes((content_type,)) + _VERSION for content_type in _PROTECTED_TYPES}
# Before the version is agreed upon a peer may name DTLS 1.0 (section 4.2.1); afterwards it may not.
_PROTECTED_HEADS: Final = frozenset(_HEADS.values())
_PLAINTEXT_HEADS: Final = frozenset(
    bytes((content_type,)) + version.to_bytes(2, "big")
    for content_type in _PLAINTEXT_TYPES
    for version in (DTLS_1_0, DTLS_1_2)
)
_APPLICATION_HEAD: Final = _HEADS[ContentType.APPLICATION_DATA]
# Epoch and sequence number are one 64-bit number on the wire, in the nonce and in the additional data.
_header: Final = struct.Struct("!3sQH")  # type and version, number, length
_pack_header: Final = _header.pack
_unpack_header: Final = _header.unpack_from
_pack_protected: Final = struct.Struct("!3sQHQ").pack  # header and explicit nonce, which is the number again
_unpack_protected: Final = struct.Struct("!QH8s").unpack_from  # the same, from the number on
_pack_additional: Final = struct.Struct("!Q3sH").pack  # number, type and version, length of the plaintext
_new: Final = tuple.__new__  # a NamedTuple without the call of its constructor
_TABLE: Final = 2048
_LENGTHS: Final = tuple(length.to_bytes(2, "big") for length in range(_TABLE + 32))
_ADDITIONAL: Final = tuple(_APPLICATION_HEAD + length for length in _LENGTHS[:_TABLE])
"""How the additional data of application records ends, by the length of the plaintext."""


class SequenceExhausted(Exception):
    """An epoch has used all of its 2**48 sequence numbers; sending on would repeat a nonce (RFC 6347 section 4.1)."""


class Record(NamedTuple):
    """One record of a datagram: where it stands, and what its header says."""

    content_type: int
    epoch: int
    sequence: int
    start: int
    end: int

    def fragment(self, datagram: bytes) -> bytes:
        """Return what stands behind the header."""
        return datagram[self.start + RECORD_HEADER_LENGTH : self.end]


def parse_records(datagram: bytes, connection_id_length: int = 0) -> list[Record]:
    """Return the records of a datagram; it ends at the first bytes that are none (RFC 6347 section 4.1.2.7).

    A record of an unknown type or a foreign version is passed over: its length still tells where the next one starts.

    Args:
        datagram: any bytes.
        connection_id_length: of the connection IDs that this end gives out, in front of a record's length (RFC 9146
            section 4: the header does not tell); 0 where it gives out none, and such a record ends the datagram.
    """
    records = []
    start, size = 0, len(datagram)
    while size - start >= RECORD_HEADER_LENGTH:
        head, number, length = _unpack_header(datagram, start)
        body = start + RECORD_HEADER_LENGTH
        content_type = head[0]
        if content_type == _TLS12_CID:
            body += connection_id_length
            if not connection_id_length or body > size:
                break
            length = (datagram[body - 2] << 8) | datagram[body - 1]
        end = body + length
        if end > size or length > _MAX_CIPHERTEXT:
            break
        epoch = number >> 48
        if head in (_PROTECTED_HEADS if epoch else _PLAINTEXT_HEADS):
            records.append(_new(Record, (content_type, epoch, number & _MAX_SEQUENCE, start, end)))
        start = end
    return records


def plaintext_record(content_type: int, sequence: int, fragment: bytes) -> bytes:
    """Return a record of epoch 0."""
    return _pack_header(_HEADS[content_type], sequence, len(fragment)) + fragment


class PlaintextWriter:
    """Writes records of epoch 0, from a given sequence number on."""

    __slots__ = ("next_sequence",)

    overhead = RECORD_HEADER_LENGTH

    def __init__(self, next_sequence: int) -> None:
        self.next_sequence = next_sequence

    def seal(self, content_type: int, fragment: bytes) -> bytes:
        """Return the next record.

        Raises:
            SequenceExhausted: a peer made us start at the end of the number space.
        """
        sequence = self.next_sequence
        if sequence > _MAX_SEQUENCE:
            raise SequenceExhausted
        self.next_sequence = sequence + 1
        return _pack_header(_HEADS[content_type], sequence, len(fragment)) + fragment


class WriteProtection:
    """Seals the records of one epoch.

    Attributes:
        connection_id: what its records have in them, empty for none.
        key: as it was given.
        next_number: the next record's number, with its epoch.
        overhead: bytes of a record beside its plaintext.
    """

    __slots__ = ("_encrypt", "_end", "_salt", "_tag_and_nonce", "connection_id", "key", "next_number", "overhead")

    def __init__(self, suite: CipherSuite, key: bytes, implicit_iv: bytes, epoch: int) -> None:
        aead: Aead = suite.aead(key)
        self.connection_id = b""
        self.key = key
        self._encrypt = aead.encrypt
        self._salt = implicit_iv
        self._tag_and_nonce = _EXPLICIT_NONCE_LENGTH + suite.tag_length
        self.overhead = RECORD_HEADER_LENGTH + self._tag_and_nonce
        self.next_number = epoch << 48
        self._end = (epoch + 1) << 48

    @property
    def secret(self) -> tuple[bytes, bytes]:
        """Key and implicit nonce part, as they were given."""
        return self.key, self._salt

    def seal_application(self, plaintext: bytes) -> bytes:
        """Return the next application data record.

        Raises:
            SequenceExhausted: the epoch has no number left.
            ValueError: the plaintext is longer than a record may be (RFC 5246 section 6.2.1).
        """
        number = self.next_number
        if number >= self._end:
            raise SequenceExhausted
        length = len(plaintext)
        if length >= _TABLE:
            return self.seal(ContentType.APPLICATION_DATA, plaintext)
        self.next_number = number + 1
        number8 = number.to_bytes(8, "big")
        encrypt = self._encrypt
        sealed = encrypt(self._salt + number8, plaintext, number8 + _ADDITIONAL[length])
        return b"".join((_APPLICATION_HEAD, number8, _LENGTHS[length + self._tag_and_nonce], number8, sealed))

    def seal(self, content_type: int, plaintext: bytes) -> bytes:
        """Return the next record of any type; raises as ``seal_application`` does."""
        length = len(plaintext)
        if length > MAX_PLAINTEXT:
            raise ValueError("a record has at most 16384 bytes of plaintext")
        number = self.next_number
        if number >= self._end:
            raise SequenceExhausted
        self.next_number = number + 1
        head = _HEADS[content_type]
        additional = _pack_additional(number, head, length)
        sealed = self._encrypt(self._salt + number.to_bytes(8, "big"), plaintext, additional)
        return _pack_protected(head, number, length + self._tag_and_nonce, number) + sealed


class ReadProtection:
    """Opens the records of one epoch and refuses replays (RFC 6347 section 4.1.2.6).

    The window is one integer of 64 bits: bit n says that ``highest`` - n is missing (numbers with their epoch). Mostly
    none is, and then the next record leaves it as it is. The shift is clamped, because the peer's number decides how
    far it would go.

    Attributes:
        connection_id: what its records have in them, empty for none.
        epoch: of its records.
        highest: the newest number received, with its epoch.
        key: as it was given.
    """

    __slots__ = ("_decrypt", "_minimum", "_missing", "_overhead", "_salt", "connection_id", "epoch", "highest", "key")

    def __init__(self, suite: CipherSuite, key: bytes, implicit_iv: bytes, epoch: int) -> None:
        aead: Aead = suite.aead(key)
        self.connection_id = b""
        self.key = key
        self._decrypt = aead.decrypt
        self._salt = implicit_iv
        self._minimum = _EXPLICIT_NONCE_LENGTH + suite.tag_length
        self._overhead = RECORD_HEADER_LENGTH + self._minimum
        self.epoch = epoch
        self.highest = (epoch << 48) - 1
        self._missing = 0

    def open_application(self, datagram: bytes) -> bytes | None:
        """Return the plaintext of a datagram that is one record of application data; ``None`` as `unwrap`.

        So also where its length says otherwise. The caller has checked type, version and epoch.
        """
        length = len(datagram) - self._overhead
        if not 0 <= length < _TABLE:
            return None
        number, body_length, nonce = _unpack_protected(datagram, 3)
        ahead = number - self.highest
        if body_length != length + self._minimum or (ahead <= 0 and self._seen(ahead)):
            return None
        decrypt = self._decrypt
        try:
            plaintext = decrypt(self._salt + nonce, datagram[_BODY:], datagram[3:11] + _ADDITIONAL[length])
        except InvalidTag:
            return None
        if ahead == 1 and not self._missing:
            self.highest = number
        else:
            self._note(number, ahead)
        return plaintext

    def fits(self, record: Record, datagram: bytes) -> bool:  # noqa: ARG002  # with a connection ID it is looked at
        """Say whether a record has the form of those that this opens (RFC 9146 section 3)."""
        return record.content_type != _TLS12_CID

    def has_seen(self, record: Record) -> bool:
        """Say whether a record of this epoch is a replay, or too old to tell."""
        return self._seen((self.epoch << 48 | record.sequence) - self.highest)

    def open_alone(self, datagram: bytes) -> tuple[int, bytes] | None:  # noqa: ARG002  # as ``fits``
        """As ``unwrap``, for a datagram that is one record with a connection ID; no other is opened."""
        return None

    @property
    def secret(self) -> tuple[bytes, bytes]:
        """Key and implicit nonce part, as they were given."""
        return self.key, self._salt

    @property
    def window(self) -> int:
        """The window as RFC 6347 has it: bit n says that ``highest`` - n was received."""
        return ~self._missing & _WINDOW_MASK

    @window.setter
    def window(self, received: int) -> None:
        self._missing = ~received & _WINDOW_MASK

    def unwrap(self, record: Record, datagram: bytes) -> tuple[int, bytes] | None:
        """Return content type and plaintext of a record; ``None`` if it is a replay, too old, too short or forged.

        It is one of ``parse_records``, and of this epoch. Only a record that is authentic moves the window.
        """
        content_type, _, _, start, end = record
        length = end - start - self._overhead
        if length < 0 or content_type == _TLS12_CID:
            return None
        number, _, nonce = _unpack_protected(datagram, start + 3)
        ahead = number - self.highest
        if ahead <= 0 and self._seen(ahead):
            return None
        additional = _pack_additional(number, _HEADS[content_type], length)
        try:
            plaintext = self._decrypt(self._salt + nonce, datagram[start + _BODY : end], additional)
        except InvalidTag:
            return None
        if length > MAX_PLAINTEXT:
            return None
        if ahead == 1 and not self._missing:
            self.highest = number
        else:
            self._note(number, ahead)
        return content_type, plaintext

    def _seen(self, ahead: int) -> bool:
        return ahead <= 0 and (ahead <= -_WINDOW or not self._missing >> -ahead & 1)

    def _note(self, number: int, ahead: int) -> None:
        if ahead <= 0:
            self._missing &= ~(1 << -ahead)
            return
        self.highest = number
        if ahead < _WINDOW:
            self._missing = (self._missing << ahead | (1 << ahead) - 2) & _WINDOW_MASK
        else:
            self._missing = _ALL_EARLIER
