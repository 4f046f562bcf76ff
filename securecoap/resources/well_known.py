"""``/.well-known/core``: what a server has, as links (RFC 6690, RFC 7252 section 7.2).

The links come from whoever has them (a Site); format and filters are `securecoap.wire.link_format`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import BadRequest, FormatError
from securecoap.resources.conditional import etag_for, require_accept, validated
from securecoap.resources.resource import Resource
from securecoap.wire.content_formats import LINK_FORMAT
from securecoap.wire.link_format import filter_links, write_links
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from securecoap.wire.link_format import Link

__all__ = ["WELL_KNOWN_CORE", "WellKnownCore"]

WELL_KNOWN_CORE: Final = (".well-known", "core")
"""The path, in segments."""


class WellKnownCore(Resource):
    """Lists links, filtered by the request's query (RFC 6690 section 4.1).

    Args:
        links: gives the links of the moment.
    """

    def __init__(self, links: Callable[[], Iterable[Link]]) -> None:
        self._links = links

    def render_get(self, request: Message) -> Message:
        """The links that pass every filter, in link format."""
        require_accept(request, LINK_FORMAT)
        try:
            links = filter_links(self._links(), request.options.uri_query)
        except FormatError as error:
            raise BadRequest(str(error)) from None
        if not links and request.remote is not None and request.remote.is_multicast_locally:
            return NoResponse  # RFC 7252 section 8.2: who has nothing of use to say is silent
        payload = write_links(links).encode()
        return validated(request, Message(payload=payload, content_format=LINK_FORMAT, etag=etag_for(payload)))
