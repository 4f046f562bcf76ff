"""Every case of the OSCORE interop tests, OSC-00 to OSC-37, with client and server of our own on a simulated network.

The cases are those of the OSCORE test specification 5 and its reports (EricssonResearch/OSCOAP), in the numbering of the
behaviour checklist. What is seen on the wire is looked at there; what is inside, at the application's ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from securecoap.config import Limits
from securecoap.errors import RequestFailed, StateError, Unauthorized, UnprotectedResponse
from securecoap.oscore.sender import Sender
from securecoap.oscore.window import ReplayWindow
from securecoap.resources import ObservableResource, Resource, Site
from securecoap.wire import numbers
from securecoap.wire.block import Block
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, Message
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

if TYPE_CHECKING:
    from tests.simulation.network import Sent

HELLO = b"Hello World!"
LARGE = bytes(index % 251 for index in range(2080))


class Hello(Resource):
    """Answers with fixed options, and counts."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.requests: list[Message] = []

    def render_get(self, request: Message) -> Message:
        self.requests.append(request)
        return Message(Code.CONTENT, HELLO, content_format=0, **self.options)


class Six(Resource):
    def render_post(self, request: Message) -> Message:
        return Message(Code.CHANGED, request.payload, content_format=0)


class Seven(Resource):
    """Has ETag 7b; PUT only under that condition."""

    def __init__(self) -> None:
        super().__init__()
        self.value = b""
        self.requests: list[Message] = []

    def render_put(self, request: Message) -> Message:
        self.requests.append(request)
        if request.options.if_none_match or request.options.if_match not in ((), (b"\x7b",)):
            return Message(Code.PRECONDITION_FAILED)
        self.value = request.payload
        return Message(Code.CHANGED)


class Observed(ObservableResource):
    def __init__(self) -> None:
        super().__init__()
        self.state: Message = Message(Code.CONTENT, b"one", content_format=0)

    def render_get(self, _request: Message) -> Message:
        return self.state

    def set(self, message: Message) -> None:
        self.state = message
        self.changed()


class Large(Resource):
    def __init__(self) -> None:
        super().__init__()
        self.put: bytes = b""

    def render_get(self, _request: Message) -> Message:
        return Message(Code.CONTENT, LARGE)

    def render_put(self, request: Message) -> Message:
        self.put = request.payload
        return Message(Code.CHANGED)


class Deleted(Resource):
    def render_delete(self, _request: Message) -> Message:
        return Message(Code.DELETED)


class PlugTest:
    """A client with context A (or another) and a server with context B (or others), and the resources of the cases."""

    def __init__(self, client: Any = "C.1.1", *servers: Any, start: int = 0, **network: Any) -> None:
        loop = asyncio.get_running_loop()
        self.hello = {"coap": Hello(), "1": Hello(), "2": Hello(etag=b"\x2b"), "3": Hello(max_age=5)}
        self.seven, self.observed, self.large = Seven(), Observed(), Large()
        site = Site()
        for name, resource in self.hello.items():
            site.add(f"/oscore/hello/{name}", resource)
        for path, other in (
            ("/oscore/hello/6", Six()), ("/oscore/hello/7", self.seven), ("/oscore/observe1", self.observed),
            ("/oscore/observe2", self.observed), ("/oscore/test", Deleted()), ("/large", self.large),
        ):  # fmt: skip
            site.add(path, other)
        self.ours = vectors.context(client) if isinstance(client, str) else client
        made = [vectors.context(one) if isinstance(one, str) else one for one in servers or ("C.1.2",)]
        self.theirs = made[0]
        for context in made:
            context.sender = Sender(Numbers(), loop)
            context.claims = (":plug",)
        self.numbers = Numbers(start)
        self.contexts = Contexts()
        if self.ours is not None:
            self.ours.sender = Sender(self.numbers, loop)
            self.contexts = Contexts(self.ours)
            self.contexts.client = self.ours
        self.pair = Pair(
            site,
            client_options={"contexts": self.contexts},
            server_options={"contexts": Contexts(*made), "authorize": self._authorize},
            **network,
        )

    @staticmethod
    def _authorize(request: Message) -> None:
        if request.remote.security != "oscore" and request.options.uri_path != ("oscore", "hello", "coap"):
            raise Unauthorized

    async def __aenter__(self) -> Self:
        await self.pair.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pair.__aexit__(None, None, None)

    async def ask(self, code: Code, path: str, payload: bytes = b"", **options: Any) -> Message:
        return await self.pair.client.ask(code, path, payload, **options).response

    @property
    def requests(self) -> list[Message]:
        return [sent.message for sent in self.pair.network.from_("client") if sent.code]

    @property
    def responses(self) -> list[Message]:
        return [sent.message for sent in self.pair.network.from_("server") if sent.code]

    def check_outer(self, request: int = Code.POST, response: int = Code.CHANGED) -> tuple[Message, Message]:
        """One exchange, whose outer messages show nothing else."""
        (sent,), (answer,) = self.requests, self.responses
        assert (sent.code, answer.code) == (request, response)
        for message in (sent, answer):
            assert {number for number, _ in message.options.pairs} <= {numbers.OSCORE, numbers.OBSERVE}
        return sent, answer


