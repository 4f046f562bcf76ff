"""The demo site: a resource for each thing one may want to try against a server (design, section 7).

Everybody who may talk to the server may write here, so what can grow has bounds. Nothing here is kept over a restart.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from securecoap.errors import NotFound, RequestEntityTooLarge, ServiceUnavailable
from securecoap.resources import (
    ObservableResource,
    ObservationSet,
    Resource,
    Site,
    check_preconditions,
    etag_for,
    require_accept,
    validated,
)
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import JSON, OCTET_STREAM, TEXT
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from securecoap.interfaces import ServerObservation, Timer
    from securecoap.resources.resource import LinkAttributes

__all__ = ["LARGE_SIZE", "STORE_BYTES", "STORE_ENTRIES", "STORE_ENTRY_BYTES", "demo_site"]

LARGE_SIZE: Final = 65_536
"""Bytes of ``/large``; byte i is i mod 251."""
STORE_ENTRIES: Final = 1_000
"""Names in ``/store``. At the bound a new one gets 5.03, and those there stay: nobody displaces another's."""
STORE_BYTES: Final = 16 * 1024 * 1024
"""All bodies in ``/store`` together. As `STORE_ENTRIES`."""
STORE_ENTRY_BYTES: Final = 1024 * 1024
"""One body in ``/store`` or ``/obs``. Larger: 4.13."""

_TIME_MAX_AGE: Final = 2
_SLOW_SECONDS: Final = 2.0
_BEHIND_THE_TURN: Final = 0.01
"""Seconds behind the turn of a second at which ``/time`` ticks: earlier the text would sometimes be that of before."""
_FULL_MAX_AGE: Final = 60


def demo_site() -> Site:
    """A new demo site, with state of its own."""
    site = Site()
    site.add("/hello", Hello(), ct=TEXT, title="A greeting")
    site.add("/time", Time(), ct=TEXT, title="The time, each second")
    site.add("/obs", State(), title="A state to set and observe")
    site.add("/echo", Echo(), title="What was sent")
    site.add("/large", Large(), ct=OCTET_STREAM, sz=LARGE_SIZE, title="A body of many blocks")
    site.add("/store/{name}", Store())
    site.add("/slow", Slow(), ct=TEXT, title="A separate response")
    site.add("/whoami", WhoAmI(), ct=JSON, title="What you have proved")
    return site


class Hello(Resource):
    """A greeting."""

    def __init__(self) -> None:
        self._answer = Message(payload=b"hello", content_format=TEXT)

    def render_get(self, request: Message) -> Message:
        """The greeting."""
        require_accept(request, TEXT)
        return self._answer


class Time(ObservableResource):
    """The time of the server; its timer runs only while somebody observes.

    Args:
        now: gives the time, with its zone.
    """

    same_for_all = True

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._timer: Timer | None = None

    def render_get(self, request: Message) -> Message:
        """The time in ISO 8601, to the second."""
        require_accept(request, TEXT)
        text = self._now().isoformat(timespec="seconds")
        return Message(payload=text.encode(), content_format=TEXT, max_age=_TIME_MAX_AGE)

    def update_observation_count(self, count: int) -> None:
        """Start or stop the timer."""
        if self._timer is not None and not count:
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and count:
            self._arm()

    def _arm(self) -> None:
        scheduler = self.scheduler or asyncio.get_running_loop()
        to_the_next = 1 - self._now().microsecond / 1e6
        self._timer = scheduler.call_at(scheduler.time() + to_the_next + _BEHIND_THE_TURN, self._tick)

    def _tick(self) -> None:
        self.changed()
        self._arm()  # seconds that the loop was too busy for are left out, not made up for


class State(ObservableResource):
    """A state of a few bytes, for everyone to set; text unless the client that set it said otherwise."""

    same_for_all = True

    def __init__(self) -> None:
        self._answer = self._representation(b"00000", TEXT)

    def render_get(self, request: Message) -> Message:
        """The state."""
        return validated(request, self._answer)

    def render_put(self, request: Message) -> Message:
        """Set the state."""
        _check_size(request)
        check_preconditions(request, self._answer.options.etag)
        content_format = request.options.content_format
        self._answer = self._representation(request.payload, TEXT if content_format is None else content_format)
        self.changed()
        return Message(Code.CHANGED)

    @staticmethod
    def _representation(payload: bytes, content_format: int) -> Message:
        return Message(payload=payload, content_format=content_format, etag=etag_for(payload, content_format))


class Echo(Resource):
    """Answers with what was sent."""

    def render_post(self, request: Message) -> Message:
        """The body and its format, as 2.04."""
        return Message(payload=request.payload, content_format=request.options.content_format)

    render_put = render_post
    render_fetch = render_post  # 2.05 by the method


