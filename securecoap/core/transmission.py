"""Messages that wait: for their turn (RFC 7252 section 4.7), a free Message ID (4.4), their acknowledgement (4.2).

The sending half of the message layer. It gives out Message IDs, keeps the queue of each peer, and sends a Confirmable
message again until somebody ends it. It never sees what comes in; `securecoap.core.messages` does, and says what ended.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from securecoap.clock import clock_of
from securecoap.core.deadlines import Deadlines
from securecoap.core.patience import Patience
from securecoap.errors import RequestFailed, RequestTimeout
from securecoap.wire.message import CON, NON, encode_message

if TYPE_CHECKING:
    from securecoap.config import Limits, TransportParameters
    from securecoap.core.peers import Peer
    from securecoap.interfaces import Cancel, EndpointAddress, MessageInterface, Randomness, Scheduler
    from securecoap.wire.message import Message

__all__ = ["Outgoing", "Transmission"]

_new: Final = object.__new__
_log: Final = logging.getLogger(__name__)


class Outgoing:
    """A message on its way: Confirmable until it is acknowledged, a Non-confirmable request until it is answered."""

    __slots__ = (
        "begun_at", "ended", "for_stranger", "gives_up_at", "message", "mid", "peer", "retransmissions", "started",
        "timeout", "transmission",
    )  # fmt: skip

    transmission: Transmission
    message: Message
    peer: Peer
    started: bool
    ended: bool
    for_stranger: bool
    timeout: float
    """Zero until it may have to be sent again."""
    # Set when it starts.
    mid: int
    begun_at: float
    # Set with its time-out.
    retransmissions: int
    gives_up_at: float

    def cancel(self) -> None:
        """Nothing more is sent; see `Transmission.end`."""
        if not self.ended:
            self.transmission.end(self)


def _outgoing(transmission: Transmission, message: Message, peer: Peer) -> Outgoing:
    """Make one; as a function it takes half the time of a class's call, and each request of ours has one."""
    outgoing = _new(Outgoing)
    outgoing.transmission = transmission
    outgoing.message = message
    outgoing.peer = peer
    outgoing.started = outgoing.ended = False
    outgoing.for_stranger = (message.code or 0) >= 64 and not peer.address.confirmed
    outgoing.timeout = 0.0
    return outgoing


