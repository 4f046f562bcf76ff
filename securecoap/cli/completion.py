"""``securecoap completion``: the script with which a shell completes the words of this program.

The scripts ask the program itself (click's mechanism), so that they never have to be renewed. Bash takes words apart
at colons, which URIs and labels have, and puts what it gets on the line as it is, where a name of somebody's file could
be a command; so it has a script of its own here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import (
    BashComplete,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from securecoap.cli import status

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["VARIABLE", "commands"]

VARIABLE: Final = "_SECURECOAP_COMPLETE"
"""With this in its environment the program completes a command line, and does nothing else."""

_BASH: Final = r"""%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain)
                case $value in */ | *:) compopt -o nospace ;; esac
                printf -v value %%q "$value"
                COMPREPLY+=("$value")
                ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE=${COMP_LINE:0:COMP_POINT} COMP_WORDBREAKS=$COMP_WORDBREAKS %(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Takes the line as it is, and gives what Readline puts in place of the part behind the last colon."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that was begun, and that."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        begun = words.pop() if words and not line[-1:].isspace() else ""
        at = max((begun.rfind(mark) for mark in ":=" if mark in os.environ.get("COMP_WORDBREAKS", "")), default=-1)
        self._kept = begun[: at + 1]
        return words[1:], begun

    def format_completion(self, item: CompletionItem) -> str:
        """A line of what the script reads."""
        return f"{item.type},{str(item.value).removeprefix(self._kept)}"


class _Zsh(ZshComplete):
    """Puts no blank behind what goes on: schemes, servers and directories."""

    source_template = ZshComplete.source_template.replace(
        "compadd -U -V unsorted -a completions",
        "compadd -U -V unsorted -S '' -- ${(M)completions:#*[/:]}\n"
        "        compadd -U -V unsorted -- ${completions:#*[/:]}",
    )


class _Fish(FishComplete):
    """Names of files and explanations may have commas."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


add_completion_class(_Bash, "bash")
add_completion_class(_Zsh, "zsh")
add_completion_class(_Fish, "fish")


_HELP: Final = """Print the script with which a shell completes commands, options, URIs and labels.

\b
bash   source <(securecoap completion bash)     in ~/.bashrc
zsh    source <(securecoap completion zsh)      in ~/.zshrc
fish   securecoap completion fish | source      in ~/.config/fish/config.fish
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script; see `_HELP`."""
    # When it is used: the commands' own names are all that is needed otherwise.
    from securecoap.cli.program import program

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(program, {}, "securecoap", VARIABLE).source())
    return status.SUCCESS


commands: Final = {"completion": completion}
