"""Credentials: which key protects what, who a peer is, what it may do. The format is in ``docs/credentials.md``."""

from securecoap.credentials.client import PLAIN, USABLE_KINDS, Selection
from securecoap.credentials.map import CredentialsMap, as_credentials_map
from securecoap.credentials.models import Credential, DtlsPsk, OscoreContext
from securecoap.credentials.policy import Decision, OwnNames, Policy
from securecoap.credentials.secret import Secret
from securecoap.credentials.sources import Sources

__all__ = [
    "PLAIN",
    "USABLE_KINDS",
    "Credential",
    "CredentialsMap",
    "Decision",
    "DtlsPsk",
    "OscoreContext",
    "OwnNames",
    "Policy",
    "Secret",
    "Selection",
    "Sources",
    "as_credentials_map",
]
