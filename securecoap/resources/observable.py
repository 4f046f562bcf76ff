"""Observable resources: who is to be told of changes, and telling them without holding up the loop (RFC 7641).

Rendering, sequence numbers, bounds and the fate of a notification are the server's; a resource holds what the server
gave it, `ServerObservation` objects, and triggers them; those that are told of one change share renderings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from securecoap.resources.resource import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from securecoap.interfaces import Scheduler, ServerObservation

__all__ = ["BATCH", "ObservableResource", "ObservationSet"]

BATCH: Final = 50
"""Observations triggered in one turn of the loop: between batches acknowledgements are read, which would otherwise
overflow the socket's buffer."""


class _Place:
    """One observation in its set; called when it ends."""

    __slots__ = ("observation", "owner")

    observation: ServerObservation
    owner: ObservationSet

    def __call__(self) -> None:
        self.owner._remove(self)  # noqa: SLF001  # two halves of one thing


_new: Final = _Place.__new__


class ObservationSet:
    """Observations of one state, triggered together.

    An `ObservableResource` has one. A resource that stands for many states, as one under a template does, keeps one for
    each. The bound is the server's (``Limits.observations``). Everything here is to be called in the loop's thread.

    Args:
        count_changed: called with the number of observations whenever it has changed.
        scheduler: what to schedule with; ``None`` is the running event loop.
    """

    __slots__ = (
        "_announced",
        "_change",
        "_count_changed",
        "_due",
        "_is_renewed",
        "_last",
        "_places",
        "_scheduled_on",
        "scheduler",
    )

    def __init__(
        self, count_changed: Callable[[int], object] | None = None, scheduler: Scheduler | None = None
    ) -> None:
        self.scheduler = scheduler
        self._count_changed = count_changed
        self._announced = 0
        self._places: dict[_Place, None] = {}
        self._due: deque[_Place] = deque()
        self._change: object = None
        self._is_renewed = False
        self._last: Message | None = None
        # The loop on which a batch is scheduled; one that was closed before it came to that is never seen again.
        self._scheduled_on: Scheduler | None = None

    def __len__(self) -> int:
        return len(self._places)

    def accept(self, server_observation: ServerObservation) -> None:
        """Accept an observation and keep it until it ends."""
        place = _new(_Place)  # which takes half the time of a class's call
        place.owner = self
        place.observation = server_observation
        self._places[place] = None  # first: accept() may end it
        try:
            server_observation.accept(place)
        except BaseException:
            self._places.pop(place, None)
            raise
        if self._count_changed is not None:
            self._announce()

    def changed(self) -> None:
        """Trigger every observation, soon; called again before that, it is one change."""
        if self._places:
            self._is_renewed = True
            self._schedule()

    def end(self, response: Message | None = None) -> None:
        """End every observation with a last response, soon.

        Args:
            response: ``None`` is 4.04, as for a resource that is gone (RFC 7641 section 3.2).
        """
        if self._places:
            self._last = Message(Code.NOT_FOUND) if response is None else response
            self.changed()

    def _remove(self, place: _Place) -> None:
        if place in self._places:
            del self._places[place]
            if self._count_changed is not None:
                self._announce()

    def _announce(self) -> None:
        count = len(self._places)
        if count != self._announced and self._count_changed is not None:
            self._announced = count
            self._count_changed(count)

    def _schedule(self) -> None:
        scheduler = self.scheduler or asyncio.get_running_loop()
        if self._scheduled_on is not scheduler:
            self._scheduled_on = scheduler
            scheduler.call_soon(self._advance)

    def _advance(self) -> None:
        """Trigger a batch. A change amid a round puts those that were told already behind those that wait."""
        if self._is_renewed:
            self._is_renewed = False
            self._change = object()
            self._due = deque(dict.fromkeys(chain(self._due, self._places)))
        due = self._due
        last = self._last
        change = self._change
        places = self._places
        try:
            for _ in range(min(len(due), BATCH)):
                place = due.popleft()
                if place not in places:
                    continue
                observation = place.observation
                if last is not None:
                    observation.trigger(last, is_last=True)
                elif (notify := getattr(observation, "notify", None)) is not None:
                    notify(change)  # a server that can tells many of one change with one rendering
                else:
                    observation.trigger()
        finally:  # an observation that fails does not cost the others theirs
            self._scheduled_on = None
            if due or self._is_renewed:
                self._schedule()
            else:
                self._last = None


class ObservableResource(Resource):
    """A resource that tells its observers of changes: call `changed` when the state is another.

    The same handlers (GET or FETCH) then render it anew, once for all who ask the same and have proved the same. Call
    it after each change of what they would answer.

    Attributes:
        same_for_all: whether one rendering may be sent to all observers with equal requests, whoever they are and
            whatever they have proved; otherwise only to those with equal claims. A handler that looks at anything else
            of its observer, such as the address, must not be behind an `ObservableResource`.
        scheduler: what `changed` schedules with; ``None`` is the running event loop.
        announce: tells the other processes that serve the same site of a change; ``None`` where there are none.
    """

    same_for_all: bool = False
    scheduler: Scheduler | None = None
    announce: Callable[[], None] | None = None
    # Made with the first observation, so that a subclass need not call __init__.
    _observation_set: ObservationSet | None = None

    async def add_observation(self, request: Message, server_observation: ServerObservation) -> None:  # noqa: ARG002  # the seam's signature
        """Accept an observation; override it to refuse some (do not accept), or to keep them by what they observe."""
        self.observations.accept(server_observation)

    def dispatch_observation(
        self, request: Message, server_observation: ServerObservation
    ) -> Coroutine[Any, Any, None] | None:
        """As `add_observation`, at once (``None``) unless that is overridden, so that accepting costs no task."""
        if type(self).add_observation is not ObservableResource.add_observation:
            return self.add_observation(request, server_observation)
        found = self._observation_set
        (self.observations if found is None else found).accept(server_observation)
        return None

    @property
    def observations(self) -> ObservationSet:
        """Those that the default `add_observation` has accepted and that have not ended."""
        found = self._observation_set
        if found is None:
            is_counted = type(self).update_observation_count is not ObservableResource.update_observation_count
            count_changed = self.update_observation_count if is_counted else None
            found = self._observation_set = ObservationSet(count_changed, self.scheduler)
        return found

    @property
    def observation_count(self) -> int:
        """How many observations there are."""
        found = self._observation_set
        return 0 if found is None else len(found)

    def changed(self) -> None:
        """Tell every observer, soon. Costs nothing without observers; several calls in one turn of the loop are one.

        Where several processes serve the site, observers at the others are told, too (`changed_elsewhere`).

        To be called in the thread of the event loop (elsewhere: ``loop.call_soon_threadsafe(resource.changed)``).

        Raises:
            RuntimeError: called outside of the event loop, while there are observers.
        """
        if self.announce is not None:
            self.announce()
        found = self._observation_set
        if found is not None:
            found.changed()

    def changed_elsewhere(self) -> None:
        """Another process that serves the same site has called `changed`: tell the observers here.

        Override it to read again what this process keeps of the state, and call the inherited one then.
        """
        found = self._observation_set
        if found is not None:
            found.changed()

    def end_observations(self, response: Message | None = None) -> None:
        """End every observation, soon, with a last response: 4.04 if none is given. Threads: as `changed`."""
        found = self._observation_set
        if found is not None:
            found.end(response)

    def update_observation_count(self, count: int) -> None:
        """Called with the number of observations whenever it has changed, to work only while somebody looks."""
