"""Content negotiation by declaration: what a resource produces and consumes, held before its handlers run.

Accept that cannot be met is 4.06 (RFC 7252 section 5.10.4), a body of another format 4.15 (section 5.5.1, RFC 8132
section 2.1 and 3.1). A resource that declares nothing pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from securecoap.errors import NotAcceptable, UnsupportedContentFormat
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import content_format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securecoap.wire.message import Message

    Formats: TypeAlias = Sequence[int | str | None]

__all__ = ["negotiation"]

_Handler: TypeAlias = "Callable[[Any, Message], Any]"

_RETRIEVING: Final = frozenset({Code.GET, Code.FETCH})
_WITH_BODY: Final = frozenset({Code.POST, Code.PUT, Code.FETCH, Code.PATCH, Code.IPATCH})


def negotiation(
    produces: Sequence[int | str], consumes: Formats | Mapping[int, Formats]
) -> Callable[[int, _Handler], _Handler]:
    """What wraps the handler of a method so that it sees only formats that were declared.

    Args:
        produces: content formats of answers to GET and FETCH.
        consumes: content formats of bodies, of all methods or by method.

    Raises:
        ValueError, TypeError: a content format that there is not.
    """
    answers = frozenset(content_format_number(one) for one in produces)
    by_method = consumes if isinstance(consumes, Mapping) else dict.fromkeys(_WITH_BODY, consumes)
    bodies = {
        int(method): frozenset(None if one is None else content_format_number(one) for one in formats)
        for method, formats in by_method.items()
        if formats
    }

    def negotiated(method: int, handler: _Handler) -> _Handler:
        offered = answers if method in _RETRIEVING else frozenset()
        understood = bodies.get(method, frozenset())
        if not offered and not understood:
            return handler

        def negotiate(resource: Any, request: Message) -> Any:
            options = request.options
            if understood and request.payload and options.content_format not in understood:
                raise UnsupportedContentFormat
            if offered and (accept := options.accept) is not None and accept not in offered:
                raise NotAcceptable
            return handler(resource, request)

        return negotiate

    return negotiated
