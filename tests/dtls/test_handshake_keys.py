"""Handshakes with raw public keys and certificates, and stores that answer later (RFC 7250, RFC 8422, RFC 5489)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securecoap.config import Limits
from securecoap.dtls.alerts import Alert
from securecoap.dtls.certificate_messages import encode_certificate, encode_signed
from securecoap.dtls.certificates import SERVER as SERVER_AUTH
from securecoap.dtls.client_offer import offered_extensions
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.extensions import Extension, encode_server_name
from securecoap.dtls.groups import GROUPS
from securecoap.dtls.handshake_client import ClientHandshake, ClientState
from securecoap.dtls.handshake_server import ServerHandshake, ServerState
from securecoap.dtls.identities import CertificateType, Proof, Refusal
from securecoap.dtls.messages import ClientHello, HandshakeType
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.pending import Pending
from securecoap.dtls.signatures import sign
from securecoap.dtls.suites import SUITES, KeyExchangeKind

from .material import (
    AUTHORITY,
    SERVER_NAME,
    Authority,
    Keys,
    certificate_own,
    certificate_pair,
    judge_chain,
    private_key,
    raw_own,
    raw_pair,
)
from .pair import CLIENT, KEY, SENSOR, SERVER, Couple, keys
from .test_handshake import assert_connected, handshake_extensions


def connected(credential, server_keys, **options) -> Couple:
    couple = Couple(credential, server_keys=server_keys, **options)
    couple.connect()
    assert_connected(couple)
    return couple


def refused(credential, server_keys, **options) -> tuple[str, str]:
    """The alert that the client saw, and what the server's log says."""
    couple = Couple(credential, server_keys=server_keys, **options)
    couple.connect()
    assert couple.client_events.established == couple.server_events.established == []
    assert couple.server.handshake_count == couple.client.handshake_count == 0
    assert couple.now < 1000.5
    return couple.client_events.failed[0][2].alert, str(couple.server_events.failed[0][2])


@pytest.mark.parametrize("group", GROUPS.values(), ids=lambda group: group.name)
@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519"])
def test_raw_public_keys_in_each_group(group, kind):
    # The curve of a key has to be among the client's groups, too (RFC 8422 section 5.1).
    groups = tuple(dict.fromkeys((group, GROUPS[23], GROUPS[24])))
    couple = connected(
        *raw_pair(kind, kind),
        client_parameters=DtlsParameters(groups=groups),
        server_parameters=DtlsParameters(groups=(group,)),
    )
    assert couple.server_session.claims == (":sensor-19",)
    assert couple.client_session.claims == (":gateway",)


@pytest.mark.parametrize("client", ["p256", "p384", "rsa"])
@pytest.mark.parametrize("server", ["p256", "p384"])
def test_certificates(server, client):
    couple = connected(*certificate_pair(server, client))
    assert couple.server_session.claims == ("san:sensor-19.example",)
    assert couple.client_session.claims == ("san:gateway.example", "san:192.0.2.2")


def test_a_client_without_certificate_where_nothing_could_check_one():
    credential, server = certificate_pair(client=None)
    couple = connected(credential, server)
    assert couple.server_session.claims == ()
    assert couple.server_session.identity == b""


def test_a_client_without_certificate_where_one_is_demanded():
    credential, _ = certificate_pair(client=None)
    alert, log = refused(credential, certificate_pair()[1])
    assert alert == "handshake_failure"
    assert "the client shows no key or certificate" in log


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("pair", [raw_pair, certificate_pair])
def test_loss_duplication_and_reordering(pair, seed):
    parameters = DtlsParameters(datagram_size=200, handshake_time_limit=900.0, max_retransmission_interval=4.0)
    credential, server = pair()
    couple = Couple(
        credential, server_keys=server, client_parameters=parameters, server_parameters=parameters,
        seed=seed, loss=0.2, duplication=0.3, jitter=0.4,
    )  # fmt: skip
    couple.connect()
    assert_connected(couple)
    assert max(map(len, couple.client_events.sent + couple.server_events.sent)) <= 200


