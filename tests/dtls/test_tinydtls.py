"""tinydtls behind the engine's protocol: with itself and with our own engine, and kept from what breaks it."""

from __future__ import annotations

import os

import pytest

from securecoap.config import Limits
from securecoap.dtls.alerts import Alert
from securecoap.dtls.engine import EndReason
from securecoap.dtls.messages import HandshakeType, encode_handshake
from securecoap.dtls.parameters import DtlsParameters, PskCredential
from securecoap.dtls.pending import Pending
from securecoap.dtls.records import ContentType, SequenceExhausted, plaintext_record
from securecoap.dtls.tinydtls import TinydtlsEndpoint
from securecoap.dtls.tinydtls_session import why_not_tinydtls
from securecoap.errors import ConfigurationError

from .pair import CLIENT, SERVER, Pair, Recorder, keys
from .test_endpoint import FORGED_ALERT, hello

if os.environ.get("CI") != "true":
    pytest.importorskip("DTLSSocket", reason="dtlssocket is not installed (the extra 'tinydtls')")

KEY = b"sixteen byte key"
SENSOR = PskCredential(b"sensor-17", KEY, (":sensor-17",))


class Net(Pair):
    """A network with endpoints of either engine."""

    def tiny(self, address, lookup=None, parameters=None):
        recorder = Recorder(self, address)
        endpoint = TinydtlsEndpoint(
            recorder, random=self.rng.randbytes, now=self.now, parameters=parameters, lookup=lookup
        )
        self.endpoints[address] = endpoint
        self.recorders[address] = recorder
        return endpoint, recorder

    def engine(self, name, address, lookup=None):
        return self.tiny(address, lookup) if name == "tinydtls" else self.add(address, None, lookup)

    def send(self, source, target, data):
        session = self.endpoints[source].session(target)
        self.recorders[source].transmit(session.seal_application(data), target)
        self.run()


def couple(client="tinydtls", server="tinydtls", credential=SENSOR, lookup=None, **network):
    net = Net(**network)
    net.engine(server, SERVER, lookup or keys(SENSOR))
    net.engine(client, CLIENT)
    net.endpoints[CLIENT].connect(SERVER, credential, net.now)
    net.run()
    return net


ENGINES = pytest.mark.parametrize(
    ("client", "server"), [("tinydtls", "tinydtls"), ("tinydtls", "python"), ("python", "tinydtls")]
)


@ENGINES
def test_a_session_of_either_engine_with_either(client, server):
    net = couple(client, server)
    at_client, at_server = net.endpoints[CLIENT].session(SERVER), net.endpoints[SERVER].session(CLIENT)
    assert at_server.claims == (":sensor-17",)
    assert (at_server.identity, at_server.epoch, at_server.role.value) == (b"sensor-17", 1, "server")
    net.send(CLIENT, SERVER, b"up")
    net.send(SERVER, CLIENT, b"down")
    assert net.recorders[SERVER].data == [(at_server, b"up")]
    assert net.recorders[CLIENT].data == [(at_client, b"down")]


@ENGINES
@pytest.mark.parametrize("closer", [CLIENT, SERVER])
def test_close_notify_both_ways(client, server, closer):
    net = couple(client, server)
    other = SERVER if closer == CLIENT else CLIENT
    net.endpoints[closer].close(net.endpoints[closer].session(other))
    net.run()
    assert [reason for _, reason in net.recorders[closer].ended] == [EndReason.CLOSED]
    assert [reason for _, reason in net.recorders[other].ended] == [EndReason.CLOSED_BY_PEER]
    assert net.endpoints[CLIENT].session_count == net.endpoints[SERVER].session_count == 0


@ENGINES
@pytest.mark.parametrize("credential", [PskCredential(b"sensor-17", b"x" * 16), PskCredential(b"nobody", KEY)])
def test_wrong_key_and_wrong_identity_fail_alike(client, server, credential):
    net = couple(client, server, credential)
    assert [error.alert for _, _, error in net.recorders[CLIENT].failed] == ["decrypt_error"]
    assert [error.alert for _, _, error in net.recorders[SERVER].failed] == ["decrypt_error"]
    assert net.recorders[SERVER].established == []
    assert net.endpoints[SERVER].handshake_count == 0


def test_nobody_answers():
    net = Net()
    net.tiny(CLIENT)[0].connect(SERVER, SENSOR, net.now)
    began = net.now
    net.run()
    assert net.now - began <= 10.0
    assert "not complete after 10 s" in str(net.recorders[CLIENT].failed[0][2])


