"""How the help of commands is laid out: lines end between words, and never within one that has a hyphen.

``dtls-x509`` and ``--block-size`` are what a person copies, or looks for. Knows no command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["unbroken"]

_HYPHEN: Final = "\ue000"
"""Stands for a hyphen while lines are made: of a character for private use nobody knows that it divides words."""


class _Formatter(click.HelpFormatter):
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args.replace("-", _HYPHEN), prefix)

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, text.replace("-", _HYPHEN)) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(_HYPHEN, "-")


class _Context(click.Context):
    formatter_class = _Formatter


def unbroken(command: click.Command) -> click.Command:
    """Give a command, and those below it, such help; the command itself."""
    command.context_class = _Context
    for one in getattr(command, "commands", {}).values():
        unbroken(one)
    return command
