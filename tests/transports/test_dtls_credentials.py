"""From a file's credentials to what a DTLS engine is told: claims, names, stores (RFC 7252 section 9.1.3)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import load_der_x509_certificate

from securecoap import Context, CredentialsMap, Message, Resource, Site
from securecoap.credentials.patterns import normal_host
from securecoap.credentials.policy import OwnNames
from securecoap.dtls.alerts import Alert
from securecoap.dtls.identities import CertificateType, Proof, Refusal
from securecoap.dtls.pending import Pending
from securecoap.errors import CredentialsFault, HandshakeFailed
from securecoap.transports import dtls_credentials
from securecoap.transports.dtls_credentials import ServerStore, authority_of, engine_credential, public_key_name
from securecoap.wire.codes import Code
from tests.dtls.material import NOW, Authority, private_key, spki

SAMPLES = Path(__file__).parents[2] / "credentials"
AUTHORITY = Authority("fleet")
PARTNERS = Authority("partners")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls_credentials, "wall_clock", NOW.timestamp)


def pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def crt(der: bytes) -> bytes:
    return load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def rpk(own: str, peers: Any, kind: str = "p256") -> dict[str, Any]:
    return {"dtls-rpk": {"private-key": pem(private_key(kind, own)), "peer-keys": peers}}


def x509(name: str | None, *san: str, ca: tuple[Authority, ...] = (AUTHORITY,), **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"ca": [crt(one.root) for one in ca]} if ca else {}
    if name is not None:
        key = private_key("p256", name)
        entry |= {"certificate": crt(AUTHORITY.issue(key, *san)), "private-key": pem(key)}
    return {"dtls-x509": {**entry, **more}}


def store(data: dict[str, Any], loop: Any = None) -> ServerStore:
    loaded = CredentialsMap.from_dict(data, role="server")
    return ServerStore(
        loop, lambda identity: loaded.find_psk(identity, NOW.timestamp()), lambda: loaded.dtls_peers, lambda: None
    )


def judged(found: ServerStore, key: Any, certificate: bytes | None = None) -> Any:
    if certificate is None:
        return found.judge(CertificateType.RAW_PUBLIC_KEY, (spki(key),))
    return found.judge(CertificateType.X509, (certificate,))


SENSOR, OTHER = private_key("p256", "sensor"), private_key("p256", "other")


# Raw public keys.


def test_a_peer_with_a_label_of_its_own_has_the_entrys_label_before_it():
    found = store({
        ":sensors": {**rpk("gateway", {":sensor-19": public_pem(SENSOR), ":other": public_pem(OTHER)}), "claims": ["reader"]},
        ":nick": ":sensor-19",
    })  # fmt: skip
    assert judged(found, SENSOR).claims == (":sensors", ":nick", ":sensor-19", "reader")
    assert judged(found, OTHER).claims == (":sensors", ":other", "reader")


def test_peers_of_a_list_have_the_entrys_label():
    found = store({":sensors": rpk("gateway", [public_pem(SENSOR), public_pem(OTHER)])})
    assert judged(found, SENSOR).claims == judged(found, OTHER).claims == (":sensors",)


def test_a_raw_public_key_that_nobody_has():
    verdict = judged(store({":sensors": rpk("gateway", [public_pem(OTHER)])}), SENSOR)
    assert isinstance(verdict, Refusal)
    assert verdict.alert is Alert.ACCESS_DENIED
    assert verdict.identity.decode() == public_key_name(spki(SENSOR))


def test_names_of_keys_are_those_of_rfc_6920():
    assert public_key_name(b"Hello World!") == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"


def test_a_credential_of_another_authority_lets_nobody_in():
    """A server that is a client, too, does not let in whoever it talks to."""
    data = {"coaps://elsewhere.example/*": rpk("gateway", {":elsewhere": public_pem(SENSOR)})}
    loaded = CredentialsMap.from_dict(data).for_server(OwnNames(["127.0.0.1"], ["here.example"], loopback=True))
    assert loaded.dtls_peers.find_raw_key(spki(SENSOR), NOW.timestamp()) is None
    assert not loaded.serves_dtls
    assert normal_host("here.example") == "here.example"


def test_one_key_in_two_entries_is_a_fault():
    with pytest.raises(CredentialsFault, match=r"the same peers as in :a\.dtls-rpk"):
        store({":a": rpk("gateway", [public_pem(SENSOR)]), ":b": rpk("gateway", [public_pem(SENSOR)])})


def test_a_client_knows_its_servers_by_their_keys():
    data = {"coaps://*/*": {**rpk("sensor", {":gateway": public_pem(OTHER)}), "claims": ["mine"]}}
    chosen = CredentialsMap.from_dict(data).select("coaps", "h", None, (), 1, now=NOW.timestamp()).dtls
    offered: Any = engine_credential(chosen)
    assert offered.judge((spki(OTHER),)) == Proof(
        public_key_name(spki(OTHER)).encode(), ("coaps://*/*", ":gateway", "mine")
    )
    verdict = offered.judge((spki(SENSOR),))
    assert isinstance(verdict, Refusal)
    assert public_key_name(spki(SENSOR)) in verdict.text


# Certificates.


def test_a_chain_to_the_authority_and_the_names_in_it():
    found = store({":fleet": {**x509("gateway", "gateway.example"), "claims": ["reader"]}})
    leaf = AUTHORITY.issue(SENSOR, "sensor-19.example", "urn://x", "192.0.2.9")
    verdict = judged(found, SENSOR, leaf)
    assert verdict.claims == (":fleet", "reader", "san:sensor-19.example", "san:urn://x", "san:192.0.2.9")
    assert verdict.source.validity.not_after < NOW.timestamp() + 31 * 86400  # a session ends with its certificate


def test_peer_names_tell_entries_apart():
    found = store({
        ":one": x509("gateway", "gateway.example", **{"peer-names": ["One.example"]}),
        ":two": x509(None, **{"peer-names": ["two.example", "192.0.2.2"]}),
    })  # fmt: skip
    assert judged(found, SENSOR, AUTHORITY.issue(SENSOR, "one.example")).claims[0] == ":one"
    assert judged(found, SENSOR, AUTHORITY.issue(SENSOR, "x.example", "192.0.2.2")).claims[0] == ":two"
    verdict = judged(found, SENSOR, AUTHORITY.issue(SENSOR, "three.example"))
    assert verdict.alert is Alert.ACCESS_DENIED


def test_each_authority_has_its_entry():
    found = store({":fleet": x509("gateway", "g.example"), ":partners": x509(None, ca=(PARTNERS,))})
    assert judged(found, SENSOR, AUTHORITY.issue(SENSOR, "x.example")).claims[0] == ":fleet"
    assert judged(found, SENSOR, PARTNERS.issue(SENSOR, "x.example")).claims[0] == ":partners"
    assert judged(found, SENSOR, Authority("stranger").issue(SENSOR, "x.example")).alert is Alert.UNKNOWN_CA


def test_one_authority_twice_without_names_is_a_fault():
    with pytest.raises(CredentialsFault, match="the same peers"):
        store({":fleet": x509("gateway", "g.example"), ":again": x509(None)})


def test_the_certificate_for_the_name_that_is_asked_for():
    found = store({
        ":a": x509("a", "a.example"), ":b": x509("b", "b.example", ca=()), ":r": rpk("gateway", [public_pem(SENSOR)]),
    })  # fmt: skip
    keys = {name: spki(private_key("p256", name)) for name in ("gateway", "a", "b")}

    def order(name: str | None) -> list[str]:
        shown = [spki(one.private) for one in found.own_keys(name)]
        return [next(name for name, key in keys.items() if key == one) for one in shown]

    assert order(None) == order("a.example") == order("c.example") == ["gateway", "a", "b"]
    assert order("B.example.") == ["gateway", "b", "a"]  # a raw public key goes before: who takes it needs no name


def test_expired_entries_are_not_used():
    data = {":a": {**x509("a", "a.example"), "not-after": "2020-01-01T00:00:00Z"}}
    data[":r"] = {**rpk("gateway", [public_pem(SENSOR)]), "not-before": "2030-01-01T00:00:00Z"}
    found = store(data)
    assert list(found.own_keys(None)) == []
    assert isinstance(judged(found, SENSOR), Refusal)
    assert isinstance(judged(found, SENSOR, AUTHORITY.issue(SENSOR, "x.example")), Refusal)


@pytest.mark.parametrize(
    ("uri", "san", "good"),
    [
        ("gateway.example", "gateway.example", True),
        ("gateway.example:7000", "gateway.example", True),
        ("gateway.example", "*.example", False),
        ("gateway.example", "other.example", False),
        ("192.0.2.2", "192.0.2.2", True),
        ("[2001:db8::2]", "2001:db8::2", True),
        ("gateway.example:7000", "coaps://gateway.example:7000", True),
        ("gateway.example", "coaps://gateway.example:7000", False),
    ],
)
def test_a_client_checks_the_authority_of_its_uri(uri, san, good):
    chosen = CredentialsMap.from_dict({"coaps://*/*": x509(None)}).select("coaps", "h", None, (), 1, now=0).dtls
    offered: Any = engine_credential(dtls_credentials.replace(chosen, authority=uri))
    verdict: Any = offered.judge((AUTHORITY.issue(OTHER, san),))
    assert isinstance(verdict, Proof) is good
    if not good:
        assert verdict.alert is Alert.BAD_CERTIFICATE
        assert "its certificate is for" in verdict.text


def test_peer_names_of_a_client_stand_for_the_authority():
    entry = x509(None, **{"peer-names": ["gateway.example"]})
    chosen = CredentialsMap.from_dict({"coaps://*/*": entry}).select("coaps", "h", None, (), 1, now=0).dtls
    offered: Any = engine_credential(dtls_credentials.replace(chosen, authority="192.0.2.2"))
    assert isinstance(offered.judge((AUTHORITY.issue(OTHER, "gateway.example"),)), Proof)
    assert isinstance(offered.judge((AUTHORITY.issue(OTHER, "192.0.2.2"),)), Refusal)


def test_a_session_is_for_one_authority_with_certificates_only():
    chosen = CredentialsMap.from_dict({"coaps://*/*": x509(None)}).select("coaps", "h", None, (), 1, now=0).dtls
    here, there = (dtls_credentials.replace(chosen, authority=one) for one in ("a.example", "b.example"))
    assert here.session_key != there.session_key
    psk = {"coaps://*/*": {"dtls": {"psk": bytes(16), "client-identity": b"x"}}}
    chosen = CredentialsMap.from_dict(psk).select("coaps", "h", None, (), 1, now=0).dtls
    here, there = (dtls_credentials.replace(chosen, authority=one) for one in ("a.example", "b.example"))
    assert here.session_key == there.session_key
    assert engine_credential(here).server_name == "a.example"


@pytest.mark.parametrize(
    ("remote", "options", "expected"),
    [
        ("gateway.example", {}, "gateway.example"),
        ("gateway.example:7000", {"uri_host": "gateway.example"}, "gateway.example:7000"),
        ("192.0.2.2:7000", {"uri_host": "gateway.example"}, "gateway.example:7000"),
        ("192.0.2.2", {"uri_host": "2001:db8::2", "uri_port": 1}, "[2001:db8::2]:1"),
        ("proxy.example", {"uri_host": "gateway.example", "proxy_scheme": "coap"}, "proxy.example"),
    ],
)
def test_the_authority_of_a_request(remote, options, expected):
    message = Message(code=Code.GET, uri=f"coaps://{remote}/")
    for name, value in options.items():
        setattr(message.options, name, value)
    message.unresolved_remote = remote
    assert authority_of(message) == expected


# Stores that answer later, and reloads.


async def taken(pending: Pending) -> Any:
    answer = asyncio.get_running_loop().create_future()
    pending.taker = lambda value, _now: answer.set_result(value)
    return await answer


def test_a_store_may_answer_later():
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answered = []
        loaded = CredentialsMap.from_dict({":a": {"dtls": {"psk": bytes(16), "client-identity": b"a"}}})

        async def find(identity: bytes) -> Any:
            await asyncio.sleep(0)
            return loaded.find_psk(identity, NOW.timestamp())

        found = ServerStore(loop, find, lambda: None, lambda: answered.append(True))
        for identity, expected in ((b"a", b"a"), (b"b", None)):
            pending = found.look_up(identity)
            assert isinstance(pending, Pending)
            got = await taken(pending)
            assert (got and got.identity) == expected
        assert answered == [True, True]
        found.close()

    asyncio.run(scenario())


def test_a_store_that_fails_knows_nobody(caplog):
    async def scenario() -> None:
        async def find(_identity: bytes) -> Any:
            raise OSError("the database is away")

        found = ServerStore(asyncio.get_running_loop(), find, lambda: None, lambda: None)
        pending = found.look_up(b"a")
        assert await taken(pending) is None

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert "a store of DTLS credentials failed" in caplog.text


def psk(identity: str, key: str) -> dict[str, Any]:
    return {"dtls": {"client-identity": {"ascii": identity}, "psk": {"ascii": key}}}


def test_a_pre_shared_key_is_made_ready_once_and_again_after_a_reload():
    maps = [CredentialsMap.from_dict({":a": psk("a", "key number one ..")}, role="server")]
    found: Any = ServerStore(
        None, lambda one: maps[-1].find_psk(one, NOW.timestamp()), lambda: maps[-1].dtls_peers, print
    )
    first = found.look_up(b"a")
    assert (first.key, first.claims) == (b"key number one ..", (":a",))
    assert found.look_up(b"a") is first
    assert found.look_up(b"b") is None
    assert set(found._made) == {b"a"}
    maps.append(CredentialsMap.from_dict({":a": psk("a", "key number two ..")}, role="server"))
    assert found.look_up(b"a").key == b"key number two .."
    maps.append(CredentialsMap.from_dict({":b": psk("b", "key number two ..")}, role="server"))
    assert found.look_up(b"a") is None
    assert not found._made
    assert found.look_up(b"b").claims == (":b",)
    maps.append(maps[0])
    assert found.has_psk()
    assert not found._made  # no key is kept that nobody has any more


def test_the_pre_shared_keys_that_are_made_ready_are_bounded(monkeypatch):
    monkeypatch.setattr(dtls_credentials, "_MOST_MADE", 3)
    found: Any = store({f":{name}": psk(name, "sixteen bytes ...") for name in "abcde"})
    for name in "abcde":
        assert found.look_up(name.encode()).claims == (f":{name}",)
        assert len(found._made) <= 3


def test_a_reload_is_followed():
    maps = [CredentialsMap.from_dict({":s": rpk("gateway", [public_pem(SENSOR)])})]
    found = ServerStore(None, lambda _: None, lambda: maps[-1].dtls_peers, lambda: None)
    assert isinstance(judged(found, SENSOR), Proof)
    maps.append(CredentialsMap.from_dict({":s": rpk("gateway", [public_pem(OTHER)])}))
    assert isinstance(judged(found, SENSOR), Refusal)
    assert isinstance(judged(found, OTHER), Proof)
    maps.append(CredentialsMap({}))
    assert list(found.own_keys(None)) == []
    assert not found.accepts(CertificateType.X509)


# The samples, over loopback.


class Whoami(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=" ".join(request.remote.authenticated_claims).encode())


@pytest.mark.parametrize(
    ("kind", "claims"),
    [
        ("rpk", ":sensors :sensor-19"),
        ("x509", ":fleet san:urn:dev:os:32473-sensor-19"),
    ],
)
def test_the_samples_shake_hands(tmp_path, monkeypatch, kind, claims):
    monkeypatch.undo()  # the samples are valid now

    async def scenario() -> None:
        site = Site()
        site.add("/whoami", Whoami())
        server = Context.server(
            site, bind=["coaps://127.0.0.1:0"], credentials=SAMPLES / f"server-{kind}.json", state=tmp_path / "s"
        )
        async with server:
            port = server.endpoints[0].rsplit(":", 1)[1]
            async with Context.client(credentials=SAMPLES / f"sensor-{kind}.json", state=tmp_path / "c") as client:
                answer = await client.get(f"coaps://127.0.0.1:{port}/whoami", timeout=20)
                assert answer.payload.decode() == claims
                again = await client.get(f"coaps://127.0.0.1:{port}/whoami", timeout=20)
                assert again.remote == answer.remote

    asyncio.run(scenario())


def test_a_server_of_another_name_gets_no_request(tmp_path, monkeypatch):
    monkeypatch.undo()

    async def scenario() -> None:
        entry = {"coaps://*/*": {"dtls-x509": {
            "certificate": {"file": "keys/sensor-19.cert.pem"}, "private-key": {"file": "keys/sensor-19.key.pem"},
            "ca": [{"file": "keys/ca.cert.pem"}], "peer-names": ["elsewhere.example"],
        }}}  # fmt: skip
        credentials = CredentialsMap.from_dict(entry, base=SAMPLES)
        server = Context.server(
            Site(), bind=["coaps://127.0.0.1:0"], credentials=SAMPLES / "server-x509.json", state=tmp_path / "s"
        )
        async with server:
            port = server.endpoints[0].rsplit(":", 1)[1]
            async with Context.client(credentials=credentials, state=tmp_path / "c") as client:
                with pytest.raises(HandshakeFailed, match=r"not for elsewhere\.example") as caught:
                    await client.get(f"coaps://127.0.0.1:{port}/whoami", timeout=20)
                assert caught.value.alert == "bad_certificate"

    asyncio.run(scenario())


def test_a_client_that_stays_anonymous_is_served_over_reloads_and_has_no_claims(tmp_path, monkeypatch, caplog):
    monkeypatch.undo()
    gateway = {"certificate": {"file": "keys/gateway.cert.pem"}, "private-key": {"file": "keys/gateway.key.pem"}}
    served = {":gateway": {"dtls-x509": gateway}, "coaps://*/hello": {"unprotected": True}}
    known = {"coaps://*/*": {"dtls-x509": {"ca": [{"file": "keys/ca.cert.pem"}]}}}

    async def scenario() -> None:
        site = Site()
        site.add("/hello", Whoami())
        site.add("/closed", Whoami())
        of_server, of_client = (CredentialsMap.from_dict(one, base=SAMPLES) for one in (served, known))
        async with Context.server(
            site, bind=["coaps://127.0.0.1:0"], credentials=of_server, state=tmp_path / "s"
        ) as server:
            uri = server.endpoints[0]
            async with Context.client(credentials=of_client, state=tmp_path / "c") as client:
                first = await client.get(uri + "/hello", timeout=20)
                assert (first.code, first.payload) == (Code.CONTENT, b"")
                assert (await client.get(uri + "/closed", timeout=20)).code == Code.UNAUTHORIZED
                await server.reload(CredentialsMap.from_dict(served, base=SAMPLES))
                again = await client.get(uri + "/hello", timeout=20)
                assert (again.code, again.remote) == (Code.CONTENT, first.remote)
            async with Context.client(credentials=of_client, state=tmp_path / "c") as client:  # after a reload
                assert (await client.get(uri + "/hello", timeout=20)).code == Code.CONTENT
        assert not [record for record in caplog.records if record.name == "asyncio"]

    asyncio.run(scenario())