@pytest.mark.parametrize("suite", [s for s in SUITES.values() if s.key_exchange is KeyExchangeKind.ECDHE_PSK])
@pytest.mark.parametrize("hint", [None, b"hint"])
def test_ecdhe_psk(suite, hint):
    couple = Couple(
        client_parameters=DtlsParameters(suites=(suite,)), server_parameters=DtlsParameters(identity_hint=hint)
    )
    couple.connect()
    assert_connected(couple)
    assert couple.server_session.claims == SENSOR.claims


@pytest.mark.parametrize("suite", [s for s in SUITES.values() if s.key_exchange is KeyExchangeKind.ECDHE_PSK])
def test_ecdhe_psk_hides_who_is_known(suite):
    seen = []
    for identity in (SENSOR.identity, b"sensor-99"):
        couple = Couple(replace(SENSOR, identity=identity, key=b"x"), client_parameters=DtlsParameters(suites=(suite,)))
        couple.connect()
        shape = [(len(datagram), datagram[0]) for datagram in couple.server_events.sent]
        seen.append((couple.client_events.failed[0][2].alert, couple.now, shape))
    assert seen[0] == seen[1]
    assert seen[0][0] == "decrypt_error"


# One port for all.


def all_modes() -> tuple[dict[str, object], Keys]:
    raw, raw_server = raw_pair()
    certified, certified_server = certificate_pair()
    server = Keys(raw_server.own + certified_server.own, raw=raw_server.raw, certified=certified_server.certified)
    return {"psk": SENSOR, "raw": raw, "certificate": certified}, server


def test_all_modes_at_once():
    credentials, server = all_modes()
    claims = [connected(credential, server).server_session.claims for credential in credentials.values()]
    assert claims == [SENSOR.claims, (":sensor-19",), ("san:sensor-19.example",)]


def test_a_raw_public_key_goes_before_a_certificate_if_the_client_takes_both(monkeypatch):
    """GnuTLS offers both, and fails with a certificate that it has no authority for."""
    credentials, server = all_modes()
    couple = Couple(credentials["raw"], server_keys=server)
    both = bytes((2, CertificateType.X509, CertificateType.RAW_PUBLIC_KEY))

    def offered(*arguments):
        types = dict.fromkeys((Extension.SERVER_CERTIFICATE_TYPE, Extension.CLIENT_CERTIFICATE_TYPE), both)
        return offered_extensions(*arguments) | types

    monkeypatch.setattr("securecoap.dtls.client_offer.offered_extensions", offered)
    couple.connect()
    assert_connected(couple)
    assert handshake_extensions(couple, HandshakeType.SERVER_HELLO)[Extension.SERVER_CERTIFICATE_TYPE] == b"\x02"


def test_a_server_without_what_the_client_offers_says_so():
    credentials, server = all_modes()
    alert, log = refused(credentials["raw"], replace(server, own=server.own[1:]))
    assert alert == "unsupported_certificate"
    assert "of a type that the client takes" in log
    alert, log = refused(SENSOR, replace(server, psk=False))
    assert alert == "handshake_failure"
    assert "PSK: there is no pre-shared key here" in log
    alert, log = refused(credentials["certificate"], None)
    assert "neither a raw public key nor a certificate" in log


def test_no_group_in_common():
    credential, server = raw_pair()
    options = {"client_parameters": DtlsParameters(groups=(GROUPS[23],))}
    alert, log = refused(credential, server, server_parameters=DtlsParameters(groups=(GROUPS[29],)), **options)
    assert alert == "handshake_failure"
    assert "ECDHE_ECDSA: no group in common" in log


def test_a_key_on_a_curve_that_the_client_does_not_have():
    _, log = refused(*raw_pair("p384"), client_parameters=DtlsParameters(groups=(GROUPS[23],)))
    assert "cannot verify the signatures of our key" in log


def test_the_server_name_reaches_the_store():
    credential, server = certificate_pair(name="gateway.example")
    couple = connected(credential, server)
    assert server.names == ["gateway.example"]
    assert handshake_extensions(couple, HandshakeType.SERVER_HELLO)[Extension.SERVER_NAME] == b""
    offered = handshake_extensions(couple, HandshakeType.CLIENT_HELLO)
    assert offered[Extension.SERVER_NAME] == encode_server_name("gateway.example")


def test_a_pre_shared_key_has_a_server_name_too():
    couple = Couple(replace(SENSOR, server_name="Gateway.example."))
    couple.connect()
    assert_connected(couple)
    offered = handshake_extensions(couple, HandshakeType.CLIENT_HELLO)
    assert offered[Extension.SERVER_NAME] == encode_server_name("Gateway.example")


