"""The client side of OSCORE (RFC 8613) for measurements: prepares thousands of requests, and opens answers.

Written apart from securecoap on purpose: what the server under load accepts and answers is judged by other code than
its own. Only AES-CCM-16-64-128 and SHA-256, only what a GET needs; nothing here is fit to protect anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING, Any

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ECHO", "Answer", "OscoreClient", "get", "parse"]

ALGORITHM = 10  # AES-CCM-16-64-128
ECHO = 252


@dataclass(frozen=True, slots=True)
class Answer:
    """A decrypted response."""

    code: int
    options: dict[int, bytes]
    payload: bytes


class OscoreClient:
    """One security context, as its client sees it.

    Args:
        secret, salt, sender_id, recipient_id: of the context, from the client's side.
        start: the first partial IV.
    """

    def __init__(self, secret: bytes, salt: bytes, sender_id: bytes, recipient_id: bytes, *, start: int = 0) -> None:
        self.sender_id = sender_id
        self.recipient_id = recipient_id
        self.sequence = start

        def expand(info: list[Any], length: int) -> bytes:
            return digest(digest(salt, secret, sha256), cbor2.dumps(info) + b"\x01", sha256)[:length]

        self._seal = AESCCM(expand([sender_id, None, ALGORITHM, "Key", 16], 16), 8)
        self._open = AESCCM(expand([recipient_id, None, ALGORITHM, "Key", 16], 16), 8)
        self._iv = int.from_bytes(expand([b"", None, ALGORITHM, "IV", 13], 13))

    @classmethod
    def from_entry(cls, entry: dict[str, Any], *, start: int = 0) -> OscoreClient:
        """From the ``oscore`` object of a client's credentials file (hex values only)."""
        values = [
            bytes.fromhex(entry.get(name, {"hex": ""})["hex"])
            for name in ("secret", "salt", "sender-id", "recipient-id")
        ]
        return cls(*values, start=start)

    def protect(self, inner: bytes) -> tuple[int, bytes]:
        """Protect an inner message (code, options, payload); return its number and a datagram with a 4-byte token."""
        number = self.sequence
        self.sequence += 1
        iv = _partial_iv(number)
        sealed = self._seal.encrypt(self._nonce(self.sender_id, iv), inner, self._aad(iv))
        option = bytes([0x08 | len(iv)]) + iv + self.sender_id
        head = bytes([0x44, 0x02]) + bytes(6)
        return number, head + bytes([0x90 | min(len(option), 13)]) + (
            bytes([len(option) - 13]) if len(option) > 12 else b""
        ) + option + b"\xff" + sealed

    def open(self, number: int, datagram: bytes) -> Answer:
        """Open the response to the request with this number.

        Raises:
            ValueError: it is not protected, or does not verify.
        """
        options, payload = parse(datagram, 4 + (datagram[0] & 15))
        if 9 not in options:
            raise ValueError(f"an answer without OSCORE: code {datagram[1] >> 5}.{datagram[1] & 31:02}")
        iv = _partial_iv(number)
        flags = options[9][:1] or b"\0"
        own = options[9][1 : 1 + (flags[0] & 7)]
        nonce = self._nonce(self.recipient_id, own) if own else self._nonce(self.sender_id, iv)
        try:
            inner = self._open.decrypt(nonce, payload, self._aad(iv))
        except Exception as error:
            raise ValueError("an answer that does not verify") from error
        options, payload = parse(inner, 1)
        return Answer(inner[0], options, payload)

    def exchange(self, sock: socket.socket, path: str) -> Answer:
        """One GET over a connected socket; an Echo challenge (RFC 8613 appendix B.1.2) is answered."""
        answer = self._round_trip(sock, get(path))
        if answer.code == 0x81 and ECHO in answer.options:
            answer = self._round_trip(sock, get(path, answer.options[ECHO]))
        return answer

    def write_requests(self, file: Path, count: int, path: str) -> int:
        """Write ``count`` requests as loadgen's ``-f`` reads them; return the number of the first."""
        first = self.sequence
        inner = get(path)
        with file.open("wb") as out:
            for _ in range(count):
                datagram = self.protect(inner)[1]
                out.write(struct.pack("<H", len(datagram)) + datagram)
        return first

    def open_samples(self, file: Path, first: int) -> Iterator[Answer]:
        """Open the answers that loadgen kept with ``-o``; ``first`` is the number of its first request."""
        data = file.read_bytes()
        while data:
            index, length = struct.unpack_from("<IH", data)
            yield self.open(first + index, data[6 : 6 + length])
            data = data[6 + length :]

    def _round_trip(self, sock: socket.socket, inner: bytes) -> Answer:
        number, datagram = self.protect(inner)
        mark = struct.pack("!H", number & 0xFFFF)
        sock.send(datagram[:2] + mark + struct.pack("!I", number) + datagram[8:])
        while True:
            received = sock.recv(2048)
            if len(received) >= 8 and received[1] and received[4:8] == struct.pack("!I", number):
                return self.open(number, received)

    def _nonce(self, identifier: bytes, partial_iv: bytes) -> bytes:
        padded = bytes([len(identifier)]) + identifier.rjust(7, b"\0") + partial_iv.rjust(5, b"\0")
        return (int.from_bytes(padded) ^ self._iv).to_bytes(13)

    def _aad(self, partial_iv: bytes) -> bytes:
        external = cbor2.dumps([1, [ALGORITHM], self.sender_id, partial_iv, b""])
        return cbor2.dumps(["Encrypt0", b"", external])


def get(path: str, echo: bytes = b"") -> bytes:
    """The inner message of a GET for one path segment, with an Echo option if there is one to return."""
    inner = b"\x01" + bytes([0xB0 | len(path)]) + path.encode()
    if echo:
        delta = ECHO - 11 - 13
        inner += bytes([0xD0 | min(len(echo), 13), delta]) + (bytes([len(echo) - 13]) if len(echo) > 12 else b"") + echo
    return inner


def _partial_iv(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8))


def parse(data: bytes, at: int) -> tuple[dict[int, bytes], bytes]:
    """Options (the last of each number) and payload of a message, from where its options begin."""
    options: dict[int, bytes] = {}
    number = 0
    while at < len(data) and data[at] != 0xFF:
        delta, length = data[at] >> 4, data[at] & 15
        at += 1
        if delta == 13:
            delta, at = data[at] + 13, at + 1
        elif delta == 14:
            delta, at = int.from_bytes(data[at : at + 2]) + 269, at + 2
        if length == 13:
            length, at = data[at] + 13, at + 1
        elif length == 14:
            length, at = int.from_bytes(data[at : at + 2]) + 269, at + 2
        number += delta
        options[number] = data[at : at + length]
        at += length
    return options, data[at + 1 :]