def test_there_is_no_state_before_the_cookie():
    net = Net()
    server, events = net.tiny(SERVER, keys(SENSOR))
    for number in range(500):
        server.receive(hello(random=net.rng.randbytes(32)), ("192.0.2.9", number), net.now)
        server.receive(net.rng.randbytes(90), ("192.0.2.9", number), net.now)
    assert server.handshake_count == 0
    assert len(events.sent) == 500
    assert all(len(answer) < len(hello()) for answer in events.sent)


def with_cookie(net, peer, **fields):
    server, events = net.endpoints[SERVER], net.recorders[SERVER]
    server.receive(hello(**fields), peer, net.now)
    server.receive(hello(cookie=events.sent[-1][28:], sequence=1, record=1, **fields), peer, net.now)


def test_half_open_handshakes_are_bounded_and_a_good_client_is_served():
    net = Net()
    server, _ = net.tiny(SERVER, keys(SENSOR), DtlsParameters(limits=Limits(dtls_handshakes=10)))
    for number in range(100):
        with_cookie(net, ("192.0.2.9", number))
    assert server.handshake_count == 10
    net.tiny(CLIENT)[0].connect(SERVER, SENSOR, net.now)
    net.run(until=5)
    net.send(CLIENT, SERVER, b"x")
    assert [data for _, data in net.recorders[SERVER].data] == [b"x"]
    net.run(until=20)
    assert server.handshake_count == 0


def test_a_hello_with_other_suites_is_refused_here():
    """A point on no curve makes tinydtls loop for ever: certificates never reach it."""
    net = Net()
    server, events = net.tiny(SERVER, keys(SENSOR))
    with_cookie(net, CLIENT, cipher_suites=(0xC0AE,))
    assert events.sent[-1][13:] == bytes((2, Alert.HANDSHAKE_FAILURE))
    with_cookie(net, CLIENT)
    for message_type in (HandshakeType.CERTIFICATE, HandshakeType.CERTIFICATE_VERIFY, HandshakeType.SERVER_HELLO):
        message = encode_handshake(message_type, 2, bytes(200))
        server.receive(plaintext_record(ContentType.HANDSHAKE, 5, message), CLIENT, net.now)
    assert server.handshake_count == 1


@pytest.mark.parametrize("identity", [bytes(33), b"a" * 33, b"a\0b", b"x" * 1000])
def test_an_identity_that_it_cannot_hold_never_reaches_it(identity):
    net = Net()
    server, events = net.tiny(SERVER, keys(SENSOR))
    python, _ = net.add(CLIENT, DtlsParameters(datagram_size=4000))
    python.connect(SERVER, PskCredential(identity, KEY), net.now)
    net.run()
    assert [error.alert for _, _, error in net.recorders[CLIENT].failed] == ["decrypt_error"]
    assert server.handshake_count == 0
    assert events.established == []


def test_a_key_that_it_cannot_hold_is_nobodys():
    net = Net()
    net.tiny(SERVER, keys(PskCredential(b"long", b"k" * 17)))
    net.add(CLIENT)[0].connect(SERVER, PskCredential(b"long", b"k" * 17), net.now)
    net.run()
    assert net.recorders[SERVER].established == []


@ENGINES
def test_plaintext_alerts_never_end_a_session(client, server):
    net = couple(client, server)
    for code in (0, 10, 40, 51, 80, 255):
        for level in (1, 2):
            alert = plaintext_record(ContentType.ALERT, 3, bytes((level, code)))
            net.endpoints[SERVER].receive(alert, CLIENT, net.now)
            net.endpoints[CLIENT].receive(alert, SERVER, net.now)
    net.send(CLIENT, SERVER, b"still here")
    assert [data for _, data in net.recorders[SERVER].data] == [b"still here"]


def test_a_plaintext_alert_ends_a_handshake_at_once():
    net = Net()
    client, events = net.tiny(CLIENT)
    client.connect(SERVER, SENSOR, net.now)
    client.receive(plaintext_record(ContentType.ALERT, 0, b"\x02\x28"), SERVER, net.now)
    assert events.failed[0][2].alert == "handshake_failure"
    assert client.handshake_count == 0


