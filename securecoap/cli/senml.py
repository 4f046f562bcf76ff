"""SenML packs as measurements: records with their base fields resolved (RFC 8428 section 4.6), for a person.

Whatever is not such a pack raises `ValueError`. Knows no message and no terminal.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final, NamedTuple

__all__ = ["SENML_CBOR", "SENML_JSON", "Measurement", "measurements"]

SENML_JSON: Final = 110
SENML_CBOR: Final = 112

_LABELS: Final = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_ABSOLUTE_FROM: Final = 2**28  # seconds; below it a time is relative to now (section 4.5.3)


class Measurement(NamedTuple):
    """One resolved record, as texts; an empty one where there is nothing."""

    time: str
    name: str
    value: str
    unit: str


class _Base:
    """Base fields, from the record in which they stand on (RFC 8428 section 4.1)."""

    def __init__(self) -> None:
        self.name = ""
        self.unit = ""
        self.time = 0.0
        self.value = 0.0
        self.sum = 0.0

    def take(self, record: dict[str, Any]) -> None:
        self.name = _string(record.get("bn", self.name))
        self.unit = _string(record.get("bu", self.unit))
        self.time = _number(record.get("bt", self.time))
        self.value = _number(record.get("bv", self.value))
        self.sum = _number(record.get("bs", self.sum))


def measurements(payload: bytes, content_format: int) -> list[Measurement]:
    """The records of a pack.

    Args:
        payload: the pack.
        content_format: `SENML_JSON` or `SENML_CBOR`.

    Raises:
        ValueError: it is none, or has a field that must be understood and is not known here (section 4.4).
    """
    base = _Base()
    resolved = []
    for record in _records(payload, content_format):
        if any(name.endswith("_") for name in record):
            raise ValueError("a field that must be understood")
        base.take(record)
        value = _value(record, base)
        if value is None:
            continue  # base fields only
        resolved.append(
            Measurement(
                _time(base.time + _number(record.get("t", 0))),
                base.name + _string(record.get("n", "")),
                value,
                _string(record.get("u", base.unit)) if "v" in record or "s" in record else "",
            )
        )
    return resolved


def _records(payload: bytes, content_format: int) -> list[dict[str, Any]]:
    if content_format == SENML_CBOR:
        # Loaded where it is used: SenML in CBOR is rare, and start-up time is not.
        import cbor2

        try:
            stream = BytesIO(payload)
            pack = cbor2.CBORDecoder(stream).decode()
        except (cbor2.CBORDecodeError, RecursionError, OverflowError, MemoryError) as error:
            raise ValueError(str(error)) from None
        if stream.tell() != len(payload):
            raise ValueError("bytes follow the pack")
    else:
        try:
            pack = json.loads(payload)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if not isinstance(pack, list) or not all(isinstance(record, dict) for record in pack):
        raise ValueError("not a list of records")
    return [{_LABELS.get(label, str(label)): value for label, value in record.items()} for record in pack]


def _value(record: dict[str, Any], base: _Base) -> str | None:
    if "v" in record:
        return _figure(base.value + _number(record["v"]))
    if "vs" in record:
        return json.dumps(_string(record["vs"]), ensure_ascii=False)
    if "vb" in record:
        return "true" if record["vb"] else "false"
    if "vd" in record:
        data = record["vd"]
        return f"h'{data.hex()}'" if isinstance(data, bytes) else _string(data)
    if "s" in record:
        return "sum " + _figure(base.sum + _number(record["s"]))
    return None


def _time(seconds: float) -> str:
    if seconds == 0:
        return "now"
    if abs(seconds) < _ABSOLUTE_FROM:
        return f"now{seconds:+g}s"
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError):
        raise ValueError("a time that no calendar has") from None


def _figure(value: float) -> str:
    return f"{value:.12g}"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")  # noqa: TRY004  # the pack is at fault, not the caller
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number beyond all measure") from None
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004  # the pack is at fault, not the caller
    return value
