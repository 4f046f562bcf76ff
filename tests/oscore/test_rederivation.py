"""Appendix B.2 of RFC 8613: the run of the vectors, what is accepted and what not, and the whole stack after a loss."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.config import Limits
from securecoap.errors import RequestFailed, SessionEnded, UnprotectedResponse
from securecoap.interfaces import Exchange
from securecoap.oscore.address import OscoreAddress
from securecoap.oscore.rederivation import Rederivation, decode_kid_context, encode_kid_context
from securecoap.resources import ObservableResource, Site
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, Message
from securecoap.wire.options import Options
from tests.oscore import vectors
from tests.oscore.fakes import Address, Contexts, End, Scheduler
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

RUN = vectors.rfc()["computed_extra"]["appendix_B2_run"]
R1, R2, R3 = (bytes.fromhex(RUN["inputs"][name]) for name in ("R1", "R2", "R3"))
CLIENT, SERVER = Address("client"), Address("server")


class Fixed:
    """Gives out what the vectors say, in order."""

    def __init__(self, *values: bytes) -> None:
        self.values = list(values)

    def randbytes(self, n: int) -> bytes:
        value = self.values.pop(0)
        assert len(value) == n
        return value

    def uniform(self, a: float, _b: float) -> float:
        return a


def derivation(scheduler: Any, *, server: bool, randomness: Any = None, **more: Any) -> Rederivation:
    ids = (b"\x01", b"") if server else (b"", b"\x01")
    return Rederivation(
        vectors.SECRET, vectors.SALT, *ids, scheduler=scheduler, randomness=randomness or random.Random(5), **more
    )


class Told(Exchange):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


# The vectors.


@pytest.mark.parametrize("number", [0, 1, 2])
def test_contexts_of_a_run(number: int) -> None:
    expected = RUN["contexts"][number]
    context = derivation(Scheduler(), server=False).derive(bytes.fromhex(expected["id_context"]))
    assert context.sender_nonce(0).hex() == expected["common_iv"]
    assert context.kid_context == encode_kid_context(bytes.fromhex(expected["id_context"]))


def test_client_of_the_vectors() -> None:
    """Requests #1 and #2, bit by bit; response #1 as the vectors have it, with an R2 of 8 bytes."""
    client = End("C.1.1")
    base = derivation(client.scheduler, server=False, randomness=Fixed(R1, R3))
    first = base.for_request()
    told = Told()
    message = Message.inner(Code.GET, Options(), b"", OscoreAddress(first, SERVER), bytes.fromhex("b2"))
    message.options.uri_path = ("tv1",)
    message.exchange = told
    client.layer.send_message(message)
    sent = client.below.take()
    sent.mtype, sent.mid = CON, 0x3001
    assert sent.encode().hex() == RUN["request_1"]["protected"]
    client.receive(RUN["response_1"]["protected"], SERVER)
    assert [type(error) for error in told.errors] == [SessionEnded]
    assert told.errors[0].unprocessed  # type: ignore[attr-defined]  # as asserted
    assert client.above.got == []
    context = base.current
    assert context is not None
    assert context.id_context == R2 + R3
    second = Message.inner(Code.GET, message.options, b"", OscoreAddress(context, SERVER), bytes.fromhex("b3"))
    client.layer.send_message(second)
    sent = client.below.take()
    sent.mtype, sent.mid = CON, 0x3002
    assert sent.encode().hex() == RUN["request_2"]["protected"]
    client.receive(RUN["response_2"]["protected"], SERVER)
    assert client.above.take().payload == b"Hello World!"


