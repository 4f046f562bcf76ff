"""Every observation at a server: how many there may be, which share their notifications (RFC 7641 section 4).

What an observation does is in `securecoap.core.observe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from securecoap.core.deadlines import Deadlines
from securecoap.core.notifications import SequenceNumbers, make
from securecoap.core.observe import Audience
from securecoap.wire import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import TypeAlias

    from securecoap.config import Limits, TransportParameters
    from securecoap.core.notifications import Notification
    from securecoap.core.observe import Observation, Rendering
    from securecoap.interfaces import EndpointAddress, Resource, Scheduler
    from securecoap.wire.message import Message

    Render: TypeAlias = "Callable[[Rendering, Resource], object]"

__all__ = ["Observations"]

_STRANGERS_PART: Final = 0.9  # of all observations: the rest is for addresses that were shown to be real
# What does not change how a registration is answered.
_NOT_IN_AUDIENCE: Final = frozenset(
    {numbers.OBSERVE, numbers.OSCORE, numbers.ECHO, numbers.NO_RESPONSE, numbers.REQUEST_TAG}
)


class Observations:
    """Counts observations, groups them, and numbers and makes their notifications.

    Bounds are ``Limits.observations``, ``observations_per_peer`` and ``observations_per_identity``; beyond them a
    registration is answered like a plain request (section 4.1). Addresses that nobody has shown to be real take nine
    tenths at most of the first.

    Args:
        limits, parameters: bounds, how often an acknowledgement is asked for, and the largest block.
        scheduler: time.
        first_number: where sequence numbers begin.
        render: renders for a `Rendering` and calls its ``respond``.
    """

    def __init__(
        self, limits: Limits, parameters: TransportParameters, scheduler: Scheduler, first_number: int, render: Render
    ) -> None:
        self.time = scheduler.time
        self.most_unheard = parameters.unacknowledged_notifications
        self._exponent = parameters.block_exponent
        self._limits = limits
        self._render = render
        self._numbers = SequenceNumbers(first_number, scheduler.time)
        self._total = self._strangers = 0
        self._of: dict[Hashable, int] = {}  # by address, and by identity
        self._audiences: WeakValueDictionary[Hashable, Audience] = WeakValueDictionary()
        self._waiting: Deadlines[Observation] = Deadlines(scheduler, _wake)

    def __len__(self) -> int:
        return self._total

    def has_room(self, remote: EndpointAddress) -> bool:
        """Whether one more may be registered from there."""
        limits = self._limits
        identity = remote.authenticated_claims
        if self._total >= limits.observations or (
            not remote.confirmed and self._strangers >= limits.observations * _STRANGERS_PART
        ):
            limits.reached("observations")
        elif self._of.get(remote, 0) >= limits.observations_per_peer:
            limits.reached("observations_per_peer")
        elif identity and self._of.get(identity, 0) >= limits.observations_per_identity:
            limits.reached("observations_per_identity")
        else:
            return True
        return False

    def add(self, observation: Observation) -> None:
        """Count an accepted observation."""
        self._count(observation, 1)

    def remove(self, observation: Observation) -> None:
        """Count one less."""
        self._count(observation, -1)

    def _count(self, observation: Observation, change: int) -> None:
        remote, identity = observation.request.remote, observation.identity
        self._total += change
        self._strangers += change * observation.is_stranger
        for owner in (remote, identity) if identity else (remote,):
            number = self._of.get(owner, 0) + change
            if number:
                self._of[owner] = number
            else:
                del self._of[owner]

    def audience(self, resource: Resource, request: Message) -> Audience:
        """Those who get the same notifications as this registration.

        They ask the same of the same resource and have proved the same; what they have proved does not matter where the
        resource says that it is `same_for_all`.
        """
        remote = request.remote
        same = getattr(resource, "same_for_all", False)
        key = (
            id(resource),  # which the audience keeps
            request.code,
            request.payload,
            tuple([pair for pair in request.options.pairs if pair[0] not in _NOT_IN_AUDIENCE]),
            None if same else (remote.authenticated_claims, remote.scheme, remote.security),
        )
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(self, resource, self._render)
        return audience

    def notification(self, request: Message, response: Message) -> Notification:
        """See `notifications.make`."""
        return make(request, response, self._numbers.next(), self._exponent)

    def wake(self, when: float, observation: Observation) -> None:
        """Have an observation go on at that time."""
        self._waiting.add(when, observation)

    def close(self) -> None:
        """Wake nobody any more."""
        self._waiting.close()


def _wake(observation: Observation, _now: float) -> None:
    observation.go_on()
