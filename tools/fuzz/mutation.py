"""Structure-aware mutation of DTLS datagrams: records, handshake headers, bodies, extensions (RFC 6347, RFC 5246).

What is changed mostly keeps the lengths around it right, so that the change reaches the code behind the parsers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.messages import ClientHello, HandshakeType, ServerHello

if TYPE_CHECKING:
    from random import Random

__all__ = ["mutate_body", "mutate_datagram", "mutate_plaintext"]

RECORD_HEADER: Final = 13
HANDSHAKE_HEADER: Final = 12
HANDSHAKE: Final = 22
TYPES: Final = (0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 20, 22, 255)
EXTENSIONS: Final = (0, 10, 11, 13, 19, 20, 23, 35, 54, 0xFF01, 0x1234)


def mutate_datagram(rng: Random, datagram: bytes, corpus: list[bytes]) -> bytes:
    """Return a datagram that was sent, with something wrong about it (now and then nothing)."""
    kind = rng.randrange(10)
    if kind == 0:
        return datagram
    if kind == 1:
        return _bytes(rng, datagram)
    records = _records(datagram)
    if not records:
        return _bytes(rng, datagram)
    index = rng.randrange(len(records))
    if kind == 2:
        records[index] = _record_header(rng, records[index])
    elif kind == 3:
        records.insert(index, rng.choice(_records(rng.choice(corpus)) or records))
    elif kind == 4:
        rng.shuffle(records)
        records = records[: rng.randrange(1, len(records) + 1)]
    elif kind == 5:
        head = records[index][: RECORD_HEADER - 2]
        records[index] = head + b"\x00\x00" + (records[index] if rng.random() < 0.5 else b"")
    else:
        record = records[index]
        if record[0] == HANDSHAKE and record[3:5] == b"\x00\x00" and len(record) > RECORD_HEADER + HANDSHAKE_HEADER:
            records[index] = _handshake_record(rng, record)
        else:
            records[index] = _sealed(record[:RECORD_HEADER], _bytes(rng, record[RECORD_HEADER:]))
    return b"".join(records)


def mutate_plaintext(rng: Random, content_type: int, plaintext: bytes) -> tuple[int, bytes]:
    """Return what a peer who has the keys might seal instead: (content type, plaintext)."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice((20, 21, 22, 23, 24, 25, 255)), plaintext
    if kind == 1:
        return content_type, b""
    if kind == 2 and len(plaintext) >= HANDSHAKE_HEADER and content_type == HANDSHAKE:
        return content_type, _handshake_header(rng, plaintext)
    if kind == 3:
        return 21, bytes((rng.choice((0, 1, 2, 3)), rng.randrange(256)))
    if kind == 4:
        types = (0, 1, 2, 3, 4, 11, 14, 16, 20)
        return 22, bytes((rng.choice(types),)) + bytes(11) + rng.randbytes(rng.randrange(20))
    return content_type, _bytes(rng, plaintext) if plaintext else rng.randbytes(rng.randrange(40))


def mutate_body(rng: Random, message_type: int, body: bytes) -> bytes:
    """Return another body for a handshake message."""
    kind = rng.randrange(6)
    if kind < 2 and message_type in {HandshakeType.CLIENT_HELLO, HandshakeType.SERVER_HELLO}:
        return _hello(rng, message_type, body)
    if kind == 2 and body:
        return _length_field(rng, body)
    if kind == 3:
        return b""
    return _bytes(rng, body) if body else rng.randbytes(rng.randrange(1, 40))


def _records(datagram: bytes) -> list[bytes]:
    records = []
    start = 0
    while len(datagram) - start >= RECORD_HEADER:
        end = start + RECORD_HEADER + int.from_bytes(datagram[start + 11 : start + 13], "big")
        records.append(datagram[start:end])
        start = end
    return records


def _sealed(head: bytes, fragment: bytes) -> bytes:
    return head[:11] + min(len(fragment), 0xFFFF).to_bytes(2, "big") + fragment


def _record_header(rng: Random, record: bytes) -> bytes:
    head = bytearray(record[:RECORD_HEADER])
    field = rng.randrange(5)
    if field == 0:
        head[0] = rng.choice((0, 20, 21, 22, 23, 24, 25, 26, 255))
    elif field == 1:
        head[1:3] = rng.choice((b"\xfe\xff", b"\xfe\xfd", b"\xfe\xfc", b"\x03\x03", b"\x01\x00", b"\x00\x00"))
    elif field == 2:
        head[3:5] = rng.choice((0, 1, 2, 0xFFFF)).to_bytes(2, "big")
    elif field == 3:
        head[5:11] = rng.choice((0, 1, 2**32, 2**48 - 1, rng.randrange(2**48))).to_bytes(6, "big")
    else:
        head[11:13] = rng.choice((0, 1, 0xFFFF, rng.randrange(0x10000))).to_bytes(2, "big")
    return bytes(head) + record[RECORD_HEADER:]


