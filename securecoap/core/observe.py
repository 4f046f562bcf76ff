"""Observations at the server (RFC 7641 section 4).

An `Observation` is what a resource holds of one client: it renders again when triggered and sends the newest state,
one unacknowledged notification at a time (section 4.5.1). Rendering and answering are the business of
`securecoap.core.serving.Server`; numbers and bounds are the `Observations` table's. The client's side is in
`securecoap.core.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.interfaces import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.config import Limits
    from securecoap.interfaces import Cancel, EndpointAddress, IncomingPlumbing
    from securecoap.wire.message import Message

__all__ = ["Observation", "Observations"]

_SEQUENCE_MASK: Final = 0xFFFFFF


class Observation(Exchange):
    """One client's registration, as the resource and the message layer see it.

    Args:
        table: counts it and gives sequence numbers.
        incoming: the registration; notifications are responses to it.
        render: renders the resource again for this registration and answers.
    """

    __slots__ = ("_callback", "_is_dirty", "_render", "_table", "ended", "incoming", "is_accepted", "is_outstanding")

    def __init__(
        self, table: Observations, incoming: IncomingPlumbing, render: Callable[[Observation], object]
    ) -> None:
        self.incoming = incoming
        self.is_accepted = False
        self.is_outstanding = False
        self.ended = False
        self._table = table
        self._render = render
        self._callback: Cancel | None = None
        self._is_dirty = False

    def accept(self, cancellation_callback: Cancel) -> None:
        """Take the registration; the callback is called once when it ends. See `ServerObservation.accept`."""
        self._callback = cancellation_callback
        self.is_accepted = True
        self._table.add(self)
        self.incoming.on_interest_end(self.end)
        self.incoming.request.exchange.tell(self)

    def trigger(self, response: Message | None = None, *, is_last: bool = False) -> None:
        """Notify of the newest state, now or when the last notification was acknowledged."""
        if self.ended:
            return
        if response is not None:
            self.send(response, is_last=is_last)
        elif self.is_outstanding:
            self._is_dirty = True  # section 4.5.1: states in between need not be sent
        else:
            self._render(self)

    def send(self, response: Message, *, is_last: bool = False) -> None:
        """Send a response as notification; an error ends the observation (section 4.2)."""
        if self.ended:
            return
        is_last = is_last or not 64 <= (response.code or 69) < 96
        if is_last:
            self.end()
            self.incoming.add_response(response)
            return
        notification = response.copy(observe=self._table.next_sequence_number())
        notification.code = response.code
        self.is_outstanding = self.incoming.was_answered and self.incoming.is_confirmable
        self.incoming.add_response(notification, is_last=False)

    def acknowledged(self) -> None:
        """The client has the last notification."""
        self.is_outstanding = False
        if self._is_dirty:
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
            if callback is not None:
                callback()


class Observations:
    """Counts observations, and numbers notifications.

    Bounds are ``Limits.observations`` and ``Limits.observations_per_peer``; beyond them a registration is answered like
    a plain request (section 4.1).
    """

    def __init__(self, limits: Limits, first_number: int) -> None:
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
