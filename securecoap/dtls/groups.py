"""The groups of ECDHE, and what a point of theirs must be (RFC 8422 section 5.1, 5.4 and 5.10, RFC 7748).

Uncompressed points only. A point is checked before it is used: its length and form here, that it lies on the curve (and
is not the point at infinity) by ``cryptography``, and for x25519 that the result is not all zeros. Ephemeral keys are
drawn by ``cryptography`` itself, once for each handshake and never again: no secret passes through Python numbers. Must
not know messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from securecoap.dtls.alerts import Alert, HandshakeFault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEFAULT_GROUPS", "GROUPS", "Group", "KeyShare"]

_UNCOMPRESSED: Final = 4
_ECDH: Final = ec.ECDH()


class KeyShare(Protocol):
    """An ephemeral key pair."""

    public: bytes
    """The point that goes on the wire."""

    def shared_secret(self, peer: bytes) -> bytes:
        """Return the secret shared with the owner of the point ``peer``; raise ``HandshakeFault`` for what is none."""


class _CurveShare:
    """A pair on one of the NIST curves."""

    __slots__ = ("_curve", "_private", "public")

    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._curve = curve
        self._private = ec.generate_private_key(curve)
        size = (curve.key_size + 7) // 8
        numbers = self._private.public_key().public_numbers()
        self.public = bytes((_UNCOMPRESSED,)) + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")

    def shared_secret(self, peer: bytes) -> bytes:
        """Return the x coordinate, with its leading zeros (RFC 8422 section 5.10)."""
        if len(peer) != len(self.public) or peer[0] != _UNCOMPRESSED:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a point has the wrong length or form")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, peer)
            return self._private.exchange(_ECDH, point)
        except ValueError:
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a point is not on its curve") from None


class _X25519Share:
    """A pair of RFC 7748."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def shared_secret(self, peer: bytes) -> bytes:
        """Return the u coordinate; all zeros means a point of small order (RFC 8422 section 5.11)."""
        if len(peer) != len(self.public):
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a point has the wrong length")
        try:
            secret = self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            secret = b""
        if not any(secret):
            raise HandshakeFault(Alert.ILLEGAL_PARAMETER, "a point is of small order")
        return secret


@dataclass(frozen=True, slots=True)
class Group:
    """One named group: its number, its name, and a function that draws a key pair."""

    code: int
    name: str
    draw: Callable[[], KeyShare]


_ROWS: Final = (
    Group(23, "secp256r1", partial(_CurveShare, ec.SECP256R1())),
    Group(29, "x25519", _X25519Share),
    Group(24, "secp384r1", partial(_CurveShare, ec.SECP384R1())),
)

GROUPS: Final[dict[int, Group]] = {group.code: group for group in _ROWS}

DEFAULT_GROUPS: Final = _ROWS
"""All of them, in order of preference: first the one that RFC 7252 section 9.1.3.2 demands."""
