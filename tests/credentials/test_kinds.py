"""The kinds that cannot be used yet parse and are checked all the same; context directories; aiocoap's forms."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from securecoap.credentials import CredentialsMap
from securecoap.errors import CredentialsFault, CredentialsMissing
from securecoap.oscore.context import SecurityContext
from tests.dtls.material import Authority, private_key

from .material import GET, NOW, SECRET, build, psk


def private(key, encoding=Encoding.PEM):
    return key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())


def public(key, encoding=Encoding.PEM):
    return key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2050, 1, 1, tzinfo=dt.UTC)
    )
    return made.sign(key, hashes.SHA256())


OWN, PEER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def faults(entry):
    with pytest.raises(CredentialsFault) as caught:
        build({":a": entry})
    return caught.value.faults


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_raw_public_keys(encoding):
    entry = {
        "private-key": private(OWN, encoding),
        "public-key": public(OWN, encoding),
        "peer-keys": [public(PEER, encoding)],
    }
    (found,) = build({":a": {"dtls-rpk": entry}}).credentials()
    assert found.public_key == public(OWN, Encoding.DER)
    assert found.peer_keys == (("", public(PEER, Encoding.DER)),)
    assert found.private_key.reveal() == private(OWN, Encoding.DER)


def test_each_peer_key_with_a_label_can_be_referred_to():
    entry = {"private-key": private(OWN), "peer-keys": {":p": public(PEER)}}
    loaded = build({":a": {"dtls-rpk": entry}, "coap*://*/x": ":p"})
    assert loaded.policy.decide("coaps", "h", 5684, ("x",), GET, (":p",), NOW) == 0
    assert loaded.policy.decide("coaps", "h", 5684, ("x",), GET, (":a",), NOW) == 0x83
    with pytest.raises(CredentialsFault, match="there is another :p"):
        build({":a": {"dtls-rpk": entry}, ":p": psk()})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"private-key": b"junk"}, ":a.dtls-rpk.private-key: not a private key"),
        ({"private-key": public(OWN)}, ":a.dtls-rpk.private-key: not a private key"),
        ({"public-key": public(PEER)}, ":a.dtls-rpk.public-key: it does not belong to the private key"),
        ({"public-key": b""}, ":a.dtls-rpk.public-key: not a public key"),
        ({"peer-keys": []}, ":a.dtls-rpk.peer-keys: a list is expected, not empty"),
        ({"peer-keys": {}}, ":a.dtls-rpk.peer-keys: a list of public keys"),
        ({"peer-keys": {"p": public(PEER)}}, ':a.dtls-rpk.peer-keys: a peer\'s label begins with ":"'),
        ({"peer-keys": [public(PEER), public(PEER)]}, ":a.dtls-rpk.peer-keys: one public key is given twice"),
    ],
)
def test_faulty_raw_public_keys(change, fault):
    entry = {"private-key": private(OWN), "peer-keys": [public(PEER)], **change}
    assert any(found.startswith(fault) for found in faults({"dtls-rpk": entry}))


def test_keys_of_other_kinds_and_lengths_are_refused():
    locked = OWN.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    small = rsa.generate_private_key(65537, 1024)
    other = dsa.generate_private_key(1024)
    for key, text in (
        (locked, "without passphrase"),
        (private(small), "2048 bits"),
        (private(other), "kind that is not used"),
    ):
        assert text in faults({"dtls-rpk": {"private-key": key, "peer-keys": [public(PEER)]}})[0]
    for key in (small, other):
        assert "peer-keys[0]" in faults({"dtls-rpk": {"private-key": private(OWN), "peer-keys": [public(key)]}})[0]
    ed = ed25519.Ed25519PrivateKey.generate()
    assert build({":a": {"dtls-rpk": {"private-key": private(ed), "peer-keys": [public(ed)]}}}).credentials()


def test_certificates():
    own, ca = certificate(OWN), certificate(PEER)
    chain = own.public_bytes(Encoding.PEM) + ca.public_bytes(Encoding.PEM)
    entry = {
        "certificate": chain,
        "private-key": private(OWN),
        "ca": [ca.public_bytes(Encoding.DER)],
        "peer-names": ["h"],
    }
    (found,) = build({":a": {"dtls-x509": entry}}).credentials()
    assert found.certificates == (own.public_bytes(Encoding.DER), ca.public_bytes(Encoding.DER))
    assert found.authorities == (ca.public_bytes(Encoding.DER),)
    assert found.peer_names == ("h",)
    assert build({":a": {"dtls-x509": {"ca": entry["ca"]}}}).credentials()[0].private_key is None


def test_faulty_certificates():
    own = certificate(OWN).public_bytes(Encoding.PEM)
    assert "belong together" in faults({"dtls-x509": {"certificate": own}})[0]
    assert "belong together" in faults({"dtls-x509": {"private-key": private(OWN), "ca": [own]}})[0]
    assert "does not belong" in faults({"dtls-x509": {"certificate": own, "private-key": private(PEER)}})[0]
    assert ":a.dtls-x509.ca[0]: not a certificate" in faults({"dtls-x509": {"ca": [b"x"]}})[0]


def context_directory(path, settings, secret):
    path.mkdir()
    for name, content in (("settings.json", settings), ("secret.json", secret)):
        if content is not None:
            (path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return CredentialsMap.from_dict({":a": {"oscore": {"basedir": path.name + "/"}}}, base=path.parent)


WHOLE = {
    "sender-id_hex": "01",
    "recipient-id_ascii": "",
    "secret_hex": SECRET,
    "salt_hex": "9e7c",
    "id-context_ascii": "ctx",
}


def test_a_context_directory_of_aiocoap(tmp_path):
    others = {"algorithm": "AES-CCM-16-64-256", "kdf-hashfun": "sha384", "window": 64, "comment": "kept by others"}
    loaded = context_directory(tmp_path / "c", {**WHOLE, **others}, None)
    (found,) = loaded.find_oscore(b"", b"ctx", NOW)
    assert (found.sender_id, found.salt, found.algorithm.number, found.hash_name, found.window) == (
        b"\x01", b"\x9e\x7c", 11, "SHA-384", 64,
    )  # fmt: skip
    assert found.secret.reveal().hex() == SECRET
    assert found.basedir == tmp_path / "c"
    assert loaded.warnings == (":a.oscore.basedir: settings.json: unknown member comment is ignored",)


def test_a_context_directory_may_have_two_files(tmp_path):
    settings = {name: value for name, value in WHOLE.items() if name != "secret_hex"}
    assert context_directory(tmp_path / "c", settings, {"secret_hex": SECRET}).find_oscore(b"", None, NOW)


@pytest.mark.parametrize(
    ("settings", "secret", "fault"),
    [
        (None, None, "no context directory"), ("{", None, "settings.json: not JSON"), ([], None, "settings.json: an object"),
        ({}, {}, "secret is in neither"), (WHOLE, {"secret_hex": SECRET}, "secret.json: secret is given twice"),
        (WHOLE | {"secret_ascii": "x"}, None, "settings.json: secret is given twice"),
        (WHOLE | {"salt_hex": "x"}, None, "not an even number"), (WHOLE | {"salt_hex": {"file": "x"}}, None, ""),
        (WHOLE | {"salt": "x"}, None, "settings.json: salt is written as"), (WHOLE | {"window": "x"}, None, "a whole number"),
        (WHOLE | {"algorithm": "A128CBC"}, None, "no AEAD"), (WHOLE | {"sender-id_hex": "00" * 8}, None, "longer than"),
        ("[" * 100_000, None, "settings.json: not JSON"),
    ],
)  # fmt: skip
def test_faulty_context_directories(tmp_path, settings, secret, fault):
    with pytest.raises(CredentialsFault) as caught:
        context_directory(tmp_path / "c", settings, secret)
    assert any(text.startswith(":a.oscore.basedir") and fault in text for text in caught.value.faults)


def test_two_entries_with_one_directory(tmp_path):
    context_directory(tmp_path / "c", WHOLE, None)
    with pytest.raises(CredentialsFault, match="same sender context"):
        CredentialsMap.from_dict({name: {"oscore": {"basedir": "c"}} for name in (":a", ":b")}, base=tmp_path)


def test_entries_in_the_form_of_aiocoap():
    form = {
        "coaps://host/*": {"dtls": {"psk": {"ascii": "secretPSK"}, "client-identity": {"ascii": "client_Identity"}}}
    }
    loaded = build(form)
    assert loaded.select("coaps", "host", None, ("x",), GET, now=NOW).dtls.psk.reveal() == b"secretPSK"
    assert loaded.find_psk(b"client_Identity", NOW)
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize(
    "entry",
    [
        {"dtls-rpk": {"private-key": private(OWN), "peer-keys": [public(PEER)]}},
        {"dtls-x509": {"ca": [certificate(OWN).public_bytes(Encoding.PEM)]}},
    ],
)
def test_keys_and_certificates_are_for_coaps(entry):
    loaded = build({"*": entry})
    assert loaded.warnings == ()
    assert loaded.select("coaps", "h", None, (), GET, now=NOW).dtls.kind == next(iter(entry))
    with pytest.raises(CredentialsMissing, match="for coaps, not coap"):
        loaded.select("coap", "h", None, (), GET, now=NOW)


def test_a_certificate_without_ca_makes_no_client():
    own = certificate(OWN).public_bytes(Encoding.PEM)
    loaded = build({"*": {"dtls-x509": {"certificate": own, "private-key": private(OWN)}}})
    with pytest.raises(CredentialsMissing, match="no ca"):
        loaded.select("coaps", "h", None, (), GET, now=NOW)


def test_an_id_context_fits_an_oscore_option():
    entry = {"secret": {"hex": SECRET}, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}
    whole = entry | {"id-context": bytes(240)}
    (found,) = build({":a": {"oscore": whole}}).credentials()
    SecurityContext.derive(
        found.secret.reveal(), found.salt, bytes(7), found.recipient_id, id_context=found.id_context
    )  # takes what the file's check lets through
    assert faults({"oscore": entry | {"id-context": bytes(241)}}) == [":a.oscore.id-context: longer than 240 bytes"]


GROUP: dict[str, Any] = {
    "secret": {"hex": "00" * 16},
    "group-id": {"hex": "0a"},
    "sender-id": {"hex": "01"},
    "algorithm": "A128GCM",
}


def test_group_oscore_parses_and_says_that_it_is_not_usable_yet():
    loaded = build({":a": {"group-oscore": GROUP}, "coap://h/*": ":a"})
    assert any(":a.group-oscore" in text and "group-oscore is not usable yet" in text for text in loaded.warnings)
    assert not any(loaded.find_oscore(b"\x01", context, NOW) for context in (None, b"\x0a"))
    with pytest.raises(CredentialsMissing):
        loaded.select("coap", "h", None, (), GET, now=NOW)
    assert GROUP["secret"]["hex"] not in repr(loaded.entries)


@pytest.mark.parametrize("missing", ["secret", "group-id", "sender-id"])
def test_group_oscore_is_checked(missing):
    with pytest.raises(CredentialsFault, match=f"{missing} is missing"):
        build({":a": {"group-oscore": {name: value for name, value in GROUP.items() if name != missing}}})
    with pytest.raises(CredentialsFault, match="the key is empty"):
        build({":a": {"group-oscore": GROUP | {"secret": {"hex": ""}}}})


def test_a_server_is_warned_of_an_rsa_key():
    key = rsa.generate_private_key(65537, 2048)
    entry = {":own": {"dtls-x509": {
        "certificate": certificate(key).public_bytes(Encoding.PEM), "private-key": private(key),
    }}}  # fmt: skip
    loaded = CredentialsMap.from_dict(entry, role="server")
    assert "good for a client only" in loaded.warnings[0]
    assert not loaded.serves_dtls
    assert CredentialsMap.from_dict(entry, role="client").warnings == ()


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1()])
def test_keys_on_curves_that_dtls_does_not_have(curve):
    key = ec.generate_private_key(curve)
    assert (
        "kind that is not used" in faults({"dtls-rpk": {"private-key": private(key), "peer-keys": [public(PEER)]}})[0]
    )
    assert "kind that is not used" in faults({"dtls-rpk": {"private-key": private(OWN), "peer-keys": [public(key)]}})[0]
    entry = {"certificate": certificate(key).public_bytes(Encoding.PEM), "private-key": private(key)}
    assert "not of a kind that is used" in faults({"dtls-x509": entry})[0]


def test_a_certificate_whose_extensions_do_not_parse_is_a_fault():
    sound = AUTHORITY_WITH_NAMES
    broken = sound.replace(b"\x30\x0b\x82\x09localhost", b"\x30\x0b\x82\x0alocalhost")
    assert broken != sound
    assert "not a certificate" in faults({"dtls-x509": {"ca": [broken]}})[0]


AUTHORITY_WITH_NAMES = Authority("names").issue(private_key("p256", "names"), "localhost")
