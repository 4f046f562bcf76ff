"""Strangers and attackers at an EDHOC server: floods, replays, forgeries; nothing is kept for them beyond its bound."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from securecoap.config import Limits
from securecoap.edhoc.messages import encode_identifier, parse_error
from securecoap.edhoc.responder import HALF_OPEN_SECONDS
from securecoap.errors import HandshakeFailed
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, NON, Message
from securecoap.wire.options import Options
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Endpoint

from . import by_hand, material
from .material import CRED_I, CRED_R
from .stack import Agreed, edhoc_message, kind, post_edhoc
from .vectors import FIRST_ATTEMPT, INVALID, TRACE_2

MESSAGE_1 = b"\xf5" + TRACE_2["message_1_seq"]


def datagram(payload: bytes, mid: int, token: bytes = b"tokentok") -> bytes:
    message = edhoc_message(payload)
    message.mtype, message.mid, message.token = CON, mid, token
    return message.encode()


def answers_to(pair: Agreed, name: str) -> list[Message]:
    return [sent.message for sent in pair.network.between("server", name)]


class ByHand:
    """An initiator by hand, with the RFC's credential, that has had message_2."""

    def __init__(self, c_i: bytes = b"\x37") -> None:
        self.initiator = by_hand.Initiator(TRACE_2["SK_I"], CRED_I.encoded, TRACE_2["X_private"], c_i)

    async def begin(self, pair: Agreed) -> None:
        answer = await post_edhoc(pair, b"\xf5" + self.initiator.message_1)
        assert answer.code == Code.CHANGED
        assert answer.options.content_format == 64
        (exchange,) = list(pair.responder.exchanges._open.values())[-1:]
        self.c_r = exchange.c_r  # it is in message_2, too
        self.initiator.take_message_2(answer.payload, CRED_R.x, TRACE_2["id_cred_r_cbor"], CRED_R.encoded, self.c_r)
        self.message_3, (self.message_4, *_) = self.initiator.message_3(TRACE_2["id_cred_i_cbor"], b"\x2b")

    @property
    def envelope(self) -> bytes:
        return encode_identifier(self.c_r) + self.message_3


@virtual
async def test_an_exchange_by_hand() -> None:
    async with Agreed() as pair:
        hand = ByHand()
        await hand.begin(pair)
        assert (len(pair.responder.exchanges), len(pair.responder.sessions)) == (1, 0)
        answer = await post_edhoc(pair, hand.envelope, content_format=65)
        assert (answer.code, answer.payload) == (Code.CHANGED, hand.message_4)
        assert (len(pair.responder.exchanges), len(pair.responder.sessions)) == (0, 1)
        # The same message_3 again: its exchange is over.
        again = await post_edhoc(pair, hand.envelope)
        assert (again.code, parse_error(again.payload)) == (Code.BAD_REQUEST, "there is no such exchange")
        assert len(pair.responder.sessions) == 1


@virtual
async def test_the_messages_that_the_rfc_calls_invalid() -> None:
    async with Agreed() as pair:
        for field, data, why in INVALID:
            if field == "message_1":
                answer = await post_edhoc(pair, b"\xf5" + data)
                assert answer.code == Code.BAD_REQUEST, why
                assert answer.options.content_format == 64
                assert parse_error(answer.payload) is not None
        answer = await post_edhoc(pair, b"\xf5" + FIRST_ATTEMPT["message_1_seq"])
        assert (answer.code, answer.payload) == (Code.BAD_REQUEST, FIRST_ATTEMPT["error_seq"])
        assert (await post_edhoc(pair, MESSAGE_1)).code == Code.CHANGED
        assert len(pair.responder.exchanges) == len(pair.responder.identifiers) == 1


@virtual
async def test_what_is_no_message_of_edhoc() -> None:
    async with Agreed() as pair:
        for payload, options, code in (
            (b"", {}, Code.BAD_REQUEST), (b"\xf5", {}, Code.BAD_REQUEST), (b"\xf4", {}, Code.BAD_REQUEST),
            (b"\x05", {}, Code.BAD_REQUEST), (MESSAGE_1, {"content_format": 0}, Code.UNSUPPORTED_CONTENT_FORMAT),
        ):  # fmt: skip
            assert (await post_edhoc(pair, payload, **options)).code == code, payload
        message = edhoc_message(b"")
        message.code = Code.GET
        assert (await pair.outside.request(message).response).code == Code.METHOD_NOT_ALLOWED