def test_server_of_the_vectors() -> None:
    """Request #1 is answered with an R2, which is longer here, and with it request #2 is taken, once."""
    server = End("C.1.2")
    server.contexts.contexts.clear()
    base = derivation(server.scheduler, server=True, claims=(":device",))
    server.contexts.bases.append(base)
    base.listeners.append(lambda _old: server.contexts.contexts.append(base.current))
    server.receive(RUN["request_1"]["protected"], CLIENT)
    assert server.above.got == []
    challenge = server.below.take()
    assert challenge.code == Code.CHANGED
    assert challenge.remote is CLIENT
    value = challenge.options.oscore
    assert value is not None
    assert value[:3] == b"\x11\x00\x11"  # Partial IV 0; a kid context of 17 bytes, a CBOR byte string
    nonce = decode_kid_context(value[3:])
    assert nonce is not None
    peer = derivation(Scheduler(), server=False)
    second = peer.derive(nonce + R1)
    aad = bytes.fromhex(RUN["response_1"]["aad"])
    assert second.aead_recipient.decrypt(second.recipient_nonce(0), challenge.payload, aad) == b"\x81"
    assert base.current is None

    request = request_under(peer, nonce + R3, 0)
    server.receive(request, CLIENT)
    got = server.above.take()
    assert got.options.uri_path == ("tv1",)
    assert got.remote.authenticated_claims == (":device",)
    assert got.remote.generation == 1
    server.receive(request, Address("elsewhere"))  # the same sealed message: refused by the window of the new context
    assert server.above.got == []
    assert server.below.take().code == Code.UNAUTHORIZED
    # An R2 of before is worth nothing once a run has ended, whatever R3 is behind it: it only begins another run.
    current = base.current
    server.receive(request_under(peer, nonce + bytes(8), 0), CLIENT)
    assert server.above.got == []
    assert base.current is current
    assert server.below.take().options.oscore[:2] == b"\x11\x00"  # type: ignore[index]  # it is there


def request_under(peer: Rederivation, id_context: bytes, number: int, kid_context: bytes | None = None) -> bytes:
    context = peer.derive(id_context)
    if kid_context is not None:
        context.kid_context = kid_context
        context._option_tail = bytes((len(kid_context),)) + kid_context
    partial_iv = bytes((number,))
    identifiers = context.outgoing(partial_iv)
    sealed = context.aead_sender.encrypt(identifiers.nonce, b"\x01\xb3tv1", identifiers.aad)
    message = Message(Code.POST, sealed)
    message.mtype, message.mid, message.token = CON, number + 7, b"t"
    message.options.oscore = context.request_option(partial_iv)
    return message.encode()


# What is accepted, and what not.


def server_with(**more: Any) -> tuple[End, Rederivation]:
    server = End("C.1.2", **more)
    server.contexts.contexts.clear()
    base = derivation(server.scheduler, server=True)
    server.contexts.bases.append(base)
    return server, base


def test_another_key_derives_nothing() -> None:
    server, base = server_with()
    stranger = Rederivation(bytes(16), vectors.SALT, b"", b"\x01", scheduler=Scheduler(), randomness=random.Random(1))
    server.receive(request_under(stranger, R1, 0), CLIENT)
    assert server.below.take().code == Code.BAD_REQUEST
    assert base._keys == ()


@pytest.mark.parametrize(
    "kid_context", [b"", R1, b"\x40", b"\x49" + R1, b"\x58\x08" + R1, encode_kid_context(bytes(240))]
)
def test_a_kid_context_that_is_no_byte_string_finds_nothing(kid_context: bytes) -> None:
    server, base = server_with()
    server.receive(request_under(derivation(Scheduler(), server=False), R1, 0, kid_context), CLIENT)
    assert server.below.take().code == Code.UNAUTHORIZED
    assert base._keys == ()


def test_invitations_expire_and_are_not_kept() -> None:
    scheduler = Scheduler()
    base = derivation(scheduler, server=True)
    nonces = [base.invite() for _ in range(1_000)]
    assert len(set(nonces)) == 1_000
    assert all(base.is_invited(nonce + R3) for nonce in nonces)  # with nothing kept for any of them
    assert not base.is_invited(nonces[0])  # there has to be an R3
    assert not base.is_invited(bytes(16) + R3)
    scheduler.now += 61
    assert base.is_invited(nonces[-1] + R3)
    later = base.invite()
    assert base.is_invited(nonces[-1] + R3)  # with the key before
    scheduler.now += 61
    assert not base.is_invited(nonces[-1] + R3)
    assert base.is_invited(later + R3)
    base.invite()
    scheduler.now += 121
    assert not base.is_invited(later + R3)


