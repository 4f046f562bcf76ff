"""What a handler does with ETag, If-Match, If-None-Match, Accept and Content-Format (RFC 7252 sections 5.6.2, 5.10).

Plain functions of a request; nothing here keeps state or changes a message.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from securecoap.errors import NotAcceptable, PreconditionFailed, UnsupportedContentFormat
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import content_format_number
from securecoap.wire.message import Message

__all__ = ["check_preconditions", "etag_for", "require_accept", "require_content_format", "validated"]

_ETAG_LENGTH: Final = 8  # the longest there is (section 5.10)
_ETAG: Final = 1 << numbers.ETAG
# What a 2.03 tells anew of a stored response (section 5.9.1.3).
_REFRESHED: Final = frozenset({numbers.ETAG, numbers.MAX_AGE})


def etag_for(payload: bytes, content_format: int | None = None) -> bytes:
    """The entity-tag of a representation: 8 bytes, equal for equal content and format.

    Args:
        payload: the whole body.
        content_format: its number, where a resource has representations of several formats.
    """
    digest = blake2b(payload, digest_size=_ETAG_LENGTH)
    if content_format is not None:
        digest.update(b"\0%d" % content_format)
    return digest.digest()


def check_preconditions(request: Message, current_etag: bytes | None, *, exists: bool | None = None) -> None:
    """Let the request through only if its If-Match and If-None-Match hold (section 5.10.8).

    Call it before anything is changed.

    Args:
        request: the request.
        current_etag: entity-tag of the current representation.
        exists: whether there is one; by default, whether it has an entity-tag.

    Raises:
        PreconditionFailed: one does not hold.
    """
    options = request.options
    if exists is None:
        exists = current_etag is not None
    wanted = options.if_match
    if wanted and not (exists and (b"" in wanted or current_etag in wanted)):
        raise PreconditionFailed
    if options.if_none_match and exists:
        raise PreconditionFailed


def validated(request: Message, response: Message) -> Message:
    """The response, or 2.03 without payload if the client has that representation already (section 5.6.2).

    Args:
        request: a GET or FETCH.
        response: a 2.05 (or one without code) that has an ETag; any other is returned as it is.
    """
    if not request.options.present & _ETAG or (response.code is not None and response.code != Code.CONTENT):
        return response
    etag = response.options.etag
    if etag is None or etag not in request.options.etags:
        return response
    valid = Message(Code.VALID)
    for number, value in response.options:
        if number in _REFRESHED:
            valid.options.add(number, value)
    return valid


def require_accept(request: Message, *formats: int | str) -> int:
    """The content format to answer in: the one that Accept asks for, or else the first (section 5.10.4).

    Args:
        request: the request.
        formats: the content formats there are, by number or name, the preferred one first.

    Raises:
        NotAcceptable: another one is asked for.
    """
    wanted = request.options.accept
    if wanted is None:
        return content_format_number(formats[0])
    if wanted not in map(content_format_number, formats):
        raise NotAcceptable
    return wanted


def require_content_format(request: Message, *formats: int | str | None) -> int | None:
    """The content format of the request's body (section 5.5.1, 5.10.3).

    Args:
        request: the request.
        formats: those that are understood, by number or name; ``None`` among them admits a body that does not say.

    Raises:
        UnsupportedContentFormat: it is none of them.
    """
    found = request.options.content_format
    if found not in [None if one is None else content_format_number(one) for one in formats]:
        raise UnsupportedContentFormat
    return found
