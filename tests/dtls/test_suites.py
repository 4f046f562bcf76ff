"""Cipher suites against the registry (RFC 6655, RFC 7251, RFC 7252 section 9.1.3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.dtls.suites import DEFAULT_SUITES, SUITES

REGISTRY = json.loads((Path(__file__).parents[1] / "vectors" / "option_registry.json").read_text(encoding="utf-8"))
CODES = {name: int(code, 16) for name, code in REGISTRY["dtls_cipher_suites"].items()}


@pytest.mark.parametrize("name", CODES)
def test_registered_codes(name):
    """It is there under its registered code; no other suite has that code, or that name."""
    assert [suite.code for suite in DEFAULT_SUITES if suite.name == name] == [CODES[name]]
    assert SUITES[CODES[name]].name == name


def test_no_code_or_name_is_there_twice():
    assert len(SUITES) == len(DEFAULT_SUITES) == len({suite.name for suite in DEFAULT_SUITES})


def test_the_mandatory_suite_is_offered_first():
    assert DEFAULT_SUITES[0].code == CODES["TLS_PSK_WITH_AES_128_CCM_8"]


@pytest.mark.parametrize("suite", DEFAULT_SUITES, ids=lambda suite: suite.name)
def test_lengths(suite):
    sealed = suite.aead(bytes(suite.key_length)).encrypt(bytes(12), b"text", b"")
    assert len(sealed) == 4 + suite.tag_length
    assert f"AES_{8 * suite.key_length}_" in suite.name
    assert suite.name.removesuffix("_SHA256").endswith("_8") == (suite.tag_length == 8)
