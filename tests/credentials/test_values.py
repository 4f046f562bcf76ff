"""Byte values and dates."""

from __future__ import annotations

import base64
import contextlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.credentials import CredentialsMap, Sources
from securecoap.credentials.sources import MAXIMUM_BYTES
from securecoap.errors import CredentialsFault

from .material import NOW, build, psk


def key_of(value, **options):
    entry = {":a": {"dtls": {"client-identity": {"ascii": "x"}, "psk": value}}}
    return CredentialsMap.from_dict(entry, **options).find_psk(b"x", NOW).psk.reveal()


def fault_of(value, **options):
    with pytest.raises(CredentialsFault) as caught:
        key_of(value, **options)
    (fault,) = caught.value.faults
    return fault.removeprefix(":a.dtls.psk: ")


@pytest.mark.parametrize("text", ["8d0b", "8D0B", "8d:0b", "8d-0b", " 8d 0b\n", "8:d:0:b"])
def test_hex_ignores_separators(text):
    assert key_of({"hex": text}) == b"\x8d\x0b"


@given(st.binary(min_size=1, max_size=64))
def test_base64_and_bytes(data):
    assert key_of({"base64": base64.b64encode(data).decode()}) == data
    assert key_of(data) == data


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"hex": "8d0"}, "not an even number"), ({"hex": 1}, "a string is expected"), ({"ascii": "é"}, "not ASCII"),
        ({"base64": "a"}, "not base64"), ({"base64": "_-_-"}, "not base64"), ({"env": "A=B"}, "not a name"),
        ({"env": ""}, "not a name"), ({"file": ""}, "not a path"), ({"file": "a\0b"}, "not a path"),
        ({"command": "ls"}, "a list of strings"), ({"command": []}, "a list of strings"),
        ({"command": ["ls", 1]}, "a list of strings"), ({}, "a byte value"), ("text", "a byte value"),
        ({"secret": "x"}, "a byte value"), (None, "a byte value"),
    ],
)  # fmt: skip
def test_faulty_byte_values(value, fault):
    assert fault_of(value).startswith(fault)


def test_a_file_is_taken_as_it_is_and_found_beside_the_json_file(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "key").write_bytes(b"\x00key\n")
    (tmp_path / "sub" / "c.json").write_text(
        '{":a": {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"file": "key"}}}}'
    )
    monkeypatch.chdir(tmp_path)
    assert CredentialsMap.load("sub/c.json").find_psk(b"x", NOW).psk.reveal() == b"\x00key\n"
    assert key_of({"file": "key"}, base=tmp_path / "sub") == b"\x00key\n"
    assert fault_of({"file": "other"}, base=tmp_path) == "cannot read the file (No such file or directory)"
    assert fault_of({"file": "sub"}, base=tmp_path).startswith("cannot read the file")


def test_a_file_is_bounded(tmp_path):
    (tmp_path / "large").write_bytes(bytes(MAXIMUM_BYTES + 1))
    assert fault_of({"file": "large"}, base=tmp_path) == f"more than {MAXIMUM_BYTES} bytes"


def test_the_environment():
    assert key_of({"env": "KEY"}, sources=Sources({"KEY": "välue"})) == "välue".encode()
    assert fault_of({"env": "KEY"}, sources=Sources({})) == "the environment variable is not set"


def test_a_command_runs_without_a_shell_and_its_output_is_taken_as_it_is(tmp_path):
    program = [sys.executable, "-c", "import sys, os; sys.stdout.write(sys.argv[1] + os.getcwd())", "$HOME;*"]
    assert key_of({"command": program}, base=tmp_path).decode() == "$HOME;*" + str(tmp_path)


def test_commands_that_fail():
    assert fault_of({"command": [sys.executable, "-c", "raise SystemExit(3)"]}) == "the command failed with status 3"
    assert fault_of({"command": ["/nonexistent/program"]}).startswith("cannot run the command")


def test_a_command_is_bounded_in_time():
    waiting = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    fault = fault_of({"command": waiting}, sources=Sources(command_seconds=0.05))
    assert fault == "the command took longer than 0.05 s"


def test_a_line_break_at_the_end_of_a_text_is_a_warning(tmp_path):
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    (tmp_path / "binary").write_bytes(b"\xff123456789abcde\n")
    for name, warned in (("key", True), ("binary", False)):
        entry = {":a": {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"file": name}}}}
        assert any("line break" in text for text in CredentialsMap.from_dict(entry, base=tmp_path).warnings) is warned


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0), ("1970-01-01t00:00:00.25z", 0.25), ("1970-01-01 01:00:00+01:00", 0.0),
        ("1969-12-31T23:30:00-00:30", 0.0), ("2016-12-31T23:59:60Z", 1483228800.0), ("2027-01-01T00:00:00Z", 1798761600.0),
    ],
)  # fmt: skip
def test_dates(text, seconds):
    assert build({":a": psk(**{"not-after": text})}).credentials()[0].validity.not_after == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2027-01-01", "2027-01-01T00:00Z", "2027-02-30T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:00:61Z",
     "2027-01-01T00:00:00+24:00", "2027-01-01T00:00:00+00:60", "٢٠٢٧-01-01T00:00:00Z", "0000-01-01T00:00:00Z", 1, None],
)  # fmt: skip
def test_faulty_dates(text):
    with pytest.raises(CredentialsFault, match="not-after: a time is expected"):
        build({":a": psk(**{"not-after": text})})


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.]\d*)?(Z|[+-]\d\d:\d\d)"))
def test_any_text_is_a_date_or_a_fault(text):
    with contextlib.suppress(CredentialsFault):
        build({":a": psk(**{"not-after": text})})
