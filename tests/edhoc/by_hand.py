"""EDHOC method 3 with suite 2, by hand, from RFC 9528 sections 4 and 5: a second opinion, and a peer that misbehaves.

Keys are given, so that it computes the RFC's own trace; nothing here is constant-time or meant for anything but tests.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESCCM


def bstr(data: bytes) -> bytes:
    length = len(data)
    head = (
        bytes((0x40 | length,))
        if length < 24
        else bytes((0x58, length))
        if length < 256
        else bytes((0x59, *length.to_bytes(2, "big")))
    )
    return head + data


def uint(value: int) -> bytes:
    return (
        bytes((value,))
        if value < 24
        else bytes((0x18, value))
        if value < 256
        else bytes((0x19, *value.to_bytes(2, "big")))
    )


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def expand(key: bytes, info: bytes, length: int) -> bytes:
    output, block = b"", b""
    for index in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes((index,)), "sha256")
        output += block
    return output[:length]


def kdf(key: bytes, label: int, context: bytes, length: int) -> bytes:
    """EDHOC_KDF (section 4.1.2)."""
    return expand(key, uint(label) + bstr(context) + uint(length), length)


def private(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


def public(scalar: bytes) -> bytes:
    return private(scalar).public_key().public_numbers().x.to_bytes(32, "big")


def ecdh(scalar: bytes, x: bytes) -> bytes:
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x02" + x)
    return private(scalar).exchange(ec.ECDH(), point)


def identifier(value: bytes) -> bytes:
    return value if len(value) == 1 and (value[0] < 0x18 or 0x20 <= value[0] < 0x38) else bstr(value)


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class Handshake:
    """The key schedule that both sides have (section 4.1), as far as one of them has come.

    Args:
        message_1: as it was sent.
        g_x, g_y: the ephemeral public keys.
        g_xy: their shared secret.
        c_r: the responder's identifier.
    """

    def __init__(self, message_1: bytes, g_y: bytes, g_xy: bytes, c_r: bytes) -> None:
        self.g_y = g_y
        self.c_r = c_r
        self.th_2 = sha256(bstr(g_y) + bstr(sha256(message_1)))
        self.prk_2e = hmac.digest(self.th_2, g_xy, "sha256")

    def message_2_mac(self, g_rx: bytes, id_cred_r: bytes, cred_r: bytes) -> bytes:
        self.cred_r = cred_r
        salt = kdf(self.prk_2e, 1, self.th_2, 32)
        self.prk_3e2m = hmac.digest(salt, g_rx, "sha256")
        return kdf(self.prk_3e2m, 2, identifier(self.c_r) + id_cred_r + bstr(self.th_2) + cred_r, 8)

    def crypt_2(self, text: bytes) -> bytes:
        return xor(text, kdf(self.prk_2e, 0, self.th_2, len(text)))

    def enter_3(self, plaintext_2: bytes, g_iy: bytes) -> None:
        self.th_3 = sha256(bstr(self.th_2) + plaintext_2 + self.cred_r)
        self.prk_4e3m = hmac.digest(kdf(self.prk_3e2m, 5, self.th_3, 32), g_iy, "sha256")

    def message_3_mac(self, id_cred_i: bytes, cred_i: bytes) -> bytes:
        return kdf(self.prk_4e3m, 6, id_cred_i + bstr(self.th_3) + cred_i, 8)

    def aead_3(self) -> tuple[AESCCM, bytes, bytes]:
        key, nonce = kdf(self.prk_3e2m, 3, self.th_3, 16), kdf(self.prk_3e2m, 4, self.th_3, 13)
        return AESCCM(key, tag_length=8), nonce, b"\x83\x68Encrypt0\x40" + bstr(self.th_3)

    def finish(self, plaintext_3: bytes, cred_i: bytes) -> tuple[bytes, bytes, bytes]:
        """Message 4, OSCORE's Master Secret and Salt."""
        self.th_4 = sha256(bstr(self.th_3) + plaintext_3 + cred_i)
        prk_out = kdf(self.prk_4e3m, 7, self.th_4, 32)
        exporter = kdf(prk_out, 10, b"", 32)
        key, nonce = kdf(self.prk_4e3m, 8, self.th_4, 16), kdf(self.prk_4e3m, 9, self.th_4, 13)
        sealed = AESCCM(key, tag_length=8).encrypt(nonce, b"", b"\x83\x68Encrypt0\x40" + bstr(self.th_4))
        return bstr(sealed), kdf(exporter, 0, b"", 16), kdf(exporter, 1, b"", 8)


class Responder:
    """A responder that can be made to say anything in message_2."""

    def __init__(self, message_1: bytes, g_x: bytes, key: bytes, cred_r: bytes, ephemeral: bytes, c_r: bytes) -> None:
        self.ephemeral = ephemeral
        self.run = Handshake(message_1, public(ephemeral), ecdh(ephemeral, g_x), c_r)
        self.g_rx = ecdh(key, g_x)
        self.cred_r = cred_r

    def message_2(self, id_cred_r: bytes, compact: bytes, plaintext: bytes | None = None) -> bytes:
        """Args: ``compact`` is ID_CRED_R as it stands in the plaintext; ``plaintext`` replaces all of it."""
        mac = self.run.message_2_mac(self.g_rx, id_cred_r, self.cred_r)
        self.plaintext_2 = identifier(self.run.c_r) + compact + bstr(mac)
        return bstr(self.run.g_y + self.run.crypt_2(self.plaintext_2 if plaintext is None else plaintext))

    def take_message_3(
        self, message_3: bytes, g_i: bytes, id_cred_i: bytes, cred_i: bytes
    ) -> tuple[bytes, bytes, bytes]:
        self.run.enter_3(self.plaintext_2, ecdh(self.ephemeral, g_i))
        aead, nonce, aad = self.run.aead_3()
        plaintext = aead.decrypt(nonce, message_3[1:] if message_3[0] < 0x58 else message_3[2:], aad)
        assert plaintext.endswith(bstr(self.run.message_3_mac(id_cred_i, cred_i)))
        return self.run.finish(plaintext, cred_i)


class Initiator:
    """An initiator with a given ephemeral key."""

    def __init__(
        self, key: bytes, cred_i: bytes, ephemeral: bytes, c_i: bytes, suites: bytes = b"\x02", method: bytes = b"\x03"
    ) -> None:
        self.key = key
        self.cred_i = cred_i
        self.ephemeral = ephemeral
        self.message_1 = method + suites + bstr(public(ephemeral)) + identifier(c_i)

    def take_message_2(self, message_2: bytes, g_r: bytes, id_cred_r: bytes, cred_r: bytes, c_r: bytes) -> None:
        content = message_2[2:]
        g_y = content[:32]
        self.run = Handshake(self.message_1, g_y, ecdh(self.ephemeral, g_y), c_r)
        plaintext = self.run.crypt_2(content[32:])
        assert plaintext.endswith(bstr(self.run.message_2_mac(ecdh(self.ephemeral, g_r), id_cred_r, cred_r)))
        self.run.enter_3(plaintext, ecdh(self.key, g_y))

    def message_3(self, id_cred_i: bytes, compact: bytes, ead: bytes = b"") -> tuple[bytes, tuple[bytes, bytes, bytes]]:
        plaintext = (
            compact + bstr(kdf(self.run.prk_4e3m, 6, id_cred_i + bstr(self.run.th_3) + self.cred_i + ead, 8)) + ead
        )
        aead, nonce, aad = self.run.aead_3()
        return bstr(aead.encrypt(nonce, plaintext, aad)), self.run.finish(plaintext, self.cred_i)
