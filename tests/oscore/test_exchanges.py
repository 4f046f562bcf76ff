"""The layer on its seams: requests of ours and what comes back."""

from __future__ import annotations

import pytest

from securecoap.errors import CredentialsMissing, SessionEnded, StateError, UnprotectedResponse, UriError
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.context import RequestIdentifiers
from securecoap.oscore.option import decode_option
from securecoap.oscore.protection import protect_response
from securecoap.wire import numbers
from securecoap.wire.message import ACK, CON, NON, Message
from securecoap.wire.options import Options

from . import vectors
from .fakes import Address, End, Fate

C4 = vectors.rfc()["test_vectors"]["C.4"]
C7 = vectors.rfc()["test_vectors"]["C.7"]
C8 = vectors.rfc()["test_vectors"]["C.8"]
FLOW = vectors.rfc()["computed_extra"]["observe_flow"]
SERVER = Address("server")


@pytest.fixture
def client():
    return End("C.1.1", start=20, claims=(":server",))


def send(end: End, message: Message, *, token: bytes | None = None):
    """As the token layer does it."""
    message.remote = OscoreAddress(end.context, SERVER)
    message.token = message.token if token is None else token
    message.exchange = Fate()
    return end.layer.send_message(message)


def wire(message: Message, like: str) -> str:
    expected = Message.decode(bytes.fromhex(like))
    message.mtype, message.mid = expected.mtype, expected.mid
    return message.encode().hex()


def send_c4(end: End):
    message = Message.decode(bytes.fromhex(C4["unprotected"]))
    message.mtype = message.mid = None
    return message, send(end, message)


def register(end: End):
    message = Message.decode(bytes.fromhex(FLOW["registration"]["unprotected"]))
    message.mtype = message.mid = None
    return message, send(end, message)


def number_of(message: Message) -> int:
    return int.from_bytes(decode_option(message.options.oscore or b"").partial_iv or b"", "big")


def receive_number(end: End, number: int, plain: Message) -> bool:
    """A response of the server with this Partial IV, to the registration with number 0."""
    server = vectors.context("C.1.2")
    outer = protect_response(server, plain, RequestIdentifiers(*server.incoming(b"\x00", 0)), number)
    outer.token, outer.mtype, outer.mid = b"\x5e"[:0] + FLOW_TOKEN, NON, number & 0xFFFF
    return end.receive(outer.encode(), SERVER)[0]


FLOW_TOKEN = Message.decode(bytes.fromhex(FLOW["registration"]["unprotected"])).token


@pytest.mark.parametrize("vector", [C7, C8], ids=["C.7", "C.8"])
def test_request_and_response_of_appendix_c(client, vector):
    message, cancel = send_c4(client)
    outer = client.below.take()
    assert wire(outer, C4["protected"]) == C4["protected"]
    assert outer.remote is SERVER
    assert client.receive(vector["protected"], SERVER)[0]
    response = client.above.take()
    assert response.remote == message.remote
    assert response.remote.authenticated_claims == (":server",)
    response.mtype, response.mid = ACK, 0x5D1F
    assert response.encode().hex() == vector["unprotected"]
    cancel()
    assert client.layer._expected == {}
    assert client.below.cancelled == [outer]


def test_no_claims_before_an_answer(client):
    message, _ = send_c4(client)
    assert message.remote.authenticated_claims == ()


def test_the_message_given_is_not_protected_in_place(client):
    message, _ = send_c4(client)
    assert message.options.uri_path == ("tv1",)
    assert message.code == 1
    assert numbers.OSCORE not in message.options


def test_confirmable_and_token_are_passed_down(client):
    message = Message(1, confirmable=False)
    send(client, message, token=b"\x00\x00\xa1")
    outer = client.below.take()
    assert outer.confirmable is False
    assert outer.token == b"\x00\x00\xa1"


# Responses that do not verify, or are no responses.