@virtual
async def test_replayed_message_1_leaves_nothing_behind() -> None:
    async with Agreed() as pair:
        pair.network.inject("stranger", "server", datagram(MESSAGE_1, 1))
        for _ in range(5):  # the datagram itself: the stored answer, no further exchange
            pair.network.inject("stranger", "server", datagram(MESSAGE_1, 1))
        await settle()
        assert len(pair.responder.exchanges) == 1
        assert len({message.payload for message in answers_to(pair, "stranger")}) == 1
        for mid in range(2, 6):  # the message in new datagrams
            pair.network.inject("stranger", "server", datagram(MESSAGE_1, mid, b"token%d" % mid))
        await settle()
        assert len(pair.responder.exchanges) == 5
        await asyncio.sleep(HALF_OPEN_SECONDS + 1)
        assert len(pair.responder.exchanges) == len(pair.responder.identifiers) == 0
        assert (await pair.client.get("who")).code == Code.CONTENT


@virtual
async def test_a_flood_from_one_address_is_bounded_there() -> None:
    limits = Limits(edhoc_exchanges_per_peer=3)
    async with Agreed(limits=limits) as pair:
        hand = ByHand()
        await hand.begin(pair)
        for mid in range(200):
            pair.network.inject("stranger", "server", datagram(MESSAGE_1, mid, b"%08d" % mid))
        await settle()
        assert len(pair.responder.exchanges) == len(pair.responder.identifiers) == 4
        assert (await post_edhoc(pair, hand.envelope)).code == Code.CHANGED


@virtual
async def test_a_flood_from_many_addresses_is_bounded_and_leaves_known_peers_alone() -> None:
    limits = Limits(edhoc_exchanges=20)
    async with Agreed(limits=limits) as pair:
        hand = ByHand()
        await hand.begin(pair)
        pair.server.interface.address("outside").confirmed = True
        for mid in range(300):
            pair.network.inject(f"stranger-{mid}", "server", datagram(MESSAGE_1, mid))
        await settle()
        # From half of the room on, who does not show that it receives gets no further.
        assert len(pair.responder.exchanges) == len(pair.responder.identifiers) == 10
        (refusal,) = answers_to(pair, "stranger-299")
        assert (refusal.code, len(refusal.options.echo or b"")) == (Code.UNAUTHORIZED, 13)
        assert (await post_edhoc(pair, hand.envelope)).code == Code.CHANGED
        assert (await pair.client.get("who")).code == Code.CONTENT


@virtual
async def test_those_who_answer_an_echo_are_bounded_too() -> None:
    async with Agreed(limits=Limits(edhoc_exchanges=20)) as pair:
        exchanges, address = pair.responder.exchanges, pair.server.interface.address
        known = address("known")
        known.confirmed = True
        exchanges.message_1(MESSAGE_1[1:], known)
        for number in range(100):
            exchanges.message_1(MESSAGE_1[1:], address(f"stranger-{number}"))
            assert len(exchanges) == len(pair.responder.identifiers) == len(exchanges._by_remote) <= 20
        assert known in exchanges._by_remote
        for number in range(100):  # when all of them are confirmed the oldest goes
            remote = address(f"confirmed-{number}")
            remote.confirmed = True
            exchanges.message_1(MESSAGE_1[1:], remote)
        assert len(exchanges) == len(pair.responder.identifiers) == len(exchanges._by_remote) == 20
        assert known not in exchanges._by_remote


@virtual
async def test_sessions_are_bounded() -> None:
    limits = Limits(edhoc_sessions=4, edhoc_sessions_per_peer=3)
    async with Agreed(limits=limits) as pair:
        for _ in range(6):
            hand = ByHand()
            await hand.begin(pair)
            await post_edhoc(pair, hand.envelope)
        assert len(pair.responder.sessions) == len(pair.responder.identifiers) == 3


