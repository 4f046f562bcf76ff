from __future__ import annotations

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.cli.pretty import render
from securecoap.wire.content_formats import CBOR, JSON, LINK_FORMAT, OCTET_STREAM, TEXT


def test_json_is_indented():
    assert render(b'{"a":[1,{"b":null}],"c":{},"d":[]}', JSON).splitlines() == [
        "{",
        '  "a": [',
        "    1,",
        "    {",
        '      "b": null',
        "    }",
        "  ],",
        '  "c": {},',
        '  "d": []',
        "}",
    ]


def test_json_keeps_every_token():
    text = render(rb'{"a":1.10,"a":1e400,"b":"x, [y] \"\u0041","n":123456789012345678901234567890}', JSON)
    assert '"a": 1.10,' in text
    assert '"a": 1e400,' in text
    assert r'"b": "x, [y] \"\u0041"' in text
    assert "123456789012345678901234567890" in text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_indented_json_has_the_same_value(value):
    shown = render(json.dumps(value).encode(), JSON)
    assert json.loads(shown) == value


def test_cbor_is_diagnostic_notation():
    assert render(cbor2.dumps({"t": 21.5, "id": b"\x01"}), CBOR) == '{"t": 21.5, "id": h\'01\'}'


def test_links_have_a_line_each():
    shown = render(b'</a>;rt="t1 t2";obs,</b>;ct=50', LINK_FORMAT)
    assert shown.splitlines() == ["</a>  rt=t1 t2  obs", "</b>  ct=50"]


def test_senml_is_a_table():
    payload = b'[{"bn":"dev:","n":"temperature","u":"Cel","v":21.5},{"n":"door","vs":"open"}]'
    assert render(payload, 110).splitlines() == ["now  dev:temperature  21.5    Cel", 'now  dev:door         "open"']


def test_json_that_is_no_senml_is_json():
    assert render(b'{"a":1}', 110) == '{\n  "a": 1\n}'


@pytest.mark.parametrize("content_format", [JSON, CBOR, LINK_FORMAT, 110, 112, 63, OCTET_STREAM, TEXT, None, 65535])
def test_what_is_not_what_its_format_says_is_shown_as_bytes(content_format):
    assert render(b"\xff\x00<", content_format) == "00000000  ff 00 3c                                         ..<"


def test_a_text_with_controls_and_no_format_is_shown_as_bytes():
    assert render(b"plain\ntext", None) == "plain\ntext"
    assert render(b"\x00\x01ab", None).startswith("00000000  00 01 61 62")


def test_many_bytes_are_cut():
    lines = render(bytes(5000), OCTET_STREAM).splitlines()
    assert len(lines) == 257
    assert lines[-1] == "... 904 more bytes; use -o FILE for all"


@pytest.mark.parametrize(
    ("payload", "content_format"),
    [
        (b"\x1b[2J\x07", TEXT),
        ("\x9b2J\u202e".encode(), TEXT),
        (b'{"a":"\xc2\x9b2J\xe2\x80\xae"}', JSON),
        (cbor2.dumps("\x1b[2J\x9b"), CBOR),
        ('</a>;title="\x9b2J"'.encode(), LINK_FORMAT),
        ('[{"n":"\x9b2J","v":1}]'.encode(), 110),
        (b"\r\x1b[A", None),
    ],
)
def test_nothing_moves_the_cursor(payload, content_format):
    shown = render(payload, content_format)
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert shown


@given(st.binary(max_size=100), st.sampled_from([None, TEXT, LINK_FORMAT, 41, OCTET_STREAM, JSON, CBOR, 63, 110, 112]))
def test_any_payload_can_be_shown(payload, content_format):
    assert all(character.isprintable() or character in "\n\t" for character in render(payload, content_format))


def test_deep_json_is_shown_as_bytes():
    assert render(b"[" * 100_000, JSON).startswith("00000000  5b 5b")


def test_nesting_does_not_multiply_what_is_written():
    payload = b"[" * 900 + b"1," * 10_000 + b"1" + b"]" * 900
    shown = render(payload, JSON)
    assert len(shown) < 80 * len(payload)
    assert json.loads(shown) == json.loads(payload)