@pytest.mark.parametrize("vector", [C7, C8], ids=["request's nonce", "own nonce"])
def test_a_request_has_one_response(client, vector):
    _, cancel = send_c4(client)
    assert client.receive(vector["protected"], SERVER)[0]
    assert client.layer._expected == {}
    assert not client.receive(vector["protected"], SERVER)[0]
    assert not client.receive(C7["protected"], SERVER)[0]
    assert len(client.above.got) == 1
    cancel()


DROPPED = {
    "BAD-195: no payload": "64445d1f0000397490",
    "a bit of the ciphertext": C7["protected"][:-1] + ("7" if C7["protected"][-1] == "6" else "6"),
    "Partial IV of a length that is reserved": "64445d1f00003974910eff00000000000000000000",
    "kid context without length": "64445d1f0000397491" + "10ff00112233445566778899",
    "Partial IV with a leading zero": C8["protected"].replace("920100", "93020000"),
    "another Partial IV": C8["protected"].replace("920100", "920101"),
    "option twice": "64445d1f000039749000ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106",
}


@pytest.mark.parametrize("name", DROPPED)
def test_a_response_that_does_not_verify_is_dropped_and_the_exchange_goes_on(client, name):
    message, _ = send_c4(client)
    assert client.receive(DROPPED[name], SERVER)[0]
    assert client.above.got == []
    assert message.exchange.told == []
    assert client.receive(C7["protected"], SERVER)[0]
    client.above.take()


def test_a_response_to_another_request_does_not_verify(client):
    """The message binding of section 7.1."""
    send_c4(client)
    message = Message.decode(bytes.fromhex(C4["unprotected"]))
    message.mtype = message.mid = None
    send(client, message)  # the same token again, under Partial IV 21
    assert client.receive(C7["protected"], SERVER)[0]
    assert client.above.got == []


def test_a_response_from_elsewhere_means_nothing(client):
    send_c4(client)
    assert not client.receive(C7["protected"], Address("elsewhere"))[0]


def test_a_response_to_nothing_means_nothing(client):
    assert not client.receive(C7["protected"], SERVER)[0]


def test_a_response_after_cancellation_means_nothing(client):
    _, cancel = send_c4(client)
    cancel()
    assert not client.receive(C7["protected"], SERVER)[0]


def test_nothing_is_verified_under_a_retired_context(client):
    send_c4(client)
    client.context.retired = True
    assert client.receive(C7["protected"], SERVER)[0]
    assert client.above.got == []


def test_a_wrong_recipient_key(client):
    """Interop test 14."""
    send_c4(client)
    client.context.aead_recipient = client.context.aead_sender
    assert client.receive(C7["protected"], SERVER)[0]
    assert client.above.got == []


# Responses without protection.


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("64815d1f00003974d001ff536563757269747920636f6e74657874206e6f7420666f756e64", 0x81),  # BAD-197
        ("64825d1f00003974", 0x82),
        ("64455d1f00003974ff48656c6c6f", 0x45),
    ],
)
def test_unprotected_response(client, text, code):
    message, _ = send_c4(client)
    assert client.receive(text, SERVER)[0]
    assert client.above.got == []
    (error,) = message.exchange.told
    assert isinstance(error, UnprotectedResponse)
    assert error.code == code
    assert not client.context.retired


def test_unprotected_response_from_elsewhere(client):
    message, _ = send_c4(client)
    client.receive("64455d1f00003974ff48", Address("elsewhere"))
    assert message.exchange.told == []


def test_unprotected_response_ends_no_observation():
    client = End("C.1.1")
    message, _ = register(client)
    client.receive(FLOW["notification_1_without_piv"]["protected"], SERVER)
    client.above.take()
    token = FLOW_TOKEN.hex()
    assert client.receive(f"5{len(FLOW_TOKEN):x}a04444{token}", SERVER)[0]
    assert message.exchange.told == []
    client.receive(FLOW["notification_2"]["protected"], SERVER)
    client.above.take()


