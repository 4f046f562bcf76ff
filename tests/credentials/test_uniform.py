"""The quick way and the general way agree on every file: entries, faults, warnings."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.credentials import loading
from securecoap.credentials.faults import Document, Place
from securecoap.credentials.loading import load_entries
from securecoap.credentials.members import read_members
from securecoap.credentials.models import Entry, OscoreContext
from securecoap.credentials.resolution import leaves
from securecoap.credentials.uniform import uniform_entry
from securecoap.errors import CredentialsFault

USUAL = {
    "secret": {"hex": "0102030405060708090a0b0c0d0e0f10"},
    "salt": {"hex": "9e7ca92223786340"},
    "sender-id": {"hex": "01"},
    "recipient-id": {"hex": "12"},
}


def outcome(path):
    """All that is to be seen of a file that was read."""
    try:
        entries, warnings = load_entries([path])
    except CredentialsFault as error:
        return str(error)
    places = [str(entry.place_of(credential)) for entry, credential in leaves(entries)]
    return [(str(entry.place), seen(entry)) for entry in entries.values()], places, warnings


def seen(value):
    if is_dataclass(value):
        known = [field.name for field in fields(value) if field.name != "place"]
        return type(value), [(name, seen(getattr(value, name))) for name in known]
    if isinstance(value, Place):
        return str(value), value.document.name
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [seen(one) for one in value]
    if type(value).__name__ == "Secret":
        return "secret", value.reveal()
    return value


def both_ways(path):
    quick = outcome(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "read_members", lambda _text, _take: None)
        general = outcome(path)
    assert quick == general
    return quick


hexes = st.sampled_from(
    ["", "01", "0102", "12", "a1b2c3d4e5f6", "01020304050607", "01020304050607080910", "1", "g0", "01:02", "0 1"]
)
octets = st.one_of(
    st.builds(lambda digits: {"hex": digits}, hexes),
    st.sampled_from([
        {"ascii": "abc"}, {"base64": "AAEC"}, {"hex": 5}, {"hex": None}, {"hex": "01", "ascii": "x"}, {}, [], "01", 7, None,
        {"env": "NOT_THERE"}, {"file": "not-there"}, {"hex": {"hex": "01"}},
    ]),
)  # fmt: skip
members = st.fixed_dictionaries(
    {},
    optional={
        "secret": st.one_of(st.just(USUAL["secret"]), st.just(USUAL["secret"]), octets),
        "salt": octets,
        "sender-id": octets,
        "recipient-id": octets,
        "id-context": octets,
        "algorithm": st.sampled_from(
            ["AES-CCM-16-64-128", 10, "AES-CCM-64-64-128", "none", True, None, 1.0, {"hex": "01"}]
        ),
        "kdf-hashfun": st.sampled_from(["SHA-256", "sha512", "MD5", 5, None]),
        "window": st.sampled_from([1, 32, 4096, 4097, 0, -1, True, 32.0, "32", None]),
        "echo": st.sampled_from([True, False, 0, None, "true"]),
        "rederive": st.sampled_from([True, False, 1, None]),
        "unknown": st.just(1),
        "basedir": st.just("not-there"),
    },
)
near = st.builds(lambda changed: {**USUAL, **changed}, members) | members
names = st.sampled_from(
    [":a", ":b", ":c", ":", ": d", ":e ", ":f\u00a0", ":g\n", ":\u00e9", "a", "coap://h/*", "*", "$schema", ""]
)
values = st.one_of(
    st.builds(lambda value: {"oscore": value}, near),
    st.builds(lambda value, claims: {"oscore": value, "claims": claims}, near, st.sampled_from([[], ["x"], [":x"], 5])),
    st.builds(lambda value: {"oscore": value, "not-after": "2030-12-31T23:59:59Z"}, near),
    st.builds(lambda value: {"oscore": value, "other": 1}, near),
    st.sampled_from([None, ":a", ":b", {}, {"oscore": None}, {"oscore": []}, {"unprotected": True}, [], 1]),
    st.builds(lambda value: {"any-of": [{"oscore": value}, ":a"]}, near),
)  # fmt: skip


@settings(max_examples=600)
@given(st.dictionaries(names, values, max_size=4), st.sampled_from([None, 1]), st.sampled_from([0o600, 0o644]))
def test_every_file_is_read_as_the_general_way_reads_it(tmp_path_factory, content, indent, mode):
    path = tmp_path_factory.getbasetemp() / "uniform.json"
    path.write_text(json.dumps(content, indent=indent))
    path.chmod(mode)
    both_ways(path)


@settings(max_examples=600)
@given(st.data())
def test_every_text_is_read_as_the_general_way_reads_it(tmp_path_factory, data):
    text = json.dumps({":a": {"oscore": USUAL}, ":b": {"oscore": {**USUAL, "sender-id": {"hex": "02"}}}})
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        end = data.draw(st.sampled_from([place, place + 1, place + 7]))
        text = (
            text[:place]
            + data.draw(st.sampled_from(["", '"', "{", "}", ",", ":", " ", "\\", "\\u0061", "NaN", "1" * 5000]))
            + text[end:]
        )
    path = tmp_path_factory.getbasetemp() / "text.json"
    path.write_text(text)
    path.chmod(0o600)
    both_ways(path)


def test_the_usual_form_is_taken(tmp_path):
    text = json.dumps({":a": {"oscore": USUAL}})
    top = Place(Document("", tmp_path))
    found = read_members(text, lambda text, position: uniform_entry(text, position, top))
    assert found is not None
    entry = found[":a"]
    assert type(entry) is Entry
    assert type(entry.node) is OscoreContext
    assert str(entry.place) == ":a"
    assert str(entry.place_of(entry.node)) == ":a.oscore"
    with pytest.raises(AttributeError):
        entry.node.window = 5  # type: ignore[misc]  # that it is read-only is the question
    with pytest.raises(AttributeError):
        del entry.node.window  # that none of its fields can be taken away, too


def taken(text):
    found = uniform_entry(text, 0, Place(Document("", Path())))
    return None if found is None else (found[0], found[1].node, text[found[2] :])


def entry(**changed):
    oscore = {**USUAL, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return json.dumps({":a": {"oscore": oscore}})[1:-1]


SETTINGS = {"window": 64, "echo": False, "rederive": True, "algorithm": 1, "kdf_hashfun": "sha512"}


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_members_and_the_gaps_between_them_do_not_matter(backwards):
    oscore = dict(sorted({**USUAL, "id-context": {"hex": ""}, "window": 7}.items(), reverse=backwards))
    text = json.dumps({":a": {"oscore": oscore}}, indent="\t").replace("\n", "\r\n")[1:-1]
    name, node, rest = taken(text + ",")
    assert (name, node.window, node.id_context, node.recipient_id, rest.strip()) == (":a", 7, b"", b"\x12", ",")


def test_settings_are_taken():
    _, node, _ = taken(entry(**SETTINGS))
    assert (node.window, node.echo, node.rederive) == (64, False, True)
    assert (node.algorithm.name, node.hash_name) == ("A128GCM", "SHA-512")


@pytest.mark.parametrize(
    "changed",
    [
        {"window": 0}, {"window": 4097}, {"window": "64"}, {"window": True}, {"window": 1_000_000}, {"window": 1.0},
        {"echo": 1}, {"rederive": None}, {"rederive": True, "id_context": {"hex": "01"}}, {"algorithm": "none"},
        {"algorithm": "A\\u0031"}, {"kdf_hashfun": 5}, {"secret": {"hex": "0102"}}, {"secret": {"hex": ""}},
        {"secret": {"ascii": "0102030405060708"}}, {"salt": "01"}, {"salt": {"hex": "0"}}, {"salt": {"hex": "0g"}},
        {"sender_id": {"hex": "12"}}, {"sender_id": {"hex": "00" * 8}}, {"unknown": 1}, {"basedir": "x"},
        {"id_context": {"hex": "00" * 241}},
    ],
)  # fmt: skip
def test_what_has_anything_to_be_told_is_not_taken(changed):
    assert taken(entry()) is not None
    assert taken(entry(**changed)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('":a"', '":"'), ('":a"', '"a"'), ('":a"', '":a "'), ('":a"', '":\x7f"'), ('":a"', '":\\u0061"'),
        ('"12"}', '"12"},'), ('"12"}', '"12"}, "salt": {"hex": "00"}'), ('"salt"', '"salt": {"hex": "00"}, "salt"'),
        ('"oscore"', '"dtls"'), ('"oscore"', '"oscore": {}, "oscore"'), ('"01"}', '"01", "hex": "02"}'),
        ('"01"}, ', '"01"} '), ("}}}}", "}}"), ("}}}", '}}, "claims": []}'), ("{", "{,"),
    ],
)  # fmt: skip
def test_what_is_of_another_form_is_not_taken(old, new):
    text = json.dumps({":a": {"oscore": USUAL}})[1:]
    assert taken(text) is not None
    assert old in text
    assert taken(text.replace(old, new, 1)) is None


@pytest.mark.parametrize("missing", ["secret", "sender-id", "recipient-id"])
def test_what_lacks_a_member_is_not_taken(missing):
    oscore = {name: value for name, value in USUAL.items() if name != missing}
    assert taken(json.dumps({":a": {"oscore": oscore}})[1:]) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", '{"a": 1', '{"a": 1}}', '{"a": 1,}', '{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 2}}', '{"a": NaN}',
        '{"\\u0061": 1}', '{"a\n": 1}', "\ufeff{}", '{"a": ' + "[" * 100_000, '{"a": ' + "1" * 5000 + "}", "{1: 1}", '{"a" 1}',
    ],
)  # fmt: skip
def test_what_is_unusual_is_to_be_read_whole(text):
    assert read_members(text, lambda _text, _position: None) is None


def test_members_are_as_in_json():
    text = '\t{ "a" : {"b": [1, {"c": null}], "d": {}} ,\r\n"e": 1.5e3 } \n'
    assert read_members(text, lambda _text, _position: None) == json.loads(text)


def test_a_member_that_was_taken_is_not_read():
    text = '{"a": 1, ~ , "c": 3}'
    found = read_members(text, lambda text, position: ("b", 2, position + 2) if text[position + 1] == "~" else None)
    assert found == {"a": 1, "b": 2, "c": 3}


def test_a_name_that_is_repeated_anywhere_is_unusual():
    assert read_members('{"a": {"b": [{"c": 1, "c": 2}]}}', lambda _text, _position: None) is None
    assert read_members('{"a": 1, "b": 2}', lambda _text, position: ("a", 1, position + 7)) is None