class Transmission:
    """Sends messages with their own Message IDs, when their peer may be sent one, as often as it takes.

    Args:
        scheduler: time and timers.
        randomness: for first Message IDs (section 4.4) and time-outs.
        parameters: timing and NSTART.
        limits: uses ``queued_per_peer`` and ``responses_to_strangers``.

    Attributes:
        interface: the layer below; set once, before the first message.
    """

    interface: MessageInterface

    def __init__(
        self, scheduler: Scheduler, randomness: Randomness, parameters: TransportParameters, limits: Limits
    ) -> None:
        self._scheduler = scheduler
        self._time = clock_of(scheduler)
        self._random = randomness
        self._parameters = parameters
        self._lifetime = parameters.exchange_lifetime
        self._limits = limits
        # No time-out is shorter than ACK_TIMEOUT. So long a message only waits in line, and costs no place in the heap
        # and no random number; nearly all are acknowledged there.
        self._young = Patience(scheduler, parameters.ack_timeout, self._grow_old)
        self._retransmissions = Deadlines(scheduler, self._retransmit)
        self._used_up: Deadlines[Peer] = Deadlines(scheduler, self._go_on)
        self._nstart = parameters.nstart
        self._span = parameters.max_transmit_span
        self._for_strangers = 0
        self._closed = False

    def has_room(self, remote: EndpointAddress) -> bool:
        """Whether one more response to this peer may wait for its acknowledgement."""
        if remote.confirmed or self._for_strangers < self._limits.responses_to_strangers:
            return True
        self._limits.reached("responses_to_strangers")
        return False

    def send_non_confirmable(self, message: Message, peer: Peer) -> None:
        """Send once, without a turn: nothing is waited for but, for a while, a Reset.

        Where all Message IDs are in use it is not sent: a response is lost, as it may be on the network, and its
        exchange hears until when the next ones would be; a request fails, since silence would be taken for success.
        """
        mid = peer.allocate_mid(self._time(), self._random, self._lifetime)
        if mid is None:
            exchange = message.exchange
            if exchange is None:
                return
            if peer.ids is not None and (message.code or 0) >= 64:
                exchange.delayed(peer.ids.free_at)
            else:
                self._scheduler.call_soon(exchange.failed, RequestFailed("no Message ID is free for this peer"))
            return
        message.mid = mid
        if message.exchange is not None:
            peer.remember_non_confirmable(mid, message.exchange)
        self.interface.send(message)

    def send(self, message: Message, peer: Peer) -> Cancel:
        """Send within NSTART, or queue (section 4.7). Returns what ends it."""
        outgoing = _outgoing(self, message, peer)
        if outgoing.for_stranger:
            self._for_strangers += 1
        if self._closed:
            self._scheduler.call_soon(self.fail, outgoing, RequestFailed("the endpoint is closed"))
        elif peer.interactions < self._nstart:
            self._start(outgoing)
        else:
            self._queue(outgoing)
        return outgoing.cancel

    def _queue(self, outgoing: Outgoing) -> None:
        peer = outgoing.peer
        if peer.queue is None:
            peer.queue = deque()
        if len(peer.queue) >= self._limits.queued_per_peer:
            self._limits.reached("queued_per_peer")
            self._scheduler.call_soon(self.fail, outgoing, RequestFailed("too many messages wait for this peer"))
            return
        peer.queue.append(outgoing)
        if peer.ids is not None and peer.ids.are_awaited:
            _tell_delayed(outgoing, peer.ids.free_at)

    def _start(self, outgoing: Outgoing) -> None:
        peer = outgoing.peer
        message = outgoing.message
        mtype = message.mtype or CON
        now = self._time()
        if mtype == NON and not self._may_probe(message, peer, now):
            error = RequestFailed("the peer does not answer, and PROBING_RATE allows no more requests for now")
            self._scheduler.call_soon(self.fail, outgoing, error)
            return
        ids = peer.ids
        mid = peer.allocate_mid(now, self._random, self._lifetime) if ids is None else ids.allocate(now)
        if mid is None:
            self._wait_for_id(outgoing)
            return
        outgoing.started = True
        peer.interactions += 1
        message.mid = outgoing.mid = mid
        outgoing.begun_at = now
        options = message.options
        encoded = options.encoded
        if encoded is None:
            encoded = options.encode()
        message.datagram = encode_message(mtype, message.code or 0, mid, message.token, encoded, message.payload)
        if mtype == CON:
            if peer.superseded is not None:
                before = peer.superseded.pop(message.exchange, None)
                if before is not None and now < before.gives_up_at:
                    outgoing.retransmissions, outgoing.timeout = before.retransmissions, before.timeout
                    outgoing.gives_up_at = before.gives_up_at
            if peer.outstanding is None:
                peer.outstanding = {}
            peer.outstanding[mid] = outgoing
            self._young.add(outgoing, now)
        elif message.exchange is not None:
            peer.remember_non_confirmable(mid, message.exchange)
        self.interface.send(message)

    def _wait_for_id(self, outgoing: Outgoing) -> None:
        """All Message IDs are in use (section 4.4): it waits, first in the queue, until a whole segment is free again.

        Whoever waits for an answer hears of it, for none of that time is the peer's.
        """
        peer = outgoing.peer
        ids = peer.ids
        if ids is None or ids.are_awaited:  # others have waited for longer
            self._queue(outgoing)
            return
        if peer.queue is None:
            peer.queue = deque()
        peer.queue.appendleft(outgoing)
        ids.are_awaited = True
        free_at = ids.free_at
        self._used_up.add(free_at, peer)
        seconds = free_at - self._time()
        _log.warning(
            "all Message IDs of %s are in use: what is to be sent waits %.0f s", peer.address.hostinfo, seconds
        )
        for one in list(peer.queue):
            _tell_delayed(one, free_at)

    def _go_on(self, peer: Peer, _now: float) -> None:
        """Message IDs are free again."""
        if peer.ids is not None:
            peer.ids.are_awaited = False
        self._send_next(peer)

    def _may_probe(self, message: Message, peer: Peer, now: float) -> bool:
        """Whether a Non-confirmable request may go to a peer that has not answered the last ones (section 4.7).

        On average over EXCHANGE_LIFETIME it gets PROBING_RATE; whatever is heard of it ends that. Confirmable messages
        are slowed down by their own time-outs.
        """
        rate = self._parameters.probing_rate
        unanswered = max(0.0, peer.unanswered - rate * (now - peer.unanswered_at))
        size = 4 + len(message.token) + len(message.options.encode()) + len(message.payload)
        if unanswered and unanswered + size > rate * self._parameters.exchange_lifetime:
            return False
        peer.unanswered = unanswered + size
        peer.unanswered_at = now
        return True

    def _grow_old(self, outgoing: Outgoing) -> None:
        """It is not acknowledged yet: its time-out is between ACK_TIMEOUT and ACK_TIMEOUT * ACK_RANDOM_FACTOR (4.2)."""
        if not outgoing.timeout:
            shortest = self._parameters.ack_timeout
            outgoing.retransmissions = 0
            outgoing.timeout = self._random.uniform(shortest, shortest * self._parameters.ack_random_factor)
            outgoing.gives_up_at = outgoing.begun_at + self._span
        self._retransmissions.add(outgoing.begun_at + outgoing.timeout, outgoing)

    def _retransmit(self, outgoing: Outgoing, now: float) -> None:
        """One deadline of section 4.2: the same datagram again with a doubled time-out, or the end.

        A notification of an older state than the newest is not sent again: the newest one is, with a Message ID of its
        own, and goes on with the counter and time-out (RFC 7641 section 4.5.2).
        """
        if outgoing.ended:
            return
        if outgoing.retransmissions < self._parameters.max_retransmit and now <= outgoing.gives_up_at:
            outgoing.retransmissions += 1
            outgoing.timeout *= 2
            exchange = outgoing.message.exchange
            send_newer = None if exchange is None else exchange.superseding()
            if send_newer is None:
                self._retransmissions.add(now + outgoing.timeout, outgoing)
                if not outgoing.for_stranger or _is_within_budget(outgoing.message):
                    self.interface.send(outgoing.message)
            else:
                peer = outgoing.peer
                if peer.superseded is None:
                    peer.superseded = {}
                peer.superseded[exchange] = outgoing
                peer.interactions += 1  # its turn is kept for what takes its place
                self.end(outgoing)
                peer.interactions -= 1
                send_newer()
                self._send_next(peer)
        else:
            self._give_up(outgoing)

    def _give_up(self, outgoing: Outgoing) -> None:
        """It was not acknowledged. To an address that may be a victim's no other response is sent after that."""
        error = RequestTimeout("the peer did not acknowledge the message")
        peer = outgoing.peer
        if outgoing.for_stranger and peer.queue and not peer.address.confirmed:
            waiting = [one for one in peer.queue if one.for_stranger]
            peer.queue = deque([one for one in peer.queue if not one.for_stranger])
            for one in waiting:
                self.fail(one, error)
        self.fail(outgoing, error)

    def end(self, outgoing: Outgoing) -> None:
        """Nothing more is sent for this message; the next one in the queue may start."""
        if outgoing.ended:
            return
        outgoing.ended = True
        if outgoing.for_stranger:
            self._for_strangers -= 1
        peer = outgoing.peer
        if outgoing.started:
            peer.interactions -= 1
            if peer.outstanding is not None:
                peer.outstanding.pop(outgoing.mid, None)
            self._young.pop(outgoing, None)
        elif peer.queue is not None and outgoing in peer.queue:
            peer.queue.remove(outgoing)
        if peer.queue:
            self._send_next(peer)

    def _send_next(self, peer: Peer) -> None:
        """Send what waits for its turn; of a notification that is not the newest any more, the newest."""
        while peer.queue and peer.interactions < self._nstart and not (peer.ids is not None and peer.ids.are_awaited):
            outgoing = peer.queue.popleft()
            exchange = outgoing.message.exchange
            send_newer = None if exchange is None else exchange.superseding()
            if send_newer is None:
                self._start(outgoing)
            else:
                outgoing.ended = True
                self._for_strangers -= outgoing.for_stranger
                send_newer()

    def fail(self, outgoing: Outgoing, error: Exception) -> None:
        """End it, and tell its exchange why."""
        if not outgoing.ended:
            self.end(outgoing)
            if outgoing.message.exchange is not None:
                outgoing.message.exchange.failed(error)

    def returned(self, peer: Peer, datagram: bytes, error: Exception) -> None:
        """Fail the message of which the network returned the beginning."""
        mid = datagram[2] << 8 | datagram[3]
        mtype = datagram[0] >> 4 & 3
        if mtype == CON:
            outgoing = (peer.outstanding or {}).get(mid)
            sent = b"" if outgoing is None else outgoing.message.encode()
            if outgoing is not None and sent[: len(datagram)] == datagram[: len(sent)]:
                self.fail(outgoing, error)
        elif mtype == NON and peer.non_confirmable is not None:
            exchange = peer.non_confirmable.pop(mid, None)
            if exchange is not None:
                exchange.failed(error)

    def fail_all(self, peer: Peer, error: Exception) -> None:
        """End everything that is under way to a peer or waits for its turn; nothing of it is sent any more."""
        waiting = [*(peer.outstanding or {}).values(), *(peer.queue or ())]
        if peer.queue is not None:
            peer.queue.clear()  # first, or the end of one would start the next
        for outgoing in waiting:
            self.fail(outgoing, error)

    def close(self) -> None:
        """Send nothing any more; what is tried afterwards fails."""
        self._closed = True
        self._young.close()
        self._retransmissions.close()
        self._used_up.close()


def _tell_delayed(outgoing: Outgoing, until: float) -> None:
    if outgoing.message.exchange is not None:
        outgoing.message.exchange.delayed(until)


def _is_within_budget(message: Message) -> bool:
    """Whether it may go once more to an address that may be a victim's (RFC 7252 section 11.3).

    Who is really there acknowledged it, or asks again, which adds to the budget.
    """
    remote: EndpointAddress = message.remote
    return remote.confirmed or len(message.datagram or b"") <= remote.budget
