"""What a line of ``securecoap shell`` may go on with: commands, options, files, and resources that the server names.

Asks the server what it has when that is needed for the first time. Knows no terminal.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from click.shell_completion import ShellComplete, split_arg_string

from securecoap.cli.completing import files
from securecoap.cli.shell_commands import commands

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from securecoap.cli.shell_session import Session

__all__ = ["Completing"]

_WITHOUT_PATH: Final = frozenset({"exit", "help", "pwd", "set"})


class Completing:
    """Completion for one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def complete(self, text: str) -> list[tuple[str, int, str]]:
        """See `Terminal`.

        Args:
            text: the line up to the cursor.
        """
        words = split_arg_string(text)
        begun = words.pop() if words and not text[-1].isspace() else ""
        length = len(text) - (max(text.rfind(" "), text.rfind("\t")) + 1)
        if words and words[0] not in _WITHOUT_PATH and not begun.startswith(("-", "@")):
            await self._session.learn(begun[: begun.rfind("/") + 1])
        found: list[tuple[str, int, str]] = []
        completion = ShellComplete(commands, {"obj": self._session}, "", "")
        for item in completion.get_completions(words, begun):
            found += [(_quoted(text), length, note) for text, note in _texts(item, begun)]
        return found


def _texts(item: CompletionItem, begun: str) -> list[tuple[str, str]]:
    if item.type == "plain":
        return [(str(item.value), item.help or "")]
    return [(name, "") for name in files(begun)]


def _quoted(text: str) -> str:
    return shlex.quote(text) if any(character.isspace() or character in "'\"\\" for character in text) else text