@virtual
async def test_osc_00_plain_coap() -> None:
    async with PlugTest(None) as plug:
        answer = await plug.ask(Code.GET, "oscore/hello/coap")
        assert (answer.code, answer.payload, answer.options.content_format) == (Code.CONTENT, HELLO, 0)
        assert [message.code for message in (*plug.requests, *plug.responses)] == [Code.GET, Code.CONTENT]


@virtual
async def test_osc_01_get() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.GET, "oscore/hello/1")
        assert (answer.code, answer.payload, answer.options.content_format) == (Code.CONTENT, HELLO, 0)
        plug.check_outer()


@pytest.mark.parametrize("repeated", [False, True])
@virtual
async def test_osc_02_id_context(repeated: bool) -> None:
    """The client accepts a response that repeats kid and kid context, too."""
    async with PlugTest("C.3.1", "C.3.2") as plug:
        if repeated:
            plug.pair.client.interface.deliver = _with_option(  # type: ignore[method-assign]  # a peer of that kind
                plug.pair.client.interface.deliver, bytes.fromhex("180837cbf3210017a2d301")
            )
        answer = await plug.ask(Code.GET, "oscore/hello/1")
        assert (answer.code, answer.payload, answer.options.content_format) == (Code.CONTENT, HELLO, 0)
        sent, received = plug.check_outer()
        assert sent.options.oscore == bytes.fromhex("19000837cbf3210017a2d3")
        assert received.options.oscore == b""


def _with_option(deliver: Any, value: bytes) -> Any:
    def change(data: bytes, source: str, destination: str) -> Any:
        message = Message.decode(data)
        if message.options.oscore is None:
            return deliver(data, source, destination)
        changed = message.copy(oscore=value)
        changed.mtype, changed.mid, changed.token = message.mtype, message.mid, message.token
        return deliver(changed.encode(), source, destination)

    return change


@virtual
async def test_osc_03_query_and_etag_are_inside() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.GET, "oscore/hello/2", uri_query=("first=1",))
        assert (answer.code, answer.payload, answer.options.etag) == (Code.CONTENT, HELLO, b"\x2b")
        assert plug.hello["2"].requests[0].options.uri_query == ("first=1",)
        plug.check_outer()


@virtual
async def test_osc_04_the_inner_max_age_holds() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.GET, "oscore/hello/3", accept=0)
        assert (answer.code, answer.payload, answer.options.max_age) == (Code.CONTENT, HELLO, 5)
        _, received = plug.check_outer()
        outside = received.copy(max_age=0)  # a server may put it there, so that nobody stores the answer
        outside.mtype, outside.mid, outside.token = received.mtype, received.mid, received.token
        assert plug.hello["3"].requests[0].options.accept == 0


