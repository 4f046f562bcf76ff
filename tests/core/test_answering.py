"""A request that came in: where its responses go, and who hears that nobody wants them any more (RFC 7252 section 5.2)."""

from __future__ import annotations

import pytest

from securecoap.core.answering import incoming_request, is_suppressed
from securecoap.errors import RequestTimeout
from securecoap.interfaces import Exchange, ResponseSlot
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair


class Security:
    """Stands in for a remote address and what it is secured by."""

    confirmed = True
    is_multicast_locally = False

    def __init__(self, security: str) -> None:
        self.security = security


@pytest.mark.parametrize(("security", "way"), [("oscore", "below"), ("none", "plain"), ("dtls", "plain")])
@virtual
async def test_a_response_goes_the_way_of_its_request(security: str, way: str) -> None:
    """What OSCORE protects goes through all layers below; anything else past those that have nothing to do with it."""
    async with Pair() as pair:
        sent: list[tuple[str, bytes]] = []

        class Below:
            def __init__(self, name: str) -> None:
                self.name = name

            def send_message(self, message: Message) -> None:
                sent.append((self.name, message.payload))

        tokens = pair.server.tokens
        tokens.below, tokens.below_plain = Below("below"), Below("plain")  # type: ignore[assignment]  # stand-ins
        request = Message(Code.GET)
        request.remote = Security(security)
        request.exchange = ResponseSlot()
        incoming_request(tokens, request).add_response(Message(payload=b"hello"))
        assert sent == [(way, b"hello")]


class Slot(ResponseSlot):
    """Of a request; counts that there is no response."""

    __slots__ = ("silences",)

    def __init__(self) -> None:
        self.fate: Exchange | None = None
        self.silences = 0

    def no_response(self) -> None:
        self.silences += 1


class Kept:
    """Stands in for the token layer."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.forgotten: list[object] = []
        self.below = self.below_plain = self

    def send_message(self, message: Message) -> None:
        self.sent.append(message)

    def forget_incoming(self, incoming: object) -> None:
        self.forgotten.append(incoming)


def a_request(**options: object) -> Message:
    request = Message(Code.GET, **options)
    request.remote, request.exchange, request.token = Security("none"), Slot(), b"t"
    return request


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_who_wait_for_the_end_of_interest_hear_of_it_once(count: int) -> None:
    incoming = incoming_request(Kept(), a_request())  # type: ignore[arg-type]  # a stand-in
    heard: list[int] = []
    for number in range(count):
        incoming.on_interest_end(lambda number=number: heard.append(number))  # type: ignore[misc]  # mypy and defaults
    incoming.failed(RequestTimeout("nobody acknowledged"))
    incoming.end_interest()
    assert heard == list(range(count))


def test_the_fate_of_responses_is_told_to_the_first_who_asks_or_to_the_request() -> None:
    fate = Exchange()
    incoming = incoming_request(Kept(), a_request())  # type: ignore[arg-type]  # a stand-in
    assert incoming.request.exchange.fate is None
    incoming.on_interest_end(lambda: None, fate)
    incoming.on_interest_end(lambda: None, Exchange())
    assert incoming.request.exchange.fate is fate
    other = incoming_request(Kept(), a_request())  # type: ignore[arg-type]  # a stand-in
    other.on_interest_end(lambda: None)
    assert other.request.exchange.fate is other


def test_there_is_one_last_response_and_the_application_s_message_stays_as_it_was() -> None:
    kept = Kept()
    incoming = incoming_request(kept, a_request())  # type: ignore[arg-type]  # a stand-in
    response = Message(payload=b"hello")
    incoming.add_response(response, is_last=False)
    incoming.add_response(response)
    incoming.add_response(Message(payload=b"late"))
    incoming.suppress_response()
    assert [(one.code, one.payload, one.token) for one in kept.sent] == [(Code.CONTENT, b"hello", b"t")] * 2
    assert all(one is not response for one in kept.sent)
    assert (response.code, response.token, response.remote, response.exchange) == (None, b"", None, None)
    assert incoming.request.exchange.silences == 0


def test_what_is_not_to_be_answered_is_acknowledged_once() -> None:
    kept = Kept()
    incoming = incoming_request(kept, a_request())  # type: ignore[arg-type]  # a stand-in
    incoming.suppress_response()
    incoming.suppress_response()
    assert (incoming.request.exchange.silences, kept.sent, kept.forgotten) == (1, [], [incoming])


@pytest.mark.parametrize(
    ("bits", "code", "expected"),
    [
        (2, Code.CONTENT, True),
        (2, Code.NOT_FOUND, False),
        (26, Code.INTERNAL_SERVER_ERROR, True),
        (26, Code.CONTINUE, False),  # without it no body would arrive
        (0, Code.CONTENT, False),
    ],
)
def test_which_responses_are_left_out(bits: int, code: Code, expected: bool) -> None:
    assert is_suppressed(a_request(no_response=bits), code) is expected
