"""The DTLS interface over loopback sockets: sessions as addresses, and their ends (RFC 7252 section 9.1)."""

from __future__ import annotations

import asyncio
import gc
import socket
import stat
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits, TransportParameters
from securecoap.credentials import CredentialsMap
from securecoap.dtls.parameters import DtlsParameters
from securecoap.errors import (
    ConfigurationError,
    CredentialsMissing,
    HandshakeFailed,
    RequestFailed,
    SessionEnded,
    Unreachable,
)
from securecoap.events import Events
from securecoap.transports.datagram import DatagramSocket
from securecoap.transports.dtls import DtlsInterface
from securecoap.transports.dtls_address import DtlsAddress
from securecoap.transports.key_log import key_log_file
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, NON, RST, Message

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"sixteen byte key"
SERVER = CredentialsMap.from_dict(
    {
        ":sensor-17": {"dtls": {"client-identity": b"sensor-17", "psk": KEY}, "claims": ["reader"]},
        ":sensor-18": {"dtls": {"client-identity": b"sensor-18", "psk": KEY}},
    }
)


def client_map(identity: bytes = b"sensor-17", key: bytes = KEY) -> CredentialsMap:
    return CredentialsMap.from_dict({"coaps://*": {"dtls": {"client-identity": identity, "psk": key}}})


class Above:
    """Stands for the message layer, and lets a test wait for what comes."""

    client_credentials = None

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.errors: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
        self.malformed: list[bytes] = []

    def dispatch_message(self, message: Message) -> bool:
        self.messages.put_nowait(message)
        return True

    def dispatch_malformed(self, datagram: bytes, remote: Any) -> None:
        self.malformed.append(datagram)

    def dispatch_error(self, error: Any, remote: Any) -> None:
        self.errors.put_nowait((error, remote))

    def dispatch_quoted_error(self, error: Any, remote: Any, datagram: bytes) -> None:
        raise AssertionError


