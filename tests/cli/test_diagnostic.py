from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.cli import diagnostic as module
from securecoap.cli.diagnostic import diagnostic

# RFC 8949 appendix A; NaN and the floats written as Python writes them.
EXAMPLES = [
    ("00", "0"),
    ("17", "23"),
    ("1818", "24"),
    ("1903e8", "1000"),
    ("1b000000e8d4a51000", "1000000000000"),
    ("1bffffffffffffffff", "18446744073709551615"),
    ("c249010000000000000000", "2(h'010000000000000000')"),
    ("3bffffffffffffffff", "-18446744073709551616"),
    ("20", "-1"),
    ("3863", "-100"),
    ("f90000", "0.0"),
    ("f98000", "-0.0"),
    ("f93c00", "1.0"),
    ("fb3ff199999999999a", "1.1"),
    ("f97bff", "65504.0"),
    ("fa47c35000", "100000.0"),
    ("f90001", "5.960464477539063e-08"),
    ("f97c00", "Infinity"),
    ("f97e00", "NaN"),
    ("f9fc00", "-Infinity"),
    ("f4", "false"),
    ("f5", "true"),
    ("f6", "null"),
    ("f7", "undefined"),
    ("f0", "simple(16)"),
    ("f8ff", "simple(255)"),
    ("c074323031332d30332d32315432303a30343a30305a", '0("2013-03-21T20:04:00Z")'),
    ("c11a514b67b0", "1(1363896240)"),
    ("d74401020304", "23(h'01020304')"),
    ("40", "h''"),
    ("60", '""'),
    ("62225c", r'"\"\\"'),
    ("62c3bc", '"ü"'),
    ("80", "[]"),
    ("8301820203820405", "[1, [2, 3], [4, 5]]"),
    ("a0", "{}"),
    ("a201020304", "{1: 2, 3: 4}"),
    ("a26161016162820203", '{"a": 1, "b": [2, 3]}'),
    ("826161a161626163", '["a", {"b": "c"}]'),
    ("5f42010243030405ff", "(_ h'0102', h'030405')"),
    ("7f657374726561646d696e67ff", '(_ "strea", "ming")'),
    ("9fff", "[_ ]"),
    ("9f018202039f0405ffff", "[_ 1, [2, 3], [_ 4, 5]]"),
    ("bf61610161629f0203ffff", '{_ "a": 1, "b": [_ 2, 3]}'),
]


@pytest.mark.parametrize(("encoded", "text"), EXAMPLES)
def test_examples_of_the_rfc(encoded, text):
    assert diagnostic(bytes.fromhex(encoded)) == text


def test_what_is_wider_than_a_line_is_indented():
    text = diagnostic(cbor2.dumps({"readings": [10**12 + n for n in range(9)], "unit": "Cel"}))
    assert text.splitlines() == [
        "{",
        '  "readings": [',
        *[f"    {10**12 + n}," for n in range(8)],
        f"    {10**12 + 8}",
        "  ],",
        '  "unit": "Cel"',
        "}",
    ]


def test_what_is_nested_deeply_is_laid_out_once_and_within_bounds(monkeypatch):
    """A peer's 1 MiB would take a minute and 100 MB, if each level looked at all below it and went further right."""
    laid_out = []
    one_line = module._one_line

    def counted(node):
        laid_out.append(node)
        return one_line(node)

    monkeypatch.setattr(module, "_one_line", counted)
    shown = diagnostic(b"\x9f" * 99 + b"\x9f" + b"\x00" * 1000 + b"\xff" + b"\xff" * 99)
    assert shown.count("0") == 1000
    assert len(laid_out) < 1100
    assert max(map(len, shown.splitlines())) <= 80


def test_a_sequence_may_have_any_number_of_items():
    assert diagnostic(b"\x01\x62hi", sequence=True) == '1,\n"hi"'
    assert diagnostic(b"", sequence=True) == ""


@pytest.mark.parametrize(
    "encoded",
    [
        "", "18", "1c", "1f", "ff", "f818", "fc", "61ff", "62c3", "82", "8201", "a101", "5f01ff", "5f5f4101ffff",
        "7f4101ff", "9f01", "bf01ff", "c1", "df00", "0000", "9bffffffffffffffff", "bbffffffffffffffff",
        "5bffffffffffffffff", "81" * 101 + "00", "9f" * 500, "c1" * 5000 + "00",
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_a_value_error(encoded):
    with pytest.raises(ValueError):
        diagnostic(bytes.fromhex(encoded))


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_a_value_error(data):
    try:
        assert isinstance(diagnostic(data), str)
    except ValueError:
        return


@given(st.recursive(st.integers(-(2**64), 2**64 - 1) | st.booleans() | st.none(), st.lists))
def test_what_json_has_too_is_written_as_in_json(value):
    shown = diagnostic(cbor2.dumps(value))
    assert eval(shown, {"true": True, "false": False, "null": None}) == value
