"""CoAP over real UDP sockets on loopback: addresses, answers from where they were asked, groups, ICMP."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import struct
from typing import Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.core.client import ClientRequest
from securecoap.core.common import Common
from securecoap.core.echo import EchoValues
from securecoap.core.messages import MessageManager
from securecoap.core.serving import Server
from securecoap.core.tokens import TokenManager
from securecoap.errors import Unreachable, UriError
from securecoap.resources import Resource, Site
from securecoap.transports import datagram, udp
from securecoap.transports.datagram import open_socket
from securecoap.transports.resolver import Resolver, host_text, hostinfo
from securecoap.transports.udp import UdpInterface, packed_host
from securecoap.wire.codes import Code
from securecoap.wire.message import NON, Message
from tests.loopback import LINUX, needs_ipv6, needs_linux, real

PARAMETERS = TransportParameters(default_leisure=0.01)


class Hello(Resource):
    def __init__(self) -> None:
        self.seen: list[Message] = []

    def render_get(self, request: Message) -> Message:
        self.seen.append(request)
        return Message(payload=b"hello")


class Stack:
    def __init__(self, host: str, port: int = 0, *, packet_info: bool = True) -> None:
        self.loop = asyncio.get_running_loop()
        self.hello = Hello()
        site = Site()
        site.add("/hello", self.hello)
        chance = random.Random(1)
        echo = EchoValues(chance, self.loop.time)
        self.manager = MessageManager(self.loop, chance, echo, PARAMETERS)
        self.interface = self.manager.interface = UdpInterface(
            host, port, self.manager, self.loop, packet_info=packet_info
        )
        self.tokens = TokenManager(self.manager, Server(site, self.loop, chance, echo), chance, echo)
        self.manager.above = self.tokens
        self.port = self.interface.address[1]

    async def choose(self, message: Message) -> Any:
        assert await self.tokens.fill_or_recognize_remote(message)
        return self.tokens

    def request(self, uri: str, **options: Any) -> ClientRequest:
        message = Message(Code.GET, uri=uri, **options)
        return ClientRequest(message, Common(self.choose, self.loop, PARAMETERS, Limits(), random.Random(1)))

    async def get(self, uri: str, **options: Any) -> Message:
        async with asyncio.timeout(10):
            return await self.request(uri, **options).response

    async def close(self) -> None:
        self.tokens.close()
        self.manager.close()
        await self.manager.interface.shutdown()


class BareSocket:
    """A socket of a system that has neither ``recvmsg`` nor ``sendmsg``."""

    def __init__(self, host: str, port: int, inherited: socket.socket | None) -> None:
        self._socket = open_socket(host, port, inherited)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("recvmsg", "sendmsg")):
            raise AttributeError(name)
        return getattr(self._socket, name)


@pytest.mark.parametrize(
    ("bind", "target"), [("0.0.0.0", "127.0.0.1"), pytest.param("::", "[::1]", marks=needs_ipv6), ("127.0.0.1",) * 2]
)
@real
async def test_a_system_without_packet_information(monkeypatch: pytest.MonkeyPatch, bind: str, target: str) -> None:
    """The plain mode: the same interface over ``recvfrom`` and ``sendto`` alone."""
    monkeypatch.setattr(datagram, "_LINUX", False)
    monkeypatch.setattr(udp, "open_socket", BareSocket)
    for name in ("IPV6_RECVPKTINFO", "IPV6_PKTINFO"):
        monkeypatch.delattr(socket, name, raising=False)
    server, client = Stack(bind), Stack(bind)
    for confirmable in (True, False):
        response = await client.get(f"coap://{target}:{server.port}/hello", confirmable=confirmable)
        assert response.payload == b"hello"
        assert response.remote.hostinfo == f"{target}:{server.port}"
    first, second = server.hello.seen
    assert first.remote is second.remote
    assert first.remote.local is None
    assert not first.remote.is_multicast_locally
    await server.close()
    await client.close()


@pytest.mark.parametrize(
    ("bind", "client", "target"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0", "127.0.0.2"),
        pytest.param("::1", "::", "[::1]", marks=needs_ipv6),
        pytest.param("::", "::", "[::1]", marks=needs_ipv6),
        pytest.param("::", "::", "127.0.0.3", marks=needs_ipv6),
        pytest.param("::", "::", "localhost", marks=needs_ipv6),
    ],
)
@real
async def test_requests(bind: str, client: str, target: str) -> None:
    here, there = Stack(client, packet_info=False), Stack(bind)
    response = await here.get(f"coap://{target}:{there.port}/hello")
    assert response.payload == b"hello"
    assert response.remote.scheme == "coap"
    assert response.remote.security == "none"
    if target != "localhost":
        assert response.remote.hostinfo == f"{target}:{there.port}"
    (seen,) = there.hello.seen
    assert seen.remote.local_port == there.port
    if target != "localhost" and LINUX:
        assert seen.remote.local_host == target.strip("[]")
    await here.close()
    await there.close()


@needs_linux
@pytest.mark.parametrize("bind", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)])
@real
async def test_answers_leave_from_the_address_that_was_asked(bind: str) -> None:
    """Everything that answers: responses, acknowledgements, Resets, and a later separate message."""
    server = Stack(bind)
    loop = asyncio.get_running_loop()
    for host in ("127.0.0.1", "127.0.0.2", "127.9.9.9") + (("::1",) if bind == "::" else ()):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((host, server.port))
            for data, answer in (
                (b"\x40\x00\x00\x07", b"\x70\x00\x00\x07"),
                (b"\x40\x01\x00\x08\xff", b"\x70\x00\x00\x08"),
                (b"\x41\x01\x00\x09t\xb5hello", b"\x61\x45\x00\x09t\xffhello"),
            ):
                client.send(data)
                async with asyncio.timeout(10):
                    assert await loop.sock_recv(client, 100) == answer
    await server.close()


@needs_linux
@real
async def test_message_ids_count_for_each_local_address() -> None:
    server = Stack("0.0.0.0")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.bind(("127.0.0.1", 0))
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            client.sendto(b"\x41\x01\x00\x09t\xb5hello", (host, server.port))
            async with asyncio.timeout(10):
                _, source = await loop.sock_recvfrom(client, 100)
            assert source[0] == host
    assert len(server.hello.seen) == 2  # the third was a duplicate
    one, two = (request.remote for request in server.hello.seen)
    assert one == two  # the same peer, whichever address of ours it uses
    assert hash(one) == hash(two)
    assert one.dedup_offset != two.dedup_offset
    await server.close()


@needs_linux
@pytest.mark.parametrize(
    ("client", "target"),
    [
        ("127.0.0.1", "127.0.0.1"),
        pytest.param("::", "[::1]", marks=needs_ipv6),
        pytest.param("::", "127.0.0.1", marks=needs_ipv6),
    ],
)
@pytest.mark.parametrize("confirmable", [True, False])
@real
async def test_a_closed_port_is_unreachable_at_once(client: str, target: str, confirmable: bool) -> None:
    gone = Stack(target.strip("[]"))
    await gone.close()
    here = Stack(client, packet_info=False)
    request = here.request(f"coap://{target}:{gone.port}/hello", confirmable=confirmable)
    async with asyncio.timeout(10):
        with pytest.raises(Unreachable) as caught:
            await request.response
    assert caught.value.errno == errno.ECONNREFUSED
    await here.close()


@real
async def test_names_that_do_not_resolve() -> None:
    here = Stack("127.0.0.1")
    with pytest.raises(Unreachable):
        await here.get("coap://does-not-exist.invalid/hello")
    loop = asyncio.get_running_loop()
    with pytest.raises(Unreachable):
        await Resolver(loop, socket.AF_INET, "coap").resolve("[::1]")
    with pytest.raises(UriError):
        await Resolver(loop, socket.AF_INET, "coap").resolve("[::1")
    assert await Resolver(loop, socket.AF_INET, "coap").resolve("127.0.0.1") == ("127.0.0.1", 5683)
    mapped = await Resolver(loop, socket.AF_INET6, "coap").resolve("127.0.0.1:77")
    assert mapped == ("::ffff:127.0.0.1", 77, 0, 0)
    await here.close()


@real
async def test_what_an_interface_carries() -> None:
    here, other = Stack("127.0.0.1"), Stack("127.0.0.1")
    message = Message(Code.GET, uri=f"coap://127.0.0.1:{other.port}/hello")
    remote = await here.interface.determine_remote(message)
    assert remote is not None
    message.remote = remote
    assert await here.interface.determine_remote(message) is remote
    assert await other.interface.determine_remote(message) is None  # an address of another endpoint
    assert await here.interface.determine_remote(Message(Code.GET, uri="coaps://127.0.0.1/")) is None
    assert await here.interface.determine_remote(Message(Code.GET)) is None
    assert here.interface.endpoint == f"coap://127.0.0.1:{here.port}"
    assert "127.0.0.1" in repr(remote)
    await here.close()
    await other.close()


@real
async def test_several_binds_are_several_endpoints() -> None:
    one, two = Stack("127.0.0.1"), Stack("127.0.0.1")
    assert one.port != two.port
    client = Stack("127.0.0.1")
    first, second = await asyncio.gather(
        client.get(f"coap://127.0.0.1:{one.port}/hello"), client.get(f"coap://127.0.0.1:{two.port}/hello")
    )
    assert first.remote != second.remote
    assert one.hello.seen[0].remote != two.hello.seen[0].remote  # the same peer, at another endpoint of ours
    for stack in (one, two, client):
        await stack.close()
        await stack.interface.shutdown()  # harmless


@real
async def test_addresses_are_bounded_and_stay_equal() -> None:
    stack = Stack("127.0.0.1")
    interface = stack.interface
    first = interface._address(("10.0.0.1", 1))
    assert interface._address(("10.0.0.1", 1)) is first
    for number in range(10_000):
        interface._address(("10.0.0.2", number))
    assert len(interface._known) + len(interface._earlier) <= 2 * 4096
    again = interface._address(("10.0.0.1", 1))
    assert again is not first
    assert again == first
    assert hash(again) == hash(first)
    for number in range(6000):
        local = struct.pack("=I4s4s", 1, bytes(4), number.to_bytes(4, "big"))
        interface._address(("10.0.0.3", 1), local)
    assert len(interface._locals) <= 4096
    await stack.close()


# Groups (RFC 7252 section 8).


def group_is_usable(host: str, interface: str | None) -> str | None:
    """Why multicast cannot be used over loopback here, or ``None``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.getaddrinfo(f"{host}%{interface}" if interface else host, 0, family, socket.SOCK_DGRAM)[0][4]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
            receiver.bind(address)
            if family == socket.AF_INET6:
                member = socket.inet_pton(family, host) + struct.pack("@I", int(address[3]))  # type: ignore[misc]
                receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
            else:
                receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(host) + bytes(4))
            receiver.settimeout(0.5)
            sender.sendto(b"probe", (address[0], receiver.getsockname()[1], *address[2:]))
            receiver.recv(10)
    except OSError as error:
        return f"no multicast to {host} on this machine: {error}"
    return None


