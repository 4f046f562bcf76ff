"""The bar of a transfer: when there is one, and what is counted without it."""

from __future__ import annotations

import io
import logging
import sys
from types import SimpleNamespace

import pytest

from securecoap.cli import logs, progress
from securecoap.cli.progress import Meter
from securecoap.cli.text import tell


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def transfer(meter, clock, seconds):
    with meter:
        for done in range(0, 4096, 1024):
            meter(done, 4096)
            clock.now += seconds / 4


def test_a_transfer_that_takes_long_has_a_bar_and_leaves_none(terminal):
    clock = Clock()
    transfer(Meter("GET", clock=clock), clock, 4.0)
    shown = terminal.getvalue()
    assert "GET" in shown
    assert "3.1/4.1 kB" in shown
    assert shown.endswith("\x1b[2K")  # its line is erased


def test_what_is_said_meanwhile_stands_above_the_bar(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    root = logging.getLogger()
    before = root.handlers, root.level, logging.getLogger("securecoap").level
    logs.configure(logging.WARNING)
    clock = Clock()
    try:
        with Meter("GET", clock=clock) as meter:
            clock.now = 1.0
            meter(1024, 4096)
            logging.getLogger("securecoap.core").warning("what is to be sent waits")
            tell("a word")
            clock.now = 2.0
            meter(2048, 4096)
    finally:
        logging.captureWarnings(capture=False)
        root.handlers, level, ours = before
        root.setLevel(level)
        logging.getLogger("securecoap").setLevel(ours)
    shown = terminal.getvalue()
    assert sys.stderr is terminal
    for text in ("WARNING securecoap.core: what is to be sent waits\n", "securecoap: a word\n"):
        before_it, found, after = shown.partition(text)
        assert found
        assert "\n" not in before_it.rpartition("\x1b[2K")[2]
        assert before_it.rpartition("\x1b[2K")[2].count("GET") == 0  # the line of the bar was erased before
        assert "GET" in after  # and the bar is shown again


def test_what_is_over_in_a_moment_has_none(terminal):
    clock = Clock()
    transfer(Meter("GET", clock=clock), clock, 0.2)
    assert terminal.getvalue() == ""


def test_quiet(terminal):
    clock = Clock()
    transfer(Meter("GET", quiet=True, clock=clock), clock, 4.0)
    assert terminal.getvalue() == ""


def test_no_bar_where_stderr_is_no_terminal(capsys):
    clock = Clock()
    meter = Meter("GET", clock=clock)
    transfer(meter, clock, 4.0)
    assert capsys.readouterr() == ("", "")
    assert meter.reached == "3072 of 4096 bytes"


def test_a_size_that_nobody_says():
    meter = Meter("PUT")
    meter(10, None)
    assert meter.reached == "10 bytes"