def test_unprotected_response_ends_a_registration_that_was_never_answered():
    client = End("C.1.1")
    message, _ = register(client)
    client.receive(f"5{len(FLOW_TOKEN):x}814444{FLOW_TOKEN.hex()}", SERVER)
    assert isinstance(message.exchange.told[0], UnprotectedResponse)


def test_an_outer_echo_is_answered_once(client):
    """RFC 9175 section 2.3: outer to outer; the same protected message, so that it cannot be carried out twice."""
    message, _ = send_c4(client)
    first = client.below.take()
    challenge = Message.inner(0x81, Options(((numbers.ECHO, b"abcdefgh"),)), b"", SERVER, message.token)
    challenge.mtype = ACK
    client.layer.dispatch_message(challenge)
    second = client.below.take()
    assert second.options.echo == b"abcdefgh"
    assert (number_of(first), number_of(second)) == (20, 20)
    assert second.payload == first.payload
    assert client.below.cancelled == [first]
    first.exchange.acknowledged()
    client.layer.dispatch_message(challenge)
    assert client.below.sent == []
    assert isinstance(message.exchange.told[-1], UnprotectedResponse)


def test_whoever_forges_an_outer_echo_has_nothing_carried_out_twice():
    """The server has carried the request out already, and its response is held back on the way."""
    client, server = End("C.1.1"), End("C.1.2")
    message = Message(2, b"open")
    send(client, message, token=b"\x01")
    carry(client, server, CON)
    assert server.above.take().payload == b"open"
    forged = Message.inner(0x81, Options(((numbers.ECHO, b"abcdefgh"),)), b"", SERVER, b"\x01")
    forged.mtype = ACK
    client.layer.dispatch_message(forged)
    carry(client, server, CON)
    assert server.above.got == []


def test_an_outer_echo_does_not_loosen_the_window_of_unanswered_requests():
    client = End("C.1.1")
    for token in (b"\x01", b"\x02"):
        send(client, Message(1), token=token)
        client.below.take()
    challenge = Message.inner(0x81, Options(((numbers.ECHO, b"abcdefgh"),)), b"", SERVER, b"\x01")
    client.layer.dispatch_message(challenge)
    sender = client.context.sender
    assert list(sender._unanswered) == [0, 1]


# Observation (section 4.1.3.5, 7.4.1).


def test_notifications_in_order():
    client = End("C.1.1")
    message, _ = register(client)
    assert wire(client.below.take(), FLOW["registration"]["protected"]) == FLOW["registration"]["protected"]
    for number, (name, text) in enumerate(
        [("notification_1_without_piv", b"one"), ("notification_2", b"two"), ("notification_3", b"three")]
    ):
        assert client.receive(FLOW[name]["protected"], SERVER)[0]
        notification = client.above.take()
        assert notification.payload == text
        assert notification.options.observe == number
        assert notification.remote == message.remote
    assert client.receive(FLOW["terminating_error_5_00"]["protected"], SERVER)[0]
    last = client.above.take()
    assert last.code == 0xA0
    assert last.options.observe is None
    assert client.layer._expected == {}


def test_cancellation():
    """The same token, a new Partial IV, outer code 0.05 and both Observe options 1."""
    client = End("C.1.1")
    register(client)
    client.below.take()
    message = Message.decode(bytes.fromhex(FLOW["cancellation"]["unprotected"]))
    message.mtype = message.mid = None
    send(client, message)
    assert wire(client.below.take(), FLOW["cancellation"]["protected"]) == FLOW["cancellation"]["protected"]
    # What was on its way for the registration does not verify any more.
    client.receive(FLOW["notification_2"]["protected"], SERVER)
    assert client.above.got == []


def test_notification_3_before_2():
    """Interop case 30."""
    client = End("C.1.1")
    register(client)
    for name in ("notification_3", "notification_2", "notification_2", "notification_3"):
        assert client.receive(FLOW[name]["protected"], SERVER)[0]
    assert client.above.take().payload == b"three"


