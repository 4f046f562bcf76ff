"""Entries that several tests use."""

from __future__ import annotations

from typing import Any

from securecoap.credentials import CredentialsMap, Sources
from securecoap.credentials.sources import SourceError

GET, POST, PUT = 1, 2, 3
NOW = 1_800_000_000.0
PSK = "00112233445566778899aabbccddeeff"
SECRET = "0102030405060708090a0b0c0d0e0f10"


def psk(identity="sensor-17", key=PSK, **beside):
    return {"dtls": {"client-identity": {"ascii": identity}, "psk": {"hex": key}}, **beside}


def oscore(sender="01", recipient="12", secret=SECRET, beside=None, **members):
    return {
        "oscore": {
            "secret": {"hex": secret},
            "salt": {"hex": "9e7ca92223786340"},
            "sender-id": {"hex": sender},
            "recipient-id": {"hex": recipient},
            **members,
        },
        **(beside or {}),
    }


# Of RFC 9529, trace 2: what the responder and the initiator are known by, and the initiator's key.
EDHOC_PEER = {"14": {"2": "example.edu", "8": {"1": {
    "1": 2, "2": {"hex": "32"}, "-1": 1,
    "-2": {"hex": "bbc34960526ea4d32e940cad2a234148ddc21791a12afbcbac93622046dd44f0"},
    "-3": {"hex": "4519e257236b2a0ce2023f0931f1f386ca7afda64fcde0108c224c51eabf6072"},
}}}}  # fmt: skip
EDHOC_OWN = {"14": {"2": "42-50-31-FF-EF-37-32-39", "8": {"1": {
    "1": 2, "2": {"hex": "2b"}, "-1": 1,
    "-2": {"hex": "ac75e9ece3e50bfc8ed60399889522405c47bf16df96660a41298cb4307f7eb6"},
    "-3": {"hex": "6e5de611388a4b8a8211334ac7d37ecb52a387d257e6db3c2a93df21ff3affc8"},
}}}}  # fmt: skip
EDHOC_KEY: dict[str, Any] = {
    "1": 2,
    "-1": 1,
    "-4": {"hex": "fb13adeb6518cee5f88417660841142e830a81fe334380a953406a1305e8706b"},
}
EDHOC_PEER_KEY: dict[str, Any] = {
    "1": 2,
    "-1": 1,
    "-4": {"hex": "72cc4761dbd4c78f758931aa589d348d1ef874a7e303ede2f140dcf3e6aa4aac"},
}


def edhoc(**members):
    """The initiator's set; a member that is ``None`` is left out."""
    whole = {
        "suite": 2, "method": 3, "own-cred": EDHOC_OWN, "own-cred-style": "by-key-id", "private-key": EDHOC_KEY,
        "peer-cred": EDHOC_PEER, **members,
    }  # fmt: skip
    return {"edhoc-oscore": {name: value for name, value in whole.items() if value is not None}}


class NoSources(Sources):
    """A system without files, variables and programs."""

    def file(self, path):
        raise SourceError("no such file")

    def environment(self, name):
        raise SourceError("not set")

    def command(self, arguments, directory):
        raise SourceError("no such program")


def build(entries, **options):
    options.setdefault("sources", NoSources())
    return CredentialsMap.from_dict(entries, **options)