def usable_group(version: int) -> str:
    """A group's literal that works on this machine, or a skipped test with the reasons why none does."""
    if version == 4:
        reasons = [reason] if (reason := group_is_usable("224.0.1.187", None)) else []
        literals = ["224.0.1.187"]
    else:
        literals, reasons = [], []
        for _, name in socket.if_nameindex():
            reason = group_is_usable("ff02::fd", name)
            if reason is None:
                literals.append(f"ff02::fd%{name}")
            else:
                reasons.append(reason)
    if (version == 6 and not literals) or (version == 4 and reasons):
        pytest.skip("; ".join(reasons))
    return literals[0]


@pytest.mark.parametrize("version", [4, pytest.param(6, marks=needs_ipv6)])
@real
async def test_a_request_to_a_group(version: int) -> None:
    literal = usable_group(version)
    member, here = Stack(literal), Stack("::" if version == 6 else "0.0.0.0", packet_info=False)
    assert member.interface.is_multicast
    host = f"[{literal.replace('%', '%25')}]" if version == 6 else literal
    response = await here.get(f"coap://{host}:{member.port}/hello")
    assert response.payload == b"hello"
    assert not response.remote.is_multicast
    (seen,) = member.hello.seen
    assert seen.remote.is_multicast_locally
    assert seen.mtype == NON
    await member.close()
    await here.close()


