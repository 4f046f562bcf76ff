"""What happens to a ClientHello before there is any state for its sender (RFC 6347 section 4.2.1).

Answers with a HelloVerifyRequest, or lets the hello in once its cookie is good. Keeps nothing per peer, and sends less
than it got. Must not know sessions or handshakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.fragments import Assembled
from securecoap.dtls.messages import (
    ClientHello,
    HandshakeType,
    HelloVerifyRequest,
    encode_handshake,
    parse_fragments,
    split_cookie,
)
from securecoap.dtls.records import ContentType, plaintext_record

if TYPE_CHECKING:
    from collections.abc import Hashable

    from securecoap.dtls.cookie import CookieJar

__all__ = ["Admission", "Admitted"]

_HIGHEST_MESSAGE_SEQUENCE: Final = 16
"""A ClientHello's message number counts its cookies; nobody needs so many."""
_HIGHEST_RECORD_SEQUENCE: Final = 1 << 32
"""Our records go on from the ClientHello's number (section 4.2.1): it must leave room."""


class Admitted(NamedTuple):
    """A ClientHello from an address at which its sender does receive."""

    hello: ClientHello
    message: Assembled
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
        if len(fragment.data) != fragment.message_length or sequence > _HIGHEST_MESSAGE_SEQUENCE:
            return None
        try:
            cookie, parameters = split_cookie(fragment.data)
            if self._cookies.check(cookie, peer, parameters, now):
                message = Assembled(fragment.message_type, sequence, fragment.data)
                return Admitted(ClientHello.parse(fragment.data), message, record_sequence)
        except HandshakeFault:
            return None
        request = HelloVerifyRequest(self._cookies.make(peer, parameters, now)).encode()
        answer = encode_handshake(HandshakeType.HELLO_VERIFY_REQUEST, sequence, request)
        return plaintext_record(ContentType.HANDSHAKE, record_sequence, answer)
