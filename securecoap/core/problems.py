"""What an error of a handler becomes: a response with a text for a person, or with problem details (RFC 9290).

There is no way to ask for a format of errors alone: Accept is about what was asked for. So problem details go out where
a handler made them, and to a client whose Accept names them. Handlers and addresses are not known here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from securecoap.errors import MethodNotAllowed, NotFound, RequestEntityTooLarge
from securecoap.wire import numbers
from securecoap.wire.codes import CODES, DEFAULT_RESPONSE_CODES, Code, code_text
from securecoap.wire.content_formats import PROBLEM_DETAILS
from securecoap.wire.message import Message
from securecoap.wire.problem_details import ProblemDetails

if TYPE_CHECKING:
    from securecoap.errors import ErrorResponse

__all__ = ["bad_option", "error_message", "nothing_there"]

_DEFAULT_MAX_AGE: Final = numbers.OPTIONS[numbers.MAX_AGE].default


def error_message(error: ErrorResponse, request: Message) -> Message:
    """The response that an error of a handler stands for."""
    details: ProblemDetails | None = error.details
    diagnostic = error.diagnostic.encode(errors="replace")  # what it names need not be UTF-8: a file, for one
    if details is not None:
        message = _with_details(error.code, details, diagnostic)
    else:
        message = _failure(error.code, diagnostic, request)
    if error.max_age is not None and error.max_age != _DEFAULT_MAX_AGE:  # RFC 7252 section 5.4.4
        message.options.max_age = error.max_age
    if isinstance(error, RequestEntityTooLarge) and error.size1 is not None:
        message.options.size1 = error.size1
    return message


def nothing_there(request: Message) -> ErrorResponse:
    """What there is to say of a path where there is nothing (RFC 7252 section 5.8 for methods that nobody knows)."""
    return NotFound() if request.code in DEFAULT_RESPONSE_CODES else MethodNotAllowed()


def bad_option(code: Code, number: int, request: Message) -> Message:
    """The refusal of an option that has to be understood (RFC 7252 section 5.4.1, RFC 9290 section 3.1.1)."""
    text = f"option {numbers.option_name(number)} is not accepted"
    return _failure(code, text.encode(), request, ProblemDetails(unprocessed_options=(number,)))


def _failure(code: int, diagnostic: bytes, request: Message, details: ProblemDetails | None = None) -> Message:
    if request.options.accept == PROBLEM_DETAILS:
        return _with_details(code, details or ProblemDetails(), diagnostic)
    return Message(CODES[code], diagnostic)


def _with_details(code: int, details: ProblemDetails, diagnostic: bytes) -> Message:
    # Section 2: the code that it says is the one that the response has; the title is the kind, the detail this case.
    title = details.title or code_text(code).partition(" ")[2] or None
    whole = replace(details, response_code=code, title=title, detail=details.detail or diagnostic.decode() or None)
    message = Message(CODES[code], whole.encode())
    message.options.content_format = PROBLEM_DETAILS
    return message
