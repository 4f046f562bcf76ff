"""Access to the vectors, and contexts as they name them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from securecoap.oscore.algorithms import ALGORITHMS
from securecoap.oscore.context import SecurityContext
from securecoap.oscore.window import ReplayWindow

VECTORS = Path(__file__).parent.parent / "vectors"

SECRET = bytes.fromhex("0102030405060708090a0b0c0d0e0f10")
SALT = bytes.fromhex("9e7ca92223786340")
ID_CONTEXT = bytes.fromhex("37cbf3210017a2d3")


@cache
def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def rfc() -> Any:
    return load("oscore_rfc8613.json")


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def context(name: str = "C.1.1", **changes: Any) -> SecurityContext:
    """A context of Appendix C, with an empty window that is in use."""
    inputs = rfc()["test_vectors"][name]["inputs"]
    arguments: dict[str, Any] = {
        "secret": unhex(inputs["master_secret"]),
        "salt": unhex(inputs["master_salt"]) or b"",
        "sender_id": unhex(inputs["sender_id"]),
        "recipient_id": unhex(inputs["recipient_id"]),
        "id_context": unhex(inputs.get("id_context")),
        "window": ReplayWindow(),
    } | changes
    return SecurityContext.derive(**arguments)


def algorithm(number: int) -> Any:
    return ALGORITHMS[number]
