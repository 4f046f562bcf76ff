"""What a capture proves of OSCORE (RFC 8613): no (key, nonce) pair twice, and no request executed twice.

Written apart from securecoap on purpose: the keys are derived and each message is opened by other code than that which
sealed it. Only AES-CCM-16-64-128 and SHA-256; contexts without ID Context. Faults are collected, not raised, so that
one run finds all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from hmac import digest
from typing import TYPE_CHECKING, Any

import cbor2
from bench.oscore import parse
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Keys", "Proof"]

ALGORITHM = 10
OSCORE = 9
SIGNS = frozenset({0x80, 0x81, 0x82, 0xA0, 0xA3})
"""Codes that a server may send without protection: errors of section 8.2, and 5.00 and 5.03 of the message layer."""


class Keys:
    """Both keys of one security context, and its nonces.

    Args:
        secret, salt, client_id, server_id: the input of the derivation (RFC 8613 section 3.2.1).
    """

    def __init__(self, secret: bytes, salt: bytes, client_id: bytes, server_id: bytes) -> None:
        def expand(info: list[Any], length: int) -> bytes:
            return digest(digest(salt, secret, sha256), cbor2.dumps(info) + b"\x01", sha256)[:length]

        self.client_id = client_id
        self.server_id = server_id
        self.of_client = AESCCM(expand([client_id, None, ALGORITHM, "Key", 16], 16), 8)
        self.of_server = AESCCM(expand([server_id, None, ALGORITHM, "Key", 16], 16), 8)
        self._iv = int.from_bytes(expand([b"", None, ALGORITHM, "IV", 13], 13), "big")

    def nonce(self, identifier: bytes, partial_iv: bytes) -> bytes:
        """The nonce of what the endpoint with this identifier numbered (section 5.2)."""
        padded = bytes([len(identifier)]) + identifier.rjust(7, b"\0") + partial_iv.rjust(5, b"\0")
        return (int.from_bytes(padded, "big") ^ self._iv).to_bytes(13, "big")

    def aad(self, partial_iv: bytes) -> bytes:
        """The authenticated data of a request of the client, and of its responses (section 5.4)."""
        external = cbor2.dumps([1, [ALGORITHM], self.client_id, partial_iv, b""])
        return cbor2.dumps(["Encrypt0", b"", external])


@dataclass(slots=True)
class Proof:
    """Takes every datagram in the order of its capture.

    Attributes:
        contexts: by the client's identifier, which is the kid of its requests.
        faults: what must not be, one line each.
        datagrams, sealed, executed: how many were seen; sealed messages count once for each nonce.
    """

    contexts: dict[bytes, Keys]
    faults: list[str] = field(default_factory=list)
    datagrams: int = 0
    executed: int = 0
    # (key's owner: kid and side, nonce) -> a digest of the one datagram that it may have sealed.
    _seals: dict[tuple[bytes, bool, bytes], bytes] = field(default_factory=dict)
    # Requests by token: responses have nothing else that names theirs. A token has several after an observation.
    _requests: dict[bytes, list[tuple[bytes, bytes]]] = field(default_factory=dict)

    @property
    def sealed(self) -> int:
        """How many different (key, nonce) pairs were seen."""
        return len(self._seals)

    def see(self, data: bytes, *, to_server: bool) -> None:
        """Take one datagram that client or server has sent (copies of a relay need not be shown)."""
        self.datagrams += 1
        if len(data) < 4 or not data[1]:
            return  # an Empty message
        token = data[4 : 4 + (data[0] & 15)]
        options, ciphertext = parse(data, 4 + len(token))
        value = options.get(OSCORE)
        if value is None:
            if to_server or data[1] not in SIGNS:
                self.faults.append(f"without protection: {data.hex()}")
        elif to_server:
            self._see_request(data, token, value, ciphertext)
        else:
            self._see_response(data, token, value, ciphertext)

    def _see_request(self, data: bytes, token: bytes, value: bytes, ciphertext: bytes) -> None:
        end = 1 + (value[0] & 7)
        partial_iv, kid = value[1:end], value[end:]
        keys = self.contexts[kid]
        nonce = keys.nonce(kid, partial_iv)
        if not _opens(keys.of_client, nonce, ciphertext, keys.aad(partial_iv)):
            self.faults.append(f"a request that does not verify: {data.hex()}")
            return
        known = self._requests.setdefault(token, [])
        if (kid, partial_iv) not in known:
            known.append((kid, partial_iv))
        self._seal(kid, data, nonce, by_client=True)

    def _see_response(self, data: bytes, token: bytes, value: bytes, ciphertext: bytes) -> None:
        own = value[1 : 1 + (value[0] & 7)] if value else b""
        for kid, partial_iv in self._requests.get(token, ()):
            keys = self.contexts[kid]
            nonce = keys.nonce(keys.server_id, own) if own else keys.nonce(kid, partial_iv)
            if _opens(keys.of_server, nonce, ciphertext, keys.aad(partial_iv)):
                self._seal(kid, data, nonce, by_client=False)
                return
        self.faults.append(f"a response that verifies for no request: {data.hex()}")

    def _seal(self, kid: bytes, data: bytes, nonce: bytes, *, by_client: bool) -> None:
        """A retransmission is the same datagram, bit by bit; whatever else has a nonce again was sealed again."""
        mark = blake2b(data, digest_size=12).digest()
        if self._seals.setdefault((kid, by_client, nonce), mark) != mark:
            side = "client" if by_client else "server"
            self.faults.append(f"the {side}'s key of {kid.hex()} was used twice with nonce {nonce.hex()}")

    def executions(self, lines: Iterable[str]) -> None:
        """Take the server's record: ``kid nonce`` in hex for each request that reached a handler."""
        seen: set[tuple[str, str]] = set()
        for line in lines:
            kid, nonce = line.split()[:2]
            if (kid, nonce) in seen:
                self.faults.append(f"executed twice: the request of {kid} with nonce {nonce}")
            if (bytes.fromhex(kid), True, bytes.fromhex(nonce)) not in self._seals:
                self.faults.append(f"executed, and never sent by the client: {kid} with nonce {nonce}")
            seen.add((kid, nonce))
            self.executed += 1


def _opens(key: AESCCM, nonce: bytes, ciphertext: bytes, aad: bytes) -> bool:
    try:
        key.decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError):
        return False
    return True