# Who is not believed.


def test_a_raw_public_key_that_nobody_has():
    credential, server = raw_pair()
    stranger = replace(credential, own=raw_own(private_key("p256", "stranger")))
    alert, log = refused(stranger, server)
    assert alert == "bad_certificate"
    assert "its key is not known here" in log


class Asked(Exception):
    pass


def never(_chain):
    raise Asked


@pytest.mark.parametrize("pair", [raw_pair, certificate_pair])
def test_nobody_is_looked_up_before_the_private_key_is_proved(pair):
    """A stranger who shows a known public key learns nothing: the signature is checked first."""
    credential, server = pair()
    own = replace(credential.own, private=private_key("p256", "stranger"))
    server = replace(server, raw=server.raw and never, certified=server.certified and never)
    alert, log = refused(replace(credential, own=own), server)
    assert alert == "decrypt_error"
    assert "the peer does not have the key" in log


@pytest.mark.parametrize("pair", [raw_pair, certificate_pair])
def test_a_server_that_has_not_its_key(pair):
    credential, server = pair()
    server.own[0] = replace(server.own[0], private=private_key("p256", "stranger"))
    couple = Couple(replace(credential, judge=never), server_keys=server)
    couple.connect()
    assert couple.client_events.failed[0][2].alert == "decrypt_error"
    assert "client refused: decrypt_error" in str(couple.server_events.failed[0][2])


def test_a_server_of_another_name():
    credential, server = certificate_pair()
    couple = Couple(replace(credential, judge=judge_chain(AUTHORITY, SERVER_AUTH, "other.example")), server_keys=server)
    couple.connect()
    error = couple.client_events.failed[0][2]
    assert error.alert == "bad_certificate"
    assert "this end refused: the server is not the one that is meant" in str(error)
    assert "client refused: bad_certificate" in str(couple.server_events.failed[0][2])


def test_a_server_of_another_authority():
    credential, server = certificate_pair()
    couple = Couple(replace(credential, judge=judge_chain(Authority("other"), SERVER_AUTH)), server_keys=server)
    couple.connect()
    assert couple.client_events.failed[0][2].alert == "unknown_ca"


@pytest.mark.parametrize(
    ("days", "authority", "cause"),
    [((-3, -1), AUTHORITY, "certificate_expired"), ((-3, 3), Authority("other"), "unknown_ca")],
)
def test_a_refused_certificate_is_counted_by_what_is_wrong_with_it(days, authority, cause):
    credential, server = certificate_pair()
    mine = private_key("p256", "client")
    own = certificate_own(mine, authority.issue(mine, "sensor-19.example", days=days))
    couple = Couple(replace(credential, own=own), server_keys=server)
    couple.connect()
    error = couple.server_events.failed[0][2]
    assert (error.alert, error.cause) == (cause, cause)
    assert "unknown identity b'CN=peer'" in str(error)


def test_a_raw_public_key_of_nobody_is_counted_as_such():
    credential, server = raw_pair()
    nobody = Refusal(Alert.ACCESS_DENIED, "nobody here has this raw public key", b"ni:///sha-256;x")
    couple = Couple(credential, server_keys=replace(server, raw=lambda _: nobody))
    couple.connect()
    assert couple.server_events.failed[0][2].cause == "unknown-identity"


def test_a_server_without_raw_public_key_is_not_taken_for_one():
    """Whoever answers without the extension shows a certificate (RFC 7250 section 4.2), and that was not offered."""
    credential, _ = raw_pair()
    _, server = certificate_pair()
    alert, _ = refused(credential, server)
    assert alert == "unsupported_certificate"


def test_a_signature_over_another_transcript(monkeypatch):
    credential, server = raw_pair()
    monkeypatch.setattr("securecoap.dtls.handshake_client.sign", lambda key, scheme, data: sign(key, scheme, data[:-1]))
    alert, _ = refused(credential, server)
    assert alert == "decrypt_error"


@pytest.mark.parametrize("count", [0, 1])
def test_a_certificate_message_without_content(monkeypatch, count):
    credential, server = raw_pair()
    body = encode_certificate(CertificateType.RAW_PUBLIC_KEY, ()) + bytes(count)
    monkeypatch.setattr("securecoap.dtls.handshake_client.encode_certificate", lambda *_: body)
    alert, _ = refused(credential, server)
    assert alert == ("decode_error" if count else "handshake_failure")


