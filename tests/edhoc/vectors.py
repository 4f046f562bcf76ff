"""RFC 9529's traces, with hexadecimal digits made bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CONTENT = json.loads((Path(__file__).parents[1] / "vectors" / "edhoc_rfc9529.json").read_text())


def _bytes(values: dict[str, Any]) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in values.items() if isinstance(value, str)}


TRACE_1 = _bytes(_CONTENT["trace_1"]["values"])
TRACE_2 = _bytes(_CONTENT["trace_2"]["values"])
FIRST_ATTEMPT = _bytes(_CONTENT["trace_2"]["first_attempt"])
INVALID = [(one["field"], bytes.fromhex(one["hex"]), one["why"]) for one in _CONTENT["invalid_messages"]]
COMBINED = _bytes(_CONTENT["rfc9668_combined_request_example"] | {"note": ""})