def _handshake_record(rng: Random, record: bytes) -> bytes:
    head, fragment = record[:RECORD_HEADER], record[RECORD_HEADER:]
    message, rest = _first_message(fragment)
    kind = rng.randrange(4)
    if kind == 0:
        message = _handshake_header(rng, message)
    elif kind == 1:
        message = _fragments(rng, message)
    else:
        message = _with_body(message, mutate_body(rng, message[0], message[HANDSHAKE_HEADER:]))
    return _sealed(head, message + rest)


def _first_message(fragment: bytes) -> tuple[bytes, bytes]:
    end = HANDSHAKE_HEADER + int.from_bytes(fragment[9:12], "big")
    return fragment[:end], fragment[end:]


def _with_body(message: bytes, body: bytes) -> bytes:
    length = len(body).to_bytes(3, "big")
    return message[:1] + length + message[4:6] + bytes(3) + length + body


def _handshake_header(rng: Random, message: bytes) -> bytes:
    head = bytearray(message[:HANDSHAKE_HEADER])
    field = rng.randrange(5)
    if field == 0:
        head[0] = rng.choice(TYPES)
    elif field == 1:
        head[1:4] = rng.choice((0, 1, 2**24 - 1, 2**15, len(message))).to_bytes(3, "big")
    elif field == 2:
        head[4:6] = rng.choice((0, 1, 2, 3, 5, 9, 0xFFFF)).to_bytes(2, "big")
    elif field == 3:
        head[6:9] = rng.choice((0, 1, 2**24 - 1, rng.randrange(200))).to_bytes(3, "big")
    else:
        head[9:12] = rng.choice((0, 1, 2**24 - 1, rng.randrange(200))).to_bytes(3, "big")
    return bytes(head) + message[HANDSHAKE_HEADER:]


def _fragments(rng: Random, message: bytes) -> bytes:
    """Pieces that overlap, repeat, are empty, or contradict each other."""
    body = message[HANDSHAKE_HEADER:]
    pieces = []
    for _ in range(rng.randrange(1, 8)):
        offset = rng.randrange(len(body) + 1)
        data = body[offset : offset + rng.randrange(len(body) + 2)]
        if rng.random() < 0.2:
            data = rng.randbytes(len(data))
        pieces.append(message[:6] + offset.to_bytes(3, "big") + len(data).to_bytes(3, "big") + data)
    return b"".join(pieces)


def _hello(rng: Random, message_type: int, body: bytes) -> bytes:
    try:
        hello = ClientHello.parse(body) if message_type == HandshakeType.CLIENT_HELLO else ServerHello.parse(body)
    except HandshakeFault:
        return _bytes(rng, body) if body else b"\x00"
    extensions = dict(hello.extensions)
    number = rng.choice([*extensions, *EXTENSIONS])
    kind = rng.randrange(4)
    if kind == 0:
        extensions.pop(number, None)
    elif kind == 1:
        extensions[number] = rng.randbytes(rng.randrange(12))
    elif kind == 2:
        extensions[number] = _length_field(rng, extensions.get(number) or b"\x00\x02\x00\x17")
    else:
        extensions[number] = extensions.get(number, b"") * 2
    changed = {"extensions": extensions}
    if isinstance(hello, ClientHello):
        suites = list(hello.cipher_suites)
        if rng.random() < 0.3:
            rng.shuffle(suites)
        if rng.random() < 0.2:
            suites = [rng.randrange(0x10000), *suites[: rng.randrange(len(suites) + 1)]]
        return ClientHello(
            rng.choice((hello.version, hello.version, 0xFEFF, 0xFEFC, 0x0303)), hello.random,
            rng.choice((b"", rng.randbytes(32))), hello.cookie, tuple(suites),
            rng.choice((b"\x00", b"\x01", b"\x01\x00")),
            **changed,
        ).encode()  # fmt: skip
    suite = rng.choice((hello.cipher_suite, hello.cipher_suite, 0x00FF, 0xC0A8, 0xC0AE, 0xD003))
    return ServerHello(hello.version, hello.random, hello.session_id, suite, 0, **changed).encode()


def _length_field(rng: Random, data: bytes) -> bytes:
    """Some one to three bytes, taken as a number, a little or a lot different."""
    width = min(rng.choice((1, 1, 2, 2, 3)), len(data))
    position = rng.randrange(len(data) - width + 1)
    value = int.from_bytes(data[position : position + width], "big")
    top = 256**width - 1
    value = rng.choice((0, 1, top, value + 1, value - 1, value * 2)) & top
    return data[:position] + value.to_bytes(width, "big") + data[position + width :]


def _bytes(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind = rng.randrange(5)
        position = rng.randrange(len(changed)) if changed else 0
        if kind == 0 and changed:
            changed[position] = rng.randrange(256)
        elif kind == 1 and changed:
            changed[position] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[position : position + rng.randrange(1, 9)]
        elif kind == 3:
            changed[position:position] = rng.randbytes(rng.randrange(1, 9))
        else:
            del changed[position:]
    return bytes(changed)