def test_at_most_one_notification_without_partial_iv():
    client = End("C.1.1")
    register(client)
    first = FLOW["notification_1_without_piv"]["protected"]
    client.receive(first, SERVER)
    client.receive(first, SERVER)
    client.above.take()


def test_the_notification_without_partial_iv_is_the_oldest():
    client = End("C.1.1")
    register(client)
    client.receive(FLOW["notification_2"]["protected"], SERVER)
    client.receive(FLOW["notification_1_without_piv"]["protected"], SERVER)
    assert client.above.take().payload == b"two"


def test_outer_code_and_outer_observe_mean_nothing():
    """Interop case 28: outer 2.04 from an older server."""
    client = End("C.1.1")
    register(client)
    text = FLOW["notification_2"]["protected"]
    client.receive(text[:2] + "44" + text[4:], SERVER)
    client.above.take()


def test_the_order_survives_any_partial_iv():
    client = End("C.1.1")
    register(client)
    values = []
    for number in (0, 2**23, 2**24, 2**39, 2**40 - 1):
        assert receive_number(client, number, Message(0x45, b"x", observe=5))
        values.append(client.above.take().options.observe)
    assert values == [0, 1, 2, 3, 4]


def test_a_notification_that_nobody_asked_for_is_dropped(client):
    send_c4(client)
    server = vectors.context("C.1.2")
    outer = protect_response(server, Message(0x45, observe=1), RequestIdentifiers(*server.incoming(b"\x14", 20)), 5)
    outer.token, outer.mtype, outer.mid = Message.decode(bytes.fromhex(C4["protected"])).token, NON, 1
    assert client.receive(outer.encode(), SERVER)[0]
    assert client.above.got == []


def test_a_registration_that_is_answered_once():
    """Interop test 5: the resource is not observable."""
    client = End("C.1.1")
    _, cancel = register(client)
    assert receive_number(client, 0, Message(0x45, b"x"))
    assert client.above.take().options.observe is None
    cancel()
    assert client.layer._expected == {}


def test_stopping_retransmission_while_a_notification_is_delivered_keeps_the_observation():
    client = End("C.1.1")
    _, cancel = register(client)
    outer = client.below.take()
    client.above.on_message = lambda _: cancel()
    client.receive(FLOW["notification_1_without_piv"]["protected"], SERVER)
    assert client.below.cancelled == [outer]
    client.above.on_message = None
    client.receive(FLOW["notification_2"]["protected"], SERVER)
    assert len(client.above.got) == 2
    cancel()
    assert client.layer._expected == {}
    assert not client.receive(FLOW["notification_3"]["protected"], SERVER)[0]


def test_ending_while_a_notification_is_delivered():
    """The token layer stops the retransmission first, and then the application may end the observation."""
    client = End("C.1.1")
    _, cancel = register(client)
    client.above.on_message = lambda _: (cancel(), cancel())
    client.receive(FLOW["notification_1_without_piv"]["protected"], SERVER)
    assert client.layer._expected == {}


def test_an_observation_that_was_given_up_above_is_rejected():
    client = End("C.1.1")
    register(client)
    client.above.means = False
    assert not client.receive(FLOW["notification_1_without_piv"]["protected"], SERVER)[0]
    assert client.layer._expected == {}


# What becomes of the outer message.


def test_fate_is_passed_on(client):
    message, _ = send_c4(client)
    outer = client.below.take()
    outer.exchange.acknowledged()
    outer.exchange.no_response()
    error = ValueError()
    outer.exchange.failed(error)
    assert message.exchange.told == ["acknowledged", error]


def test_nothing_is_told_after_cancellation(client):
    message, cancel = send_c4(client)
    outer = client.below.take()
    cancel()
    outer.exchange.failed(ValueError())
    assert message.exchange.told == []