def test_a_client_that_repeats_its_r1_makes_no_nonce_come_twice() -> None:
    """R3 equal to R1 is the context of response #1: the same key, whose nonce of number 0 has sealed that response."""
    server, base = server_with()
    base.listeners.append(lambda _old: server.contexts.contexts.append(base.current))
    peer = derivation(Scheduler(), server=False)
    server.receive(request_under(peer, R1, 0), CLIENT)
    nonce = decode_kid_context((server.below.take().options.oscore or b"")[3:])
    assert nonce is not None
    server.receive(request_under(peer, nonce + R1, 1), CLIENT)
    assert server.above.take().options.uri_path == ("tv1",)
    context = base.current
    assert context is not None
    assert context.sender is not None
    assert context.sender._numbers.next_number() == 1


def test_runs_are_rate_limited_and_beyond_it_is_5_03() -> None:
    server, _ = server_with()
    peer = derivation(Scheduler(), server=False)
    for number in range(12):
        server.receive(request_under(peer, R1 + bytes((number,)), 0), Address(f"from {number}"))
    codes = [message.code for message in server.below.sent]
    assert codes == [Code.CHANGED] * 10 + [Code.SERVICE_UNAVAILABLE] * 2
    assert server.below.sent[-1].options.oscore is None


def test_forged_requests_derive_so_often_in_a_second_and_keep_no_request_2_out() -> None:
    server, base = server_with()
    most = int(Limits().oscore_derivations_per_second)
    peer = derivation(Scheduler(), server=False)
    server.receive(request_under(peer, R1, 0), CLIENT)
    nonce = decode_kid_context(server.below.take().options.oscore[3:])  # type: ignore[index]  # it is there
    assert nonce is not None
    stranger = Rederivation(bytes(16), vectors.SALT, b"", b"\x01", scheduler=Scheduler(), randomness=random.Random(1))
    forged = request_under(stranger, R1, 0)
    for number in range(most + 5):
        server.receive(forged, Address(f"forged {number}"))
    codes = [message.code for message in server.below.sent]
    assert codes == [Code.BAD_REQUEST] * (most - 1) + [Code.SERVICE_UNAVAILABLE] * 6  # one was for the request #1
    server.below.sent.clear()
    server.receive(request_under(peer, R1 + R1, 1), CLIENT)  # an honest one waits for the next second, too
    assert server.below.take().code == Code.SERVICE_UNAVAILABLE
    server.receive(request_under(peer, nonce + R3, 0), CLIENT)
    assert server.above.take().options.uri_path == ("tv1",)
    assert base.current is not None


def test_a_request_1_has_no_other_effect() -> None:
    """Old ones can be sent again by anybody: the context in use stays, and so does what is under it."""
    server, base = server_with()
    peer = derivation(Scheduler(), server=False)
    context = base.derive(b"in use")
    base.accept(context)
    server.contexts.contexts.append(context)
    server.receive(request_under(peer, R1, 0), CLIENT)
    assert server.below.take().code == Code.CHANGED
    assert base.current is context
    assert server.layer.addresses == {}
    server.receive(request_under(peer, b"in use", 0), CLIENT)
    assert server.above.take().code == Code.GET