def test_forged_late_and_foreign_records_leave_a_session_alone():
    net = couple("python", "tinydtls")
    client, server = net.endpoints[CLIENT], net.endpoints[SERVER]
    record = client.session(SERVER).seal_application(b"once")
    forged = [record[:-1] + bytes((record[-1] ^ 1,)), record[:30], record[:4] + b"\2" + record[5:], b"\x17" + bytes(60)]
    forged += [bytes((kind,)) + record[1:] for kind in (20, 21, 22)]
    forged += [plaintext_record(kind, 7, bytes(40)) for kind in (ContentType.HANDSHAKE, ContentType.APPLICATION_DATA)]
    forged.append(plaintext_record(ContentType.CHANGE_CIPHER_SPEC, 8, b"\x01"))
    forged.append(plaintext_record(ContentType.HANDSHAKE, 9, encode_handshake(HandshakeType.HELLO_REQUEST, 0, b"")))
    for datagram in forged:
        server.receive(datagram, CLIENT, net.now)
    server.receive(record, CLIENT, net.now)
    server.receive(record, CLIENT, net.now)  # a replay
    net.send(CLIENT, SERVER, b"twice")
    assert [data for _, data in net.recorders[SERVER].data] == [b"once", b"twice"]
    assert net.recorders[SERVER].ended == []


def test_what_is_handed_in_is_not_changed():
    """It decrypts in place; Python's bytes may be shared."""
    net = couple("python", "tinydtls")
    record = net.endpoints[CLIENT].session(SERVER).seal_application(b"once")
    copy = bytes(bytearray(record))
    net.endpoints[SERVER].receive(record, CLIENT, net.now)
    assert record == copy


@pytest.mark.parametrize("client", ["tinydtls", "python"])
def test_a_rebooted_device_replaces_its_session_only_when_finished(client):
    net = couple(client, "tinydtls")
    server, events = net.endpoints[SERVER], net.recorders[SERVER]
    old, old_client = server.session(CLIENT), net.endpoints[CLIENT].session(SERVER)
    served = []

    def use_old_session(source, target, datagram):
        if source == CLIENT and server.session(CLIENT) is old:
            served.append(1)
            server.receive(old_client.seal_application(b"old"), CLIENT, net.now)
        return [datagram]

    net.now += 20
    net.filter = use_old_session
    net.engine(client, CLIENT)
    net.endpoints[CLIENT].connect(SERVER, SENSOR, net.now)
    net.run()
    net.filter = lambda source, target, datagram: [datagram]
    assert served
    assert [session for session, _ in events.data] == [old] * len(served)
    assert [(session, reason) for session, reason in events.ended] == [(old, EndReason.REPLACED)]
    assert server.session(CLIENT) is not old
    net.send(CLIENT, SERVER, b"new")
    assert events.data[-1] == (server.session(CLIENT), b"new")


def test_a_candidate_with_a_wrong_key_leaves_the_session_alone():
    net = couple()
    client, old = net.endpoints[CLIENT], net.endpoints[SERVER].session(CLIENT)
    net.now += 20
    net.tiny(CLIENT)[0].connect(SERVER, PskCredential(b"sensor-17", b"x" * 16), net.now)
    net.run()
    assert net.endpoints[SERVER].session(CLIENT) is old
    net.endpoints[CLIENT] = client
    net.send(CLIENT, SERVER, b"still here")
    assert net.recorders[SERVER].data[-1] == (old, b"still here")


def test_a_delayed_copy_of_a_hello_starts_nothing():
    net = couple()
    for datagram in [datagram for datagram in net.recorders[CLIENT].sent if datagram[0] == 22]:
        net.endpoints[SERVER].receive(datagram, CLIENT, net.now + 1)
    assert net.endpoints[SERVER].handshake_count == 0
    net.send(CLIENT, SERVER, b"still here")
    assert net.recorders[SERVER].data


def test_a_key_may_come_later():
    asked = Pending()
    net = couple(lookup=lambda identity: asked)
    server, events = net.endpoints[SERVER], net.recorders[SERVER]
    assert [error.alert for _, _, error in events.failed] == [None]  # nobody answered in time
    asked.answer(SENSOR, net.now)
    assert server.session_count == 0
    asked = Pending()
    server._lookup = lambda identity: asked
    net.tiny(CLIENT)[0].connect(SERVER, SENSOR, net.now)
    net.run(until=1)
    assert events.established == []
    asked.answer(SENSOR, net.now)
    net.run(until=1)
    assert [session.claims for session in events.established] == [(":sensor-17",)]
    assert net.endpoints[CLIENT].session_count == 1


def test_no_key_material_in_a_repr():
    net = Net()
    client, _ = net.tiny(CLIENT)
    client.connect(SERVER, SENSOR, net.now)
    (handshake,) = client._handshakes
    assert "sixteen" not in repr(handshake)
    assert "sixteen" not in repr(couple().endpoints[SERVER].session(CLIENT))


