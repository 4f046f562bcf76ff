"""The token layer: which response belongs to which request (RFC 7252 section 5.3, extended tokens of RFC 8974).

It makes tokens, matches responses by token and remote address where the layer below has not told by its acknowledgement
which request is meant, applies the rules for options that must be understood (section 5.4.1), and asks a stranger to
show that it receives before it is sent more than its budget (RFC 9175 section 2.4). The interest in a request is held
in `securecoap.core.outgoing` and `securecoap.core.answering`. It knows nothing of Message IDs, retransmission, blocks
or resources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.config import Limits
from securecoap.core.answering import IncomingRequest, incoming_request, is_suppressed
from securecoap.core.by_address import ByAddress
from securecoap.core.outgoing import OutgoingRequest, outgoing_request
from securecoap.core.problems import bad_option
from securecoap.errors import RequestFailed, SessionEnded, Unreachable
from securecoap.wire import numbers
from securecoap.wire.codes import SAFE_METHODS, Code
from securecoap.wire.message import ACK, CON, NON, Message

if TYPE_CHECKING:
    from securecoap.core.cache import ResponseCache
    from securecoap.core.echo import EchoValues
    from securecoap.interfaces import EndpointAddress, PlumbingRequest, Randomness, RequestHandler, TokenInterface

__all__ = ["TokenManager"]

_TOKEN_LENGTH: Final = 8
"""64 random bits: more than the 32 of section 5.3.1, so that no off-path attacker guesses one."""
_NO_RESPONSE_BIT: Final = 1 << numbers.NO_RESPONSE
_OBSERVE_BIT: Final = 1 << numbers.OBSERVE
_ECHO_BIT: Final = 1 << numbers.ECHO
_LATER_BLOCKS: Final = 10  # bytes that a later block pays more (Block2 in the request) and takes less (no Size2)
_RANDOM_POOL: Final = 2048


class TokenManager:
    """Matches responses to requests over one `TokenInterface`; a `RequestInterface` above.

    A Confirmable request with a new token is in no table until it is acknowledged: until then the layer below has its
    exchange, and tells it of a response, and of the end of its peer.

    Args:
        below: the layer that carries messages with tokens.
        handler: takes incoming requests.
        randomness: for tokens.
        echo: makes and checks Echo values.
        limits: uses ``token_length`` and ``amplification_allowance``.
        cache: told of addresses that are never used again.

    Attributes:
        below_plain: carries requests that OSCORE does not protect, and their responses, past layers that have nothing
            to do with them; by default it is ``below``, too.
    """

    def __init__(
        self,
        below: TokenInterface,
        handler: RequestHandler,
        randomness: Randomness,
        echo: EchoValues,
        limits: Limits | None = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self._cache = cache
        self.below = self.below_plain = below
        self._handler = handler
        self._random = randomness
        self._echo = echo
        self._tokens: list[bytes] = []  # not used yet
        limits = limits or Limits()
        self._limits = limits
        self._longest_token = limits.token_length
        self._allowance = limits.amplification_allowance
        self._outgoing: ByAddress[OutgoingRequest] = ByAddress()
        self._to_groups: dict[bytes, OutgoingRequest] = {}  # members answer from addresses of their own (section 8.2)
        self._incoming: ByAddress[IncomingRequest] = ByAddress()
        self.recognize_remote = below.recognize_remote
        self.fill_or_recognize_remote = below.fill_or_recognize_remote

    # What came in.

    def dispatch_message(self, message: Message) -> bool:
        """Hand a request to the handler, or a response to its request. ``False``: it means nothing here."""
        code = message.code or 0
        if code >= 64:
            return self._dispatch_response(message)
        incoming = incoming_request(self, message)
        options = message.options
        if not options.is_sound_request and (fault := options.request_fault) is not None:
            return self._refuse(incoming, fault)
        if len(message.token) > self._longest_token:  # RFC 8974 section 2.2.2: no Reset for a length we know of
            self._limits.reached("token_length")
            incoming.add_response(Message(Code.SERVICE_UNAVAILABLE))
            return True
        remote = message.remote
        if (
            not remote.confirmed
            and (remote.budget < 0 or options.present & _ECHO_BIT)
            and not self._echo.confirms(message)
            and remote.budget < 0
        ):
            self._limits.reached("amplification_factor")
            self.challenge(message)
            return True
        if self._incoming and remote in self._incoming:
            # A token in use again: the earlier request has lost its meaning (RFC 7641 section 4.1 for observations).
            earlier = self._incoming.find(remote, message.token)
            if earlier is not None:
                earlier.end_interest()
        self._handler.handle(incoming)
        if not incoming.ended:
            incoming.is_listed = True
            self._incoming.add(remote, incoming)
        return True

    # Strangers (RFC 9175 section 2.4): whoever sends from a forged address never sees the value.

    def challenge(self, request: Message) -> None:
        """Answer with 4.01 and an Echo value."""
        if request.options.present & _NO_RESPONSE_BIT and is_suppressed(request, Code.UNAUTHORIZED):
            request.exchange.no_response()
            return
        self.below.send_message(self._echo.challenge(request))

    def is_beyond_budget(self, request: Message, response: Message) -> bool:
        """Whether a stranger has to show that it receives before it gets this response.

        What an unsafe request did cannot be done again: its response goes out, and what it exceeds the budget by keeps
        later requests waiting for an Echo. To a group's request nobody could answer with a challenge (RFC 7252 section
        8.2), and those come from the same link.
        """
        remote: EndpointAddress = request.remote
        if request.code not in SAFE_METHODS or remote.is_multicast_locally:
            return False
        is_beyond = _length(request, response) > remote.budget
        if is_beyond:
            self._limits.reached("amplification_factor")
        return is_beyond

    def smaller(self, request: Message, response: Message) -> Message | None:
        """What a stranger gets who may not know RFC 9175: a first block that its requests pay for, with an Echo value.

        Small blocks are the other way of RFC 7252 section 11.3. Who knows the option asks again with it, and gets large
        ones. A client that fetches bodies does so with Confirmable requests; a Non-confirmable one is challenged.
        """
        if request.mtype == NON:
            return None
        remote: EndpointAddress = request.remote
        earned = remote.budget - self._allowance + _LATER_BLOCKS
        reduced = self._handler.reduce(request, response, lambda part: _length(request, part) <= earned)
        if reduced is not None:
            with_echo = reduced.copy()
            with_echo.code = reduced.code
            with_echo.options.echo = self._echo.make(remote)
            if _length(request, with_echo) <= remote.budget:
                return with_echo
        return reduced

    def _refuse(self, incoming: IncomingRequest, fault: int) -> bool:
        """A critical option that cannot be processed (section 5.4.1): 4.02 for CON, silence or Reset for NON."""
        request = incoming.request
        if request.mtype is not None and request.mtype != CON:
            return False
        options = request.options
        code = Code.BAD_OPTION
        if fault == numbers.Q_BLOCK1 and not options.request_tag and numbers.BLOCK1 not in options:
            code = Code.BAD_REQUEST  # RFC 9177 section 4.3: the tag is part of the format, whoever supports it
        elif fault == numbers.EDHOC:
            code = Code.BAD_REQUEST  # RFC 9668 section 3.3.1: it means nothing without the OSCORE option
        incoming.add_response(bad_option(code, fault, request))
        return True

    def _dispatch_response(self, message: Message) -> bool:
        outgoing = self._outgoing.find(message.remote, message.token) or self._to_groups.get(message.token)
        return outgoing is not None and self.take(outgoing, message)

    def take(self, outgoing: OutgoingRequest, response: Message) -> bool:
        """Hand a response to the request that it answers. ``False``: it is rejected."""
        asked = outgoing.request.request
        options = response.options
        if not options.is_sound_response and options.response_fault is not None:
            self.expect(outgoing)  # another one may be right
            return response.mtype == ACK  # section 5.4.1: rejected with a Reset, or dropped if it is piggybacked
        cancel = outgoing.cancel
        if cancel is not None:  # the request has done its work
            outgoing.cancel = None
            cancel()
        remote = response.remote
        if not remote.confirmed and len(response.token) >= _TOKEN_LENGTH:
            remote.confirmed = True  # whoever knows a token of ours receives what we send
        if asked.remote.is_multicast:
            is_last = False
        elif (
            options.present & asked.options.present & _OBSERVE_BIT
            and 64 <= (response.code or 0) < 96
            and asked.options.observe == 0
        ):
            is_last = False
            self.expect(outgoing)
        else:
            is_last = outgoing.ended = True
            if outgoing.is_listed:
                self._outgoing.discard(remote, outgoing)
        outgoing.request.add_response(response, is_last=is_last)
        return True

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """End every request from and to one peer."""
        if isinstance(error, int):
            error = Unreachable(error, "the network reports an error")
        for incoming in self._incoming.of(remote):
            incoming.end_interest()
        if isinstance(error, SessionEnded):  # a new session has another address
            self._handler.discard_peer(remote)
            if self._cache is not None:
                self._cache.discard_peer(remote)
        waiting = self._outgoing.of(remote)
        if remote.is_multicast:
            waiting += [one for one in self._to_groups.values() if one.request.request.remote == remote]
        for outgoing in waiting:
            outgoing.failed(error)

    # What goes out.

    def request(self, request: PlumbingRequest) -> None:
        """Send ``request.request``; a token that it has already is used again (RFC 7641 section 3.6)."""
        message = request.request
        remote = message.remote
        is_known = token = message.token
        if not token:
            token = message.token = self._tokens.pop() if self._tokens else self.allocate_token()
        message.exchange = outgoing = outgoing_request(self, request, token)
        below = self.below_plain
        if remote.is_multicast:
            self._to_groups[token] = outgoing
        elif remote.security == "oscore":
            below = self.below
            self.expect(outgoing)
        elif is_known or message.confirmable is False:  # what answers an earlier request with that token may still come
            self.expect(outgoing)
        request.on_interest_end(outgoing.end)
        outgoing.cancel = below.send_message(message)

    def expect(self, outgoing: OutgoingRequest) -> None:
        """Have a request found by its token: its response need not come with the acknowledgement."""
        if not outgoing.is_listed and not outgoing.ended:
            outgoing.is_listed = True
            self._outgoing.add(outgoing.request.request.remote, outgoing)

    def allocate_token(self) -> bytes:
        """A random token: with 64 bits none comes twice while it may matter."""
        tokens = self._tokens
        if not tokens:
            pool = self._random.randbytes(_RANDOM_POOL)
            tokens += [pool[start : start + _TOKEN_LENGTH] for start in range(0, _RANDOM_POOL, _TOKEN_LENGTH)]
        return tokens.pop()

    def forget_outgoing(self, outgoing: OutgoingRequest) -> None:
        """The token is free again, unless a later request has taken it over."""
        remote = outgoing.request.request.remote
        if outgoing.is_listed:
            self._outgoing.discard(remote, outgoing)
        elif self._to_groups.get(outgoing.token) is outgoing:
            del self._to_groups[outgoing.token]

    def forget_incoming(self, incoming: IncomingRequest) -> None:
        """The request has its last response, or nobody waits for one."""
        if self._incoming:
            self._incoming.discard(incoming.request.remote, incoming)

    def incoming(self) -> list[IncomingRequest]:
        """The requests of peers that are still answered, observations among them."""
        return [one for remote in self._incoming for one in self._incoming.of(remote)]

    def close(self) -> None:
        """End the interest in every incoming request, and fail those of ours that the layers below are done with."""
        for incoming in self.incoming():
            incoming.end_interest()
        error = RequestFailed("the endpoint was closed")
        for remote in list(self._outgoing):
            for outgoing in self._outgoing.of(remote):
                outgoing.failed(error)


def _length(request: Message, response: Message) -> int:
    """Bytes of the datagram that a response becomes."""
    return 5 + len(request.token) + len(response.options.encode()) + len(response.payload)
