"""The layer on its seams: requests that come in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.config import Limits
from securecoap.errors import SessionEnded
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.layer import OscoreLayer
from securecoap.oscore.option import decode_option, encode_option
from securecoap.oscore.protection import protect_request
from securecoap.oscore.window import ReplayWindow
from securecoap.wire import numbers
from securecoap.wire.message import ACK, CON, Message
from securecoap.wire.options import Options

from . import vectors
from .fakes import Address, End, Fate, Slot

C4 = vectors.rfc()["test_vectors"]["C.4"]
C7 = vectors.rfc()["test_vectors"]["C.7"]
C8 = vectors.rfc()["test_vectors"]["C.8"]
EXTRA = vectors.rfc()["computed_extra"]
CLIENT = Address("client")


@pytest.fixture
def server():
    return End("C.1.2", claims=(":sensor",))


def answer(end: End, request: Message, response: Message):
    """As the token layer does it."""
    response = Message.inner(response.code, response.options, response.payload, request.remote, request.token)
    response.exchange = request.exchange
    return end.layer.send_message(response)


def wire(message: Message, mid: int = 0x5D1F, mtype: int = ACK) -> str:
    message.mtype, message.mid = mtype, mid
    return message.encode().hex()


def request_of(number: int, *, name: str = "C.1.1", message: Message | None = None, **outer) -> str:
    """A protected request of the client."""
    message = message or Message(1, uri_path=("tv1",))
    protected, _ = protect_request(vectors.context(name, **outer), message, number)
    protected.token = b"\x01"
    return wire(protected, number & 0xFFFF, CON)


def test_request_and_response_of_appendix_c(server):
    meant, slot = server.receive(C4["protected"], CLIENT)
    assert meant
    request = server.above.take()
    request.mtype, request.mid = 0, 0x5D1F
    assert request.encode().hex() == C4["unprotected"]
    assert request.remote == OscoreAddress(server.context, CLIENT)
    answer(server, request, Message.decode(bytes.fromhex(C7["unprotected"])))
    response = server.below.take()
    assert response.exchange is slot
    assert response.remote is CLIENT
    assert wire(response) == C7["protected"]


def test_a_second_response_has_a_partial_iv_of_its_own(server):
    server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    content = Message.decode(bytes.fromhex(C8["unprotected"]))
    answer(server, request, content)
    assert server.below.take().options.oscore == b""
    answer(server, request, content)
    assert wire(server.below.take()) == C8["protected"]


def test_claims_and_confirmation_come_with_decryption(server):
    outer = Address("client", ("outer",))
    server.receive(C4["protected"], outer)
    remote = server.above.take().remote
    assert remote.authenticated_claims == (":sensor", "outer")
    assert remote.security == "oscore"
    assert outer.confirmed
    assert remote.confirmed
    assert OscoreAddress(server.context, outer).authenticated_claims == ()


def test_claims_follow_a_reload(server):
    server.receive(C4["protected"], CLIENT)
    remote = server.above.take().remote
    server.context.claims = ()
    assert remote.authenticated_claims == ()


def test_nothing_is_confirmed_by_a_message_that_does_not_verify(server):
    outer = Address("stranger")
    server.receive(EXTRA["negative_from_C4"][1]["wire"], outer)
    assert not outer.confirmed


def test_plain_messages_pass(server):
    message = Message.decode(bytes.fromhex("40015d1fb3747631"), CLIENT)
    assert server.layer.dispatch_message(message)
    assert server.above.take() is message
    assert server.contexts.lookups == []
    plain = Message(0x45)
    plain.remote = CLIENT
    server.layer.send_message(plain)
    assert server.below.take() is plain


@pytest.mark.parametrize("field", ["mtype", "mid", "token"])
def test_header_fields_are_those_of_the_outer_message(server, field):
    server.receive(C4["protected"], CLIENT)
    assert getattr(server.above.take(), field) == getattr(Message.decode(bytes.fromhex(C4["protected"])), field)


# The negative cases. What each is answered with; None stands for delivery.
EXPECTED: dict[str, int | None] = {
    "NEG-01": 0x82,
    "NEG-03": 0x80,
    "NEG-04": 0x80,
    "NEG-05": 0x80,
    "NEG-06": 0x80,
    "NEG-07": 0x81,
    "NEG-08": 0x82,
    "NEG-10": 0x82,
    "NEG-13": 0x82,
    "NEG-14": 0x82,
    "NEG-16": 0x82,
    "NEG-17": 0x82,
    "NEG-18": 0x81,
    "NEG-19": 0x82,
    "NEG-20": 0x82,
    "NEG-23": None,
    "NEG-24": None,
    "NEG-25": None,
    "NEG-27": 0x82,
    "NEG-28": 0x80,
    "NEG-29": 0x80,
    "NEG-31": 0x80,
    "NEG-32": 0x80,
}
PROTECTED = {"NEG-27", "NEG-28", "NEG-29", "NEG-31", "NEG-32"}
NEGATIVE = {entry["id"]: entry["wire"] for entry in EXTRA["negative_from_C4"]}


def test_every_negative_case_is_here():
    assert set(NEGATIVE) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_negative(server, name):
    meant, slot = server.receive(NEGATIVE[name], CLIENT)
    assert meant
    if EXPECTED[name] is None:
        assert server.above.take().options.uri_path == ("tv1",)
        return
    assert server.above.got == []
    error = server.below.take()
    assert error.exchange is slot
    assert error.token == Message.decode(bytes.fromhex(NEGATIVE[name])).token
    if name in PROTECTED:
        assert error.code == 0x44
        assert error.options.oscore is not None
        assert opened(
            error, decode_option(Message.decode(bytes.fromhex(NEGATIVE[name])).options.oscore or b"").partial_iv
        ) == bytes((EXPECTED[name],))
    else:
        assert error.code == EXPECTED[name]
        assert error.payload == b""
        assert error.options.pairs == ((numbers.MAX_AGE, b""),)
        # The window is untouched: the genuine message is still accepted.
        assert server.receive(C4["protected"], CLIENT)[0]
        assert len(server.above.got) == 1


def opened(response: Message, request_piv: bytes | None) -> bytes:
    """The plaintext of a response, as the client sees it."""
    client = vectors.context("C.1.1")
    identifiers = client.outgoing(request_piv or b"")
    partial_iv = decode_option(response.options.oscore or b"").partial_iv
    nonce = identifiers.nonce if partial_iv is None else client.recipient_nonce(int.from_bytes(partial_iv, "big"))
    return client.aead_recipient.decrypt(nonce, response.payload, identifiers.aad)


MALFORMED = [
    entry
    for group in vectors.load("coap_malformed.json").values()
    if isinstance(group, list)
    for entry in group
    if isinstance(entry, dict) and entry.get("layer") == "oscore" and entry["role"] == "server"
]
DELIVERED = {"BAD-185", "BAD-187"}
# Authentic, but no request inside: the error is protected, so its outer code is 2.04.
PROTECTED_ERRORS = {"BAD-189": {0x82}, "BAD-191": {0x80, 0x82}}


@pytest.mark.parametrize("entry", MALFORMED, ids=lambda entry: entry["id"])
def test_malformed(server, entry):
    """The reaction that is written there; where it leaves out the code, that of RFC 8613 section 8.2."""
    name = entry["id"]
    if name == "BAD-188":  # a replay, once the original was accepted
        server.receive(C4["protected"], CLIENT)
        server.above.take()
    meant, _ = server.receive(entry["hex"], CLIENT)
    assert meant
    assert len(server.above.got) == (name in DELIVERED)
    if name in PROTECTED_ERRORS:
        response = server.below.take()
        assert response.code == 0x44
        request_piv = decode_option(Message.decode(bytes.fromhex(entry["hex"])).options.oscore or b"").partial_iv
        assert opened(response, request_piv)[0] in PROTECTED_ERRORS[name]
    elif name not in DELIVERED:
        written = {int(found[1]) << 5 | int(found[2]) for found in re.finditer(r"(4)\.(\d\d)", entry["expect"])}
        assert server.below.take().code in (written or {0x80})
        server.receive(C4["protected"], CLIENT)  # the window is as it was: what is authentic is still accepted, once
        assert len(server.above.got) == (name != "BAD-188")


def test_a_repeated_option_is_refused(server):
    protected = Message.decode(bytes.fromhex(C4["protected"]))
    protected.options = Options((*protected.options.pairs, (9, b"")))
    protected.remote, protected.exchange = CLIENT, Slot()
    assert server.layer.dispatch_message(protected)
    assert server.below.take().code == 0x82


def test_leading_zeros_in_the_partial_iv_of_a_request_are_refused(server):
    """Section 5: else one number would have several forms. It verifies under the key, and leaves the window alone."""
    client, partial_iv = vectors.context("C.1.1"), b"\x00\x05"
    identifiers = client.outgoing(partial_iv)
    sealed = client.aead_sender.encrypt(identifiers.nonce, b"\x01\xb3tv1", identifiers.aad)
    outer = Message(2, sealed, oscore=client.request_option(partial_iv))
    outer.token = b"\x01"
    server.receive(wire(outer, 1, CON), CLIENT)
    assert server.above.got == []
    assert server.below.take().code == 0x80
    server.receive(request_of(5), CLIENT)
    server.above.take()


def test_a_wrong_key_leaves_the_window_alone():
    """Interop test 13: the same Partial IV with the right key works next."""
    server = End("C.1.2")
    server.receive(request_of(7, secret=bytes(16)), CLIENT)
    assert server.below.take().code == 0x80
    server.receive(request_of(7), CLIENT)
    server.above.take()


def test_replay_is_refused_and_not_handled_twice(server):
    """Interop test 15."""
    server.receive(C4["protected"], CLIENT)
    server.above.take()
    assert server.receive(C4["protected"].replace("5d1f", "5d20"), CLIENT)[0]
    assert server.above.got == []
    error = server.below.take()
    assert (error.code, error.payload, error.options.max_age) == (0x81, b"", 0)


def test_replay_from_another_address(server):
    server.receive(C4["protected"], CLIENT)
    server.receive(C4["protected"], Address("elsewhere"))
    assert len(server.above.got) == 1


def test_errors_are_rate_limited_for_each_peer(server):
    layer = OscoreLayer(
        server.below,
        server.contexts,
        server.scheduler,
        None,
        Limits(oscore_errors_per_second=3),  # type: ignore[arg-type]
    )
    layer.above = server.above
    server.layer = layer
    slots = [server.receive(NEGATIVE["NEG-07"], CLIENT)[1] for _ in range(5)]
    assert len(server.below.sent) == 3
    assert [slot.unanswered for slot in slots] == [0, 0, 0, 1, 1]
    server.receive(NEGATIVE["NEG-07"], Address("other"))
    assert len(server.below.sent) == 4
    server.scheduler.now += 1
    server.receive(NEGATIVE["NEG-07"], CLIENT)
    assert len(server.below.sent) == 5


def test_multicast_gets_no_answer(server):
    group = Address("group")
    group.is_multicast_locally = True
    assert not server.receive(C4["protected"], group)[0]
    assert not server.receive(NEGATIVE["NEG-20"], group)[0]
    assert server.below.sent == server.above.got == []


def test_a_retired_context_is_no_context(server):
    server.context.retired = True
    server.receive(C4["protected"], CLIENT)
    assert server.below.take().code == 0x81


def test_a_response_under_a_retired_context_is_not_sent(server):
    _, slot = server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    server.context.retired = True
    answer(server, request, Message(0x45))
    assert server.below.sent == []
    assert slot.unanswered == 1


# Selection of the context.


def test_kid_context_selects():
    """Interop case 27: two contexts with one Recipient ID."""
    plain, with_context = End("C.1.2"), End("C.3.2")
    plain.contexts.contexts.append(with_context.context)
    plain.receive(vectors.rfc()["test_vectors"]["C.6"]["protected"], CLIENT)
    assert plain.above.take().remote.context is with_context.context
    plain.receive(C4["protected"], CLIENT)
    assert plain.above.take().remote.context is plain.context


def test_a_kid_context_excludes_all_others(server):
    """It is not authenticated: whoever adds one to a request, or takes it away, does not find another context."""
    protected = Message.decode(bytes.fromhex(C4["protected"]))
    partial_iv, kid, _ = decode_option(protected.options.oscore)
    other = protected.copy(oscore=encode_option(partial_iv, kid, b"\x37"))
    other.token = protected.token
    server.receive(wire(other, 1, CON), CLIENT)
    assert server.contexts.lookups == [(kid, b"\x37")]
    assert server.below.take().code == 0x81
    assert server.above.got == []
    server.receive(C4["protected"], CLIENT)
    assert server.above.take().remote.context is server.context


def test_several_candidates_are_tried():
    other = End("C.1.2", secret=bytes(16))
    server = End("C.1.2")
    server.contexts.contexts.insert(0, other.context)
    server.receive(C4["protected"], CLIENT)
    assert server.above.take().remote.context is server.context
    assert other.context.window.highest == -1
    server.receive(C4["protected"], CLIENT)
    assert server.below.take().code == 0x81  # a replay, whatever the other context says


def test_attempts_are_bounded():
    server = End("C.1.2")
    others = [End("C.1.2", secret=bytes([i]) * 16).context for i in range(20)]
    attempts = []
    for context in others:
        real = context.aead_recipient

        class Counting:
            def decrypt(self, *arguments, real=real):
                attempts.append(1)
                return real.decrypt(*arguments)

        context.aead_recipient = Counting()
    server.contexts.contexts = others
    server.receive(C4["protected"], CLIENT)
    assert len(attempts) == 16
    assert server.below.take().code == 0x80


# Addresses.


def test_addresses_are_equal_by_context_generation_and_outer_address(server):
    one, same = OscoreAddress(server.context, CLIENT), OscoreAddress(server.context, Address("client"), proved=True)
    assert one == same
    assert hash(one) == hash(same)
    assert one != OscoreAddress(server.context, Address("other"))
    assert one != OscoreAddress(vectors.context("C.1.2"), CLIENT)
    assert one != CLIENT
    server.context.generation += 1
    assert one != OscoreAddress(server.context, CLIENT)


def test_no_key_in_the_address(server):
    keys = vectors.rfc()["test_vectors"]["C.1.2"]
    shown = repr(OscoreAddress(server.context, CLIENT))
    assert keys["sender_key"] not in shown
    assert keys["common_iv"] not in shown


def test_the_address_is_made_once_per_peer(server):
    server.receive(request_of(1), CLIENT)
    server.receive(request_of(2), CLIENT)
    first, second = (message.remote for message in server.above.got)
    assert first is second


def test_an_equal_outer_address_is_answered_at_its_own_object(server):
    """It may have come in on another address of ours."""
    twin = Address("client")
    server.receive(request_of(1), CLIENT)
    server.receive(request_of(2), twin)
    assert server.above.got[1].remote.outer is twin


def test_a_peer_that_moves_has_another_address(server):
    server.receive(request_of(1), CLIENT)
    server.receive(request_of(2), Address("elsewhere"))
    first, second = (message.remote for message in server.above.got)
    assert first != second
    assert len(server.layer.addresses) == len(server.layer._by_outer) == 1


def test_errors_of_the_outer_address_end_what_is_on_it(server):
    server.receive(C4["protected"], CLIENT)
    remote = server.above.take().remote
    error = SessionEnded("gone")
    server.layer.dispatch_error(error, CLIENT)
    assert server.above.errors == [(error, CLIENT), (error, remote)]
    assert server.layer.addresses == server.layer._by_outer == {}


def test_errors_of_other_addresses_do_not(server):
    server.receive(C4["protected"], CLIENT)
    server.layer.dispatch_error(111, Address("other"))
    assert server.above.errors == [(111, Address("other"))]


def test_releasing_a_context_ends_what_is_under_it(server):
    server.receive(C4["protected"], CLIENT)
    remote = server.above.take().remote
    server.layer.release(server.context)
    ((error, address),) = server.above.errors
    assert isinstance(error, SessionEnded)
    assert address == remote
    assert not server.context.retired  # others may use it
    assert server.layer.addresses == server.layer._by_outer == {}


def test_releasing_a_context_reaches_where_its_peer_was_before(server):
    """An observation stays at the address of its registration: to come from another one must not save it."""
    under_way = []
    for number, place in enumerate(["here", "there", "elsewhere", "here", "there"]):
        server.receive(request_of(number), Address(place))
        under_way.append(server.above.take().remote)
    del under_way[2]  # nothing is under way there any more
    server.layer.release(server.context)
    ended = [address for _, address in server.above.errors]
    assert (
        set(ended) == set(under_way) == {OscoreAddress(server.context, Address(place)) for place in ("here", "there")}
    )
    assert server.layer._earlier == {}


# Responses.


def test_the_fate_of_responses_reaches_the_layer_above(server):
    _, slot = server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    fate = Fate()
    request.exchange.tell(fate)
    slot.acknowledged()
    slot.failed(ValueError("x"))
    assert fate.told[0] == "acknowledged"
    assert isinstance(fate.told[1], ValueError)
    request.exchange.no_response()
    assert slot.unanswered == 1


def test_notifications_of_the_server():
    flow = EXTRA["observe_flow"]
    server = End("C.1.2")
    server.receive(flow["registration"]["protected"], CLIENT)
    request = server.above.take()
    assert request.options.observe == 0
    for name, mtype in (
        ("notification_1_without_piv", ACK),
        ("notification_2", 1),
        ("notification_3", 1),
        ("terminating_error_5_00", 1),
    ):
        expected = Message.decode(bytes.fromhex(flow[name]["protected"]))
        answer(server, request, Message.decode(bytes.fromhex(flow[name]["unprotected"])))
        assert wire(server.below.take(), expected.mid, mtype) == flow[name]["protected"]


def test_confirmable_is_passed_down(server):
    server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    for wish in (True, False, None):
        response = Message.inner(0x45, Options(), b"", request.remote, request.token)
        response.exchange, response.confirmable = request.exchange, wish
        server.layer.send_message(response)
        assert server.below.take().confirmable is wish


def test_a_response_waits_for_a_number(server):
    server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    server.numbers.limit = 0
    answer(server, request, Message(0x45, b"1"))
    assert len(server.below.sent) == 1  # under the nonce of the request
    answer(server, request, Message(0x45, b"2"))
    cancel = answer(server, request, Message(0x45, b"3"))
    answer(server, request, Message(0x45, b"4"))
    cancel()
    server.run()
    assert len(server.below.sent) == 1
    server.numbers.grant()
    server.run()
    assert [opened(message, b"\x14")[2:] for message in server.below.sent] == [b"1", b"2", b"4"]
    assert [message.options.oscore for message in server.below.sent] == [b"", b"\x01\x00", b"\x01\x01"]
    cancel()


def test_a_response_without_a_number_is_not_sent(server):
    _, slot = server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    fate = Fate()
    request.exchange.tell(fate)
    server.numbers.limit = 0
    answer(server, request, Message(0x45, b"1"))
    answer(server, request, Message(0x45, b"2"))
    server.numbers.refuse()
    server.run()
    assert len(server.below.sent) == 1
    assert slot.unanswered == 1
    assert len(fate.told) == 1


def test_cancelling_a_response_reaches_the_layer_below(server):
    server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    answer(server, request, Message(0x45))
    cancel = answer(server, request, Message(0x45))
    cancel()
    assert server.below.cancelled == [server.below.sent[1]]


@pytest.mark.parametrize("first", [True, False])
def test_a_response_that_cannot_be_protected_is_5_00(server, first):
    server.receive(C4["protected"], CLIENT)
    request = server.above.take()
    if not first:
        answer(server, request, Message(0x45))
        server.below.take()
    answer(server, request, Message(0x45, bytes(70000)))
    response = server.below.take()
    assert response.code == 0x44
    assert opened(response, b"\x14") == b"\xa0"


# Appendix B.1.2, the server's side.


def test_echo_challenge():
    flow = EXTRA["appendix_B12_echo"]
    fixed = type("Fixed", (), {"randbytes": staticmethod(lambda n: bytes(range(1, n + 1)))})()
    server = End("C.1.2", start=0x1F4, void=True, randomness=fixed)
    server.receive(flow["request"]["protected"], CLIENT)
    assert server.above.got == []
    assert wire(server.below.take(), 0x4001, ACK) == flow["challenge_4_01"]["protected"]
    server.receive(flow["second_request"]["protected"], CLIENT)
    request = server.above.take()
    assert request.options.uri_path == ("tv1",)
    assert [server.context.window.accepts(number) for number in (76, 77, 78, 79)] == [False, False, False, True]
    answer(server, request, Message(0x45, b"ok"))
    assert opened(server.below.take(), b"\x4e") == b"\x45\xffok"
    server.receive(request_of(77), CLIENT)
    assert server.below.take().code == 0x81
    server.receive(request_of(79), CLIENT)
    server.above.take()


def challenge_of(server: End, number: int) -> bytes:
    server.receive(request_of(number), CLIENT)
    plaintext = opened(server.below.take(), bytes((number,)))
    assert plaintext[:1] == b"\x81"
    return plaintext[3:]


def test_challenges_are_one_value_until_it_is_met():
    server = End("C.1.2", void=True)
    assert challenge_of(server, 1) == challenge_of(server, 2)


@pytest.mark.parametrize("echo", [b"", b"wrong", bytes(8), bytes(40)])
def test_a_wrong_echo_is_challenged_again(echo):
    server = End("C.1.2", void=True)
    challenge_of(server, 1)
    server.receive(request_of(2, message=Message(1, echo=echo) if echo else Message(1)), CLIENT)
    assert server.above.got == []
    assert opened(server.below.take(), b"\x02")[:1] == b"\x81"


def test_an_echo_before_any_challenge_is_nothing():
    server = End("C.1.2", void=True)
    server.receive(request_of(2, message=Message(1, echo=bytes(8))), CLIENT)
    assert server.above.got == []


def test_the_echo_is_not_taken_twice():
    server = End("C.1.2", void=True)
    echo = challenge_of(server, 1)
    again = request_of(2, message=Message(1, echo=echo))
    server.receive(again, CLIENT)
    server.receive(again, CLIENT)
    assert len(server.above.got) == 1
    assert server.below.take().code == 0x81
    server.context.window = ReplayWindow(void=True)
    server.receive(again, CLIENT)
    assert len(server.above.got) == 1


def test_a_void_window_challenges_only_what_decrypts():
    server = End("C.1.2", void=True)
    server.receive(NEGATIVE["NEG-03"], CLIENT)
    assert server.below.take().code == 0x80
    assert server.context.window.challenge is None


class Faster(ReplayWindow):
    """A window that another process has, too, which is faster than this one each time."""

    __slots__ = ()

    def mark(self, number):
        return False

    def offer(self, challenge):
        return None

    def start(self, number):
        return False


def test_what_another_process_accepted_first_is_a_replay():
    server = End("C.1.2")
    server.context.window = Faster()
    server.receive(request_of(1), CLIENT)
    assert server.above.got == []
    error = server.below.take()
    assert (error.code, error.payload, error.options.present >> 9 & 1) == (0x81, b"", 0)


def test_a_void_that_another_process_ended_first_is_not_ended_again():
    server = End("C.1.2", void=True)
    echo = challenge_of(server, 1)
    server.context.window = Faster(void=True)
    server.context.window.challenge = echo
    server.receive(request_of(2, message=Message(1, echo=echo)), CLIENT)
    assert server.above.got == []
    assert server.below.take().code == 0x81
    server.context.window.challenge = None
    slot = server.receive(request_of(3), CLIENT)[1]  # a challenge that cannot be kept is not sent
    assert server.below.sent == []
    assert slot.unanswered == 1


def test_a_challenge_confirms_nobody():
    server = End("C.1.2", void=True)
    outer = Address("victim")
    server.receive(request_of(1), outer)
    assert not outer.confirmed
    assert server.layer.addresses == {}


def test_challenges_are_rate_limited_for_each_context():
    server = End("C.1.2", void=True)
    slots = [server.receive(request_of(number), CLIENT)[1] for number in range(12)]
    assert len(server.below.sent) == 10
    assert [slot.unanswered for slot in slots] == [0] * 10 + [1] * 2
    server.scheduler.now += 1
    server.receive(request_of(13), CLIENT)
    assert len(server.below.sent) == 11


def test_a_request_that_is_none_is_challenged_too():
    server = End("C.1.2", void=True)
    server.receive(NEGATIVE["NEG-28"], CLIENT)
    assert opened(server.below.take(), b"\x1f")[:1] == b"\x81"


def test_without_echo_the_first_request_is_served_and_never_answered_under_its_own_nonce():
    """Its Partial IV may have been used before the window was lost, and so may the nonce of its response."""
    server = End("C.1.2", void=True)
    server.context.window.start_unproven()
    server.receive(C4["protected"], CLIENT)
    answer(server, server.above.take(), Message.decode(bytes.fromhex(C8["unprotected"])))
    assert wire(server.below.take()) == C8["protected"]


def test_a_challenge_waits_for_a_number_like_everything_else():
    server = End("C.1.2", void=True)
    server.numbers.limit = 0
    server.receive(request_of(1), CLIENT)
    assert server.below.sent == []
    server.numbers.grant()
    server.run()
    assert opened(server.below.take(), b"\x01")[:1] == b"\x81"


# Hostile bytes.


@given(st.binary(max_size=20), st.binary(max_size=40), st.integers(1, 31))
def test_any_option_and_payload_is_answered_or_dropped(option, payload, code):
    server = End("C.1.2")
    message = Message.inner(code, Options.received(((9, option),)), payload, CLIENT, b"t")
    message.mtype, message.mid, message.exchange = CON, 1, Slot()
    assert server.layer.dispatch_message(message)
    assert server.above.got == []
    assert server.below.take().code in {0x80, 0x81, 0x82}


@given(st.binary(max_size=40))
def test_any_plaintext_of_the_peer_is_a_request_or_a_protected_error(plaintext):
    server, client = End("C.1.2"), vectors.context("C.1.1")
    identifiers = client.outgoing(b"\x05")
    payload = client.aead_sender.encrypt(identifiers.nonce, plaintext, identifiers.aad)
    message = Message.inner(2, Options.received(((9, b"\x09\x05"),)), payload, CLIENT, b"t")
    message.mtype, message.mid, message.exchange = CON, 1, Slot()
    assert server.layer.dispatch_message(message)
    if not server.above.got:
        assert opened(server.below.take(), b"\x05") in {b"\x80", b"\x82"}


# The log.


def test_the_log_has_the_cause_and_no_key(caplog):
    caplog.set_level("INFO", "securecoap.events")
    server = End("C.1.2")
    server.receive(NEGATIVE["NEG-03"], CLIENT)
    server.receive(NEGATIVE["NEG-07"], CLIENT)
    server.receive(NEGATIVE["NEG-20"], CLIENT)
    server.receive(NEGATIVE["NEG-27"], CLIENT)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 4
    assert all("client" in text for text in texts)
    keys = vectors.rfc()["test_vectors"]["C.1.2"]
    for name in ("sender_key", "recipient_key", "common_iv"):
        assert not any(keys[name] in text for text in texts)


def test_the_log_does_not_grow_with_the_attack(caplog):
    caplog.set_level("INFO", "securecoap.events")
    server = End("C.1.2")
    for _ in range(100):
        server.receive(NEGATIVE["NEG-07"], CLIENT)
    assert len(caplog.records) == 10
