"""``credentials list``, ``show`` and ``explain``."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography.x509 import load_pem_x509_certificate

from securecoap.cli.inspecting import hidden
from securecoap.state import SqliteStateStore
from tests.cli.conftest import SAMPLES

SERVER = SAMPLES / "server.json"
KEYS = ("70d634576ed8c60fac270a44780f754a", "816e561b1b290b51ae25368f4ac8a9a6")


def test_a_list_has_no_secrets(run):
    outcome = run("credentials", "list", SERVER)
    assert outcome.status == 0
    assert outcome.out.decode().splitlines() == [
        ":sensor-17\tdtls\t:sensor-17 reader\talways",
        ":sensor-18\toscore\t:sensor-18\talways",
    ]


def test_a_list_says_until_when(run, write):
    entry = {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"hex": "00" * 16}}}
    other = {"dtls": {"client-identity": {"ascii": "b"}, "psk": {"hex": "00" * 16}}}
    path = write(
        {
            ":ended": {**entry, "not-after": "2001-01-01T00:00:00Z"},
            ":later": {**other, "not-before": "2999-01-01T00:00:00Z"},
        }
    )
    rows = [line.split("\t")[-1] for line in run("credentials", "list", path).out.decode().splitlines()]
    assert rows == ["ended 2001-01-01T00:00:00Z", "from 2999-01-01T00:00:00Z"]


def test_a_list_says_when_a_certificate_ends(run):
    certificate = load_pem_x509_certificate((SAMPLES / "keys/gateway.cert.pem").read_bytes())
    end = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    row = run("credentials", "list", SAMPLES / "server-x509.json").out.decode().rstrip("\n")
    assert row in {f":fleet\tdtls-x509\t:fleet\tuntil {end}", f":fleet\tdtls-x509\t:fleet\tended {end}"}


def test_a_list_says_what_was_revoked(run, write):
    path = write({":a": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"hex": "00" * 16}}}})
    path.chmod(0o600)
    assert run("credentials", "revoke", path, ":a").status == 0
    assert run("credentials", "list", path).out.decode().split("\t")[-1] == "revoked\n"
    assert b"nobody gets in by :a now (revoked)" in run("credentials", "explain", path, "coaps://h/", "--as", ":a").out


def test_a_list_says_who_was_last_seen(run, tmp_path):
    """From the state directory of a server, also while it runs."""

    async def write(seen):
        store = SqliteStateStore(tmp_path / "state")
        await store.save_sightings(seen, 0)
        outcome = run("credentials", "list", SERVER, "--state", tmp_path / "state")
        await store.close()
        return outcome

    outcome = asyncio.run(write({":sensor-18": 1_800_000_000, ":gone": 1}))
    assert (outcome.status, outcome.err) == (0, "")
    rows = [line.split("\t") for line in outcome.out.decode().splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [(":sensor-17", "never"), (":sensor-18", "2027-01-15T08:00:00Z")]
    given = run("credentials", "list", SERVER, "--state", tmp_path / "state" / "state.sqlite3")
    assert given == outcome
    for path in (tmp_path, SERVER):
        assert run("credentials", "list", SERVER, "--state", path)[:2] == (2, b"")


def test_show_hides_keys(run):
    outcome = run("credentials", "show", SERVER, ":sensor-17")
    assert outcome.status == 0
    shown = json.loads(outcome.out)
    assert shown["dtls"] == {"client-identity": {"ascii": "sensor-17"}, "psk": {"hex": "(hidden)"}}
    assert not any(key.encode() in outcome.out for key in KEYS)
    revealed = run("credentials", "show", SERVER, ":sensor-17", "--reveal")
    assert json.loads(revealed.out) == json.loads(SERVER.read_text())[":sensor-17"]
    assert run("credentials", "show", SERVER, "sensor-17") == outcome
    assert run("credentials", "show", SERVER, ":nobody").status == 2


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("s*.json")), ids=lambda path: path.name)
def test_no_entry_shows_a_secret(path):
    if path.name == "schema.json":
        return
    for entry in json.loads(path.read_text()).values():
        text = json.dumps(hidden(entry))
        for member in ("psk", "secret", "private-key"):
            assert f'"{member}": {{"hex": "(hidden)"}}' in text or f'"{member}": {{"hex"' not in text


def test_what_is_not_known_is_hidden():
    assert hidden({"later-kind": {"thing": {"hex": "00"}, "things": [{"base64": "AA=="}]}}) == {
        "later-kind": {"thing": {"hex": "(hidden)"}, "things": [{"base64": "(hidden)"}]}
    }


@pytest.mark.parametrize(
    ("uri", "arguments", "status", "says"),
    [
        ("coap://h/store/x", (), 1, ["4.01", "coap*://*/store/* decides", ":sensor-17 or :sensor-18"]),
        ("coap://h/store/x", ("--as", ":sensor-18"), 0, ["allowed", "coap*://*/store/*"]),
        ("coaps://h/hello", (), 0, ["allowed", "asks for nothing"]),
        ("coap://h/time", (), 1, ["4.01", "no pattern covers it"]),
        ("coaps://h/time", ("--as", ":sensor-17", "--method", "put"), 0, ["PUT", "any proof is enough"]),
        ("coap://h/time", ("--as", ":sensor-17"), 1, ["4.01", "there is none", ":sensor-17 proves nothing by coap"]),
        ("coaps://h/time", ("--as", ":sensor-18"), 0, ["allowed", "a second --as says it"]),
        ("coaps://h/time", ("--as", ":sensor-18", "--as", ":sensor-17"), 0, ["(:sensor-18, :sensor-17, reader)"]),
        ("coaps://h/time", ("--as", ":sensor-17", "--as", ":sensor-17"), 2, []),
        ("coap://h/.well-known/core", (), 0, ["open to everybody"]),
        ("coap://h/store/x", ("--as", "sensor-18"), 0, ["by :sensor-18"]),
        ("coap://h/store/x", ("--as", ":nobody"), 2, []),
        ("no uri", (), 2, []),
    ],
)
def test_explain(run, uri, arguments, status, says):
    outcome = run("credentials", "explain", SERVER, uri, *arguments)
    assert outcome.status == status
    text = outcome.out.decode()
    assert all(part in text for part in says), text


def test_explain_a_path_that_is_covered_for_another_scheme_only(run, write):
    path = write({"coaps://*/a/*": {"unprotected": True}, "*": {"unprotected": True}})
    outcome = run("credentials", "explain", path, "coap://h/a/x")
    assert outcome.status == 1
    assert "other schemes or authorities" in outcome.out.decode()


def test_a_faulty_file_is_said_to_be_one(run, write):
    path = write({":a": {"dtls": {}}})
    for command in (["list", path], ["show", path, ":a"], ["explain", path, "coap://h/x"]):
        outcome = run("credentials", *command)
        assert outcome[:2] == (2, b"")
        assert ":a.dtls" in outcome.err


def test_the_schema_is_the_one_beside_the_samples(run):
    outcome = run("credentials", "schema")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.decode() == (SAMPLES / "schema.json").read_text()