def test_errors_of_the_outer_address(client):
    message, _ = send_c4(client)
    client.layer.dispatch_error(111, SERVER)
    assert client.above.errors == [(111, SERVER), (111, message.remote)]


def test_releasing_the_context_ends_requests(client):
    message, _ = send_c4(client)
    client.layer.release(client.context)
    ((error, address),) = client.above.errors
    assert isinstance(error, SessionEnded)
    assert address == message.remote


@pytest.mark.parametrize("broken", ["retired", "no sender"])
def test_a_context_that_is_not_used_any_more_sends_nothing(client, broken):
    if broken == "retired":
        client.context.retired = True
    else:
        client.context.sender = None
    message, cancel = send_c4(client)
    assert message.exchange.told == []
    client.run()
    assert client.below.sent == []
    assert isinstance(message.exchange.told[0], SessionEnded)
    cancel()


def test_a_request_that_cannot_be_protected_fails(client):
    message = Message(1)
    message.options.replace(numbers.PROXY_URI, [b"http://example.com/"])
    send(client, message)
    assert message.exchange.told == []
    client.run()
    assert isinstance(message.exchange.told[0], UriError)
    assert client.below.sent == []


def test_the_last_sequence_number():
    """Interop case 33: the message with 2^40-1 goes, the next one is refused here."""
    client = End("C.1.1", start=2**40 - 1)
    send(client, Message(1), token=b"a")
    refused = Message(1)
    send(client, refused, token=b"b")
    client.run()
    assert number_of(client.below.take()) == 2**40 - 1
    assert isinstance(refused.exchange.told[0], StateError)


def test_ping_goes_through(client):
    ping = Message(0)
    ping.remote = OscoreAddress(client.context, SERVER)
    ping.exchange = Fate()
    client.layer.send_message(ping)
    outer = client.below.take()
    assert (outer.code, outer.options.pairs, outer.remote, outer.exchange) == (0, (), SERVER, ping.exchange)


# Never a nonce twice.


def test_cancellation_gives_no_number_back(client):
    for token in range(5):
        send(client, Message(1), token=bytes((token,)))()
    assert [number_of(message) for message in client.below.sent] == [20, 21, 22, 23, 24]


def test_requests_and_responses_share_the_numbers():
    """Interop case 37: one context, both roles."""
    end = End("C.1.2", start=3)
    send(end, Message(1), token=b"a")
    end.receive(C4["protected"], SERVER)
    request = end.above.take()
    for _ in range(3):
        response = Message.inner(0x45, Options(), b"", request.remote, request.token)
        response.exchange = request.exchange
        end.layer.send_message(response)
    send(end, Message(1), token=b"b")
    assert [message.options.oscore for message in end.below.sent] == [
        b"\x09\x03\x01", b"", b"\x01\x04", b"\x01\x05", b"\x09\x06\x01",
    ]  # fmt: skip


def test_sending_from_inside_of_sending_takes_another_number(client):
    depth = []

    def again(_):
        if len(depth) < 3:
            depth.append(1)
            send(client, Message(1), token=bytes((len(depth),)))

    client.below.on_send = again
    send(client, Message(1), token=b"x")
    assert sorted(number_of(message) for message in client.below.sent) == [20, 21, 22, 23]


# Held requests.


def test_a_request_waits_for_a_number(client):
    client.numbers.limit = 20
    message, _ = send_c4(client)
    client.run()
    assert client.below.sent == []
    client.numbers.grant()
    client.run()
    assert number_of(client.below.take()) == 20
    assert message.exchange.told == []


def test_retiring_the_context_fails_what_waits(client):
    client.numbers.limit = 20
    message, _ = send_c4(client)
    client.context.retire()
    client.run()
    assert isinstance(message.exchange.told[0], SessionEnded)
    assert client.context.retired


def test_a_context_without_sender_retires():
    context = vectors.context()
    context.retire()
    assert context.retired


