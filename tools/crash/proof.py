"""What a capture proves of OSCORE (RFC 8613): no (key, nonce) pair twice, and no request executed twice.

Written apart from securecoap on purpose: the keys are derived and each message is opened by other code than that which
sealed it. Only AES-CCM-16-64-128 and SHA-256. Contexts have no ID Context, or one that they are derived anew with
(appendix B.2). Faults are collected, not raised, so that one run finds all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from hmac import digest
from typing import TYPE_CHECKING, Any, TypeAlias

import cbor2
from bench.oscore import parse
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Keys", "Proof"]

ALGORITHM = 10
OSCORE = 9
_Context: TypeAlias = tuple[bytes, bytes | None]
"""The kid of the client's requests, and the ID Context."""

SIGNS = frozenset({0x80, 0x81, 0x82, 0xA0, 0xA3})
"""Codes that a server may send without protection: errors of section 8.2, and 5.00 and 5.03 of the message layer."""


class Keys:
    """Both keys of one security context, and its nonces.

    Args:
        secret, salt, client_id, server_id, id_context: the input of the derivation (RFC 8613 section 3.2.1).
    """

    def __init__(
        self, secret: bytes, salt: bytes, client_id: bytes, server_id: bytes, id_context: bytes | None = None
    ) -> None:
        self._secret = secret
        self._salt = salt

        def expand(info: list[Any], length: int) -> bytes:
            return digest(digest(salt, secret, sha256), cbor2.dumps(info) + b"\x01", sha256)[:length]

        self.client_id = client_id
        self.server_id = server_id
        self.of_client = AESCCM(expand([client_id, id_context, ALGORITHM, "Key", 16], 16), 8)
        self.of_server = AESCCM(expand([server_id, id_context, ALGORITHM, "Key", 16], 16), 8)
        self._iv = int.from_bytes(expand([b"", id_context, ALGORITHM, "IV", 13], 13), "big")

    def anew(self, id_context: bytes) -> Keys:
        """Those of another context with the same secret."""
        return Keys(self._secret, self._salt, self.client_id, self.server_id, id_context)

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
    # (key's owner: context and side, nonce) -> a digest of the one datagram that it may have sealed.
    _seals: dict[tuple[_Context, bool, bytes], bytes] = field(default_factory=dict)
    # Requests by token: responses have nothing else that names theirs. A token has several after an observation.
    _requests: dict[bytes, list[tuple[_Context, bytes]]] = field(default_factory=dict)
    _derived: dict[_Context, Keys] = field(default_factory=dict)

    @property
    def sealed(self) -> int:
        """How many different (key, nonce) pairs were seen."""
        return len(self._seals)

    def see(self, data: bytes, *, to_server: bool, source: tuple[str, int] | None = None) -> None:
        """Take one datagram that client or server has sent (copies of a relay need not be shown), and from where."""
        self.datagrams += 1
        if len(data) < 4 or not data[1]:
            return  # an Empty message
        token = data[4 : 4 + (data[0] & 15)]
        options, ciphertext = parse(data, 4 + len(token))
        value = options.get(OSCORE)
        if value is None:
            if to_server or data[1] not in SIGNS:
                self.faults.append(f"without protection{_from(source)}: {data.hex()}")
        elif to_server:
            self._see_request(data, token, value, ciphertext, source)
        else:
            self._see_response(data, token, value, ciphertext, source)

    def _keys(self, context: _Context) -> Keys:
        kid, id_context = context
        if id_context is None:
            return self.contexts[kid]
        if context not in self._derived:
            self._derived[context] = self.contexts[kid].anew(id_context)
        return self._derived[context]

    def _see_request(
        self, data: bytes, token: bytes, value: bytes, ciphertext: bytes, source: tuple[str, int] | None
    ) -> None:
        partial_iv, kid_context, kid = _fields(value)
        context = kid, None if kid_context is None else cbor2.loads(kid_context)
        keys = self._keys(context)
        nonce = keys.nonce(kid, partial_iv)
        if not _opens(keys.of_client, nonce, ciphertext, keys.aad(partial_iv)):
            self.faults.append(f"a request that does not verify{_from(source)}: {data.hex()}")
            return
        known = self._requests.setdefault(token, [])
        if (context, partial_iv) not in known:
            known.append((context, partial_iv))
        self._seal(context, data, nonce, by_client=True)

    def _see_response(
        self, data: bytes, token: bytes, value: bytes, ciphertext: bytes, source: tuple[str, int] | None
    ) -> None:
        own, kid_context, _ = _fields(value)
        for asked, partial_iv in self._requests.get(token, ()):
            context = asked
            if kid_context is not None and asked[1] is not None:  # a response #1: R2 before the request's ID Context
                context = asked[0], cbor2.loads(kid_context) + asked[1]
            keys = self._keys(context)
            nonce = keys.nonce(keys.server_id, own) if own else keys.nonce(keys.client_id, partial_iv)
            if _opens(keys.of_server, nonce, ciphertext, keys.aad(partial_iv)):
                self._seal(context, data, nonce, by_client=False)
                return
        self.faults.append(f"a response that verifies for no request{_from(source)}: {data.hex()}")

    def _seal(self, context: _Context, data: bytes, nonce: bytes, *, by_client: bool) -> None:
        """A retransmission is the same datagram, bit by bit; whatever else has a nonce again was sealed again."""
        mark = blake2b(data, digest_size=12).digest()
        if self._seals.setdefault((context, by_client, nonce), mark) != mark:
            side = "client" if by_client else "server"
            self.faults.append(f"the {side}'s key of {context[0].hex()} was used twice with nonce {nonce.hex()}")

    def executions(self, lines: Iterable[str]) -> None:
        """Take the server's record: kid, ID Context or ``-``, and nonce, in hex, for each that reached a handler."""
        seen: set[str] = set()
        for line in lines:
            kid, id_context, nonce = line.split()
            if line in seen:
                self.faults.append(f"executed twice: the request of {kid} with nonce {nonce}")
            context = bytes.fromhex(kid), None if id_context == "-" else bytes.fromhex(id_context)
            if (context, True, bytes.fromhex(nonce)) not in self._seals:
                self.faults.append(f"executed, and never sent by the client: {kid} with nonce {nonce}")
            seen.add(line)
            self.executed += 1


def _from(source: tuple[str, int] | None) -> str:
    return "" if source is None else f", from {source[0]}:{source[1]}"


def _fields(value: bytes) -> tuple[bytes, bytes | None, bytes]:
    """Partial IV, kid context and kid of an OSCORE option (section 6.1)."""
    if not value:
        return b"", None, b""
    end = 1 + (value[0] & 7)
    partial_iv, kid_context = value[1:end], None
    if value[0] & 0x10:
        kid_context = value[end + 1 : end + 1 + value[end]]
        end += 1 + value[end]
    return partial_iv, kid_context, value[end:]


def _opens(key: AESCCM, nonce: bytes, ciphertext: bytes, aad: bytes) -> bool:
    try:
        key.decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError):
        return False
    return True