@virtual
async def test_message_3_is_taken_from_the_address_of_message_1_only() -> None:
    """Whoever guesses the one byte of C_R does not end the exchange of another."""
    async with Agreed() as pair:
        hand = ByHand()
        await hand.begin(pair)
        for value in (*range(0x18), *range(0x20, 0x38)):
            pair.network.inject(
                "stranger", "server", datagram(bytes((value,)) + b"\x52" + bytes(18), value, b"%08d" % value)
            )
        pair.network.inject("stranger", "server", datagram(hand.envelope, 999, b"lasttime"))
        await settle()
        assert all(message.code == Code.BAD_REQUEST for message in answers_to(pair, "stranger"))
        assert (await post_edhoc(pair, hand.envelope)).payload == hand.message_4


@pytest.mark.parametrize("spoil", ["ciphertext", "error", "length", "critical", "stranger"])
def test_a_message_3_that_is_not_acceptable_ends_its_exchange(spoil: str) -> None:
    @virtual
    async def test() -> None:
        async with Agreed() as pair:
            hand = ByHand()
            await hand.begin(pair)
            message_3, said = hand.message_3, "message_3: "
            if spoil == "ciphertext":
                message_3 = message_3[:-1] + bytes((message_3[-1] ^ 1,))
            elif spoil == "error":
                message_3, said = b"\x01\x64what", "there is no such exchange"
            elif spoil == "length":
                message_3, said = b"\x47" + bytes(7), "malformed"
            elif spoil == "critical":
                message_3, said = (
                    hand.initiator.message_3(TRACE_2["id_cred_i_cbor"], b"\x2b", b"\x38\x18")[0],
                    "critical",
                )
            else:
                message_3, said = (
                    hand.initiator.message_3(b"\xa1\x04\x41\x2a", b"\x2a")[0],
                    "does not know our credential",
                )
            answer = await post_edhoc(pair, encode_identifier(hand.c_r) + message_3)
            assert answer.code == Code.BAD_REQUEST
            assert said in (parse_error(answer.payload) or "")
            assert len(pair.responder.exchanges) == len(pair.responder.sessions) == len(pair.responder.identifiers) == 0
            assert (await post_edhoc(pair, hand.envelope)).code == Code.BAD_REQUEST

    test()


@virtual
async def test_a_claims_set_of_somebody_else_s_name() -> None:
    """By value, with the name of a known device and another key: it is another credential."""
    async with Agreed() as pair:
        forged = CRED_I.encoded.replace(CRED_I.x, CRED_R.x)
        hand = ByHand()
        hand.initiator.cred_i = forged
        await hand.begin(pair)
        message_3, _ = hand.initiator.message_3(b"\xa1\x0e" + forged, b"\xa1\x0e" + forged)
        answer = await post_edhoc(pair, encode_identifier(hand.c_r) + message_3)
        assert parse_error(answer.payload) == "the peer does not know our credential"
        assert len(pair.responder.sessions) == 0


@virtual
async def test_a_key_that_does_not_belong_to_the_credential() -> None:
    async with Agreed() as pair:
        hand = ByHand()
        hand.initiator.key = bytes(31) + b"\x07"
        await hand.begin(pair)
        answer = await post_edhoc(pair, hand.envelope)
        assert "does not verify" in (parse_error(answer.payload) or "")
        assert len(pair.responder.sessions) == 0


# Combined requests.


async def combined(pair: Agreed) -> bytes:
    """The datagram of a combined request, on its way."""
    pair.network.drop = lambda sent: kind(sent.message) == "combined"
    request = pair.client.ask(Code.POST, "who", b"once")
    await asyncio.sleep(0.5)
    (sent,) = pair.sent("combined")
    request.cancel()
    await settle()
    pair.network.drop = None
    return sent.data


def altered(data: bytes, mid: int, change: Any) -> bytes:
    message = Message.decode(data)
    message.mid, message.token = mid, b"%08d" % mid
    change(message)
    return message.encode()


@virtual
async def test_a_combined_request_is_carried_out_once() -> None:
    async with Agreed() as pair:
        data = await combined(pair)
        for _ in range(3):
            pair.network.inject("client", "server", data)
        await settle()
        assert pair.who.executed == [b"once"]
        pair.network.inject("client", "server", altered(data, 7, lambda _: None))
        pair.network.inject("stranger", "server", altered(data, 8, lambda _: None))

        # Without what EDHOC had of it, it is a replay.
        def stripped(message: Message) -> None:
            message.options = Options([pair for pair in message.options.pairs if pair[0] != numbers.EDHOC])
            message.payload = message.payload[19 + 1 :]

        pair.network.inject("stranger", "server", altered(data, 9, stripped))
        await settle()
        assert pair.who.executed == [b"once"]
        assert len(pair.responder.sessions) == 1
        assert {message.code for message in answers_to(pair, "stranger")} <= {Code.UNAUTHORIZED, Code.BAD_REQUEST}