def test_cancelled_connect_says_nothing_more():
    net = Net()
    client, events = net.tiny(CLIENT)
    client.connect(SERVER, SENSOR, net.now)
    client.connect(SERVER, SENSOR, net.now)
    client.cancel(SERVER)
    client.cancel(SERVER)
    net.run(until=30)
    assert (client.handshake_count, events.failed, len(events.sent)) == (0, [], 2)


def test_idle_sessions_expire_and_the_longest_idle_goes_first():
    net = Net()
    parameters = DtlsParameters(limits=Limits(dtls_sessions=2), idle_timeout=1000.0)
    server, events = net.tiny(SERVER, keys(SENSOR), parameters)
    addresses = [("192.0.2.1", port) for port in (1, 2, 3)]
    for address in addresses:
        net.tiny(address)[0].connect(SERVER, SENSOR, net.now)
        net.run()
        net.now += 1
    assert [(session.peer, reason) for session, reason in events.ended] == [(addresses[0], EndReason.EVICTED)]
    net.run(until=2000)
    assert server.session_count == 0
    assert {reason for _, reason in events.ended[1:]} == {EndReason.IDLE}


def test_writes_up_to_its_bound():
    net = couple()
    session = net.endpoints[CLIENT].session(SERVER)
    for size in (1, 1024, 1371):
        net.send(CLIENT, SERVER, bytes(size))
    with pytest.raises(ValueError, match="1371"):
        session.seal_application(bytes(1372))
    assert [len(data) for _, data in net.recorders[SERVER].data] == [1, 1024, 1371]
    net.endpoints[CLIENT].close(session)
    with pytest.raises(SequenceExhausted):
        session.seal_application(b"x")


def test_over_a_bad_network():
    for seed in range(5):
        net = Net(seed=seed, duplication=0.3, jitter=0.05)
        net.tiny(SERVER, keys(SENSOR))
        net.tiny(CLIENT)[0].connect(SERVER, SENSOR, net.now)
        net.run()
        assert net.endpoints[SERVER].session(CLIENT) is not None or net.recorders[CLIENT].failed


def test_churn_of_1000_handshakes_by_8_peers():
    """Two peers in one context and ordinary goodbyes end it in SIGFPE or an endless loop; forged alerts too."""
    net = Net()
    server, events = net.tiny(SERVER, keys(SENSOR))
    for turn in range(1000):
        address = ("192.0.2.1", turn % 8)
        endpoint = net.endpoints.get(address) or net.tiny(address)[0]
        endpoint.connect(SERVER, SENSOR, net.now)
        net.run()
        net.send(address, SERVER, b"x")
        if turn % 3 == 0:
            endpoint.close(endpoint.session(SERVER))
        elif turn % 3 == 1:
            server.receive(FORGED_ALERT, address, net.now)
        net.run()
        net.now += 0.5
    assert len(events.data) == len(events.established) == 1000
    assert server.session_count <= 8
    assert server.handshake_count == 0


def test_contexts_are_freed_at_once():
    """They would wait for the garbage collector: their callbacks lead back to them."""
    net = couple()
    association = net.endpoints[SERVER].session(CLIENT).association
    net.endpoints[SERVER].shutdown()
    assert association._context is None
    assert association._session is None


@pytest.mark.parametrize(
    ("identity", "key", "reason"),
    [
        (b"sensor-17", KEY, None),
        (b"i" * 32, b"k", None),
        (b"sensor-17", b"k" * 17, "17 bytes"),
        (b"i" * 33, KEY, "33 bytes"),
        (b"a\0b", KEY, "NUL"),
        (b"", None, "raw public key"),
    ],
)
def test_which_credentials_it_can_have(identity, key, reason):
    fault = why_not_tinydtls(identity, key)
    assert fault is None if reason is None else reason in (fault or "")
    if key is not None and reason is not None:
        net = Net()
        client, events = net.tiny(CLIENT)
        client.connect(SERVER, PskCredential(identity, key), net.now)
        assert reason in str(events.failed[0][2])
        assert events.sent == []


def test_a_hint_is_refused():
    with pytest.raises(ConfigurationError, match="hint"):
        Net().tiny(SERVER, keys(SENSOR), DtlsParameters(identity_hint=b"gateway"))


def test_without_dtlssocket_there_is_a_reason(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "DTLSSocket", None)
    with pytest.raises(ConfigurationError, match="dtlssocket"):
        Net().tiny(CLIENT)