@virtual
async def test_osc_05_observe_of_what_is_not_observable() -> None:
    async with PlugTest() as plug:
        request = plug.pair.client.ask(Code.GET, "oscore/hello/1", observe=0)
        answer = await request.response
        assert (answer.code, answer.payload, answer.options.observe) == (Code.CONTENT, HELLO, None)
        assert request.observation is not None
        assert [notification async for notification in request.observation] == []
        sent, _ = plug.check_outer(Code.FETCH, Code.CHANGED)
        assert sent.options.observe == 0
        assert plug.hello["1"].requests[0].options.observe == 0


@virtual
async def test_osc_06_observe_until_an_error() -> None:
    async with PlugTest() as plug:
        request = plug.pair.client.ask(Code.GET, "oscore/observe1", observe=0)
        assert (await request.response).payload == b"one"
        assert request.observation is not None
        plug.observed.set(Message(Code.CONTENT, b"two", content_format=0))
        assert (await anext(request.observation)).payload == b"two"
        plug.observed.set(Message(Code.INTERNAL_SERVER_ERROR, b"Terminate Observe"))
        last = await anext(request.observation)
        assert (last.code, last.payload, last.options.observe) == (
            Code.INTERNAL_SERVER_ERROR, b"Terminate Observe", None,
        )  # fmt: skip
        assert [notification async for notification in request.observation] == []
        assert plug.observed.observation_count == 0
        (sent,) = plug.requests
        assert (sent.code, sent.options.observe) == (Code.FETCH, 0)
        assert [(one.code, one.options.observe is not None) for one in plug.responses] == [
            (Code.CONTENT, True), (Code.CONTENT, True), (Code.CHANGED, False),
        ]  # fmt: skip
        assert all(one.options.oscore for one in plug.responses[1:])  # each with a Partial IV of its own


@virtual
async def test_osc_07_cancellation() -> None:
    async with PlugTest() as plug:
        request = plug.pair.client.ask(Code.GET, "oscore/observe2", observe=0)
        await request.response
        assert request.observation is not None
        plug.observed.set(Message(Code.CONTENT, b"two", content_format=0))
        assert (await anext(request.observation)).payload == b"two"
        request.observation.cancel()
        await asyncio.sleep(3)
        assert plug.observed.observation_count == 0
        first, last = plug.requests
        assert (last.code, last.options.observe) == (Code.FETCH, 1)
        assert last.token == first.token
        assert last.options.oscore != first.options.oscore  # a new Partial IV
        assert plug.responses[-1].options.observe is None
        count = len(plug.responses)
        plug.observed.set(Message(Code.CONTENT, b"three", content_format=0))
        await asyncio.sleep(3)
        assert len(plug.responses) == count


@virtual
async def test_osc_08_post() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.POST, "oscore/hello/6", b"\x4a", content_format=0)
        assert (answer.code, answer.payload, answer.options.content_format) == (Code.CHANGED, b"\x4a", 0)
        plug.check_outer()


@virtual
async def test_osc_09_if_match_is_inside() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.PUT, "oscore/hello/7", b"\x7a", content_format=0, if_match=(b"\x7b",))
        assert (answer.code, answer.payload) == (Code.CHANGED, b"")
        assert plug.seven.value == b"\x7a"
        assert plug.seven.requests[0].options.if_match == (b"\x7b",)
        plug.check_outer()


@virtual
async def test_osc_10_if_none_match_fails_under_protection() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.PUT, "oscore/hello/7", b"\x8a", content_format=0, if_none_match=True)
        assert answer.code == Code.PRECONDITION_FAILED
        assert answer.remote.security == "oscore"
        assert plug.seven.value == b""
        plug.check_outer()


@virtual
async def test_osc_11_delete() -> None:
    async with PlugTest() as plug:
        assert (await plug.ask(Code.DELETE, "oscore/test")).code == Code.DELETED
        plug.check_outer()