@virtual
async def test_from_another_address_it_completes_nothing() -> None:
    async with Agreed() as pair:
        data = await combined(pair)
        pair.network.inject("stranger", "server", data)
        await settle()
        (answer,) = answers_to(pair, "stranger")
        assert (answer.code, answer.payload) == (Code.UNAUTHORIZED, b"")
        assert (len(pair.responder.sessions), len(pair.responder.exchanges)) == (0, 1)
        pair.network.inject("client", "server", data)
        await settle()
        assert pair.who.executed == [b"once"]


@pytest.mark.parametrize("spoil", ["message_3", "empty", "no byte string", "ciphertext", "twice", "no OSCORE"])
def test_combined_requests_that_are_not_acceptable(spoil: str) -> None:
    @virtual
    async def test() -> None:
        async with Agreed() as pair:
            data = await combined(pair)

            def change(message: Message) -> None:
                payload = bytearray(message.payload)
                if spoil == "message_3":
                    payload[5] ^= 1
                elif spoil == "empty":
                    del payload[1:]
                    payload[0] = 0x40
                elif spoil == "no byte string":
                    payload[0] = 0x05
                elif spoil == "ciphertext":
                    payload[-1] ^= 1
                elif spoil == "twice":
                    message.options = Options([*message.options.pairs, (numbers.EDHOC, b"")])
                else:
                    message.options = Options([pair for pair in message.options.pairs if pair[0] == numbers.EDHOC])
                message.payload = bytes(payload)

            pair.network.inject("client", "server", altered(data, 7, change))
            await settle()
            answer = pair.answers[-1].message
            assert answer.code == (Code.BAD_OPTION if spoil == "twice" else Code.BAD_REQUEST)
            if spoil in {"message_3", "empty", "no byte string"}:
                assert answer.options.content_format == 64
                assert parse_error(answer.payload) is not None
                assert answer.payload[0] == 1
            assert len(pair.responder.sessions) == (spoil == "ciphertext")
            assert pair.who.executed == []

    test()


@virtual
async def test_the_option_s_value_is_ignored() -> None:
    async with Agreed() as pair:
        data = await combined(pair)

        def change(message: Message) -> None:
            pairs = [(number, b"x" if number == numbers.EDHOC else value) for number, value in message.options.pairs]
            message.options = Options(pairs)

        pair.network.inject("client", "server", altered(data, 7, change))
        await settle()
        assert pair.who.executed == [b"once"]


@virtual
async def test_a_combined_request_to_an_endpoint_without_edhoc() -> None:
    async with Agreed() as pair:
        data = await combined(pair)
    async with Agreed(server={"*": {"unprotected": True}}) as other:
        other.network.inject("client", "server", data)
        await settle()
        assert [message.code for message in answers_to(other, "client")] == [Code.UNAUTHORIZED]


# An initiator and a server that misbehaves.


class Answering:
    """A server that answers EDHOC with what it is told."""

    def __init__(self, *answers: Message) -> None:
        self.answers = list(answers)

    def dispatch(self, request: Message) -> Message:
        return self.answers.pop(0) if self.answers else Message(Code.CHANGED, b"")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Message(Code.CHANGED, b""), "too short"),
        (Message(Code.CHANGED, b"\x58\x2b" + b"\xff" * 43), "malformed"),
        (Message(Code.CHANGED, TRACE_2["message_2_seq"]), "message_2"),
        (Message(Code.CHANGED, bytes(1000)), "too long"),
        (Message(Code.BAD_REQUEST, b"\x02\x06"), "cipher suites 6 only"),
        (Message(Code.BAD_REQUEST, b"\x01\x64\x1b[0m"), r"4\.00 \(\?\[0m\)"),
        (Message(Code.BAD_REQUEST, b"\xff"), r"4\.00 \(no reason given\)"),
        (Message(Code.NOT_FOUND), r"4\.04 \(there is no EDHOC\)"),
        (Message(Code.CONTENT, b"x"), r"2\.05"),
    ],
)
def test_answers_to_message_1_that_are_none(answer: Message, text: str) -> None:
    @virtual
    async def test() -> None:
        async with Agreed() as pair:
            await pair.server.close()
            site = Answering(answer)
            pair.server = Endpoint(pair.network, "server", site, seed=5)
            with pytest.raises(HandshakeFailed, match=text):
                await pair.client.get("who")
            assert len(pair.initiator.identifiers) == 0
            assert not pair.sent("combined")

    test()


