"""Observations at the server (RFC 7641 section 4).

An `Observation` is what a resource holds of one client: it renders again when triggered and sends the newest state,
one unacknowledged notification and one rendering at a time (section 4.5.1). Rendering and answering are the business of
`securecoap.core.serving.Server`; numbers and bounds are the `Observations` table's. The client's side is in
`securecoap.core.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.interfaces import Exchange
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits
    from securecoap.interfaces import Cancel, EndpointAddress, IncomingPlumbing

__all__ = ["Observation", "Observations"]

_SEQUENCE_MASK: Final = 0xFFFFFF
_LONGEST_SILENCE: Final = 24 * 3600.0
"""Seconds after which a client that gets Non-confirmable notifications has to acknowledge one (section 4.5)."""


class Observation(Exchange):
    """One client's registration, as the resource and the message layer see it.

    For the server, which renders for it, it is an `IncomingPlumbing` whose responses are notifications.

    Args:
        table: counts it and gives sequence numbers.
        incoming: the registration; notifications are responses to it.
        render: renders the resource again for this registration and answers.
    """

    __slots__ = (
        "_callback", "_cancel_work", "_format", "_heard_at", "_is_dirty", "_is_rendering", "_render", "_table", "ended",
        "incoming", "is_accepted", "is_outstanding", "request",
    )  # fmt: skip

    def __init__(
        self, table: Observations, incoming: IncomingPlumbing, render: Callable[[Observation], object]
    ) -> None:
        self.incoming = incoming
        self.request = incoming.request
        self.is_accepted = False
        self.is_outstanding = False
        self.ended = False
        self._table = table
        self._render = render
        self._callback: Cancel | None = None
        self._cancel_work: Cancel | None = None
        self._is_dirty = False
        self._is_rendering = False
        self._format: int | None = -1  # not known yet
        # Nobody was heard at an address that may be forged: its first notification is a CON, and a victim that does not
        # know of it ends the observation by its silence or its Reset (RFC 7252 section 11.3).
        self._heard_at = table.time() if self.request.remote.confirmed else float("-inf")

    def accept(self, cancellation_callback: Cancel) -> None:
        """Take the registration; the callback is called once when it ends. See `ServerObservation.accept`."""
        self._callback = cancellation_callback
        self.is_accepted = True
        self._table.add(self)
        self.incoming.on_interest_end(self.end)
        self.incoming.request.exchange.tell(self)

    def trigger(self, response: Message | None = None, *, is_last: bool = False) -> None:
        """Notify of the newest state, now or when the last notification is rendered and acknowledged."""
        if self.ended:
            return
        if response is not None:
            self.send(response, is_last=is_last)
        elif self.is_outstanding or self._is_rendering:
            self._is_dirty = True  # section 4.5.1: states in between need not be sent, and none after a newer one
        else:
            self._is_rendering = True
            self._render(self)

    def rendered(self, response: Message | None) -> None:
        """What rendering gave is sent; ``None`` is not."""
        self._is_rendering = False
        if response is not None:
            self.send(response)
        if self._is_dirty and not self.is_outstanding:
            self._is_dirty = False
            self.trigger()

    def send(self, response: Message, *, is_last: bool = False) -> None:
        """Send a response as notification; an error ends the observation, as does another format (section 4.2)."""
        if self.ended:
            return
        code = response.code or Code.CONTENT
        if code == Code.CONTENT:
            content_format = response.options.content_format
            if self._format == -1:
                self._format = content_format
            elif content_format != self._format:
                response, is_last = Message(Code.NOT_ACCEPTABLE), True
        is_last = is_last or not 64 <= code < 96
        if is_last:
            self.end()
            self.incoming.add_response(response)
            return
        notification = response.copy(observe=self._table.next_sequence_number())
        notification.code = response.code
        confirmable = self.incoming.is_confirmable
        if response.confirmable is not None:
            confirmable = response.confirmable
        elif not confirmable and self.incoming.was_answered and self._table.time() - self._heard_at >= _LONGEST_SILENCE:
            confirmable = notification.confirmable = True
        self.is_outstanding = self.incoming.was_answered and confirmable
        self.incoming.add_response(notification, is_last=False)

    def acknowledged(self) -> None:
        """The client has the last notification."""
        self.is_outstanding = False
        self._heard_at = self._table.time()
        if self._is_dirty and not self._is_rendering:
            self._is_dirty = False
            self.trigger()

    def failed(self, error: Exception) -> None:
        """The client rejected a notification or is gone (section 4.5)."""
        self.incoming.failed(error)

    def end(self) -> None:
        """Tell the resource, once."""
        if not self.ended:
            self.ended = True
            if self.is_accepted:
                self._table.remove(self)
            callback, self._callback = self._callback, None
            cancel, self._cancel_work = self._cancel_work, None
            if callback is not None:
                callback()
            if cancel is not None:
                cancel()

    # As an `IncomingPlumbing`.

    @property
    def was_answered(self) -> bool:
        """Whether a response was sent already."""
        return self.incoming.was_answered

    @property
    def is_confirmable(self) -> bool:
        """Whether the registration came as a Confirmable message."""
        return self.incoming.is_confirmable

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """See `send`."""
        self.send(message, is_last=is_last)

    def add_exception(self, error: Exception) -> None:  # noqa: ARG002  # the cause is the handler's to log
        """End the observation with 5.00."""
        self.send(Message(Code.INTERNAL_SERVER_ERROR), is_last=True)

    def suppress_response(self) -> None:
        """Rendering was given up: the observation ends without another word."""
        self.end()
        self.incoming.suppress_response()

    def on_interest_end(self, callback: Cancel) -> None:
        """What stops the rendering under way; it takes the place of what stopped the last."""
        self._cancel_work = callback


class Observations:
    """Counts observations, and numbers notifications.

    Bounds are ``Limits.observations`` and ``Limits.observations_per_peer``; beyond them a registration is answered like
    a plain request (section 4.1).
    """

    def __init__(self, limits: Limits, first_number: int, time: Callable[[], float]) -> None:
        self.time = time
        self._limits = limits
        self._number = first_number & _SEQUENCE_MASK
        self._total = 0
        self._of_peer: dict[EndpointAddress, int] = {}

    def __len__(self) -> int:
        return self._total

    def has_room(self, remote: EndpointAddress) -> bool:
        """Whether one more may be registered from there."""
        return (
            self._total < self._limits.observations
            and self._of_peer.get(remote, 0) < self._limits.observations_per_peer
        )

    def add(self, observation: Observation) -> None:
        """Count an accepted observation."""
        remote = observation.incoming.request.remote
        self._total += 1
        self._of_peer[remote] = self._of_peer.get(remote, 0) + 1

    def remove(self, observation: Observation) -> None:
        """Count one less."""
        remote = observation.incoming.request.remote
        self._total -= 1
        left = self._of_peer.get(remote, 1) - 1
        if left:
            self._of_peer[remote] = left
        else:
            self._of_peer.pop(remote, None)

    def next_sequence_number(self) -> int:
        """One sequence for all observations, so that it goes on over a new registration (section 4.4)."""
        self._number = (self._number + 1) & _SEQUENCE_MASK
        return self._number
