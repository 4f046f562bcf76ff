from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from securecoap.cli.text import printable, tell


def test_escapes():
    assert printable("a\x1b[2J\x9b\u202e\ud800é\t\n") == "a\\x1b[2J\\x9b\\u202e\\ud800é\t\n"
    assert printable("a\nb\tc", lines=False) == "a\\nb\\tc"


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text):
    assert printable(text, lines=False).isprintable()


def test_tell_indents_what_follows(capsys):
    tell("one\ntwo\x1b")
    out, err = capsys.readouterr()
    assert not out
    assert err == "securecoap: one\n  two\\x1b\n"