async def refused(plug: PlugTest, code: Code) -> None:
    """The client is told of a security error, and nothing of what was in the answer."""
    with pytest.raises(UnprotectedResponse) as caught:
        await plug.ask(Code.GET, "oscore/hello/1")
    assert caught.value.code == code
    assert plug.hello["1"].requests == []
    (answer,) = plug.responses
    assert (answer.code, answer.options.oscore, answer.payload) == (code, None, b"")
    assert answer.options.max_age == 0  # and nobody stores it (section 8.2)


@virtual
async def test_osc_12_unknown_kid() -> None:
    async with PlugTest(vectors.context(sender_id=b"\x07")) as plug:
        await refused(plug, Code.UNAUTHORIZED)


@virtual
async def test_osc_13_wrong_sender_key() -> None:
    async with PlugTest() as plug:
        right, plug.ours.aead_sender = plug.ours.aead_sender, AESCCM(bytes(16), 8)
        await refused(plug, Code.BAD_REQUEST)
        plug.ours.aead_sender = right
        plug.numbers.next = 0  # the same Partial IV: the window has not moved
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO


@virtual
async def test_osc_14_wrong_recipient_key() -> None:
    """The response is dropped. It came in the acknowledgement, so that no further one goes out."""
    async with PlugTest() as plug:
        plug.ours.aead_recipient = AESCCM(bytes(16), 8)
        with pytest.raises(RequestFailed):
            await plug.ask(Code.GET, "oscore/hello/1")
        assert len(plug.hello["1"].requests) == 1
        assert [sent.mtype for sent in plug.pair.network.from_("server")] == [ACK]
        assert [sent.mtype for sent in plug.pair.network.from_("client")] == [CON]


@virtual
async def test_osc_15_replay() -> None:
    async with PlugTest() as plug:
        await plug.ask(Code.GET, "oscore/hello/1")
        plug.numbers.next = 0
        with pytest.raises(UnprotectedResponse) as caught:
            await plug.ask(Code.GET, "oscore/hello/1")
        assert caught.value.code == Code.UNAUTHORIZED
        assert len(plug.hello["1"].requests) == 1
        first, second = plug.requests
        assert first.options.oscore == second.options.oscore
        assert first.mid != second.mid
        assert first.token != second.token


@pytest.mark.parametrize("code", [Code.BAD_OPTION, Code.METHOD_NOT_ALLOWED])
@virtual
async def test_osc_16_a_server_without_oscore(code: Code) -> None:
    """It does not know the critical option; the client does not ask again without protection."""
    async with PlugTest(drop=lambda sent: sent.destination == "plain") as plug:
        plug.pair.network._interfaces["plain"] = plug.pair.server.interface  # a name that resolves
        asking = plug.pair.client.ask(Code.GET, "oscore/hello/coap", host="plain")
        await asyncio.sleep(0.1)
        (sent,) = plug.pair.network.from_("client")
        answer = Message(code)
        answer.mtype, answer.mid, answer.token = ACK, sent.mid, sent.message.token
        plug.pair.network.inject("plain", "client", answer.encode())
        with pytest.raises(UnprotectedResponse) as caught:
            await asking.response
        assert caught.value.code == code
        await asyncio.sleep(100)
        assert sent.message.options.oscore is not None
        assert len(plug.requests) == 1


@virtual
async def test_osc_17_a_client_without_oscore() -> None:
    async with PlugTest(None) as plug:
        answer = await plug.ask(Code.GET, "oscore/hello/1")
        assert (answer.code, answer.payload) == (Code.UNAUTHORIZED, b"")
        assert plug.hello["1"].requests == []


@virtual
async def test_osc_20_inner_block2() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.GET, "large", block2=Block(0, more=False, size_exponent=5))
        assert answer.payload == LARGE
        assert len(plug.requests) == 5
        assert len({message.options.oscore for message in plug.requests}) == 5
        assert all(message.options.block2 is None for message in (*plug.requests, *plug.responses))


