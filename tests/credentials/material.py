"""Entries that several tests use."""

from __future__ import annotations

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
