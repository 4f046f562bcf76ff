"""A tracer sees what goes by and changes nothing; without one there is nothing between the layers."""

from __future__ import annotations

from securecoap import Code, Context, Message, Resource, Site
from securecoap.oscore.layer import OscoreLayer
from securecoap.transports.udp import UdpInterface
from securecoap.wire.message import ACK, CON
from tests.loopback import real

LOOPBACK = ["coap://127.0.0.1:0"]


class Hello(Resource):
    def render_get(self, request):
        return Message(payload=b"hello")


class Recorder:
    """A tracer that notes what it is shown."""

    def __init__(self):
        self.seen = []

    def sent(self, message):
        self.seen.append(("sent", message.mtype, message.code, message.payload))

    def received(self, message):
        self.seen.append(("received", message.mtype, message.code, message.payload))

    def protecting(self, message):
        self.seen.append(("protecting", message.code, message.options.uri_path, message.payload))

    def opened(self, message):
        self.seen.append(("opened", message.code, message.payload))

    def malformed(self, datagram, remote):
        self.seen.append(("malformed", datagram, remote.hostinfo))

    def failed(self, error, remote):
        self.seen.append(("failed", type(error), remote.hostinfo))

    def handshake(self, datagram, peer, *, is_sent):
        self.seen.append(("handshake", datagram[0], is_sent))


def site():
    site = Site()
    site.add("/hello", Hello())
    return site


KEYS = {"psk": {"hex": "000102030405060708090a0b0c0d0e0f"}, "client-identity": {"ascii": "device"}}
OSCORE = {"secret": {"hex": "0102030405060708090a0b0c0d0e0f10"}}


@real
async def test_both_ends_of_a_plain_exchange():
    there, here = Recorder(), Recorder()
    async with Context.server(site(), bind=LOOPBACK, tracer=there) as server, Context.client(tracer=here) as client:
        answer = await client.get(f"{server.endpoints[0]}/hello")
    assert answer.payload == b"hello"
    assert here.seen == [("sent", CON, Code.GET, b""), ("received", ACK, Code.CONTENT, b"hello")]
    assert there.seen == [("received", CON, Code.GET, b""), ("sent", ACK, Code.CONTENT, b"hello")]


@real
async def test_dtls():
    here = Recorder()
    credentials = {":device": {"dtls": KEYS}}
    bind = [one.replace("coap:", "coaps:") for one in LOOPBACK]
    async with (
        Context.server(site(), bind=bind, credentials=credentials) as server,
        Context.client({"coaps://*": {"dtls": KEYS}}, tracer=here) as client,
    ):
        await client.get(f"{server.endpoints[0]}/hello")
        messages = [one for one in here.seen if one[0] != "handshake"]
        flights = [one[1:] for one in here.seen if one[0] == "handshake"]
    assert messages == [("sent", CON, Code.GET, b""), ("received", ACK, Code.CONTENT, b"hello")]
    assert flights[:4] == [(22, True), (22, False), (22, True), (22, False)]


@real
async def test_oscore(tmp_path):
    here = Recorder()
    server_entry = {
        ":device": {"oscore": {**OSCORE, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}, "echo": False}}
    }
    client_entry = {"coap://*": {"oscore": {**OSCORE, "sender-id": {"hex": "02"}, "recipient-id": {"hex": "01"}}}}
    async with (
        Context.server(site(), bind=LOOPBACK, credentials=server_entry, state=tmp_path / "server") as server,
        Context.client(client_entry, state=tmp_path / "client", tracer=here) as client,
    ):
        await client.get(f"{server.endpoints[0]}/hello")
    protecting, sent, received, opened = here.seen
    assert protecting == ("protecting", Code.GET, ("hello",), b"")
    assert sent[:3] == ("sent", CON, Code.POST)
    assert received[:3] == ("received", ACK, Code.CHANGED)
    assert opened == ("opened", Code.CONTENT, b"hello")


@real
async def test_without_a_tracer_nothing_stands_between():
    async with Context.server(site(), bind=LOOPBACK) as server:
        (stack,) = server._stacks
        assert type(stack.manager.interface) is UdpInterface
        assert type(stack.manager.interface._above) is type(stack.manager)
        assert type(stack.tokens.below) is OscoreLayer
        assert stack.tokens.below.above is stack.tokens


@real
async def test_credentials_reach_the_message_layer_through_a_tracer():
    recorder = Recorder()
    credentials = {":device": {"dtls": KEYS}}
    async with Context.server(site(), bind=LOOPBACK, credentials=credentials, tracer=recorder) as server:
        (stack,) = server._stacks
        above = stack.manager.interface._above
        assert above.client_credentials is stack.manager.client_credentials
        above.client_credentials = None
        assert stack.manager.client_credentials is None