@virtual
async def test_osc_21_inner_block1() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.PUT, "large", LARGE, block1=Block(0, more=False, size_exponent=5))
        assert answer.code == Code.CHANGED
        assert plug.large.put == LARGE
        assert [message.code for message in plug.responses] == [Code.CHANGED] * 5  # 2.31 is inside
        assert all(message.options.block1 is None for message in (*plug.requests, *plug.responses))


@pytest.mark.parametrize("size", [500, 5000])
@virtual
async def test_osc_22_outer_blocks(size: int) -> None:
    """A proxy cuts the protected message: it is put together before decryption, and beyond the bound discarded."""
    async with PlugTest(limits=Limits(unfragmented_bytes=4096)) as plug:
        context = vectors.context()
        identifiers = context.outgoing(b"\x00")
        inner = b"\x02\xb6oscore\x05hello\x016\xff" + bytes(size)
        sealed = context.aead_sender.encrypt(identifiers.nonce, inner, identifiers.aad)
        pieces = [sealed[at : at + 512] for at in range(0, len(sealed), 512)]
        for index, piece in enumerate(pieces):
            part = Message(Code.POST, piece, block1=Block(index, more=index + 1 < len(pieces), size_exponent=5))
            part.options.oscore = context.request_option(b"\x00")
            part.mtype, part.mid, part.token = CON, 100 + index, b"proxy"
            plug.pair.network.inject("proxy", "server", part.encode())
        last = plug.responses[-1]
        if size == 500:
            assert last.options.oscore == b""
            received = context.aead_recipient.decrypt(identifiers.nonce, last.payload, identifiers.aad)
            assert received == b"\x44\xc0\xff" + bytes(size)
        else:
            assert Code.REQUEST_ENTITY_TOO_LARGE in [answer.code for answer in plug.responses]
            assert last.code in (Code.REQUEST_ENTITY_TOO_LARGE, Code.REQUEST_ENTITY_INCOMPLETE)
            assert last.options.oscore is None
            assert plug.theirs.window.highest == -1  # nothing was decrypted


@virtual
async def test_osc_23_a_lost_response_is_repeated_bit_by_bit() -> None:
    lost: list[Sent] = []

    def drop(sent: Sent) -> bool:
        if sent.source == "server" and not lost:
            lost.append(sent)
            return True
        return False

    async with PlugTest(drop=drop) as plug:
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO
        first, second = plug.pair.network.from_("server")
        assert first.data == second.data
        one, two = plug.pair.network.from_("client")
        assert one.data == two.data
        assert len(plug.hello["1"].requests) == 1


@virtual
async def test_osc_24_a_token_with_leading_zeros() -> None:
    async with PlugTest() as plug:
        plug.pair.network.inject("client", "server", _sealed(vectors.context(), 0, token=bytes.fromhex("0000a1")))
        (answer,) = plug.responses
        assert answer.token == bytes.fromhex("0000a1")


def _sealed(
    context: Any, number: int, *, token: bytes = b"t", inner: bytes = b"\x01\xb6oscore\x05hello\x011", outer: Any = None
) -> bytes:
    partial_iv = bytes((number,))
    identifiers = context.outgoing(partial_iv)
    message = Message(Code.POST, context.aead_sender.encrypt(identifiers.nonce, inner, identifiers.aad))
    for name, value in (outer or {}).items():
        setattr(message.options, name, value)
    message.options.oscore = context.request_option(partial_iv)
    message.mtype, message.mid, message.token = CON, 0x3000 + number, token
    return message.encode()


@virtual
async def test_osc_25_an_option_of_one_zero_byte() -> None:
    """We send it empty; one zero byte, which deployed servers send, is read as that."""
    async with PlugTest() as plug:
        plug.pair.client.interface.deliver = _with_option(  # type: ignore[method-assign]  # such a server
            plug.pair.client.interface.deliver, b"\x00"
        )
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO
        assert plug.responses[0].options.oscore == b""


