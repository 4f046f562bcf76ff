"""``credentials/schema.json`` is made of the parsers' tables, and refuses what the loader refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.credentials import CredentialsMap, schema
from securecoap.credentials.kinds import KINDS, TABLES
from securecoap.credentials.values import FORMS
from securecoap.errors import CredentialsFault

from .material import EDHOC_KEY, EDHOC_OWN, EDHOC_PEER, edhoc, oscore, psk

SAMPLES = Path(__file__).parents[2] / "credentials"
FILES = sorted(path for path in SAMPLES.glob("*.json") if path.name != "schema.json")
HEX = {"hex": "00" * 16}
KEY = {"file": str(SAMPLES / "keys" / "gateway.key.pem")}
CHAIN = {"file": str(SAMPLES / "keys" / "gateway.cert.pem")}
CA = {"file": str(SAMPLES / "keys" / "ca.cert.pem")}
PUBLIC = {"file": str(SAMPLES / "keys" / "sensor-19.pub.pem")}


@pytest.fixture(scope="module")
def faults():
    """Counts what a schema-aware editor marks in a file."""
    jsonschema = pytest.importorskip("jsonschema")
    made = schema.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    return lambda content: len(list(validator.iter_errors(content)))


def test_the_file_is_what_the_tables_make():
    """After a change of a table: ``securecoap credentials schema > credentials/schema.json``, or ``tools/check --fix``."""
    assert (SAMPLES / "schema.json").read_text() == schema.schema_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_sample_fits(path, faults):
    assert faults(json.loads(path.read_text())) == 0


def test_its_own_example_is_one(faults):
    for example in schema.schema()["examples"]:
        assert faults(example) == 0


@pytest.mark.parametrize(
    "content",
    [
        {":a": psk("a", claims=["reader"]), "coap*://*/x*": {"any-of": [":a", psk("b")], "methods": ["PUT"]}},
        {":a": psk("a", **{"not-before": "2020-01-01T00:00:00Z", "not-after": "2999-12-31T23:59:59+01:00"})},
        {":a": oscore(algorithm="A128GCM", window=64, echo=False), ":b": ":a", "*": {"unprotected": True}},
        {":a": oscore(algorithm=10, rederive=True), ":none": None, "coap://[::1]:5683/x": None},
        {":a": edhoc(), "$schema": "schema.json"},
        {":a": edhoc(**{"own-cred": {"unauthenticated": True}, "own-cred-style": "by-value", "private-key": None})},
        {":a": {"dtls-rpk": {"private-key": KEY, "peer-keys": {":b": PUBLIC}}}},
        {":a": {"dtls-x509": {"certificate": CHAIN, "private-key": KEY, "ca": [CA], "peer-names": ["a.example"]}}},
        {"coaps+tcp://*": {"tlscert": {"certfile": str(SAMPLES / "keys" / "ca.cert.pem")}}},
        {":a": {"dtls": {"psk": {"base64": "AAAA"}, "client-identity": {"command": ["echo", "a"]}}}},
    ],
)
def test_what_loads_fits(content, faults):
    CredentialsMap.from_dict(content)
    assert faults(content) == 0


FAULTY = {
    "a name that is none": {"sensor": psk()},
    "an empty label": {":": psk()},
    "a scheme that is none": {"http://*": psk()},
    "a query": {"coap://h/x?y": psk()},
    "no kind": {":a": {"claims": ["x"]}},
    "two kinds": {":a": {**psk(), **oscore()}},
    "an unknown kind": {":a": {"dtls-psk": {}}},
    "an unknown neighbour": {":a": psk(claim=["x"])},
    "a value of another type": {":a": 7},
    "a reference to no label": {":a": "b"},
    "a claim that is a label": {":a": psk(claims=[":x"])},
    "an empty claim": {":a": psk(claims=[""])},
    "claims that are no list": {":a": psk(claims="x")},
    "methods of a label": {":a": psk(methods=["GET"])},
    "methods in a group": {"coap://*/x": {"any-of": [psk(methods=["GET"])]}},
    "no methods": {"coap://*/x": {"unprotected": True, "methods": []}},
    "an unknown method": {"coap://*/x": {"unprotected": True, "methods": ["READ"]}},
    "a date that is a number": {":a": psk(**{"not-after": 2030})},
    "an empty group": {":a": {"any-of": []}},
    "a group of nothing": {":a": {"all-of": [None]}},
    "not protected, not open": {"*": {"unprotected": False}},
    "a member too few": {":a": {"dtls": {"psk": HEX}}},
    "a member too many": {":a": {"dtls": {"psk": HEX, "client-identity": HEX, "identity": HEX}}},
    "a key without its form": {":a": {"dtls": {"psk": "00", "client-identity": HEX}}},
    "two forms": {":a": {"dtls": {"psk": {**HEX, "ascii": "x"}, "client-identity": HEX}}},
    "no form": {":a": {"dtls": {"psk": {}, "client-identity": HEX}}},
    "an unknown form": {":a": {"dtls": {"psk": {"text": "x"}, "client-identity": HEX}}},
    "half a digit": {":a": {"dtls": {"psk": {"hex": "000"}, "client-identity": HEX}}},
    "no digits": {":a": {"dtls": {"psk": {"hex": "xyzt"}, "client-identity": HEX}}},
    "no ASCII": {":a": {"dtls": {"psk": HEX, "client-identity": {"ascii": "ü"}}}},
    "no base64": {":a": {"dtls": {"psk": {"base64": "AAA"}, "client-identity": HEX}}},
    "no path": {":a": {"dtls": {"psk": {"file": ""}, "client-identity": HEX}}},
    "no variable": {":a": {"dtls": {"psk": {"env": "A=B"}, "client-identity": HEX}}},
    "no program": {":a": {"dtls": {"psk": {"command": []}, "client-identity": HEX}}},
    "a program without a name": {":a": {"dtls": {"psk": {"command": [""]}, "client-identity": HEX}}},
    "a shell's line": {":a": {"dtls": {"psk": {"command": "pass show x"}, "client-identity": HEX}}},
    "an unknown algorithm": {":a": oscore(algorithm="ROT13")},
    "an unknown hash": {":a": oscore(**{"kdf-hashfun": "MD5"})},
    "no window": {":a": oscore(window=0)},
    "a large window": {":a": oscore(window=4097)},
    "half a window": {":a": oscore(window=1.5)},
    "a word for a switch": {":a": oscore(echo="no")},
    "derived anew with a context of its own": {":a": oscore(rederive=True, **{"id-context": HEX})},
    "a directory and more": {":a": {"oscore": {"basedir": "x", "secret": HEX}}},
    "no secret": {":a": {"oscore": {"sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}}},
    "no peers": {":a": {"dtls-rpk": {"private-key": KEY, "peer-keys": []}}},
    "nobody's keys": {":a": {"dtls-rpk": {"private-key": KEY, "peer-keys": {}}}},
    "a peer without a label": {":a": {"dtls-rpk": {"private-key": KEY, "peer-keys": {"b": PUBLIC}}}},
    "a certificate without its key": {":a": {"dtls-x509": {"certificate": CHAIN, "ca": [CA]}}},
    "a key without its certificate": {":a": {"dtls-x509": {"private-key": KEY, "ca": [CA]}}},
    "no certificate at all": {":a": {"dtls-x509": {"peer-names": ["a"]}}},
    "no authorities": {":a": {"dtls-x509": {"ca": []}}},
    "a name of nothing": {":a": {"dtls-x509": {"ca": [CA], "peer-names": [""]}}},
    "no method of EDHOC": {":a": edhoc(method=4)},
    "a style that is none": {":a": edhoc(**{"own-cred-style": "by-name"})},
    "nobody talks with nobody": {":a": {"edhoc-oscore": {"suite": 2, "method": 3}}},
    "a key for nobody": {
        ":a": {"edhoc-oscore": {"suite": 2, "method": 3, "peer-cred": EDHOC_PEER, "private-key": EDHOC_KEY}}
    },
    "an identity without its key": {":a": edhoc(**{"private-key": None})},
    "nobody with a key": {":a": edhoc(**{"own-cred": {"unauthenticated": True}, "own-cred-style": "by-value"})},
    "nobody by name": {":a": edhoc(**{"own-cred": {"unauthenticated": True}, "private-key": None})},
    "two private keys": {":a": edhoc(**{"private-key-file": "x"})},
    "a credential that is no claims set": {":a": edhoc(**{"peer-cred": {"33": {"hex": "00"}}})},
    "half unauthenticated": {":a": edhoc(**{"peer-cred": {"unauthenticated": True, **EDHOC_OWN}})},
    "no file with certificates": {"coaps+tcp://*": {"tlscert": {}}},
}


@pytest.mark.parametrize("content", FAULTY.values(), ids=FAULTY)
def test_what_is_faulty_is_marked_and_refused(content, faults):
    with pytest.raises(CredentialsFault):
        CredentialsMap.from_dict(content)
    assert faults(content) > 0


def test_each_kind_says_what_its_members_are():
    definitions = schema.schema()["$defs"]
    assert {next(iter(one["properties"])) for one in definitions["bytes"]["oneOf"]} == set(FORMS)
    for kind in KINDS:
        form = definitions[kind].get("oneOf", [definitions[kind]])[-1]
        parsers, required = TABLES[kind]
        assert form["properties"].keys() == parsers.keys()
        assert tuple(form["required"]) == required
        assert form["additionalProperties"] is False
        assert all(member["description"] for member in form["properties"].values())


def test_the_tables_are_what_the_parsers_ask_for():
    for kind, (_, required) in TABLES.items():
        with pytest.raises(CredentialsFault) as caught:
            CredentialsMap.from_dict({":a": {kind: {}}})
        missing = {
            fault.removesuffix(" is missing").rpartition(": ")[2]
            for fault in caught.value.faults
            if "is missing" in fault
        }
        assert missing == set(required), kind


def test_a_parser_that_the_schema_does_not_know_is_noticed(monkeypatch):
    monkeypatch.setitem(TABLES["dtls"][0], "psk", lambda *_: None)
    with pytest.raises(KeyError):
        schema.schema()