# Text.


@pytest.mark.parametrize(
    ("address", "text", "info"),
    [
        (("127.0.0.1", 5683), "127.0.0.1", "127.0.0.1"),
        (("127.0.0.1", 99), "127.0.0.1", "127.0.0.1:99"),
        (("::1", 5683, 0, 0), "::1", "[::1]"),
        (("::1", 99, 0, 0), "::1", "[::1]:99"),
        (("::ffff:10.0.0.1", 5683, 0, 0), "10.0.0.1", "10.0.0.1"),
        (("fe80::1%lo", 5683, 0, 1), "fe80::1%lo", "[fe80::1%25lo]"),
    ],
)
def test_host_text(address: tuple[Any, ...], text: str, info: str) -> None:
    assert host_text(address) == text
    assert hostinfo(address, 5683) == info


def test_packed_hosts() -> None:
    assert packed_host(struct.pack("=I4s4s", 1, bytes([10, 0, 0, 9]), bytes([10, 0, 0, 1]))) == "10.0.0.1"
    assert packed_host(socket.inet_pton(socket.AF_INET6, "::1") + bytes(4)) == "::1"
    assert packed_host(socket.inet_pton(socket.AF_INET6, "::ffff:10.0.0.1") + bytes(4)) == "10.0.0.1"
