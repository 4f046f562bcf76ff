"""The resources that the CoAP plugtest cases ask for, as a site: for a simulated network, and for real peers.

``securecoap serve tests.core.etsi:site`` serves them. The cases are those of ETSI's CoAP#4 plugtest; what each
resource is called and does is theirs, the code is ours.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from securecoap.errors import BadRequest, NotFound
from securecoap.resources import (
    ObservableResource,
    Resource,
    Site,
    check_preconditions,
    etag_for,
    require_accept,
    validated,
)
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import LINK_FORMAT, TEXT
from securecoap.wire.link_format import Link, write_links
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LARGE", "LINKS", "SMALL", "SUB_LINKS", "XML", "Observed", "etsi_site", "site"]

XML = 41
LARGE = bytes(ord("a") + i % 26 for i in range(2000))
SMALL = b"a few bytes"
SEPARATE_AFTER = 1.0
LINKS = {
    "/link1": {"rt": "Type1 Type2", "if": "If1"},
    "/link2": {"rt": "Type2 Type3", "if": "If2"},
    "/link3": {"rt": "Type1 Type3", "if": "foo", "sz": 17},
    "/link4": {"rt": ""},
}
"""Attributes by path, as LINK_02 to LINK_08 look for them."""
SUB_LINKS = ("/path/sub1", "/path/sub2")


class Test(Resource):
    """A text that can be read and written; POST makes something elsewhere (CORE_01 to 08, 18)."""

    __test__ = False  # not one of pytest's

    def __init__(self) -> None:
        self.value = b"this is a test"

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.value, content_format=TEXT)

    def render_put(self, request: Message) -> Message:
        if request.options.content_format is None:
            raise BadRequest
        self.value = request.payload
        return Message()

    def render_post(self, request: Message) -> Message:
        if request.options.content_format is None:
            raise BadRequest
        return Message(Code.CREATED, location_path=("location1", "location2", "location3"))

    def render_delete(self, request: Message) -> Message:
        return Message()


class Separate(Resource):
    """Takes so long that its response comes separately (CORE_09, 11, 16, 17)."""

    async def render_get(self, request: Message) -> Message:
        await asyncio.sleep(SEPARATE_AFTER)
        return Message(payload=b"separate", content_format=TEXT)


class Text(Resource):
    """Says what a function makes of the request (CORE_13, 14, LINK_09)."""

    def __init__(self, text: Callable[[Message], str], content_format: int = TEXT) -> None:
        self._text = text
        self._format = content_format

    def render_get(self, request: Message) -> Message:
        return Message(payload=self._text(request).encode(), content_format=self._format)


class LocationQuery(Resource):
    """CORE_19."""

    def render_post(self, request: Message) -> Message:
        return Message(Code.CREATED, location_query=("first=1", "second=2"))


class MultiFormat(Resource):
    """CORE_20."""

    def render_get(self, request: Message) -> Message:
        chosen = require_accept(request, TEXT, XML)
        text = b"text" if chosen == TEXT else b"<text/>"
        return Message(payload=text, content_format=chosen)


class Validate(Resource):
    """A representation with an entity tag (CORE_21 to 23); not there before it was put, if it begins so."""

    def __init__(self, value: bytes | None) -> None:
        self.value = value

    def render_get(self, request: Message) -> Message:
        if self.value is None:
            raise NotFound
        return validated(request, Message(payload=self.value, content_format=TEXT, etag=etag_for(self.value)))

    def render_put(self, request: Message) -> Message:
        check_preconditions(request, None if self.value is None else etag_for(self.value))
        is_new, self.value = self.value is None, request.payload
        return Message(Code.CREATED if is_new else Code.CHANGED)


class Large(Resource):
    """More than a block, to be read, written (BLOCK_01 to 03, 06) or answered with (BLOCK_05)."""

    def __init__(self, body: bytes = LARGE) -> None:
        self.body = body

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.body, content_format=TEXT)

    def render_put(self, request: Message) -> Message:
        self.body = request.payload
        return Message()

    def render_post(self, request: Message) -> Message:
        return Message(payload=request.payload.upper(), content_format=TEXT)


class LargeCreate(Resource):
    """BLOCK_04: POST makes a resource at a path of two segments."""

    def __init__(self) -> None:
        self.created: dict[str, bytes] = {}

    def render_post(self, request: Message) -> Message:
        name = str(len(self.created) + 1)
        self.created[name] = request.payload
        return Message(Code.CREATED, location_path=("large-create", name))


class Created(Resource):
    """What BLOCK_04 has made."""

    def __init__(self, collection: LargeCreate) -> None:
        self._created = collection.created

    def render_get(self, request: Message) -> Message:
        found = self._created.get(request.parameters["name"])
        if found is None:
            raise NotFound
        return Message(payload=found, content_format=TEXT)


class Observed(ObservableResource):
    """A state of some format, that can be set, and deleted (OBS_01 to 14)."""

    def __init__(self, state: bytes) -> None:
        self.state: bytes | None = state
        self.content_format: int | None = TEXT

    def render_get(self, request: Message) -> Message:
        if self.state is None:
            raise NotFound
        return Message(payload=self.state, content_format=self.content_format, max_age=30)

    def render_put(self, request: Message) -> Message:
        self.set(request.payload, request.options.content_format)
        return Message()

    def render_delete(self, request: Message) -> Message:
        self.state = None
        self.changed()
        return Message()

    def set(self, state: bytes, content_format: int | None = TEXT) -> None:
        self.state = state
        self.content_format = content_format
        self.changed()


def etsi_site() -> Site:
    """A new one, with state of its own."""
    made = Site()
    made.add("/test", Test())
    made.add("/separate", Separate())
    made.add("/seg1/seg2/seg3", Text(lambda request: "/".join(request.options.uri_path)))
    made.add("/query", Text(lambda request: "&".join(request.options.uri_query)))
    made.add("/location-query", LocationQuery())
    made.add("/multi-format", MultiFormat())
    made.add("/validate", Validate(b"first"))
    made.add("/create1", Validate(None))
    made.add("/large", Large())
    made.add("/large-update", Large())
    made.add("/large-post", Large())
    collection = LargeCreate()
    made.add("/large-create", collection)
    made.add("/large-create/{name}", Created(collection))
    made.add("/obs", Observed(b"0"))
    made.add("/obs-non", Observed(b"0"))
    made.add("/obs-large", Observed(LARGE))
    made.add("/obs-pumping", Observed(LARGE))
    for path, attributes in LINKS.items():
        made.add(path, Text(lambda request: "/".join(request.options.uri_path)), attributes=attributes)
    sub_links = write_links(Link.create(path, {"ct": TEXT}) for path in SUB_LINKS)
    made.add("/path", Text(lambda _: sub_links, LINK_FORMAT), ct=LINK_FORMAT)
    for path in SUB_LINKS:
        made.add(path, Text(lambda request: request.options.uri_path[-1]), is_listed=False)
    return made


site = etsi_site()
