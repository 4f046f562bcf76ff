"""What the message layer keeps of one request that came in: whom to answer, whether that is due (RFC 7252 section 5.2).

It travels with the request and its responses as their exchange; what is sent, and when, is the message layer's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.interfaces import ResponseSlot
from securecoap.wire.message import ACK, encode_message

if TYPE_CHECKING:
    from securecoap.core.messages import MessageManager
    from securecoap.core.peers import Peer
    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message

__all__ = ["IncomingExchange", "open_exchange"]


class IncomingExchange(ResponseSlot):
    """The exchange of one incoming request; made by `open_exchange`.

    Attributes:
        manager: sends its answer.
        peer: that sent it.
        mid: of the request.
        key: under which the peer's answers have it.
        is_confirmable: whether it is to be acknowledged at all.
        is_open: whether its acknowledgement is still to be sent.
    """

    __slots__ = ("is_confirmable", "is_open", "key", "manager", "mid", "peer")

    manager: MessageManager
    peer: Peer
    mid: int
    key: int
    is_confirmable: bool
    is_open: bool

    def piggyback(self, code: int, response: Message, token: bytes, remote: EndpointAddress) -> bool:
        """See `ResponseSlot.piggyback`; duplicates of the request get the same."""
        if not self.is_open:
            return False
        self.is_open = False
        options = response.options
        encoded = options.encoded
        if encoded is None:
            encoded = options.encode()
        datagram = encode_message(ACK, code, self.mid, token, encoded, response.payload)
        manager = self.manager
        manager.peers.store_answer(self.peer, self.key, datagram)
        send_datagram = manager.send_datagram
        send_datagram(datagram, remote)
        return True

    def no_response(self) -> None:
        if self.is_open:
            self.manager.acknowledge(self)


def open_exchange(manager: MessageManager, peer: Peer, mid: int, key: int, is_confirmable: bool) -> IncomingExchange:
    """Make the exchange of a request; as a function it takes half the time of a constructor."""
    exchange = IncomingExchange()
    exchange.manager = manager
    exchange.peer = peer
    exchange.mid = mid
    exchange.key = key
    exchange.is_confirmable = exchange.is_open = is_confirmable
    exchange.fate = None
    return exchange
