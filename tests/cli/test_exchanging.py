"""``credentials import`` and ``export``."""

from __future__ import annotations

import json
import sys
import time

import pytest

from securecoap.credentials import CredentialsMap
from tests.cli.conftest import SAMPLES

SERVER = SAMPLES / "server.json"


@pytest.mark.parametrize(("label", "sample"), [("sensor-17", "sensor-dtls.json"), (":sensor-18", "sensor-oscore.json")])
def test_a_label_is_exported_as_its_devices_file(run, label, sample):
    outcome = run("credentials", "export", SERVER, label)
    assert (outcome.status, outcome.err) == (0, "")
    expected = json.loads((SAMPLES / sample).read_text())
    del expected["$schema"]
    assert json.loads(outcome.out) == expected
    exported = json.loads(run("credentials", "export", SERVER, label, "--uri", "coap://h:99/x").out)
    assert [name.partition("://")[2] for name in exported] == ["h:99/*"]


def test_a_pattern_is_exported_with_the_files_that_it_names(run):
    outcome = run("credentials", "export", SAMPLES / "sensor-x509.json", "coaps://*/*")
    assert outcome.status == 0
    (found,) = CredentialsMap.from_dict(json.loads(outcome.out), role="client", base="/nowhere").credentials()
    (expected,) = CredentialsMap.load(SAMPLES / "sensor-x509.json").credentials()
    assert (found.certificates, found.private_key) == (expected.certificates, expected.private_key)


def test_of_two_keys_the_new_one_is_exported(run, tmp_path):
    server, device = tmp_path / "s.json", tmp_path / "d.json"
    run("credentials", "pair", "oscore", "x", "--server", server, "--device", device)
    run("credentials", "rotate", "x", "--server", server, "--device", device)
    assert json.loads(run("credentials", "export", server, "x").out) == json.loads(device.read_text())


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("server.json", "nobody"), ("server.json", "coap*://*/store/*"), ("server-x509.json", "fleet"),
        ("server-basedir.json", "sensor-34"), ("sensor-basedir.json", "coap://*/*"), ("sensor-edhoc.json", "coap://*/*"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported(run, file, label):
    outcome = run("credentials", "export", SAMPLES / file, label)
    assert outcome[:2] == (2, b""), outcome.out
    assert outcome.err


def test_a_qr_code(run):
    pytest.importorskip("segno")
    outcome = run("credentials", "export", SERVER, "sensor-17", "--qr")
    assert (outcome.status, outcome.err) == (0, "")
    rows = outcome.out.decode().splitlines()
    assert len(rows) > 10
    assert set("".join(rows)) <= set("█▀▄ ")


def test_a_qr_code_without_segno(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "segno", None)
    outcome = run("credentials", "export", SERVER, "sensor-17", "--qr")
    assert outcome[:2] == (2, b"")
    assert "securecoap[qr]" in outcome.err


def test_import(run, tmp_path):
    (tmp_path / "psk").write_text(",a,0123456789abcdef\n,b,0123456789abcdeX\n")
    out = tmp_path / "c.json"
    outcome = run("credentials", "import", "libcoap-psk", tmp_path / "psk", "-o", out)
    assert (outcome.status, outcome.out) == (0, b"")
    assert out.stat().st_mode & 0o777 == 0o600
    assert "0123456789" not in outcome.err
    assert CredentialsMap.load(out).find_psk(b"b", time.time()).label == ":b"
    before = out.read_bytes()
    outcome = run("credentials", "import", "libcoap-psk", tmp_path / "psk", "-o", out)
    assert outcome.status == 2
    assert ":a is there already" in outcome.err
    assert out.read_bytes() == before


def test_import_for_a_client(run, tmp_path):
    (tmp_path / "conf").write_text(
        "master_secret,hex,000102030405060708090a0b0c0d0e0f\nsender_id,hex,01\nrecipient_id,hex,02\n"
    )
    outcome = run(
        "credentials", "import", "libcoap-oscore", tmp_path / "conf", "-o", tmp_path / "c", "--uri", "coap://h/*"
    )
    assert outcome.status == 0
    assert "sequence numbers" in outcome.err
    assert CredentialsMap.load(tmp_path / "c", role="client").select("coap", "h", None, ("x",), 1, now=0).oscore


def test_import_of_a_fault(run, tmp_path):
    (tmp_path / "psk").write_text(",a,k\n,b\n")
    outcome = run("credentials", "import", "libcoap-psk", tmp_path / "psk", "-o", tmp_path / "c")
    assert outcome[:2] == (2, b"")
    assert ":2:" in outcome.err
    assert not (tmp_path / "c").exists()
    assert run("credentials", "import", "aiocoap", tmp_path / "psk", "-o", tmp_path / "c").status == 2
    assert run("credentials", "import", "nothing", tmp_path / "psk", "-o", tmp_path / "c").status == 2


@pytest.mark.parametrize("name", ["server.json", "server-rpk.json", "sensor-edhoc.json", "server-basedir.json"])
def test_a_file_imported_is_the_same(run, tmp_path, name):
    out = tmp_path / "c.json"
    assert run("credentials", "import", "aiocoap", SAMPLES / name, "-o", out).status == 0
    found, expected = (CredentialsMap.load(path, role="server").credentials() for path in (out, SAMPLES / name))
    assert [(one.label, one.claims, one.key) for one in found] == [(one.label, one.claims, one.key) for one in expected]