def test_a_signature_is_not_followed_by_more(monkeypatch):
    credential, server = raw_pair()
    monkeypatch.setattr("securecoap.dtls.handshake_client.encode_signed", lambda *args: encode_signed(*args) + b"\x00")
    assert refused(credential, server)[0] == "decode_error"


# Stores that answer later.


class Slow:
    """A store whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, Pending]] = []

    def __call__(self, question):
        pending = Pending()
        self.asked.append((question, pending))
        return pending


def test_a_store_of_pre_shared_keys_that_answers_later():
    store = Slow()
    couple = Couple(lookup=store)
    couple.connect(until=0.5)
    assert couple.server_events.established == []
    ((identity, pending),) = store.asked
    assert identity == SENSOR.identity
    pending.answer(SENSOR, couple.now)
    couple.run()
    assert_connected(couple)
    pending.answer(None, couple.now)  # a second answer is without effect
    assert len(store.asked) == 1


def test_a_late_answer_of_nobody_is_like_a_wrong_key():
    store = Slow()
    couple = Couple(lookup=store)
    couple.connect(until=0.5)
    store.asked[0][1].answer(None, couple.now)
    couple.run()
    assert couple.client_events.failed[0][2].alert == "decrypt_error"
    assert "unknown identity b'sensor-17'" in str(couple.server_events.failed[0][2])


def test_a_store_of_peers_that_answers_later():
    credential, server = raw_pair()
    store = Slow()
    server.raw = store
    couple = Couple(credential, server_keys=server)
    couple.connect(until=3.5)  # the client repeats its flight meanwhile, and is not answered twice for it
    assert len(store.asked) == 1
    store.asked[0][1].answer(Proof(b"x", (":late",)), couple.now)
    couple.run()
    assert_connected(couple)
    assert couple.server_session.claims == (":late",)


def test_a_store_that_never_answers_holds_nothing_for_longer_than_a_handshake():
    store = Slow()
    couple = Couple(lookup=store)
    couple.connect()
    assert couple.server.handshake_count == 0
    assert "wait for the store of pre-shared keys" in str(couple.server_events.failed[0][2])
    store.asked[0][1].answer(SENSOR, couple.now)  # too late
    assert couple.server_events.established == []


def test_handshakes_that_wait_are_bounded():
    store = Slow()
    couple = Couple(lookup=store, server_parameters=DtlsParameters(limits=Limits(dtls_handshakes=3)))
    for port in range(6):
        client, _ = couple.add((CLIENT[0], 1000 + port))
        client.connect(SERVER, SENSOR, couple.now)
        couple.run(until=0.1)
        assert couple.server.handshake_count <= 3
    for _, pending in store.asked:
        pending.answer(SENSOR, couple.now)
    couple.run(until=1.0)
    assert len(couple.server_events.established) == 3


def test_strangers_who_prove_nothing_do_not_drive_out_those_who_did():
    """A server without authorities takes anonymous clients: they go first, and never take a proved one's place."""
    anonymous, server = certificate_pair(client=None)
    couple = Couple(server_keys=server, server_parameters=DtlsParameters(limits=Limits(dtls_sessions=3)))
    couple.connect()
    for port in range(8):
        stranger, events = couple.add(("198.51.100.1", 1000 + port))
        stranger.connect(SERVER, anonymous, couple.now)
        couple.run()
        assert len(events.established) == 1
        assert couple.server.session_count <= 3
    assert couple.server_session.claims == SENSOR.claims
    assert {session.claims for session, _ in couple.server_events.ended} == {()}
    for port in range(2):  # those who prove something drive the strangers out ...
        friend, _ = couple.add(("198.51.100.2", 1000 + port))
        friend.connect(SERVER, SENSOR, couple.now)
        couple.run()
    assert {session.claims for session in couple.server.sessions()} == {SENSOR.claims}
    stranger, events = couple.add(("198.51.100.1", 2000))
    stranger.connect(SERVER, anonymous, couple.now)
    couple.run()
    assert couple.server.session(("198.51.100.1", 2000)) is None  # ... and none comes in then
    assert [reason.name for _, reason in events.ended] == ["CLOSED_BY_PEER"]