@pytest.mark.parametrize("change", ["kid context", "ciphertext", "code"])
def test_a_response_1_that_does_not_verify_changes_nothing(change: str) -> None:
    client = End("C.1.1")
    base = derivation(client.scheduler, server=False, randomness=Fixed(R1, R3))
    told = Told()
    message = Message.inner(Code.GET, Options(), b"", OscoreAddress(base.for_request(), SERVER), bytes.fromhex("b2"))
    message.exchange = told
    client.layer.send_message(message)
    answer = Message.decode(bytes.fromhex(RUN["response_1"]["protected"]), SERVER)
    if change == "kid context":
        answer.options = Options(((numbers.OSCORE, b"\x11\x00\x08" + R2),))
    elif change == "ciphertext":
        answer.payload = answer.payload[:-1] + b"x"
    else:
        second = derivation(Scheduler(), server=True).derive(R2 + R1)
        aad = bytes.fromhex(RUN["response_1"]["aad"])
        answer.payload = second.aead_sender.encrypt(second.sender_nonce(0), b"\x45\xffyes", aad)
    client.layer.dispatch_message(answer)
    assert told.errors == []
    assert base.current is None


def test_numbers_of_a_new_context_begin_at_0_and_end_at_the_last() -> None:
    base = derivation(Scheduler(), server=False)
    context = base.for_request()
    assert context.sender is not None
    numbers = context.sender._numbers
    assert [numbers.next_number() for _ in range(3)] == [0, 1, 2]
    numbers._next = 2**40 - 1  # type: ignore[attr-defined]  # of this kind
    assert [numbers.next_number() for _ in range(3)] == [2**40 - 1, 2**40, 2**40]


@given(st.binary(max_size=250))
def test_kid_contexts_round_trip(value: bytes) -> None:
    assert decode_kid_context(encode_kid_context(value)) == value


@given(st.binary(max_size=260))
def test_any_kid_context_is_one_byte_string_or_none(value: bytes) -> None:
    decoded = decode_kid_context(value)
    assert decoded is None or encode_kid_context(decoded) == value


# The whole stack.


class Counter(ObservableResource):
    def __init__(self) -> None:
        super().__init__()
        self.posts: list[bytes] = []

    def render_post(self, request: Message) -> Message:
        self.posts.append(request.payload)
        self.changed()
        return Message(Code.CHANGED, b"%d" % len(self.posts))

    def render_get(self, _request: Message) -> Message:
        return Message(payload=b"%d" % len(self.posts))


class Bases(Contexts):
    """A `ContextSource` with one derivation, as `SecurityContexts` has it."""

    def __init__(self, *, server: bool, seed: int) -> None:
        super().__init__()
        self.server = server
        self.seed = seed
        self.layer: Any = None
        self.lose()

    def lose(self) -> None:
        """Forget everything, as a process that is started anew."""
        loop = asyncio.get_running_loop()
        self.seed += 1
        base = derivation(loop, server=self.server, randomness=random.Random(self.seed), claims=(":peer",))
        base.listeners.append(self._replaced)
        self.bases[:] = [base]
        self.contexts.clear()
        self.client = base

    def _replaced(self, old: Any) -> None:
        self.contexts[:] = [self.bases[0].current]
        if old is not None:
            self.layer.release(old, SessionEnded("derived anew"))

    def find(self, kid: bytes, kid_context: bytes | None) -> list[Any]:
        return [one for one in super().find(kid, None) if kid_context in (None, one.kid_context)]

    def known(self, message: Message) -> Any:
        return False

    async def for_request(self, message: Message) -> Any:
        return self.bases[0].for_request()


def two(resource: Counter, seed: int, **network: Any) -> tuple[Pair, Bases, Bases]:
    site = Site()
    site.add("/x", resource)
    ours, theirs = Bases(server=False, seed=seed), Bases(server=True, seed=seed + 1_000)
    pair = Pair(site, seed, client_options={"contexts": ours}, server_options={"contexts": theirs}, **network)
    ours.layer, theirs.layer = pair.client.oscore, pair.server.oscore
    return pair, ours, theirs


