"""``securecoap shell``: its name only, until the command is there."""

from __future__ import annotations

from securecoap.cli.options import not_yet_command

__all__ = ["commands"]

commands = {"shell": not_yet_command("shell")}