@virtual
async def test_any_answer_is_a_failed_handshake() -> None:
    chance = random.Random(20)
    async with Agreed() as pair:
        await pair.server.close()
        answers = [Message(Code.CHANGED, chance.randbytes(chance.randrange(200))) for _ in range(100)]
        answers += [Message(Code.CHANGED, b"\x58\x2b" + CRED_R.x + chance.randbytes(11)) for _ in range(50)]
        pair.server = Endpoint(pair.network, "server", Answering(*answers), seed=5)
        for _ in range(150):
            with pytest.raises(HandshakeFailed):
                await pair.client.get("who")
        assert len(pair.initiator.identifiers) == len(pair.initiator.sessions) == 0


@virtual
async def test_an_echo_is_answered() -> None:
    """RFC 9528 appendix A.2: a server under load may ask whether the initiator receives."""
    async with Agreed() as pair:
        resource = pair._tree().find((".well-known", "edhoc"))
        assert resource is not None

        class Challenging:
            asked = 0

            def dispatch(self, request: Message) -> Message:
                if request.options.echo != b"value":
                    self.asked += 1
                    return Message(Code.UNAUTHORIZED, echo=b"value")
                return resource[0].dispatch(request)  # type: ignore[no-any-return]  # a DirectResource

        gate = Challenging()

        class Tree:
            def find(self, path: tuple[str, ...]) -> Any:
                return (gate, {}) if path == (".well-known", "edhoc") else pair.site.find(path)

        await pair.server.close()
        pair.server = Endpoint(pair.network, "server", Tree(), seed=5, contexts=pair.keyrings[1])
        assert (await pair.client.get("who")).payload == b"oscore :device"
        assert gate.asked == 1


@virtual
async def test_a_session_under_edhoc_does_not_begin_another() -> None:
    async with Agreed(server={**material.server(), "coap://*/*": ":device"}) as pair:
        answer = await pair.client.get("who")
        message = edhoc_message(MESSAGE_1)
        message.remote = answer.remote
        assert (await pair.client.request(message).response).code == Code.BAD_REQUEST
        assert len(pair.responder.exchanges) == 0


@virtual
async def test_our_own_credential_is_nobody_else_s() -> None:
    """RFC 9528 appendix D.5: with anybody, but not with ourselves."""
    mirror = material.server(**{
        "own-cred": material.EDHOC_OWN, "own-cred-style": "by-value", "private-key": material.EDHOC_KEY,
        "peer-cred": material.ANYBODY,
    })  # fmt: skip
    async with Agreed(material.client(**{"peer-cred": material.ANYBODY}), mirror) as pair:
        with pytest.raises(HandshakeFailed, match="our own key"):
            await pair.client.get("who")


@virtual
async def test_the_responder_takes_another_identifier_than_the_initiator() -> None:
    """RFC 9528 section 3.3.3: equal ones would be one key for both directions."""
    taken = [bytes((value,)) for value in (*range(0x18), *range(0x20, 0x38)) if value != 0x37]
    async with Agreed() as pair:
        pair.responder.identifiers._used.update(taken)  # C_I of the RFC's trace is all that is left of one byte
        hand = ByHand()
        await hand.begin(pair)
        assert len(hand.c_r) == 2


@virtual
async def test_a_group_is_not_asked() -> None:
    async with Agreed() as pair:
        pair.network.join("all", pair.server.interface)
        pair.network.transmit("stranger", "all", non(MESSAGE_1))
        await asyncio.sleep(20)
        assert answers_to(pair, "stranger") == []
        assert len(pair.responder.exchanges) == 0


def non(payload: bytes) -> bytes:
    message = edhoc_message(payload)
    message.mtype, message.mid, message.token = NON, 1, b"tokentok"
    return message.encode()
