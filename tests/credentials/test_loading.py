"""Faults: each with its file, line and place, all at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securecoap.credentials import CredentialsMap, as_credentials_map
from securecoap.credentials.loading import load_entries
from securecoap.errors import CredentialsFault

from .material import NOW, NoSources, build, oscore, psk


def test_all_faults_are_reported_at_once_with_line_and_place(faults_of):
    text = """{
 "$schema": "schema.json",
 ":a": {"oscore": {
   "secret": {"hex": "zz"},
   "sender-id": {"hex": "00112233445566778899"},
   "recipient-id": {"hex": "01"},
   "colour": 1}},
 ":b": ":nowhere",
 ":c": {"dtls": {"psk": {"ascii": "0123456789abcdef"}}},
 "coap://h/?q": {"unprotected": true}
}"""
    assert faults_of(text) == [
        "file.json:4: :a.oscore.secret: not an even number of hexadecimal digits",
        (
            "file.json:7: :a.oscore.colour: unknown member colour; known: secret, salt, sender-id, recipient-id, "
            "id-context, algorithm, kdf-hashfun, window, echo, rederive"
        ),
        "file.json:8: :b: there is no :nowhere",
        "file.json:9: :c.dtls: client-identity is missing",
        "file.json:10: coap://h/?q: a URI pattern has no query and no fragment",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "file.json:1: not JSON"),
        ("[]", "file.json:1: a JSON object is expected"),
        ('{\n":a": 1,\n":a": 2}', "file.json:3: :a: this name is given twice"),
        ('{":a": {"dtls": {"psk": {"ascii": "x",\n"ascii": "y"}}}}', "file.json:2: :a.dtls.psk.ascii: this name is given twice"),
        ('{":a":\nNaN}', "file.json:2: not JSON: no such number"),
        ("[" * 100_000, "nested too deeply"),
        ('{":a": ' + "9" * 5000 + "}", "a number is too long"),
        ({"$schema": 1}, "file.json:2: $schema: a string is expected"),
        ({":": psk()}, ":: a label is"),
        ({":a": 1}, ":a: a label, null, or an object with one kind is expected"),
        ({":a": "b"}, ":a: a string names a label"),
        ({":a": {}}, ":a: no kind"),
        ({":a": {"claims": ["x"]}}, ":a: no kind"),
        ({":a": {"magic": 1}}, ":a.magic: unknown kind or member magic"),
        ({":a": {**psk(), **oscore()}}, ":a: several kinds in one entry: dtls, oscore"),
        ({":a": {**psk(), "unprotected": True}}, "several kinds in one entry: dtls, unprotected"),
        ({"*": {"unprotected": False}}, "*.unprotected: true is expected"),
        ({":a": {"any-of": []}}, ":a.any-of: a list of labels or entries is expected, not empty"),
        ({":a": {"all-of": []}}, ":a.all-of: a list of labels or entries is expected, not empty"),
        ({":a": {"any-of": [":b"]}}, "file.json:4: :a.any-of[0]: there is no :b"),
        ({":a": ":a"}, ":a: leads in a circle: :a -> :a"),
        ({":a": ":b", ":b": {"any-of": [":c"]}, ":c": ":a"}, ":c: leads in a circle: :a -> :b -> :c -> :a"),
        ({":a": psk(claims=[":b"])}, ':a.claims[0]: a claim does not begin with ":"'),
        ({":a": psk(claims=["", 1])}, ":a.claims[1]: a claim is a string"),
        ({":a": psk(claims="x")}, ":a.claims: a list of strings is expected"),
        ({":a": psk(claims=["*"]), "*": ":a"}, "a claim is the name of a pattern"),
        ({":a": psk(methods=["GET"])}, ":a.methods: methods are for URI patterns only"),
        ({"*": {"unprotected": True, "methods": ["BREW"]}}, "*.methods[0]: unknown method"),
        ({"*": {"unprotected": True, "methods": []}}, "*.methods: a list of method names is expected"),
        ({"*": {"any-of": [psk(methods=["GET"])]}}, "*.any-of[0].methods: methods are for URI patterns only"),
        ({":a": psk(**{"not-after": "2030-13-01T00:00:00Z"})}, ":a.not-after: a time is expected"),
        ({":a": psk(**{"not-after": "2030-12-01T00:00:00"})}, ":a.not-after: a time is expected"),
        ({":a": psk(**{"not-before": "tomorrow"})}, ":a.not-before: a time is expected"),
        (
            {":a": psk(**{"not-before": "2030-01-01T00:00:00Z", "not-after": "2029-01-01T00:00:00Z"})},
            ":a.not-after: not later than not-before",
        ),
        ({":a": psk(key="")}, ":a.dtls.psk: the key's length"),
        ({":a": psk(key="00" * 513)}, ":a.dtls.psk: the key's length"),
        ({":a": psk(identity="")}, ":a.dtls.client-identity: its length"),
        ({":a": psk(), ":b": psk()}, ":b.dtls.client-identity: the same identity as in :a.dtls"),
        ({":a": oscore(), ":b": oscore(recipient="13")}, ":b.oscore: the same sender context as in :a.oscore"),
        ({":a": oscore(sender="00" * 8)}, ":a.oscore.sender-id: longer than AES-CCM-16-64-128 allows (7 bytes"),
        ({":a": oscore(recipient="0000", algorithm="AES-CCM-64-64-128")}, ":a.oscore.recipient-id: longer than"),
        ({":a": oscore(recipient="00" * 7, algorithm=3)}, ":a.oscore.recipient-id: longer than A256GCM allows (6"),
        ({":a": oscore(recipient="01")}, ":a.oscore.recipient-id: the same as sender-id"),
        ({":a": oscore(secret="")}, ":a.oscore.secret: the key is empty"),
        ({":a": oscore(algorithm="A128CBC")}, ":a.oscore.algorithm: no AEAD"),
        ({":a": oscore(algorithm=True)}, ":a.oscore.algorithm: no AEAD"),
        ({":a": oscore(**{"kdf-hashfun": "MD5"})}, ":a.oscore.kdf-hashfun: one of"),
        ({":a": oscore(window=0)}, ":a.oscore.window: a whole number"),
        ({":a": oscore(echo="no")}, ":a.oscore.echo: true or false"),
        ({":a": oscore(basedir="x")}, ":a.oscore: basedir stands alone"),
        ({":a": {"oscore": {"basedir": "nowhere"}}}, ":a.oscore.basedir: no context directory"),
        ({"*": {"any-of": [psk(), {"unprotected": True}]}}, "*.any-of[1].unprotected: unprotected in an any-of"),
        ({"*": {"any-of": [":o"]}, ":o": {"unprotected": True}}, "*.any-of[0]: unprotected in an any-of"),
        ({"*": {"all-of": [{"unprotected": True}]}}, "unprotected in an all-of"),
        ({":a": {"dtls": 1}}, ":a.dtls: an object is expected"),
        ({":a": {"dtls": {"psk": "secret"}}}, ":a.dtls.psk: a byte value is expected"),
        ({":a": {"dtls": {"psk": {"hex": "00", "ascii": "a"}}}}, ":a.dtls.psk: a byte value is expected"),
        ({":a": {"edhoc-oscore": {"suite": 2, "method": 9}}}, ":a.edhoc-oscore.method: a whole number from 0 to 3"),
        ({":a": {"tlscert": {"certfile": "nowhere.pem"}}}, ":a.tlscert.certfile: cannot read the file"),
        ({":a": {"dtls-x509": {}}}, ":a.dtls-x509: certificate with private-key, or ca"),
    ],
)  # fmt: skip
def test_a_fault_is_found_at_its_place(faults_of, content, fault):
    assert any(fault in found for found in faults_of(content)), faults_of(content)


def test_names_given_more_than_twice_are_reported_with_each_line(faults_of):
    found = faults_of('{":a": 1,\n":a": 2,\n":b": 3,\n":a": 4}')
    assert [fault for fault in found if "twice" in fault] == [
        "file.json:2: :a: this name is given twice",
        "file.json:4: :a: this name is given twice",
    ]
    assert found[1].startswith("file.json:3: :b: ")


def test_warnings_are_logged(caplog):
    build({":a": psk(key="00112233")})
    assert [record.getMessage() for record in caplog.records] == [":a.dtls.psk: the key has fewer than 16 bytes"]


def test_missing_files_are_all_reported():
    with pytest.raises(CredentialsFault) as caught:
        CredentialsMap.load("/nonexistent/a.json", "/nonexistent/b.json")
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["/nonexistent/a.json", "/nonexistent/b.json"]


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{\n"\xff": 1}')
    with pytest.raises(CredentialsFault, match=r"x\.json:2: not UTF-8"):
        CredentialsMap.load(path)


def test_later_files_win_and_null_deletes(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({":a": psk("a"), ":b": psk("b"), ":c": psk("c")}))
    second.write_text(json.dumps({":a": psk("d"), ":b": None, ":never": None}))
    loaded = CredentialsMap.load(first, second)
    assert list(loaded.entries) == [":c", ":a"]
    assert loaded.find_psk(b"a", NOW) is None
    assert loaded.find_psk(b"b", NOW) is None
    assert loaded.find_psk(b"d", NOW).label == ":a"


def test_a_reference_to_a_deleted_entry_is_a_fault(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({":a": psk("a"), "coaps://h/*": ":a"}))
    second.write_text(json.dumps({":a": None}))
    with pytest.raises(CredentialsFault, match=r"first\.json:1: coaps://h/\*: there is no :a"):
        CredentialsMap.load(first, second)


def test_a_server_may_have_unprotected_in_an_any_of():
    entries = {"*": {"any-of": [psk(), {"unprotected": True}]}}
    assert build(entries, role="server").policy.decide("coap", "h", 1, (), 1, (), NOW) == 0
    with pytest.raises(CredentialsFault):
        build(entries, role="client")


def test_empty_ids_are_valid():
    context = build({":a": oscore(sender="", recipient="00" * 7)}).find_oscore(bytes(7), None, NOW)[0]
    assert context.sender_id == b""
    assert build({":a": oscore(recipient="")}).find_oscore(b"", None, NOW)


def test_short_keys_and_kinds_without_use_are_warnings(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(
        json.dumps({":a": psk(key="00112233"), ":b": {"any-of": [":a"], "claims": ["x"]}, ":c": oscore(secret="01")})
    )
    assert [warning.removeprefix(str(path)) for warning in CredentialsMap.load(path).warnings] == [
        ":1: :a.dtls.psk: the key has fewer than 16 bytes",
        ":1: :b.claims: claims beside any-of have no effect: nothing is proved by it",
        ":1: :c.oscore.secret: the key has fewer than 16 bytes",
    ]


def test_long_chains_and_wide_products_are_bounded():
    chain = {f":{index}": f":{index + 1}" for index in range(5000)}
    with pytest.raises(CredentialsFault, match="64 references follow each other"):
        build({**chain, ":5000": psk()})
    labels = {f":{index}": psk(f"{index}") for index in range(20)}
    wide = {"all-of": [{"any-of": list(labels)}] * 10}
    with pytest.raises(CredentialsFault, match="combinations"):
        build({**labels, "coaps://h/*": wide})
    nested = psk()
    for _ in range(40):
        nested = {"any-of": [nested]}
    with pytest.raises(CredentialsFault, match="levels deep"):
        build({":deep": nested})


def test_too_many_contexts_with_one_recipient_id():
    contexts = {f":{n}": oscore(sender=f"{n + 2:02x}", recipient="01") for n in range(17)}
    with pytest.raises(CredentialsFault, match="share one recipient-id"):
        build(contexts)


def test_as_credentials_map(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({":a": psk()}))
    ready = as_credentials_map(path)
    assert as_credentials_map(ready) is ready
    assert as_credentials_map(str(path)).find_psk(b"sensor-17", NOW)
    assert as_credentials_map([path]).find_psk(b"sensor-17", NOW)
    assert as_credentials_map({":a": psk()}).find_psk(b"sensor-17", NOW)
    assert not as_credentials_map(None).entries


NAMES = st.sampled_from(
    [":a", ":b", "*", "coap://h/*", "$schema", "dtls", "oscore", "psk", "secret", "client-identity", "hex", "ascii",
     "file", "env", "command", "base64", "any-of", "all-of", "unprotected", "claims", "methods", "not-after", "basedir",
     "sender-id", "recipient-id", "dtls-rpk", "private-key", "peer-keys", "dtls-x509", "ca", "certificate",
     "edhoc-oscore", "own-cred", "suite", "method", "tlscert", "certfile"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | NAMES | st.just("00" * 16),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def outcome(path):
    """The map, or the faults; anything else is an error of the loader."""
    try:
        return CredentialsMap.load(path, sources=NoSources()), []
    except CredentialsFault as fault:
        return None, fault.faults


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES | st.text(), VALUES) | VALUES)
def test_any_json_gives_a_map_or_faults(tmp_path, value):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(value, indent=1))
    loaded, faults = outcome(path)
    assert (loaded is None) == bool(faults)
    assert all(text.isprintable() and text.startswith(str(path)) for text in faults)
    repr(loaded)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_gives_a_map_or_faults(tmp_path, text):
    path = tmp_path / "any.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    loaded, faults = outcome(path)
    assert (loaded is None) == bool(faults)


MARK = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
KEYED = st.sampled_from(
    [
        psk(key=MARK), psk(key=MARK + "0"), oscore(secret=MARK), oscore(secret=MARK, sender="00" * 9),
        {"dtls": {"psk": MARK}}, {"dtls": {"psk": {MARK: "hex"}}}, {"dtls": {"psk": {"hex": MARK + "zz"}}},
        {"dtls": {"psk": {"base64": MARK + "!"}, "client-identity": {"ascii": "x"}}}, {"dtls": MARK}, MARK,
        {"dtls": {"psk": {"ascii": MARK + "é"}}}, {"oscore": {"secret": {"hex": MARK}, "salt": [MARK]}},
        {"dtls": {"psk": {"command": ["show", MARK]}}}, {"dtls-rpk": {"private-key": {"ascii": MARK}}},
        {"any-of": [psk(key=MARK), psk(key=MARK)]}, {"edhoc-oscore": {"private-key": {"d": MARK}}},
        {"edhoc-oscore": {"suite": 2, "method": 3, "private-key": {"d": MARK}, "own-cred": {"14": 1}, "own-cred-style": "by-value"}},
    ]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([":a", ":b", "coap://h/*", "nonsense"]), KEYED))
def test_no_secret_is_in_any_fault_warning_or_repr(entries):
    shown = []
    try:
        loaded = build(entries)
    except CredentialsFault as fault:
        shown += [str(fault), repr(fault), *fault.faults]
    else:
        shown += [repr(loaded), repr(loaded.entries), *loaded.warnings, repr(loaded.credentials())]
    raw = repr(bytes.fromhex(MARK))[2:-1]
    assert not any(MARK in text or raw in text for text in shown)


def test_a_directory_is_one_map_in_the_order_of_the_names(tmp_path):
    (tmp_path / "20.json").write_text(json.dumps({":a": psk("second"), ":b": None}))
    (tmp_path / "10.json").write_text(json.dumps({":a": psk("first"), ":b": psk("b"), ":c": psk("c")}))
    (tmp_path / ".30.json").write_text("no JSON: an editor's, or a lock's")
    (tmp_path / "readme.txt").write_text("no JSON")
    assert {one.label: one.identity for one in CredentialsMap.load(tmp_path).credentials()} == {
        ":c": b"c",
        ":a": b"second",
    }
    (tmp_path / "30.json").write_text(json.dumps({":d": psk("c")}))
    with pytest.raises(CredentialsFault, match=r"30.json:1: :d.dtls.client-identity: the same identity as in :c.dtls"):
        CredentialsMap.load(tmp_path)


def test_a_directory_without_files(tmp_path):
    with pytest.raises(CredentialsFault, match=r"there is no \*.json"):
        CredentialsMap.load(tmp_path)


def _in_days(days):
    return datetime.fromtimestamp(time.time() + days * 86400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("days", "is_warned"), [(-1, False), (13, True), (15, False)])
def test_warnings_before_the_end(days, is_warned):
    entry = psk(**{"not-after": _in_days(days)})
    expected = (":a.dtls: it ends in less than 14 days",) if is_warned else ()
    assert CredentialsMap.from_dict({":a": entry}).warnings == expected
    assert CredentialsMap.from_dict({":a": {"any-of": [psk("new"), entry]}}).warnings == ()


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ('{":a": {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"hex": "0"}}}}', ['"psk"']),
        ('{\n  ":a": {"dtls": 1},\n\n    ":b": ":c" }', ['"dtls"', '":b"']),
        ('{":g": {"any-of": [":a", 7]}, ":a": {"dtls": 1}}', ["7", '"dtls"']),
    ],
)
def test_columns(tmp_path, text, starts):
    path = tmp_path / "c.json"
    path.write_text(text)
    columns = [next(line.index(start) + 1 for line in text.splitlines() if start in line) for start in starts]
    with pytest.raises(CredentialsFault) as caught:
        load_entries([path], columns=True)
    assert [int(fault.rpartition("(column ")[2].rstrip(")")) for fault in caught.value.faults] == columns
    with pytest.raises(CredentialsFault) as caught:
        CredentialsMap.load(path)
    assert not any("(column " in fault for fault in caught.value.faults)