@virtual
async def test_osc_26_an_inner_oscore_option() -> None:
    async with PlugTest() as plug:
        inner = b"\x01\x91\x09\x26oscore\x05hello\x011"
        plug.pair.network.inject("client", "server", _sealed(vectors.context(), 0, inner=inner))
        assert plug.hello["1"].requests == []
        (answer,) = plug.responses
        assert answer.options.oscore is not None  # the error is protected: the message was authentic


@pytest.mark.parametrize("client", ["C.1.1", "C.3.1"])
@virtual
async def test_osc_27_kid_context_selects_among_contexts_of_one_kid(client: str) -> None:
    async with PlugTest(client, "C.1.2", "C.3.2") as plug:
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO
        context = plug.hello["1"].requests[0].remote.context
        assert context.id_context == plug.ours.id_context


@virtual
async def test_osc_28_a_notification_with_outer_2_04() -> None:
    async with PlugTest() as plug:
        deliver = plug.pair.client.interface.deliver
        plug.pair.client.interface.deliver = (  # type: ignore[method-assign]  # an old server
            lambda data, source, destination: (
                deliver(data[:1] + b"\x44" + data[2:], source, destination)
                if data[1] == Code.CONTENT
                else deliver(data, source, destination)
            )
        )
        request = plug.pair.client.ask(Code.GET, "oscore/observe1", observe=0)
        assert (await request.response).payload == b"one"
        assert request.observation is not None
        plug.observed.set(Message(Code.CONTENT, b"two", content_format=0))
        assert (await anext(request.observation)).payload == b"two"
        request.observation.cancel()


@virtual
async def test_osc_29_outer_options_are_in_order() -> None:
    async with PlugTest() as plug:
        await plug.ask(Code.GET, "oscore/hello/1", uri_host="server", observe=0)
        sent = plug.requests[0]
        assert [number for number, _ in sent.options.pairs] == [numbers.URI_HOST, numbers.OBSERVE, numbers.OSCORE]
        data = plug.pair.network.from_("client")[0].data
        at = 4 + (data[0] & 15)
        assert data[at] == 0x36  # Uri-Host, six bytes
        assert data[at + 7] >> 4 == numbers.OBSERVE - numbers.URI_HOST
        assert data[at + 8] >> 4 == numbers.OSCORE - numbers.OBSERVE


@virtual
async def test_osc_30_notifications_out_of_order() -> None:
    async with PlugTest() as plug:
        request = plug.pair.client.ask(Code.GET, "oscore/observe1", observe=0)
        await request.response
        held: list[tuple[bytes, str, str]] = []
        deliver = plug.pair.client.interface.deliver
        plug.pair.client.interface.deliver = lambda *datagram: held.append(datagram)  # type: ignore[method-assign]
        for payload in (b"two", b"three"):
            plug.observed.set(Message(Code.CONTENT, payload, content_format=0))
            await asyncio.sleep(0.5)
            plug.pair.network.inject("client", "server", b"\x60\x00" + held[-1][0][2:4])  # acknowledged
        plug.pair.client.interface.deliver = deliver  # type: ignore[method-assign]  # as it was
        seen = []
        for datagram in (held[-1], held[0], held[0]):
            data, source, destination = datagram
            changed = data[:2] + bytes((data[2] ^ len(seen) + 1, data[3] ^ 0x55)) + data[4:]  # no duplicate below
            deliver(changed, source, destination)
            await asyncio.sleep(0.1)
            seen.append(len(seen))
        assert request.observation is not None
        assert (await anext(request.observation)).payload == b"three"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(request.observation)
        request.observation.cancel()


@virtual
async def test_osc_31_a_server_that_lost_its_window() -> None:
    async with PlugTest("C.1.1", vectors.context("C.1.2", window=ReplayWindow(void=True))) as plug:
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO
        assert len(plug.hello["1"].requests) == 1
        challenge, answer = plug.responses
        assert challenge.code == Code.CHANGED  # 4.01 is inside
        assert challenge.options.oscore  # with a Partial IV of its own
        assert answer.options.oscore == b""
        assert len(plug.requests) == 2


