from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.cli.senml import SENML_CBOR, SENML_JSON, Measurement, measurements

EXAMPLES = {
    entry["id"]: entry
    for entry in json.loads((Path(__file__).parents[1] / "vectors" / "coap_messages.json").read_text())["senml"]
}


def pack(*records):
    return json.dumps(records).encode()


def test_base_fields_hold_from_their_record_on():  # RFC 8428 section 5.1.2
    found = measurements(
        pack(
            {"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.276020076e9, "bu": "A", "bver": 5},
            {"n": "voltage", "u": "V", "v": 120.1},
            {"n": "current", "t": -5, "v": 1.2},
            {"n": "current", "t": -4, "v": 1.3},
        ),
        SENML_JSON,
    )
    assert found == [
        Measurement("2010-06-08T18:01:16+00:00", "urn:dev:ow:10e2073a01080063:voltage", "120.1", "V"),
        Measurement("2010-06-08T18:01:11+00:00", "urn:dev:ow:10e2073a01080063:current", "1.2", "A"),
        Measurement("2010-06-08T18:01:12+00:00", "urn:dev:ow:10e2073a01080063:current", "1.3", "A"),
    ]


def test_values_of_every_type():
    found = measurements(
        pack(
            {"n": "a", "vs": 'on "air"'}, {"n": "b", "vb": True}, {"n": "c", "vd": "aGk"}, {"n": "d", "s": 7, "u": "J"},
            {"n": "e", "bv": 20, "v": 1.5}, {"n": "f", "t": -60, "v": 0},
        ),
        SENML_JSON,
    )  # fmt: skip
    assert [row.value for row in found] == ['"on \\"air\\""', "true", "aGk", "sum 7", "21.5", "20"]
    assert [row.time for row in found] == ["now"] * 5 + ["now-60s"]
    assert found[3].unit == "J"


def test_cbor_has_numbers_for_names():
    data = cbor2.dumps([{-2: "dev:", 0: "t", 1: "Cel", 2: 21.5}, {0: "raw", 8: b"\x01\x02"}])
    assert measurements(data, SENML_CBOR) == [
        Measurement("now", "dev:t", "21.5", "Cel"),
        Measurement("now", "dev:raw", "h'0102'", ""),
    ]


def test_examples_of_the_rfc():
    assert set(EXAMPLES) == {"SENML-1", "SENML-2"}
    one, pack_in_cbor = EXAMPLES["SENML-1"], EXAMPLES["SENML-2"]
    assert measurements(one["json"].encode(), one["content_format"]) == [
        Measurement("now", "urn:dev:ow:10e2073a01080063", "23.1", "Cel")
    ]
    assert measurements(bytes.fromhex(pack_in_cbor["cbor"]), pack_in_cbor["content_format"]) == [
        Measurement(datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds"), name, str(value), unit)
        for name, time, unit, value in pack_in_cbor["resolved"]
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{}", b"[1]", b"nothing", b"\xff", pack({"n": 1, "v": 1}), pack({"n": "a", "v": "1"}), b"[" * 100_000,
        pack({"n": "a", "v": True}), pack({"n": "a", "v": 1, "must_": 1}), pack({"n": "a", "v": 1, "t": 1e300}),
        b'[{"n":"a","v":1e999}]', b'[{"v":1' + b"0" * 400 + b"}]",
    ],
)  # fmt: skip
def test_what_is_no_pack_is_a_value_error(payload):
    with pytest.raises(ValueError):
        measurements(payload, SENML_JSON)


@given(st.binary(max_size=100), st.sampled_from([SENML_JSON, SENML_CBOR]))
def test_any_bytes_are_measurements_or_a_value_error(payload, content_format):
    try:
        assert isinstance(measurements(payload, content_format), list)
    except ValueError:
        return


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text() | st.binary(), st.lists))
def test_any_records_are_measurements_or_a_value_error(value):
    try:
        measurements(cbor2.dumps([{-2: "a", 0: "b", 2: value, 6: value}]), SENML_CBOR)
    except ValueError:
        return
