from __future__ import annotations

import json
import logging

import pytest

from securecoap.cli import logs


@pytest.fixture
def records(capsys):
    def lines():
        return capsys.readouterr().err.splitlines()

    return lines


def crash():
    try:
        int("deep\x1b[2J")
    except ValueError:
        logs.LOGGER.exception("it\nfailed")


def test_console_lines_are_one_line_each(records):
    logs.configure(logging.INFO)
    logs.LOGGER.info("from %s", "a peer\n\x1b[2Jof ours")
    logs.LOGGER.debug("not asked for")
    (line,) = records()
    assert line.endswith("INFO securecoap.cli: from a peer\\n\\x1b[2Jof ours")


def test_a_traceback_follows_its_line(records):
    logs.configure(logging.INFO)
    crash()
    first, *rest = records()
    assert "ERROR" in first
    assert rest[0].startswith("  Traceback")
    assert rest[-1].startswith("  ValueError")
    assert "\x1b" not in "".join(rest)


def test_no_line_of_an_exception_looks_like_a_record(records):
    logs.configure(logging.INFO)
    text = "what a peer sent:\n12:00:00 INFO securecoap.cli: all is well\r12:00:00\x8512:00:00\u202812:00:00"
    logs.LOGGER.error("it failed", exc_info=ValueError(text))
    assert sum(not line.startswith("  ") for line in records()) == 1


@pytest.mark.parametrize("kind", logs.FORMATS)
def test_faults_are_part_of_their_record(records, kind):
    logs.configure(logging.INFO, kind)
    logs.event(logs.ERROR, "reload-failed", "it failed", faults=["s.json:1: one\n12:00:00", "s.json:2: two"])
    lines = records()
    if kind == "json":
        assert json.loads(lines[0])["faults"] == ["s.json:1: one\n12:00:00", "s.json:2: two"]
    else:
        assert lines[1:] == ["  s.json:1: one\\n12:00:00", "  s.json:2: two"]
    assert len(lines) == (1 if kind == "json" else 3)


def test_json_lines_are_objects(records):
    logs.configure(logging.INFO, "json")
    logs.LOGGER.info("listening %s", "x", extra={"fields": {"uri": "x"}})
    crash()
    one, two = map(json.loads, records())
    assert {**one, "time": ""} == {
        "time": "", "level": "info", "logger": "securecoap.cli", "message": "listening x", "uri": "x",
    }  # fmt: skip
    assert one["time"].endswith("+00:00")
    assert two["message"] == "it\nfailed"
    assert "ValueError" in two["exception"]


def test_other_libraries_are_heard_from_warning_on(records):
    logs.configure(logging.DEBUG)
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("asyncio").warning("trouble")
    (line,) = records()
    assert line.endswith("trouble")
