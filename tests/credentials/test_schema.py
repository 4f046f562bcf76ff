"""``credentials/schema.json`` asks for what the parser asks for: the tables of the kinds, and what each requires."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securecoap.credentials import CredentialsMap, edhoc, kinds
from securecoap.credentials.algorithms import (
    AEAD_ALGORITHMS,
    DEFAULT_ALGORITHM,
    DEFAULT_WINDOW,
    HASH_NAMES,
    MAXIMUM_WINDOW,
)
from securecoap.credentials.kinds import KINDS
from securecoap.errors import CredentialsFault

SAMPLES = Path(__file__).parents[2] / "credentials"


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("dtls", kinds._DTLS), ("dtls-rpk", kinds._RPK), ("dtls-x509", kinds._X509), ("oscore", kinds._OSCORE),
        ("group-oscore", kinds._GROUP_OSCORE), ("tlscert", kinds._TLSCERT), ("edhoc-oscore", edhoc._MEMBERS),
    ],
)  # fmt: skip
def test_the_schema_knows_every_member(kind, table):
    schema = json.loads((SAMPLES / "schema.json").read_text())["$defs"]
    forms = schema[kind].get("oneOf", [schema[kind]])
    members = {name: value for form in forms for name, value in form["properties"].items()}
    assert members.keys() - {"basedir"} == table.keys()
    assert all(form["additionalProperties"] is False for form in forms)
    if "algorithm" in table:
        assert set(members["algorithm"]["enum"]) == AEAD_ALGORITHMS.keys()
        assert set(members["kdf-hashfun"]["enum"]) == HASH_NAMES.keys()
        assert members["algorithm"]["default"] == DEFAULT_ALGORITHM.name
    if "window" in table:
        assert (members["window"]["maximum"], members["window"]["default"]) == (MAXIMUM_WINDOW, DEFAULT_WINDOW)


def test_the_schema_asks_for_what_the_parser_asks_for():
    """An entry that lacks a required member is a fault; of a kind that requires none, an empty one is."""
    schema = json.loads((SAMPLES / "schema.json").read_text())["$defs"]
    for kind in KINDS:
        form = schema[kind].get("oneOf", [schema[kind]])[-1]
        with pytest.raises(CredentialsFault) as caught:
            CredentialsMap.from_dict({":a": {kind: {}}})
        missing = {
            fault.removesuffix(" is missing").rpartition(": ")[2]
            for fault in caught.value.faults
            if "is missing" in fault
        }
        assert missing == set(form["required"]), kind