class Large(Resource):
    """A body that takes many blocks."""

    def __init__(self) -> None:
        payload = bytes(index % 251 for index in range(LARGE_SIZE))
        self._answer = Message(payload=payload, content_format=OCTET_STREAM, etag=etag_for(payload))

    def render_get(self, request: Message) -> Message:
        """The body."""
        require_accept(request, OCTET_STREAM)
        return validated(request, self._answer)


class Slow(Resource):
    """Answers so late that the request is acknowledged before (RFC 7252 section 5.2.2).

    Args:
        sleep: waits for so many seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep

    async def render_get(self, request: Message) -> Message:
        """A text, after 2 seconds."""
        require_accept(request, TEXT)
        await self._sleep(_SLOW_SECONDS)
        return Message(payload=b"slow", content_format=TEXT)


class WhoAmI(Resource):
    """What the server knows of who asks."""

    def render_get(self, request: Message) -> Message:
        """Claims, scheme and security of the request, as JSON; never from a cache, for the next one may be another."""
        require_accept(request, JSON)
        remote = request.remote
        found = {"claims": list(remote.authenticated_claims), "scheme": remote.scheme, "security": remote.security}
        return Message(payload=json.dumps(found).encode(), content_format=JSON, max_age=0)


@dataclass(frozen=True, slots=True)
class _Stored:
    answer: Message
    etag: bytes
    size: int


class Store(Resource):
    """Bodies by name, for everyone to write, within `STORE_ENTRIES`, `STORE_BYTES` and `STORE_ENTRY_BYTES`."""

    def __init__(self) -> None:
        self._stored: dict[str, _Stored] = {}
        self._size = 0
        # By name, only while there are any; the server bounds them. They outlive the body, to be told that it is gone.
        self._observations: dict[str, ObservationSet] = {}

    def render_get(self, request: Message) -> Message:
        """The body, with the format that it was put with."""
        stored = self._stored.get(request.parameters["name"])
        if stored is None:
            raise NotFound
        content_format = stored.answer.options.content_format
        if content_format is not None:
            require_accept(request, content_format)
        return validated(request, stored.answer)

    def render_put(self, request: Message) -> Message:
        """Create (2.01) or replace (2.04)."""
        name = request.parameters["name"]
        previous = self._stored.get(name)
        check_preconditions(request, None if previous is None else previous.etag)
        _check_size(request)
        payload = request.payload
        grown = len(payload) - (0 if previous is None else previous.size)
        if self._size + grown > STORE_BYTES or (previous is None and len(self._stored) >= STORE_ENTRIES):
            raise ServiceUnavailable("the store is full", max_age=_FULL_MAX_AGE)
        content_format = request.options.content_format
        etag = etag_for(payload, content_format)
        self._stored[name] = _Stored(
            Message(payload=payload, content_format=content_format, etag=etag), etag, len(payload)
        )
        self._size += grown
        self._changed(name)
        return Message(Code.CREATED if previous is None else Code.CHANGED, etag=etag)

    def render_delete(self, request: Message) -> Message:
        """Take the body away; 4.04 where there is none. Its observers get 4.04, which ends their observation."""
        name = request.parameters["name"]
        stored = self._stored.get(name)
        check_preconditions(request, None if stored is None else stored.etag)
        if stored is None:
            raise NotFound
        del self._stored[name]
        self._size -= stored.size
        self._changed(name)
        return Message(Code.DELETED)

    async def add_observation(self, request: Message, server_observation: ServerObservation) -> None:
        """Accept an observation of a name that is there."""
        name = request.parameters["name"]
        if name not in self._stored:
            return
        observations = self._observations.get(name)
        if observations is None:

            def count_changed(count: int) -> None:
                if not count:
                    self._observations.pop(name, None)

            observations = self._observations[name] = ObservationSet(count_changed)
        observations.accept(server_observation)
        if not observations:  # it has ended already
            self._observations.pop(name, None)

    def links(self) -> Iterable[tuple[Mapping[str, str], LinkAttributes]]:
        """Every name that is there."""
        for name, stored in self._stored.items():
            yield {"name": name}, {"ct": stored.answer.options.content_format, "sz": stored.size}

    def _changed(self, name: str) -> None:
        observations = self._observations.get(name)
        if observations is not None:
            observations.changed()


def _check_size(request: Message) -> None:
    if len(request.payload) > STORE_ENTRY_BYTES:
        raise RequestEntityTooLarge(size1=STORE_ENTRY_BYTES)