# OSC-32: the four messages of appendix B.2 are in test_rederivation.py, bit by bit and over the whole stack.


@virtual
async def test_osc_33_the_last_sequence_number() -> None:
    async with PlugTest(start=2**40 - 1) as plug:
        assert (await plug.ask(Code.GET, "oscore/hello/1")).payload == HELLO
        assert plug.requests[0].options.oscore == b"\x0d\xff\xff\xff\xff\xff"
        with pytest.raises(StateError):
            await plug.ask(Code.GET, "oscore/hello/1")
        assert len(plug.requests) == 1


@virtual
async def test_osc_34_proxy_uri() -> None:
    async with PlugTest() as plug:
        answer = await plug.ask(Code.GET, "", proxy_uri="coap://example.com/resource?q=1")
        assert answer.code == Code.PROXYING_NOT_SUPPORTED  # our server is no proxy
        (sent,) = plug.requests
        assert sent.options.proxy_uri == "coap://example.com"
        context = vectors.context("C.1.2")
        plaintext = context.aead_recipient.decrypt(
            context.recipient_nonce(0), sent.payload, context.incoming(b"\x00", 0)[0]
        )
        assert plaintext == b"\x01\xb8resource\x43q=1"


@pytest.mark.parametrize(("inner", "answers"), [(b"\x01\xb6oscore\x05hello\x011\xd1\xea\x1a", 0), (None, 1)])
@virtual
async def test_osc_35_no_response_is_inner(inner: bytes | None, answers: int) -> None:
    async with PlugTest() as plug:
        more = {} if inner is None else {"inner": inner}
        outer = {"no_response": 26} if inner is None else {}
        plug.pair.network.inject("client", "server", _sealed(vectors.context(), 0, outer=outer, **more))
        await asyncio.sleep(1)
        assert len(plug.hello["1"].requests) == 1
        assert len(plug.responses) == answers


@virtual
async def test_osc_36_options_that_an_intermediary_injects() -> None:
    async with PlugTest() as plug:
        outer = {"if_match": (b"\x01",), "uri_path": ("oscore", "test")}
        plug.pair.network.inject("client", "server", _sealed(vectors.context(), 0, outer=outer))
        (request,) = plug.hello["1"].requests
        assert request.options.if_match == ()
        assert request.options.uri_path == ("oscore", "hello", "1")


@virtual
async def test_osc_37_the_other_side_asks() -> None:
    """Roles change, identifiers and keys do not."""
    async with PlugTest() as plug:
        site = Site()
        site.add("/back", Hello())
        plug.pair.client.server.find = site.find
        await plug.ask(Code.GET, "oscore/hello/1")
        back = Message(Code.GET)
        back.remote = plug.hello["1"].requests[0].remote
        back.options.uri_path = ("back",)
        answer = await plug.pair.server.request(back).response
        assert answer.payload == HELLO
        asked = plug.pair.network.from_("server")[-1].message
        assert asked.options.oscore == b"\x09\x00\x01"  # kid 01: the server's Sender ID, as before


@virtual
async def test_an_observation_is_renewed() -> None:
    """Section 7.3: after Max-Age without a word the client registers again, and the server has one observation of it."""
    async with PlugTest() as plug:
        plug.observed.state = Message(Code.CONTENT, b"one", content_format=0, max_age=5)
        request = plug.pair.client.ask(Code.GET, "oscore/observe1", observe=0)
        await request.response
        await asyncio.sleep(60)
        registrations = [message for message in plug.requests if message.options.observe == 0]
        assert len(registrations) >= 2
        assert len({message.options.oscore for message in registrations}) == len(registrations)
        assert len({message.token for message in registrations}) == 1
        assert plug.observed.observation_count == 1
        assert request.observation is not None
        request.observation.cancel()
        await asyncio.sleep(3)
