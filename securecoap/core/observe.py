"""Observations at the server (RFC 7641 section 4).

An `Observation` is what a resource holds of one client: it sends the newest state, one unacknowledged notification and
one rendering at a time (section 4.5.1). Observations that would all get the same share an `Audience`: a change is
rendered (`Rendering`) and encoded once for it. Rendering and answering are the business of
`securecoap.core.serving.Server`; what is sent is made in `securecoap.core.notifications`; bounds are the `Observations`
table's (`securecoap.core.observations`). The client's side is in `securecoap.core.observer`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from securecoap.core.notifications import UNKNOWN, as_confirmable, without_observe
from securecoap.core.pace import Pace
from securecoap.core.silence import SUCCESS, unwanted_classes
from securecoap.interfaces import Exchange
from securecoap.wire import numbers
from securecoap.wire.codes import SAFE_METHODS, Code
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import TypeAlias

    from securecoap.core.notifications import Notification
    from securecoap.core.observations import Observations
    from securecoap.interfaces import Cancel, IncomingPlumbing, Resource

    Render: TypeAlias = "Callable[[Rendering, Resource], object]"

__all__ = ["Audience", "Observation", "Rendering", "is_registration", "observe"]

_logger: Final = logging.getLogger(__name__)
_EXCEPTIONS: Final = 1 << numbers.BLOCK2 | 1 << numbers.NO_RESPONSE  # with which there may be none


def is_registration(request: Message) -> bool:
    """Whether a request with the Observe option asks to be told of changes.

    Not so one for a later block of a body, and one whose sender would hear of none (RFC 7967).
    """
    options = request.options
    if options.observe != 0 or request.code not in SAFE_METHODS:
        return False
    if not options.present & _EXCEPTIONS:
        return True
    block2 = options.block2
    return (block2 is None or block2.number == 0) and not unwanted_classes(request) & SUCCESS


class Observation(Exchange):
    """One client's registration, as the resource and the message layer see it; a `DirectObservation`.

    It begins when a client asks for it, and ends, once, with the interest of that client, or where the resource does
    not accept it.

    Attributes:
        incoming: the registration; notifications are responses to it.
        audience: renders the resource for this registration and others like it.
        identity: what its address claimed when it registered.
        is_stranger: whether nobody had shown that address to be real then.
        callback: what the resource wants to be called at the end; ``None`` unless it has accepted, and this goes on.
        is_outstanding: whether a notification is still to be acknowledged.
        ended: whether nothing is sent any more.
        rendering: the one that is waited for.
    """

    __slots__ = (
        "_format", "_number", "_pace", "_wanted", "audience", "callback", "ended", "identity", "incoming",
        "is_outstanding", "is_stranger", "rendering",
    )  # fmt: skip

    incoming: IncomingPlumbing
    audience: Audience
    identity: tuple[str, ...]
    is_stranger: bool
    is_outstanding: bool
    ended: bool
    callback: Cancel | None
    rendering: Rendering | None
    _wanted: object | None  # the change of which it is still to be told
    _format: int | None
    _number: int
    _pace: Pace | None  # of who gets Non-confirmable notifications

    @property
    def request(self) -> Message:
        """The registration."""
        return self.incoming.request

    def accept(self, cancellation_callback: Cancel) -> None:
        """Take the registration; the callback is called once when it ends. See `ServerObservation.accept`."""
        if self.ended:
            cancellation_callback()
        else:
            self.callback = cancellation_callback

    def trigger(self, response: Message | None = None, *, is_last: bool = False) -> None:
        """Notify of the newest state, rendered for this client alone; or send the response given."""
        if response is None:
            self.notify(object())  # a change that nobody else is told of
        elif not self.ended:
            self._send(self.audience.table.notification(self.request, response), is_last=is_last)

    def notify(self, change: object) -> None:
        """Notify of a change; see `DirectObservation.notify`."""
        if self.ended:
            return
        if (
            self.is_outstanding
            or self.rendering is not None
            or (self._pace is not None and self._is_too_early(self._pace))
        ):
            self._wanted = change  # section 4.5.1: states in between need not be sent, and none after a newer one
            return
        rendering = self.audience.current
        if rendering is None or rendering.change is not change or rendering.number <= self._number:
            rendering = self.rendering = Rendering(self.audience.table, self, change)
            self.audience.render(rendering)
        elif rendering.is_done:
            if rendering.notification is not None:
                self._send(rendering.notification)
        else:
            self.rendering = rendering
            rendering.add(self)

    def _is_too_early(self, pace: Pace) -> bool:
        table = self.audience.table
        if table.time() >= pace.next_at:
            return False
        if self._wanted is None:
            table.wake(pace.next_at, self)
        return True

    def go_on(self) -> None:
        """Tell of what had to wait, if it has to wait no more."""
        wanted = self._wanted
        if wanted is not None and not self.is_outstanding and self.rendering is None:
            self._wanted = None
            self.notify(wanted)

    def rendered(self, notification: Notification | None) -> None:
        """What was waited for is there; ``None`` is nothing to send."""
        self.rendering = None
        if notification is not None:
            self._send(notification)
        if self._wanted is not None:
            self.go_on()

    def _send(self, notification: Notification, *, is_last: bool = False) -> None:
        if self.ended:
            return
        incoming = self.incoming
        if notification.content_format != self._format and notification.content_format != UNKNOWN:
            if self._format != UNKNOWN:  # section 4.2
                notification = self.audience.table.notification(self.request, Message(Code.NOT_ACCEPTABLE))
            self._format = notification.content_format
        if is_last or notification.is_last:
            self.end()
            incoming.add_response(notification if notification.is_last else without_observe(notification))
            return
        message: Message = notification
        self._number = notification.number
        if incoming.was_answered:
            confirmable = message.confirmable
            if confirmable is None:
                confirmable = incoming.is_confirmable
            if not confirmable:
                table = self.audience.table
                pace = self._pace
                if pace is None:
                    pace = self._pace = Pace(table.most_unheard)
                if pace.send(table.time()):
                    confirmable = True
                    message = as_confirmable(message)
            self.is_outstanding = confirmable
        incoming.add_response(message, is_last=False)

    def acknowledged(self) -> None:
        """The client has the last notification."""
        if not self.is_outstanding:
            return
        self.is_outstanding = False
        if self._pace is not None:
            self._pace.acknowledged(self.audience.table.time())
        if self._wanted is not None:
            self.go_on()

    def delayed(self, until: float) -> None:
        """A Non-confirmable notification was not sent, as no Message ID was free: the newest state is, when one is."""
        pace = self._pace
        if not self.is_outstanding and pace is not None:
            pace.next_at = max(pace.next_at, until)
            self.notify(object())

    def superseding(self) -> Cancel | None:
        """Section 4.5.2: a state that has not arrived is not sent again where there is a newer one."""
        return self._supersede if self.is_outstanding and self._wanted is not None else None

    def _supersede(self) -> None:
        self.is_outstanding = False
        self.go_on()

    def failed(self, error: Exception) -> None:
        """The client rejected a notification or is gone (section 4.5)."""
        self.incoming.failed(error)

    def end(self) -> None:
        """It is over; the resource is told, once, if it had accepted. What that raises is logged: the rest goes on."""
        if self.ended:
            return
        self.ended = True
        callback, self.callback = self.callback, None
        rendering, self.rendering = self.rendering, None
        self._wanted = None
        self.audience.table.forget(self)
        if callback is not None:
            try:
                callback()
            except Exception:
                _logger.exception("what a resource wanted to be called at the end of an observation failed")
        if rendering is not None:
            rendering.leave(self)

    def __call__(self) -> None:
        """Interest has ended. It is its own callback: a bound method for each of very many would cost more."""
        self.end()

    # To the server a registration is like a request to be answered: the first state is rendered for it alone.

    def respond(self, response: Message) -> None:
        """The first state is rendered."""
        self.rendering = None
        if response is not NoResponse:
            request = self.incoming.request
            notification = self.audience.table.notification(request, response)
            notification.exchange = request.exchange  # it is for this registration alone
            self._send(notification)
        if self._wanted is not None:
            self.go_on()

    def decline(self, response: Message) -> None:
        """It does not come about: the resource has failed with this response."""
        self.end()
        self.incoming.add_response(response)

    def on_interest_end(self, callback: Cancel) -> None:
        """What stops the work on it."""
        self.rendering = Rendering(self.audience.table, self, None)
        self.rendering.on_interest_end(callback)

    def suppress_response(self) -> None:
        """It ends without another word."""
        self.end()
        self.incoming.suppress_response()


_new: Final = Observation.__new__


def observe(
    incoming: IncomingPlumbing, audience: Audience, identity: tuple[str, ...], is_stranger: bool
) -> Observation:
    """Begin an observation; as a function it takes half the time of a class's call."""
    observation = _new(Observation)
    observation.incoming = incoming
    observation.audience = audience
    observation.identity = identity
    observation.is_stranger = is_stranger
    observation.is_outstanding = observation.ended = False
    observation.callback = observation.rendering = observation._wanted = observation._pace = None  # noqa: SLF001  # it is made here only
    observation._format = UNKNOWN  # noqa: SLF001  # likewise
    observation._number = -1  # noqa: SLF001  # likewise
    incoming.on_interest_end(observation, observation)
    return observation


