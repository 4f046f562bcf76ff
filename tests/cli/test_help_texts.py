"""Help is read, searched and copied from: no line of it ends within a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from securecoap.cli.help_texts import unbroken
from securecoap.cli.program import program
from securecoap.cli.provisioning import KINDS
from securecoap.cli.shell_commands import commands as in_the_shell

if TYPE_CHECKING:
    from collections.abc import Iterator


def helps(command: click.Command, width: int, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The help of a command and of those below it, in a terminal of that width."""
    context = unbroken(command).context_class(
        command,
        parent,
        info_name=command.name,
        terminal_width=width,
        help_option_names=["-h", "--help"],
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, width, context)


@pytest.mark.parametrize("width", [60, 72, 80, 100, 110])
@pytest.mark.parametrize("top", [program, in_the_shell])
def test_no_line_ends_within_a_word(top: click.Command, width: int) -> None:
    found = dict(helps(top, width))
    assert len(found) > 10
    for path, text in found.items():
        assert "\ue000" not in text
        for line, following in zip(text.splitlines(), text.splitlines()[1:], strict=False):
            is_end = not following.strip() or line.endswith((" -", "--"))
            assert is_end or not line.endswith(("-", "|")), (path, line)


def test_no_line_is_longer_than_a_terminal() -> None:
    for name, text in helps(program, 80):
        assert max(map(len, text.splitlines())) <= 80, name


@pytest.mark.parametrize("command", ["new", "pair"])
@pytest.mark.parametrize("width", [60, 80])
def test_kinds_are_there_as_they_are_written(command: str, width: int) -> None:
    text = dict(helps(program, width))[f"program credentials {command}"]
    assert " KIND" in text.splitlines()[0]
    words = text.replace(",", " ").replace(".", " ").split()
    assert set(KINDS) <= set(words)


def test_it_is_what_the_program_says(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run("credentials", "new", "--help")
    assert outcome.out.startswith(b"Usage: securecoap credentials new [OPTIONS] KIND\n")
    assert b"KIND is dtls, dtls-rpk, dtls-x509, oscore or edhoc-oscore." in outcome.out
    assert "KIND" in run("credentials", "new", "nothing").err
