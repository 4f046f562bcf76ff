"""EDHOC in the whole stack: one handshake for many requests, claims, concurrency, loss, renewal and recovery."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.errors import CredentialsMissing, HandshakeFailed, RequestTimeout, SessionEnded
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import settle, virtual

from . import material
from .stack import Agreed, kind

DEVICE = b"oscore :device"


@virtual
async def test_two_round_trips_and_no_handshake_after_that() -> None:
    async with Agreed() as pair:
        for _ in range(5):
            answer = await pair.client.get("who")
            assert (answer.code, answer.payload) == (Code.CONTENT, DEVICE)
        assert [kind(sent.message) for sent in pair.requests if sent.code] == ["message_1", "combined", *["oscore"] * 4]
        assert len({answer.remote for answer in [await pair.client.get("who") for _ in range(3)]}) == 1
        assert answer.remote.authenticated_claims == ("coap://server/*",)
        assert len(pair.responder.sessions) == len(pair.initiator.sessions) == 1
        assert len(pair.responder.exchanges) == 0
        assert len(pair.responder.identifiers) == len(pair.initiator.identifiers) == 1


@virtual
async def test_nothing_of_the_request_is_on_the_wire() -> None:
    async with Agreed() as pair:
        await pair.client.post("who", b"a secret")
        everything = b"".join(sent.data for sent in pair.network.sent)
        assert b"secret" not in everything
        assert b"\x83who" not in everything
        assert b"42-50-31" not in everything  # by reference: no name is sent


@pytest.mark.parametrize("own", ["by-key-id", "by-value"])
@pytest.mark.parametrize("theirs", ["by-key-id", "by-value"])
@pytest.mark.parametrize("combined", [True, False])
def test_every_way_to_send_credentials_and_message_3(own: str, theirs: str, combined: bool) -> None:
    @virtual
    async def test() -> None:
        client = material.client(**{"own-cred-style": own, "use-combined-edhoc": combined})
        async with Agreed(client, material.server(**{"own-cred-style": theirs})) as pair:
            assert (await pair.client.get("who")).payload == DEVICE
            assert len(pair.sent("message_3")) == (not combined)
            assert len(pair.sent("combined")) == combined

    test()


@virtual
async def test_many_requests_at_the_start_share_one_handshake() -> None:
    async with Agreed() as pair:
        answers = await asyncio.gather(*(pair.client.post("who", b"%d" % number) for number in range(20)))
        assert [answer.payload for answer in answers] == [b"%d" % number for number in range(20)]
        assert sorted(pair.who.executed) == sorted(answer.payload for answer in answers)
        assert len(pair.sent("message_1")) == len(pair.sent("combined")) == 1


@virtual
async def test_a_slow_first_answer_does_not_keep_the_others_waiting() -> None:
    """The acknowledgement shows that message_3 has arrived."""
    async with Agreed() as pair:
        slow = pair.client.ask(Code.PUT, "who", b"30")
        fast = pair.client.ask(Code.GET, "who")
        began = pair.loop.time()
        assert (await fast.response).payload == DEVICE
        assert pair.loop.time() - began < 1
        assert (await slow.response).payload == b"30"
        assert len(pair.sent("message_1")) == 1


@virtual
async def test_a_bad_network_costs_no_further_handshake() -> None:
    for seed in range(6):
        async with Agreed(seed=seed, loss=0.2, duplication=0.2, delay=(0.0, 0.3)) as pair:
            try:
                answers = await asyncio.gather(*(pair.client.post("who", b"%d" % number) for number in range(6)))
            except HandshakeFailed:
                continue  # ten seconds were not enough
            assert sorted(pair.who.executed) == sorted(answer.payload for answer in answers)
            assert len(pair.sent("message_1")) == 1


@virtual
async def test_a_lost_combined_request_is_sent_again_as_it_was() -> None:
    async with Agreed() as pair:
        pair.drop_next(lambda sent: sent.code == Code.POST and kind(sent.message) == "combined", 2)
        answers = await asyncio.gather(pair.client.get("who"), pair.client.get("who"))
        assert [answer.payload for answer in answers] == [DEVICE, DEVICE]
        assert len(pair.sent("combined")) == 1
        assert len([sent for sent in pair.requests if sent.code == 2 and kind(sent.message) == "combined"]) == 3


@virtual
async def test_large_and_unconfirmed_requests_have_message_3_go_first() -> None:
    for options in ({"payload": b"x" * 2000}, {"payload": b"x", "confirmable": False}):
        async with Agreed() as pair:
            answer = await pair.client.post("who", **options)
            assert answer.payload == options["payload"]
            assert len(pair.sent("message_3")) == 1
            assert not pair.sent("combined")


@virtual
async def test_two_credentials_or_two_servers_are_two_sessions() -> None:
    credentials = {**material.client("coap://server/who"), **material.client("coap://server/door")}
    async with Agreed(credentials) as pair:
        assert (await pair.client.get("who")).payload == DEVICE
        assert (await pair.client.get("door")).payload == b"open"
        assert len(pair.sent("message_1")) == len(pair.responder.sessions) == 2


# Who may what.


@virtual
async def test_a_pattern_for_every_path_lets_devices_come_and_strangers_not() -> None:
    credentials = {**material.server(beside={"claims": ["reader"]}), "coap://*/*": ":device"}
    async with Agreed(server=credentials) as pair:
        assert (await pair.client.get("who")).payload == b"oscore :device reader"
    async with Agreed({}, credentials) as pair:
        assert (await pair.client.get("who")).code == Code.UNAUTHORIZED


@virtual
async def test_another_device_than_the_path_is_for() -> None:
    credentials = {**material.server(), ":other": {"oscore": OTHER}, "coap://*/who": ":other"}
    async with Agreed(server=credentials) as pair:
        assert (await pair.client.get("who")).code == Code.FORBIDDEN
        assert (await pair.client.get("door")).payload == b"open"


OTHER = {"secret": {"hex": "00" * 16}, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}


@virtual
async def test_identifiers_are_none_of_a_configured_context() -> None:
    free = (0x01, 0x2A)  # two of them: one may be the client's
    taken = [value for value in (*range(0x18), *range(0x20, 0x38)) if value not in free]
    contexts = {
        f":{value}": {"oscore": {**OTHER, "sender-id": {"hex": "ff"}, "recipient-id": {"hex": f"{value:02x}"}, "salt": {"hex": f"{value:02x}"}}}
        for value in taken
    }  # fmt: skip
    async with Agreed(server={**material.server(), **contexts}) as pair:
        assert (await pair.client.get("who")).payload == DEVICE
        (session,) = pair.responder.sessions
        assert session.context.recipient_id in {bytes((value,)) for value in free}


@virtual
async def test_unauthenticated_clients_prove_nothing() -> None:
    anonymous = {"own-cred": material.ANYBODY, "own-cred-style": None, "private-key": None}
    server = {
        **material.server(":guest", **{"peer-cred": material.ANYBODY}),
        "coap://*/door": ":guest",
    }
    async with Agreed(material.client(**anonymous), server) as pair:
        assert (await pair.client.get("door")).payload == b"open"
        assert (await pair.client.get("who")).code == Code.FORBIDDEN
    # Without such an entry there is no session at all.
    async with Agreed(material.client(**anonymous)) as pair:
        with pytest.raises(HandshakeFailed, match="the credential is not known"):
            await pair.client.get("who")
        refusal = pair.answers[-1].message
        assert (refusal.code, refusal.payload[0], refusal.options.content_format) == (Code.BAD_REQUEST, 1, 64)
        assert len(pair.responder.sessions) == len(pair.responder.identifiers) == 0


@virtual
async def test_a_server_that_may_be_anybody_has_no_claims() -> None:
    client = material.client(**{"peer-cred": material.ANYBODY})
    async with Agreed(client, material.server(**{"own-cred-style": "by-value"})) as pair:
        answer = await pair.client.get("who")
        assert answer.payload == DEVICE
        assert answer.remote.authenticated_claims == ()
    async with Agreed(client) as pair:  # by reference to what nobody knows
        with pytest.raises(HandshakeFailed, match="did not send its credential"):
            await pair.client.get("who")


@virtual
async def test_another_server_than_the_one_that_is_meant() -> None:
    impostor = material.server(**{
        "own-cred": material.EDHOC_OWN, "private-key": material.EDHOC_KEY, "peer-cred": material.ANYBODY,
    })  # fmt: skip
    async with Agreed(server=impostor) as pair:
        with pytest.raises(HandshakeFailed, match="does not verify"):
            await pair.client.post("who", b"a secret")
        await settle()
        assert pair.who.executed == []
        assert not pair.sent("combined")
        assert len(pair.initiator.identifiers) == 0
        await asyncio.sleep(1)
        assert len(pair.responder.exchanges) == 0  # it was told, and need not wait


@virtual
async def test_a_client_that_nobody_knows_fails_with_all_its_requests() -> None:
    stranger = material.client(**{"own-cred": material.ANYBODY, "own-cred-style": None, "private-key": None})
    async with Agreed(stranger) as pair:
        results = await asyncio.gather(*(pair.client.get("who") for _ in range(10)), return_exceptions=True)
        assert {type(one) for one in results} == {HandshakeFailed}
        assert len(pair.sent("message_1")) == 1
        assert len(pair.initiator.sessions) == len(pair.initiator.identifiers) == 0


@virtual
async def test_a_server_without_edhoc() -> None:
    for server in ({":other": {"oscore": OTHER}}, {"*": {"unprotected": True}}):
        async with Agreed(server=server) as pair:
            with pytest.raises(HandshakeFailed, match=r"4\.0"):
                await pair.client.get("who")
            assert pair.sent("plain") == []


@virtual
async def test_a_server_that_does_not_answer() -> None:
    async with Agreed() as pair:
        pair.network.drop = lambda sent: sent.destination == "server"
        began = pair.loop.time()
        with pytest.raises(HandshakeFailed, match="no answer in time"):
            await pair.client.get("who")
        assert pair.loop.time() - began == pytest.approx(10)
        sent = len(pair.requests)
        await asyncio.sleep(200)
        assert len(pair.requests) == sent
        assert len(pair.initiator.identifiers) == 0


@virtual
async def test_what_cannot_be_used_sends_nothing() -> None:
    for changes in ({"method": 0}, {"suite": 3}, {"peer-cred": None}):
        async with Agreed(material.client(**changes)) as pair:
            with pytest.raises(CredentialsMissing):
                await pair.client.get("who")
            assert pair.requests == []


# Cancellation.


@virtual
async def test_the_handshake_goes_on_as_long_as_somebody_waits() -> None:
    async with Agreed() as pair:
        first, second = pair.client.ask(Code.GET, "who"), pair.client.ask(Code.GET, "who")
        await asyncio.sleep(0.005)
        first.cancel()
        assert (await second.response).payload == DEVICE
        assert len(pair.sent("message_1")) == 1


@virtual
async def test_a_handshake_that_nobody_waits_for_ends() -> None:
    async with Agreed() as pair:
        pair.network.drop = lambda sent: sent.destination == "server"
        requests = [pair.client.ask(Code.GET, "who") for _ in range(3)]
        await asyncio.sleep(1)
        for request in requests:
            request.cancel()
        await settle()
        sent = len(pair.requests)
        await asyncio.sleep(100)
        assert len(pair.requests) == sent
        assert len(pair.initiator.identifiers) == 0
        pair.network.drop = None
        assert (await pair.client.get("who")).payload == DEVICE


@virtual
async def test_who_waits_takes_over_when_the_first_request_is_given_up() -> None:
    async with Agreed() as pair:
        pair.network.drop = lambda sent: kind(sent.message) == "combined"
        first, second = pair.client.ask(Code.GET, "who"), pair.client.ask(Code.POST, "who", b"x")
        await asyncio.sleep(3)
        pair.network.drop = None
        first.cancel()
        assert (await second.response).payload == b"x"
        assert len(pair.sent("message_1")) == 2  # nobody knows whether the first message_3 arrived
        assert len(pair.initiator.sessions) == len(pair.initiator.identifiers) == 1


@virtual
async def test_a_first_request_without_answer_does_not_stop_the_others() -> None:
    async with Agreed() as pair:
        lost = 0

        def drop(sent: Any) -> bool:
            nonlocal lost
            is_first = kind(sent.message) == "combined" and lost < 5
            lost += is_first
            return is_first

        pair.network.drop = drop
        first = pair.client.ask(Code.POST, "who", b"1")
        await asyncio.sleep(20)
        second = pair.client.ask(Code.POST, "who", b"2")
        with pytest.raises(RequestTimeout):
            await first.response
        assert (await second.response).payload == b"2"
        assert pair.who.executed == [b"2"]
        assert len(pair.sent("message_1")) == 2


@virtual
async def test_a_claim_that_nobody_uses_is_given_up() -> None:
    async with Agreed() as pair:
        message = Message(Code.GET)
        message.scheme, message.unresolved_remote = "coap", "server"
        assert await pair.client.tokens.fill_or_recognize_remote(message)
        assert (await pair.client.get("who")).payload == DEVICE
        assert len(pair.sent("message_1")) == 2


@virtual
async def test_closing_ends_what_waits() -> None:
    pair = Agreed()
    async with pair:
        await pair.client.get("door")
        slow = pair.client.ask(Code.PUT, "who", b"50")
        await asyncio.sleep(1)
        for keyring in pair.keyrings:
            await keyring.close()
        with pytest.raises(SessionEnded):
            await slow.response
        pair.keyrings[0].attach(pair.loop)
        pair.network.drop = lambda sent: sent.destination == "server"
        request = pair.client.ask(Code.POST, "who")
        await asyncio.sleep(1)
        await pair.keyrings[0].close()
        with pytest.raises(SessionEnded):
            await request.response
        assert len(pair.initiator.identifiers) == len(pair.responder.identifiers) == 0
    assert pair.loop.timers() == []  # type: ignore[attr-defined]  # a VirtualLoop


# Renewal.


@virtual
async def test_a_session_is_renewed_before_it_ends() -> None:
    limits = Limits(edhoc_session_seconds=1000.0)
    async with Agreed(limits=limits) as pair:
        first = await pair.client.get("who")
        await asyncio.sleep(850)
        assert (await pair.client.get("who")).remote == first.remote
        await asyncio.sleep(60)
        slow = pair.client.ask(Code.PUT, "who", b"20")  # begins in a new session ...
        second = await pair.client.get("who")
        assert second.remote != first.remote
        assert len(pair.sent("message_1")) == 2
        assert (await slow.response).payload == b"20"
        await asyncio.sleep(100)
        assert len(pair.initiator.sessions) == len(pair.initiator.identifiers) == 1  # ... and the old one goes
        assert (await pair.client.get("who")).remote == second.remote
        await asyncio.sleep(1000)
        assert len(pair.responder.sessions) == len(pair.responder.identifiers) == 0


@virtual
async def test_what_is_under_way_outlives_the_renewal() -> None:
    async with Agreed(limits=Limits(edhoc_session_seconds=1000.0)) as pair:
        await pair.client.get("who")
        await asyncio.sleep(895)
        slow = pair.client.ask(Code.PUT, "who", b"30")
        await asyncio.sleep(10)
        await pair.client.get("who")
        assert len(pair.sent("message_1")) == 2
        assert (await slow.response).payload == b"30"
        assert pair.who.executed == [b"30"]


@virtual
async def test_half_of_the_numbers_are_enough() -> None:
    async with Agreed() as pair:
        first = await pair.client.get("who")
        (session,) = pair.initiator.sessions
        session.numbers.following = 1 << 39
        second = await pair.client.get("who")
        assert second.remote != first.remote
        assert len(pair.sent("message_1")) == 2


@virtual
async def test_an_observation_goes_on_in_the_next_session() -> None:
    async with Agreed(limits=Limits(edhoc_session_seconds=1000.0)) as pair:
        request = pair.client.ask(Code.GET, "door", observe=0)
        first = await request.response
        assert first.payload == b"open"
        assert request.observation is not None
        await asyncio.sleep(1010)
        pair.door.set(b"shut")
        seen = await anext(request.observation)
        while seen.payload != b"shut":
            seen = await anext(request.observation)
        assert seen.remote != first.remote
        assert len(pair.sent("message_1")) == 2
        request.cancel()
        await asyncio.sleep(1)


@virtual
async def test_a_credential_that_expires_ends_its_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = {"not-after": "2030-01-01T00:00:00Z"}
    now = 1_893_456_000.0 - 500
    monkeypatch.setattr("securecoap.keyring.time.time", lambda: now)
    async with Agreed(server=material.server(beside=beside)) as pair:
        assert (await pair.client.get("who")).payload == DEVICE
        await asyncio.sleep(499)
        assert len(pair.responder.sessions) == 1
        await asyncio.sleep(2)
        assert len(pair.responder.sessions) == len(pair.responder.identifiers) == 0


@virtual
async def test_a_session_that_lasts_no_time_is_not_asked_for_again_and_again() -> None:
    async with Agreed(limits=Limits(edhoc_session_seconds=0.0)) as pair:
        with pytest.raises(SessionEnded):
            await pair.client.post("who", b"x")
        assert len(pair.sent("message_1")) == 1
        await asyncio.sleep(1)
        assert len(pair.initiator.identifiers) == 0


# Recovery.


@virtual
async def test_a_server_that_has_forgotten_costs_a_safe_request_nothing() -> None:
    async with Agreed() as pair:
        before = await pair.client.get("who")
        await pair.restart_server()
        after = await pair.client.get("who")
        assert after.payload == DEVICE
        assert after.remote != before.remote
        assert len(pair.sent("message_1")) == 2
        assert len(pair.initiator.sessions) == len(pair.initiator.identifiers) == 1


@virtual
async def test_a_server_that_has_forgotten_fails_an_unsafe_request_once() -> None:
    async with Agreed() as pair:
        await pair.client.get("who")
        await pair.restart_server()
        with pytest.raises(SessionEnded):
            await pair.client.post("who", b"1")
        assert (await pair.client.post("who", b"2")).payload == b"2"
        assert pair.who.executed == [b"2"]


@virtual
async def test_many_requests_to_a_server_that_has_forgotten_make_one_handshake() -> None:
    async with Agreed() as pair:
        await pair.client.get("who")
        await pair.restart_server()
        answers = await asyncio.gather(*(pair.client.get("who") for _ in range(8)))
        assert {answer.payload for answer in answers} == {DEVICE}
        assert len(pair.sent("message_1")) == 2


@virtual
async def test_a_client_that_starts_again_is_let_in_again() -> None:
    async with Agreed() as pair:
        await pair.client.get("who")
        for _ in range(12):
            await pair.keyrings[0].close()
            pair.keyrings[0].attach(pair.loop)
            assert (await pair.client.get("who")).payload == DEVICE
        assert len(pair.responder.sessions) == Limits().edhoc_sessions_per_peer
        assert len(pair.responder.identifiers) == Limits().edhoc_sessions_per_peer


@virtual
async def test_a_forged_refusal_does_not_end_the_old_session() -> None:
    async with Agreed() as pair:
        first = await pair.client.get("who")
        observed = pair.client.ask(Code.GET, "door", observe=0)
        await observed.response
        pair.network.drop = lambda sent: sent.destination == "server"
        request = pair.client.ask(Code.POST, "who", b"x")
        await asyncio.sleep(0.1)
        outer = pair.requests[-1].message
        forged = Message.inner(Code.UNAUTHORIZED, Message(Code.UNAUTHORIZED).options, b"", None, outer.token)
        forged.mtype, forged.mid = 2, outer.mid
        pair.network.inject("server", "client", forged.encode())
        with pytest.raises(SessionEnded):
            await request.response
        with pytest.raises(HandshakeFailed):  # no other session comes about ...
            await pair.client.post("who", b"y")
        pair.network.drop = None
        pair.door.set(b"shut")
        assert observed.observation is not None
        seen = await anext(observed.observation)  # ... and what stood on the old one still does
        assert (seen.payload, seen.remote) == (b"shut", first.remote)
        observed.cancel()
        await asyncio.sleep(1)


@virtual
async def test_other_unprotected_answers_say_nothing_about_the_session() -> None:
    async with Agreed(parameters=TransportParameters()) as pair:
        await pair.client.get("who")
        (session,) = pair.initiator.sessions
        agreement = session.context.agreement
        assert agreement is not None
        assert agreement.refused(Code.SERVICE_UNAVAILABLE, b"") is None
        assert (await pair.client.get("who")).payload == DEVICE
        assert len(pair.sent("message_1")) == 1


@virtual
async def test_a_session_that_is_there_takes_no_waiting() -> None:
    async with Agreed(limits=Limits(edhoc_session_seconds=1000.0)) as pair:

        def recognized() -> Any:
            message = Message(Code.GET)
            message.scheme, message.unresolved_remote = "coap", "server"
            return message.remote if pair.client.tokens.recognize_remote(message) else None

        assert recognized() is None
        slow = pair.client.ask(Code.PUT, "who", b"1")
        await asyncio.sleep(0.03)
        assert recognized() is None  # message_3 may not have arrived
        assert (await slow.response).remote == recognized()
        await asyncio.sleep(950)
        assert recognized() is None  # the next request makes a new one
        assert len(pair.sent("message_1")) == 1


@virtual
async def test_somebody_on_the_way_may_ask_the_first_request_for_an_echo() -> None:
    """RFC 9175 section 2.3: it is sent again, with message_3, which nobody has seen yet."""
    async with Agreed() as pair:
        pair.network.drop = lambda sent: kind(sent.message) == "combined"
        request = pair.client.ask(Code.POST, "who", b"x")
        await asyncio.sleep(0.1)
        (first,) = pair.sent("combined")
        challenge = Message.inner(Code.UNAUTHORIZED, Message(echo=b"value").options, b"", None, first.message.token)
        challenge.mtype, challenge.mid = 2, first.mid
        pair.network.drop = None
        pair.network.inject("server", "client", challenge.encode())
        assert (await request.response).payload == b"x"
        second = pair.sent("combined")[1].message
        assert second.options.echo == b"value"
        assert pair.who.executed == [b"x"]
        assert len(pair.sent("message_1")) == 1