@pytest.mark.parametrize("seed", range(3))
@virtual
async def test_two_who_begin_with_nothing(seed: int) -> None:
    resource = Counter()
    pair, ours, theirs = two(resource, seed, loss=0.2, duplication=0.2, delay=(0.01, 0.3))
    async with pair:
        answers = await asyncio.gather(*(pair.client.post("x", b"%d" % number) for number in range(5)))
        assert sorted(answer.payload for answer in answers) == [b"1", b"2", b"3", b"4", b"5"]
        assert sorted(resource.posts) == [b"%d" % number for number in range(5)]
        assert ours.bases[0].current.id_context == theirs.bases[0].current.id_context
        assert ours.bases[0].generation == 1  # one run for all
        assert all(not sent.code or sent.message.options.oscore is not None for sent in pair.network.sent)


@pytest.mark.parametrize("loser", ["client", "server"])
@virtual
async def test_who_loses_its_context_derives_another(loser: str) -> None:
    """A POST is carried out once, on a new address; the observation goes on as a new one; the old context is gone."""
    resource = Counter()
    pair, ours, theirs = two(resource, 3)
    async with pair:
        before = await pair.client.post("x", b"one")
        observing = pair.client.ask(Code.GET, "x", observe=0)
        assert (await observing.response).payload == b"1"
        lost = ours if loser == "client" else theirs
        old = {bases: bases.bases[0].current for bases in (ours, theirs)}
        if loser == "client":
            pair.client.oscore.release(old[ours])
        else:
            pair.server.oscore.release(old[theirs])
        lost.lose()
        after = await pair.client.post("x", b"two")
        assert after.payload == b"2"
        assert resource.posts == [b"one", b"two"]
        assert after.remote != before.remote
        assert observing.observation is not None
        async for notification in observing.observation:
            if notification.payload == b"2":
                break
        assert resource.observation_count == 1
        kept = theirs if loser == "client" else ours
        assert old[kept].retired
        assert kept.bases[0].generation == 2
        observing.cancel()
        await asyncio.sleep(5)


@virtual
async def test_a_server_that_derives_nothing_ends_the_run() -> None:
    pair, _, theirs = two(Counter(), 4)
    async with pair:
        theirs.bases.clear()
        with pytest.raises(UnprotectedResponse):
            await pair.client.post("x", b"one")


@virtual
async def test_a_run_without_an_answer_ends() -> None:
    pair, ours, _ = two(Counter(), 5, drop=lambda sent: sent.source == "server")
    async with pair:
        begun = asyncio.get_running_loop().time()
        for _ in range(2):
            with pytest.raises(RequestFailed):
                await pair.client.post("x", b"one")
            assert ours.bases[0]._run is None
        assert asyncio.get_running_loop().time() - begun <= 2 * 94


@virtual
async def test_an_answer_under_the_first_context_is_no_response_1() -> None:
    """Whoever knows the keys and derives nothing is not believed to be there; the run ends in time."""
    pair, ours, theirs = two(Counter(), 6)
    async with pair:
        theirs.find = lambda _kid, value: [  # type: ignore[method-assign]  # takes any ID Context as known
            accepted(theirs.bases[0].derive(decode_kid_context(value or b"") or b""))
        ]
        with pytest.raises(RequestFailed):
            await pair.client.post("x", b"one")
        assert ours.bases[0].current is None


def accepted(context: Any) -> Any:
    context.derivation._activate(context)
    return context


@virtual
async def test_a_run_ends_with_the_endpoint_that_carries_it() -> None:
    """Others of the process may wait for the same run, and are told at once."""
    pair, ours, _ = two(Counter(), 8, drop=lambda _sent: True)
    async with pair:
        base = ours.bases[0]
        asking = pair.client.ask(Code.POST, "x", b"one")
        await asyncio.sleep(1)
        base.abandon([pair.server.oscore])
        assert base._run is not None
        base.abandon([pair.client.oscore])
        assert base._run is None
        with pytest.raises(SessionEnded):
            async with asyncio.timeout(1):
                await asking.response
