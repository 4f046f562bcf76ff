"""What happens to a ClientHello before there is any state for its sender (RFC 6347 section 4.2.1).

Answers with a HelloVerifyRequest, or lets the hello in once its cookie is good. Keeps nothing per peer, and sends less
than it got. Must not know sessions or handshakes.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.cookie import COOKIE_LENGTH
from securecoap.dtls.messages import (
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE_HEADER_LENGTH,
    ClientHello,
    Fragment,
    HandshakeType,
    parse_fragments,
    split_cookie,
)
from securecoap.dtls.records import ContentType

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.dtls.cookie import CookieJar

__all__ = ["Admission", "Admitted"]

_HIGHEST_MESSAGE_SEQUENCE: Final = 16
"""A ClientHello's message number counts its cookies; nobody needs so many."""
_HIGHEST_RECORD_SEQUENCE: Final = 1 << 32
"""Our records go on from the ClientHello's number (section 4.2.1): it must leave room."""
# A record that has a HelloVerifyRequest: type and version, number, length; header of the message (as in ``messages``);
# version, which says nothing about the one that will be negotiated, and cookie.
_pack_answer: Final = Struct(f"!3sQHIQHB{COOKIE_LENGTH}s").pack
_RECORD_HEAD: Final = bytes((ContentType.HANDSHAKE,)) + DTLS_1_2.to_bytes(2, "big")
_BODY_LENGTH: Final = 3 + COOKIE_LENGTH
_ANSWER_LENGTH: Final = HANDSHAKE_HEADER_LENGTH + _BODY_LENGTH
_ANSWER_KIND: Final = HandshakeType.HELLO_VERIFY_REQUEST << 24 | _BODY_LENGTH
_new: Final = tuple.__new__  # a NamedTuple without the call of its constructor


class Admitted(NamedTuple):
    """A ClientHello from an address at which its sender does receive."""

    hello: ClientHello
    message: Fragment
    record_sequence: int


class Admission:
    """Decides with a cookie jar and nothing else."""

    __slots__ = ("_cookies",)

    def __init__(self, cookies: CookieJar) -> None:
        self._cookies = cookies

    def consider(self, payload: bytes, record_sequence: int, peer: Hashable, now: float) -> Admitted | bytes | None:
        """Return the hello, or the datagram that answers it, or ``None`` to drop it in silence.

        To put pieces together before the cookie would be state for anybody: a ClientHello has to come whole.
        """
        fragments = parse_fragments(payload)
        if not fragments or record_sequence > _HIGHEST_RECORD_SEQUENCE:
            return None
        fragment = fragments[0]
        sequence = fragment.message_sequence
        if not fragment.whole or sequence > _HIGHEST_MESSAGE_SEQUENCE:
            return None
        try:
            cookie, parameters, places = split_cookie(fragment.data)
            demanded = self._cookies.demand(cookie, peer, parameters, now)
            if demanded is None:
                return _new(Admitted, (ClientHello.parse(fragment.data, places), fragment, record_sequence))
        except HandshakeFault:
            return None
        # One piece, whose lengths are known: for strangers this is done more often than anything else.
        return _pack_answer(
            _RECORD_HEAD, record_sequence, _ANSWER_LENGTH, _ANSWER_KIND, sequence << 48 | _BODY_LENGTH,
            DTLS_1_0, COOKIE_LENGTH, demanded,
        )  # fmt: skip