def test_a_request_that_waits_can_be_cancelled(client):
    client.numbers.limit = 20
    _, cancel = send_c4(client)
    cancel()
    client.numbers.grant()
    client.run()
    assert client.below.sent == []
    assert client.numbers.next == 20


def test_a_request_for_which_there_is_no_number_fails(client):
    client.numbers.limit = 20
    message, _ = send_c4(client)
    client.numbers.refuse()
    client.run()
    assert isinstance(message.exchange.told[0], StateError)


def test_a_window_above_the_oldest_unanswered_request_is_held(client):
    for number in range(40):
        send(client, Message(1), token=bytes((number,)))
    assert [number_of(message) for message in client.below.sent] == list(range(20, 52))
    client.below.sent[5].exchange.acknowledged()
    assert len(client.below.sent) == 32
    client.below.sent[0].exchange.acknowledged()
    assert [number_of(message) for message in client.below.sent[32:]] == [52]
    client.below.sent[1].exchange.failed(ValueError())
    assert [number_of(message) for message in client.below.sent[33:]] == [53]


def test_non_confirmable_requests_hold_nothing_back(client):
    for number in range(40):
        send(client, Message(1, confirmable=False), token=bytes((number,)))
    assert len(client.below.sent) == 40


def test_a_non_confirmable_request_is_held_behind_an_old_confirmable_one(client):
    send(client, Message(1), token=b"first")
    for number in range(40):
        send(client, Message(1, confirmable=False), token=bytes((number,)))
    assert len(client.below.sent) == 32


def test_cancelling_the_oldest_request_lets_the_others_go(client):
    cancels = [send(client, Message(1), token=bytes((number,))) for number in range(33)]
    assert len(client.below.sent) == 32
    cancels[0]()
    assert len(client.below.sent) == 33


def test_cancelling_a_held_request(client):
    cancels = [send(client, Message(1), token=bytes((number,))) for number in range(34)]
    cancels[32]()  # its number, 52, is lost
    cancels[0]()
    assert len(client.below.sent) == 32
    cancels[1]()
    sent = [number_of(message) for message in client.below.sent]
    assert sent == [*range(20, 52), 53]


def test_an_answer_lets_held_requests_go():
    client = End("C.1.1", start=20)
    send_c4(client)
    for number in range(32):
        send(client, Message(1), token=bytes((number,)))
    assert len(client.below.sent) == 32
    client.receive(C7["protected"], SERVER)
    assert len(client.below.sent) == 33


# Addresses of requests.


def fill(end: End, message: Message):
    task = end.scheduler.create_task(end.layer.fill_or_recognize_remote(message))
    try:
        task.coroutine.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("it waits")


def test_a_request_gets_a_secured_address(client):
    client.contexts.client = client.context
    message = Message(1, uri="coap://server/")
    assert fill(client, message)
    assert message.remote == OscoreAddress(client.context, SERVER)
    assert fill(client, message)


def test_a_request_without_credentials_stays_plain(client):
    message = Message(1, uri="coap://server/")
    assert fill(client, message)
    assert message.remote == SERVER


def test_no_plaintext_where_a_credential_was_meant(client):
    client.contexts.client = CredentialsMissing("expired")
    message = Message(1, uri="coap://server/")
    with pytest.raises(CredentialsMissing):
        fill(client, message)
    assert message.remote is None


def test_no_multicast_under_a_pairwise_context(client):
    client.contexts.client = client.context
    client.below.remote = Address("multicast")
    with pytest.raises(CredentialsMissing):
        fill(client, Message(1))


def test_a_scheme_that_nobody_carries(client):
    client.contexts.client = client.context
    client.below.remote = None
    assert not fill(client, Message(1))


@pytest.mark.parametrize("broken", ["retired", "generation"])
def test_an_address_of_a_context_that_is_gone(client, broken):
    message = Message(1)
    message.remote = OscoreAddress(client.context, SERVER)
    if broken == "retired":
        client.context.retired = True
    else:
        client.context.generation += 1
    with pytest.raises(SessionEnded):
        fill(client, message)