class Ends:
    """A server and any number of clients."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.interfaces: list[DtlsInterface] = []

    def serve(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> DtlsInterface:
        options.setdefault("find_psk", lambda identity: SERVER.find_psk(identity, 0.0))
        return self.make(host, port, select=lambda message: None, **options)

    def client(
        self, credentials: CredentialsMap | None = None, host: str = "127.0.0.1", **options: Any
    ) -> DtlsInterface:
        known = credentials or client_map()

        def select(message: Message):
            return known.select("coaps", "127.0.0.1", 5684, (), Code.GET, now=0.0).dtls

        return self.make(host, 0, select=options.pop("select", select), **options)

    def make(self, host: str, port: int, **options: Any) -> DtlsInterface:
        interface = DtlsInterface(host, port, Above(), self.loop, **options)
        self.interfaces.append(interface)
        return interface

    async def close(self) -> None:
        for interface in self.interfaces:
            await interface.shutdown()


def run(test: Any) -> None:
    """Run a coroutine function with a pair of ends; nothing may be left open."""

    async def main() -> None:
        ends = Ends()
        try:
            async with asyncio.timeout(30):
                await test(ends)
        finally:
            await ends.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def request_for(server: DtlsInterface, host: str = "127.0.0.1") -> Message:
    return Message(Code.GET, uri=f"coaps://{host}:{server.address[1]}/temperature")


async def connect(client: DtlsInterface, server: DtlsInterface, host: str = "127.0.0.1") -> DtlsAddress:
    remote = await client.determine_remote(request_for(server, host))
    assert type(remote) is DtlsAddress
    return remote


def message_to(
    remote: DtlsAddress, mtype: int = CON, mid: int = 1, code: int = Code.GET, token: bytes = b"tt"
) -> Message:
    message = Message(code, b"x" if code == Code.PUT else b"")
    message.mtype, message.mid, message.token, message.remote = mtype, mid, token, remote
    return message


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110  # one turn of the loop: a name being resolved has no event
        await asyncio.sleep(0)


def test_a_request_and_its_answer_over_one_session():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        client.send(message_to(remote))
        request = await server._above.messages.get()
        assert (request.code, request.mid, request.token) == (Code.GET, 1, b"tt")
        at_server = request.remote
        assert at_server.authenticated_claims == (":sensor-17", "reader")
        assert at_server.local_host == "127.0.0.1"
        assert at_server.local_port == server.address[1]
        server.send(message_to(at_server, ACK, 1, Code.CONTENT))
        answer = await client._above.messages.get()
        assert answer.remote is remote
        assert (remote.scheme, remote.security, remote.confirmed) == ("coaps", "dtls", True)
        assert remote.hostinfo == f"127.0.0.1:{server.address[1]}"
        assert remote.uri == f"coaps://{remote.hostinfo}"
        assert remote.authenticated_claims == ("coaps://*",)
        assert not remote.is_multicast
        assert await client.determine_remote(request_for(server)) is remote

    run(test)


@pytest.mark.parametrize("bind", ["::", "0.0.0.0", "::1"])
def test_each_kind_of_bind(bind):
    async def test(ends: Ends) -> None:
        server = ends.serve(bind)
        host = "[::1]" if bind == "::1" else "127.0.0.1"
        client = ends.client(host="::", packet_info=False)
        remote = await connect(client, server, host)
        client.send(message_to(remote))
        request = await server._above.messages.get()
        assert request.remote.local_host == host.strip("[]")
        server.send(message_to(request.remote, ACK, 1, Code.CONTENT))
        assert (await client._above.messages.get()).remote is remote

    run(test)


def test_a_server_can_ask_back_and_dial_out_from_a_wildcard_bind():
    async def test(ends: Ends) -> None:
        known = client_map()
        select = lambda message: known.select("coaps", "127.0.0.1", 5684, (), 1, now=0.0).dtls  # noqa: E731
        one, two = ends.serve(), ends.make("::", 0, select=select)
        remote = await connect(two, one)
        two.send(message_to(remote))
        back = (await one._above.messages.get()).remote
        assert await one.determine_remote(message_to(back)) is back
        one.send(message_to(back, CON, 7))
        assert (await two._above.messages.get()).remote is remote

    run(test)


def test_no_key_material_in_the_address():
    async def test(ends: Ends) -> None:
        remote = await connect(ends.client(), ends.serve())
        assert "sixteen" not in repr(remote) + repr(remote.session)
        assert KEY.hex() not in repr(remote)

    run(test)


def test_concurrent_requests_share_a_handshake():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remotes = await asyncio.gather(*(connect(client, server) for _ in range(5)))
        assert len(set(remotes)) == 1
        assert server._engine.session_count == 1

    run(test)


def test_an_address_stands_on_session_and_not_on_socket_address():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        first = await connect(client, server)
        client.send(message_to(first))
        at_server = (await server._above.messages.get()).remote
        client._engine.close(first.session)
        error, remote = await client._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert remote is first
        second = await connect(client, server)
        assert second.peer == first.peer
        assert second != first
        assert len({first, second}) == 2
        error, remote = await server._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert remote is at_server

    run(test)


def test_who_never_said_anything_goes_without_a_word():
    """Nobody above knows him; and a session that has ended is no cycle with its address."""

    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        silent = await connect(client, server)
        session = weakref.ref(next(iter(server.sessions())))
        gc.disable()
        try:
            client._engine.close(silent.session)
            second = await connect(client, server)
            assert session() is None
            client.send(message_to(second))
            session = weakref.ref((await server._above.messages.get()).remote.session)
            client._engine.close(second.session)
            assert isinstance((await server._above.errors.get())[0], SessionEnded)
            assert server._above.errors.empty()
            assert session() is None
        finally:
            gc.enable()

    run(test)


def test_an_ended_address_is_never_sent_to():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        first = await connect(client, server)
        client._engine.close(first.session)
        second = await connect(client, server)
        sent = []
        client._socket, socket = SimpleNamespace(send=lambda *datagram: sent.append(datagram)), client._socket
        client.send(message_to(first))
        assert not client.send_datagram(message_to(first, ACK, 1, Code.CONTENT).encode(), first)
        client._socket = socket
        assert sent == []  # not even under the old keys, which the peer could not read any more
        await asyncio.sleep(0)
        for _ in range(2):  # its end, and that of the request
            error, remote = client._above.errors.get_nowait()
            assert isinstance(error, SessionEnded)
            assert remote is first
        client.send(message_to(first, ACK, 1, Code.CONTENT))
        await asyncio.sleep(0)
        assert client._above.errors.empty()  # to which there is no answer that somebody could wait for
        client.send(message_to(second, mid=2))
        assert (await server._above.messages.get()).mid == 2
        with pytest.raises(SessionEnded):
            await client.determine_remote(message_to(first))

    run(test)


def test_foreign_schemes_and_remotes_are_not_ours():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        assert await client.determine_remote(Message(Code.GET, uri="coap://127.0.0.1/")) is None
        remote = await connect(client, server)
        assert await server.determine_remote(message_to(remote)) is None

    run(test)


def test_without_a_credential_nothing_is_sent():
    async def test(ends: Ends) -> None:
        client = ends.client(select=lambda message: None)
        with pytest.raises(CredentialsMissing):
            await client.determine_remote(Message(Code.GET, uri="coaps://127.0.0.1/"))
        assert client._engine.handshake_count == 0

    run(test)


@pytest.mark.parametrize("credentials", [client_map(key=b"another sixteen!"), client_map(b"sensor-99")])
def test_wrong_key_and_wrong_identity_fail_alike_and_at_once(credentials, caplog):
    async def test(ends: Ends) -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await connect(ends.client(credentials), ends.serve())
        assert caught.value.alert == "decrypt_error"

    run(test)
    assert "identity b'sensor-" in caplog.text
    assert "sixteen" not in caplog.text


def test_the_log_is_not_filled_by_strangers(caplog):
    async def test(ends: Ends) -> None:
        server = ends.serve(events=Events(lambda: 0.0))
        for _ in range(12):
            with pytest.raises(HandshakeFailed):
                await connect(ends.client(client_map(b"sensor-99")), server)

    run(test)
    assert len(caplog.records) == 10
    assert "suppressed" not in caplog.text


def test_a_dead_server_is_noticed():
    async def test(ends: Ends) -> None:
        server = ends.serve()
        await server.shutdown()
        client = ends.client(dtls=DtlsParameters(handshake_time_limit=0.3))
        with pytest.raises((HandshakeFailed, Unreachable)):
            await connect(client, server)
        assert not client._attempts
        assert client._engine.handshake_count == 0

    run(test)


def test_a_silent_server_fails_within_the_time_limit():
    async def test(ends: Ends) -> None:
        deaf = ends.client()  # answers no ClientHello
        client = ends.client(dtls=DtlsParameters(handshake_time_limit=0.2))
        with pytest.raises(HandshakeFailed, match="nobody answered"):
            await connect(client, deaf)

    run(test)


def test_a_cancelled_wait_ends_the_handshake_when_nobody_else_waits():
    async def test(ends: Ends) -> None:
        deaf, client = ends.client(), ends.client()
        waits = [asyncio.ensure_future(connect(client, deaf)) for _ in range(2)]
        await until(lambda: client._attempts and next(iter(client._attempts.values())).waiting == 2)
        waits[0].cancel()
        await asyncio.wait([waits[0]])
        assert client._engine.handshake_count == 1
        waits[1].cancel()
        await asyncio.wait([waits[1]])
        assert client._engine.handshake_count == 0
        assert not client._attempts

    run(test)


def test_a_client_notices_that_its_server_was_restarted():
    async def test(ends: Ends) -> None:
        server = ends.serve()
        client = ends.client(parameters=TransportParameters(ack_timeout=0.05))
        first = await connect(client, server)
        port = server.address[1]
        server._engine._transmit = lambda datagram, peer: None  # it dies without a word
        await server.shutdown()
        again = ends.serve(port=port)
        client.send(message_to(first))
        error, remote = await client._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert remote is first
        second = await connect(client, again)
        assert second is not first
        client.send(message_to(second, mid=2))
        assert (await again._above.messages.get()).mid == 2

    run(test)


def test_a_network_error_makes_a_client_ask_at_once():
    """The network may lie about a session: it stands until another is complete, and a silent server is doubted now."""

    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        client._failed(Unreachable(111, "refused"), remote.peer, b"")
        assert not client._attempts  # nothing of ours is unanswered
        server._engine._transmit = lambda datagram, peer: None
        client.send(message_to(remote))
        client._failed(Unreachable(111, "refused"), remote.peer, b"")
        assert remote.peer in client._attempts
        assert client._watch.is_doubtful(remote)
        assert remote.session.alive
        assert client._above.errors.empty()

    run(test)


def test_an_answering_server_is_not_doubted():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client(parameters=TransportParameters(ack_timeout=0.01))
        remote = await connect(client, server)
        client.send(message_to(remote))
        request = await server._above.messages.get()
        server.send(message_to(request.remote, ACK, 1, Code.CONTENT))
        await client._above.messages.get()
        assert remote.silent_since == 0.0
        client._watch._listen(remote, ends.loop.time() + 100)
        assert not client._attempts
        client.send(message_to(remote, NON, 3, Code.CONTENT))
        assert remote.silent_since == 0.0
        client.send(message_to(remote, NON, 4))
        assert remote.silent_since > 0.0

    run(test)


def test_another_credential_for_the_same_peer_makes_a_new_session():
    async def test(ends: Ends) -> None:
        maps = [client_map(), client_map(b"sensor-18")]
        client = ends.client(select=lambda message: maps[0].select("coaps", "h", 5684, (), 1, now=0.0).dtls)
        server = ends.serve()
        first = await connect(client, server)
        maps.pop(0)
        second = await connect(client, server)
        assert (first.session.identity, second.session.identity) == (b"sensor-17", b"sensor-18")
        assert not first.session.alive

    run(test)


def test_a_session_out_of_numbers_ends():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        remote.session.write.next_number = 2 << 48
        client.send(message_to(remote))
        error, at = await client._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert at is remote

    run(test)


def test_an_expired_credential_ends_its_session():
    async def test(ends: Ends) -> None:
        entry = {"dtls": {"psk": {"hex": KEY.hex()}, "client-identity": {"ascii": "sensor-17"}}}
        expired = CredentialsMap.from_dict({":sensor-17": {**entry, "not-after": "1971-01-01T00:00:00Z"}})
        # The look-up is made at another time than the wall clock says: valid then, and not any more.
        server, client = ends.serve(find_psk=lambda identity: expired.find_psk(identity, 0.0)), ends.client()
        remote = await connect(client, server)
        error, at = await client._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert at is remote
        assert not remote.session.alive
        assert server._engine.session_count == 0

    run(test)


def test_a_message_longer_than_a_record_fails_alone():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        failed: list[tuple[Exception, object, bytes]] = []
        client._above.dispatch_quoted_error = lambda *said: failed.append(said)
        message = message_to(remote)
        message.payload = bytes(16_385)
        client.send(message)  # from a handler's answer this comes in the socket's callback: nothing may be raised
        await until(lambda: failed)
        ((error, at, datagram),) = failed
        assert isinstance(error, RequestFailed)
        assert at is remote
        assert datagram == message.encode()
        client.send(message_to(remote))
        assert (await server._above.messages.get()).mid == 1

    run(test)


def test_bytes_that_are_no_message_are_reported_with_their_address():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        client.transmit(remote.session.seal_application(b"\xff\xff"), remote.peer)
        client.send(message_to(remote))
        await server._above.messages.get()
        assert server._above.malformed == [b"\xff\xff"]

    run(test)


def test_plain_coap_on_the_secure_port_is_dropped():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        client._socket.send(bytes.fromhex("40010001"), remote.peer)
        client.send(message_to(remote, mid=9))
        assert (await server._above.messages.get()).mid == 9
        assert server._above.malformed == []

    run(test)


def test_shutdown_says_goodbye_and_fails_what_waits():
    async def test(ends: Ends) -> None:
        server, client, deaf = ends.serve(), ends.client(), ends.client()
        client.send(message_to(await connect(client, server)))
        await server._above.messages.get()
        wait = asyncio.ensure_future(connect(client, deaf))
        await until(lambda: client._attempts)
        await client.shutdown()
        await client.shutdown()
        with pytest.raises(Exception, match="closed"):
            await wait
        error, _ = await server._above.errors.get()
        assert "closed by the peer" in str(error)
        assert client._timer._timer is None

    run(test)


def test_sessions_are_bounded_by_the_limits():
    async def test(ends: Ends) -> None:
        server = ends.serve(limits=Limits(dtls_sessions=2))
        for _ in range(4):
            await connect(ends.client(), server)
        assert server._engine.session_count == 2

    run(test)


def test_endpoint_names_the_real_port():
    async def test(ends: Ends) -> None:
        server = ends.serve()
        assert server.endpoint == f"coaps://127.0.0.1:{server.address[1]}"

    run(test)


def test_an_engine_that_is_not_there_is_refused():
    async def test(ends: Ends) -> None:
        with pytest.raises(ConfigurationError, match="'python' and 'tinydtls'"):
            ends.client(engine="openssl")

    run(test)


@pytest.mark.parametrize(
    ("at_client", "at_server"), [("tinydtls", "tinydtls"), ("tinydtls", "python"), ("python", "tinydtls")]
)
def test_both_engines_carry_requests(at_client, at_server):
    pytest.importorskip("DTLSSocket")

    async def test(ends: Ends) -> None:
        server, client = ends.serve(engine=at_server), ends.client(engine=at_client)
        remote = await connect(client, server)
        client.send(message_to(remote))
        request = await server._above.messages.get()
        assert request.remote.authenticated_claims == (":sensor-17", "reader")
        server.send(message_to(request.remote, ACK, 1, Code.CONTENT))
        assert (await client._above.messages.get()).remote is remote
        assert server.save() == [] or at_server == "python"
        client.renew_sessions(lambda credential: None)
        with pytest.raises(SessionEnded):
            await client.determine_remote(message_to(remote))

    run(test)


def nat(client: DtlsInterface, server: DtlsInterface) -> list[bytes]:
    """Let what the client sends come from another port of this host, whose owner collects what goes there."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.1", 0))
    stranger.setblocking(False)
    answers: list[bytes] = []
    loop = client._loop

    def collect() -> None:
        answers.append(stranger.recv(65536))

    loop.add_reader(stranger, collect)
    client._socket.send = lambda data, peer, local=None: stranger.sendto(data, server.address)  # type: ignore[method-assign]  # a translator
    client._socket.close = lambda: (
        loop.remove_reader(stranger),
        stranger.close(),
        DatagramSocket.close(client._socket),
    )  # type: ignore[method-assign]  # and its end
    return answers


