"""Handshake messages: their header, and one parser and encoder for each body (RFC 6347 section 4.2.2, 4.3.2).

Bodies follow RFC 5246 section 7.4; the PSK forms of the key exchange messages RFC 4279 section 2. Bytes become frozen
values once, here. Must not know states, records or keys; bytes that do not parse raise ``HandshakeFault``.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from securecoap.dtls.alerts import Alert, HandshakeFault
from securecoap.dtls.extensions import encode_extensions, read_extensions
from securecoap.dtls.reader import Reader, vector

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DTLS_1_0",
    "DTLS_1_2",
    "FROM_SERVER",
    "HANDSHAKE_HEADER_LENGTH",
    "RANDOM_LENGTH",
    "ClientHello",
    "Fragment",
    "HandshakeType",
    "HelloVerifyRequest",
    "NewSessionTicket",
    "ServerHello",
    "encode_handshake",
    "parse_fragments",
    "parse_psk_key_exchange",
    "split_cookie",
]

DTLS_1_0: Final = 0xFEFF
DTLS_1_2: Final = 0xFEFD
HANDSHAKE_HEADER_LENGTH: Final = 12
RANDOM_LENGTH: Final = 32
_SESSION_ID: Final = 2 + RANDOM_LENGTH
# Type and length; sequence, offset, and length of the fragment: 8 and 24, 16 and 24 and 24 bits.
_header: Final = Struct("!IQ")
_unpack_header: Final = _header.unpack_from
_pack_header: Final = _header.pack
_pack_hello_start: Final = Struct(f"!H{RANDOM_LENGTH}sB").pack  # version, random, length of the session ID
_pack_hello_end: Final = Struct("!HB").pack  # suite and compression method of a ServerHello
_24_BITS: Final = (1 << 24) - 1
_48_BITS: Final = (1 << 48) - 1
_NULL_COMPRESSION: Final = b"\x00"
_NO_EXTENSIONS: Final[Mapping[int, bytes]] = MappingProxyType({})
_new: Final = tuple.__new__  # a NamedTuple without the call of its constructor


class HandshakeType:
    """Handshake message types (RFC 6347 section 4.3.2; RFC 5077); no enum, whose members cost a call in Python 3.11."""

    HELLO_REQUEST: Final = 0
    CLIENT_HELLO: Final = 1
    SERVER_HELLO: Final = 2
    HELLO_VERIFY_REQUEST: Final = 3
    NEW_SESSION_TICKET: Final = 4
    CERTIFICATE: Final = 11
    SERVER_KEY_EXCHANGE: Final = 12
    CERTIFICATE_REQUEST: Final = 13
    SERVER_HELLO_DONE: Final = 14
    CERTIFICATE_VERIFY: Final = 15
    CLIENT_KEY_EXCHANGE: Final = 16
    FINISHED: Final = 20


FROM_SERVER: Final = frozenset(
    {
        HandshakeType.SERVER_HELLO,
        HandshakeType.HELLO_VERIFY_REQUEST,
        HandshakeType.SERVER_KEY_EXCHANGE,
        HandshakeType.CERTIFICATE_REQUEST,
        HandshakeType.SERVER_HELLO_DONE,
        HandshakeType.NEW_SESSION_TICKET,
    }
)
"""Those that only a server sends."""


class Fragment(NamedTuple):
    """A piece of a handshake message, as it stands in a record; or all of it, as nearly always.

    Attributes:
        whole: header and data of a whole message, as if it had never been cut: what it adds to the transcript (RFC 6347
            section 4.2.6). Empty for a piece.
    """

    message_type: int
    message_length: int
    message_sequence: int
    offset: int
    data: bytes
    whole: bytes = b""


def parse_fragments(payload: bytes) -> list[Fragment]:
    """Return the fragments of one handshake record; the list ends before the first one that does not fit.

    A record may have several (RFC 6347 section 4.2.3). Bytes that are no fragment are dropped, not answered: nothing
    says who sent them.
    """
    fragments = []
    position, end = 0, len(payload)
    while end - position >= HANDSHAKE_HEADER_LENGTH:
        what, where = _unpack_header(payload, position)
        length, place = what & _24_BITS, where & _48_BITS
        start = position + HANDSHAKE_HEADER_LENGTH
        if place == length:  # nothing before it, and all of it, as nearly always
            stop = start + length
            if stop > end:
                break
            parts = what >> 24, length, where >> 48, 0, payload[start:stop], payload[position:stop]
            fragments.append(_new(Fragment, parts))
        else:
            offset, size = place >> 24, place & _24_BITS
            stop = start + size
            if stop > end or offset + size > length:
                break
            if size:  # an empty piece of a message that is not empty says nothing
                fragments.append(Fragment(what >> 24, length, where >> 48, offset, payload[start:stop]))
        position = stop
    return fragments


def encode_handshake(message_type: int, message_sequence: int, body: bytes) -> bytes:
    """Return a whole message with its header, as it goes into the transcript (RFC 6347 section 4.2.6)."""
    length = len(body)
    return _pack_header(message_type << 24 | length, message_sequence << 48 | length) + body


HelloPlaces: TypeAlias = tuple[int, int, int, int]
"""Where cookie, cipher suites and compression methods of a ClientHello begin, and where the last ends."""


class ClientHello(NamedTuple):
    """RFC 6347 section 4.2.1, RFC 5246 section 7.4.1.2."""

    version: int
    random: bytes
    session_id: bytes = b""
    cookie: bytes = b""
    cipher_suites: tuple[int, ...] = ()
    compression_methods: bytes = _NULL_COMPRESSION
    extensions: Mapping[int, bytes] = _NO_EXTENSIONS

    @classmethod
    def parse(cls, body: bytes, places: HelloPlaces | None = None) -> ClientHello:
        """Parse the body of a whole message; ``places`` is what ``split_cookie`` has found in it."""
        cookie, suites, compression, end = places or split_cookie(body)[2]
        count = (compression - suites - 2) // 2
        session_id = body[_SESSION_ID + 1 : cookie]
        if len(session_id) > 32 or count < 1 or (compression - suites) % 2 or not body[compression]:
            raise HandshakeFault(Alert.DECODE_ERROR, "a ClientHello has an impossible length")
        return _new(
            cls,
            (
                (body[0] << 8) | body[1],
                body[2:_SESSION_ID],
                session_id,
                body[cookie + 1 : suites],
                unpack_from(f"!{count}H", body, suites + 2),
                body[compression + 1 : end],
                read_extensions(body, end),
            ),
        )

    def encode(self) -> bytes:
        """Return the body."""
        return b"".join(
            (
                self.version.to_bytes(2, "big"),
                self.random,
                vector(self.session_id, 1),
                vector(self.cookie, 1),
                vector(b"".join(code.to_bytes(2, "big") for code in self.cipher_suites), 2),
                vector(self.compression_methods, 1),
                encode_extensions(self.extensions),
            )
        )


def split_cookie(body: bytes) -> tuple[bytes, bytes, HelloPlaces]:
    """Return the cookie of a ClientHello, what it is bound to, and where what stands in the hello.

    It is bound to all that the second ClientHello must repeat (RFC 6347 section 4.2.1). Until the cookie is known to be
    good nothing else of the message is looked at. By hand: every server does this for anybody.
    """
    try:
        cookie = _SESSION_ID + 1 + body[_SESSION_ID]
        suites = cookie + 1 + body[cookie]
        compression = suites + 2 + ((body[suites] << 8) | body[suites + 1])
        end = compression + 1 + body[compression]
    except IndexError:
        end = len(body) + 1
    if end > len(body):
        raise HandshakeFault(Alert.DECODE_ERROR, "a message ends inside a field")
    return body[cookie + 1 : suites], body[:cookie] + body[suites:end], (cookie, suites, compression, end)


class HelloVerifyRequest(NamedTuple):
    """RFC 6347 section 4.2.1. Its version says nothing about the one that will be negotiated."""

    cookie: bytes

    @classmethod
    def parse(cls, body: bytes) -> HelloVerifyRequest:
        """Parse the body of a whole message."""
        reader = Reader(body)
        reader.take(2)
        cookie = reader.vector(1)
        reader.finish()
        return cls(cookie)

    def encode(self) -> bytes:
        """Return the body."""
        return DTLS_1_0.to_bytes(2, "big") + vector(self.cookie, 1)


class ServerHello(NamedTuple):
    """RFC 5246 section 7.4.1.3."""

    version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int = 0
    extensions: Mapping[int, bytes] = _NO_EXTENSIONS

    @classmethod
    def parse(cls, body: bytes) -> ServerHello:
        """Parse the body of a whole message."""
        reader = Reader(body)
        version = reader.integer(2)
        random = reader.take(RANDOM_LENGTH)
        session_id = reader.vector(1)
        suite = reader.integer(2)
        compression = reader.integer(1)
        extensions = read_extensions(body, reader.position)
        if len(session_id) > 32:
            raise HandshakeFault(Alert.DECODE_ERROR, "a session id is too long")
        return cls(version, random, session_id, suite, compression, extensions)

    def encode(self) -> bytes:
        """Return the body."""
        session_id = self.session_id
        start = _pack_hello_start(self.version, self.random, len(session_id)) + session_id
        end = _pack_hello_end(self.cipher_suite, self.compression_method)
        return start + end + encode_extensions(self.extensions)


class NewSessionTicket(NamedTuple):
    """RFC 5077 section 3.3: for how many seconds it may be good, and the ticket; empty for none."""

    lifetime_hint: int
    ticket: bytes

    @classmethod
    def parse(cls, body: bytes) -> NewSessionTicket:
        """Parse the body of a whole message."""
        reader = Reader(body)
        lifetime_hint = reader.integer(4)
        ticket = reader.vector(2)
        reader.finish()
        return cls(lifetime_hint, ticket)

    def encode(self) -> bytes:
        """Return the body."""
        return self.lifetime_hint.to_bytes(4, "big") + vector(self.ticket, 2)


def parse_psk_key_exchange(body: bytes) -> bytes:
    """Return the identity, or the server's hint: any bytes, up to 65535 of them (RFC 4279 section 2)."""
    content = body[2:]
    if len(body) < 2 or len(content) != (body[0] << 8) | body[1]:
        raise HandshakeFault(Alert.DECODE_ERROR, "a message is not as long as the field in it")
    return content