# Two layers, end to end.


def exchange(client: End, server: End, message: Message, respond) -> list[Message]:
    """One request over perfect wires; the responses that come back."""
    send(client, message, token=b"tok")
    carry(client, server, CON)
    request = server.above.take()
    for response in respond(request):
        full = Message.inner(response.code, response.options, response.payload, request.remote, request.token)
        full.exchange = request.exchange
        server.layer.send_message(full)
        carry(server, client, ACK)
    got, client.above.got = client.above.got, []
    return got


def carry(source: End, target: End, mtype: int) -> None:
    outer = source.below.take()
    outer.mtype, outer.mid = mtype, 7
    assert target.receive(outer.encode(), SERVER)[0]


@pytest.mark.parametrize(
    ("message", "response"),
    [
        (Message(1, uri_path=("oscore", "hello", "1")), Message(0x45, b"Hello World!", content_format=0)),
        (Message(1, uri_path=("oscore", "hello", "2"), uri_query=("first=1",)), Message(0x45, b"x", etag=b"+")),
        (Message(1, uri_path=("oscore", "hello", "3"), accept=0), Message(0x45, b"x", max_age=5)),
        (Message(2, b"J", uri_path=("oscore", "hello", "6"), content_format=0), Message(0x44, b"J", content_format=0)),
        (Message(3, b"z", uri_path=("oscore", "hello", "7"), if_match=(b"{",)), Message(0x44)),
        (Message(3, b"\x8a", uri_path=("oscore", "hello", "7"), if_none_match=True), Message(0x8C)),
        (Message(4, uri_path=("oscore", "test")), Message(0x42)),
        (Message(1, no_response=26), Message(0x45)),
        (Message(1, uri_host="h", uri_port=61616), Message(0x45)),
    ],
    ids=["OSC-01", "OSC-03", "OSC-04", "OSC-08", "OSC-09", "OSC-10", "OSC-11", "OSC-35", "Uri-Host"],
)
@pytest.mark.parametrize(
    "pair", [("C.1.1", "C.1.2"), ("C.3.1", "C.3.2"), ("C.2.1", "C.2.2")], ids=["A/B", "C/D", "C.2"]
)
def test_end_to_end(pair, message, response):
    client, server = End(pair[0]), End(pair[1])
    asked = []
    options = message.options.copy()
    message = message.copy()
    (answer,) = exchange(client, server, message, lambda request: asked.append(request) or [response])
    assert (asked[0].code, asked[0].options, asked[0].payload) == (message.code, options, message.payload)
    assert (answer.code, answer.options, answer.payload) == (response.code, response.options, response.payload)


def test_recovery_after_the_server_lost_its_window():
    """Interop case 31: challenge, and the same request again with Echo inside."""
    client, server = End("C.1.1"), End("C.1.2", void=True)
    send(client, Message(1, uri_path=("a",)), token=b"1")
    carry(client, server, CON)
    carry(server, client, ACK)
    challenge = client.above.take()
    assert challenge.code == 0x81
    assert [number for number, _ in challenge.options] == [numbers.ECHO]
    (answer,) = exchange(
        client, server, Message(1, uri_path=("a",), echo=challenge.options.echo), lambda _: [Message(0x45, b"x")]
    )
    assert answer.payload == b"x"
    (answer,) = exchange(client, server, Message(1, uri_path=("a",)), lambda _: [Message(0x45, b"y")])
    assert answer.payload == b"y"


def test_role_reversal():
    """Interop case 37: the server asks the client, under the same context."""
    one, other = End("C.1.1"), End("C.1.2")
    exchange(one, other, Message(1), lambda _: [Message(0x45, b"a")])
    (answer,) = exchange(other, one, Message(1), lambda _: [Message(0x45, b"b")])
    assert answer.payload == b"b"
