"""Credentials of other stacks; each sample is in the form that the other stack documents."""

from __future__ import annotations

import json

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.importing import FORMATS, import_from
from securecoap.credentials.making import MakingFault

from .material import NOW

LIBCOAP_OSCORE = """# comment
master_secret,hex,"0102030405060708090a0b0c0d0e0f10"
master_salt,hex,9e7ca92223786340

sender_id,ascii,"server"
recipient_id,ascii,"client"
id_context,hex,37cbf3210017a2d3
replay_window,integer,64
ssn_freq,integer,100
aead_alg,integer,10
hkdf_alg,integer,-10
rfc8613_b_1_2,bool,true
"""


@pytest.fixture
def read(tmp_path):
    def reader(format_name, text, label=None, name="source"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return import_from(format_name, tmp_path / name, tmp_path, label)

    return reader


def test_libcoap_identities(read):
    found = read("libcoap-psk", "# hint,identity,key\n,sensor-1,0123456789abcdef\nhint,sensor 2,key,with,commas\r\n")
    assert found == {
        ":sensor-1": {"dtls": {"client-identity": {"ascii": "sensor-1"}, "psk": {"ascii": "0123456789abcdef"}}},
        ":sensor 2": {
            "dtls": {
                "client-identity": {"ascii": "sensor 2"},
                "psk": {"ascii": "key,with,commas"},
                "identity-hint": {"ascii": "hint"},
            }
        },
    }
    assert CredentialsMap.from_dict(found).find_psk(b"sensor-1", NOW)


def test_libcoap_oscore(read):
    found = read("libcoap-oscore", LIBCOAP_OSCORE, ":peer")
    (context,) = CredentialsMap.from_dict(found).find_oscore(b"client", bytes.fromhex("37cbf3210017a2d3"), NOW)
    assert context.label == ":peer"
    assert (context.sender_id, context.salt.hex(), context.window) == (b"server", "9e7ca92223786340", 64)
    assert context.secret.reveal().hex() == "0102030405060708090a0b0c0d0e0f10"
    assert (context.algorithm.name, context.hash_name, context.echo) == ("AES-CCM-16-64-128", "SHA-256", True)


def test_libcoap_oscore_with_several_peers(read):
    with pytest.raises(MakingFault, match=r"source:13: recipient_id is given twice: peers would share our nonces"):
        read("libcoap-oscore", LIBCOAP_OSCORE + 'recipient_id,hex,""\n', ":peer")


@pytest.mark.parametrize(
    "key", ["AQIDBAUGBwgJCgsMDQ4PEA==", ":0x0102030405060708090a0b0c0d0e0f10", "AQIDBAUGBwgJCgsMDQ4PEA\\=\\="]
)
def test_californium(read, key):
    found = read("californium", f"# demo\nsensor\\:1 = {key}\n")
    assert found[":sensor:1"]["dtls"]["psk"] == {"hex": "0102030405060708090a0b0c0d0e0f10"}
    assert CredentialsMap.from_dict(found).find_psk(b"sensor:1", NOW)


def test_leshan(read):
    found = read("leshan", "urn\\:dev = 00112233445566778899AABBCCDDEEFF")
    assert found[":urn:dev"]["dtls"]["psk"] == {"hex": "00112233445566778899aabbccddeeff"}


def test_an_aiocoap_file_keeps_its_paths(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "key").write_bytes(bytes(range(16)))
    entry = {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"file": "key"}}}
    (tmp_path / "there" / "c.json").write_text(json.dumps({":a": entry, "coap://*": ":a", ":g": {"any-of": [entry]}}))
    found = import_from("aiocoap", tmp_path / "there" / "c.json", tmp_path)
    assert found[":a"]["dtls"]["psk"] == {"file": "there/key"}
    assert found[":g"]["any-of"][0]["dtls"]["psk"] == {"file": "there/key"}
    assert CredentialsMap.from_dict({":a": found[":a"]}, base=tmp_path).find_psk(b"a", NOW)


def test_an_aiocoap_context_stays_with_its_sequence_numbers(tmp_path):
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "settings.json").write_text(
        json.dumps({"sender-id_hex": "01", "recipient-id_hex": "02", "secret_hex": "00" * 16})
    )
    found = import_from("aiocoap", tmp_path / "context", tmp_path)
    assert found == {":context": {"oscore": {"basedir": "context"}}}
    assert CredentialsMap.from_dict(found, base=tmp_path).find_oscore(b"\x02", None, NOW)


@pytest.mark.parametrize(
    ("format_name", "text", "says"),
    [
        ("libcoap-psk", ",a,k\n,b\n", "source:2: hint_to_match"),
        ("libcoap-psk", ",a,k\n\n,a,SECRET\n", "source:3: this identity"),
        ("libcoap-psk", b",a,\xff\n", "source:1: not UTF-8"),
        ("californium", "a = AQ==\nb = SECRET!\n", "source:2: identity = key"),
        ("californium", "only\n", "source:1: identity = key"),
        ("leshan", "a = SECRET\n", "source:1: identity = key"),
        ("libcoap-oscore", "master_secret,hex,SECRET\n", "source:1: master_secret: not an even"),
        ("libcoap-oscore", "master_secret\n", "source:1: keyword,encoding,value"),
        ("libcoap-oscore", "master_secret,hex,00\nmaster_secret,hex,01\n", "source:2: master_secret is given twice"),
        ("libcoap-oscore", "no_such,hex,SECRET\n", "source:1: not known here"),
        ("libcoap-oscore", "aead_alg,bool,true\n", "source:1: not known here"),
        ("libcoap-oscore", "sender_id,hex,01\n", "master_secret is missing"),
        ("libcoap-oscore", "master_secret,hex,00\nsender_id,hex,01\n", "recipient_id is missing"),
    ],
)
def test_a_fault_has_its_line_and_no_value(read, format_name, text, says):
    with pytest.raises(MakingFault) as caught:
        read(format_name, text)
    assert says in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_one_label_is_for_one_peer(read):
    with pytest.raises(MakingFault, match="second peer"):
        read("libcoap-psk", ",a,k\n,b,k\n", ":one")


def test_diagnostic_notation_is_not_read(read):
    with pytest.raises(MakingFault, match=r"\.diag"):
        read("aiocoap", "{}", name="c.diag")


def test_formats():
    assert list(FORMATS) == ["aiocoap", "libcoap-psk", "libcoap-oscore", "californium", "leshan"]
