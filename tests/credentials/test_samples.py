"""The samples in ``credentials/`` load, belong together, and fit their schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.credentials import CredentialsMap, DtlsPsk
from securecoap.credentials.entries import METHODS
from securecoap.credentials.kinds import KINDS
from securecoap.credentials.models import OscoreContext

from .material import GET, NOW, PUT

SAMPLES = Path(__file__).parents[2] / "credentials"
FILES = sorted(path for path in SAMPLES.glob("*.json") if path.name != "schema.json")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_sample_loads(path):
    warnings = CredentialsMap.load(path).warnings
    assert all("not usable yet" in warning for warning in warnings)


def test_every_kind_has_a_sample():
    found = {credential.kind for path in FILES for credential in CredentialsMap.load(path).credentials()}
    assert KINDS.keys() == found


def test_both_layers_at_once():
    """OSCORE over DTLS: what the device has for a request is what the server's pattern asks for, and nothing less."""
    server = CredentialsMap.load(SAMPLES / "server-both.json", role="server")
    mine = CredentialsMap.load(SAMPLES / "sensor-both.json", role="client").select(
        "coaps", "localhost", 40001, ("store", "x"), PUT, now=NOW
    )
    assert isinstance(mine.dtls, DtlsPsk)
    assert isinstance(mine.oscore, OscoreContext)
    outer = server.find_psk(mine.dtls.identity, NOW)
    assert outer.psk == mine.dtls.psk
    (inner,) = server.find_oscore(mine.oscore.sender_id, mine.oscore.id_context, NOW)
    assert (inner.secret, inner.salt, inner.sender_id) == (
        mine.oscore.secret,
        mine.oscore.salt,
        mine.oscore.recipient_id,
    )
    for claims, expected in [
        ((*inner.claims, *outer.claims), 0),
        (inner.claims, 0x83),
        (outer.claims, 0x83),
        ((), 0x81),
    ]:
        assert server.policy.decide("coaps", "localhost", 40001, ("store", "x"), PUT, claims, NOW) == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_the_devices_are_known_to_the_server_on_any_port(host):
    server = CredentialsMap.load(SAMPLES / "server.json", role="server")
    dtls = CredentialsMap.load(SAMPLES / "sensor-dtls.json", role="client").select(
        "coaps", host, 40001, ("x",), GET, now=NOW
    )
    assert isinstance(dtls.dtls, DtlsPsk)
    assert server.find_psk(dtls.dtls.identity, NOW).psk == dtls.dtls.psk
    assert len(dtls.dtls.psk) >= 16
    for sensor, peers in (
        ("sensor-oscore.json", server),
        ("sensor-basedir.json", CredentialsMap.load(SAMPLES / "server-basedir.json")),
    ):
        mine = (
            CredentialsMap.load(SAMPLES / sensor, role="client")
            .select("coap", host, 40001, ("x",), GET, now=NOW)
            .oscore
        )
        assert isinstance(mine, OscoreContext)
        (theirs,) = peers.find_oscore(mine.sender_id, mine.id_context, NOW)
        assert (theirs.secret, theirs.salt, theirs.recipient_id) == (mine.secret, mine.salt, mine.sender_id)
        assert theirs.sender_id == mine.recipient_id


@pytest.mark.parametrize(
    ("segments", "claims", "expected"),
    [
        (("hello",), (), 0), ((".well-known", "core"), (), 0), (("time",), (), 0x81), (("whoami",), (), 0x81),
        (("time",), (":sensor-18",), 0), (("store", "x"), (), 0x81), (("store", "x"), (":sensor-17", "reader"), 0),
        (("store", "x"), (":sensor-18",), 0), (("store", "x"), (":stranger", "reader"), 0x83),
    ],
)  # fmt: skip
def test_the_policy_of_the_demo(segments, claims, expected):
    policy = CredentialsMap.load(SAMPLES / "server.json", role="server").policy
    for scheme in ("coap", "coaps"):
        for method in (GET, PUT):
            assert policy.decide(scheme, "127.0.0.1", 40001, segments, method, claims, NOW) == expected


def test_the_schema_knows_every_kind_and_method():
    schema = json.loads((SAMPLES / "schema.json").read_text())
    properties = schema["$defs"]["entry"]["properties"]
    assert properties.keys() == {
        *KINDS, "any-of", "all-of", "unprotected", "claims", "methods", "not-before", "not-after",
    }  # fmt: skip
    assert properties["methods"]["items"]["enum"] == list(METHODS)
