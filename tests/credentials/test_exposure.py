"""Files with keys that other users of the machine may read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.credentials import CredentialsMap
from securecoap.credentials.exposure import EXPOSED, has_secrets

from .material import psk

SAMPLES = Path(__file__).parents[2] / "credentials"


@pytest.mark.parametrize(("mode", "is_exposed"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_file_with_keys(tmp_path, mode, is_exposed):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({":a": psk()}))
    path.chmod(mode)
    assert CredentialsMap.load(path).warnings == ((f"{path}:1: {EXPOSED}",) if is_exposed else ())


@pytest.mark.parametrize(
    ("entry", "has_secret"),
    [
        (psk(), True),
        ({"any-of": [":b", {"oscore": {"secret": {"ascii": "x"}}}]}, True),
        ({"later-kind": {"thing": {"base64": "AA=="}}}, True),
        ({"dtls": {"client-identity": {"ascii": "x"}, "psk": {"env": "KEY"}}}, False),
        ({"dtls-rpk": {"private-key": {"file": "key"}, "peer-keys": {":x": {"base64": "AA=="}}}}, False),
        ({"unprotected": True}, False),
        (":b", False),
    ],
)
def test_what_is_a_secret(entry, has_secret):
    assert has_secrets({":a": entry}) == has_secret


@pytest.mark.parametrize(
    "path", [*sorted(SAMPLES.glob("s*r-*.json")), SAMPLES / "server.json"], ids=lambda path: path.name
)
def test_the_keys_of_the_samples_are_public(path):
    assert not has_secrets(json.loads(path.read_text()))