# The tables.


@pytest.mark.parametrize("side", [ClientHandshake, ServerHandshake])
def test_every_state_can_be_reached_and_left(side):
    states = set(ClientState if side is ClientHandshake else ServerState)
    start = ClientState.SERVER_HELLO if side is ClientHandshake else ServerState.CLIENT_HELLO
    reached, pending = {start}, [start]
    while pending:
        state = pending.pop()
        for (source, _), transition in side.TRANSITIONS.items():
            for target in transition.targets:
                if source is state and target not in reached:
                    reached.add(target)
                    pending.append(target)
    assert reached == states
    left = {source for source, _ in side.TRANSITIONS}
    assert {state.name for state in states - left} == {"COMPLETE"}


def test_no_state_goes_around_a_proof():
    """From ClientHello, without Certificate, CertificateVerify or a pre-shared key, nothing but an anonymous mode leads on."""
    for (state, event), transition in ServerHandshake.TRANSITIONS.items():
        if ServerState.COMPLETE in transition.targets:
            assert event == HandshakeType.FINISHED
            assert state in {ServerState.FINISHED, ServerState.RESUMED_FINISHED}
        if ServerState.RESUMED_FINISHED in transition.targets:
            assert state in {ServerState.CLIENT_HELLO, ServerState.RESUMPTION_LOOK_UP}
        if ServerState.CERTIFICATE_VERIFY in transition.targets:
            assert event == HandshakeType.CLIENT_KEY_EXCHANGE
    assert (ServerState.CERTIFICATE, HandshakeType.CLIENT_KEY_EXCHANGE) not in ServerHandshake.TRANSITIONS
    assert (ServerState.CERTIFICATE_VERIFY, HandshakeType.FINISHED) not in ServerHandshake.TRANSITIONS
    assert (ClientState.CERTIFICATE, HandshakeType.SERVER_KEY_EXCHANGE) not in ClientHandshake.TRANSITIONS
    assert (ClientState.SERVER_KEY_EXCHANGE, HandshakeType.SERVER_HELLO_DONE) not in ClientHandshake.TRANSITIONS


@pytest.mark.parametrize(("pair", "left_out"), [
    (raw_pair, HandshakeType.CERTIFICATE), (raw_pair, HandshakeType.CERTIFICATE_VERIFY),
    (certificate_pair, HandshakeType.CERTIFICATE), (certificate_pair, HandshakeType.CERTIFICATE_VERIFY),
])  # fmt: skip
def test_a_client_cannot_leave_out_its_proof(monkeypatch, pair, left_out):
    original = ClientHandshake._message

    def message(self, message_type, body, writer=None):
        if message_type is left_out:
            return original(self, HandshakeType.HELLO_REQUEST, b"")  # which no server counts
        return original(self, message_type, body, writer)

    monkeypatch.setattr(ClientHandshake, "_message", message)
    couple = Couple(pair()[0], server_keys=pair()[1])
    couple.connect()
    assert couple.server_events.established == []


def test_an_endpoint_with_keys_only_is_a_server():
    credential, server = raw_pair()
    couple = Couple(credential, server_keys=server, lookup=keys())
    endpoint = Endpoint(couple.server_events, random=couple.rng.randbytes, now=couple.now, keys=server)
    couple.endpoints[SERVER] = endpoint
    couple.connect()
    assert couple.client_events.failed == []
    assert endpoint.session(CLIENT).claims == (":sensor-19",)


def test_no_private_key_in_any_repr():
    credential, server = raw_pair()
    couple = connected(credential, server)
    for thing in (credential, server.own[0], couple.client_session, couple.server):
        assert "PrivateKey" not in repr(thing)
        assert KEY.hex() not in repr(thing)


def test_a_client_of_keys_offers_no_pre_shared_key_suites():
    credential, _ = certificate_pair()
    couple = Couple(credential)
    couple.connect(until=0.1)
    hello = ClientHello.parse(couple.client_events.sent[0][25:])
    offered = {SUITES[code].key_exchange for code in hello.cipher_suites if code in SUITES}
    assert offered == {KeyExchangeKind.ECDHE_ECDSA}
    assert SERVER_NAME in str(bytes(hello.extensions[Extension.SERVER_NAME]))
