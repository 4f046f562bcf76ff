"""Where the payload of an answer goes: to a file, byte for byte to stdout, or in a form for a person to a terminal.

Error responses and notes go to stderr. Knows messages, but no network.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from securecoap.cli.advice import about_response
from securecoap.cli.status import SUCCESS, of_code
from securecoap.cli.text import tell
from securecoap.streaming import open_sink
from securecoap.wire.codes import code_text
from securecoap.wire.content_formats import content_format_text
from securecoap.wire.problem_details import problem_details

if TYPE_CHECKING:
    from pathlib import Path

    from securecoap.wire.message import Message

__all__ = ["describe", "report_error", "write_answer", "write_file", "write_notification"]


def write_answer(answer: Message, end: bytes = b"", *, quiet: bool = False) -> int:
    """Write the payload of a 2.xx response to stdout; say what another response means.

    Args:
        answer: the response.
        end: what follows the payload, where a program reads it.
        quiet: whether there is no advice.

    Returns:
        The exit status for its code.
    """
    result = of_code(answer.code)
    if result != SUCCESS:
        report_error(answer, quiet=quiet)
    else:
        _to_stdout(answer, end)
    return result


async def write_file(path: Path, payload: bytes) -> None:
    """Write a payload that is there already to a file, or leave the file as it was.

    Raises:
        OSError: the file cannot be written.
    """
    async with open_sink(path) as sink:
        await sink.write(payload)
        await sink.finish()


def write_notification(answer: Message, file: BinaryIO | None) -> None:
    """Write the payload and a newline, so that whoever reads has it at once.

    Args:
        answer: the first answer or a notification.
        file: where to, ``None`` for stdout.
    """
    if file is None:
        _to_stdout(answer, b"\n")
    else:
        file.write(answer.payload + b"\n")
        file.flush()


def report_error(answer: Message, *, quiet: bool = False) -> None:
    """Say the code and the diagnostic payload (RFC 7252 section 5.5.2) of an error response; and what to do next."""
    text = "an answer without code" if answer.code is None else code_text(answer.code)
    explanation = _diagnostic_text(answer) if answer.payload else ""
    if explanation:
        text += f": {explanation}"
    advice = None if quiet else about_response(answer)
    tell(text if advice is None else f"{text}\n{advice}")


def describe(answer: Message, size: int | None = None) -> str:
    """A line about a response: code, format, size, and what the peer has proved.

    Args:
        answer: the response.
        size: bytes of its body, if that is not its payload.
    """
    parts = ["no code" if answer.code is None else code_text(answer.code)]
    number = answer.options.content_format
    if number is not None:
        parts.append(content_format_text(number))
    parts.append(f"{len(answer.payload) if size is None else size} bytes")
    location = "/".join(answer.options.location_path)
    if location:
        parts.append(f"location /{location}")
    security = getattr(answer.remote, "security", "none")
    parts.append("unprotected" if security == "none" else f"protected by {security.upper()}")
    claims = getattr(answer.remote, "authenticated_claims", ())
    if claims:
        parts.append(f"claims {' '.join(claims)}")
    return ", ".join(parts)


def _diagnostic_text(answer: Message) -> str:
    if answer.options.content_format is None:  # then it is a text for a person (RFC 7252 section 5.5.2)
        return answer.payload.decode(errors="replace")
    details = problem_details(answer)
    if details is not None and details.title == code_text(answer.code or 0).partition(" ")[2]:
        details = replace(details, title=None)  # it was said before
    if details is not None and not details.extensions:
        return str(details)
    # Error responses are rare, start-up time is not.
    from securecoap.cli.pretty import render

    text = render(answer.payload, answer.options.content_format)
    return text if details is None else f"{details}\n{text}"


def _to_stdout(answer: Message, end: bytes) -> None:
    if sys.stdout.isatty():
        # Loaded where it is used: rich takes longer to load than an answer to come.
        from securecoap.cli.pretty import show

        show(answer.payload, answer.options.content_format)
        return
    out = sys.stdout.buffer
    out.write(answer.payload + end if end else answer.payload)
    out.flush()
