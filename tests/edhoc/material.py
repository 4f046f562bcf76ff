"""Credentials that the tests use: those of RFC 9529's second trace."""

from __future__ import annotations

from typing import Any

from securecoap.credentials.ccs import Ccs
from securecoap.credentials.models import EdhocIdentity
from securecoap.credentials.secret import Secret
from tests.credentials.material import EDHOC_KEY, EDHOC_OWN, EDHOC_PEER, EDHOC_PEER_KEY

__all__ = ["EDHOC_KEY", "EDHOC_OWN"]

from .vectors import TRACE_2

CRED_I, CRED_R = Ccs.parse(TRACE_2["cred_i_cbor"]), Ccs.parse(TRACE_2["cred_r_cbor"])
INITIATOR = EdhocIdentity(CRED_I, Secret(TRACE_2["SK_I"]), by_value=False)
RESPONDER = EdhocIdentity(CRED_R, Secret(TRACE_2["SK_R"]), by_value=False)

CLIENT_SET: dict[str, Any] = {
    "suite": 2, "method": 3, "own-cred": EDHOC_OWN, "own-cred-style": "by-key-id", "private-key": EDHOC_KEY,
    "peer-cred": EDHOC_PEER,
}  # fmt: skip
SERVER_SET: dict[str, Any] = {
    "suite": 2, "method": 3, "own-cred": EDHOC_PEER, "own-cred-style": "by-key-id", "private-key": EDHOC_PEER_KEY,
    "peer-cred": EDHOC_OWN,
}  # fmt: skip
ANYBODY = {"unauthenticated": True}


def client(pattern: str = "coap://server/*", **changes: Any) -> dict[str, Any]:
    """A client's file; members that are ``None`` are left out."""
    return {pattern: {"edhoc-oscore": _without_none({**CLIENT_SET, **changes})}}


def server(label: str = ":device", beside: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A server's file."""
    return {label: {"edhoc-oscore": _without_none({**SERVER_SET, **changes}), **(beside or {})}}


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
