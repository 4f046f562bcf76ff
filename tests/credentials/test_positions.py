from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from securecoap.credentials.positions import scan


def test_lines_of_members_and_elements():
    text = '{\n "a": {\n  "b": [1,\n   {"c": true}\n  ]\n },\n "d": "x\\"{,}"\n}'
    positions = scan(text)
    assert positions.line(()) == 1
    assert positions.line(("a",)) == 2
    assert positions.line(("a", "b")) == 3
    assert positions.line(("a", "b", 0)) == 3
    assert positions.line(("a", "b", 1)) == 4
    assert positions.line(("a", "b", 1, "c")) == 4
    assert positions.line(("d",)) == 7
    assert positions.line(("a", "b", 1, "missing")) == 4


def test_names_given_twice_are_found_at_every_level():
    text = '{"a": 1,\n"a": 2,\n"b": [{"c": 1,\n"\\u0063": 2}]}'
    assert scan(text).repeated == [(("a",), 2), (("b", 0, "c"), 4)]


def paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from paths(member, (*path, name))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from paths(element, (*path, index))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from([None, 1]))
def test_every_path_of_any_text_has_its_line(value, indent):
    text = json.dumps(value, indent=indent)
    positions = scan(text)
    assert set(positions.lines) == set(paths(value))
    assert positions.repeated == []
