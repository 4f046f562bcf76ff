from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import SAMPLES

SECRET = "70d634576ed8c60fac270a44780f754a"


def test_a_good_file(run):
    assert run("credentials", "check", SAMPLES / "server.json") == (
        0, b"", f"securecoap: {SAMPLES / 'server.json'}: 2 devices, 2 patterns\n",
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("s*r*-*.json")), ids=lambda path: path.name)
def test_every_sample_is_good(run, path):
    outcome = run("credentials", "check", path)
    assert outcome[:2] == (0, b""), outcome.err


def test_every_fault_has_its_place(run, write):
    file = write(
        f'{{\n":a": {{"dtls": {{"client-identity": {{"ascii": "x"}}, "psk": {{"hex": "{SECRET}g"}}}}}},\n'
        '":b": ":nowhere",\n":c": {"dtls": {}, "oscore": {}},\n"coap://*": {"any-of": []}}'
    )
    outcome = run("credentials", "check", file)
    assert outcome[:2] == (2, b"")
    assert SECRET not in outcome.err
    for line, place in ((2, ":a.dtls.psk"), (3, ":b"), (4, ":c"), (5, "coap://*")):
        assert any(text.startswith(f"securecoap: {file}:{line}: {place}") for text in outcome.err.splitlines()), place


def test_warnings_do_not_fail(run, write):
    file = write({":a": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"ascii": "123456789"}}}})
    outcome = run("credentials", "check", file)
    assert outcome[:2] == (0, b"")
    assert outcome.err.splitlines()[0].startswith(f"securecoap: warning: {file}:1: :a.dtls.psk")
    assert outcome.err.endswith(": 1 device, 0 patterns, 1 warning\n")
    assert "123456789" not in outcome.err


def test_groups_are_counted_apart(run, write):
    entries = json.loads((SAMPLES / "server.json").read_text())
    entries[":all"] = {"any-of": [":sensor-17", ":sensor-18"]}
    assert run("credentials", "check", write(entries)).err.endswith("2 devices, 2 patterns, 1 group\n")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{":a": ":a"}', '{":a": null, ":a": null}', "\x00"])
def test_what_is_no_credentials_file(run, write, content):
    assert run("credentials", "check", write(content))[:2] == (2, b"")


def test_no_file(run, tmp_path):
    assert run("credentials", "check", tmp_path / "missing")[:2] == (2, b"")
    assert run("credentials", "check", tmp_path)[:2] == (2, b"")
    assert run("credentials", "check")[:2] == (2, b"")


def test_a_fault_has_its_column(run, write):
    outcome = run("credentials", "check", write('{":a": {"dtls": {}},\n  ":b": ":c"}'))
    assert outcome.status == 2
    assert "json:2: :b: there is no :c (column 3)\n" in outcome.err


def test_a_file_that_others_may_read_is_a_fault(run):
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "file.json"
        path.write_text(json.dumps({":a": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"hex": "00" * 16}}}}))
        assert run("credentials", "check", path).status == 0
        path.chmod(0o644)
        outcome = run("credentials", "check", path)
        assert outcome.status == 0  # others may read it, and do not get there
        assert "warning: " in outcome.err
        directory.chmod(0o755)
        for given in (path, directory):
            outcome = run("credentials", "check", given)
            assert outcome[:2] == (2, b"")
            assert "others may read this file" in outcome.err
        assert run("credentials", "list", path).status == 0


def test_a_key_file_that_others_may_read_is_a_fault(run):
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path, key = directory / "file.json", directory / "key"
        entry = {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"file": "key"}}}
        path.write_text(json.dumps({":a": entry}, indent=1))
        path.chmod(0o600)
        key.write_bytes(b"0123456789abcdef")
        key.chmod(0o644)
        assert run("credentials", "check", path).status == 0  # others do not get there
        directory.chmod(0o755)
        outcome = run("credentials", "check", path)
        assert outcome[:2] == (2, b"")
        assert "file.json:7: :a.dtls.psk: others may read the file with this key" in outcome.err
        listed = run("credentials", "list", path)
        assert listed.status == 0
        key.chmod(0o600)
        assert run("credentials", "check", path).status == 0
        directory.chmod(0o777)
        outcome = run("credentials", "check", path)
        assert outcome.status == 2
        assert outcome.err.count("others may put another file in its place") == 2  # that of the key, and this one


def test_a_directory(run, write, tmp_path):
    write({":a": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"hex": "00" * 16}}}}, "1.json")
    write({":b": ":a"}, "2.json")
    assert run("credentials", "check", tmp_path).err.endswith(": 1 device, 0 patterns, 1 group\n")
    assert run("credentials", "show", tmp_path, ":b").out == b'":a"\n'
    assert run("credentials", "list", tmp_path).out == b":a\tdtls\t:b :a\talways\n"
