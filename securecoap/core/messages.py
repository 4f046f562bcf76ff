"""The message layer: reliability, deduplication and Message IDs over an unreliable transport (RFC 7252 section 4).

It knows types, codes and Message IDs; of tokens nothing but to compare a piggybacked one, and of options only that some
are there, which decides who takes a message and what becomes of its answer, never what they say. Time, timers and
randomness are handed in. Per incoming request it makes one small object and no timer: answers live in two generations
per peer, and all deadlines of a kind share one timer. Messages that have to wait, for NSTART or for their
acknowledgement, are in `securecoap.core.transmission`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from securecoap.clock import clock_of
from securecoap.config import Limits, TransportParameters
from securecoap.core.deadlines import Deadlines
from securecoap.core.incoming import open_exchange
from securecoap.core.leisure import Leisure
from securecoap.core.peers import ENTRY_BYTES, Peer, PeerTable
from securecoap.core.transmission import Transmission
from securecoap.errors import RequestFailed, ResetReceived, SessionEnded, Unreachable
from securecoap.wire import numbers
from securecoap.wire.codes import SAFE_METHODS, Code
from securecoap.wire.message import ACK, CON, NON, RST, Message, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.core.echo import EchoValues
    from securecoap.core.incoming import IncomingExchange
    from securecoap.interfaces import (
        Cancel,
        EndpointAddress,
        Exchange,
        MessageInterface,
        Randomness,
        Scheduler,
        Timer,
        TokenDispatcher,
    )

__all__ = ["MessageManager"]

_NO_RESPONSE_BIT: Final = 1 << numbers.NO_RESPONSE
_OSCORE: Final = 1 << numbers.OSCORE
_OBSERVE: Final = 1 << numbers.OBSERVE
_BLOCKS: Final = 1 << numbers.BLOCK1 | 1 << numbers.BLOCK2
_KEPT_PART: Final = 0.75  # of the bytes allowed, when answers to safe requests have to go
_FOR_CONFIRMED: Final = 2  # times the bytes allowed, for what confirmed peers want done
_FORGET_INTERVAL: Final = 1.0  # seconds, where looking for such answers has just found too few

# What a code is here: Empty or reserved, a request that may change something, another request, or a response.
_ODD, _UNSAFE, _SAFE, _RESPONSE = range(4)
_KINDS: Final = bytes(
    (_SAFE if code in SAFE_METHODS else _UNSAFE) if 0 < code < 32 else _RESPONSE if 64 <= code < 192 else _ODD
    for code in range(256)
)


class MessageManager:
    """The message layer of one `MessageInterface`; see `MessageDispatcher` and `TokenInterface` for its two sides.

    Args:
        scheduler: time and timers.
        randomness: for first Message IDs, time-outs and leisure.
        echo: asks strangers to show that they receive, when there is no room for all requests.
        parameters: timing.
        limits: of peers, of what is kept for them and of what waits.
        client_credentials: for an interface that asks for them; ours are told by ``select`` what a request needs.

    Attributes:
        peers: what is kept of each peer.
        interface: the layer below; set once, before the first message.
        above: the layer above; likewise.
        above_plain: takes requests without OSCORE option in its place, if it is set: layers in between that have
            nothing to do with them are passed by.
        above_protected: likewise, for those with OSCORE option that are no part of a larger one.
        send_datagram: sends what is never answered itself; the interface's own, if it is a `DirectInterface`.
    """

    above: TokenDispatcher
    above_plain: TokenDispatcher | None
    above_protected: Callable[[Message], bool] | None

    def __init__(
        self,
        scheduler: Scheduler,
        randomness: Randomness,
        echo: EchoValues,
        parameters: TransportParameters | None = None,
        limits: Limits | None = None,
        client_credentials: Any = None,
    ) -> None:
        self.client_credentials = client_credentials
        self.above_plain = self.above_protected = None
        self._scheduler = scheduler
        self._time = clock_of(scheduler)
        self._echo = echo
        self._parameters = parameters or TransportParameters()
        self._limits = limits or Limits()
        self._lifetime = self._parameters.exchange_lifetime
        self._most_bytes = self._limits.deduplication_bytes
        self._forgets_at = float("-inf")
        self.peers = PeerTable(self._limits, self._lifetime, self._begin_sweeping)
        self._transmission = Transmission(scheduler, randomness, self._parameters, self._limits)
        self._unacknowledged: Deadlines[IncomingExchange] = Deadlines(scheduler, lambda late, _: late.no_response())
        self._leisure = Leisure(scheduler, randomness, self._parameters, self._limits, self._send_to_group_member)
        self._sweep_timer: Timer | None = None
        self._closed = False

    @property
    def interface(self) -> MessageInterface:
        """The layer below."""
        return self._interface

    @interface.setter
    def interface(self, interface: MessageInterface) -> None:
        self._interface = self._transmission.interface = interface
        self.send_datagram: Callable[[bytes, EndpointAddress], object] = getattr(
            interface, "send_datagram", self._send_as_message
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing of ours waits for an answer or an acknowledgement."""
        return all(peer.is_idle for peer in self.peers.values())

    # What came in.

    def dispatch_message(self, message: Message) -> bool:
        """Process a message from the interface (section 4.2 to 4.5). Returns whether it meant something."""
        mtype = message.mtype or CON
        if mtype > NON:
            return self._dispatch_answer(message)
        remote = message.remote
        time, peers = self._time, self.peers
        now = time()
        peer = peers.get(remote)
        if peer is None:
            peer = peers.create(remote, now)
            if peer is None:
                return True  # dropped: what is not remembered could be carried out twice
        peer.touched = True
        peer.unanswered = 0.0
        if now >= peer.rotates_at:
            peers.rotate(peer, now)
        kind = _KINDS[message.code or 0]
        if kind == _ODD:
            return self._dispatch_odd(message, peer)
        mid = message.mid or 0
        key = mid + remote.dedup_offset
        recent = peer.recent
        if key in recent or ~key in recent or peer.older is not None:
            known = peer.find(key)
            if known is not None:
                # A forged duplicate is no way around the budget either.
                if known and mtype == CON and (remote.confirmed or len(known) <= remote.budget):
                    self.send_datagram(known, remote)
                return True
        if kind == _RESPONSE:
            return self._dispatch_response(message, peer, key, now)
        is_confirmable = mtype == CON
        if is_confirmable and remote.is_multicast_locally:
            return False  # section 8.1: multicast requests are Non-confirmable; no Reset either
        # An OSCORE request is never carried out twice: forgotten here, its duplicate is refused above as a replay.
        present = message.options.present
        is_protected = present & _OSCORE
        is_unsafe = kind == _UNSAFE and not is_protected
        if not is_unsafe:
            key = ~key
        message.exchange = exchange = open_exchange(self, peer, mid, key, is_confirmable)
        if peer.address is not remote and peer.address.confirmed != remote.confirmed:
            # The interface made this address anew (it forgets where strangers are many): they are one peer.
            peer.address.confirmed = remote.confirmed = True  # type: ignore[misc]  # those that differ have a slot
        has_room = peers.stored_bytes <= self._most_bytes or self._make_room(now)
        if not has_room and is_unsafe:
            has_room = self._echo.confirms(message) and peers.stored_bytes <= self._most_bytes * _FOR_CONFIRMED
            if not has_room:
                self._refuse_unsafe(message)
                return True
        if has_room:
            peer.recent[key] = b""
            peers.stored_bytes += ENTRY_BYTES
        if not is_protected:
            meant = (self.above_plain or self.above).dispatch_message(message)
        elif self.above_protected is None or present & _BLOCKS:
            meant = self.above.dispatch_message(message)
        else:
            meant = self.above_protected(message)
        if not meant:
            if exchange.is_open:
                self._answer(exchange, RST)
            return False
        if exchange.is_open:
            self._unacknowledged.add(now + self._parameters.empty_ack_delay, exchange)
        return True

    def _dispatch_response(self, message: Message, peer: Peer, key: int, now: float) -> bool:
        if message.remote.is_multicast_locally:
            return False
        key = ~key  # a response may be processed again: its request is not expected any more
        if self.peers.stored_bytes <= self._most_bytes or self._make_room(now):
            peer.recent[key] = b""
            self.peers.stored_bytes += ENTRY_BYTES
        asked = peer.outstanding and peer.asked_with(message.token)
        if asked and not (message.options.present | asked.message.options.present) & _OSCORE:
            meant: bool = asked.message.exchange.answered(message)  # before its acknowledgement (section 5.2.2)
        else:
            meant = self.above.dispatch_message(message)
        if message.mtype == CON:
            answer = encode_message(ACK if meant else RST, 0, message.mid or 0, b"", b"", b"")
            self.peers.store_answer(peer, key, answer)
            self.send_datagram(answer, message.remote)
        elif not meant and message.options.present & _OBSERVE:
            # RFC 7641 section 3.6: so the server learns that nobody wants its notifications any more.
            self.send_datagram(encode_message(RST, 0, message.mid or 0, b"", b"", b""), message.remote)
        return meant

    def _dispatch_odd(self, message: Message, peer: Peer) -> bool:
        """Empty messages and reserved codes: a ping or a format error (section 4.2, 4.3)."""
        if message.mtype == CON and not message.remote.is_multicast_locally:
            self.send_datagram(encode_message(RST, 0, message.mid or 0, b"", b"", b""), peer.address)
        return False

    def _dispatch_answer(self, message: Message) -> bool:
        """ACK and RST: they match by Message ID and source, and are never answered themselves (section 4.2)."""
        code = message.code or 0
        remote = message.remote
        peer = self.peers.get(remote)
        is_reset = message.mtype == RST
        if peer is None or (code and (is_reset or not 64 <= code < 192)):
            return False
        peer.touched = True
        peer.unanswered = 0.0
        outgoing = (peer.outstanding or {}).get(message.mid or 0)
        if outgoing is None:
            if is_reset and peer.non_confirmable is not None:
                exchange = peer.non_confirmable.pop(message.mid or 0, None)
                if exchange is not None:
                    exchange.failed(ResetReceived("the peer answered with a Reset"))
                    return True
            return False
        asked = outgoing.message
        if code and message.token != asked.token:
            return False  # section 5.3.2: a piggybacked response has the token of its own request
        self._transmission.end(outgoing)
        if not remote.confirmed:
            remote.received()
        fate: Exchange | None = asked.exchange
        if is_reset:
            if fate is not None:
                fate.failed(ResetReceived("the peer answered with a Reset"))
            return True
        if fate is None:
            return not code
        if code and not (message.options.present | asked.options.present) & _OSCORE:
            return fate.answered(message)  # it need not be looked for by its token
        fate.acknowledged()
        return not code or self.above.dispatch_message(message)

    def dispatch_malformed(self, datagram: bytes, remote: EndpointAddress) -> None:
        """Reject a Confirmable message that is not well-formed with a Reset; drop everything else (section 4.2)."""
        if len(datagram) >= 4 and datagram[0] >> 4 == 0x4 and not remote.is_multicast_locally:
            self.send_datagram(bytes((0x70, 0)) + datagram[2:4], remote)

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """End everything with one peer."""
        if isinstance(error, int):
            error = Unreachable(error, "the network reports an error")
        peer = self.peers.get(remote)
        if peer is not None:
            if isinstance(error, SessionEnded):  # this address is never used again, so neither are its Message IDs
                self.peers.discard(peer)
            self._transmission.fail_all(peer, error)
        self.above.dispatch_error(error, remote)

    def dispatch_quoted_error(self, error: Exception, remote: EndpointAddress, datagram: bytes) -> None:
        """End the exchange of the message that the network returned (section 4.2); others go on."""
        peer = self.peers.get(remote)
        if peer is not None and len(datagram) >= 4:
            self._transmission.returned(peer, datagram, error)

    # What goes out.

    def recognize_remote(self, message: Message) -> bool:
        """See `TokenInterface.recognize_remote`."""
        message.remote = self._interface.recognize_remote(message)
        return message.remote is not None

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        """Ask the interface for the address."""
        remote = await self._interface.determine_remote(message)
        if remote is None:
            return False
        message.remote = remote
        return True

    def send_message(self, message: Message) -> Cancel | None:
        """Send a request, a response or (code 0) a ping. See `TokenInterface.send_message`."""
        exchange = message.exchange
        code = message.code or 0
        if code >= 64:
            if exchange.piggyback(code, message, message.token, message.remote):
                return None
            if message.remote.is_multicast_locally:
                if code < 128:  # section 8.2: an error is not answered
                    message.mtype = NON
                    self._leisure.wait(message)
                return None
            wish = message.confirmable
            message.mtype = CON if (exchange.is_confirmable if wish is None else wish) else NON
            if message.mtype == CON and not self._transmission.has_room(message.remote):
                if message.options.present & _OBSERVE:
                    self._scheduler.call_soon(exchange.failed, RequestFailed("too many responses to strangers wait"))
                    return None
                message.mtype = NON
        else:
            message.mtype = NON if message.confirmable is False or message.remote.is_multicast else CON
        remote = message.remote
        peer = self.peers.get(remote)
        if peer is None:
            peer = self.peers.create(remote, self._time())
            if peer is None:
                if exchange is not None:
                    self._scheduler.call_soon(exchange.failed, RequestFailed("there is no room for another peer"))
                return None
        if message.mtype == NON and (code >= 64 or remote.is_multicast or message.options.present & _NO_RESPONSE_BIT):
            self._transmission.send_non_confirmable(message, peer)
            return None
        return self._transmission.send(message, peer)

    def acknowledge(self, exchange: IncomingExchange) -> None:
        """Send the Empty acknowledgement of an incoming request now; its response will be separate (section 5.2.2)."""
        self._answer(exchange, ACK)

    def _answer(self, exchange: IncomingExchange, mtype: int) -> None:
        """An Empty acknowledgement or Reset for a request; duplicates will get the same."""
        exchange.is_open = False
        answer = encode_message(mtype, 0, exchange.mid, b"", b"", b"")
        peer = exchange.peer
        self.peers.store_answer(peer, exchange.key, answer)
        self.send_datagram(answer, peer.address)

    def _send_as_message(self, datagram: bytes, remote: EndpointAddress) -> None:
        """For an interface that takes messages only."""
        message = Message.decode(datagram, remote)
        message.datagram = datagram
        self._interface.send(message)

    def _send_to_group_member(self, message: Message) -> None:
        peer = self.peers.get(message.remote) or self.peers.create(message.remote, self._time())
        if peer is not None:
            self._transmission.send_non_confirmable(message, peer)

    # Time.

    def _begin_sweeping(self, now: float) -> None:
        if self._sweep_timer is None and not self._closed:
            self._sweep_timer = self._scheduler.call_at(now + self._lifetime, self._sweep)

    def _sweep(self) -> None:
        now = self._time()
        self.peers.sweep(now)
        self._sweep_timer = None
        if self.peers:
            self._begin_sweeping(now)

    def _make_room(self, now: float) -> bool:
        """Whether one more message can be remembered, when need be in place of answers to safe requests."""
        self._limits.reached("deduplication_bytes")
        if now >= self._forgets_at:
            kept = int(self._most_bytes * _KEPT_PART)
            self.peers.forget_safe(kept)
            if self.peers.stored_bytes > kept:  # the rest is unsafe: do not search all peers for every message
                self._forgets_at = now + _FORGET_INTERVAL
        return self.peers.stored_bytes <= self._most_bytes

    def _refuse_unsafe(self, message: Message) -> None:
        """A request whose duplicate could not be told any more: 5.03, and a stranger may show that it is none."""
        if not message.remote.confirmed:
            self.send_message(self._echo.challenge(message))
        elif message.mtype == CON:
            code = Code.SERVICE_UNAVAILABLE
            self.send_datagram(encode_message(ACK, code, message.mid or 0, message.token, b"", b""), message.remote)

    def close(self) -> None:
        """End every exchange and timer; what is tried afterwards fails."""
        self._closed = True
        self._transmission.close()
        self._unacknowledged.close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._leisure.close()
        error = RequestFailed("the endpoint was closed")
        for peer in list(self.peers.values()):
            self._transmission.fail_all(peer, error)
        self.peers.clear()