class Rendering:
    """A change as the observations of one audience are told of it. To the server it is like a request to be answered.

    Attributes:
        request: one of the registrations, for the handler to see, until it is done.
        change: what is told of.
        is_done: whether it was rendered.
        notification: what each is sent; ``None`` if that is nothing.
        number: of the notification; beyond all before it while there is none.
    """

    __slots__ = ("_cancel_work", "_table", "_waiting", "change", "is_done", "notification", "number", "request")

    def __init__(self, table: Observations, first: Observation, change: object) -> None:
        self.request = first.request
        self.change = change
        self.is_done = False
        self.notification: Notification | None = None
        self.number = float("inf")
        self._table = table
        self._waiting: list[Observation] = [first]
        self._cancel_work: Cancel | None = None

    def add(self, observation: Observation) -> None:
        """One more waits for it."""
        self._waiting.append(observation)

    def leave(self, observation: Observation) -> None:
        """One less; when nobody waits any more, the work is not done."""
        if observation in self._waiting:
            self._waiting.remove(observation)
            cancel = self._cancel_work
            if cancel is not None and not self._waiting:
                self._cancel_work = None
                cancel()

    def respond(self, response: Message) -> None:
        """It is rendered: tell those who wait."""
        if self.is_done:
            return
        request = self.request
        self._finish()
        if response is not NoResponse:
            self.notification = self._table.notification(request, response)
            self.number = self.notification.number
        waiting, self._waiting = self._waiting, []
        for observation in waiting:
            observation.rendered(self.notification)

    def on_interest_end(self, callback: Cancel) -> None:
        """What stops the work."""
        self._cancel_work = callback

    def suppress_response(self) -> None:
        """The work was stopped."""
        self._finish()
        waiting, self._waiting = self._waiting, []
        for observation in waiting:
            observation.suppress_response()

    def _finish(self) -> None:
        self.is_done = True
        self._cancel_work = None
        self.request = NoResponse  # or it would hold its client's observation, which holds the audience, which holds it


class Audience:
    """Observations whose notifications are equal; it is there as long as they are.

    Attributes:
        table: counts them and makes notifications.
        key: by which the table finds it.
        members: how many there are; the table's to count.
        current: the rendering that was begun last.
    """

    __slots__ = ("_render", "_resource", "current", "key", "members", "table")

    def __init__(self, table: Observations, key: Hashable, resource: Resource, render: Render) -> None:
        self.table = table
        self.key = key
        self.members = 0
        self.current: Rendering | None = None
        self._resource = resource
        self._render = render

    def render(self, rendering: Rendering) -> None:
        """Begin to render."""
        self.current = rendering
        self._render(rendering, self._resource)