def test_a_peer_behind_a_translator_keeps_its_address_object():
    async def test(ends: Ends) -> None:
        server, client = ends.serve(), ends.client()
        remote = await connect(client, server)
        client.send(message_to(remote))
        at_server = (await server._above.messages.get()).remote
        before = at_server.peer
        answers = nat(client, server)
        client.send(message_to(remote, mid=2))
        request = await server._above.messages.get()
        assert request.remote is at_server
        assert at_server.peer != before
        server.send(message_to(at_server, ACK, 2, Code.CONTENT))
        await until(lambda: len(answers) == 2)  # the ping that asks whether it is there, and the answer
        client._receive(answers[0], remote.peer, ends.loop.time())
        ping = await client._above.messages.get()
        assert (ping.mtype, ping.code) == (CON, Code.EMPTY)
        assert at_server.unproven is not None
        client.send(message_to(remote, RST, ping.mid, Code.EMPTY, b""))
        await until(lambda: at_server.unproven is None)
        assert server._above.messages.empty()  # the Reset was meant for the transport

    run(test)


def test_little_is_sent_to_an_address_that_was_not_shown_to_receive():
    async def test(ends: Ends) -> None:
        limits = Limits(amplification_factor=3.0, amplification_allowance=100)
        server, client = ends.serve(limits=limits), ends.client()
        remote = await connect(client, server)
        client.send(message_to(remote))
        at_server = (await server._above.messages.get()).remote
        answers = nat(client, server)
        client.send(message_to(remote, mid=2))
        await server._above.messages.get()
        large = message_to(at_server, CON, 9, Code.PUT)
        large.payload = bytes(500)
        for _ in range(5):
            server.send(large)
        small = message_to(at_server, ACK, 2, Code.CONTENT)
        server.send(small)
        await until(lambda: len(answers) == 2)
        assert sum(map(len, answers)) < 100 + 3 * 60
        client._receive(answers[0], remote.peer, ends.loop.time())
        ping = await client._above.messages.get()
        client.send(message_to(remote, RST, ping.mid, Code.EMPTY, b""))
        await until(lambda: len(answers) > 2 + 3)  # now the rest goes out, as far as it was kept
        assert at_server.unproven is None

    run(test)


def test_sessions_of_a_credential_that_is_gone_are_ended():
    async def test(ends: Ends) -> None:
        server, client, other = ends.serve(), ends.client(), ends.client(client_map(b"sensor-18"))
        remote, second = await connect(client, server), await connect(other, server)
        server.renew_sessions(lambda credential: None if credential.label == ":sensor-17" else credential)
        error, ended = await client._above.errors.get()
        assert isinstance(error, SessionEnded)
        assert ended is remote
        assert second.session.alive
        assert server._engine.session_count == 1

    run(test)


def test_key_log_file_is_for_its_owner_only(tmp_path: Path):
    path = tmp_path / "keys.log"

    async def test(ends: Ends) -> None:
        await connect(ends.client(key_log=key_log_file(path)), ends.serve())

    run(test)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("CLIENT_RANDOM ")
    assert path.read_text().endswith("\n")
